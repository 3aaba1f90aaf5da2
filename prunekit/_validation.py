"""Checks of parameters, all with one sentence shape."""

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Literal

import numpy as np

from prunekit.exceptions import ParameterError, ParameterTypeError

Closed = Literal["left", "right", "both", "neither"]


def check_interval(
    name: str,
    value: object,
    owner: str,
    low: float,
    high: float,
    closed: Closed = "both",
) -> float:
    """
    Return ``value`` as a float if it lies in the interval.

    Parameters
    ----------
    name : str
        Name of the parameter, for the message.
    value : object
        What the user gave.
    owner : str
        Class or function that the parameter belongs to.
    low, high : float
        Ends of the interval; infinities are allowed.
    closed : {"left", "right", "both", "neither"}, default="both"
        Which ends belong to the interval.

    Returns
    -------
    float
        The value.

    Raises
    ------
    ParameterTypeError
        If the value is no real number.
    ParameterError
        If it lies outside of the interval or is NaN.
    """
    left, right = "[" if closed in ("left", "both") else "(", "]" if closed in ("right", "both") else ")"
    wanted = f"The '{name}' parameter of {owner} must be a number in {left}{low:g}, {high:g}{right}."
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ParameterTypeError(f"{wanted} Got {value!r} instead.")
    number = float(value)
    above = number > low or (number == low and left == "[")
    below = number < high or (number == high and right == "]")
    if math.isnan(number) or not (above and below):
        raise ParameterError(f"{wanted} Got {value!r} instead.")
    return number


def check_integer(name: str, value: object, owner: str, low: int) -> int:
    """
    Return ``value`` as an int if it is an integer of at least ``low``.

    Parameters
    ----------
    name : str
        Name of the parameter, for the message.
    value : object
        What the user gave.
    owner : str
        Class or function that the parameter belongs to.
    low : int
        Smallest allowed value.

    Returns
    -------
    int
        The value.

    Raises
    ------
    ParameterTypeError
        If the value is no integer.
    ParameterError
        If it is smaller than ``low``.
    """
    wanted = f"The '{name}' parameter of {owner} must be an integer of at least {low}."
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ParameterTypeError(f"{wanted} Got {value!r} instead.")
    if value < low:
        raise ParameterError(f"{wanted} Got {value!r} instead.")
    return int(value)


def check_boolean(name: str, value: object, owner: str) -> bool:
    """
    Return a switch.

    Parameters
    ----------
    name : str
        Name of the parameter.
    value : object
        What the user gave.
    owner : str
        Class or function that the parameter belongs to.

    Returns
    -------
    bool
        The value.

    Raises
    ------
    ParameterTypeError
        If it is neither True nor False.
    """
    if not isinstance(value, bool | np.bool_):
        raise ParameterTypeError(f"The '{name}' parameter of {owner} must be True or False. Got {value!r} instead.")
    return bool(value)


def check_choice(name: str, value: object, owner: str, choices: Iterable[str]) -> str:
    """
    Return ``value`` if it is one of ``choices``.

    Parameters
    ----------
    name : str
        Name of the parameter, for the message.
    value : object
        What the user gave.
    owner : str
        Class or function that the parameter belongs to.
    choices : iterable of str
        What is allowed.

    Returns
    -------
    str
        The value.

    Raises
    ------
    ParameterError
        If the value is none of the choices.
    """
    allowed = list(choices)
    if not isinstance(value, str) or value not in allowed:
        listed = ", ".join(repr(choice) for choice in allowed)
        raise ParameterError(f"The '{name}' parameter of {owner} must be one of {listed}. Got {value!r} instead.")
    return value


def is_builtin(error: Exception) -> bool:
    """
    Return whether an error tells nothing by its class, as those of Python and most of torch's.

    Others, such as `torch.OutOfMemoryError` and those of users, are caught by their class and are passed on therefore.

    Parameters
    ----------
    error : Exception
        The error.

    Returns
    -------
    bool
        Whether its class is one of Python's own.
    """
    return type(error).__module__ == "builtins"
