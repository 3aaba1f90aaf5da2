"""What the registry holds of each name."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prunekit.pipeline._samples import Task
from prunekit.pipeline._section import Section


@dataclass(frozen=True)
class Entry:
    """
    Something that a file can name.

    Parameters
    ----------
    target : callable
        Class or function that the name stands for.
    summary : str
        One line for people.
    options : type of Section
        Model of the arguments that a file may give.
    tasks : tuple of str, default=("classification", "regression")
        What it can be used for.
    """

    target: Callable[..., Any]
    summary: str
    options: type[Section]
    tasks: tuple[Task, ...] = ("classification", "regression")


class NoOptions(Section):
    """No options."""
