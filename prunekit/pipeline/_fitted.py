"""What a fitted estimator of an experiment consists of."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline
from skorch import NeuralNet

from prunekit.pruner import TaylorPruner
from prunekit.search import TaylorPrunerCV

DENSE, PRUNED, NET, ESTIMATOR = "dense", "pruned", "net", "estimator"


@dataclass(frozen=True)
class Fitted:
    """
    A fitted estimator, taken apart.

    Parameters
    ----------
    estimator : estimator
        The whole; of a search its best.
    before : Pipeline or None
        Steps that transform data for the last one.
    last : estimator
        The step that learned.
    path : TaylorPrunerCV or None
        It, if it is one.
    pruner : TaylorPruner or None
        The pruner.
    nets : dict of str to NeuralNet
        ``dense`` and ``pruned``, or ``net`` alone; empty where there is no net.
    """

    estimator: Any
    before: Pipeline | None
    last: Any
    path: TaylorPrunerCV | None
    pruner: TaylorPruner | None
    nets: dict[str, NeuralNet]

    @classmethod
    def of(cls, estimator: Any) -> "Fitted":
        """
        Take an estimator apart.

        Parameters
        ----------
        estimator : estimator
            Fitted: a pruner, a pipeline without exporters, or a search over one.

        Returns
        -------
        Fitted
            Its parts.
        """
        whole = getattr(estimator, "best_estimator_", estimator) if _is_search(estimator) else estimator
        is_pipeline = isinstance(whole, Pipeline)
        last = whole[-1] if is_pipeline else whole
        before = whole[:-1] if is_pipeline and len(whole) > 1 else None
        path = last if isinstance(last, TaylorPrunerCV) else None
        pruner = path.best_estimator_ if path is not None else last if isinstance(last, TaylorPruner) else None
        nets = {NET: last} if isinstance(last, NeuralNet) else {}
        if pruner is not None:
            nets = {DENSE: pruner.baseline_estimator_, PRUNED: pruner.transform()}
        return cls(whole, before, last, path, pruner, nets)

    def seen_by_last(self, X: NDArray[Any]) -> NDArray[Any]:
        """
        Return samples as the last step sees them.

        Parameters
        ----------
        X : ndarray
            Samples as the data have them.

        Returns
        -------
        ndarray
            What the steps before make of them.
        """
        if self.before is None:
            return X
        transformed: NDArray[Any] = np.asarray(self.before.transform(X))
        return transformed.astype(X.dtype, copy=False)


def pruners_of(estimator: Any) -> Iterator[TaylorPruner]:
    """
    Yield the pruners within an estimator that is not fitted.

    Parameters
    ----------
    estimator : estimator
        A pruner, a pipeline or a search.

    Yields
    ------
    TaylorPruner
        Each of them; not a copy.
    """
    found = [estimator, *estimator.get_params(deep=True).values()]
    seen: set[int] = set()
    for one in found:
        if isinstance(one, TaylorPruner) and id(one) not in seen:
            seen.add(id(one))
            yield one


def _is_search(estimator: Any) -> bool:
    return hasattr(estimator, "cv_results_") and not isinstance(estimator, TaylorPrunerCV)
