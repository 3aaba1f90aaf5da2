"""Names that a pipeline file may use, a line each."""

from dataclasses import dataclass

from sklearn.metrics import get_scorer_names

from prunekit.exceptions import ParameterError
from prunekit.importance import CRITERIA
from prunekit.pipeline._entry import Entry
from prunekit.pipeline._problems import near_match
from prunekit.pipeline._scoring import SIZE_SCORERS
from prunekit.pipeline._searching import SPLITTERS, splitter_options
from prunekit.pipeline.registry import REGISTRY

__all__ = ["KINDS", "Named", "registered_names"]

KINDS = (*REGISTRY, "importance", "scorer", "splitter")
"""Kinds of names: those of the registry; criteria of importance, which `prune` calls ``criterion``; scorers and
splitters of searches."""


@dataclass(frozen=True)
class Named:
    """
    A name that a pipeline file may use.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    name : str
        The name.
    summary : str
        One line for people.
    options : tuple of str
        Options that may be given with the name; those that must be are followed by ``*``.
    """

    kind: str
    name: str
    summary: str
    options: tuple[str, ...] = ()


def registered_names(kind: str | None = None) -> list[Named]:
    """
    Return what a pipeline file may name.

    Parameters
    ----------
    kind : str, default=None
        One of `KINDS`; all of them if it is not given.

    Returns
    -------
    list of Named
        By kind, in the order of the registry.

    Raises
    ------
    ParameterError
        If there is no such kind.
    """
    if kind is not None and kind not in KINDS:
        raise ParameterError(f"There is no kind of names called '{kind}'. {near_match(kind, KINDS)}")
    names = [
        Named(of_kind, name, entry.summary, _options(entry))
        for of_kind, entries in REGISTRY.items()
        for name, entry in entries.items()
    ]
    names += [Named("importance", name, _first_line(criterion)) for name, criterion in CRITERIA.items()]
    names += [Named("scorer", name, "scikit-learn's") for name in get_scorer_names()]
    names += [Named("scorer", name, _first_line(type(scorer))) for name, scorer in SIZE_SCORERS.items()]
    names += [
        Named("splitter", name, _first_line(splitter), tuple(splitter_options(name)))
        for name, splitter in SPLITTERS.items()
    ]
    return [named for named in names if kind in (None, named.kind)]


def _options(entry: Entry) -> tuple[str, ...]:
    fields = entry.options.model_fields
    return tuple(f"{name}*" if field.is_required() else name for name, field in fields.items())


def _first_line(criterion: type) -> str:
    lines = (criterion.__doc__ or "").strip().splitlines()
    return lines[0].rstrip(".") if lines else ""
