"""Data that come with scikit-learn or lie in one file."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field, model_validator
from sklearn import datasets

from prunekit.exceptions import InputError
from prunekit.pipeline._samples import ExistingFile, Samples, Task, as_samples, as_targets
from prunekit.pipeline._section import UNKNOWN_NAME, Section, key_error

MAX_CELLS = 2**30

_UNREADABLE = (OSError, ValueError, TypeError, LookupError, AttributeError, RecursionError, pa.ArrowException)
"""What Arrow and pandas raise over damaged Parquet files: the latter trusts what the file says of its types."""


def load_digits(task: Task = "classification") -> Samples:
    """
    Return scikit-learn's handwritten digits.

    Parameters
    ----------
    task : {"classification"}
        What is to be learnt.

    Returns
    -------
    Samples
        1797 images of shape (1, 8, 8), grey values from 0 to 1, and classes 0 to 9.
    """
    X, y = datasets.load_digits(return_X_y=True)
    return Samples((X / 16).astype(np.float32).reshape(-1, 1, 8, 8), y.astype(np.int64))


def of_scikit_learn(load: Callable[..., Any]) -> Callable[..., Samples]:
    """
    Return a source of a table that comes with scikit-learn.

    Parameters
    ----------
    load : callable
        One of `sklearn.datasets`.

    Returns
    -------
    callable
        Takes the task, returns the samples.
    """

    def source(task: Task = "classification") -> Samples:
        X, y = load(return_X_y=True)
        what = f"scikit-learn's {load.__name__}"
        return Samples(as_samples(X, what), as_targets(y, len(X), task, what))

    return source


def load_npz(path: Path, X: str, y: str, task: Task = "classification") -> Samples:
    """
    Return two arrays of a ``.npz`` file.

    Parameters
    ----------
    path : Path
        The file.
    X : str
        Name of the array of samples, (samples, *shape).
    y : str
        Name of the array of class numbers, (samples,), or of targets.
    task : {"classification", "regression"}, default="classification"
        What is to be learnt.

    Returns
    -------
    Samples
        The samples.

    Raises
    ------
    InputError
        If the arrays are no samples and targets, or do not fit each other.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            samples, targets = arrays[X], arrays[y]
    except (OSError, ValueError, zipfile.BadZipFile) as exc:
        raise InputError(f"The file {path} must hold readable arrays of numbers. {type(exc).__name__}: {exc}") from exc
    samples = as_samples(samples, f"The array '{X}' of {path}")
    return Samples(samples, as_targets(targets, len(samples), task, f"The array '{y}' of {path}"))


def load_csv(
    path: Path, target: str, features: list[str] | None, separator: str, task: Task = "classification"
) -> Samples:
    """
    Return columns of a ``.csv`` file.

    Parameters
    ----------
    path : Path
        The file, its first line with the names of the columns.
    target : str
        Column of the classes, numbers or words, or of what is to be predicted.
    features : list of str or None
        Columns of the samples; None: all others.
    separator : str
        What stands between columns.
    task : {"classification", "regression"}, default="classification"
        What is to be learnt.

    Returns
    -------
    Samples
        A row per sample.

    Raises
    ------
    InputError
        If the file cannot be read, or its columns are no numbers.
    """
    try:
        table = pd.read_csv(path, sep=separator)
    except (OSError, ValueError) as exc:
        raise InputError(f"The file {path} must be a table of numbers. {type(exc).__name__}: {exc}") from exc
    return _columns(table, path, target, features, task)


def load_parquet(path: Path, target: str, features: list[str] | None, task: Task = "classification") -> Samples:
    """
    Return columns of a ``.parquet`` file.

    Parameters
    ----------
    path : Path
        The file.
    target : str
        Column of the classes, numbers or words, or of what is to be predicted.
    features : list of str or None
        Columns of the samples; None: all others.
    task : {"classification", "regression"}, default="classification"
        What is to be learnt.

    Returns
    -------
    Samples
        A row per sample.

    Raises
    ------
    InputError
        If the file cannot be read or is too large, or its columns are no numbers.

    Notes
    -----
    Columns that pandas wrote as an index are none of the samples. Arrow never unpickles what a file says of its types,
    so reading one runs no code.
    """
    wanted = None if features is None else list(dict.fromkeys([*features, target]))
    try:
        _check_table(path, wanted)
        table = pd.read_parquet(path, engine="pyarrow", columns=wanted)
    except InputError:
        raise
    except _UNREADABLE as exc:
        raise InputError(f"The file {path} must be a readable Parquet table. {type(exc).__name__}: {exc}") from exc
    table.columns = table.columns.map(str)  # pandas gives numbers back as numbers
    return _columns(table, path, target, features, task)


def _check_table(path: Path, columns: list[str] | None) -> None:
    """Refuse columns of one name, and a file of a few bytes that would become more than memory holds."""
    names = pq.read_schema(path).names
    twice = next((name for index, name in enumerate(names) if name in names[:index]), None)
    if twice is not None:
        raise InputError(f"The columns of {path} must have different names. Got '{twice}' twice.")
    cells = pq.read_metadata(path).num_rows * len(columns or names)
    if cells > MAX_CELLS:
        raise InputError(
            f"The table in {path} must have at most {MAX_CELLS:,} cells in the columns that are read. "
            f"Got {cells:,} instead; choose some columns with 'features', or a part of the rows."
        )


def _columns(table: pd.DataFrame, path: Path, target: str, features: list[str] | None, task: Task) -> Samples:
    """Return the samples and targets of a table."""
    chosen = [name for name in table.columns if name != target] if features is None else features
    missing = [name for name in (target, *chosen) if name not in table.columns]
    if missing:
        raise InputError(
            f"The file {path} must have the column '{missing[0]}'. It has {', '.join(table.columns[:20])}."
        )
    for name in chosen:
        if not pd.api.types.is_numeric_dtype(table[name]):
            raise InputError(
                f"The column '{name}' of {path} must hold numbers. Got {table[name].dtype} instead; "
                "encode it, or leave it out with 'features'."
            )
    empty = [name for name in (target, *chosen) if table[name].isna().any()]
    if empty:
        raise InputError(f"The column '{empty[0]}' of {path} must have no empty cells. Fill them or remove the rows.")
    X = as_samples(table[chosen].to_numpy(dtype=np.float64), f"The columns of {path}")
    y = table[target]
    values = y.to_numpy()
    if task == "classification" and not pd.api.types.is_float_dtype(y):
        values = np.unique(values.astype(str) if values.dtype == object else values, return_inverse=True)[1]
    return Samples(X, as_targets(values, len(X), task, f"The column '{target}' of {path}"))


class NpzOptions(Section):
    """Options of the source ``npz``."""

    path: ExistingFile
    X: str = "X"
    y: str = "y"

    @model_validator(mode="after")
    def _check_arrays(self) -> Self:
        try:
            with zipfile.ZipFile(self.path) as archive:
                known = [name.removesuffix(".npy") for name in archive.namelist()]
        except (OSError, zipfile.BadZipFile):
            raise key_error("no_npz", "path", str(self.path)) from None
        for key in ("X", "y"):
            if getattr(self, key) not in known:
                raise key_error(UNKNOWN_NAME, key, getattr(self, key), kind="array", known=known)
        return self


class TableOptions(Section):
    """What the sources ``csv`` and ``parquet`` have in common."""

    path: ExistingFile
    target: str
    features: Annotated[list[str], Field(min_length=1)] | None = None

    def _check_columns(self, known: list[str]) -> None:
        for key, names in (("target", [self.target]), ("features", self.features or [])):
            for name in names:
                if name not in known:
                    raise key_error(UNKNOWN_NAME, key, name, kind="column", known=known)


class ParquetOptions(TableOptions):
    """Options of the source ``parquet``."""

    @model_validator(mode="after")
    def _check_file(self) -> Self:
        try:
            schema = pq.read_schema(self.path)
            about = schema.pandas_metadata or {}
            # A range that counts rows is a mapping here, any other index the name of a column.
            index = [name for name in about.get("index_columns", []) if isinstance(name, str)]
        except _UNREADABLE:
            raise key_error("no_parquet", "path", str(self.path)) from None
        self._check_columns([name for name in schema.names if name not in index])
        return self


class CsvOptions(TableOptions):
    """Options of the source ``csv``."""

    separator: str = Field(",", min_length=1, max_length=1)

    @model_validator(mode="after")
    def _check_file(self) -> Self:
        try:
            known = [str(name) for name in pd.read_csv(self.path, sep=self.separator, nrows=0).columns]
        except (OSError, ValueError):
            raise key_error("no_csv", "path", str(self.path)) from None
        self._check_columns(known)
        return self
