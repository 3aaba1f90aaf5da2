"""The whole accuracy-against-size path by cross-validation."""

import warnings
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from joblib import effective_n_jobs
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier
from sklearn.metrics import check_scoring
from sklearn.model_selection import check_cv
from sklearn.utils import Tags, get_tags
from sklearn.utils.metaestimators import available_if
from sklearn.utils.parallel import delayed
from sklearn.utils.validation import check_is_fitted
from skorch import NeuralNet
from skorch.dataset import get_len

from prunekit import _skorch
from prunekit._documentation import DocumentedMixin
from prunekit._loop import Progress
from prunekit._skorch import Budget
from prunekit._validation import check_integer, check_interval
from prunekit.cost import RESOURCES
from prunekit.exceptions import ParameterError
from prunekit.pruner import TaylorPruner
from prunekit.schedules import MilestoneSchedule
from prunekit.search._folds import FoldPath, TellingParallel, path_pruner, walk
from prunekit.search._scorers import lowest_score, select_smallest

_OWNER = "TaylorPrunerCV"


def _delegates(method: str) -> Any:
    """Return a check whether the result has a method; used together with `available_if`."""

    def check(search: "TaylorPrunerCV") -> bool:
        found = getattr(search, "best_estimator_", None)
        return hasattr(search._pruner if found is None else found, method)

    return check


class TaylorPrunerCV(DocumentedMixin, MetaEstimatorMixin, BaseEstimator):
    """
    Find by cross-validation how far a net can be pruned, and prune it that far.

    On each fold a clone of the net is trained once and pruned along one path that visits every reduction. The network
    that reaches a reduction is copied, trained to the end and scored on the data that were held out. The largest
    reduction whose mean score is as good as that of the dense network, up to ``tolerance``, is the best one; a net is
    then trained and pruned by it on all data.

    Parameters
    ----------
    estimator : TaylorPruner or NeuralNet
        The pruner, of which ``step``, ``min_score``, ``max_score_drop`` and ``control`` have no say on the folds; a net
        stands for ``TaylorPruner(net)``. It is never changed.
    reductions : int or sequence of float, default=10
        Reductions of ``reduction_of`` to visit, in (0, 1). A number stands for as many equal steps up to the
        ``target_reduction`` of the pruner.
    cv : int, splitter or iterable, default=None
        As scikit-learn takes it; None: 5 folds, stratified for classifiers.
    scoring : str or callable, default=None
        Scikit-learn scorer of the net. None: ``scoring`` of the pruner, else the ``score`` method of the net.
    tolerance : float, default=None
        How far below the mean score of the dense network that of the result may be. None: one standard error of the
        dense network's score over the folds.
    refit : bool, default=True
        Whether to prune on all data at the end.
    n_jobs : int, default=None
        Number of folds at a time, in the backend of `joblib`. The processes may be on other machines. In each, the
        results are the same if they have the same number of threads.
    verbose : int, default=0
        With 1, the folds that are done and the time that is left are shown, as `TaylorPruner` shows its iterations; and
        these for each fold too, if one fold runs at a time.

    Attributes
    ----------
    cv_results_ : dict of str to ndarray
        A row for the dense network and one for each reduction; for ``pandas.DataFrame``. ``reduction`` is what was
        asked for, ``mean_test_score``, ``std_test_score``, ``rank_test_score`` and ``split0_test_score`` and so on what
        was found, ``mean_reduction_params``, ``mean_reduction_macs``,
        ``mean_reduction_filters`` and ``mean_reduction_memory`` what was reached, ``mean_fit_time`` and
        ``std_fit_time`` the seconds from the beginning of the path.
    dense_score_ : float
        Mean score of the dense network.
    lowest_score_ : float
        Mean score that is within the tolerance of it.
    best_reduction_ : float
        The largest reduction within the tolerance. 0 if there is none, with a warning.
    best_index_ : int
        Its row.
    best_score_ : float
        Its mean score.
    best_estimator_ : TaylorPruner
        With ``refit``: the pruner, fitted on all data.
    scorer_ : callable
        The scorer.
    n_splits_ : int
        Number of folds.
    classes_ : ndarray of shape (n_classes,)
        With ``refit``: labels of the classes, of classifiers only.

    See Also
    --------
    TaylorPruner : What does the work.
    prunekit.PruningPathDisplay : Draws the path with its bands.

    Notes
    -----
    Pruning by the best reduction visits the same reductions before it, so its result is what the folds have measured
    but for the learning rate: on the folds it stays as it is while there are steps, and falls in the training of each
    network before it is scored; this training takes a share of ``final_epochs`` or ``final_batches``, such that all of
    a path together costs what one fit costs. With ``lr_policy`` ``"constant"`` and ``"restart"`` there is no
    difference.

    The data held out are seen by nothing but the scorer; the net's ``train_split`` is taken from the rest. With
    `FrozenEstimator` around a net the weights have seen all data, and all scores on the folds are too good.

    With the ``checkpoint`` of the pruner, a search that ends before its time goes on where it was when it is fitted
    again with the same parameters and data: folds that are done are read, each of the others goes on with its last
    iteration, and so does the pruning on all data. Of a fold that is done only its scores stay in the folder. With
    ``memory``, searches share their trainings and iterations as separate fits do.

    References
    ----------
    .. [1] T. Hastie, R. Tibshirani, J. Friedman, "The elements of statistical learning", 2009, section 7.10, for the
       rule of one standard error.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skorch import NeuralNetClassifier
    >>> from torch import nn
    >>> from prunekit import TaylorPruner, TaylorPrunerCV
    >>> X, y = make_classification(n_samples=400, class_sep=2.0, random_state=0)
    >>> class Perceptron(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.hidden = nn.Linear(20, 32)
    ...         self.output = nn.Linear(32, 2)
    ...
    ...     def forward(self, x):
    ...         return self.output(self.hidden(x).relu())
    >>> net = NeuralNetClassifier(Perceptron, criterion=nn.CrossEntropyLoss, lr=0.1, verbose=0)
    >>> search = TaylorPrunerCV(TaylorPruner(net, random_state=0), reductions=[0.5, 0.75], cv=3, tolerance=0.02)
    >>> search.fit(X, y).best_reduction_
    0.75
    >>> search.transform().module_.hidden
    Linear(in_features=20, out_features=7, bias=True)
    """

    def __init__(
        self,
        estimator: TaylorPruner | NeuralNet,
        *,
        reductions: int | Sequence[float] = 10,
        cv: Any = None,
        scoring: Any = None,
        tolerance: float | None = None,
        refit: bool = True,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.reductions = reductions
        self.cv = cv
        self.scoring = scoring
        self.tolerance = tolerance
        self.refit = refit
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None, *, groups: Any = None, **fit_params: Any) -> Self:
        """
        Walk the path on every fold, choose a reduction, and prune by it on all data.

        Parameters
        ----------
        X : array, tensor, dict of those, or SliceDataset
            The data, as skorch takes them; their samples can be picked by an index.
        y : array or tensor, default=None
            Targets.
        groups : array-like of shape (n_samples,), default=None
            For the splitter.
        **fit_params : dict
            Passed on to the ``fit`` of the pruner.

        Returns
        -------
        self : TaylorPrunerCV
            The fitted estimator.

        Raises
        ------
        ParameterError
            If the value of a parameter is wrong.
        ParameterTypeError
            If a parameter has the wrong type.
        TargetError
            If the largest reduction cannot be reached.
        """
        verbose = check_integer("verbose", int(self.verbose), _OWNER, 0)
        pruner = self._pruner
        if verbose:  # the folds tell of themselves only if one runs at a time
            pruner = clone(pruner).set_params(verbose=verbose if effective_n_jobs(self.n_jobs) == 1 else 0)
        reductions = self._points(pruner)
        if self.tolerance is not None:
            check_interval("tolerance", self.tolerance, _OWNER, 0.0, np.inf, closed="left")
        net, _ = _skorch.check_net(pruner.estimator, "TaylorPruner")
        scoring = pruner.scoring if self.scoring is None else self.scoring
        self.scorer_ = check_scoring(net, scoring)
        splitter = check_cv(self.cv, y, classifier=is_classifier(net))
        indices = np.zeros((get_len(X), 1))
        training = Budget(pruner.final_epochs, pruner.final_batches)
        given = reductions, training, scoring, X, y
        folds = list(splitter.split(indices, y, groups))
        with Progress("Folds", bool(verbose), unit="fits", interval=0.0) as progress:
            progress.expect(len(folds) + bool(self.refit))
            paths = TellingParallel(progress, n_jobs=self.n_jobs)(
                delayed(walk)(path_pruner(clone(pruner), reductions), *given, train, test, fit_params)
                for train, test in folds
            )
            self._note(reductions, paths)
            self._choose()
            if self.refit:
                progress.show("All data", f"best {100 * self.best_reduction_:.3g} % of {self.reduction_of}")
                self.best_estimator_ = self._fit_best(pruner, reductions, X, y, fit_params)
                progress.tick()
        return self

    def transform(self, X: Any = None) -> NeuralNet:
        """
        Return the pruned net.

        Parameters
        ----------
        X : object, default=None
            Ignored, present for pipelines.

        Returns
        -------
        NeuralNet
            The net of ``best_estimator_``, fitted.
        """
        check_is_fitted(self, "best_estimator_")
        return self.best_estimator_.transform()

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> NeuralNet:
        """
        Fit and return the pruned net.

        Parameters
        ----------
        X, y : object
            As in `fit`.
        **fit_params : dict
            As in `fit`.

        Returns
        -------
        NeuralNet
            The net of ``best_estimator_``.
        """
        return self.fit(X, y, **fit_params).transform()

    @available_if(_delegates("predict"))  # type: ignore[untyped-decorator]
    def predict(self, X: Any) -> NDArray[Any]:
        """
        Predict with the pruned net.

        Parameters
        ----------
        X : array, tensor, dict of those, or Dataset
            The samples.

        Returns
        -------
        ndarray of shape (n_samples, ...)
            Class labels or values.
        """
        check_is_fitted(self, "best_estimator_")
        predicted: NDArray[Any] = self.best_estimator_.predict(X)
        return predicted

    @available_if(_delegates("predict_proba"))  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> NDArray[Any]:
        """
        Predict the probabilities of classes with the pruned net.

        Parameters
        ----------
        X : array, tensor, dict of those, or Dataset
            The samples.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        check_is_fitted(self, "best_estimator_")
        predicted: NDArray[Any] = self.best_estimator_.predict_proba(X)
        return predicted

    @available_if(_delegates("score"))  # type: ignore[untyped-decorator]
    def score(self, X: Any, y: Any = None) -> float:
        """
        Score the pruned net with ``scoring``, or with its own ``score``.

        Parameters
        ----------
        X : array, tensor, dict of those, or Dataset
            The samples.
        y : array or tensor, default=None
            Their targets.

        Returns
        -------
        float
            The score; greater is better.
        """
        check_is_fitted(self, "best_estimator_")
        return float(check_scoring(self.best_estimator_, self.scoring)(self.best_estimator_, X, y))

    def analyze(self) -> pd.DataFrame:
        """
        Return the layer table of the pruned net.

        Returns
        -------
        DataFrame
            One row per layer, as `PrunableNetwork.analyze` describes it.
        """
        check_is_fitted(self, "best_estimator_")
        return self.best_estimator_.analyze()

    @property
    def classes_(self) -> NDArray[Any]:
        """Labels of the classes, of classifiers only."""
        labels: NDArray[Any] = self.best_estimator_.classes_
        return labels

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        own = get_tags(self._pruner)
        for name in ("estimator_type", "classifier_tags", "regressor_tags", "target_tags", "input_tags"):
            setattr(tags, name, getattr(own, name))
        tags.transformer_tags = own.transformer_tags
        tags.non_deterministic = own.non_deterministic
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "cv_results_")

    @property
    def reduction_of(self) -> str:
        """What the reductions are of."""
        return str(self._pruner.reduction_of)

    @property
    def _pruner(self) -> TaylorPruner:
        if isinstance(self.estimator, TaylorPruner):
            return self.estimator
        return TaylorPruner(self.estimator)

    def _points(self, pruner: TaylorPruner) -> list[float]:
        """Return the reductions to visit, rising."""
        given: Any = self.reductions
        if isinstance(given, str) or not isinstance(given, Sequence | np.ndarray):
            number = check_integer("reductions", given, _OWNER, 1)
            target = check_interval(
                "target_reduction", pruner.target_reduction, "TaylorPruner", 0.0, 1.0, closed="neither"
            )
            return [target * (index + 1) / number for index in range(number)]
        points = sorted({check_interval("reductions", one, _OWNER, 0.0, 1.0, closed="neither") for one in given})
        if not points:
            raise ParameterError(f"The 'reductions' parameter of {_OWNER} must hold one number at least. Got [].")
        return points

    def _note(self, reductions: list[float], paths: list[FoldPath]) -> None:
        """Set the table of results."""
        self.n_splits_ = len(paths)
        scores = np.array([path.scores for path in paths]).T
        seconds = np.array([path.seconds for path in paths])
        means = scores.mean(axis=1)
        ranks = np.array([1 + np.sum(means > mean) if np.isfinite(mean) else len(means) for mean in means])
        self.cv_results_ = {
            "reduction": np.array([0.0, *reductions]),
            "mean_test_score": means,
            "std_test_score": scores.std(axis=1),
            "rank_test_score": ranks.astype(np.int32),
            **{f"split{number}_test_score": path.scores for number, path in enumerate(paths)},
            **{
                f"mean_reduction_{name}": np.mean([path.reductions[name] for path in paths], axis=0)
                for name in RESOURCES
            },
            "mean_fit_time": seconds.mean(axis=0),
            "std_fit_time": seconds.std(axis=0),
        }
        self.lowest_score_ = lowest_score(0, means, scores, self.tolerance)

    def _choose(self) -> None:
        """Set the largest reduction within the tolerance."""
        results = self.cv_results_
        means = results["mean_test_score"]
        self.dense_score_ = float(means[0])
        self.best_index_ = select_smallest(means, results["reduction"], self.lowest_score_)
        self.best_reduction_ = float(results["reduction"][self.best_index_])
        self.best_score_ = float(means[self.best_index_])
        if self.best_index_ == 0:
            warnings.warn(
                f"No reduction holds the score of the dense network, {self.dense_score_:.4g}, within the tolerance: "
                "nothing is to be removed. Allow a larger tolerance, visit smaller reductions, or train for longer.",
                UserWarning,
                stacklevel=3,
            )

    def _fit_best(
        self, pruner: TaylorPruner, reductions: list[float], X: Any, y: Any, fit_params: dict[str, Any]
    ) -> TaylorPruner:
        """Prune on all data, by way of the same reductions."""
        visited = [one for one in reductions if one <= self.best_reduction_]
        step = MilestoneSchedule(visited) if visited else pruner.step
        best: TaylorPruner = clone(pruner)
        best.set_params(target_reduction=self.best_reduction_, step=step, verbose=max(self.verbose, pruner.verbose))
        best.fit(X, y, **fit_params)
        return best
