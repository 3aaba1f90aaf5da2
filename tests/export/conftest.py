"""What the tests of exports share: files run by the test itself, not by the package."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from prunekit import export_onnx, export_program
from prunekit.tracing import Inputs, named_outputs

EXPORTS: dict[str, Callable[..., Any]] = {"net.onnx": export_onnx, "net.pt2": export_program}


def rerun(path: Any, X: Any) -> list[NDArray[Any]]:
    """Run a file and return its outputs."""
    path, inputs = getattr(path, "path", path), Inputs.of(X)
    if str(path).endswith(".onnx"):
        import onnxruntime

        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        names = [own.name for own in session.get_inputs()]
        arrays = [tensor.numpy() for tensor in inputs.tensors()]
        return session.run(None, dict(zip(names, arrays, strict=True)))
    outputs = torch.export.load(path).module()(*inputs.args, **inputs.kwargs)
    return [tensor.detach().numpy() for tensor in named_outputs(outputs).values()]


def evaluated(module: torch.nn.Module, X: Any) -> list[NDArray[Any]]:
    """Return what a network returns in eval mode; its mode is as before."""
    training = module.training
    module.eval()
    inputs = Inputs.of(X)
    with torch.no_grad():
        outputs = named_outputs(module(*inputs.args, **inputs.kwargs))
    module.train(training)
    return [tensor.numpy() for tensor in outputs.values()]


def assert_close(found: list[NDArray[Any]], expected: list[NDArray[Any]], rtol: float = 1e-5) -> None:
    """Compare outputs relative to the largest entry of each."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=0.0, atol=rtol * float(np.abs(other).max()))


@pytest.fixture(params=EXPORTS)
def name(request: pytest.FixtureRequest) -> str:
    """Name of a file whose suffix says what it is."""
    return str(request.param)


@pytest.fixture
def export(name: str) -> Callable[..., Any]:
    """The function that writes such a file."""
    return EXPORTS[name]
