"""Other ways to the same size: Torch-Pruning's iterative pruning, and training the small shape from scratch."""

import copy
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

import torch
import torch_pruning as tp  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.importance_nets import Images
from benchmarks.zoo_torch_pruning import output_layers
from prunekit.cost import CostModel
from prunekit.schedules import CubicSchedule
from prunekit.tracing import Inputs, UnitGraph, trace

SCORE_BATCHES = 20
"""Mini-batches of extra gradients before each step, as in Torch-Pruning's tutorial."""
_BISECTIONS = 10


@dataclass(frozen=True)
class Budget:
    """
    How long everybody trains.

    Parameters
    ----------
    steps, step_batches, final_batches : int
        Number of pruning steps, mini-batches after each, and at the end.
    batch_size : int
        Images in a mini-batch.
    """

    steps: int = 8
    step_batches: int = 25
    final_batches: int = 150
    batch_size: int = 64

    @property
    def batches(self) -> int:
        """Mini-batches in all."""
        return self.steps * self.step_batches + self.final_batches


def optimizer_of(module: nn.Module, lr: float) -> torch.optim.Optimizer:
    """Return the optimizer of all arms."""
    return torch.optim.SGD(module.parameters(), lr, momentum=0.9, nesterov=True, weight_decay=5e-4)


def endless(images: Images, size: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield shuffled mini-batches for ever."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        for chosen in torch.randperm(len(images), generator=generator).split(size):
            if len(chosen) == size:
                yield images.x[chosen], images.y[chosen]


def layout_of(module: nn.Module) -> torch.memory_format:
    """Return the memory format that the convolutions of a network have."""
    weights = [weight for weight in module.parameters() if weight.dim() == 4]
    return torch.contiguous_format if all(one.is_contiguous() for one in weights) else torch.channels_last


def macs_of(module: nn.Module, example: Tensor) -> int:
    """Return the multiply-adds for one image."""
    graph = UnitGraph(trace(module, Inputs.of(example)))
    none = torch.zeros(graph.n_units, dtype=torch.bool).numpy()
    return CostModel(module, graph).of("macs", none)


_FACTORS: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "linear": lambda done: 1.0 - done,
    "cosine": lambda done: 0.5 * (1.0 + math.cos(math.pi * done)),
}
"""Of the learning rate, by the share of the mini-batches that is done."""


class _Trainer:
    """Trains with a learning rate that is constant, or falls to zero over all mini-batches."""

    def __init__(self, batches: Iterator[tuple[Tensor, Tensor]], lr: float, length: int, policy: str) -> None:
        self._batches, self._lr, self._length, self._factor = batches, lr, length, _FACTORS[policy]
        self._count = 0

    def train(self, module: nn.Module, number: int) -> None:
        optimizer = optimizer_of(module, self._lr)  # Torch-Pruning's parameters are others after every step
        module.train()
        for _ in range(number):
            for group in optimizer.param_groups:
                group["lr"] = self._lr * self._factor(self._count / self._length)
            self._count += 1
            x, y = next(self._batches)
            optimizer.zero_grad()
            F.cross_entropy(module(x), y).backward()
            optimizer.step()


def torch_pruning(
    dense: nn.Module, images: Images, target: float, budget: Budget, seed: int, lr: float, ours: bool, is_global: bool
) -> tuple[nn.Module, float, float]:
    """
    Prune step by step with Torch-Pruning's GroupTaylorImportance.

    Its steps are ratios of channels, not of multiply-adds: the ratio of each step is found by bisection, outside of the
    clock, as somebody would know it from an earlier run.

    Parameters
    ----------
    dense : Module
        The network; it is not changed.
    images : Images
        What it is trained on.
    target : float
        Reduction of multiply-adds.
    budget : Budget
        How long it is trained.
    seed : int
        Order of the images.
    lr : float
        Learning rate to begin with.
    ours : bool
        Whether the steps are those of prunekit, large ones first, and the learning rate falls to zero in a line over
        all of it. If not, the learning rate stays, and the steps are equal.
    is_global : bool
        Whether channels of all layers are compared, or every layer loses the same share.

    Returns
    -------
    tuple of Module, float and float
        The small network, and the seconds that training with pruning, and its scoring passes, took.
    """
    module = copy.deepcopy(dense)
    example = images.x[:2]
    layout = layout_of(dense)
    whole = macs_of(module, example)
    trainer = _Trainer(endless(images, budget.batch_size, seed), lr, budget.batches, "linear" if ours else "constant")
    schedule = CubicSchedule(budget.steps, exponent=3.0 if ours else 1.0)
    aims = [schedule.next_reduction(step, 0.0, target) for step in range(budget.steps)]
    scoring_batches = endless(images, budget.batch_size, seed + 1000)
    seconds, scoring = 0.0, 0.0
    for aim in aims:
        if 1.0 - macs_of(module, example) / whole < aim:  # else the step before has gone as far
            start = time.perf_counter()
            module.eval().zero_grad()
            for _ in range(SCORE_BATCHES):
                x, y = next(scoring_batches)
                F.cross_entropy(module(x), y).backward()
            spent = time.perf_counter() - start
            module, took = _smaller(module, example, round(whole * (1.0 - aim)), is_global)
            module.to(memory_format=layout)
            scoring, seconds = scoring + spent, seconds + spent + took
        start = time.perf_counter()
        trainer.train(module, budget.step_batches)
        seconds += time.perf_counter() - start
    start = time.perf_counter()
    trainer.train(module, budget.final_batches)
    return module, seconds + time.perf_counter() - start, scoring


def _smaller(module: nn.Module, example: Tensor, most_macs: int, is_global: bool) -> tuple[nn.Module, float]:
    """Return the network less the smallest ratio of channels that leaves few enough, and the seconds for that ratio."""
    low, high = 0.0, 0.95
    best, took = module, 0.0
    for _ in range(_BISECTIONS):
        ratio = (low + high) / 2
        start = time.perf_counter()
        smaller = _with_gradients(module)
        tp.pruner.BasePruner(
            smaller,
            example,
            importance=tp.importance.GroupTaylorImportance(),
            global_pruning=is_global,
            pruning_ratio=ratio,
            ignored_layers=output_layers(smaller, example),
        ).step()
        seconds = time.perf_counter() - start
        if macs_of(smaller, example) <= most_macs:
            high, best, took = ratio, smaller, seconds
        else:
            low = ratio
    return best, took


def _with_gradients(module: nn.Module) -> nn.Module:
    copied = copy.deepcopy(module)
    for new, old in zip(copied.parameters(), module.parameters(), strict=True):
        new.grad = None if old.grad is None else old.grad.clone()
    return copied


def from_scratch(shape: nn.Module, images: Images, budget: Budget, seed: int, lr: float) -> tuple[nn.Module, float]:
    """Give a network fresh weights and train it for as long as the others, with a cosine; return it and the seconds."""
    module = copy.deepcopy(shape)
    torch.manual_seed(seed)
    for part in module.modules():
        reset = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()
    start = time.perf_counter()
    trainer = _Trainer(endless(images, budget.batch_size, seed), lr, budget.batches, "cosine")
    trainer.train(module, budget.batches)
    return module, time.perf_counter() - start


def accuracy(module: nn.Module, images: Images) -> float:
    """Return the share of images that are classified right."""
    module.eval()
    with torch.no_grad():
        found = [module(x).argmax(1) for x in images.x.split(500)]
    return float((torch.cat(list(chain(found))) == images.y).double().mean())
