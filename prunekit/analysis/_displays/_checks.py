"""Checks of what the displays are given."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from prunekit.exceptions import ParameterError, ParameterTypeError

FloatArray = NDArray[np.float64]


def check_pruner(pruner: Any, owner: str) -> None:
    """Check that a pruner is one, and fitted."""
    if not (hasattr(pruner, "fit") and hasattr(pruner, "analyze")):
        raise ParameterTypeError(
            f"The 'pruner' parameter of {owner} must be a TaylorPruner. Got {type(pruner).__name__} instead."
        )
    check_is_fitted(pruner)


def check_table(name: str, table: Any, columns: Collection[str], what: str, owner: str) -> None:
    """Check that a table is a data frame with some columns."""
    missing = sorted(set(columns) - set(table.columns)) if isinstance(table, pd.DataFrame) else []
    if missing or not isinstance(table, pd.DataFrame):
        got = f"a DataFrame without {missing[0]!r}" if missing else type(table).__name__
        raise ParameterTypeError(f"The '{name}' parameter of {owner} must be {what}. Got {got} instead.")


def float_per_unit(name: str, values: ArrayLike, owner: str, size: int | None = None) -> FloatArray:
    """Return numbers over units, NaN where there is none."""
    wanted = f"The '{name}' parameter of {owner} must hold one number for each {_units(size)}."
    try:
        numbers = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise ParameterTypeError(f"{wanted} Got {type(values).__name__} of something else instead.") from exc
    _check_shape(numbers, wanted, size)
    if np.isinf(numbers).any():
        raise ParameterError(
            f"The '{name}' parameter of {owner} must hold finite numbers, or NaN where there is none. "
            f"Got {numbers[np.isinf(numbers)][0]} for unit {np.flatnonzero(np.isinf(numbers))[0]} instead."
        )
    return numbers


def bool_per_unit(name: str, values: ArrayLike, owner: str, size: int) -> NDArray[np.bool_]:
    """Return truth values over units."""
    wanted = f"The '{name}' parameter of {owner} must hold True or False for each {_units(size)}."
    flags = np.array(values)
    if flags.size and flags.dtype != np.bool_:
        raise ParameterTypeError(f"{wanted} Got values of type {flags.dtype} instead.")
    _check_shape(flags, wanted, size)
    return flags.astype(bool)


def name_per_unit(name: str, values: ArrayLike, owner: str, size: int) -> NDArray[np.str_]:
    """Return names over units."""
    wanted = f"The '{name}' parameter of {owner} must hold the name of a layer for each {_units(size)}."
    names = np.array(values)
    if not all(isinstance(one, str) for one in names.flat):
        odd = next(one for one in names.flat if not isinstance(one, str))
        raise ParameterTypeError(f"{wanted} Got {type(odd).__name__} instead.")
    _check_shape(names, wanted, size)
    return names.astype(str)


def float_per_point(name: str, values: ArrayLike, owner: str, *shapes: tuple[int, ...]) -> FloatArray:
    """Return numbers of one of the shapes, spread to the first of them."""
    try:
        numbers = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise ParameterTypeError(
            f"The '{name}' parameter of {owner} must hold numbers. "
            f"Got {type(values).__name__} of something else instead."
        ) from exc
    _check_points(name, numbers, owner, *shapes)
    if np.isinf(numbers).any():
        raise ParameterError(
            f"The '{name}' parameter of {owner} must hold finite numbers, or NaN where there is none. "
            f"Got {numbers[np.isinf(numbers)][0]} instead."
        )
    return np.broadcast_to(numbers, shapes[0]).copy() if shapes else numbers


def bool_per_point(name: str, values: ArrayLike, owner: str, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return truth values."""
    flags = np.array(values)
    _check_points(name, flags, owner, shape)
    if flags.dtype != np.bool_:
        raise ParameterTypeError(
            f"The '{name}' parameter of {owner} must hold True or False. Got values of type {flags.dtype} instead."
        )
    return flags


def choice_per_point(
    name: str, values: ArrayLike, owner: str, choices: tuple[str, ...], shape: tuple[int, ...]
) -> NDArray[np.object_]:
    """Return values of which each is one of some."""
    chosen = np.array(values, dtype=object)
    _check_points(name, chosen, owner, shape)
    odd = [one for one in chosen.tolist() if one not in choices]
    if odd:
        raise ParameterError(f"The '{name}' parameter of {owner} must hold {choices} only. Got {odd[0]!r} instead.")
    return chosen


def _check_points(name: str, values: NDArray[Any], owner: str, *shapes: tuple[int, ...]) -> None:
    if shapes and values.shape not in shapes:
        raise ParameterError(
            f"The '{name}' parameter of {owner} must have the shape of the scores, {shapes[0]}. "
            f"Got an array of shape {values.shape} instead."
        )


def _units(size: int | None) -> str:
    return "unit" if size is None else f"of the {size} units"


def _check_shape(values: NDArray[Any], wanted: str, size: int | None) -> None:
    if values.ndim != 1 or not values.size or (size is not None and values.size != size):
        raise ParameterError(f"{wanted} Got an array of shape {values.shape} instead.")
