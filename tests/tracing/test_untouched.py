"""Whatever is done with a network, the user's own one, the random states and torch's settings are as before."""

import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import _get_current_dispatch_mode

from prunekit import PrunableNetwork, analyze
from prunekit.exceptions import InputError
from tests.nets import PlainCNN, randomise
from tests.zoo.surroundings import BranchOnValues, CachesOutputs, RandomDepth, TeacherMask

X = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(6))


@pytest.fixture(autouse=True, scope="module")
def _first_use() -> None:
    """Import what torch imports on first use: sympy sets a warnings filter of its own."""
    PrunableNetwork(PlainCNN(), X)


def _settings() -> dict[str, Any]:
    """Return everything global that tracing could leave changed."""
    return {
        "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(),
        "default_dtype": torch.get_default_dtype(),
        "mkldnn": torch.backends.mkldnn.enabled,
        "fastpath": torch.backends.mha.get_fastpath_enabled(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "dispatch_mode": _get_current_dispatch_mode(),
        "filters": list(warnings.filters),
        "showwarning": warnings.showwarning,
        "global_module_hooks": len(nn.modules.module._global_forward_pre_hooks),
    }


def _random_states() -> dict[str, Any]:
    numpy_state = np.random.get_state(legacy=False)  # noqa: NPY002 - the global state is what is looked at
    return {"torch": torch.get_rng_state().tolist(), "python": random.getstate(), "numpy": str(numpy_state)}


def _module_state(module: nn.Module) -> dict[str, Any]:
    """Return all there is to a network: values, identities, gradients, flags, hooks, attributes."""
    state: dict[str, Any] = {}
    for name, tensor in [
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),
    ]:
        gradient = None if tensor.grad is None else (id(tensor.grad), tensor.grad.tolist())
        hooks = (len(tensor._backward_hooks or {}), len(getattr(tensor, "_post_accumulate_grad_hooks", None) or {}))
        state[name] = (id(tensor), tensor.tolist(), tensor._version, tensor.requires_grad, gradient, hooks)
    for name, part in module.named_modules():
        for key, value in vars(part).items():
            shown = {k: id(v) for k, v in value.items()} if isinstance(value, dict) else (id(value), str(value))
            state[f"{name}:{key}"] = shown
    return state


@contextmanager
def unchanged(module: nn.Module, *inputs: Tensor) -> Iterator[None]:
    """Check that the block leaves no trace."""
    values = [tensor.clone() for tensor in inputs]
    before = _module_state(module), _settings(), _random_states()
    yield
    after = _module_state(module), _settings(), _random_states()
    for old, new in zip(before, after, strict=True):
        changed = [key for key in old if key not in new or old[key] != new[key]]
        assert not changed
        assert old.keys() == new.keys()
    for old, tensor in zip(values, inputs, strict=True):
        assert torch.equal(old, tensor)
        assert tensor.grad is None


def _used(module: nn.Module) -> nn.Module:
    """Give a network a life of its own: gradients, statistics, mixed flags, hooks."""
    module(X).square().mean().backward()
    module.train()
    children = list(module.children())
    children[0].eval()
    list(module.parameters())[-1].requires_grad_(False)
    children[0].register_forward_hook(lambda *_: None)
    next(children[0].parameters()).register_hook(lambda gradient: gradient)
    return module


@pytest.mark.parametrize("build", [PlainCNN, RandomDepth, BranchOnValues, CachesOutputs, TeacherMask])
def test_pruning_leaves_the_users_network_alone(build: Callable[[], nn.Module]) -> None:
    module = _used(randomise(build()))
    with unchanged(module, X):
        network = PrunableNetwork(module, X, criterion="random")
        network.update_prunables(max_to_prune=3)
        network.verify()
        network.analyze()
        small = network.compact()
    with unchanged(module, X):
        optimizer = torch.optim.SGD(network.parameters(), 0.1)
        rng = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002
        for trained in (network, small):
            trained(X).square().mean().backward()
        optimizer.step()
        torch.set_rng_state(rng[0])
        random.setstate(rng[1])
        np.random.set_state(rng[2])  # noqa: NPY002


@pytest.mark.parametrize("build", [PlainCNN, RandomDepth, BranchOnValues])
def test_analyze_leaves_the_users_network_alone(build: Callable[[], nn.Module]) -> None:
    module = _used(randomise(build()))
    with unchanged(module, X):
        analyze(module, X)


class Stopped(BaseException):
    """Not an Exception: as when the user presses Ctrl-C."""


class Failing(nn.Module):
    """Raises when a condition on its run comes true."""

    def __init__(self, condition: Callable[["Failing", Tensor], bool], error: type[BaseException] = ValueError) -> None:
        super().__init__()
        self.net, self.condition, self.error = PlainCNN(), condition, error

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.relu(self.net.bn1(self.net.conv1(x)))
        if random.random() >= 0.0 and self.condition(self, hidden):
            raise self.error("it fails here")
        return self.net.head(torch.relu(self.net.bn2(self.net.conv2(hidden))).mean((2, 3)).repeat(1, 9))


FAILURES: dict[str, Callable[[Failing, Tensor], bool]] = {
    "always": lambda net, hidden: True,
    "in training": lambda net, hidden: net.training,
    "when smaller": lambda net, hidden: hidden.size(1) < 8,
    "on the meta device": lambda net, hidden: hidden.is_meta,
    "on fake tensors": lambda net, hidden: type(hidden) is not Tensor,
    "on real tensors": lambda net, hidden: type(hidden) is Tensor and not hidden.is_meta,
}


@pytest.mark.parametrize("where", FAILURES)
def test_a_failing_network_is_left_alone(where: str) -> None:
    module = randomise(Failing(FAILURES[where]))
    outcome = pytest.raises(InputError, match="it fails here") if where == "always" else nullcontext()
    with unchanged(module, X), outcome:
        PrunableNetwork(module, X)


def test_the_cause_is_named() -> None:
    with pytest.raises(InputError, match=r"Failing does not run on the example inputs.*it fails here") as caught:
        PrunableNetwork(Failing(FAILURES["always"]), X)
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize("where", FAILURES)
def test_an_interrupted_construction_leaves_the_network_alone(where: str) -> None:
    module = randomise(Failing(FAILURES[where], Stopped))
    with unchanged(module, X):
        try:
            PrunableNetwork(module, X)
        except Stopped:
            pass
        else:
            assert where in ("on fake tensors", "on real tensors")


def test_a_failing_prediction_gives_the_modes_back() -> None:
    network = PrunableNetwork(PlainCNN(), X)
    network.module.bn1.eval()
    with pytest.raises(RuntimeError, match="channels"):
        network.predict(torch.randn(1, 1, 8, 8))
    assert [part.training for part in network.module.children()] == [True, False, True, True, True]


def test_settings_of_the_user_are_kept() -> None:
    module = PlainCNN().double()
    torch.backends.mha.set_fastpath_enabled(False)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad(), unchanged(module):
            network = PrunableNetwork(module, X.double(), criterion="random")
            network.update_prunables()
            network.compact()
    finally:
        torch.set_default_dtype(torch.float32)
        torch.backends.mha.set_fastpath_enabled(True)


def test_nothing_refers_to_the_users_tensors() -> None:
    """The object holds copies, so the user may change the network while it lives."""
    module = randomise(PlainCNN())
    x = X.clone()
    network = PrunableNetwork(module, x, criterion="random")
    before = network.predict(X)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
        x.fill_(float("nan"))
    torch.testing.assert_close(network.predict(X), before, rtol=0, atol=0)
    assert network.verify() <= 1e-5
