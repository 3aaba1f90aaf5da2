"""What is wrong in a pipeline file, said so that it can be put right."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from reprlib import Repr

from prunekit.exceptions import PipelineFileError
from prunekit.pipeline._section import BRANCHES

KeyPath = tuple[str | int, ...]

MAX_LISTED = 20

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 60


@dataclass(frozen=True)
class Problem:
    """
    One thing that is wrong.

    Parameters
    ----------
    line : int
        Line of the file, counted from 1; 0 if the file as a whole is meant.
    key : str
        Dotted path of the key, as in ``net.module.widths[1]``; empty for the file as a whole.
    message : str
        What must be, what was got and what to do.
    origin : str, default=""
        Where the line is if not in the file that was asked for: an included file, or the ``--set`` of a command line.
    """

    line: int
    key: str
    message: str
    origin: str = ""

    def __str__(self) -> str:
        """Return one line of text."""
        where = f"line {self.line}" if self.line else ""
        parts = (self.origin, ", ".join(filter(None, (where, self.key))), self.message)
        return ": ".join(part for part in parts if part)


def file_error(path: Path, problems: Iterable[Problem]) -> PipelineFileError:
    """
    Return the error that lists all problems of a file, in the order of its lines.

    Parameters
    ----------
    path : Path
        The file.
    problems : iterable of Problem
        What is wrong; at least one.

    Returns
    -------
    PipelineFileError
        To be raised.
    """
    listed = sorted(set(problems), key=lambda problem: (problem.origin, problem.line, problem.key, problem.message))
    if len(listed) == 1:
        return PipelineFileError(f"{path}: {listed[0]}", listed)
    lines = [f"  {problem}" for problem in listed[:MAX_LISTED]]
    if len(listed) > MAX_LISTED:
        lines.append(f"  … and {len(listed) - MAX_LISTED} more")
    return PipelineFileError("\n".join([f"{path}: {len(listed)} problems.", *lines]), listed)


def dotted(key_path: KeyPath) -> str:
    """
    Return a key path as a user would write it.

    Parameters
    ----------
    key_path : tuple of str or int
        Keys of mappings and positions in lists, from the top of the file.

    Returns
    -------
    str
        For example ``net.module.widths[1]``.
    """
    text = ""
    for part in key_path:
        if part in BRANCHES:
            continue
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.removeprefix(".")


MOST_KNOWN = 60
"""How many names are told where none comes near."""


def near_match(got: object, known: Sequence[str]) -> str:
    """
    Return a sentence with the names that come near, or with all names if none does.

    Parameters
    ----------
    got : object
        What stands in the file.
    known : sequence of str
        What could stand there.

    Returns
    -------
    str
        "Did you mean …?" or "Known: …."
    """
    if not known:
        return "There is nothing that can stand here; remove it."
    word = str(got).lower()
    likeness = {name: SequenceMatcher(None, name.lower(), word).ratio() for name in known}
    best = max(likeness.values(), default=0.0)
    if best >= 0.6:
        # A second name is worth telling only if it comes about as near.
        near = [name for name, ratio in likeness.items() if ratio > best - 0.05 and (best < 1 or ratio == 1)]
        return f"Did you mean {either(near)}?"
    if len(known) > MOST_KNOWN:
        return f"Known: {', '.join(known[:MOST_KNOWN])}, and {len(known) - MOST_KNOWN} more that 'prunekit list' has."
    return f"Known: {', '.join(known)}."


def either(names: Iterable[str]) -> str:
    """
    Return the names quoted, with an "or" before the last.

    Parameters
    ----------
    names : iterable of str
        At least one.

    Returns
    -------
    str
        For example ``'a', 'b' or 'c'``.
    """
    *first, last = (f"'{name}'" for name in names)
    return f"{', '.join(first)} or {last}" if first else last


def shown(value: object) -> str:
    """
    Return a value of the file for a message, shortened where it is long.

    Parameters
    ----------
    value : object
        A value as read from YAML.

    Returns
    -------
    str
        One short line, in YAML's words for true, false and nothing.
    """
    yaml_words = {True: "true", False: "false", None: "nothing"}
    if value is None or isinstance(value, bool):
        return yaml_words[value]
    if isinstance(value, dict):
        return "a mapping"
    return _SHORT.repr(value)
