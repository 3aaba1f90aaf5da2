"""Values of estimators as plain values of YAML."""

from collections.abc import Mapping
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """
    Return a value of an estimator as YAML can write it.

    Parameters
    ----------
    value : object
        Numbers, texts, lists, tuples, arrays, mappings.

    Returns
    -------
    object
        Plain values: tuples and arrays are lists, keys are texts.

    Raises
    ------
    ValueError
        If there is anything else in it.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    raise ValueError(f"{value!r} cannot be written as a plain value")


def is_same(value: Any, other: Any) -> bool:
    """
    Return whether two plain values are the same, of the same type.

    Parameters
    ----------
    value, other : object
        Plain values; the second may hold tuples.

    Returns
    -------
    bool
        True and 1, 1 and 1.0 differ; not-a-number is the same as itself.
    """
    if isinstance(value, Mapping) != isinstance(other, Mapping):
        return False  # without going through a step with all that is in it
    try:
        return repr(plain(value)) == repr(plain(other))
    except ValueError:
        return False
