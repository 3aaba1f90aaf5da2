"""One file out of several: what a pipeline file includes, and what the command line sets."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from prunekit.exceptions import PipelineFileError
from prunekit.pipeline._places import Located, Place, located, merged
from prunekit.pipeline._problems import KeyPath, Problem, file_error, shown
from prunekit.pipeline._variables import expanded
from prunekit.pipeline._yaml import Value, read_document, read_value

MAX_LEVELS = 5
MAX_FILES = 20

INCLUDE = "include"
VARS = "vars"


def assemble(path: str | Path, assignments: Sequence[str] = ()) -> Located:
    """
    Read a file with all that it includes, lay assignments over it and put in the variables.

    Parameters
    ----------
    path : str or Path
        A YAML file.
    assignments : sequence of str, default=()
        What wins over the file, each as ``section.key=value``.

    Returns
    -------
    Located
        The content, without the keys ``include`` and ``vars``.

    Raises
    ------
    PipelineFileError
        If a file cannot be read or included, or a variable or an assignment is wrong.
    """
    result = _Includer(Path(path)).read()
    for text in assignments:
        result = merged(result, _assignment(Path(path), text))
    return expanded(result)


class _Includer:
    """Reads a file and what it includes, within the folder of that file and within bounds."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._root = path.parent.resolve()
        self._num_files = 0

    def read(self) -> Located:
        return replace(self._read(self._path, "", ()), path=self._path)

    def _read(self, path: Path, origin: str, above: tuple[Path, ...]) -> Located:
        self._num_files += 1
        try:
            document = located(read_document(path), origin)
        except PipelineFileError as exc:
            if not origin:
                raise
            problems = [replace(problem, origin=origin) for problem in exc.problems]
            raise PipelineFileError(f"{self._path}: {exc}", problems) from exc
        wanted = document.content.pop(INCLUDE, None)
        is_list = isinstance(wanted, list)
        names = wanted if isinstance(wanted, list) else [] if wanted is None else [wanted]
        here = (*above, path.resolve())
        result: Located | None = None
        for index, name in enumerate(names):
            at: KeyPath = (INCLUDE, index) if is_list else (INCLUDE,)
            included = self._read_other(document, at, name, path, here)
            result = included if result is None else merged(result, included)
        return document if result is None else merged(result, document)

    def _read_other(self, document: Located, at: KeyPath, name: Value, path: Path, above: tuple[Path, ...]) -> Located:
        """Check where an included file is, and read it."""
        message = self._refusal(name, path, above)
        if message:
            raise file_error(self._path, [document.problem(at, message)])
        other = path.parent / str(name)
        return self._read(other, str(other), above)

    def _refusal(self, name: Value, path: Path, above: tuple[Path, ...]) -> str:
        """Tell why a file is not included; empty if it is."""
        if not isinstance(name, str) or not name or "\0" in name:
            return f"must be the path of a YAML file, or a list of paths. Got {shown(name)} instead."
        if "${" in name:
            return f"must be a plain path, for variables are put in later. Got {shown(name)} instead."
        other = path.parent / name
        target = other.resolve()
        if Path(name).is_absolute() or not target.is_relative_to(self._root):
            return (
                f"must be a file within the folder of the pipeline file, given relative to the including file. "
                f"Got {shown(name)} instead; copy the file to {self._root}."
            )
        if not target.is_file():
            return f"there is no file {other}. Give a path relative to the including file."
        if target in above:
            names = " → ".join(file.name for file in (*above[above.index(target) :], target))
            return f"the file includes itself: {names}. Remove one of these lines."
        if len(above) > MAX_LEVELS:
            return f"files must include each other at most {MAX_LEVELS} levels deep."
        if self._num_files >= MAX_FILES:
            return f"at most {MAX_FILES} files can be included."
        return ""


def _assignment(path: Path, text: str) -> Located:
    """Return a file that holds what one ``--set`` says."""
    origin = f"--set {text if len(text) <= 80 else text[:77] + '...'}"

    def refuse(message: str, key: str = "") -> PipelineFileError:
        return file_error(path, [Problem(0, key, message, origin)])

    key, equals, value_text = text.partition("=")
    parts = tuple(part.strip() for part in key.split("."))
    if not equals or not all(parts):
        raise refuse("must be KEY=VALUE, as in --set prune.target_reduction=0.7.")
    if "[" in key:
        raise refuse("an item of a list cannot be set. Set the whole list, as in --set net.module.widths=[8,16].")
    if parts[0] == INCLUDE:
        raise refuse("files are included by files only. Write the key into the file.", INCLUDE)
    if len(parts) > 10:
        raise refuse("must be a key at most 10 levels deep.")
    try:
        value = read_value(value_text)
    except ValueError as exc:
        raise refuse(str(exc), key.strip()) from exc
    place = Place(origin, 0)
    places: dict[KeyPath, Place] = {parts[:length]: place for length in range(1, len(parts) + 1)}
    content = value
    for part in reversed(parts):
        content = {part: content}
    if not isinstance(content, dict):  # there is at least one part
        raise TypeError(content)
    return Located(path, content, places)
