"""How commands speak: to people, in JSON, or not at all; and how they end when something goes wrong."""

import json
import math
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import typer
from rich.console import Console, RenderableType
from rich.text import Text

from prunekit._skorch import InterruptWatch
from prunekit.exceptions import ParameterError, PipelineFileError, PrunekitError
from prunekit.pipeline import Problem

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130

_FROM_COMMAND_LINE = "--set "


class Output:
    """
    Where the results of a command go.

    Parameters
    ----------
    as_json : bool
        Whether they are printed as one JSON document.
    quiet : bool
        Whether they are not printed.

    Attributes
    ----------
    console : Console
        The standard output.
    """

    def __init__(self, as_json: bool, quiet: bool) -> None:
        self.as_json = as_json
        self.is_for_people = not (as_json or quiet)
        self.console = Console(highlight=False)

    def data(self, content: Any) -> None:
        """Print the document, if it is asked for."""
        if self.as_json:
            typer.echo(json_text(content), nl=False)

    def show(self, *items: RenderableType) -> None:
        """Print something for people, if there are any."""
        if self.is_for_people:
            for item in items:
                self.console.print(item)

    def line(self, text: str, newline: bool = True) -> None:
        """Print a text as it is, however wide."""
        if self.is_for_people:
            typer.echo(text, nl=newline)

    def written(self, path: Path) -> None:
        """Tell which file was written."""
        self.line(f"Written to {path}")
        self.data({"file": str(path)})


@contextmanager
def command_output(as_json: bool = False, quiet: bool = False) -> Iterator[Output]:
    """
    Yield where the results of a command go; turn errors of the package and Ctrl-C into a message and an exit code.

    Parameters
    ----------
    as_json, quiet : bool, default=False
        What the user asked for; JSON wins.

    Yields
    ------
    Output
        The output.

    Notes
    -----
    Other exceptions are mistakes of the package: they are shown as they are.
    """
    output = Output(as_json, quiet)
    with warnings.catch_warnings(), InterruptWatch() as watch:
        warnings.showwarning = _show_warning
        try:
            yield output
        except PrunekitError as exc:
            _tell_error(output, exc)
            is_usage = isinstance(exc, (PipelineFileError, ParameterError))
            raise typer.Exit(EXIT_USAGE if is_usage else EXIT_FAILED) from exc
        except KeyboardInterrupt as exc:
            output.data({"error": {"type": "KeyboardInterrupt", "message": "Interrupted."}})
            if not as_json:
                Console(stderr=True).print(Text("Interrupted.", style="bold yellow"))
            raise typer.Exit(EXIT_INTERRUPTED) from exc
        if watch.interrupted:  # and something stopped early because of it, but the command came to its end
            tell("Interrupted", "bold yellow", "the results are those of what was done until then.")
            raise typer.Exit(EXIT_INTERRUPTED)


def tell(kind: str, style: str, text: str) -> None:
    """Print a message to the standard error."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(Text.assemble((f"{kind}: ", style), text))


def _tell_error(output: Output, exc: PrunekitError) -> None:
    if not output.as_json:
        tell("Error", "bold red", str(exc))
        return
    content: dict[str, Any] = {"type": type(exc).__name__, "message": str(exc)}
    if isinstance(exc, PipelineFileError):
        content["problems"] = [problem_record(problem) for problem in exc.problems]
    output.data({"error": content})


def problem_record(problem: Problem, file: Path | None = None) -> dict[str, Any]:
    """
    Return a problem of a pipeline file as plain values.

    Parameters
    ----------
    problem : Problem
        The problem.
    file : Path, default=None
        The file that was asked for.

    Returns
    -------
    dict
        ``file``, ``line``, ``key``, ``message`` and ``assignment``, what ``--set`` gave; None where there is none.
    """
    is_set = problem.origin.startswith(_FROM_COMMAND_LINE)
    where = None if is_set else problem.origin or (None if file is None else str(file))
    return {
        "file": where,
        "line": problem.line or None,
        "key": problem.key or None,
        "message": problem.message,
        "assignment": problem.origin.removeprefix(_FROM_COMMAND_LINE) if is_set else None,
    }


def json_text(content: Any) -> str:
    """
    Return a JSON document.

    Parameters
    ----------
    content : object
        Plain values, numbers of NumPy, paths, data frames; what is not finite or missing becomes null.

    Returns
    -------
    str
        The text, with a newline at its end.
    """
    return f"{json.dumps(_plain(content), indent=2, ensure_ascii=False, allow_nan=False)}\n"


def write_text(path: Path, text: str) -> None:
    """
    Write a file that the user named.

    Parameters
    ----------
    path : Path
        The file.
    text : str
        What it is to hold.

    Raises
    ------
    ParameterError
        If it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as exc:
        raise ParameterError(f"The file {path} cannot be written: {exc.strerror}.") from exc


def write_table(path: Path, table: pd.DataFrame, content: Any) -> None:
    """
    Write a table to a file that the user named.

    Parameters
    ----------
    path : Path
        A .csv file, which holds the table, or a .json file, which holds what ``--json`` prints.
    table : DataFrame
        The table.
    content : object
        The document.

    Raises
    ------
    ParameterError
        If it is another kind of file or cannot be written.
    """
    if path.suffix == ".csv":
        write_text(path, table.to_csv(index=False, lineterminator="\n"))
    elif path.suffix == ".json":
        write_text(path, json_text(content))
    else:
        raise ParameterError(f"The file to write must be a .csv or a .json file. Got {path} instead.")


def _plain(value: Any) -> Any:
    """Return what JSON can say."""
    if isinstance(value, pd.DataFrame):
        return [_plain(row) for row in value.to_dict("records")]
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def _show_warning(message: Warning | str, *place: Any, **more: Any) -> None:
    """Stand in for `warnings.showwarning`."""
    tell("Warning", "bold yellow", str(message))
