"""Reading what a run wrote; nothing in it is executed, and what is broken is told with its file."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from prunekit import reporting
from prunekit.exceptions import ParameterError, PipelineFileError
from prunekit.pipeline._outputs import FORMAT, MARKER
from prunekit.pipeline._yaml import Value, read_document

METRICS, LAYERS = "metrics.json", "layers.csv"
EXPERIMENT, BEST = "experiment.yaml", "best.yaml"


def is_run(folder: Path) -> bool:
    """
    Tell whether a folder was written by a run.

    Parameters
    ----------
    folder : Path
        The folder.

    Returns
    -------
    bool
        Whether it has the file that marks it as one.
    """
    return (folder / MARKER).is_file()


def read_marker(folder: Path) -> dict[str, Any]:
    """
    Read what marks a folder as a run: versions, seed, files.

    Parameters
    ----------
    folder : Path
        Folder of a run.

    Returns
    -------
    dict
        The content.

    Raises
    ------
    ParameterError
        If it is no folder of a run, or one of a later version.
    """
    if not is_run(folder):
        got = f"one without {MARKER}" if folder.is_dir() else "no folder"
        raise ParameterError(f"{folder} must be a folder that 'prunekit run' wrote. Got {got} instead.")
    marker = read_json(folder / MARKER)
    number = marker.get("prunekit_run")
    if not isinstance(number, int):
        raise ParameterError(
            f"The file {folder / MARKER} must be as 'prunekit run' wrote it. Got one without a number as "
            "'prunekit_run' instead."
        )
    if number > FORMAT:
        raise ParameterError(
            f"The file {folder / MARKER} must be of format {FORMAT} or an earlier one. Got {number} instead; install "
            "the version of prunekit that wrote it, or a later one."
        )
    return marker


def read_json(path: Path) -> dict[str, Any]:
    """
    Read a JSON file of a run.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    dict
        Its content.

    Raises
    ------
    ParameterError
        If it is not there or holds no JSON object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise ParameterError(
            f"The folder {path.parent} must be one that 'prunekit run' wrote. Got one without {path.name} instead."
        ) from exc
    except (OSError, ValueError, RecursionError) as exc:
        raise _broken(path, exc) from exc
    if not isinstance(content, dict):
        raise ParameterError(f"The file {path} must hold a JSON object. Got another value instead.")
    return content


def read_settings(folder: Path) -> dict[str, Value]:
    """
    Read the experiment of a run as plain values; the data that it names need not be there.

    Parameters
    ----------
    folder : Path
        Folder of a run.

    Returns
    -------
    dict
        What the experiment says; of a search with the best parameters in their places.

    Raises
    ------
    ParameterError
        If a file is missing or broken.
    """
    asked_for = _read_yaml(folder / EXPERIMENT)
    if asked_for.get("search") is None or not (folder / BEST).is_file():
        return asked_for
    return {**_read_yaml(folder / BEST), "search": asked_for["search"]}


def read_layers(path: Path) -> pd.DataFrame:
    """
    Read a layer table as it was before it was written.

    Parameters
    ----------
    path : Path
        CSV file of a run.

    Returns
    -------
    DataFrame
        The table, without attributes.

    Raises
    ------
    ParameterError
        If the file is missing or broken.
    """
    try:
        return reporting.read_layers(path)
    except (OSError, ValueError, KeyError, TypeError, SyntaxError, RecursionError, MemoryError) as exc:
        raise _broken(path, exc) from exc


def _read_yaml(path: Path) -> dict[str, Value]:
    try:
        return read_document(path).content
    except PipelineFileError as exc:
        raise ParameterError(
            f"The folder {path.parent} must hold the files as 'prunekit run' wrote them. {exc}"
        ) from exc


def _broken(path: Path, exc: BaseException) -> ParameterError:
    return ParameterError(
        f"The file {path} must be as 'prunekit run' wrote it. Got something else instead "
        f"({type(exc).__name__}: {exc}). Run the experiment again."
    )
