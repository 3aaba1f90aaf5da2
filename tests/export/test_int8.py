"""The recipe of the documentation: prune, export, quantize to 8-bit integers."""

import numpy as np
import pytest
import torch

from prunekit import export_onnx
from tests.nets_skorch import ConvNet, make_classifier, make_images, quick

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
int8 = pytest.importorskip("benchmarks.int8", reason="the benchmarks are not here")


@pytest.mark.slow
def test_prune_then_quantize(tmp_path):
    X, y = make_images()
    torch.manual_seed(0)
    pruner = quick(make_classifier(ConvNet, max_epochs=8, module__width=16), target_reduction=0.5).fit(X, y)
    source = export_onnx(pruner, tmp_path / "net.onnx", X).path

    target = int8.quantize(source, tmp_path / "net.int8.onnx", np.split(X[:512], 16))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.int8.onnx", "net.onnx"]
    assert target.stat().st_size < source.stat().st_size
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in onnx.load(target).graph.node}
    kinds = {tensor.data_type for tensor in onnx.load(target).graph.initializer if len(tensor.dims) > 1}
    assert kinds == {onnx.TensorProto.INT8}
    exact = int8.call_of(int8.session_of(source), X)()[0]
    found = int8.call_of(int8.session_of(target), X)()[0]
    assert (found.argmax(1) == exact.argmax(1)).mean() > 0.97
    np.testing.assert_allclose(found, exact, rtol=0.0, atol=0.1 * np.abs(exact).max())
    assert int8.session_of(target).run(None, {"x": X[:1]})[0].shape == (1, 10)
