"""YAML text to plain Python values that remember their lines.

The text is read by YAML 1.2's rules for plain words (``1e-3`` is a number, ``no`` is a word). Nothing in it can build
an object, run code or grow: anchors, aliases, tags and merge keys are refused, and so are files that are large or
nested deeply.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from prunekit.pipeline._problems import KeyPath, Problem, dotted, file_error, shown

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_VALUE_CHARACTERS = 10_000

Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]


@dataclass(frozen=True)
class Document:
    """
    The content of a file and where each part of it stands.

    Parameters
    ----------
    path : Path
        The file.
    content : dict
        Plain values.
    lines : dict
        Line, counted from 1, of every key path.
    """

    path: Path
    content: dict[str, Value]
    lines: dict[KeyPath, int] = field(repr=False)

    def line(self, key_path: KeyPath) -> int:
        """
        Return the line of a key, or of the nearest key above it that is there.

        Parameters
        ----------
        key_path : tuple of str or int
            Keys from the top of the file.

        Returns
        -------
        int
            The line, counted from 1.
        """
        while key_path not in self.lines and key_path:
            key_path = key_path[:-1]
        return self.lines.get(key_path, 1)


def read_document(path: str | Path) -> Document:
    """
    Read a YAML file.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    Document
        Its content, with lines.

    Raises
    ------
    PipelineFileError
        If the file cannot be read, is no YAML, holds what is refused here, or gives a key twice.
    """
    path = Path(path)
    text = _read_text(path)
    try:
        problems = list(_refused(text))
        if problems:
            raise file_error(path, problems)
        root = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as exc:
        raise file_error(path, [_syntax_problem(exc)]) from exc
    except yaml.YAMLError as exc:
        message = f"is not valid YAML: {' '.join(str(exc).split())}."
        raise file_error(path, [Problem(0, "", message)]) from exc
    if not isinstance(root, yaml.MappingNode):
        got = "an empty file" if root is None else "a list" if isinstance(root, yaml.SequenceNode) else "a single value"
        message = f"must hold a mapping with the keys data, net and prune. Got {got} instead."
        raise file_error(path, [Problem(0, "", message)])
    reader = _Reader()
    content = reader.mapping(root, ())
    if reader.problems:
        raise file_error(path, reader.problems)
    return Document(path, content, reader.lines)


def read_value(text: str) -> Value:
    """
    Read a single value, as of the command line.

    Parameters
    ----------
    text : str
        A scalar, or a list or mapping as YAML writes it on one line.

    Returns
    -------
    object
        Plain values.

    Raises
    ------
    ValueError
        If the text is no YAML, or holds what is refused here.
    """
    if len(text) > MAX_VALUE_CHARACTERS:
        raise ValueError(f"must have at most {MAX_VALUE_CHARACTERS} characters.")
    reader = _Reader()
    try:
        problems = list(_refused(text))
        root = None if problems else yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as exc:
        raise ValueError(_syntax_problem(exc).message) from exc
    except yaml.YAMLError as exc:
        raise ValueError(f"is not valid YAML: {' '.join(str(exc).split())}.") from exc
    value = None if root is None else reader.value(root, ())
    for problem in (*problems, *reader.problems):
        raise ValueError(problem.message)
    return value


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except FileNotFoundError as exc:
        raise file_error(path, [Problem(0, "", f"there is no such file{_other_files(path)}.")]) from exc
    except OSError as exc:
        raise file_error(path, [Problem(0, "", f"cannot be read: {exc.strerror}.")]) from exc
    if len(raw) > MAX_BYTES:
        message = f"must be at most {MAX_BYTES // 1024} KiB; a pipeline file describes data, it does not hold them."
        raise file_error(path, [Problem(0, "", message)])
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = raw.count(b"\n", 0, exc.start) + 1
        message = f"must be UTF-8 text. Got the byte 0x{raw[exc.start]:02x}."
        raise file_error(path, [Problem(line, "", message)]) from exc


def _other_files(path: Path) -> str:
    """Name the YAML files of the same folder that the user may have meant."""
    if not path.parent.is_dir():
        return f", and no folder {path.parent}"
    others = sorted(str(other) for other in path.parent.glob("*.y*ml"))[:5]
    return f"; the folder holds {', '.join(others)}" if others else ""


def _syntax_problem(exc: yaml.MarkedYAMLError) -> Problem:
    mark, begin = exc.problem_mark or exc.context_mark, exc.context_mark
    context = exc.context or ""
    if mark and begin and begin.line != mark.line:
        context += f" begun on line {begin.line + 1}"
    what = ", ".join(part for part in (context, exc.problem) if part)
    hint = " Indent with blanks." if r"'\t'" in what else ""
    if what.endswith("but got '{'"):
        hint = " Quote a '${…}' that stands within braces or brackets."
    return Problem(mark.line + 1 if mark else 0, "", f"is not valid YAML: {what}.{hint}")


def _refused(text: str) -> Iterator[Problem]:
    """Look through the parser's events, before anything is built, for what must not be in the file."""
    depth = documents = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1 if event.start_mark else 0
        tag = getattr(event, "tag", None)
        if getattr(event, "anchor", None):  # of an alias, too
            yield Problem(line, "", "anchors (&) and aliases (*) are not allowed. Write the value out.")
        if tag:
            yield Problem(line, "", f"tags are not allowed. Got '{tag}'; write a plain value.")
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents == 2:
                yield Problem(line, "", "must be a single document. Got a second one after '---'.")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                # What composes the nodes is recursive: stop before it is reached.
                yield Problem(line, "", f"must be nested at most {MAX_DEPTH} levels deep.")
                return
        if isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _Reader:
    """Builds plain values from nodes, noting lines and problems on the way."""

    def __init__(self) -> None:
        self.lines: dict[KeyPath, int] = {}
        self.problems: list[Problem] = []

    def mapping(self, node: yaml.MappingNode, at: KeyPath) -> dict[str, Value]:
        content: dict[str, Value] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = self._key(key_node, at)
            if key is None:
                continue
            if key in content:
                first = self.lines[*at, key]
                message = f"the key is given twice, first on line {first}. Keep one of them."
                self.problems.append(Problem(line, dotted((*at, key)), message))
                continue
            self.lines[*at, key] = line
            content[key] = self.value(value_node, (*at, key))
        return content

    def value(self, node: yaml.Node, at: KeyPath) -> Value:
        self.lines.setdefault(at, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, at)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*at, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, at)

    def _key(self, node: yaml.Node, at: KeyPath) -> str | None:
        if isinstance(node, yaml.ScalarNode) and node.tag == _TAG + "str":
            return str(node.value)
        got = node.value if isinstance(node, yaml.ScalarNode) else "a list or mapping"
        message = f"a key must be a word. Got {got} instead."
        self.problems.append(Problem(node.start_mark.line + 1, dotted(at), message))
        return None

    def _scalar(self, node: yaml.Node, at: KeyPath) -> Value:
        text = str(node.value)
        try:
            return _SCALARS[node.tag.removeprefix(_TAG)](text)
        except ValueError:  # an integer of more digits than Python converts
            message = f"must be a number of ordinary size. Got {shown(text)} instead."
            self.problems.append(Problem(node.start_mark.line + 1, dotted(at), message))
            return None


def _integer(text: str) -> int:
    if len(text) > _MOST_DIGITS:  # in other systems than the decimal one Python sets no limit
        raise ValueError(text)
    return int(text, 0 if text[:2] in ("0x", "0o") else 10)


_MOST_DIGITS = 100
_TAG = "tag:yaml.org,2002:"

_SCALARS: dict[str, Callable[[str], Value]] = {
    "null": lambda text: None,
    "bool": lambda text: text.lower() == "true",
    "int": lambda text: _integer(text),
    "float": lambda text: float(re.sub(r"\.(inf|nan)$", r"\1", text.lower())),
    "str": str,
}


class _Loader(yaml.SafeLoader):
    """Only parses and composes; plain words are resolved by YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012  (PyYAML's own interface)


for _name, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    _Loader.add_implicit_resolver(_TAG + _name, re.compile(f"^(?:{_pattern})$"), _first)
