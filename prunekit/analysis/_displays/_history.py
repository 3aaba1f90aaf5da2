"""What the history of a fitted pruner says about its path."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prunekit._validation import check_choice
from prunekit.analysis._outcomes import taken_back
from prunekit.analysis._thresholds import lowest_allowed
from prunekit.exceptions import ParameterError

_COLUMN = "reduction_"
_LOSS = "Training loss (there is no validation score)"


def read_path(pruner: Any, of: str | None, owner: str) -> dict[str, Any]:
    """
    Return the data of a path, by the names that the display has for them.

    Parameters
    ----------
    pruner : TaylorPruner or TaylorPrunerCV
        The fitted pruner.
    of : str or None
        Resource to show; None: that of the pruner's target.
    owner : str
        Class whose ``from_estimator`` this is, for the messages.

    Returns
    -------
    dict
        Parameters of `PruningPathDisplay`.

    Raises
    ------
    ParameterError
        If the history has no such resource, or neither scores nor losses.
    """
    if hasattr(pruner, "cv_results_"):
        return _read_folds(pruner, of, owner)
    history = pruner.history_
    resource = pruner.reduction_of if of is None else of
    known = tuple(name.removeprefix(_COLUMN) for name in history.columns if name.startswith(_COLUMN))
    check_choice("of", resource, f"{owner}.from_estimator", known)
    scored = bool(history["score"].notna().any())
    if not scored and history["train_loss"].isna().all():
        raise ParameterError(
            f"The 'pruner' parameter of {owner}.from_estimator must have measured something. Got a history with "
            "neither scores nor losses instead. Give the net a train_split or fit with X_val, or fine-tune."
        )
    return {
        "reductions": history[f"{_COLUMN}{resource}"],
        "scores": history["score" if scored else "train_loss"],
        "scores_before": history["score_before"] if scored and "score_before" in history else None,
        "phases": history["phase"],
        "taken_back": taken_back(history, pruner.reductions_["params"]),
        "resource": resource,
        "measure": measure_of(pruner.scoring) if scored else _LOSS,
        "threshold": threshold_of(pruner) if scored else None,
        "target": pruner.target_reduction if resource == pruner.reduction_of else None,
        "control": _finite(getattr(pruner, "control_score_", None)) if scored else None,
        "stop_reason": pruner.stop_reason_,
    }


def read_paths(pruners: Mapping[str, Any], of: str | None, owner: str) -> dict[str, Any]:
    """
    Return the data of several paths, by the names that the display has for them.

    Parameters
    ----------
    pruners : dict of str to TaylorPruner or TaylorPrunerCV
        The fitted pruners, by name.
    of : str or None
        Resource to show; None: that of all targets.
    owner : str
        Method, for the messages.

    Returns
    -------
    dict
        Parameters of `PruningPathDisplay`.

    Raises
    ------
    ParameterError
        If there is no pruner, or they cannot be compared.
    """
    counted = sorted({str(pruner.reduction_of) for pruner in pruners.values()})
    if of is None and len(counted) != 1:
        got = " and ".join(counted) or "no pruner"
        raise ParameterError(
            f"The 'pruners' parameter of {owner} must hold pruners whose targets count the same thing, or 'of' must "
            f"say what to draw. Got {got} instead."
        )
    paths = [read_path(pruner, of, owner) for pruner in pruners.values()]
    measures = sorted({path["measure"] for path in paths})
    if _LOSS in measures and len(measures) > 1:
        raise ParameterError(
            f"The 'pruners' parameter of {owner} must hold pruners that all have scores, or none. "
            f"Got {', '.join(name for name, path in zip(pruners, paths, strict=True) if path['measure'] == _LOSS)} "
            "without a score instead. Give its net a train_split or fit with X_val."
        )

    def common(name: str) -> Any:
        values = {path.get(name) for path in paths}
        return values.pop() if len(values) == 1 else None

    kept = [~np.asarray(path.get("taken_back", np.zeros(len(path["scores"]), dtype=bool))) for path in paths]
    spreads = [path.get("scores_std") for path in paths]
    return {
        "reductions": _padded([np.asarray(path["reductions"])[rows] for path, rows in zip(paths, kept, strict=True)]),
        "scores": _padded([np.asarray(path["scores"])[rows] for path, rows in zip(paths, kept, strict=True)]),
        "scores_std": None
        if all(spread is None for spread in spreads)
        else _padded([np.array([]) if spread is None else spread for spread in spreads], max(map(np.sum, kept))),
        "names": list(pruners),
        "resource": paths[0]["resource"],
        "measure": measures[0] if len(measures) == 1 else "Score",
        "threshold": common("threshold"),
        "target": common("target"),
    }


def _padded(curves: list[NDArray[np.float64]], length: int | None = None) -> NDArray[np.float64]:
    """Return curves of different lengths as rows of one array, with NaN at their ends."""
    made = np.full((len(curves), max(map(len, curves)) if length is None else length), math.nan)
    for row, curve in zip(made, curves, strict=True):
        row[: len(curve)] = curve
    return made


def _read_folds(search: Any, of: str | None, owner: str) -> dict[str, Any]:
    """Return means over the folds with one standard error above and below."""
    results = search.cv_results_
    column = f"mean_{_COLUMN}"
    known = tuple(name.removeprefix(column) for name in results if name.startswith(column))
    resource = search.reduction_of if of is None else of
    check_choice("of", resource, f"{owner}.from_estimator", (*known, search.reduction_of))
    splits = np.array([results[f"split{number}_test_score"] for number in range(search.n_splits_)])
    count = len(splits)
    reductions = results["reduction" if resource == search.reduction_of else column + resource]
    return {
        "reductions": reductions,
        "scores": results["mean_test_score"],
        "scores_std": splits.std(axis=0, ddof=1) / np.sqrt(count) if count > 1 else None,
        "phases": ["dense"] + ["prune"] * (len(reductions) - 1),
        "names": [f"mean of {count} folds ± standard error"],
        "resource": resource,
        "measure": measure_of(search.scoring).replace("Validation", "Test"),
        "threshold": search.lowest_score_,
        "best": reductions[search.best_index_],
    }


def threshold_of(pruner: Any) -> float | None:
    """Return the lowest score that was allowed."""
    return lowest_allowed(pruner.baseline_score_, pruner.min_score, pruner.max_score_drop)


def measure_of(scoring: Any) -> str:
    """Return what the scores of a scorer are."""
    name = scoring if isinstance(scoring, str) else getattr(scoring, "__name__", None)
    return "Validation score" + (f" ({name})" if name else "")


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
