"""Searches over the parameters of an experiment: what a file may search, how it is done, and what was best."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import pandas as pd
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError
from sklearn.base import BaseEstimator
from sklearn.metrics import get_scorer_names
from sklearn.model_selection import GridSearchCV, KFold, RandomizedSearchCV, StratifiedKFold

from prunekit.pipeline._samples import Task
from prunekit.pipeline._section import UNKNOWN_NAME, Section

NUM_FOLDS = 5
"""What scikit-learn takes where ``cv`` is not given."""

NET = "estimator__"
_NET_KEYS = ("lr", "max_epochs", "batch_size")
_CHOSEN = ("module", "criterion", "optimizer")


def known_scorer(name: str) -> str:
    """
    Check the name of one of scikit-learn's scorers.

    Parameters
    ----------
    name : str
        The name.

    Returns
    -------
    str
        The same.
    """
    if name not in get_scorer_names():
        raise PydanticCustomError(UNKNOWN_NAME, "unknown", {"kind": "scorer", "known": get_scorer_names()})
    return name


Scorer = Annotated[str, AfterValidator(known_scorer)]
Candidates = Annotated[dict[str, Annotated[list[Any], Field(min_length=1, max_length=100)]], Field(min_length=1)]
Folds = Annotated[int, Field(ge=2, le=20)]


class GridOptions(Section):
    """Options of `GridSearchCV`."""

    param_grid: Candidates
    cv: Folds | None = None
    scoring: Scorer | None = None


class RandomOptions(Section):
    """Options of `RandomizedSearchCV`."""

    param_distributions: Candidates
    n_iter: int = Field(10, ge=1, le=1000)
    cv: Folds | None = None
    scoring: Scorer | None = None


SEARCHES = {"GridSearchCV": GridSearchCV, "RandomizedSearchCV": RandomizedSearchCV}
PARAMS = {"GridSearchCV": "param_grid", "RandomizedSearchCV": "param_distributions"}
"""Which option of each holds the candidates."""


def make_search(name: str, options: Mapping[str, Any], estimator: BaseEstimator, task: Task, seed: int) -> Any:
    """
    Return a search of scikit-learn over an estimator.

    Parameters
    ----------
    name : str
        A key of `SEARCHES`.
    options : mapping
        What the file says.
    estimator : BaseEstimator
        What is searched over.
    task : {"classification", "regression"}
        Whether the folds have the classes in proportion.
    seed : int
        Of the folds, and of what is drawn.

    Returns
    -------
    BaseSearchCV
        Unfitted. A candidate that fails ends the search.
    """
    splitter = StratifiedKFold if task == "classification" else KFold
    folds = splitter(options["cv"] or NUM_FOLDS, shuffle=True, random_state=seed)
    drawn = {"random_state": seed} if name == "RandomizedSearchCV" else {}
    given = {key: value for key, value in options.items() if key != "cv"}
    return SEARCHES[name](estimator, **given, cv=folds, error_score="raise", **drawn)


def key_path_of(parameter: str) -> tuple[str, ...]:
    """
    Return where the file has a parameter of the estimator.

    Parameters
    ----------
    parameter : str
        Name with double underscores, as in ``estimator__module__widths``.

    Returns
    -------
    tuple of str
        Keys, as in ``("net", "module", "widths")``.
    """
    if parameter.startswith(NET):
        return ("net", *parameter.removeprefix(NET).split("__"))
    return ("prune", parameter)


def searchable(net: Mapping[str, Any], prune: Mapping[str, Any]) -> Iterator[str]:
    """
    Yield the parameters that can be searched over.

    Parameters
    ----------
    net, prune : mapping
        The sections, every default written out.

    Yields
    ------
    str
        Names with double underscores.
    """
    yield from prune
    yield from (f"{NET}{key}" for key in _NET_KEYS)
    for kind in _CHOSEN:
        yield from (f"{NET}{kind}__{key}" for key in net[kind] if key != "name")


def with_parameters(content: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return an experiment with parameters of a candidate in their places.

    Parameters
    ----------
    content : mapping
        A resolved experiment.
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
        *way, last = key_path_of(name)
        for key in way:
            inner[key] = dict(inner[key])
            inner = inner[key]
        inner[last] = value
    return result


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
        A row per candidate: its parameters, rank, mean and standard deviation of the score, score of each fold. No
        times, so that the same file gives the same table.
    """
    table = pd.DataFrame(search.cv_results_)
    scores = [*table.filter(regex="^split")]
    table = table[[*table.filter(regex="^param_"), "rank_test_score", "mean_test_score", "std_test_score", *scores]]
    return table.sort_values("rank_test_score", kind="stable").reset_index(drop=True)
