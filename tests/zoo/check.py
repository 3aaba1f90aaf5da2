"""The one comparison of the zoo: a masked network and the compacted one compute the same."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prunekit import PrunableNetwork
from prunekit.importance import Criterion, Observation
from prunekit.tracing import Inputs, duplicate_inputs, tensors_of

TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5, torch.complex64: 1e-5, torch.bfloat16: 0.05}
"""Largest difference, relative to the largest output, by data type."""


class Given(Criterion):
    """Importances that the test sets, random ones where it sets none."""

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


class Watching(Criterion):
    """Keeps what there is to see."""

    name = "watching"
    watch = "gates"

    def reset(self) -> None:
        """Keep what was seen."""

    def observe(self, observation: Observation) -> None:
        """Keep the gates, and what they have to sum up to."""
        self.gates, self.sums = observation.gates.double(), observation.taylor_sums
        self.mean_gates = observation.mean_gates

    def importance(self) -> Any:
        """Return zeros."""
        return np.zeros(self.gates.size(1))


def pruned(module: nn.Module, inputs: Any, fraction: float, seed: int = 0, **options: Any) -> PrunableNetwork:
    """Return a network that lost a random fraction of its units."""
    network = PrunableNetwork(module, inputs, criterion=Given(), **options)
    remove(network, fraction, seed)
    return network


def remove(network: PrunableNetwork, fraction: float, seed: int = 0) -> int:
    """Remove a random fraction of the units through the public interface; return how many were removed."""
    network.criterion.values = np.random.default_rng(seed).random(network.support.size)
    return network.update_prunables(max_to_prune=round(fraction * network.num_prunables))


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


def assert_same_outputs(masked: nn.Module, compacted: nn.Module, inputs: Any) -> None:
    """Compare what two modules return in eval mode."""
    left, right = evaluated(masked, inputs), evaluated(compacted, inputs)
    assert len(left) == len(right)
    for expected, got in zip(left, right, strict=True):
        assert expected.shape == got.shape
        assert expected.dtype == got.dtype
        assert torch.isfinite(torch.view_as_real(expected) if expected.is_complex() else expected).all()
        wide = torch.complex128 if expected.is_complex() else torch.float64
        difference = (expected.to(wide) - got.to(wide)).abs().max().item()
        assert difference <= TOLERANCE[expected.dtype] * expected.to(wide).abs().max().item()


def loss_of(outputs: list[Tensor]) -> Tensor:
    """Return a loss that every output takes part in."""
    terms = []
    for out in outputs:
        if out.requires_grad:
            value = (torch.view_as_real(out) if out.is_complex() else out).double().flatten()
            terms.append((value * torch.linspace(-1.0, 1.0, len(value))).mean() + 0.1 * value.square().mean())
    return torch.stack(terms).sum()


def train(module: nn.Module, inputs: Any, optimizer: torch.optim.Optimizer, steps: int = 1, clip: float = 1e9) -> None:
    """Take steps of an ordinary training loop."""
    module.train()
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(tensors_of(run(module, inputs))).backward()
        nn.utils.clip_grad_norm_(module.parameters(), clip)
        optimizer.step()
