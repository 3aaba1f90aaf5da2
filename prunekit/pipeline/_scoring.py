"""Scorers by name: scikit-learn's, and those of how much was removed."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError
from sklearn.metrics import get_scorer_names

from prunekit.pipeline._section import UNKNOWN_NAME
from prunekit.search import macs_scorer, reduction_scorer, tradeoff_scorer

SIZE_SCORERS = {
    "reduction_scorer": reduction_scorer,
    "macs_scorer": macs_scorer,
    "tradeoff_scorer": tradeoff_scorer,
}
"""Scorers of searches, for which the pruner itself has no use."""


def _known(name: str, names: list[str]) -> str:
    if name not in names:
        raise PydanticCustomError(UNKNOWN_NAME, "unknown", {"kind": "scorer", "known": names})
    return name


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
    return _known(name, get_scorer_names())


def _known_search_scorer(name: str) -> str:
    return _known(name, [*get_scorer_names(), *SIZE_SCORERS])


Scorer = Annotated[str, AfterValidator(known_scorer)]
SearchScorer = Annotated[str, AfterValidator(_known_search_scorer)]
Scorers = Annotated[dict[str, SearchScorer], Field(min_length=1, max_length=20)]


def scorer_of(name: str) -> Any:
    """
    Return what a search takes for a name.

    Parameters
    ----------
    name : str
        Name of a scorer.

    Returns
    -------
    str or callable
        The name itself for one of scikit-learn's.
    """
    return SIZE_SCORERS.get(name, name)


def scorer_name(scorer: Any) -> Any:
    """
    Return the name of what a search has as a scorer.

    Parameters
    ----------
    scorer : object
        As `scorer_of` returns it, or anything else.

    Returns
    -------
    object
        Its name; what no file can name is returned as it is.
    """
    # A search clones its scorers, so that they are told by what they hold.
    return next((name for name, one in SIZE_SCORERS.items() if repr(one) == repr(scorer)), scorer)
