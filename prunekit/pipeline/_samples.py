"""What a data source gives, and the checks that all of them share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, ValidationInfo
from pydantic_core import PydanticCustomError

from prunekit.exceptions import InputError

Task = Literal["classification", "regression"]


@dataclass(frozen=True)
class Samples:
    """
    Samples with their classes or targets.

    Parameters
    ----------
    X : ndarray of shape (samples, ``*shape``)
        Samples as float32, or as float64 where that holds more of what the source has.
    y : ndarray
        Classes as int64, (samples,); or targets in one of these types, (samples, targets).
    num_test : int, default=0
        How many at the end are the test part that the data come with.
    """

    X: NDArray[np.floating[Any]]
    y: NDArray[Any]
    num_test: int = 0


def as_samples(X: NDArray[Any], what: str) -> NDArray[np.floating[Any]]:
    """
    Check samples.

    Parameters
    ----------
    X : ndarray
        What the source holds.
    what : str
        How a message calls it.

    Returns
    -------
    ndarray of shape (samples, ``*shape``)
        The same as float32 or float64, the smaller that holds every value of their type.

    Raises
    ------
    InputError
        If they are no finite real numbers in at least two dimensions.
    """
    if X.ndim < 2 or not np.issubdtype(X.dtype, np.number) or np.iscomplexobj(X):
        raise InputError(
            f"{what} must hold real numbers in at least 2 dimensions, (samples, *shape). "
            f"Got {X.dtype} of shape {X.shape} instead."
        )
    samples = _as_floats(X)
    if not np.isfinite(samples).all():
        raise InputError(f"{what} must be finite. Got NaN or infinity instead.")
    return samples


def _as_floats(values: NDArray[Any]) -> NDArray[np.floating[Any]]:
    dtype = min(np.result_type(values.dtype, np.float32), np.dtype(np.float64))
    return values.astype(dtype, copy=False)


def in_dtype(values: NDArray[Any], dtype: str, what: str) -> NDArray[np.floating[Any]]:
    """
    Return numbers in the type that the network computes in.

    Parameters
    ----------
    values : ndarray
        Finite numbers.
    dtype : {"float32", "float64"}
        The type.
    what : str
        How a message calls them.

    Returns
    -------
    ndarray
        The same array where there is nothing to do.

    Raises
    ------
    InputError
        If a number is too large for the type.
    """
    with np.errstate(over="ignore"):  # told below
        cast: NDArray[np.floating[Any]] = values.astype(dtype, copy=False)
    if cast is not values and not np.isfinite(cast).all():
        raise InputError(
            f"{what} must be at most {np.finfo(dtype).max:.2g} to fit into {dtype}. Got {np.abs(values).max():.2g} "
            "instead; scale the file, or write 'dtype: float64' under data."
        )
    return cast


def as_targets(y: NDArray[Any], num_samples: int, task: Task, what: str) -> NDArray[Any]:
    """
    Check classes or targets.

    Parameters
    ----------
    y : ndarray
        What the source holds.
    num_samples : int
        Number of samples.
    task : {"classification", "regression"}
        What is to be learnt.
    what : str
        How a message calls it.

    Returns
    -------
    ndarray
        Classes as int64, (samples,); or targets as float32 or float64, (samples, targets).

    Raises
    ------
    InputError
        If they are something else, or not one for each sample.
    """
    return _TARGETS[task](y, num_samples, what)


def _classes(y: NDArray[Any], num_samples: int, what: str) -> NDArray[Any]:
    if y.shape != (num_samples,) or not np.issubdtype(y.dtype, np.integer):
        raise InputError(
            f"{what} must hold one class number for each of the {num_samples} samples. "
            f"Got {y.dtype} of shape {y.shape} instead."
        )
    found = np.unique(y)
    if len(found) < 2 or not np.array_equal(found, np.arange(len(found))):
        raise InputError(
            f"{what} must hold the classes 0, 1, … without gaps, at least two. "
            f"Got {', '.join(map(str, found[:10]))}{', …' if len(found) > 10 else ''} instead."
        )
    return y.astype(np.int64)


def _numbers(y: NDArray[Any], num_samples: int, what: str) -> NDArray[Any]:
    is_real = np.issubdtype(y.dtype, np.number) and not np.iscomplexobj(y)
    if not is_real or y.ndim not in (1, 2) or len(y) != num_samples or not y.size:
        raise InputError(
            f"{what} must hold real numbers for each of the {num_samples} samples, (samples,) or (samples, targets). "
            f"Got {y.dtype} of shape {y.shape} instead."
        )
    targets = _as_floats(y).reshape(num_samples, -1)
    if not np.isfinite(targets).all():
        raise InputError(f"{what} must be finite. Got NaN or infinity instead.")
    return targets


_TARGETS = {"classification": _classes, "regression": _numbers}


def _path(value: Any, info: ValidationInfo) -> Path:
    """Resolve a path against the folder of the pipeline file."""
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "must be a text")
    if "\0" in value:
        raise PydanticCustomError("no_such_file", "there is no such file", {"looked": "of that name"})
    # Absolute, so that the file that a run writes into another folder still finds it.
    return Path((info.context or {}).get("folder", "."), value).absolute()


def _existing_file(value: Any, info: ValidationInfo) -> Path:
    path = _path(value, info)
    if not path.is_file():
        raise PydanticCustomError("no_such_file", "there is no such file", {"looked": str(path)})
    return path


def _existing_folder(value: Any, info: ValidationInfo) -> Path:
    path = _path(value, info)
    if not path.is_dir():
        raise PydanticCustomError("no_such_folder", "there is no such folder", {"looked": str(path)})
    return path


FilePath = Annotated[Path, BeforeValidator(_path)]
ExistingFile = Annotated[Path, BeforeValidator(_existing_file)]
ExistingFolder = Annotated[Path, BeforeValidator(_existing_folder)]
