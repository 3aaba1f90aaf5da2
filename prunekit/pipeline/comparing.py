"""Runs side by side: what differs between their experiments, and what came out."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from os.path import commonpath
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prunekit.analysis._intervals import Estimate, wilson
from prunekit.exceptions import ParameterError
from prunekit.pipeline._fitted import DENSE, ESTIMATOR, NET, PRUNED
from prunekit.pipeline._problems import KeyPath, dotted
from prunekit.pipeline._run_folders import METRICS, read_json, read_marker, read_settings
from prunekit.pipeline._yaml import Value

__all__ = ["RunsComparison", "compare_runs"]

_NETWORKS = {"dense": (DENSE,), "final": (PRUNED, NET, ESTIMATOR)}
"""Networks and the sections of the metrics that hold them; a run that prunes nothing has a final one only."""
_UNITS = {
    "test_accuracy": "fraction of the test samples",
    "r2": "",
    "mse": "square of the targets' unit",
    "params": "parameters",
    "macs": "multiply-adds for one sample",
    "filters": "filters",
    "file_bytes": "bytes",
}
"""Units of measure, in the order in which measures are listed; latencies and what is not known here come after."""
_NO_MEASURES = ("num_correct",)
_LATENCY = "latency_ms"
_RUN_DTYPES = {
    "folder": "str",
    "name": "str",
    "seed": "Int64",
    "reduction": "float64",
    "reduction_of": "str",
    "stop_reason": "str",
    "num_test": "Int64",
    "num_threads": "Int64",
    "python": "str",
    "platform": "str",
}
_METRIC_DTYPES = {
    "run": "str",
    "network": "str",
    "measure": "str",
    "unit": "str",
    **dict.fromkeys(("value", "low", "high", "difference", "ratio"), "float64"),
}
_TEST_DATA = ("seed", "data.source", "data.test_size", "data.sample")
"""Keys of an experiment, and what begins with them, that say which samples a run was tested on."""
_BOUND = 2**63
_MACHINE = ("platform", "machine", "device", "cpu", "gpu")


@dataclass(frozen=True, eq=False)
class RunsComparison:
    """
    Several runs side by side.

    Parameters
    ----------
    runs : DataFrame
        A row per run, by whose name it is indexed: ``folder``, ``name`` of the experiment, ``seed``, ``reduction``,
        ``reduction_of``, ``stop_reason``, ``num_test`` samples, ``num_threads``, ``python`` and ``platform``; empty or
        missing where a run says nothing of it.
    settings : DataFrame
        A row per key of the experiments that is not the same in all of them, indexed by the dotted ``key``; a column
        per run with plain values, ``pandas.NA`` where an experiment has no such key.
    metrics : DataFrame
        A row per ``run``, ``network`` ("dense" or "final", which is the pruned one where something was pruned) and
        ``measure`` (those of ``metrics.json``, ``latency_ms_batch_<n>`` for latencies), all str, as ``unit`` is. Of
        float64: ``value``, the ends ``low`` and ``high`` of the confidence interval of an accuracy, and ``difference``
        and ``ratio`` to the same measure of the first run; NaN where there is none.
    warnings : tuple of str
        What keeps numbers of these runs from being compared, a sentence each.
    """

    runs: pd.DataFrame
    settings: pd.DataFrame
    metrics: pd.DataFrame
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Run:
    """What is read of a run."""

    label: str
    folder: Path
    marker: dict[str, Any]
    metrics: dict[str, Any]
    settings: dict[str, Value]


def compare_runs(folders: Sequence[str | Path], *, confidence: float = 0.95) -> RunsComparison:
    """
    Compare two or more runs.

    Parameters
    ----------
    folders : sequence of str or Path
        Folders that `run_experiment` wrote. The first one is what the others are compared with.
    confidence : float, default=0.95
        Of the intervals of accuracies.

    Returns
    -------
    RunsComparison
        Tables, and warnings where numbers do not compare.

    Raises
    ------
    ParameterError
        If there are fewer than two folders, one is given twice, or is none of a run; or if a file of it is missing or
        broken. The message names the file.

    See Also
    --------
    prunekit.compare : Measure two networks on the same data.

    Notes
    -----
    The files are read, nothing is measured again. Intervals are those of Wilson for each run by itself: they tell what
    other test samples would give. Of runs that were tested on the same samples a smaller difference is worth something
    as well, see `prunekit.compare`. Latencies compare only within one machine that does nothing else.

    A run of a search counts with the best parameters that it found.
    """
    paths = [Path(folder) for folder in folders]
    _check_folders(paths, confidence)
    runs = [_read(path, label) for path, label in zip(paths, _labels(paths), strict=True)]
    settings = _settings(runs)
    return RunsComparison(_facts(runs), settings, _metrics(runs, confidence), tuple(_warnings(runs, settings)))


def _check_folders(paths: list[Path], confidence: float) -> None:
    if len(paths) < 2:
        raise ParameterError(f"At least two folders of runs must be given to be compared. Got {len(paths)} instead.")
    seen = [path.resolve() for path in paths]
    twice = next((path for path, real in zip(paths, seen, strict=True) if seen.count(real) > 1), None)
    if twice is not None:
        raise ParameterError(f"Each folder must be given once. Got {twice} more than once instead.")
    if not 0 < confidence < 1:
        raise ParameterError(f"The 'confidence' parameter of compare_runs must be in (0, 1). Got {confidence} instead.")


def _labels(paths: list[Path]) -> list[str]:
    """Return short names that tell the folders apart: without the folder that all of them lie in."""
    real = [path.resolve() for path in paths]
    above = commonpath(real) if len({path.anchor for path in real}) == 1 else ""
    labels = [path.relative_to(above).as_posix() if above else path.as_posix() for path in real]
    return [path.name if label == "." else label for label, path in zip(labels, real, strict=True)]


def _read(folder: Path, label: str) -> _Run:
    return _Run(label, folder, read_marker(folder), read_json(folder / METRICS), read_settings(folder))


def _facts(runs: list[_Run]) -> pd.DataFrame:
    """Return a row per run with what is said of it as a whole."""
    rows = []
    for run in runs:
        row = {
            "folder": str(run.folder),
            "reduction_of": _reduction_of(run.settings),
            **{key: run.marker.get(key) for key in ("name", "python", "platform")},
            "stop_reason": run.metrics.get("stop_reason"),
            "reduction": _number(run.metrics.get("reduction")),
            "seed": _whole(run.marker.get("seed")),
            **{key: _whole(run.metrics.get(key)) for key in ("num_test", "num_threads")},
        }
        texts = {key: _text(row[key]) for key, dtype in _RUN_DTYPES.items() if dtype == "str"}
        rows.append({**row, **texts})
    index = pd.Index([run.label for run in runs], name="run")
    return pd.DataFrame(rows, index=index, columns=list(_RUN_DTYPES)).astype(_RUN_DTYPES)


def _reduction_of(settings: Mapping[str, Value]) -> Value:
    """Return what reductions are of, wherever the experiment has its pruner."""
    steps = settings.get("steps")
    sections = [settings.get("prune"), *(steps.values() if isinstance(steps, dict) else ())]
    sections += [one.get("estimator") for one in sections if isinstance(one, dict)]
    return next((one["reduction_of"] for one in sections if isinstance(one, dict) and "reduction_of" in one), None)


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _settings(runs: list[_Run]) -> pd.DataFrame:
    """Return the keys whose values are not the same in all runs, in the order of the files."""
    flat = [dict(_leaves(run.settings)) for run in runs]
    keys = list(dict.fromkeys(key for one in flat for key in one))
    above = {key[:length] for key in keys for length in range(1, len(key))}
    # An empty section, or none, beside one with content: what is in that tells it all.
    keys = [key for key in keys if key not in above and _differs([one.get(key, pd.NA) for one in flat])]
    keys.sort(key=_order(key for one in flat for key in one))
    content = {run.label: _objects([one.get(key, pd.NA) for key in keys]) for run, one in zip(runs, flat, strict=True)}
    return pd.DataFrame(content, index=pd.Index([dotted(key) for key in keys], name="key", dtype="str"), dtype=object)


def _order(keys: Iterable[KeyPath]) -> Callable[[KeyPath], tuple[int, ...]]:
    """Return the place of a key, so that those of one section stay together also where the first file lacks some."""
    places: dict[KeyPath, int] = {}
    for key in keys:
        for length in range(1, len(key) + 1):
            places.setdefault(key[:length], len(places))
    return lambda key: tuple(places[key[:length]] for length in range(1, len(key) + 1))


def _objects(values: list[Any]) -> "np.ndarray[Any, np.dtype[np.object_]]":
    """Return an array of one dimension, of which lists are elements."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _leaves(value: Value, at: KeyPath = ()) -> Iterator[tuple[KeyPath, Value]]:
    """Yield key paths and plain values; a list of plain values is one."""
    if isinstance(value, dict) and value:
        items: list[tuple[str | int, Value]] = list(value.items())
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        items = list(enumerate(value))
    else:
        yield at, value
        return
    for key, item in items:
        yield from _leaves(item, (*at, key))


def _metrics(runs: list[_Run], confidence: float) -> pd.DataFrame:
    """Return a row per run, network and measure, with what it is compared with the first run."""
    measured = [_measures(run, confidence) for run in runs]
    rows = []
    for run, own in zip(runs, measured, strict=True):
        for (network, measure), (unit, estimate) in own.items():
            _, first = measured[0].get((network, measure), ("", Estimate(math.nan)))
            rows.append(
                {
                    "run": run.label,
                    "network": network,
                    "measure": measure,
                    "unit": unit,
                    "value": estimate.value,
                    "low": estimate.low,
                    "high": estimate.high,
                    "difference": estimate.value - first.value,
                    "ratio": estimate.value / first.value if first.value else math.nan,
                }
            )
    return pd.DataFrame(rows, columns=list(_METRIC_DTYPES)).astype(_METRIC_DTYPES)


def _measures(run: _Run, confidence: float) -> dict[tuple[str, str], tuple[str, Estimate]]:
    """Return unit and value of every network and measure of a run."""
    found = {}
    for network, names in _NETWORKS.items():
        section: dict[str, Any] = next((one for one in map(run.metrics.get, names) if isinstance(one, dict)), {})
        latencies = section.get(_LATENCY)
        values = {key: section[key] for key in (*_UNITS, *section) if key in section and key not in _NO_MEASURES}
        if isinstance(latencies, dict):
            values |= {f"{_LATENCY}_batch_{size}": value for size, value in latencies.items()}
        for measure, value in values.items():
            number = _number(value)
            if not math.isnan(number):
                unit = "ms" if measure.startswith(_LATENCY) else _UNITS.get(measure, "")
                found[network, measure] = unit, Estimate(number)
        if (network, "test_accuracy") in found:
            unit, plain = found[network, "test_accuracy"]
            found[network, "test_accuracy"] = unit, _interval(plain, section, run, confidence)
    return found


def _interval(plain: Estimate, section: dict[str, Any], run: _Run, confidence: float) -> Estimate:
    """Return an accuracy with its interval, if the file tells how many samples it is of."""
    num_test, num_correct = _whole(run.metrics.get("num_test")), _whole(section.get("num_correct"))
    if num_test is None or num_correct is None or not 0 <= num_correct <= num_test or not num_test:
        return plain
    return wilson(num_correct, num_test, confidence)


def _number(value: object) -> float:
    """Return a number; NaN for anything else."""
    is_number = isinstance(value, float) or _whole(value) is not None
    return float(value) if isinstance(value, (int, float)) and is_number else math.nan


def _whole(value: object) -> int | None:
    """Return an integer that a column can hold; None for anything else."""
    is_integer = isinstance(value, int) and not isinstance(value, bool)
    return value if isinstance(value, int) and is_integer and abs(value) < _BOUND else None


def _warnings(runs: list[_Run], settings: pd.DataFrame) -> Iterator[str]:
    """Yield what keeps numbers from being compared."""
    tasks = {_task(run) for run in runs}
    if len(tasks) > 1:
        yield "Some runs classify and others predict values: their scores are different measures."
    others = [key for key in settings.index if _is_below(key, _TEST_DATA)]
    if not others and _differs([run.metrics.get("num_test") for run in runs]):
        others = ["the number of test samples"]
    if others:
        yield (
            f"The runs may have been tested on other samples, for {_listed(others)} differ{'s' * (len(others) == 1)}: "
            "small differences of scores may come from that."
        )
    packages = [one if isinstance(one, dict) else {} for one in (run.marker.get("versions") for run in runs)]
    names = [
        name
        for name in dict.fromkeys(name for one in packages for name in one)
        if _differs([one.get(name) for one in packages])
    ]
    if _differs([run.marker.get("python") for run in runs]):
        names.insert(0, "python")
    if names:
        yield f"The versions of {_listed(names)} differ: the same experiment may give other numbers."
    machines = [key for key in _MACHINE if _differs([run.marker.get(key) for run in runs])]
    if _differs([run.metrics.get("num_threads") for run in runs]):
        machines.append("num_threads")
    if machines:
        yield f"The machines differ by {_listed(machines)}: latencies do not compare."


def _task(run: _Run) -> str:
    sections = [run.metrics.get(name) for names in _NETWORKS.values() for name in names]
    return "values" if any(isinstance(section, dict) and "r2" in section for section in sections) else "classes"


def _differs(values: list[Any]) -> bool:
    first, *others = values
    if first is pd.NA:  # which is equal to nothing, and no truth either
        return any(value is not pd.NA for value in others)
    return any(value is pd.NA or value != first for value in others)


def _is_below(key: str, tops: tuple[str, ...]) -> bool:
    return any(key == top or key.startswith((f"{top}.", f"{top}[")) for top in tops)


def _listed(names: list[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
