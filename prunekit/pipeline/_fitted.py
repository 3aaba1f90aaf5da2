"""What the estimator of an experiment consists of, before and after it is fitted."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from skorch import NeuralNet

from prunekit.pipeline._searching import SEARCHES
from prunekit.pipeline._steps import EXPORTERS
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
        whole = estimator if model_of(estimator) is estimator else estimator.best_estimator_
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


def model_of(estimator: Any) -> Any:
    """
    Return what a search is over, or another estimator as it is.

    Parameters
    ----------
    estimator : estimator
        Fitted or not.

    Returns
    -------
    estimator
        A pruner, a pipeline or another estimator.
    """
    return estimator.estimator if type(estimator) in SEARCHES.values() else estimator


def learner_of(estimator: Any) -> Any:
    """
    Return the step of an estimator that learns.

    Parameters
    ----------
    estimator : estimator
        A pruner, a pipeline, or a search over one of them; it need not be fitted.

    Returns
    -------
    estimator
        The last step but for exporters; no copy.
    """
    model = model_of(estimator)
    if not isinstance(model, Pipeline):
        return model
    steps = [step for _, step in model.steps if not isinstance(step, tuple(EXPORTERS.values()))]
    return steps[-1] if steps else None


def innermost(estimator: Any) -> Any:
    """
    Return what decides on the network of an estimator.

    Parameters
    ----------
    estimator : estimator
        As `learner_of` takes it.

    Returns
    -------
    TaylorPruner, NeuralNet, FrozenEstimator or another estimator
        The pruner, also that of `TaylorPrunerCV`; else what learns.
    """
    learner = learner_of(estimator)
    return learner._pruner if isinstance(learner, TaylorPrunerCV) else learner


def net_of(estimator: Any) -> NeuralNet | FrozenEstimator | None:
    """
    Return the net that an estimator is about.

    Parameters
    ----------
    estimator : estimator
        As `learner_of` takes it.

    Returns
    -------
    NeuralNet, FrozenEstimator or None
        None where there is no net.
    """
    inner = innermost(estimator)
    net = inner.estimator if isinstance(inner, TaylorPruner) else inner
    return net if isinstance(unfrozen(net), NeuralNet) else None


def unfrozen(net: Any) -> Any:
    """
    Return what a `FrozenEstimator` holds, or another net as it is.

    Parameters
    ----------
    net : object
        The net.

    Returns
    -------
    object
        The net itself.
    """
    return net.estimator if isinstance(net, FrozenEstimator) else net
