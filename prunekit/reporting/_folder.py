"""From the folder that `prunekit run` wrote to the content of a report; nothing in it is executed."""

import ast
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prunekit._words import bytes_text, percent_text
from prunekit.analysis._outcomes import outcomes
from prunekit.analysis._thresholds import lowest_allowed
from prunekit.exceptions import ParameterError, PlanError
from prunekit.io import read_plan
from prunekit.reporting._content import ReportContent
from prunekit.reporting._sources import path_facts
from prunekit.surgery import PruningPlan
from prunekit.tracing import NetworkMap

_MARKER = "run.json"
_NEEDED = ("layers.csv", "history.csv", "metrics.json")
_TUPLES = ("activation_size", "learnable_sizes", "state_sizes")


def content_of_run(
    folder: str | Path, network: NetworkMap | None = None, settings: dict[str, Any] | None = None, no_network: str = ""
) -> ReportContent:
    """
    Return what a report on a run says.

    Parameters
    ----------
    folder : str or Path
        Folder that ``prunekit run`` wrote.
    network : NetworkMap, default=None
        Connections of the layers, which the files do not hold.
    settings : dict, default=None
        The ``prune`` section of the experiment.
    no_network : str, default=""
        Why there are no connections.

    Returns
    -------
    ReportContent
        Summary, layer table, history, plan and versions. The importances of units are in none of the files.

    Raises
    ------
    ParameterError
        If it is no such folder or a file of it is missing or broken.
    """
    path = Path(folder)
    try:
        marker = json.loads((path / _MARKER).read_text(encoding="utf-8"))
        is_run = "prunekit_run" in marker
    except (OSError, ValueError, TypeError):
        is_run = False
    missing = [name for name in _NEEDED if not (path / name).is_file()]
    if not is_run or missing:
        lack = f"without {', '.join(missing)}" if is_run else f"without a {_MARKER} of a run"
        raise ParameterError(
            f"The folder of a report must be one that 'prunekit run' wrote. Got {path}, {lack}, instead."
        )
    try:
        table = read_layers(path / "layers.csv")
        history = pd.read_csv(path / "history.csv")
        metrics = json.loads((path / "metrics.json").read_text(encoding="utf-8"))
        content = _assemble(path, marker, metrics, table, history, network, settings or {}, no_network)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SyntaxError) as exc:
        raise ParameterError(
            f"The folder of a report must hold the files as 'prunekit run' wrote them. Got {path} with something else "
            f"instead ({type(exc).__name__}: {exc}). Run the experiment again."
        ) from exc
    return content


def _assemble(
    path: Path,
    marker: dict[str, Any],
    metrics: dict[str, Any],
    table: pd.DataFrame,
    history: pd.DataFrame,
    network: NetworkMap | None,
    settings: dict[str, Any],
    no_network: str,
) -> ReportContent:
    dense, pruned = metrics["dense"], metrics["pruned"]
    resource = str(settings.get("reduction_of", "params"))
    n_iterations = int((history["phase"] == "prune").sum())
    totals = _totals(table, dense, pruned)
    found = outcomes(history, totals["params"]["reduction"])
    facts = path_facts(history, found, str(metrics["stop_reason"]), n_iterations, resource)
    where = f"on {metrics['num_test']:,} test samples"
    if "r2" in dense:
        facts[f"R² {where}"] = f"{dense['r2']:.4f} before, {pruned['r2']:.4f} after"
        facts[f"Mean squared error {where}"] = f"{dense['mse']:.6g} before, {pruned['mse']:.6g} after"
    else:
        facts[f"Accuracy {where}"] = (
            f"{percent_text(dense['test_accuracy'], 2)} before, {percent_text(pruned['test_accuracy'], 2)} after"
        )
    facts["File size"] = f"{bytes_text(dense['file_bytes'])} before, {bytes_text(pruned['file_bytes'])} after"
    for size, before_ms in dense["latency_ms"].items():
        facts[f"Latency, batch of {size}"] = f"{before_ms:.3f} ms before, {pruned['latency_ms'][size]:.3f} ms after"
    baseline = float(history["score"].iloc[0]) if len(history) else float("nan")
    environment = {"python": marker.get("python", ""), "platform": marker.get("platform", "")}
    environment |= {"experiment": marker.get("name", ""), "seed": str(marker.get("seed", ""))}
    return ReportContent(
        title=str(marker.get("name", path.name)),
        subject=f"What 'prunekit run' wrote to {path}: the pruned network beside the dense one.",
        table=table,
        totals=totals,
        is_pruned=True,
        facts=facts,
        network=network,
        no_network=no_network,
        history=history,
        outcomes=found,
        resource=resource,
        baseline=baseline if np.isfinite(baseline) else None,
        threshold=lowest_allowed(baseline, settings.get("min_score"), settings.get("max_score_drop")),
        target=float(settings["target_reduction"]) if "target_reduction" in settings else None,
        plan=_read_plan(path / "pruned.safetensors"),
        settings={key: str(value) for key, value in settings.items()},
        environment={key: str(value) for key, value in (environment | marker.get("versions", {})).items()},
    )


def read_layers(path: Path) -> pd.DataFrame:
    """
    Return a layer table as it was before it was written.

    Parameters
    ----------
    path : Path
        CSV file of a run.

    Returns
    -------
    DataFrame
        The table, without attributes.
    """
    table = pd.read_csv(path, keep_default_na=False)
    for column in _TUPLES:
        table[column] = [ast.literal_eval(text) if text else None for text in table[column]]
    return table


def _totals(table: pd.DataFrame, dense: dict[str, Any], pruned: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return before, after and reduction of what the measurements hold."""
    names = {"params": "params", "macs": "macs", "filters": "filters"}
    return {
        name: {
            "before": dense[key],
            "after": pruned[key],
            "reduction": 1 - pruned[key] / dense[key] if dense[key] else 0.0,
        }
        for name, key in names.items()
    }


def _read_plan(path: Path) -> PruningPlan | None:
    """Return the plan of the saved network, None where there is no readable one."""
    try:
        return read_plan(path)
    except (OSError, PlanError):
        return None
