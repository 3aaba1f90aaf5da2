"""Geometry of the plots; the template draws it as SVG that takes its colours from the page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prunekit._words import percent_text
from prunekit.analysis._outcomes import Outcome
from prunekit.cost import RESOURCE_WORDS
from prunekit.reporting._content import Importances, ReportContent

_MOST_POINTS = 200
"""Units of a layer that are drawn; of more, quantiles stand for all."""

_ROW = 22.0
_LETTERS = 36

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Tick:
    """
    A place on an axis.

    Parameters
    ----------
    at : float
        Position in the drawing.
    text : str
        What stands there.
    """

    at: float
    text: str


@dataclass(frozen=True)
class Mark:
    """
    A point of the path.

    Parameters
    ----------
    x, y : float
        Position in the drawing.
    text : str
        Its values.
    """

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class PathPlot:
    """
    Score against reduction.

    Parameters
    ----------
    left, right, top, bottom : float
        Edges of the axes in the drawing.
    x_ticks, y_ticks : list of Tick
        Ticks.
    x_label, y_label : str
        What the axes are.
    line : str
        Points of a polyline through what was kept.
    kept, recovered, taken_back : list of Mark
        Points; those that recovered are on the line as well.
    threshold, target : Tick or None
        Lines.
    """

    left: float
    right: float
    top: float
    bottom: float
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    x_label: str
    y_label: str
    line: str
    kept: list[Mark]
    recovered: list[Mark]
    taken_back: list[Mark]
    threshold: Tick | None
    target: Tick | None


@dataclass(frozen=True)
class Strip:
    """
    Importances of the units of a layer.

    Parameters
    ----------
    name, short : str
        The layer, and as much of its name as there is room for.
    at : float
        Vertical position in the drawing.
    kept, removed : str
        SVG paths of dots.
    num_kept, num_removed, num_unscored : int
        Units that are left, that are gone, and that have no importance.
    """

    name: str
    short: str
    at: float
    kept: str
    removed: str
    num_kept: int
    num_removed: int
    num_unscored: int


@dataclass(frozen=True)
class StripPlot:
    """
    Importances of all layers on one axis.

    Parameters
    ----------
    width, height, left : float
        Size of the drawing, and where the axis begins.
    ticks : list of Tick
        Ticks of the axis.
    strips : list of Strip
        A row a layer.
    is_thinned : bool
        Whether quantiles stand for the units of a layer.
    criterion : str
        What estimated the importances.
    """

    width: float
    height: float
    left: float
    ticks: list[Tick]
    strips: list[Strip]
    is_thinned: bool
    criterion: str


def plot_path(content: ReportContent) -> PathPlot | None:
    """
    Return the plot of the history, None where nothing was measured.

    Parameters
    ----------
    content : ReportContent
        What the report says.

    Returns
    -------
    PathPlot or None
        Validation scores, or the losses of the training where there are none.
    """
    history = content.history
    if history is None or not len(history):
        return None
    column = "score" if np.isfinite(history["score"]).any() else "train_loss"
    shown = history.assign(outcome=content.outcomes)[np.isfinite(history[column]) & np.isfinite(history["reduction"])]
    if not len(shown):
        return None
    left, right, top, bottom = 64.0, 612.0, 14.0, 270.0
    x, y = shown["reduction"].to_numpy(dtype=float), shown[column].to_numpy(dtype=float)
    threshold = content.threshold if column == "score" else None
    x_max = max(x.max(), content.target or 0.0, 0.01)
    lines = [] if threshold is None else [threshold]
    x_values, y_values = nice_ticks(0.0, x_max), nice_ticks(min([*y, *lines]), max([*y, *lines]))
    x_low, x_high = x_values[0], max(x_values[-1], x_max)
    y_low, y_high = min(y_values[0], y.min(), *lines), max(y_values[-1], y.max(), *lines)

    def across(value: float) -> float:
        return round(float(left + (right - left) * (value - x_low) / (x_high - x_low)), 2)

    def up(value: float) -> float:
        return round(float(bottom - (bottom - top) * (value - y_low) / (y_high - y_low)), 2)

    measure = "Validation score" if column == "score" else "Training loss"
    texts = [
        f"{row['phase']}, {percent_text(row['reduction'])} removed, {measure.lower()} {row[column]:.4f}"
        for _, row in shown.iterrows()
    ]
    marks = [Mark(across(a), up(b), text) for a, b, text in zip(x, y, texts, strict=True)]

    def of(*wanted: Outcome) -> list[Mark]:
        return [mark for mark, outcome in zip(marks, shown["outcome"], strict=True) if outcome in wanted]

    return PathPlot(
        left,
        right,
        top,
        bottom,
        [Tick(across(value), f"{100 * value:g} %") for value in x_values],
        [Tick(up(value), f"{value:.6g}".replace("-", "−")) for value in y_values],
        f"Reduction of {RESOURCE_WORDS.get(content.resource, content.resource)}",
        measure,
        " ".join(f"{mark.x},{mark.y}" for mark in of("held", "recovered")),
        of("held"),
        of("recovered"),
        of("taken back"),
        None if threshold is None else Tick(up(threshold), f"{threshold:.4g}".replace("-", "−")),
        None if content.target is None else Tick(across(content.target), f"{100 * content.target:g} %"),
    )


def plot_importances(importances: Importances | None) -> StripPlot | None:
    """
    Return the plot of importances, None where nothing was scored.

    Parameters
    ----------
    importances : Importances or None
        Of the units.

    Returns
    -------
    StripPlot or None
        The scale is logarithmic on both sides of zero, and linear around it.
    """
    if importances is None:
        return None
    scored = np.isfinite(importances.values)
    if not scored.any():
        return None
    values = importances.values[scored]
    largest = float(np.abs(values).max()) or 1.0
    small = np.abs(values[values != 0.0])
    near_zero = max(float(np.quantile(small, 0.05)) if small.size else largest, 1e-6 * largest)

    def squeeze(value: FloatArray) -> FloatArray:
        squeezed: FloatArray = np.sign(value) * np.log10(1.0 + np.abs(value) / near_zero)
        return squeezed

    low, high = float(squeeze(values).min()), float(squeeze(values).max())
    if low == high:
        low, high = low - 1.0, high + 1.0
    left, right, top = 390.0, 1076.0, 4.0

    def across(value: FloatArray) -> FloatArray:
        placed: FloatArray = left + (right - left) * (squeeze(value) - low) / (high - low)
        return placed

    strips, is_thinned = [], False
    for row, layer in enumerate(dict.fromkeys(importances.layers.tolist())):
        own = importances.layers == layer
        at = top + _ROW * (row + 0.5)
        kept, removed = (
            importances.values[own & scored & side] for side in (importances.support, ~importances.support)
        )
        is_thinned |= max(kept.size, removed.size) > _MOST_POINTS
        strips.append(
            Strip(
                layer,
                layer if len(layer) <= _LETTERS else f"…{layer[1 - _LETTERS :]}",
                at,
                _dots(across(_thin(kept)), at - 3.5),
                _dots(across(_thin(removed)), at + 3.5),
                int((own & importances.support).sum()),
                int((own & ~importances.support).sum()),
                int((own & ~scored).sum()),
            )
        )
    exponents = range(math.ceil(math.log10(near_zero)), math.floor(math.log10(largest)) + 1)
    step = max(1, math.ceil(len(exponents) / 4))
    powers = [10.0**exponent for exponent in exponents][::-1][::step]
    candidates = [*(-power for power in powers), 0.0, *powers]
    ticks = [
        Tick(round(float(at), 2), f"{value:.0e}".replace("e-0", "e-").replace("e+0", "e") if value else "0")
        for value, at in zip(candidates, across(np.array(candidates)), strict=True)
        if left - 1 <= at <= right + 1
    ]
    height = top + _ROW * len(strips) + 4
    return StripPlot(right + 24, height, left, _apart(ticks), strips, is_thinned, importances.criterion)


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """
    Return round numbers around an interval.

    Parameters
    ----------
    low, high : float
        The interval.
    most : int, default=6
        About how many.

    Returns
    -------
    list of float
        Ascending; the first is at most `low`, the last at least `high`.
    """
    if high - low < 1e-12 * max(abs(high), 1e-300) or high == low:
        low, high = low - 0.05 * (abs(low) or 1.0), high + 0.05 * (abs(high) or 1.0)
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1.0, 2.0, 5.0, 10.0) if factor * power >= rough)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{number * step:.12g}") for number in range(first, last + 1)]


def _apart(ticks: Sequence[Tick], least: float = 44.0) -> list[Tick]:
    """Return the ticks that do not run into the one before."""
    chosen: list[Tick] = []
    for tick in sorted(ticks, key=lambda one: one.at):
        if not chosen or tick.at - chosen[-1].at >= least:
            chosen.append(tick)
    return chosen


def _thin(values: FloatArray) -> FloatArray:
    if values.size <= _MOST_POINTS:
        return values
    quantiles: FloatArray = np.quantile(values, np.linspace(0.0, 1.0, _MOST_POINTS))
    return quantiles


def _dots(across: FloatArray, at: float) -> str:
    """Return an SVG path of strokes without length, which round caps make dots."""
    return "".join(f"M{x:.1f} {at:.1f}h0" for x in across.tolist())
