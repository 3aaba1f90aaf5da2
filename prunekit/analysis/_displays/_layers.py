"""What pruning left of every layer, drawn."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from prunekit._validation import check_choice
from prunekit._words import count_text, percent_text
from prunekit.analysis._displays._checks import check_pruner, check_table
from prunekit.analysis._displays._drawing import (
    BLUE,
    height_points,
    label_layers,
    legend_above,
    longest_label,
    pyplot_for,
)
from prunekit.cost import dense_counts
from prunekit.exceptions import ParameterError, ParameterTypeError
from prunekit.network import PrunableNetwork

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_OWNER = "LayerReductionDisplay"
_UNITS = {"filters": "Filters", "params": "Parameters", "macs": "Multiply-adds for one sample"}
_COLUMNS = {"params": ("num_learnables", "learnables_reduction"), "macs": ("macs", "macs_reduction")}
_INCHES_WIDE, _INCHES_A_ROW, _MOST_INCHES = 4.6, 0.19, 40.0
_FEW_DIGITS = 100_000


class LayerReductionDisplay:
    """
    What every layer had before pruning and has left: filters, parameters or multiply-adds.

    A bar a layer, in the order in which the layers run. Use `from_estimator`, `from_network` or `from_table` to make
    one.

    Parameters
    ----------
    layers : array-like of shape (n_layers,), dtype=str
        Names of the layers.
    before, after : array-like of shape (n_layers,)
        What each had, and what is left of it.
    blocked : array-like of shape (n_layers,), dtype=bool, default=None
        Which layers have filters of which none can be removed. None: no layer is marked.
    of : {"filters", "params", "macs"}, default="filters"
        What was counted.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure of the plot.
    before_ : matplotlib BarContainer
        A bar for each layer, as long as what it had.
    after_ : matplotlib BarContainer
        A bar for each layer, as long as what is left.

    Raises
    ------
    ParameterError
        If the arrays do not have one number for each layer, or more is left than there was.
    ParameterTypeError
        If they hold values of another type.

    See Also
    --------
    prunekit.analyze : The table of layers, also before any pruning.
    prunekit.ImportanceDisplay : Why these filters and no others.

    Examples
    --------
    >>> from prunekit import LayerReductionDisplay
    >>> display = LayerReductionDisplay(
    ...     layers=["conv1", "conv2", "fc"], before=[32, 64, 10], after=[29, 26, 10], blocked=[False, False, True]
    ... ).plot()
    >>> [float(bar.get_width()) for bar in display.after_]
    [29.0, 26.0, 10.0]
    """

    def __init__(
        self,
        *,
        layers: ArrayLike,
        before: ArrayLike,
        after: ArrayLike,
        blocked: ArrayLike | None = None,
        of: str = "filters",
    ) -> None:
        self.layers = np.array(layers, dtype=object)
        if self.layers.ndim != 1 or not self.layers.size:
            raise ParameterError(
                f"The 'layers' parameter of {_OWNER} must hold the name of one layer at least. "
                f"Got an array of shape {self.layers.shape} instead."
            )
        self.before = _counts("before", before, self.layers.size)
        self.after = _counts("after", after, self.layers.size)
        more = np.flatnonzero(self.after > self.before)
        if more.size:
            raise ParameterError(
                f"The 'after' parameter of {_OWNER} must hold at most what there was before, "
                f"{self.before[more[0]]:g} in {self.layers[more[0]]!r}. Got {self.after[more[0]]:g} instead."
            )
        self.blocked = np.zeros(self.layers.size, dtype=bool) if blocked is None else np.array(blocked)
        if self.blocked.shape != self.layers.shape or self.blocked.dtype != np.bool_:
            raise ParameterError(
                f"The 'blocked' parameter of {_OWNER} must hold True or False for each of the {self.layers.size} "
                f"layers. Got an array of shape {self.blocked.shape} and type {self.blocked.dtype} instead."
            )
        self.of = check_choice("of", of, _OWNER, _UNITS)

    @classmethod
    def from_estimator(cls, pruner: Any, *, of: str = "filters", ax: "Axes | None" = None, **kwargs: Any) -> Self:
        """
        Draw the layers of a fitted pruner.

        Parameters
        ----------
        pruner : TaylorPruner or TaylorPrunerCV
            The pruner.
        of : {"filters", "params", "macs"}, default="filters"
            What is counted.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Passed on to `plot`.

        Returns
        -------
        LayerReductionDisplay
            The display, drawn.

        Raises
        ------
        ParameterTypeError
            If it is no pruner.
        NotFittedError
            If the pruner is not fitted.
        ParameterError
            If there is no such thing to count.
        MissingDependencyError
            If matplotlib is not installed.
        """
        check_pruner(pruner, f"{_OWNER}.from_estimator")
        return cls.from_table(pruner.analyze(), of=of, ax=ax, **kwargs)

    @classmethod
    def from_network(
        cls, network: PrunableNetwork, *, of: str = "filters", ax: "Axes | None" = None, **kwargs: Any
    ) -> Self:
        """
        Draw the layers of a network as it is now.

        Parameters
        ----------
        network : PrunableNetwork
            The network.
        of : {"filters", "params", "macs"}, default="filters"
            What is counted.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Passed on to `plot`.

        Returns
        -------
        LayerReductionDisplay
            The display, drawn.

        Raises
        ------
        ParameterTypeError
            If it is no such network.
        ParameterError
            If there is no such thing to count.
        MissingDependencyError
            If matplotlib is not installed.
        """
        if not isinstance(network, PrunableNetwork):
            raise ParameterTypeError(
                f"The 'network' parameter of {_OWNER}.from_network must be a PrunableNetwork. "
                f"Got {type(network).__name__} instead."
            )
        return cls.from_table(network.analyze(), of=of, ax=ax, **kwargs)

    @classmethod
    def from_table(cls, table: pd.DataFrame, *, of: str = "filters", ax: "Axes | None" = None, **kwargs: Any) -> Self:
        """
        Draw the rows of a layer table that have something to count.

        Parameters
        ----------
        table : DataFrame
            What `analyze` returned, or some of its rows.
        of : {"filters", "params", "macs"}, default="filters"
            What is counted.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Passed on to `plot`.

        Returns
        -------
        LayerReductionDisplay
            The display, drawn.

        Raises
        ------
        ParameterTypeError
            If it is no table of layers.
        ParameterError
            If there is no such thing to count.
        MissingDependencyError
            If matplotlib is not installed.
        """
        check_choice("of", of, f"{_OWNER}.from_table", _UNITS)
        columns = ("name", "num_filters", "num_pruned_filters", "num_prunable", *_COLUMNS.get(of, ()))
        check_table("table", table, columns, "a layer table, as analyze returns it", f"{_OWNER}.from_table")
        before, after = _before_and_after(table, of)
        rows = before > 0
        if not rows.any():
            raise ParameterError(
                f"The 'table' parameter of {_OWNER}.from_table must have a layer with {_UNITS[of].lower()}. "
                f"Got {len(table)} layers without instead."
            )
        # What a layer without prunable filters costs falls all the same, with the channels that it reads.
        blocked = (table["num_prunable"] == 0) & (table["num_pruned_filters"] == 0) & (of == "filters")
        made = cls(
            layers=table["name"].to_numpy()[rows],
            before=before[rows],
            after=after[rows],
            blocked=blocked.to_numpy(dtype=bool)[rows],
            of=of,
        )
        return made.plot(ax, **kwargs)

    def plot(
        self,
        ax: "Axes | None" = None,
        *,
        before_kw: dict[str, Any] | None = None,
        after_kw: dict[str, Any] | None = None,
    ) -> Self:
        """
        Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure, the higher the more layers there are.
        before_kw, after_kw : dict, default=None
            Passed on to ``matplotlib.axes.Axes.barh`` for what there was and for what is left.

        Returns
        -------
        LayerReductionDisplay
            The display itself.

        Raises
        ------
        MissingDependencyError
            If matplotlib is not installed.
        """
        pyplot = pyplot_for(f"{_OWNER}.plot")
        names = [str(name) for name in self.layers]
        counts = [
            f"{count_text(left)} of {count_text(all_)}" for left, all_ in zip(self.after, self.before, strict=True)
        ]
        if ax is None:
            width = _INCHES_WIDE + 0.8 + longest_label(names) + longest_label(counts)
            height = 1.4 + min(max(_INCHES_A_ROW, 0.4 - 0.01 * len(names)) * len(names), _MOST_INCHES)
            _, ax = pyplot.subplots(figsize=(width, height), layout="constrained")
        self.ax_, self.figure_ = ax, ax.get_figure(root=True)
        rows = np.arange(len(names))
        style = {"height": 0.74, "linewidth": 0.7, "zorder": 2}
        gone = {"facecolor": "white", "edgecolor": "0.45", "hatch": "//////", "label": "removed"}
        kept = {"color": [_GREY if blocked else BLUE for blocked in self.blocked], "zorder": 3}
        with pyplot.rc_context({"hatch.linewidth": 0.4, "hatch.color": "0.45"}):
            self.before_ = ax.barh(rows, self.before, **{**style, **gone, **(before_kw or {})})
        self.after_ = ax.barh(rows, self.after, **{**style, **kept, **(after_kw or {})})
        self._describe(ax, names, counts)
        return self

    def _describe(self, ax: "Axes", names: list[str], counts: list[str]) -> None:
        """Write title, legend and labels, and at the right the numbers."""
        from matplotlib.patches import Patch
        from matplotlib.ticker import EngFormatter, StrMethodFormatter

        room = height_points(ax)
        ax.set(ylim=(len(names) - 0.5, -0.5), xlabel=_UNITS[self.of], ylabel="Layer")
        ax.set_xlim(0, 1.02 * (self.before.max() or 1.0))
        large = self.before.max() >= _FEW_DIGITS
        ax.xaxis.set_major_formatter(EngFormatter() if large else StrMethodFormatter("{x:,.0f}"))
        ax.locator_params(axis="x", nbins=5)
        label_layers(ax.yaxis, names, room)
        numbers = ax.secondary_yaxis("right")
        numbers.set_ylabel("Left")
        label_layers(numbers.yaxis, counts, room)
        for spine in (*ax.spines.values(), *numbers.spines.values()):
            spine.set_visible(spine is ax.spines["bottom"])
        ax.grid(axis="x", color="0.85", linewidth=0.6, zorder=0.5)
        ax.set_axisbelow(True)
        before, after = self.before.sum(), self.after.sum()
        change = f"{percent_text(1 - after / before)} removed" if before else "nothing to remove"
        ax.set_title(f"{_UNITS[self.of]}, by layer: {change}", loc="left", pad=26)
        handles: list[Any] = [Patch(color=BLUE, label="left")]
        if self.blocked.any():
            handles.append(Patch(color=_GREY, label="left, cannot be pruned"))
        if (self.after < self.before).any():
            handles.append(self.before_)
        legend_above(ax, 3, handles=handles)


_GREY = "0.62"


def _counts(name: str, values: ArrayLike, size: int) -> NDArray[np.float64]:
    """Return a number for each layer."""
    wanted = f"The '{name}' parameter of {_OWNER} must hold a number from 0 on for each of the {size} layers."
    try:
        numbers = np.array(values, dtype=np.float64)
    except (TypeError, ValueError) as exc:
        raise ParameterTypeError(f"{wanted} Got {type(values).__name__} of something else instead.") from exc
    if numbers.shape != (size,):
        raise ParameterError(f"{wanted} Got an array of shape {numbers.shape} instead.")
    odd = ~(np.isfinite(numbers) & (numbers >= 0))
    if odd.any():
        raise ParameterError(f"{wanted} Got {numbers[odd][0]} instead.")
    return numbers


def _before_and_after(table: pd.DataFrame, of: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what the layers had and have."""
    if of == "filters":
        after = table["num_filters"].to_numpy(dtype=np.float64)
        return after + table["num_pruned_filters"].to_numpy(dtype=np.float64), after
    left, reduction = (table[column].to_numpy(dtype=np.float64) for column in _COLUMNS[of])
    return dense_counts(left, reduction), left
