"""The one comparison of the zoo: a masked network and the compacted one compute the same."""

import copy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prunekit import PrunableNetwork
from prunekit.importance import Criterion, Observation
from prunekit.tracing import Inputs, duplicate_inputs, tensors_of

EPS32 = torch.finfo(torch.float32).eps


class Given(Criterion):
    """Importances that the test sets."""

    name = "given"
    needs_gradients = False

    def __init__(self, values: Any = None) -> None:
        self.values = values
        super().__init__()

    def reset(self) -> None:
        """Keep what was given."""

    def observe(self, observation: Observation) -> None:
        """Draw an order where none was given."""
        if self.values is None:
            self.values = np.random.default_rng(0).random(observation.n_units)

    def importance(self) -> Any:
        """Return what was given."""
        return np.asarray(self.values, dtype=np.float64)


def run(module: nn.Module, inputs: Any) -> Any:
    """Run a module on inputs in any of the forms that `PrunableNetwork` takes."""
    given = duplicate_inputs(Inputs.of(inputs))
    return module(*given.args, **given.kwargs)


def evaluated(module: nn.Module, inputs: Any) -> list[Tensor]:
    """Return the outputs of a module in eval mode."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    with torch.no_grad():
        outputs = tensors_of(run(module, inputs))
    for part, training in modes:
        part.training = training
    return outputs


def assert_equal_outputs(masked: list[Tensor], compacted: list[Tensor], tolerance: float = 1e-5) -> None:
    """Compare outputs relative to the largest entry, to 1e-5 in single precision."""
    assert len(masked) == len(compacted)
    for expected, got in zip(masked, compacted, strict=True):
        assert expected.shape == got.shape
        assert expected.dtype == got.dtype
        if not (expected.is_floating_point() or expected.is_complex()):
            assert torch.equal(expected, got)
            continue
        scale = max(1.0, torch.finfo(expected.dtype).eps / EPS32)
        wide = torch.complex128 if expected.is_complex() else torch.float64
        expected, got = expected.to(wide), got.to(wide)
        largest = expected.abs().max().item()
        assert (expected - got).abs().max().item() <= tolerance * scale * max(largest, 1e-30)


def loss_of(outputs: list[Tensor]) -> Tensor:
    """Return a loss that every output takes part in."""
    terms = []
    for number, out in enumerate(outputs):
        if out.requires_grad:
            weights = torch.linspace(-1.0, 1.0 + number, out.numel(), dtype=torch.float64).reshape(out.shape)
            value = torch.view_as_real(out).mean(-1) if out.is_complex() else out
            terms.append((value.double() * weights).mean() + 0.1 * value.double().square().mean())
    return torch.stack(terms).sum()


def train_step(module: nn.Module, inputs: Any, optimizer: torch.optim.Optimizer, clip: float | None = None) -> None:
    """Take one step of an ordinary training loop."""
    module.train()
    optimizer.zero_grad()
    loss_of(tensors_of(run(module, inputs))).backward()
    if clip is not None:
        nn.utils.clip_grad_norm_(module.parameters(), clip)
    optimizer.step()
    module.eval()


def pruned(module: nn.Module, inputs: Any, fraction: float, seed: int = 0, **options: Any) -> PrunableNetwork:
    """Return a network that lost a random fraction of its units, through the public interface."""
    order = Given()
    network = PrunableNetwork(module, inputs, criterion=order, **options)
    order.values = np.random.default_rng(seed).random(network.support.size)
    network.update_prunables(max_to_prune=round(fraction * network.num_prunables))
    return network


def as_copy(module: nn.Module) -> nn.Module:
    """Return a deep copy."""
    return copy.deepcopy(module)
