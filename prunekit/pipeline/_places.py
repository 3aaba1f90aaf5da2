"""Plain values of several files, of which every part remembers where it came from."""

from dataclasses import dataclass, field
from pathlib import Path

from prunekit.pipeline._problems import KeyPath, Problem, dotted
from prunekit.pipeline._yaml import Document, Value

UNITED = frozenset({("imports",)})
"""Lists that are added to what an included file says, for its names need what it imports."""


@dataclass(frozen=True)
class Place:
    """
    Where a value stands.

    Parameters
    ----------
    origin : str
        Empty for the file itself; else the included file, or the ``--set`` of the command line.
    line : int
        Line, counted from 1; 0 where there are no lines.
    """

    origin: str
    line: int


@dataclass(frozen=True)
class Located:
    """
    Content and where each part of it came from.

    Parameters
    ----------
    path : Path
        The file that was asked for.
    content : dict
        Plain values.
    places : dict
        Place of every key path.
    references : dict
        What stood at key paths whose value came from variables, as ``${name}``.
    """

    path: Path
    content: dict[str, Value]
    places: dict[KeyPath, Place] = field(repr=False)
    references: dict[KeyPath, str] = field(default_factory=dict, repr=False)

    def problem(self, key_path: KeyPath, message: str) -> Problem:
        """
        Return a problem at the place of a key, or of the nearest key above it that is there.

        Parameters
        ----------
        key_path : tuple of str or int
            Keys from the top of the file.
        message : str
            What must be, what was got and what to do.

        Returns
        -------
        Problem
            The problem.
        """
        at = key_path
        while at not in self.places and at:
            at = at[:-1]
        place = self.places.get(at, Place("", 1))
        if at in self.references:
            message = f"{message} It comes from '{self.references[at]}'."
        return Problem(place.line, dotted(key_path), message, place.origin)


def located(document: Document, origin: str) -> Located:
    """
    Return a document with its lines as places.

    Parameters
    ----------
    document : Document
        What was read.
    origin : str
        Empty for the file that was asked for.

    Returns
    -------
    Located
        The same content.
    """
    places = {key_path: Place(origin, line) for key_path, line in document.lines.items()}
    return Located(document.path, document.content, places)


def merged(base: Located, over: Located) -> Located:
    """
    Return the content of ``base`` with that of ``over`` laid over it.

    Mappings are merged key by key, the lists of `UNITED` are added up, anything else is replaced. A mapping that names
    something else than the one below replaces it, for its options are others; one without a name is laid over the
    options of the name below.

    Parameters
    ----------
    base : Located
        What gives way.
    over : Located
        What wins.

    Returns
    -------
    Located
        New values; neither of the two is changed.
    """
    places: dict[KeyPath, Place] = {}

    def copy(value: Value, source: Located, at: KeyPath) -> Value:
        if at in source.places:
            places[at] = source.places[at]
        if isinstance(value, dict):
            return {key: copy(item, source, (*at, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [copy(item, source, (*at, index)) for index, item in enumerate(value)]
        return value

    def mappings(below: dict[str, Value], above: dict[str, Value], at: KeyPath) -> dict[str, Value]:
        # A missing key is told where its section stands in a file, not at the command line's --set.
        for source in (over, base):
            if at in source.places and (source is base or source.places[at].line):
                places.setdefault(at, source.places[at])
        result: dict[str, Value] = {}
        for key in (*below, *(key for key in above if key not in below)):
            here = (*at, key)
            if key not in above:
                result[key] = copy(below[key], base, here)
            elif key not in below:
                result[key] = copy(above[key], over, here)
            elif here in UNITED:
                result[key] = united(below[key], above[key], here)
            else:
                result[key] = values(below[key], above[key], here)
        return result

    def united(below: Value, above: Value, at: KeyPath) -> Value:
        if not isinstance(below, list) or not isinstance(above, list):  # the one that is wrong stays, to be told
            return copy(above, over, at) if isinstance(below, list) else copy(below, base, at)
        result: list[Value] = []
        for source, items in ((base, below), (over, above)):
            places[at] = source.places[at]
            for index, item in enumerate(items):
                if item not in result:
                    places[*at, len(result)] = source.places.get((*at, index), source.places[at])
                    result.append(item)
        return result

    def values(below: Value, above: Value, at: KeyPath) -> Value:
        if not isinstance(above, dict):
            return copy(above, over, at)
        if isinstance(below, str) and "name" not in above:
            result = copy(above, over, at)
            places[*at, "name"] = base.places[at]
            return {"name": below, **result} if isinstance(result, dict) else result
        if not isinstance(below, dict) or ("name" in above and above["name"] != below.get("name", above["name"])):
            return copy(above, over, at)
        return mappings(below, above, at)

    return Located(base.path, mappings(base.content, over.content, ()), places)
