"""A pipeline file, a run or a saved net as a table: what it costs, what could be pruned and what blocks the rest."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd
from safetensors import SafetensorError

from prunekit.analysis import analyze, analyze_compression
from prunekit.analysis._levels import layer_columns
from prunekit.cost import dense_counts
from prunekit.exceptions import ParameterError
from prunekit.pipeline._fitted import innermost
from prunekit.pipeline._run_folders import (
    BEST,
    EXPERIMENT,
    LAYERS,
    METRICS,
    is_run,
    read_json,
    read_layers,
    read_marker,
)
from prunekit.pipeline._unfitted import data_of, dense_module, example_of, unfitted
from prunekit.pipeline.loading import load_experiment

__all__ = ["Level", "analyze_target"]

Level = Literal["layer", "unit", "module", "reason"]

_LEVELS = get_args(Level)
_LEVELS_OF_COMPRESSION = ("layer", "reason")
_NETS = ("pruned.safetensors", "net.safetensors", "dense.safetensors")
_COUNTS = {"params": "num_learnables", "macs": "macs", "filters": "num_filters"}
"""Totals and the columns of the layer table that they are sums of."""


def analyze_target(
    target: str | Path,
    level: Level = "layer",
    *,
    compression: bool = False,
    assignments: Sequence[str] = (),
    experiment: str | Path | None = None,
    trust: Sequence[str] = (),
) -> pd.DataFrame:
    """
    Return the table of a pipeline file, a run or a saved net.

    Parameters
    ----------
    target : str or Path
        A pipeline file, whose dense network is looked at before any training; the folder of a run, whose last net is;
        or a ``.safetensors`` file that a run or `prunekit.save` wrote.
    level : {"layer", "unit", "module", "reason"}, default="layer"
        What a row is: one of `prunekit.analyze`; with `compression` ``"layer"`` or ``"reason"``.
    compression : bool, default=False
        Whether to return what could be removed at most, and what blocks the rest, by `prunekit.analyze_compression`.
    assignments : sequence of str, default=()
        What wins over a pipeline file, each as ``"section.key=value"``.
    experiment : str or Path, default=None
        For a saved net: the pipeline file whose network was pruned. None: that of the run in whose folder it lies.
    trust : sequence of str, default=()
        Packages and modules of which the experiment may import code, as for `load_experiment`.

    Returns
    -------
    DataFrame
        As `prunekit.analyze` or `prunekit.analyze_compression` returns it; ``attrs["subject"]`` tells in words what it
        is of. The layer table of a run comes from its ``layers.csv``, without the data and without totals of
        ``memory_bytes``; for everything else the data are loaded, which tell the shape of a sample.

    Raises
    ------
    ParameterError
        If there is no such target, it is none of these, or the other parameters do not fit it.
    PipelineFileError
        If a pipeline file is wrong.
    InputError
        If the data do not fit the network.
    PlanError
        If a saved net does not fit the experiment.
    """
    _check_level(level, compression)
    path = Path(target)
    is_file = path.suffix in (".yaml", ".yml")
    if not path.exists() and not is_file:
        raise _wrong_target(path, "which does not exist")
    if assignments and not is_file:
        raise ParameterError(f"Keys can be set for pipeline files only. Got {assignments[0]} for {path} instead.")
    if experiment is not None and (path.is_dir() or is_file):
        raise ParameterError(f"An experiment can be given for a saved net only. Got one for {path} instead.")
    make: Callable[..., pd.DataFrame] = analyze_compression if compression else analyze
    if is_file:
        return _of_file(make, path, level, assignments, trust)
    if not path.is_dir():
        return _of_net(make, path, level, _experiment_of(path, experiment), trust)
    read_marker(path)
    if level == "layer" and not compression and (path / LAYERS).is_file():
        return _of_table(path)
    return _of_net(make, _net_in(path), level, _experiment_file(path), trust)


def _check_level(level: str, compression: bool) -> None:
    known = _LEVELS_OF_COMPRESSION if compression else tuple(one for one in _LEVELS if one != "reason")
    if level not in known:
        condition = "with" if compression else "without"
        raise ParameterError(
            f"The level must be {', '.join(known[:-1])} or {known[-1]} {condition} compression. Got {level} instead."
        )


def _of_file(
    make: Callable[..., pd.DataFrame], path: Path, level: Level, assignments: Sequence[str], trust: Sequence[str]
) -> pd.DataFrame:
    """Return the table of the network that a pipeline file describes."""
    experiment = load_experiment(path, assignments, trust)
    split = data_of(experiment)
    estimator = unfitted(experiment, split)
    table = make(innermost(estimator), example_of(estimator, split), level=level)
    return _about(table, f"the dense network of {path}, untrained")


def _of_net(
    make: Callable[..., pd.DataFrame], net: Path, level: Level, experiment_file: Path, trust: Sequence[str]
) -> pd.DataFrame:
    """Return the table of a saved net."""
    experiment = load_experiment(experiment_file, (), trust)
    split = data_of(experiment)
    estimator = unfitted(experiment, split)
    try:
        table = make(net, example_of(estimator, split), level=level, module=dense_module(estimator))
    except (SafetensorError, OSError) as exc:
        raise ParameterError(f"The file {net} must be a net that prunekit saved. {type(exc).__name__}: {exc}") from exc
    return _about(table, f"the net in {net}")


def _of_table(folder: Path) -> pd.DataFrame:
    """Return the layer table that a run wrote."""
    table = read_layers(folder / LAYERS)
    try:
        table = layer_columns(table)
        metrics = read_json(folder / METRICS) if (folder / METRICS).is_file() else {}
        table.attrs["totals"] = {name: _total(name, table, metrics) for name in _COUNTS}
    except (KeyError, ValueError, TypeError, AttributeError) as exc:
        raise ParameterError(
            f"The files {LAYERS} and {METRICS} in {folder} must be as 'prunekit run' wrote them. Got something else "
            f"instead ({type(exc).__name__}: {exc}). Run the experiment again."
        ) from exc
    return _about(table, f"the pruned net of the run in {folder}")


def _total(name: str, table: pd.DataFrame, metrics: dict[str, Any]) -> dict[str, float]:
    """Return a total as it was measured, else as the sum over the layers, in which what is shared counts twice."""
    if name in metrics.get("dense", {}) and name in metrics.get("pruned", {}):
        before, after = metrics["dense"][name], metrics["pruned"][name]
    else:
        after = int(table[_COUNTS[name]].sum())
        before = int(_dense(name, table).sum())
    return {"before": before, "after": after, "reduction": 1 - after / before if before else 0.0}


def _dense(name: str, table: pd.DataFrame) -> Any:
    if name == "filters":
        return table["num_filters"] + table["num_pruned_filters"]
    column = _COUNTS[name]
    return dense_counts(table[column], table[f"{column.removeprefix('num_')}_reduction"])


def _about(table: pd.DataFrame, subject: str) -> pd.DataFrame:
    table.attrs["subject"] = subject
    return table


def _net_in(folder: Path) -> Path:
    """Return the file of the last net of a run."""
    for name in _NETS:
        if (folder / name).is_file():
            return folder / name
    raise ParameterError(f"The folder {folder} must hold a saved net. Got one without {' and '.join(_NETS)} instead.")


def _experiment_file(folder: Path) -> Path:
    """Return the experiment of a run, that of the best candidate after a search."""
    best = folder / BEST
    return best if best.is_file() else folder / EXPERIMENT


def _experiment_of(net: Path, given: str | Path | None) -> Path:
    """Return the experiment of a saved net."""
    if net.suffix != ".safetensors":
        raise _wrong_target(net, "which is something else")
    if given is not None:
        return Path(given)
    if is_run(net.parent):
        return _experiment_file(net.parent)
    raise ParameterError(
        f"A saved net must lie in the folder of its run, or come with the pipeline file whose network was pruned. Got "
        f"{net} alone instead; give the file with --experiment FILE. For a network of your own call "
        "prunekit.analyze(path, X, module=network) in Python."
    )


def _wrong_target(path: Path, what: str) -> ParameterError:
    return ParameterError(
        f"The target must be a pipeline file (.yaml), the folder of a run or a saved net (.safetensors). Got {path}, "
        f"{what}, instead."
    )
