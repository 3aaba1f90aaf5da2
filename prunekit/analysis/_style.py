"""The tables of `analyze` for the eye."""

from collections.abc import Callable, Hashable
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from prunekit._words import bytes_text, percent_text
from prunekit.exceptions import MissingDependencyError, ParameterError, ParameterTypeError

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

_BAR = "rgba(0, 114, 178, 0.35)"
"""Blue that lets the background through, so that black and white text are both read on it."""
_FULL = 1.0
_KILO = 1000.0


def style_table(table: pd.DataFrame) -> "Styler":
    """
    Return a table of `analyze`, `analyze_compression` or `compare` as it is to be looked at in a notebook.

    Parameters
    ----------
    table : DataFrame
        The table, or some of its rows and columns; it stays as it is.

    Returns
    -------
    pandas.io.formats.style.Styler
        The table with a bar behind every reduction, separators in large numbers and readable sizes. All values stand
        there as text, so nothing is told by colour alone; background and text colours are the notebook's own, light or
        dark. ``styler.data`` is the plain table, ``styler.to_html()`` a file's content.

    Raises
    ------
    ParameterTypeError
        If it is no DataFrame.
    ParameterError
        If its index or its columns have the same name twice, which pandas cannot style.
    MissingDependencyError
        If jinja2 is not installed, which pandas styles with.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from prunekit import analyze, style_table
    >>> table = analyze(nn.Sequential(nn.Linear(100, 30), nn.ReLU(), nn.Linear(30, 4)), torch.randn(1, 100))
    >>> "3,030" in style_table(table).to_html()
    True
    """
    if not isinstance(table, pd.DataFrame):
        raise ParameterTypeError(
            "The 'table' parameter of style_table must be a DataFrame, such as analyze returns. "
            f"Got {type(table).__name__} instead."
        )
    if not (table.index.is_unique and table.columns.is_unique):
        raise ParameterError(
            "The 'table' parameter of style_table must have no row and no column twice. Got such a table instead: "
            "call reset_index(drop=True) first."
        )
    try:
        styler = table.style
    except (ImportError, AttributeError) as exc:
        raise MissingDependencyError(
            f"style_table needs jinja2, which cannot be imported: {exc}. Install it with: pip install jinja2"
        ) from exc
    numbers: list[Hashable] = [name for name in table.columns if pd.api.types.is_numeric_dtype(table[name].dtype)]
    reductions: list[Hashable] = [name for name in numbers if str(name).endswith("reduction")]
    styler = styler.format({name: _format_of(str(name), table[name]) for name in table.columns}, na_rep="")
    if reductions and len(table):
        styler = styler.bar(subset=reductions, vmin=0.0, vmax=_FULL, color=_BAR, width=100)
    styler = styler.set_properties(
        subset=numbers, **{"text-align": "right", "font-variant-numeric": "tabular-nums", "white-space": "nowrap"}
    )
    words: list[Hashable] = [name for name in table.columns if name in _WORDY]
    styler = styler.set_properties(
        subset=words, **{"text-align": "left", "white-space": "normal", "min-width": "16em", "max-width": "36em"}
    )
    return styler.hide(axis="index") if isinstance(table.index, pd.RangeIndex) else styler


_WORDY = ("blocked_by", "advice", "reason")


def _format_of(name: str, column: pd.Series) -> Callable[[Any], str]:
    """Return what makes text of the values of a column."""
    if name.endswith("reduction"):
        return percent_text
    if name.endswith("bytes"):
        return bytes_text
    if pd.api.types.is_bool_dtype(column.dtype):
        return _yes
    if pd.api.types.is_integer_dtype(column.dtype):
        return "{:,}".format
    if pd.api.types.is_float_dtype(column.dtype):
        return _number
    return _escaped


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= _KILO else f"{value:.4g}"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _escaped(value: Any) -> str:
    return escape(_text(value))


def _text(value: Any) -> str:
    """Return shapes as 64×3×3, dicts of them with their names, lists of filters shortened."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(size)}" for name, size in value.items())
    if isinstance(value, tuple):
        if all(isinstance(one, int) for one in value):
            return "×".join(map(str, value))
        shown = ", ".join(" ".join(map(str, one)) if isinstance(one, tuple) else str(one) for one in value[:3])
        return f"{shown}, … ({len(value)})" if len(value) > 3 else shown
    return str(value)
