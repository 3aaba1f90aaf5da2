"""What prunekit makes of a network of the zoo."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from benchmarks.zoo_common import TOLERANCE, Row, calibrated, difference, informative, train_difference
from benchmarks.zoo_models import Entry
from prunekit import PrunableNetwork
from prunekit.exceptions import PrunekitError
from prunekit.surgery import prove_units
from prunekit.tracing import Inputs, UnitGraph
from tests.zoo.check import Given

TARGET = 0.5
"""Fraction of the parameters to remove."""


def warm_up() -> None:
    """Run everything once, so that imports and caches are not counted."""
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    prove_units(network, Inputs.of(torch.randn(2, 3, 4, 4)))


def measure(entry: Entry, report: Callable[[Row], None]) -> Row:
    """Return the row of a network; `report` gets it as soon as the units are known."""
    row = Row(entry.list, entry.name, "prunekit")
    module, inputs = entry.build()
    calibrated(module, inputs)
    warm_up()
    try:
        _find_units(row, module, inputs)
        report(row)
        if row.n_units:
            _prune(row, module, inputs)
        else:
            row.verdict = "refused"
    except PrunekitError as error:
        row.verdict, row.message = "error", f"{type(error).__name__}: {error}"
    return row


def _find_units(row: Row, module: nn.Module, inputs: Any) -> None:
    start = time.perf_counter()
    graph, _ = prove_units(module, Inputs.of(inputs))
    row.seconds = time.perf_counter() - start
    reasons = _reasons(graph)
    row.n_units, row.n_frozen = graph.n_units, sum(reasons.values())
    row.n_filters = sum(len(unit.filters) for unit in graph.units)
    row.frozen_by = "; ".join(f"{text} {count}" for text, count in reasons.most_common())


def _reasons(graph: UnitGraph) -> Counter[str]:
    reasons: Counter[str] = Counter()
    for unit in graph.units:
        if unit.reason is not None:
            line = unit.reason.location.rpartition("/")[2]
            reasons[f"{unit.reason.text} ({line})" if line else unit.reason.text] += len(unit.filters)
    return reasons


def _prune(row: Row, module: nn.Module, inputs: Any) -> None:
    network = PrunableNetwork(module, inputs, criterion=Given())
    network.prune_to(TARGET)
    smaller = network.compact(verify=False)
    row.params_reduction, row.macs_reduction = network.reduction("params"), network.reduction("macs")
    row.difference = difference(network, smaller, inputs)
    row.verdict = "shape" if row.difference is None else "right" if row.difference <= TOLERANCE else "wrong"
    if not informative(smaller, inputs):
        row.message = "the outputs are constant or not finite"
    row.train_difference = train_difference(network, smaller, inputs)
    if row.verdict == "right" and row.train_difference is not None and not row.train_difference <= TOLERANCE:
        row.verdict, row.message = "wrong", "in training mode"
