"""The importance of the units of every layer, drawn."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from prunekit.analysis._displays._checks import bool_per_unit, check_pruner, float_per_unit, name_per_unit
from prunekit.analysis._displays._drawing import (
    BLUE,
    ORANGE,
    height_points,
    label_layers,
    longest_label,
    numbered,
    pyplot_for,
    set_scale,
    width_points,
)
from prunekit.exceptions import ParameterTypeError
from prunekit.importance import Criterion, make_criterion
from prunekit.network import PrunableNetwork

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OWNER = "ImportanceDisplay"
_CHANGE = "estimated change of the loss"
_INCHES_WIDE = 5.0
_GOLDEN = (5**0.5 - 1) / 2


class ImportanceDisplay:
    """
    The importance of the units of every layer, with the removed ones marked.

    One row a layer, one point a unit. Use `from_estimator` or `from_network` to make one.

    Parameters
    ----------
    importances : array-like of shape (n_units,)
        Importance of every unit; those with NaN are counted, not drawn.
    support : array-like of shape (n_units,), dtype=bool
        Which units are left.
    layers : array-like of shape (n_units,), dtype=str
        Name of every unit's layer. Rows are in the order in which the names first come.
    measure : str, default="estimated change of the loss"
        What the importances are, for the label of their axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure of the plot.
    kept_, removed_ : matplotlib PathCollection
        Points of the units that are left and of those that were removed; point (importance, row).

    Raises
    ------
    ParameterError
        If the arrays do not have one finite value, or NaN, for each unit.
    ParameterTypeError
        If they hold values of another type.

    See Also
    --------
    prunekit.CorrelationDisplay : How well criteria predict the true change of the loss.

    Notes
    -----
    The axis is logarithmic, and linear around zero where there are zeros or negative importances. Importances that are
    all of one magnitude stand on a linear axis.

    Examples
    --------
    >>> from prunekit import ImportanceDisplay
    >>> display = ImportanceDisplay(
    ...     importances=[0.2, 0.001, 0.03, 0.002, 0.5],
    ...     support=[True, False, True, False, True],
    ...     layers=["conv1", "conv1", "conv2", "conv2", "conv2"],
    ... ).plot()
    >>> [label.get_text() for label in display.ax_.get_yticklabels()]
    ['conv1', 'conv2']
    """

    def __init__(
        self, *, importances: ArrayLike, support: ArrayLike, layers: ArrayLike, measure: str = _CHANGE
    ) -> None:
        self.importances = float_per_unit("importances", importances, _OWNER)
        self.support = bool_per_unit("support", support, _OWNER, self.importances.size)
        self.layers = name_per_unit("layers", layers, _OWNER, self.importances.size)
        self.measure = measure

    @classmethod
    def from_estimator(cls, pruner: Any, *, ax: "Axes | None" = None, **kwargs: Any) -> Self:
        """
        Draw the importances of a fitted pruner.

        Parameters
        ----------
        pruner : TaylorPruner
            The pruner. Its estimates of different iterations are not on one scale: a removed unit stands where it stood
            when it was removed.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Passed on to `plot`.

        Returns
        -------
        ImportanceDisplay
            The display, drawn.

        Raises
        ------
        ParameterTypeError
            If it is no pruner.
        NotFittedError
            If the pruner is not fitted.
        MissingDependencyError
            If matplotlib is not installed.
        """
        check_pruner(pruner, f"{_OWNER}.from_estimator")
        display = cls(
            importances=pruner.importances_,
            support=pruner.support_,
            layers=pruner.unit_layers_,
            measure=_measure_of(make_criterion(pruner.criterion, type(pruner).__name__)),
        )
        return display.plot(ax, **kwargs)

    @classmethod
    def from_network(cls, network: PrunableNetwork, *, ax: "Axes | None" = None, **kwargs: Any) -> Self:
        """
        Draw the importances of a network that was scored.

        Removed units have no importance any more, so they are counted only. To see them as well, keep the importances
        from before `update_prunables`, and give them to the class with the network's ``support``.

        Parameters
        ----------
        network : PrunableNetwork
            The network.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Passed on to `plot`.

        Returns
        -------
        ImportanceDisplay
            The display, drawn.

        Raises
        ------
        ParameterTypeError
            If it is no such network.
        TrainingError
            If nothing was scored since the last removal.
        MissingDependencyError
            If matplotlib is not installed.
        """
        if not isinstance(network, PrunableNetwork):
            raise ParameterTypeError(
                f"The 'network' parameter of {_OWNER}.from_network must be a PrunableNetwork. "
                f"Got {type(network).__name__} instead."
            )
        display = cls(
            importances=network.importances,
            support=network.support,
            layers=network.unit_layers,
            measure=_measure_of(network.criterion),
        )
        return display.plot(ax, **kwargs)

    def plot(
        self,
        ax: "Axes | None" = None,
        *,
        kept_kw: dict[str, Any] | None = None,
        removed_kw: dict[str, Any] | None = None,
    ) -> Self:
        """
        Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure, the higher the more layers there are.
        kept_kw, removed_kw : dict, default=None
            Passed on to ``matplotlib.axes.Axes.scatter`` for the units that are left, and for those that were removed.

        Returns
        -------
        ImportanceDisplay
            The display itself.

        Raises
        ------
        MissingDependencyError
            If matplotlib is not installed.
        """
        pyplot = pyplot_for(f"{_OWNER}.plot")
        names, rows = numbered(self.layers)
        if ax is None:
            width = _INCHES_WIDE + 1.5 + longest_label(names)
            height = 1.3 + min(max(0.2, 0.55 - 0.012 * len(names)) * len(names), 30.0)
            _, ax = pyplot.subplots(figsize=(width, height), layout="constrained")
        self.ax_, self.figure_ = ax, ax.get_figure(root=True)
        for row in range(1, len(names), 2):
            ax.axhspan(row - 0.5, row + 0.5, color="0.95", linewidth=0, zorder=0)
        drawn = ~np.isnan(self.importances)
        set_scale(ax, "x", self.importances[drawn], min(width_points(ax), 72.0 * _INCHES_WIDE))
        if (self.importances[drawn] < 0).any():
            ax.axvline(0, color="0.4", linewidth=0.8, zorder=1)
        y = rows + 0.62 * _offsets(self.importances, rows)
        size = float(np.clip(6000 / self.importances.size, 5, 30))
        kept = {"marker": "o", "s": size, "color": BLUE, "alpha": 0.9, "linewidth": 0, "zorder": 2}
        removed = {"marker": "x", "s": 1.1 * size, "color": ORANGE, "linewidth": 0.4 + 0.16 * size**0.5, "zorder": 3}
        of_kept, of_removed = drawn & self.support, drawn & ~self.support
        self.kept_ = ax.scatter(
            self.importances[of_kept], y[of_kept], **{**kept, "label": self._label("kept", True), **(kept_kw or {})}
        )
        self.removed_ = ax.scatter(
            self.importances[of_removed],
            y[of_removed],
            **{**removed, "label": self._label("removed", False), **(removed_kw or {})},
        )
        self._describe(ax, names, rows, (30 / size) ** 0.5)
        return self

    def _label(self, what: str, left: bool) -> str:
        own = self.importances[self.support == left]
        unknown = int(np.isnan(own).sum())
        return f"{own.size} {what}" + (f" ({unknown} without importance)" if unknown else "")

    def _describe(self, ax: "Axes", names: list[str], rows: NDArray[np.int64], markerscale: float) -> None:
        """Write title, legend and labels, and at the right how many units of each layer are left."""
        room = height_points(ax)
        ax.set(ylim=(len(names) - 0.5, -0.5), xlabel=f"Importance ({self.measure})", ylabel="Layer")
        label_layers(ax.yaxis, names, room)
        totals, left = np.bincount(rows), np.bincount(rows, weights=self.support).astype(int)
        counts = ax.secondary_yaxis("right")
        counts.set_ylabel("Units kept")
        label_layers(counts.yaxis, [f"{one} of {total}" for one, total in zip(left, totals, strict=True)], room)
        for spine in (*ax.spines.values(), *counts.spines.values()):
            spine.set_visible(spine is ax.spines["bottom"])
        ax.grid(axis="x", color="0.85", linewidth=0.6, zorder=0.5)
        ax.set_axisbelow(True)
        ax.set_title(f"Importance of the {self.importances.size} units, by layer", loc="left", pad=26)
        ax.legend(
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=2,
            frameon=False,
            borderpad=0.2,
            handletextpad=0.3,
            markerscale=markerscale,
        )


def _measure_of(criterion: Criterion) -> str:
    """Return what a criterion measures."""
    measure = criterion.measure or f"by {criterion.name or type(criterion).__name__}"
    return f"{measure}; {criterion.normalization}-normalised in each layer" if criterion.normalization else measure


def _offsets(importances: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return for each unit a number in (-0.5, 0.5); it differs much between neighbours in a row, so none is hidden."""
    order = np.lexsort((importances, rows))
    position = np.empty(order.size)
    position[order] = np.arange(order.size) - np.searchsorted(rows[order], rows[order])
    offsets: NDArray[np.float64] = (0.5 + _GOLDEN * position) % 1.0 - 0.5
    return offsets
