"""Where data come from."""

import zipfile
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError
from sklearn import datasets

from prunekit.exceptions import InputError
from prunekit.pipeline._section import UNKNOWN_NAME, Section, key_error

Samples = tuple[NDArray[np.float32], NDArray[np.int64]]


def load_digits() -> Samples:
    """
    Return scikit-learn's handwritten digits.

    Returns
    -------
    X : ndarray of shape (1797, 1, 8, 8)
        Grey values from 0 to 1.
    y : ndarray of shape (1797,)
        Classes 0 to 9.
    """
    X, y = datasets.load_digits(return_X_y=True)
    return (X / 16).astype(np.float32).reshape(-1, 1, 8, 8), y.astype(np.int64)


def load_npz(path: Path, X: str, y: str) -> Samples:
    """
    Return two arrays of a ``.npz`` file.

    Parameters
    ----------
    path : Path
        The file.
    X : str
        Name of the array of samples, (samples, *shape).
    y : str
        Name of the array of class numbers, (samples,).

    Returns
    -------
    X : ndarray of shape (samples, *shape)
        Samples as float32.
    y : ndarray of shape (samples,)
        Classes 0 to the number of classes less one.

    Raises
    ------
    InputError
        If the arrays are no samples and class numbers, or do not fit each other.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            samples, classes = arrays[X], arrays[y]
    except (OSError, ValueError, zipfile.BadZipFile) as exc:
        raise InputError(f"The file {path} must hold readable arrays of numbers. {type(exc).__name__}: {exc}") from exc
    if samples.ndim < 2 or not np.issubdtype(samples.dtype, np.number) or np.iscomplexobj(samples):
        raise InputError(
            f"The array '{X}' of {path} must hold real numbers in at least 2 dimensions, (samples, *shape). "
            f"Got {samples.dtype} of shape {samples.shape} instead."
        )
    if classes.shape != (len(samples),) or not np.issubdtype(classes.dtype, np.integer):
        raise InputError(
            f"The array '{y}' of {path} must hold one class number for each of the {len(samples)} samples. "
            f"Got {classes.dtype} of shape {classes.shape} instead."
        )
    samples = samples.astype(np.float32)
    if not np.isfinite(samples).all():
        raise InputError(f"The array '{X}' of {path} must be finite. Got NaN or infinity instead.")
    found = np.unique(classes)
    if len(found) < 2 or not np.array_equal(found, np.arange(len(found))):
        raise InputError(
            f"The array '{y}' of {path} must hold the classes 0, 1, … without gaps, at least two. "
            f"Got {', '.join(map(str, found[:10]))}{', …' if len(found) > 10 else ''} instead."
        )
    return samples, classes.astype(np.int64)


def _existing_file(value: Any, info: ValidationInfo) -> Path:
    """Resolve a path against the folder of the pipeline file."""
    if not isinstance(value, str):
        raise PydanticCustomError("string_type", "must be a text")
    path = Path((info.context or {}).get("folder", "."), value).absolute()  # also in the file that a run writes
    if not path.is_file():
        raise PydanticCustomError("no_such_file", "there is no such file", {"looked": str(path)})
    return path


class NpzOptions(Section):
    """Options of the source ``npz``."""

    path: Annotated[Path, BeforeValidator(_existing_file)]
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
