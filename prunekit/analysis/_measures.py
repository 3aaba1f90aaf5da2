"""The rows of `compare`: costs, measured times, scores."""

from typing import Any, cast

import numpy as np
import pandas as pd
import safetensors.torch
from numpy.typing import NDArray
from torch import nn

from prunekit.analysis._intervals import Estimate, paired_difference, r2_estimates, wilson
from prunekit.analysis._predictions import Contender
from prunekit.cost import CostModel, count_params, measure_latency_ms
from prunekit.exceptions import InputError
from prunekit.io import stored_tensors
from prunekit.surgery import evaluate
from prunekit.tracing import Inputs, UnitGraph, trace

_CLASS_DTYPES = {
    "num_samples": "int64",
    "dense_predicted": "int64",
    "compact_predicted": "int64",
    "dense_recall": "float64",
    "compact_recall": "float64",
    "change": "float64",
    "change_low": "float64",
    "change_high": "float64",
    "agreement": "float64",
}
Labels = NDArray[Any]
Rows = dict[str, dict[str, Any]]


def _row(
    unit: str, before: Estimate, after: Estimate, change: Estimate | None = None, is_resource: bool = True
) -> dict[str, Any]:
    change = change or Estimate(after.value - before.value)
    return {
        "unit": unit,
        "dense": before.value,
        "compact": after.value,
        "change": change.value,
        "reduction": _removed_fraction(before.value, after.value) if is_resource else np.nan,
        "dense_low": before.low,
        "dense_high": before.high,
        "compact_low": after.low,
        "compact_high": after.high,
        "change_low": change.low,
        "change_high": change.high,
    }


def _removed_fraction(before: float, after: float) -> float:
    return 1.0 - after / before if before else 0.0


def costs_rows(pair: tuple[Contender, Contender], examples: Inputs) -> Rows:
    """Return the rows of what is exact."""
    numbers = [_costs_of(one.module, examples) for one in pair]
    units = {
        "params": "parameters",
        "macs": "multiply-adds for one sample",
        "file_bytes": "bytes",
        "peak_activation_bytes": "bytes for one sample",
    }
    return {
        name: _row(unit, Estimate(float(numbers[0][name])), Estimate(float(numbers[1][name])))
        for name, unit in units.items()
    }


def _costs_of(module: nn.Module, examples: Inputs) -> dict[str, int]:
    costs = CostModel(module, UnitGraph(trace(module, examples.with_batch(2) if examples.batch_size() else examples)))
    nothing = np.zeros(costs.graph.n_units, dtype=bool)
    weights = costs.weight_bytes(costs.graph.kept_labels(nothing))
    return {
        "params": count_params(module),
        "macs": costs.of("macs", nothing),
        "file_bytes": len(safetensors.torch.save(stored_tensors(module))),
        "peak_activation_bytes": costs.of("memory", nothing) - weights,
    }


def latency_rows(pair: tuple[Contender, Contender], examples: Inputs, sizes: list[int], repeats: int) -> Rows:
    """Return the rows of measured times."""
    modules = {"dense": pair[0].module, "compact": pair[1].module}
    rows = {}
    for size in sizes:
        batch = examples.with_batch(size)
        for name, module in modules.items():
            try:
                evaluate(module, batch)
            except Exception as exc:
                raise InputError(
                    f"The 'batch_sizes' parameter of compare must hold numbers of samples on which both networks run. "
                    f"Got {size}, on which '{name}' raises {type(exc).__name__}: {exc} instead."
                ) from exc
        times = measure_latency_ms(modules, batch, repeats=repeats)
        before, after = (
            Estimate(*(float(times.loc[name, column]) for column in ("median_ms", "low_ms", "high_ms")))  # type: ignore[arg-type]
            for name in modules
        )
        rows[f"latency_ms_batch_{size}"] = _row("milliseconds", before, after)
    return rows


def label_rows(before: Labels, after: Labels, targets: Labels | None, confidence: float, seed: int) -> Rows:
    """Return the rows of a classifier's scores."""
    rows = {}
    if targets is not None:
        hits = before == targets, after == targets
        old, new = (wilson(int(own.sum()), len(own), confidence) for own in hits)
        change = paired_difference(*hits, confidence)
        rows["accuracy"] = _row("fraction of samples", old, new, change, is_resource=False)
    same = wilson(int((before == after).sum()), len(before), confidence)
    rows["agreement"] = _row("fraction of samples", Estimate(np.nan), same, is_resource=False)
    return rows


def value_rows(before: Labels, after: Labels, targets: Labels | None, confidence: float, seed: int) -> Rows:
    """Return the rows of a regressor's scores."""
    rows = {}
    if targets is not None:
        old, new, change = r2_estimates(targets, before, after, confidence, seed)
        rows["r2"] = _row("R²", old, new, change, is_resource=False)
    same = r2_estimates(before, after, after, confidence, seed)[0]
    rows["agreement"] = _row("R²", Estimate(np.nan), same, is_resource=False)
    return rows


def class_table(before: Labels, after: Labels, targets: Labels, confidence: float) -> pd.DataFrame:
    """Return a row for each class."""
    classes = np.unique(np.concatenate([targets, before, after]))
    rows = []
    for label in classes:
        own = targets == label
        hits = before[own] == label, after[own] == label
        change = paired_difference(*hits, confidence)
        rows.append(
            {
                "num_samples": own.sum(),
                "dense_predicted": (before == label).sum(),
                "compact_predicted": (after == label).sum(),
                "dense_recall": hits[0].mean() if own.any() else np.nan,
                "compact_recall": hits[1].mean() if own.any() else np.nan,
                "change": change.value,
                "change_low": change.low,
                "change_high": change.high,
                "agreement": (before[own] == after[own]).mean() if own.any() else np.nan,
            }
        )
    index = pd.Index(cast("Any", classes), name="class")
    return pd.DataFrame(rows, index=index, columns=list(_CLASS_DTYPES)).astype(_CLASS_DTYPES)
