"""`analyze_compression`: what pruning could do for a network at most, and what keeps it from more."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pandas as pd
from torch import nn

from prunekit._validation import check_choice
from prunekit.analysis._advice import advice_for
from prunekit.analysis._levels import finished
from prunekit.analysis._subjects import Traced, look_at
from prunekit.cost import layer_table
from prunekit.surgery import Ranking
from prunekit.tracing import Reason

_LAYER_DTYPES = {
    "name": "str",
    "type": "str",
    "num_filters": "int64",
    "num_prunable": "int64",
    "num_removable": "int64",
    "max_filters_reduction": "float64",
    "num_learnables": "int64",
    "max_learnables_reduction": "float64",
    "macs": "int64",
    "max_macs_reduction": "float64",
    "blocked_by": "str",
    "advice": "str",
}
_REASON_DTYPES = {
    "reason": "str",
    "module": "str",
    "location": "str",
    "num_filters": "int64",
    "num_layers": "int64",
    "layers": "object",
    "advice": "str",
}

Blocked = dict[str, dict[Reason, int]]
"""By the dotted path of each layer: why filters stay, with their number, the most frequent reason first."""


def analyze_compression(
    network: Any, X: Any = None, *, level: Literal["layer", "reason"] = "layer", module: nn.Module | None = None
) -> pd.DataFrame:
    """
    Return how much of a network pruning could remove, what blocks the rest and what to change in the model's code.

    Parameters
    ----------
    network : Module, skorch net, PrunableNetwork, TaylorPruner, TaylorPrunerCV, str or Path
        What to look at, as for `analyze`; it is not changed. The constraints of a pruner and of a `PrunableNetwork`
        count: ``include``, ``exclude``, ``norms``, ``min_channels``, ``round_to``, ``max_layer_reduction``.
    X : array, Tensor, DataFrame, Dataset, tuple or Mapping, default=None
        Example inputs, as for `analyze`; a fitted pruner needs them as well.
    level : {"layer", "reason"}, default="layer"
        Whether a row is a layer that makes channels, or something that blocks filters.
    module : Module, default=None
        For a file: a dense network of the class that was pruned.

    Returns
    -------
    DataFrame
        Plain, with the columns below. ``attrs["totals"]`` holds ``before``, ``after`` and ``reduction`` of ``params``,
        ``macs``, ``filters`` and ``memory_bytes``, where ``after`` is without everything that may go:
        ``attrs["totals"]["params"]["reduction"]`` is the largest ``target_reduction`` of parameters. ``attrs["units"]``
        holds the units of measure.

    Raises
    ------
    ParameterTypeError
        If there is no network in it, or if example inputs or the module of a file are missing.
    ParameterError
        If `level` is another word, `module` is given without a file, or a net cannot be initialized.
    InputError
        If the network does not run on the example inputs.
    PlanError
        If a file was not written by `prunekit.save`, or does not fit `module`.

    See Also
    --------
    analyze : What a network costs and what pruning has done to it.
    PrunableNetwork.max_reduction : The largest reduction alone, also of latency.

    Notes
    -----
    ``level="layer"``, in the order of execution:

    ============================ ========= =========================================================================
    column                       dtype     meaning
    ============================ ========= =========================================================================
    ``name``, ``type``           str       dotted path and class of the layer
    ``num_filters``              int64     filters of the dense layer
    ``num_prunable``             int64     of these, the ones that may be removed
    ``num_removable``            int64     how many may be removed at most, since some of every layer must stay
    ``max_filters_reduction``    float64   the same as a fraction
    ``num_learnables``           int64     parameters of the dense layer
    ``max_learnables_reduction`` float64   fraction of them that goes if everything goes, its inputs included
    ``macs``                     int64     multiply-adds of the dense layer for one sample
    ``max_macs_reduction``       float64   fraction of them that goes if everything goes
    ``blocked_by``               str       why filters stay, with file and line where the model's own code is the reason
    ``advice``                   str       what to change so that they may go
    ============================ ========= =========================================================================

    ``level="reason"``, those that block most filters first: ``reason`` (str), ``module`` (str, where the operation
    runs), ``location`` (str, file and line of the model's own code, empty for modules of torch), ``num_filters``
    (int64), ``num_layers`` (int64), ``layers`` (object, a tuple of names) and ``advice`` (str). Where one reason is
    gone, another one may come to light.

    Everything that may go is removed in the order of the units; which filter of a layer stays makes no difference for
    the numbers.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from prunekit import analyze_compression
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Softmax(1), nn.Conv2d(8, 6, 1), nn.ReLU(), nn.Conv2d(6, 4, 1))
    >>> table = analyze_compression(net, torch.randn(1, 3, 8, 8)).set_index("name")
    >>> table["num_removable"].to_dict()
    {'0': 0, '2': 5, '4': 0}
    >>> print(table["blocked_by"]["0"])
    softmax over channels in '1'
    """
    make = _TABLES[check_choice("level", level, "analyze_compression", _TABLES)]
    return make(look_at(network, X, module, "analyze_compression").traced())


def _layers_of(found: Traced) -> pd.DataFrame:
    smallest = layer_table(found.module, found.costs, _everything(found))
    dense = layer_table(found.module, found.costs, np.zeros_like(found.removed))
    blocked = _blocked(found)
    advice = {layer: " ".join(dict.fromkeys(map(advice_for, reasons))) for layer, reasons in blocked.items()}
    table = dense.assign(
        num_removable=smallest["num_pruned_filters"],
        max_filters_reduction=smallest["num_pruned_filters"] / dense["num_filters"].clip(lower=1),
        max_learnables_reduction=smallest["learnables_reduction"],
        max_macs_reduction=smallest["macs_reduction"],
        advice=[advice.get(name, "") for name in dense["name"]],
    )
    table = finished(table[table["num_filters"] > 0].reset_index(drop=True), _LAYER_DTYPES, "layer")
    table.attrs["totals"] = smallest.attrs["totals"]
    return table


def _reasons_of(found: Traced) -> pd.DataFrame:
    layers: dict[Reason, dict[str, int]] = {}
    for layer, reasons in _blocked(found).items():
        for reason, count in reasons.items():
            layers.setdefault(reason, {})[layer] = count
    rows = [
        {
            "reason": reason.text,
            "module": reason.module,
            "location": reason.location,
            "num_filters": sum(counts.values()),
            "num_layers": len(counts),
            "layers": tuple(counts),
            "advice": advice_for(reason),
        }
        for reason, counts in layers.items()
    ]
    rows.sort(key=lambda row: -int(str(row["num_filters"])))
    table = finished(pd.DataFrame(rows, columns=list(_REASON_DTYPES)), _REASON_DTYPES, "reason")
    table.attrs["totals"] = layer_table(found.module, found.costs, _everything(found)).attrs["totals"]
    return table


_TABLES: dict[str, Callable[[Traced], pd.DataFrame]] = {"layer": _layers_of, "reason": _reasons_of}


def _everything(found: Traced) -> "np.ndarray[Any, np.dtype[np.bool_]]":
    """Return the units that are gone when everything is that may go."""
    ranking = Ranking(np.zeros(found.costs.graph.n_units))
    return found.selector.choose(ranking, found.removed, lambda removed: False)


def _blocked(found: Traced) -> Blocked:
    graph = found.costs.graph
    blocked: Blocked = {}
    for layer in graph.layers:
        labels = graph.filters_of(layer)
        frozen = labels[graph.unit_of_label[labels] < 0]
        _, first, counts = np.unique(graph.component[frozen], return_index=True, return_counts=True)
        reasons: dict[Reason, int] = {}
        for label, count in zip(frozen[first].tolist(), counts.tolist(), strict=True):
            reason = graph.reason(label)
            if reason is not None:
                reasons[reason] = reasons.get(reason, 0) + count
        name = layer or found.costs.layer_types[layer]
        blocked[name] = dict(sorted(reasons.items(), key=lambda item: -item[1]))
    return blocked
