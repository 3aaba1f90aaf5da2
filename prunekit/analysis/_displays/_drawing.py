"""What the displays have in common: their axes, their labels and their colours."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from prunekit.analysis._displays._checks import FloatArray
from prunekit.exceptions import MissingDependencyError, ParameterError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours for all kinds of colour vision; of these two one is dark and one is light in grey as well.
BLUE = "#0072B2"
ORANGE = "#E69F00"
GREEN = "#009E73"
FONT_POINTS = 8.5
"""Size of the names of layers."""
_LONGEST_NAME = 56
_INCHES_PER_LETTER = 0.065
_ZERO = 1e-250
"""Matplotlib's transforms of smaller numbers overflow."""
_INCHES_BETWEEN = (0.95, 0.7)
"""Of panels, for the label of an axis below one and title and legend above the next, and for the label beside one."""
_TICK_WIDTH_POINTS, _TICK_HEIGHT_POINTS = 36.0, 18.0


def pyplot_for(owner: str) -> Any:
    """Return ``matplotlib.pyplot``, or say how to install it."""
    try:
        from matplotlib import pyplot
    except ImportError as exc:
        raise MissingDependencyError(
            f'{owner} needs matplotlib, which cannot be imported: {exc}. Install it with: pip install "prunekit[plot]"'
        ) from exc
    return pyplot


def shades(count: int, lightest: float = 0.88) -> FloatArray:
    """Return colours from dark to light, in grey as well."""
    from matplotlib import colormaps

    made: FloatArray = colormaps["viridis"](np.linspace(0, lightest, count))  # its last yellow is too faint on white
    return made


def numbered(layers: NDArray[np.str_]) -> tuple[list[str], NDArray[np.int64]]:
    """Return the names of the layers in the order in which they first come, and the number of every unit's layer."""
    names, first, inverse = np.unique(layers, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return names[order].tolist(), np.argsort(order)[inverse].astype(np.int64)


def set_scale(ax: "Axes", which: Literal["x", "y"], values: FloatArray, length_points: float) -> None:
    """
    Make an axis logarithmic, or linear where all numbers are of one magnitude; around zero it is linear anyhow.

    What is far smaller than the largest number, by six orders of magnitude or by three if there are negative ones, is
    hardly told from zero.
    """
    axis, set_scale_of = (ax.xaxis, ax.set_xscale) if which == "x" else (ax.yaxis, ax.set_yscale)
    room = length_points / (_TICK_WIDTH_POINTS if which == "x" else _TICK_HEIGHT_POINTS)
    sizes = np.abs(values[np.abs(values) > _ZERO])
    if not sizes.size or (values.min() > 0 and values.max() < 10 * values.min()):
        set_scale_of("linear")
        ax.locator_params(axis=which, nbins=max(2, round(room)))
        return
    signed = bool((values < 0).any())
    smallest = float(np.quantile(sizes, 0.05) if signed else sizes.min())
    linear_up_to = max(smallest, float(sizes.max()) * (1e-3 if signed else 1e-6))
    if values.min() >= linear_up_to:
        set_scale_of("log")
        return
    lowest = math.floor(math.log10(linear_up_to))
    set_scale_of("symlog", linthresh=10.0**lowest)
    labelled, others = _decades(float(values.min()), float(values.max()), lowest, room)
    axis.set_ticks(labelled)
    axis.set_ticks(others, minor=True)


def _decades(low: float, high: float, lowest: int, room: float) -> tuple[list[float], list[float]]:
    """
    Return where to write numbers, and where not, on an axis that is linear between a power of ten and its negative.

    Numbers stand at zero and at every second or third power if there is room for so many only. Matplotlib's own choice
    begins beside the zero, where they get into each other's way.
    """
    powers = range(lowest, math.floor(math.log10(max(-low, high))) + 1)
    length = sum(1 + math.log10(1 + end / 10.0**lowest) for end in (-low, high) if end > 0)
    stride = math.ceil(length / room)

    def within(some: Iterable[int]) -> list[float]:
        return [tick for power in some for tick in (-(10.0**power), 10.0**power) if low <= tick <= high]

    starts = range(stride - 1, 2 * stride - 1)
    labelled = max((within(powers[start::stride]) for start in starts), key=len)
    return [0.0, *labelled], [tick for tick in within(powers) if tick not in labelled]


def label_layers(axis: Any, names: Sequence[str], length_points: float) -> None:
    """Write a name at every integer from zero on; where there is no room for all, at every second one, or third."""
    step = max(1, math.ceil(len(names) * 1.2 * FONT_POINTS / length_points))
    axis.set_ticks(range(0, len(names), step), [_shortened(name) for name in names[::step]], fontsize=FONT_POINTS)
    axis.set_tick_params(length=0)


def longest_label(names: Sequence[str]) -> float:
    """Return about how many inches wide the names of layers are."""
    return _INCHES_PER_LETTER * max(len(_shortened(name)) for name in names)


def height_points(ax: "Axes") -> float:
    """Return the height of axes in points, the unit of font sizes."""
    return 72.0 * float(ax.bbox.height) / float(ax.get_figure(root=True).dpi)  # type: ignore[union-attr]


def width_points(ax: "Axes") -> float:
    """Return the width of axes in points, the unit of font sizes."""
    return 72.0 * float(ax.bbox.width) / float(ax.get_figure(root=True).dpi)  # type: ignore[union-attr]


def _shortened(name: str) -> str:
    """Return the name of a layer as it is shown: of a very long one, the last parts."""
    if len(name) <= _LONGEST_NAME:
        return name or "(the network)"
    tail = name[1 - _LONGEST_NAME :]
    return "…" + tail[tail.find(".") + 1 :]


def panels_for(ax: Any, owner: str, rows: int, columns: int, inches: tuple[float, float]) -> NDArray[Any]:
    """
    Return axes for panels: in a new figure, in the place of one, as scikit-learn's displays do it, or those given.

    Parameters
    ----------
    ax : matplotlib Axes, array of them or None
        Where to draw.
    owner : str
        Method, for the message.
    rows, columns : int
        Grid of the panels.
    inches : tuple of float
        Width and height of a new figure.

    Returns
    -------
    ndarray of matplotlib Axes, shape (rows * columns,)
        The panels, row by row.
    """
    pyplot = pyplot_for(owner)
    if ax is None:
        _, grid = pyplot.subplots(rows, columns, figsize=inches, layout="constrained", squeeze=False)
    elif hasattr(ax, "get_subplotspec") and ax.get_subplotspec() is not None:
        ax.set_axis_off()
        space = [
            gap * number / max(points / 72.0 - gap * (number - 1), 0.3)
            for number, points, gap in (
                (rows, height_points(ax), _INCHES_BETWEEN[0]),
                (columns, width_points(ax), _INCHES_BETWEEN[1]),
            )
        ]
        inner = ax.get_subplotspec().subgridspec(rows, columns, hspace=space[0], wspace=space[1])
        grid = inner.subplots(squeeze=False)
    else:
        grid = np.array(ax, dtype=object)
    if grid.size != rows * columns:
        raise ParameterError(
            f"The 'ax' parameter of {owner} must be None, axes of a grid, or {rows * columns} axes, one a panel. "
            f"Got {grid.size} instead."
        )
    made: NDArray[Any] = grid.ravel()
    return made


def legend_above(ax: "Axes", columns: int, **kwargs: Any) -> None:
    """Write a legend between the title and the axes, where it hides no data."""
    style = {"frameon": False, "borderpad": 0.2, "handletextpad": 0.4, "columnspacing": 1.2, "fontsize": FONT_POINTS}
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=columns, **{**style, **kwargs})
