"""Numbers as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunekit._words import STOP_REASONS, bytes_text, change_text, count_text, percent_text
from prunekit.pruner import TaylorPruner


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (9_999, "9,999"),
        (99_999, "99,999"),
        (100_000, "100 k"),
        (123_456, "123 k"),
        (999_900, "1 M"),
        (25_557_032, "25.6 M"),
        (-25_557_032, "-25.6 M"),
        (4.09e9, "4.09 G"),
        (2.5e12, "2.5 T"),
        (2.5e15, "2,500 T"),
    ],
)
def test_count(value, text):
    assert count_text(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0 B"), (999, "999 B"), (999.7, "1 kB"), (1_500, "1.5 kB"), (999_700, "1 MB"), (56_100_000, "56.1 MB")],
)
def test_bytes(value, text):
    assert bytes_text(value) == text


@given(st.floats(0, 1e14))
def test_what_is_shown_is_near_the_number(value):
    number, _, prefix = count_text(value).partition(" ")
    shown = float(number.replace(",", "")) * {"": 1, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}[prefix]
    assert shown == pytest.approx(value, rel=0.0051, abs=0.5)
    assert len(number) <= 6


@pytest.mark.parametrize(
    ("reduction", "text"),
    [(0.0, "0 %"), (1e-9, "0 %"), (0.5, "−50.0 %"), (-0.01, "+1.0 %"), (1.0, "−100.0 %")],
)
def test_change(reduction, text):
    assert change_text(reduction) == text


def test_percent():
    assert percent_text(0.30123) == "30.1 %"
    assert percent_text(0.30123, 2) == "30.12 %"
    assert percent_text(-0.5) == "−50.0 %"


def test_every_stop_reason_has_words():
    said = TaylorPruner.__doc__.partition("stop_reason_ : str")[2].partition("n_iterations_")[0]
    assert set(STOP_REASONS) == {word for word in said.split('"') if word.isidentifier() and word != "or"}
