"""Checks of parameters: one sentence for all mistakes."""

import numpy as np
import pytest

from prunekit._validation import check_boolean, check_choice, check_integer, check_interval
from prunekit.exceptions import ParameterError, ParameterTypeError


@pytest.mark.parametrize(
    ("closed", "inside", "outside"),
    [
        ("both", [0, 0.5, 1], [-1e-9, 1.0001]),
        ("left", [0, 0.5], [1, -1e-9]),
        ("right", [0.5, 1], [0]),
        ("neither", [0.5], [0, 1]),
    ],
)
def test_intervals(closed: str, inside: list[float], outside: list[float]) -> None:
    for value in inside:
        assert check_interval("x", value, "Owner", 0, 1, closed) == value
    for value in (*outside, float("nan"), float("inf"), -float("inf")):
        with pytest.raises(ParameterError):
            check_interval("x", value, "Owner", 0, 1, closed)


def test_infinite_ends() -> None:
    assert check_interval("x", 1e300, "Owner", 0, float("inf"), "left") == 1e300
    with pytest.raises(ParameterError, match=r"a number in \[0, inf\)\. Got inf instead\."):
        check_interval("x", float("inf"), "Owner", 0, float("inf"), "left")


def test_numbers_of_numpy_are_numbers() -> None:
    assert type(check_interval("x", np.float32(0.5), "Owner", 0, 1)) is float
    assert type(check_integer("x", np.int64(3), "Owner", 1)) is int


@pytest.mark.parametrize("value", [True, "0.5", None, 1j, [0.5]])
def test_no_number(value: object) -> None:
    with pytest.raises(ParameterTypeError) as caught:
        check_interval("target", value, "Owner", 0, 1, "neither")
    assert str(caught.value) == f"The 'target' parameter of Owner must be a number in (0, 1). Got {value!r} instead."


def test_integers() -> None:
    assert check_integer("n", 2, "Owner", 2) == 2
    with pytest.raises(ParameterError) as caught:
        check_integer("n", 1, "Owner", 2)
    assert str(caught.value) == "The 'n' parameter of Owner must be an integer of at least 2. Got 1 instead."
    for value in (2.0, True, "2", None):
        with pytest.raises(ParameterTypeError, match="must be an integer of at least 2"):
            check_integer("n", value, "Owner", 2)


def test_choices() -> None:
    assert check_choice("of", "macs", "Owner", ("params", "macs")) == "macs"
    for value in ("mac", None, 3, ["macs"]):
        with pytest.raises(ParameterError) as caught:
            check_choice("of", value, "Owner", ("params", "macs"))
        assert str(caught.value) == (
            f"The 'of' parameter of Owner must be one of 'params', 'macs'. Got {value!r} instead."
        )


def test_a_switch_is_true_or_false():
    assert check_boolean("x", True, "Owner") is True
    assert check_boolean("x", np.bool_(False), "Owner") is False
    for value in (1, "yes", None):
        with pytest.raises(ParameterTypeError, match=r"The 'x' parameter of Owner must be True or False\. Got"):
            check_boolean("x", value, "Owner")
