"""Criteria against the true change of the loss, drawn."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kendalltau, spearmanr

from prunekit.analysis._displays._checks import FloatArray, float_per_unit, name_per_unit
from prunekit.analysis._displays._drawing import (
    BLUE,
    FONT_POINTS,
    height_points,
    label_layers,
    longest_label,
    numbered,
    pyplot_for,
    set_scale,
    shades,
    width_points,
)
from prunekit.exceptions import ParameterError, ParameterTypeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OWNER = "CorrelationDisplay"
_MOST_COLUMNS = 3
_INCHES_WIDE, _INCHES_HIGH = 2.6, 2.4


class CorrelationDisplay:
    """
    Criteria against the true change of the loss, a panel for each criterion and a point for each unit.

    Parameters
    ----------
    oracle : array-like of shape (n_units,)
        True change of the loss when each unit is removed, as `prunekit.importance.oracle` returns it.
    importances : dict of str to array-like of shape (n_units,)
        By the name of a criterion, what it says. A unit for which this or the oracle is NaN is left out of its panel.
    layers : array-like of shape (n_units,), dtype=str, default=None
        Name of every unit's layer, by which points are coloured.

    Attributes
    ----------
    correlations : DataFrame
        A row a criterion: ``spearman``, ``kendall`` (its tau-b) and ``n_units``, the number of units that count.
        A correlation with something constant is NaN.
    axes_ : ndarray of matplotlib Axes, shape (n_criteria,)
        Panels of the plot.
    figure_ : matplotlib Figure
        Figure of the plot.
    points_ : list of matplotlib PathCollection
        Points of each panel; point (true change, importance).

    Raises
    ------
    ParameterError
        If the arrays do not have one finite value, or NaN, for each unit, or a criterion has none in common with the
        oracle.
    ParameterTypeError
        If they hold values of another type.

    See Also
    --------
    prunekit.importance.oracle : The true change of the loss.
    prunekit.ImportanceDisplay : The importances of the units of every layer.

    Examples
    --------
    >>> from prunekit import CorrelationDisplay
    >>> display = CorrelationDisplay(
    ...     oracle=[0.1, -0.02, 0.3, 0.01],
    ...     importances={"taylor": [0.01, 0.002, 0.2, 0.001], "random": [0.7, 0.6, 0.1, 0.2]},
    ... ).plot()
    >>> display.correlations
            spearman   kendall  n_units
    taylor       0.8  0.666667        4
    random      -0.4 -0.333333        4
    """

    def __init__(
        self, *, oracle: ArrayLike, importances: Mapping[str, ArrayLike], layers: ArrayLike | None = None
    ) -> None:
        self.oracle = float_per_unit("oracle", oracle, _OWNER)
        if not isinstance(importances, Mapping):
            raise ParameterTypeError(
                f"The 'importances' parameter of {_OWNER} must be a dict from names of criteria to arrays. "
                f"Got {type(importances).__name__} instead."
            )
        if not importances:
            raise ParameterError(
                f"The 'importances' parameter of {_OWNER} must hold at least one criterion. Got none instead."
            )
        size = self.oracle.size
        self.importances = {
            name: float_per_unit(f"importances[{name!r}]", values, _OWNER, size) for name, values in importances.items()
        }
        self.layers = None if layers is None else name_per_unit("layers", layers, _OWNER, size)
        self.correlations = pd.DataFrame.from_dict(
            {name: self._correlate(name) for name in self.importances}, orient="index"
        ).astype({"n_units": int})

    @classmethod
    def from_scores(
        cls,
        oracle: ArrayLike,
        importances: Mapping[str, ArrayLike],
        *,
        layers: ArrayLike | None = None,
        axes: "Axes | Sequence[Axes] | NDArray[Any] | None" = None,
        **kwargs: Any,
    ) -> Self:
        """
        Draw criteria against the oracle.

        Parameters
        ----------
        oracle : array-like of shape (n_units,)
            True change of the loss when each unit is removed.
        importances : dict of str to array-like of shape (n_units,)
            What each criterion says; NaN leaves a unit out.
        layers : array-like of shape (n_units,), dtype=str, default=None
            Name of every unit's layer, by which points are coloured.
        axes : matplotlib Axes or sequence of them, default=None
            Where to draw, one for each criterion; None makes a figure.
        **kwargs : dict
            Passed on to `plot`.

        Returns
        -------
        CorrelationDisplay
            The display, drawn.

        Raises
        ------
        ParameterError
            If the arrays do not have one finite value, or NaN, for each unit.
        ParameterTypeError
            If they hold values of another type.
        MissingDependencyError
            If matplotlib is not installed.
        """
        return cls(oracle=oracle, importances=importances, layers=layers).plot(axes, **kwargs)

    def plot(self, axes: "Axes | Sequence[Axes] | NDArray[Any] | None" = None, **kwargs: Any) -> Self:
        """
        Draw.

        Parameters
        ----------
        axes : matplotlib Axes or sequence of them, default=None
            Where to draw, one for each criterion; None makes a figure.
        **kwargs : dict
            Passed on to ``matplotlib.axes.Axes.scatter``.

        Returns
        -------
        CorrelationDisplay
            The display itself.

        Raises
        ------
        ParameterError
            If there are not as many axes as criteria.
        MissingDependencyError
            If matplotlib is not installed.
        """
        pyplot = pyplot_for(f"{_OWNER}.plot")
        count = len(self.importances)
        columns = min(count, _MOST_COLUMNS) if axes is None else 1
        names, numbers = ([], None) if self.layers is None else numbered(self.layers)
        self.axes_ = self._new_axes(pyplot, columns, names) if axes is None else np.array(axes, dtype=object).ravel()
        if self.axes_.size != count:
            raise ParameterError(
                f"The 'axes' parameter of {_OWNER}.plot must hold {count} axes, one for each criterion. "
                f"Got {self.axes_.size} instead."
            )
        self.figure_ = self.axes_[0].get_figure(root=True)
        style = {"s": float(np.clip(6000 / self.oracle.size, 6, 26)), "linewidth": 0, "alpha": 0.8, "zorder": 2}
        by_layer = numbers is not None and "color" not in kwargs
        colour: dict[str, Any] = _colours_of_layers(len(names)) if by_layer else {"color": BLUE}
        self.points_ = []
        for number, (name, ax) in enumerate(zip(self.importances, self.axes_, strict=True)):
            counts = self._counted(name)
            if numbers is not None and by_layer:
                colour["c"] = numbers[counts]
            x, y = self.oracle[counts], self.importances[name][counts]
            self._prepare(ax, name, x, y)
            self.points_.append(ax.scatter(x, y, **{**style, **colour, **kwargs}))
            if columns == 1 or number + columns >= count:
                ax.set_xlabel("True change of the loss")
            if number % columns == 0:
                ax.set_ylabel("Importance")
        if by_layer:
            self._add_colour_bar(names)
        return self

    def _counted(self, name: str) -> NDArray[np.bool_]:
        """Return which units have both numbers."""
        counted: NDArray[np.bool_] = ~np.isnan(self.oracle) & ~np.isnan(self.importances[name])
        return counted

    def _correlate(self, name: str) -> dict[str, float]:
        counts = self._counted(name)
        x, y = self.oracle[counts], self.importances[name][counts]
        if not x.size:
            raise ParameterError(
                f"The 'importances[{name!r}]' parameter of {_OWNER} must hold a number for a unit for which the oracle "
                "has one. Got NaN for all of them instead."
            )
        constant = bool((x == x[0]).all() or (y == y[0]).all())
        spearman, kendall = (
            math.nan if constant else float(correlation(x, y).statistic) for correlation in (spearmanr, kendalltau)
        )
        return {"spearman": spearman, "kendall": kendall, "n_units": int(x.size)}

    def _new_axes(self, pyplot: Any, columns: int, names: list[str]) -> NDArray[Any]:
        count = len(self.importances)
        rows = math.ceil(count / columns)
        size = (
            (_INCHES_WIDE + 0.7) * columns + (0.8 + longest_label(names) if names else 0.0),
            (_INCHES_HIGH + 0.7) * rows + 0.4,
        )
        figure, grid = pyplot.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
        if count > 1:
            title = f"Importance against the true change of the loss, {self.oracle.size} units"
            figure.suptitle(title, fontsize="large")
        for ax in grid.flat[count:]:
            ax.remove()
        made: NDArray[Any] = grid.ravel()[:count]
        return made

    def _prepare(self, ax: "Axes", name: str, x: FloatArray, y: FloatArray) -> None:
        """Set the scales and write the correlations into the title."""
        set_scale(ax, "x", x, min(width_points(ax), 72.0 * _INCHES_WIDE))
        set_scale(ax, "y", y, min(height_points(ax), 72.0 * _INCHES_HIGH))
        for values, line in ((x, ax.axvline), (y, ax.axhline)):
            if (values < 0).any():
                line(0, color="0.6", linewidth=0.8, zorder=1)
        spearman, kendall = (_shown(float(self.correlations[kind][name])) for kind in ("spearman", "kendall"))
        known = x.size == self.oracle.size and len(self.importances) > 1
        title = f"{name}{'' if known else f', {x.size} units'}\nSpearman {spearman}, Kendall {kendall}"
        ax.set_title(title, fontsize="medium")
        ax.tick_params(which="both", labelsize=FONT_POINTS)
        ax.spines[["top", "right"]].set_visible(False)

    def _add_colour_bar(self, names: list[str]) -> None:
        aspect = 22 * math.ceil(self.axes_.size / _MOST_COLUMNS)
        bar = self.figure_.colorbar(self.points_[0], ax=self.axes_.tolist(), label="Layer", aspect=aspect)
        bar.solids.set_alpha(1)
        bar.ax.invert_yaxis()
        bar.minorticks_off()
        label_layers(bar.ax.yaxis, names, 0.8 * height_points(bar.ax))


def _colours_of_layers(count: int) -> dict[str, Any]:
    """Return a colour for each layer, from dark to light in the order of the layers, in grey as well."""
    from matplotlib.colors import BoundaryNorm, ListedColormap

    return {"cmap": ListedColormap(shades(count)), "norm": BoundaryNorm(np.arange(count + 1) - 0.5, count)}


def _shown(correlation: float) -> str:
    return "undefined" if math.isnan(correlation) else f"{correlation:.3f}".replace("-", "−")
