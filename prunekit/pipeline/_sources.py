"""Data that come with scikit-learn or lie in one file."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
import pandas as pd
from pydantic import Field, model_validator
from sklearn import datasets

from prunekit.exceptions import InputError, MissingDependencyError
from prunekit.pipeline._samples import ExistingFile, Samples, Task, as_samples, as_targets
from prunekit.pipeline._section import UNKNOWN_NAME, Section, key_error


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
        If the file cannot be read, or its columns are no numbers.
    MissingDependencyError
        If nothing that reads Parquet is installed.
    """
    try:
        table = pd.read_parquet(path)
    except ImportError as exc:
        raise MissingDependencyError("Parquet files need pyarrow: pip install pyarrow") from exc
    except (OSError, ValueError) as exc:
        raise InputError(f"The file {path} must be a Parquet table. {type(exc).__name__}: {exc}") from exc
    return _columns(table, path, target, features, task)


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


class ParquetOptions(Section):
    """Options of the source ``parquet``."""

    path: ExistingFile
    target: str
    features: Annotated[list[str], Field(min_length=1)] | None = None


class CsvOptions(ParquetOptions):
    """Options of the source ``csv``."""

    separator: str = Field(",", min_length=1, max_length=1)

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        try:
            known = [str(name) for name in pd.read_csv(self.path, sep=self.separator, nrows=0).columns]
        except (OSError, ValueError):
            raise key_error("no_csv", "path", str(self.path)) from None
        if self.target not in known:
            raise key_error(UNKNOWN_NAME, "target", self.target, kind="column", known=known)
        for name in self.features or ():
            if name not in known:
                raise key_error(UNKNOWN_NAME, "features", name, kind="column", known=known)
        return self
