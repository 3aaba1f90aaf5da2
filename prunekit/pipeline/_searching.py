"""Searches over the parameters of an experiment: what a file may search, how it is done, and what was best."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

import pandas as pd
from pydantic import Discriminator, Field, Tag, model_validator
from sklearn.base import BaseEstimator
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - it makes the next import possible
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    KFold,
    RandomizedSearchCV,
    RepeatedKFold,
    RepeatedStratifiedKFold,
    ShuffleSplit,
    StratifiedKFold,
    StratifiedShuffleSplit,
    TimeSeriesSplit,
)

from prunekit.pipeline._samples import Task
from prunekit.pipeline._scoring import Scorers, SearchScorer, scorer_of
from prunekit.pipeline._section import BRANCHES, UNKNOWN_KEY, UNKNOWN_NAME, PositiveInt, Section, key_error
from prunekit.search import smallest_within

NUM_FOLDS = 5
"""What scikit-learn takes where ``cv`` is not given."""

SPLITTERS = {
    one.__name__: one
    for one in (
        *(KFold, StratifiedKFold, RepeatedKFold, RepeatedStratifiedKFold),
        *(ShuffleSplit, StratifiedShuffleSplit, TimeSeriesSplit),
    )
}
_NUMBER, _NAME, _MAPPING, _LIST = BRANCHES
_BY_TYPE: dict[Any, str] = {str: _NAME, dict: _MAPPING, list: _LIST}


def _branch(value: Any) -> str:
    """Return which of several forms a value has."""
    return _BY_TYPE.get(type(value), _NUMBER if not isinstance(value, Section) else _MAPPING)


def _name_or_mapping(value: Any) -> str:
    return _MAPPING if _branch(value) == _MAPPING else _NAME


def _number_or_mapping(value: Any) -> str:
    return _MAPPING if _branch(value) == _MAPPING else _NUMBER


class Splitter(Section):
    """
    Folds of a cross-validation.

    Parameters
    ----------
    name : str
        A splitter of scikit-learn.
    n_splits : int, default=5
        Number of folds, or of divisions.
    n_repeats : int, optional
        How often, of repeated folds; 10 if it is not given.
    test_size : float, optional
        Fraction that is scored on, of divisions drawn at random; 0.1 if it is not given.
    """

    name: str
    n_splits: Annotated[int, Field(ge=1, le=100)] = NUM_FOLDS
    n_repeats: Annotated[int, Field(ge=1, le=100)] | None = None
    test_size: Annotated[float, Field(gt=0, lt=1)] | None = None

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        if self.name not in SPLITTERS:
            raise key_error(UNKNOWN_NAME, "name", self.name, kind="splitter", known=list(SPLITTERS))
        names = splitter_options(self.name)
        for key in ("n_repeats", "test_size"):
            if key not in names and getattr(self, key) is not None:
                raise key_error(UNKNOWN_KEY, key, getattr(self, key), known=["name", *names])
        if self.n_splits == 1 and "test_size" not in names:
            raise key_error("greater_than_equal", "n_splits", 1, ge=2)
        return self

    def make(self, seed: int) -> Any:
        """
        Return the splitter.

        Parameters
        ----------
        seed : int
            Of what it draws.

        Returns
        -------
        splitter
            Samples are shuffled, except by ``TimeSeriesSplit``.
        """
        kind = SPLITTERS[self.name]
        known = inspect.signature(kind).parameters
        given = {key: value for key in splitter_options(self.name) if (value := getattr(self, key)) is not None}
        drawn = {"shuffle": True, "random_state": seed} if "shuffle" in known else {"random_state": seed}
        options = {**given, **drawn}
        return kind(**{key: value for key, value in options.items() if key in known})


def splitter_options(name: str) -> list[str]:
    """
    Return the options of a splitter.

    Parameters
    ----------
    name : str
        A key of `SPLITTERS`.

    Returns
    -------
    list of str
        Names; a fraction to be scored on is an option of those that draw it.
    """
    known = inspect.signature(SPLITTERS[name]).parameters
    return [key for key in Splitter.model_fields if key in known and (key != "test_size" or "random_state" in known)]


class RefitRule(Section):
    """
    A rule by which the best candidate is chosen.

    Parameters
    ----------
    name : {"smallest_within"}
        The smallest network whose score is nearly the best.
    tolerance : float, default=None
        How far below the best score it may be; None: one standard error.
    score, reduction : str, default="score", "reduction"
        Names of the two scorers in ``scoring``.
    """

    name: Literal["smallest_within"]
    tolerance: Annotated[float, Field(ge=0)] | None = None
    score: str = "score"
    reduction: str = "reduction"

    def make(self) -> Any:
        """
        Return the rule.

        Returns
        -------
        callable
            For ``refit``.
        """
        return smallest_within(self.tolerance, score=self.score, reduction=self.reduction)


Folds = Annotated[
    Annotated[int, Field(ge=2, le=100), Tag(_NUMBER)] | Annotated[Splitter, Tag(_MAPPING)],
    Discriminator(_number_or_mapping),
]
Refit = Annotated[
    Annotated[Literal[True], Tag(_NUMBER)] | Annotated[str, Tag(_NAME)] | Annotated[RefitRule, Tag(_MAPPING)],
    Discriminator(_branch),
]
Scoring = Annotated[
    Annotated[SearchScorer, Tag(_NAME)] | Annotated[Scorers, Tag(_MAPPING)],
    Discriminator(_name_or_mapping),
]
Candidates = Annotated[dict[str, Annotated[list[Any], Field(min_length=1, max_length=100)]], Field(min_length=1)]


class SearchOptions(Section):
    """What all searches have."""

    cv: Folds | None = None
    scoring: Scoring | None = None
    refit: Refit = True

    @model_validator(mode="after")
    def _check_refit(self) -> Self:
        several = list(self.scoring) if isinstance(self.scoring, dict) else []
        if isinstance(self.refit, RefitRule):
            wanted = {"score": self.refit.score, "reduction": self.refit.reduction}
            for key, name in wanted.items():
                if name not in several:
                    raise key_error("no_such_scorer", ("refit",), name, key=key, known=several)
        elif self.refit is not True and not several:
            raise key_error("refit_of_one", "refit", self.refit)
        elif several and self.refit not in several:
            raise key_error("refit_of_several", "refit", self.refit, known=several)
        return self


class GridOptions(SearchOptions):
    """Options of `GridSearchCV`."""

    param_grid: Candidates


class RandomOptions(SearchOptions):
    """Options of `RandomizedSearchCV`."""

    param_distributions: Candidates
    n_iter: int = Field(10, ge=1, le=1000)


class HalvingOptions(Section):
    """What both halving searches have."""

    factor: float = Field(3, gt=1)
    resource: str = "n_samples"
    min_resources: PositiveInt | Literal["exhaust", "smallest"] = "exhaust"
    max_resources: PositiveInt | Literal["auto"] = "auto"
    aggressive_elimination: bool = False
    cv: Folds = NUM_FOLDS
    scoring: SearchScorer | None = None


class HalvingGridOptions(HalvingOptions):
    """Options of `HalvingGridSearchCV`."""

    param_grid: Candidates


class HalvingRandomOptions(HalvingOptions):
    """Options of `HalvingRandomSearchCV`."""

    param_distributions: Candidates
    n_candidates: PositiveInt | Literal["exhaust"] = "exhaust"
    min_resources: PositiveInt | Literal["exhaust", "smallest"] = "smallest"


SEARCHES: dict[str, Any] = {
    one.__name__: one for one in (GridSearchCV, RandomizedSearchCV, HalvingGridSearchCV, HalvingRandomSearchCV)
}
PARAMS = {
    "GridSearchCV": "param_grid",
    "RandomizedSearchCV": "param_distributions",
    "HalvingGridSearchCV": "param_grid",
    "HalvingRandomSearchCV": "param_distributions",
}
"""Which option of each holds the candidates."""


def make_search(
    name: str,
    options: Section,
    grid: Mapping[str, list[Any]],
    estimator: BaseEstimator,
    *,
    task: Task,
    seed: int,
    n_jobs: int | None,
) -> Any:
    """
    Return a search of scikit-learn over an estimator.

    Parameters
    ----------
    name : str
        A key of `SEARCHES`.
    options : Section
        What the file says.
    grid : mapping
        Candidates by parameter, as the estimator takes them.
    estimator : BaseEstimator
        What is searched over.
    task : {"classification", "regression"}
        Whether the folds have the classes in proportion.
    seed : int
        Of the folds, and of what is drawn.
    n_jobs : int or None
        How many fits at once.

    Returns
    -------
    BaseSearchCV
        Unfitted. A candidate that fails ends the search.
    """
    kind = SEARCHES[name]
    given = {key: getattr(options, key) for key in type(options).model_fields}
    given["cv"] = folds_of(given["cv"], task, seed)
    if isinstance(given["scoring"], dict):
        given["scoring"] = {key: scorer_of(scorer) for key, scorer in given["scoring"].items()}
    elif given["scoring"] is not None:
        given["scoring"] = scorer_of(given["scoring"])
    if isinstance(given.get("refit"), RefitRule):
        given["refit"] = given["refit"].make()
    given[PARAMS[name]] = dict(grid)
    if "random_state" in inspect.signature(kind).parameters:
        given["random_state"] = seed
    return kind(estimator, **given, error_score="raise", n_jobs=n_jobs)


def folds_of(folds: int | Splitter | None, task: Task, seed: int) -> Any:
    """
    Return a splitter.

    Parameters
    ----------
    folds : int, Splitter or None
        What the file says.
    task : {"classification", "regression"}
        Whether folds that are given by a number have the classes in proportion.
    seed : int
        Of what is drawn.

    Returns
    -------
    splitter
        One of scikit-learn.
    """
    if isinstance(folds, Splitter):
        return folds.make(seed)
    kind = StratifiedKFold if task == "classification" else KFold
    return kind(folds or NUM_FOLDS, shuffle=True, random_state=seed)


def describe_folds(splitter: Any, task: Task) -> Any:
    """
    Return what a file says of a splitter, the inverse of `folds_of`.

    Parameters
    ----------
    splitter : object
        Of a search.
    task : {"classification", "regression"}
        What is learnt.

    Returns
    -------
    object
        A number, a mapping, or what no file can say as it is.
    """
    name = type(splitter).__name__
    usual = StratifiedKFold if task == "classification" else KFold
    if type(splitter) is usual:
        return splitter.n_splits
    if SPLITTERS.get(name) is not type(splitter):
        return splitter
    said: dict[str, Any] = {"name": name, "n_splits": splitter.get_n_splits()}
    if name.startswith("Repeated"):
        said["n_repeats"] = splitter.n_repeats
        said["n_splits"] //= splitter.n_repeats
    elif "Shuffle" in name:
        said["test_size"] = splitter.test_size
    return {key: value for key, value in said.items() if value is not None}


def results_table(search: Any) -> pd.DataFrame:
    """
    Return the candidates of a fitted search, the best first.

    Parameters
    ----------
    search : BaseSearchCV
        Fitted.

    Returns
    -------
    DataFrame
        A row per candidate (of a halving search for each amount of the resource): its parameters, rank, mean and
        standard deviation of each score, scores of the folds. The one that was chosen comes first. No times, so that
        the same file gives the same table.
    """
    table = pd.DataFrame(search.cv_results_)
    columns = [
        *table.filter(regex="^(iter|n_resources)$"),
        *table.filter(regex="^param_"),
        *table.filter(regex="^rank_test"),
        *table.filter(regex="^mean_test"),
        *table.filter(regex="^std_test"),
        *table.filter(regex="^split.*_test"),
    ]
    ranks = [*table.filter(regex="^rank_test")]
    others = table.drop(index=search.best_index_).sort_values(ranks, kind="stable")
    ordered: pd.DataFrame = pd.concat([table.loc[[search.best_index_]], others])[columns]
    return ordered.reset_index(drop=True)


def best_score(search: Any) -> float:
    """
    Return the mean score of the candidate that was chosen.

    Parameters
    ----------
    search : BaseSearchCV
        Fitted.

    Returns
    -------
    float
        Of several scorers that by which it was chosen; of a rule the first.
    """
    if hasattr(search, "best_score_"):
        return float(search.best_score_)
    name = next(key for key in search.cv_results_ if key.startswith("mean_test_"))
    return float(search.cv_results_[name][search.best_index_])


def with_parameters(
    content: Mapping[str, Any], paths: Mapping[str, tuple[str, ...]], parameters: Mapping[str, Any]
) -> dict[str, Any]:
    """
    Return an experiment with parameters of a candidate in their places.

    Parameters
    ----------
    content : mapping
        A resolved experiment.
    paths : mapping
        Where each parameter stands in it, as `parameter_paths` has it.
    parameters : mapping
        Values by names with double underscores.

    Returns
    -------
    dict
        New mappings along the way; the given one is not changed.
    """
    result = dict(content)
    for name, value in parameters.items():
        inner = result
        *way, last = paths[name]
        for key in way:
            inner[key] = dict(inner[key])
            inner = inner[key]
        inner[last] = value
    return result


NET_KEYS = ("lr", "max_epochs", "batch_size")
_CHOSEN = ("module", "criterion", "optimizer")


def parameter_paths(content: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """
    Return the parameters of an experiment's estimator that can be searched over.

    Parameters
    ----------
    content : mapping
        A resolved experiment.

    Returns
    -------
    dict of str to tuple of str
        Where the file has each, by its name with double underscores, as in ``prune__estimator__module__widths``.
    """
    net = content.get("net")
    if content.get("prune") is not None:
        return dict(_of_pruner(content["prune"], ("prune",), "", net))
    found: dict[str, tuple[str, ...]] = {}
    for step, said in (content.get("steps") or {}).items():
        found.update(_of_step(said, ("steps", step), f"{step}__", net))
    return found


_Paths = Iterator[tuple[str, tuple[str, ...]]]


def _of_step(said: Mapping[str, Any], at: tuple[str, ...], prefix: str, net: Mapping[str, Any] | None) -> _Paths:
    if said["name"] == "TaylorPruner":
        yield from _of_pruner(said, at, prefix, net)
    elif said["name"] == "NeuralNet":
        yield from _of_net(net, prefix)
    else:
        yield from ((f"{prefix}{key}", (*at, key)) for key in said if key not in ("name", "estimator", "path"))
        if said["name"] == "TaylorPrunerCV":
            yield from _of_pruner(said["estimator"], (*at, "estimator"), f"{prefix}estimator__", net)
        elif isinstance(said.get("estimator"), Mapping):
            yield from _of_step(said["estimator"], (*at, "estimator"), f"{prefix}estimator__", None)


def _of_pruner(said: Mapping[str, Any], at: tuple[str, ...], prefix: str, net: Mapping[str, Any] | None) -> _Paths:
    yield from ((f"{prefix}{key}", (*at, key)) for key in said if key != "name")
    yield from _of_net(net, f"{prefix}estimator__")


def _of_net(net: Mapping[str, Any] | None, prefix: str) -> _Paths:
    if net is None or net["frozen"]:  # a frozen net is as it is
        return
    yield from ((f"{prefix}{key}", ("net", key)) for key in NET_KEYS)
    for kind in _CHOSEN:
        yield from ((f"{prefix}{kind}__{key}", ("net", kind, key)) for key in net[kind] if key != "name")
