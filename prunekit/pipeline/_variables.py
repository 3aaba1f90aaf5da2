"""Variables of a pipeline file: ``${name}`` stands for what ``vars`` says.

A value that is nothing but ``${name}`` becomes the variable's value, whatever its type; within a longer text the
variable is written out. ``$${`` is a ``${`` that is meant as it stands. Variables may hold variables, within bounds:
what comes out cannot grow beyond a small multiple of a file's size.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from prunekit.pipeline._places import Located
from prunekit.pipeline._problems import KeyPath, Problem, file_error, near_match, shown
from prunekit.pipeline._yaml import MAX_DEPTH, Value

MAX_VALUES = 20_000
MAX_CHARACTERS = 10_000
MAX_ALL_CHARACTERS = 1_000_000
MAX_NESTED = 20

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_WHOLE = re.compile(r"\$\{([^{}]*)\}")
_PART = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")


def expanded(source: Located) -> Located:
    """
    Put the variables in.

    Parameters
    ----------
    source : Located
        The content with the key ``vars``, if there are variables.

    Returns
    -------
    Located
        The content without that key.

    Raises
    ------
    PipelineFileError
        If a variable is unknown, refers to itself, or stands where it cannot.
    """
    expander = _Expander(source)
    content = {key: expander.value(value, (key,)) for key, value in source.content.items() if key != "vars"}
    expander.resolve_all()  # so that mistakes are told in variables that nothing uses, too
    if expander.problems:
        raise file_error(source.path, expander.problems)
    if not isinstance(content, dict):
        raise TypeError(content)
    return Located(source.path, content, source.places, expander.references)


@dataclass(frozen=True)
class _Variable:
    value: Value
    num_values: int
    depth: int


class _Expander:
    """Replaces references, noting problems on the way."""

    def __init__(self, source: Located) -> None:
        self.problems: list[Problem] = []
        self.references: dict[KeyPath, str] = {}
        self._source = source
        self._known: dict[str, _Variable | None] = {}  # None: told already that something is wrong with it
        self._open: list[str] = []
        self._values_left = MAX_VALUES
        self._characters_left = MAX_ALL_CHARACTERS
        self._texts = dict(self._texts_of_variables())

    def _texts_of_variables(self) -> Iterator[tuple[str, Value]]:
        variables = self._source.content.get("vars", {})
        if variables is None:
            return
        if not isinstance(variables, dict):
            self._tell(("vars",), f"must be a mapping of names to values. Got {shown(variables)} instead.")
            return
        for name, value in variables.items():
            if _NAME.fullmatch(name):
                yield name, value
            else:
                rule = "letters, digits and '_', not beginning with a digit"
                self._tell(("vars", name), f"the name of a variable must be {rule}. Got {shown(name)} instead.")

    def resolve_all(self) -> None:
        for name in self._texts:
            self._variable(name, ("vars", name))

    def value(self, value: Value, at: KeyPath) -> Value:
        if isinstance(value, dict):
            return {key: self.value(item, (*at, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.value(item, (*at, index)) for index, item in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        self.references[at] = value if len(value) <= 60 else f"{value[:57]}..."
        whole = _WHOLE.fullmatch(value)
        return self._whole(whole[1], at) if whole else self._text(value, at)

    def _whole(self, name: str, at: KeyPath) -> Value:
        variable = self._variable(name, at)
        if variable is None:
            return None
        self._values_left -= variable.num_values
        if self._values_left < 0 or variable.depth + len(at) > MAX_DEPTH:
            limits = f"{MAX_VALUES} values and {MAX_DEPTH} levels"
            self._tell(at, f"the variables must give at most {limits} in all. Write shorter lists.")
            return None
        return variable.value  # nothing changes values, so they can be shared

    def _text(self, value: str, at: KeyPath) -> Value:
        characters_left = min(MAX_CHARACTERS, self._characters_left)

        def written(match: re.Match[str]) -> str:
            nonlocal characters_left
            if match[0] == "$${":
                return "${"
            if match[1] is None:
                self._tell(at, "a '${' must be closed by '}'. Write '$${' for a '${' that is meant as it stands.")
                return ""
            variable = self._variable(match[1], at)
            if variable is None:
                return ""
            content = variable.value
            if content is None or isinstance(content, (list, dict)):
                rule = "a text, a number, true or false to stand within a text"
                self._tell(at, f"the variable '{match[1]}' must be {rule}. Got {shown(content)} instead.")
                return ""
            text = str(content).lower() if isinstance(content, bool) else str(content)
            characters_left -= len(text)
            return text if characters_left >= 0 else ""

        text = _PART.sub(written, value)
        self._characters_left -= len(text)
        if characters_left < 0:
            limits = f"{MAX_CHARACTERS} characters of variables, all texts {MAX_ALL_CHARACTERS}"
            self._tell(at, f"a text must have at most {limits}. Write shorter texts.")
        return text

    def _variable(self, name: str, at: KeyPath) -> _Variable | None:
        """Return a variable, with the variables in it replaced."""
        if name in self._known:
            return self._known[name]
        if name not in self._texts:
            near = near_match(name, sorted(self._texts)) if self._texts else "Define it under the key 'vars'."
            self._tell(at, f"there is no variable named {shown(name)}. {near}")
            return None
        if name in self._open:
            names = " → ".join((*self._open[self._open.index(name) :], name))
            self._tell(("vars", name), f"the variable refers to itself: {names}. Give one of them a value.")
            return None
        if len(self._open) == MAX_NESTED:
            self._tell(at, f"variables must refer to each other at most {MAX_NESTED} levels deep.")
            return None
        self._open.append(name)
        num_before = len(self.problems)
        value = self.value(self._texts[name], ("vars", name))
        self._open.pop()
        is_right = len(self.problems) == num_before
        self._known[name] = _Variable(value, *_measure(value)) if is_right else None
        return self._known[name]

    def _tell(self, at: KeyPath, message: str) -> None:
        self.problems.append(self._source.problem(at, message))


def _measure(value: Value) -> tuple[int, int]:
    """Return the number of values in a value, and how deeply they are nested."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    measures = [_measure(item) for item in items]
    return 1 + sum(count for count, _ in measures), 1 + max((depth for _, depth in measures), default=0) if items else 0
