"""The tables of a network: its layers, its units, its modules."""

from typing import Any

import numpy as np
import pandas as pd
from torch import nn

from prunekit.analysis._subjects import Fitted, Traced
from prunekit.cost import dense_counts, totals

_LAYER_DTYPES = {
    "name": "str",
    "type": "str",
    "activation_size": "object",
    "activation_format": "str",
    "learnable_sizes": "object",
    "num_learnables": "int64",
    "state_sizes": "object",
    "learnables_reduction": "float64",
    "num_pruned_filters": "int64",
    "num_filters": "int64",
    "num_prunable": "int64",
    "macs": "int64",
    "macs_reduction": "float64",
    "memory_bytes": "int64",
    "blocked_by": "str",
}
_MODULE_DTYPES = {
    "name": "str",
    "type": "str",
    "depth": "int64",
    "num_layers": "int64",
    "num_learnables": "int64",
    "learnables_reduction": "float64",
    "num_pruned_filters": "int64",
    "num_filters": "int64",
    "num_prunable": "int64",
    "macs": "int64",
    "macs_reduction": "float64",
    "memory_bytes": "int64",
}
_UNIT_DTYPES = {
    "unit": "int64",
    "layer": "str",
    "filters": "object",
    "num_filters": "int64",
    "params_saved": "int64",
    "macs_saved": "int64",
    "importance": "float64",
    "removed": "bool",
}
UNITS = {
    "activation_size": "elements along each dimension, of one sample",
    "learnable_sizes": "elements along each dimension",
    "num_learnables": "parameters",
    "state_sizes": "elements along each dimension",
    "learnables_reduction": "fraction of the dense network's",
    "num_pruned_filters": "filters",
    "num_filters": "filters",
    "num_prunable": "filters",
    "macs": "multiply-adds for one sample",
    "macs_reduction": "fraction of the dense network's",
    "memory_bytes": "bytes",
    "depth": "modules above it",
    "num_layers": "layers",
    "params_saved": "parameters",
    "macs_saved": "multiply-adds for one sample",
    "importance": "estimated change of the loss, as the criterion has it",
}
"""Units of measure by column; columns that are no quantities have none."""
_SUMS = ("num_learnables", "num_pruned_filters", "num_filters", "num_prunable", "macs", "memory_bytes")


def layers_of(subject: Traced | Fitted) -> pd.DataFrame:
    """Return a row for each layer."""
    return layer_columns(subject.layers())


def layer_columns(table: pd.DataFrame) -> pd.DataFrame:
    """Return a layer table, such as one read from a file, with its columns in order and of their data types."""
    return finished(table, _LAYER_DTYPES, "layer")


def modules_of(subject: Traced | Fitted) -> pd.DataFrame:
    """Return a row for each module of the tree, with the sums over what is below it."""
    layers = subject.layers()
    parts = dict(subject.module.named_modules())
    columns = [*_SUMS, "learnables_before", "macs_before"]
    numbers = layers.assign(
        learnables_before=dense_counts(layers["num_learnables"], layers["learnables_reduction"]),
        macs_before=dense_counts(layers["macs"], layers["macs_reduction"]),
    )[columns].to_numpy(dtype=np.int64)
    rows = {path: number for number, path in enumerate(parts)}
    sums, counts = np.zeros((len(parts), len(columns)), dtype=np.int64), np.zeros(len(parts), dtype=np.int64)
    for path, own in zip((_path(name, parts) for name in layers["name"]), numbers, strict=True):
        for above in _up_from(path):
            if above in rows:  # a module that is used at several places has one path of them
                sums[rows[above]] += own
                counts[rows[above]] += 1
    table = pd.DataFrame(sums, columns=columns)
    table["name"] = [path or type(part).__name__ for path, part in parts.items()]
    table["type"] = [type(part).__name__ for part in parts.values()]
    table["depth"] = [path.count(".") + bool(path) for path in parts]
    table["num_layers"] = counts
    table["learnables_reduction"] = _reduction(table["learnables_before"], table["num_learnables"])
    table["macs_reduction"] = _reduction(table["macs_before"], table["macs"])
    table.attrs["totals"] = layers.attrs["totals"]
    return finished(table, _MODULE_DTYPES, "module")


def units_of(subject: Traced | Fitted) -> pd.DataFrame:
    """Return a row for each unit that may be removed or was."""
    found = subject.traced()
    costs, graph = found.costs, found.costs.graph
    nothing = np.zeros(graph.n_units, dtype=bool)
    filters: list[list[tuple[str, int]]] = [[] for _ in range(graph.n_units)]
    for layer in graph.layers:
        for index, unit in enumerate(graph.unit_of_label[graph.filters_of(layer)].tolist()):
            if unit >= 0:
                filters[unit].append((layer, index))
    layers = np.array(graph.layers or [""], dtype=object)
    table = pd.DataFrame({"unit": np.arange(graph.n_units), "layer": layers[graph.first_layers]})
    table["filters"] = _objects([tuple(own) for own in filters])
    table["num_filters"] = [len(own) for own in filters]
    for resource in ("params", "macs"):
        table[f"{resource}_saved"] = costs.savings(resource, nothing).round()
    table["importance"] = np.nan if found.importances is None else found.importances
    table["removed"] = found.removed
    table.attrs["totals"] = totals(costs, found.removed)
    return finished(table, _UNIT_DTYPES, "unit")


def finished(table: pd.DataFrame, dtypes: dict[str, str], level: str) -> pd.DataFrame:
    """Return a table with its columns in order, of their data types, and with its attributes."""
    result = table[list(dtypes)].astype(dtypes)
    result.attrs["level"] = level
    result.attrs["units"] = {name: UNITS[name] for name in dtypes if name in UNITS}
    return result


def _objects(values: list[Any]) -> "np.ndarray[Any, np.dtype[np.object_]]":
    """Return an array of one dimension, of which tuples are elements."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _path(name: str, parts: dict[str, nn.Module]) -> str:
    """Return the dotted path of a layer, which is empty for the network itself that the table calls by its class."""
    return name if name in parts else ""


def _up_from(path: str) -> list[str]:
    """Return a dotted path and those of all modules above it."""
    pieces = path.split(".") if path else []
    return [".".join(pieces[:length]) for length in range(len(pieces), -1, -1)]


def _reduction(before: pd.Series, after: pd.Series) -> pd.Series:
    return (1.0 - after / before.where(before > 0)).fillna(0.0)
