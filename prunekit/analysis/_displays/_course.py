"""The history of a fitted pruner, drawn."""

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from prunekit.analysis._displays._checks import bool_per_point, check_pruner, check_table
from prunekit.analysis._displays._drawing import (
    BLUE,
    FONT_POINTS,
    GREEN,
    ORANGE,
    legend_above,
    panels_for,
    width_points,
)
from prunekit.analysis._displays._history import measure_of, threshold_of
from prunekit.analysis._outcomes import taken_back
from prunekit.cost import RESOURCE_WORDS
from prunekit.exceptions import ParameterError, ParameterTypeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer
    from matplotlib.lines import Line2D

_OWNER = "HistoryDisplay"
_FIGURE_INCHES = (9.6, 6.4)
_STEPS = tuple(step * 10**power for power in range(6) for step in (1, 2, 5))
_DIGIT_POINTS, _WORD_POINTS = 6.0, 19.0
_HATCHED_POINTS = 5.0
_SECONDS = {
    "scoring": {"color": BLUE},
    "training": {"facecolor": "#F0C566", "hatch": "////"},
    "validation": {"facecolor": "0.89", "hatch": "....."},
}
_LEFT = {
    "filters": {"color": BLUE, "marker": "o", "linestyle": "-"},
    "params": {"color": ORANGE, "marker": "s", "linestyle": "--"},
    "macs": {"color": GREEN, "marker": "^", "linestyle": ":"},
}
_COLUMNS = (
    *("iteration", "phase", "train_loss", "score"),
    *(f"reduction_{name}" for name in _LEFT),
    *(f"seconds_{name}" for name in _SECONDS),
)


class HistoryDisplay:
    """
    The course of pruning in four panels: loss, score, what is left of the network, and seconds.

    A point or bar a row of ``history_``, from the dense network to the training at the end.

    Parameters
    ----------
    history : DataFrame
        ``history_`` of a fitted `TaylorPruner`.
    taken_back : array-like of shape (n_rows,), dtype=bool, default=None
        Which rows are not on the way to the result; None: all are.
    measure : str, default="Validation score"
        What the scores are.
    threshold : float, default=None
        Lowest score that was allowed.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes, shape (4,)
        Panels of the plot.
    figure_ : matplotlib Figure
        Figure of the plot.
    loss_, score_ : matplotlib Line2D
        Training loss, and score after the fine-tuning.
    before_ : matplotlib Line2D
        Score before the fine-tuning; it hangs on the score after it by a thin line.
    left_ : dict of str to matplotlib Line2D
        What is left of ``"filters"``, ``"params"`` and ``"macs"``, as fractions.
    seconds_ : dict of str to matplotlib BarContainer
        Seconds of ``"scoring"``, ``"training"`` and ``"validation"``, on top of each other.
    taken_back_ : list of matplotlib Line2D
        Marks in the first three panels; empty if nothing was taken back.
    threshold_ : matplotlib Line2D or None
        Line at the threshold.

    Raises
    ------
    ParameterTypeError
        If it is no such history.
    ParameterError
        If it is empty, or ``taken_back`` does not fit it.

    See Also
    --------
    prunekit.PruningPathDisplay : The score against the reduction.

    Examples
    --------
    >>> import pandas as pd
    >>> from prunekit import HistoryDisplay
    >>> history = pd.DataFrame(
    ...     {
    ...         "iteration": [0, 1, 2],
    ...         "phase": ["dense", "prune", "prune"],
    ...         "train_loss": [0.1, 0.2, 0.3],
    ...         "score": [0.99, 0.98, 0.97],
    ...         "reduction_filters": [0.0, 0.3, 0.5],
    ...         "reduction_params": [0.0, 0.4, 0.6],
    ...         "reduction_macs": [0.0, 0.5, 0.7],
    ...         "seconds_scoring": [0.0, 0.2, 0.2],
    ...         "seconds_training": [9.0, 1.0, 0.8],
    ...         "seconds_validation": [0.1, 0.1, 0.1],
    ...     }
    ... )
    >>> [panel.get_title(loc="left") for panel in HistoryDisplay(history).plot().axes_]
    ['Training loss', 'Validation score', 'Left of the dense network', 'Time']
    """

    def __init__(
        self,
        history: pd.DataFrame,
        *,
        taken_back: ArrayLike | None = None,
        measure: str = "Validation score",
        threshold: float | None = None,
    ) -> None:
        check_table("history", history, _COLUMNS, "the history_ of a TaylorPruner", _OWNER)
        if history.empty:
            raise ParameterError(f"The 'history' parameter of {_OWNER} must have a row at least. Got none instead.")
        self.history = history.reset_index(drop=True)
        shape = (len(history),)
        self.taken_back = np.zeros(shape, dtype=bool)
        if taken_back is not None:
            self.taken_back = bool_per_point("taken_back", taken_back, _OWNER, shape)
        self.measure = measure
        self.threshold = threshold

    @classmethod
    def from_estimator(cls, pruner: Any, *, ax: "Axes | NDArray[Any] | None" = None, **kwargs: Any) -> Self:
        """
        Draw the history of a fitted pruner.

        Parameters
        ----------
        pruner : TaylorPruner or TaylorPrunerCV
            The pruner; of a search, what was fitted on all data is drawn.
        ax : matplotlib Axes or array of 4 of them, default=None
            Where to draw; None makes a figure. One axes is divided into panels.
        **kwargs : dict
            Passed on to `plot`.

        Returns
        -------
        HistoryDisplay
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
        fitted = getattr(pruner, "best_estimator_", pruner)
        if not hasattr(fitted, "history_"):
            raise ParameterTypeError(
                f"The 'pruner' parameter of {_OWNER}.from_estimator must have a history_, or be a search with "
                f"refit=True. Got {type(pruner).__name__} without one instead."
            )
        display = cls(
            fitted.history_,
            taken_back=taken_back(fitted.history_, fitted.reductions_["params"]),
            measure=measure_of(fitted.scoring),
            threshold=threshold_of(fitted),
        )
        return display.plot(ax, **kwargs)

    def plot(
        self,
        ax: "Axes | NDArray[Any] | None" = None,
        *,
        line_kw: dict[str, Any] | None = None,
        bar_kw: dict[str, Any] | None = None,
    ) -> Self:
        """
        Draw.

        Parameters
        ----------
        ax : matplotlib Axes or array of 4 of them, default=None
            Where to draw; None makes a figure. One axes is divided into panels.
        line_kw : dict, default=None
            Passed on to ``matplotlib.axes.Axes.plot`` for the lines.
        bar_kw : dict, default=None
            Passed on to ``matplotlib.axes.Axes.bar`` for the seconds.

        Returns
        -------
        HistoryDisplay
            The display itself.

        Raises
        ------
        ParameterError
            If there are not four axes.
        MissingDependencyError
            If matplotlib is not installed.
        """
        self.axes_ = panels_for(ax, f"{_OWNER}.plot", 2, 2, _FIGURE_INCHES)
        self.figure_ = self.axes_[0].get_figure(root=True)
        self.taken_back_: list[Line2D] = []
        style = {"linewidth": 1.5, "markersize": float(np.clip(150 / len(self.history), 2.5, 5)), "zorder": 3}
        style |= line_kw or {}
        loss, score, left, seconds = self.axes_
        self._draw_loss(loss, style)
        self._draw_score(score, style)
        self._draw_left(left, style)
        self._draw_seconds(seconds, bar_kw or {})
        for panel in self.axes_:
            self._describe(panel)
        return self

    @property
    def _x(self) -> NDArray[np.int64]:
        return np.arange(len(self.history))

    def _draw_loss(self, panel: "Axes", style: dict[str, Any]) -> None:
        values = self.history["train_loss"].to_numpy(dtype=np.float64)
        (self.loss_,) = panel.plot(self._x, values, **{"color": BLUE, "marker": "o", **style})
        self._mark_taken_back(panel, values)
        panel.set_title("Training loss", loc="left", pad=22)
        panel.set_ylabel("Mean loss of a sample")
        _say_if_empty(panel, values, "no loss was measured")
        if self.taken_back_:
            legend_above(panel, 1, handles=self.taken_back_, labels=["taken back"])

    def _draw_score(self, panel: "Axes", style: dict[str, Any]) -> None:
        after = self.history["score"].to_numpy(dtype=np.float64)
        nothing = pd.Series(np.nan, index=self.history.index)
        before = self.history.get("score_before", nothing).to_numpy(dtype=np.float64)
        panel.vlines(self._x, before, after, color="0.72", linewidth=0.9, zorder=1.8)
        plain: dict[str, Any] = {
            "color": "0.5",
            "linestyle": "none",
            "markerfacecolor": "white",
            "marker": "o",
            "zorder": 2,
        }
        (self.before_,) = panel.plot(
            self._x, before, label="before fine-tuning", markersize=style["markersize"], **plain
        )
        (self.score_,) = panel.plot(self._x, after, label="after", **{"color": BLUE, "marker": "o", **style})
        self._mark_taken_back(panel, after)
        self.threshold_: Line2D | None = None
        if self.threshold is not None:
            style = {"color": "0.25", "linestyle": "--", "linewidth": 1.1, "zorder": 1.8}
            self.threshold_ = panel.axhline(self.threshold, label=f"threshold, {self.threshold:.4g}", **style)
        panel.set_title(self.measure, loc="left", pad=22)
        panel.set_ylabel("Score")
        if not _say_if_empty(panel, after, "there is no validation score"):
            legend_above(panel, 3)

    def _draw_left(self, panel: "Axes", style: dict[str, Any]) -> None:
        from matplotlib.ticker import PercentFormatter

        self.left_: dict[str, Line2D] = {}
        for name, own in _LEFT.items():
            values = 1.0 - self.history[f"reduction_{name}"].to_numpy(dtype=np.float64)
            (self.left_[name],) = panel.plot(
                self._x, values, **{"label": RESOURCE_WORDS.get(name, name), **own, **style}
            )
        self._mark_taken_back(panel, 1.0 - self.history["reduction_filters"].to_numpy(dtype=np.float64))
        panel.set_title("Left of the dense network", loc="left", pad=22)
        panel.set_ylabel("Fraction left")
        panel.set_ylim(0, 1.04)
        panel.yaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        legend_above(panel, 3)

    def _draw_seconds(self, panel: "Axes", bar_kw: dict[str, Any]) -> None:
        self.seconds_: dict[str, BarContainer] = {}
        floor = np.zeros(len(self.history))
        pitch = width_points(panel) / len(self.history)
        for name, own in _SECONDS.items():
            values = self.history[f"seconds_{name}"].fillna(0.0).to_numpy(dtype=np.float64)
            style = {"width": 0.8, "edgecolor": "0.2", "linewidth": 0.5, "label": name, "zorder": 2, **own}
            if pitch < _HATCHED_POINTS:  # lines would hide the bars
                style |= {"width": 1.0, "linewidth": 0.0, "hatch": None}
            self.seconds_[name] = panel.bar(self._x, values, bottom=floor, **{**style, **bar_kw})
            floor = floor + values
        panel.set_title("Time", loc="left", pad=22)
        panel.set_ylabel("Seconds")
        legend_above(panel, 3)

    def _mark_taken_back(self, panel: "Axes", values: NDArray[np.float64]) -> None:
        rows = np.flatnonzero(self.taken_back)
        if rows.size:
            style: dict[str, Any] = {"color": ORANGE, "linestyle": "none", "marker": "x", "markersize": 8}
            self.taken_back_ += panel.plot(rows, values[rows], markeredgewidth=2, zorder=4, **style)

    def _describe(self, panel: "Axes") -> None:
        """Write the axis of the rows, and tidy up."""
        ticks = _ticks(self.history, width_points(panel) / len(self.history))
        panel.set_xticks(list(ticks), list(ticks.values()), fontsize=FONT_POINTS)
        panel.set_xlim(-0.7, len(self.history) - 0.3)
        panel.set_xlabel("Iteration")
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", color="0.9", linewidth=0.6, zorder=0.5)
        panel.set_axisbelow(True)


def _ticks(history: pd.DataFrame, pitch: float) -> dict[int, str]:
    """Return what to write at which rows that stand so many points apart: the ends, and iterations as there is room."""
    kinds = history["phase"].to_numpy(dtype=object)
    ends = {row: str(kinds[row]) for row in (0, len(kinds) - 1) if kinds[row] in ("dense", "final")}
    iterations = {row: int(history["iteration"][row]) for row in np.flatnonzero(kinds == "prune").tolist()}
    wide = _DIGIT_POINTS * (1 + len(str(max(iterations.values(), default=0))))
    every = next((step for step in _STEPS if step * pitch >= wide), _STEPS[-1])
    numbers = {
        row: str(number)
        for row, number in iterations.items()
        if number % every == 0 and all(abs(row - end) * pitch >= _WORD_POINTS for end in ends)
    }
    return {**ends, **numbers}


def _say_if_empty(panel: "Axes", values: NDArray[np.float64], text: str) -> bool:
    """Say why a panel is empty, if it is."""
    is_empty = not np.isfinite(values).any()
    if is_empty:
        panel.text(0.5, 0.5, text, ha="center", va="center", color="0.35", transform=panel.transAxes)
        panel.set_yticks([])
    return is_empty
