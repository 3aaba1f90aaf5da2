"""Scores of how much smaller a network became, for searches."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.metrics import check_scoring
from sklearn.pipeline import Pipeline

from prunekit._validation import check_choice, check_interval
from prunekit.cost import RESOURCES
from prunekit.exceptions import ParameterError, ParameterTypeError

_INFINITE = float("inf")
_ROUNDING = 1e-12


class ReductionScorer(BaseEstimator):
    """
    Score an estimator by what was removed from its network.

    An object of this class is a scikit-learn scorer, for the ``scoring`` of a search. ``reduction_scorer`` and
    ``macs_scorer`` are ready ones.

    Parameters
    ----------
    of : {"target", "params", "macs", "filters", "memory"}, default="target"
        What is counted. "target": what the target of the pruner counts.

    Examples
    --------
    >>> from prunekit.search import ReductionScorer
    >>> ReductionScorer("macs")
    ReductionScorer(of='macs')
    """

    def __init__(self, of: str = "target") -> None:
        self.of = of

    def __call__(self, estimator: Any, X: Any = None, y: Any = None) -> float:
        """
        Return the reduction.

        Parameters
        ----------
        estimator : TaylorPruner, TaylorPrunerCV, Pipeline or search
            Fitted; of a pipeline the pruner among its steps counts, of a search its best estimator.
        X, y : object, default=None
            Not used.

        Returns
        -------
        float
            Fraction that was removed.

        Raises
        ------
        ParameterError
            If there is no such resource.
        ParameterTypeError
            If there is no fitted pruner.
        """
        of = check_choice("of", self.of, type(self).__name__, ("target", *RESOURCES))
        pruner = _find_pruner(estimator)
        return float(pruner.reduction_ if of == "target" else pruner.reductions_[of])


class TradeoffScorer(BaseEstimator):
    """
    Score an estimator by its score and by what was removed from its network: score + weight x reduction.

    An object of this class is a scikit-learn scorer; ``tradeoff_scorer`` is a ready one.

    Parameters
    ----------
    weight : float, default=0.1
        What a reduction by everything would be worth. With 0.1, ten percent fewer multiply-adds are worth one point of
        accuracy.
    of : {"target", "params", "macs", "filters", "memory"}, default="macs"
        What is counted.
    scoring : str or callable, default=None
        Scikit-learn scorer. None: the ``score`` method of the estimator.
    """

    def __init__(self, weight: float = 0.1, of: str = "macs", scoring: Any = None) -> None:
        self.weight = weight
        self.of = of
        self.scoring = scoring

    def __call__(self, estimator: Any, X: Any, y: Any = None) -> float:
        """
        Return the score and the weighted reduction together.

        Parameters
        ----------
        estimator : TaylorPruner, TaylorPrunerCV, Pipeline or search
            Fitted.
        X, y : object
            Data to score on.

        Returns
        -------
        float
            Greater is better.

        Raises
        ------
        ParameterError
            If there is no such resource, or the weight is below 0.
        ParameterTypeError
            If there is no fitted pruner.
        """
        weight = check_interval("weight", self.weight, type(self).__name__, 0.0, _INFINITE, closed="left")
        scorer = check_scoring(estimator, self.scoring)
        return float(scorer(estimator, X, y)) + weight * ReductionScorer(self.of)(estimator)


reduction_scorer = ReductionScorer()
macs_scorer = ReductionScorer("macs")
tradeoff_scorer = TradeoffScorer()


def _find_pruner(estimator: Any) -> Any:
    """Return the fitted pruner inside of an estimator."""
    if isinstance(estimator, Pipeline):
        steps = [step for _, step in estimator.steps if hasattr(step, "reductions_")]
        found = steps[-1] if steps else estimator
    else:
        found = getattr(estimator, "best_estimator_", estimator)
    if found is not estimator and not hasattr(found, "reductions_"):
        return _find_pruner(found)
    if not hasattr(found, "reductions_"):
        raise ParameterTypeError(
            "The 'estimator' parameter of the scorer must be a fitted TaylorPruner, or a pipeline or a search around "
            f"one. Got {type(estimator).__name__} instead."
        )
    return found


def smallest_within(
    tolerance: float | None = None, *, score: str = "score", reduction: str = "reduction"
) -> Callable[[Mapping[str, Any]], int]:
    """
    Return a rule for the ``refit`` of a search: the smallest network whose score is nearly the best.

    Parameters
    ----------
    tolerance : float, default=None
        How far below the best score it may be. None: one standard error of the best score over the splits.
    score, reduction : str, default="score", "reduction"
        Names of the two scorers in the ``scoring`` of the search.

    Returns
    -------
    callable
        Takes ``cv_results_`` and returns the index of the best candidate. Of equally small ones it is that with the
        better score.

    Raises
    ------
    ParameterError
        If the tolerance is below 0.
    ParameterTypeError
        If it is no number.

    Notes
    -----
    A search with several scorers and a rule for ``refit`` has no ``score`` of its own in scikit-learn, which does not
    know which scorer is meant (1.9: a ``KeyError``). Score ``best_estimator_``.

    References
    ----------
    .. [1] T. Hastie, R. Tibshirani, J. Friedman, "The elements of statistical learning", 2009, section 7.10, for the
       rule of one standard error.

    Examples
    --------
    >>> from prunekit.search import reduction_scorer, smallest_within
    >>> params = {
    ...     "scoring": {"score": "accuracy", "reduction": reduction_scorer},
    ...     "refit": smallest_within(0.01),
    ... }
    """
    if tolerance is not None:
        check_interval("tolerance", tolerance, "smallest_within", 0.0, _INFINITE, closed="left")
    return _SmallestWithin(tolerance, score, reduction)


class _SmallestWithin:
    """The rule; a class, so that it can be pickled."""

    def __init__(self, tolerance: float | None, score: str, reduction: str) -> None:
        self._tolerance = tolerance
        self._score = score
        self._reduction = reduction

    def __repr__(self) -> str:
        return f"smallest_within({self._tolerance}, score={self._score!r}, reduction={self._reduction!r})"

    def __call__(self, results: Mapping[str, Any]) -> int:
        scores, reductions = (self._column(results, name) for name in (self._score, self._reduction))
        splits = [
            np.asarray(values, dtype=float)
            for name, values in results.items()
            if name.startswith("split") and name.endswith(f"_test_{self._score}")
        ]
        if not np.isfinite(scores).any():
            raise ParameterError("One candidate at least must have a score to choose among them. Got none instead.")
        lowest = lowest_score(int(np.nanargmax(scores)), scores, np.array(splits).T, self._tolerance)
        return select_smallest(scores, reductions, lowest)

    def _column(self, results: Mapping[str, Any], name: str) -> Any:
        column = f"mean_test_{name}"
        if column not in results:
            known = ", ".join(repr(key.removeprefix("mean_test_")) for key in results if key.startswith("mean_test_"))
            raise ParameterError(
                f"The search must have a scorer named {name!r} for smallest_within. Got {known} instead. Name it in "
                "scoring={...}, or tell smallest_within its name."
            )
        return np.asarray(results[column], dtype=float)


def lowest_score(reference: int, scores: Any, splits: Any, tolerance: float | None) -> float:
    """
    Return the score that is still nearly as good as that of a candidate.

    Parameters
    ----------
    reference : int
        The candidate.
    scores : ndarray of shape (n_candidates,)
        Means over the splits.
    splits : ndarray of shape (n_candidates, n_splits)
        Scores.
    tolerance : float or None
        How far below. None: one standard error.

    Returns
    -------
    float
        The score.
    """
    if tolerance is None:
        own = splits[reference]
        tolerance = float(own.std(ddof=1) / np.sqrt(own.size)) if own.size > 1 else 0.0
    return float(scores[reference] - tolerance)


def select_smallest(scores: Any, reductions: Any, lowest: float) -> int:
    """
    Return which candidate is the smallest one with a good score.

    Parameters
    ----------
    scores, reductions : ndarray of shape (n_candidates,)
        Means over the splits; NaN for candidates that failed.
    lowest : float
        Lowest score that is good.

    Returns
    -------
    int
        Index of the candidate; of equally small ones that with the better score.
    """
    good = np.flatnonzero(scores >= lowest - _ROUNDING)
    order = np.lexsort((scores[good], reductions[good]))
    return int(good[order[-1]])
