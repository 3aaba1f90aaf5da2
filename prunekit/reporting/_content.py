"""What a report says, as plain data; where it comes from and how it looks is told elsewhere."""

import platform
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prunekit.analysis._outcomes import Outcome
from prunekit.surgery import PruningPlan
from prunekit.tracing import NetworkMap

_PACKAGES = ("prunekit", "torch", "scikit-learn", "skorch", "numpy", "scipy", "pandas", "safetensors")


@dataclass(frozen=True)
class Importances:
    """
    Importance of every unit.

    Parameters
    ----------
    values : ndarray of float, shape (n_units,)
        NaN where a unit was not scored.
    layers : ndarray of str, shape (n_units,)
        Layer of each unit.
    support : ndarray of bool, shape (n_units,)
        Which units are left.
    criterion : str
        What estimated them.
    """

    values: NDArray[np.float64]
    layers: NDArray[np.str_]
    support: NDArray[np.bool_]
    criterion: str


@dataclass(frozen=True)
class ReportContent:
    """
    Everything that a report says.

    Parameters
    ----------
    title : str
        Heading of the page.
    subject : str
        A sentence on what is shown.
    table : DataFrame
        Layer table as `prunekit.analyze` returns it.
    totals : dict of str to dict
        ``before``, ``after`` and ``reduction`` of ``params``, ``macs``, ``filters`` and ``memory_bytes``.
    is_pruned : bool
        Whether anything is removed. If not, the report is on what could be.
    facts : dict of str to str
        Lines of the summary by their names, such as scores and the reason to stop.
    network : NetworkMap, default=None
        Connections of the layers.
    no_network : str, default=""
        Why there are none.
    history : DataFrame, default=None
        A row an iteration, as ``TaylorPruner.history_``.
    outcomes : tuple of str, default=()
        A word for each of its rows.
    resource : str, default="params"
        What the reductions of the history are of.
    baseline, threshold, target : float or None
        Score before pruning, lowest score allowed, reduction aimed at.
    importances : Importances, default=None
        Of the units.
    plan : PruningPlan, default=None
        What was removed from which parameter.
    settings : dict of str to str
        Parameters that pruning was called with.
    environment : dict of str to str
        Versions.
    """

    title: str
    subject: str
    table: pd.DataFrame
    totals: dict[str, dict[str, Any]]
    is_pruned: bool
    facts: dict[str, str] = field(default_factory=dict)
    network: NetworkMap | None = None
    no_network: str = ""
    history: pd.DataFrame | None = None
    outcomes: tuple[Outcome, ...] = ()
    resource: str = "params"
    baseline: float | None = None
    threshold: float | None = None
    target: float | None = None
    importances: Importances | None = None
    plan: PruningPlan | None = None
    settings: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


def describe_environment() -> dict[str, str]:
    """
    Return the versions of Python and of the packages that matter here.

    Returns
    -------
    dict of str to str
        Packages that are not installed as such are left out.
    """
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # a source tree
            continue
    return found
