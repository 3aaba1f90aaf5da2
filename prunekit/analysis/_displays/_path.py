"""The score of a network on its way to a smaller one, drawn."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike

from prunekit._words import STOP_REASONS
from prunekit.analysis._displays._checks import bool_per_point, check_pruner, choice_per_point, float_per_point
from prunekit.analysis._displays._drawing import (
    BLUE,
    FONT_POINTS,
    GREEN,
    ORANGE,
    pyplot_for,
    shades,
)
from prunekit.analysis._displays._history import read_path, read_paths
from prunekit.cost import RESOURCE_WORDS
from prunekit.exceptions import ParameterError, ParameterTypeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import FillBetweenPolyCollection
    from matplotlib.lines import Line2D

_OWNER = "PruningPathDisplay"
_PHASES = ("dense", "prune", "recover", "final")
_MARKERS = "os^vDP"
_DASHES = ("-", (0, (5, 1.5)), (0, (5, 1.5, 1, 1.5)), (0, (1.5, 1)))
_FIGURE_INCHES = (8.4, 4.6)


class PruningPathDisplay:
    """
    The score of a network against what was removed of it.

    Use `from_estimator` to make one from a fitted pruner, `from_estimators` to compare several. Bands are for the folds
    of a cross-validation.

    Parameters
    ----------
    reductions : array-like of shape (n_points,) or (n_curves, n_points)
        Fraction that was removed, in the order of time.
    scores : array-like of shape (n_points,) or (n_curves, n_points)
        What was measured then; NaN where nothing was.
    scores_std : array-like of the shape of ``scores``, default=None
        Half the height of the band around each curve.
    scores_before : array-like of shape (n_points,), default=None
        Scores right after a removal, before its fine-tuning; NaN where none was measured. Of one curve only.
    phases : array-like of shape (n_points,), default=None
        What each point is: "dense", "prune", "recover" or "final". The first "dense" is marked. Of one curve only.
    taken_back : array-like of shape (n_points,), dtype=bool, default=None
        Which points are not on the way to the result. None: all are. Of one curve only.
    names : sequence of str, default=None
        Names of the curves in the legend.
    resource : str, default="params"
        What the reductions are of.
    measure : str, default="Validation score"
        What the scores are.
    threshold : float, default=None
        Lowest score that was allowed.
    target : float, default=None
        Reduction that was aimed at.
    best : float, default=None
        Reduction that was chosen among all, when none of the points is the result.
    control : float, default=None
        Score of the dense network after the same training without pruning.
    stop_reason : str, default=None
        Why the path ends, as in ``stop_reason_`` of `TaylorPruner`; for the title.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure of the plot.
    line_ : matplotlib Line2D
        The path; with several curves the first.
    lines_ : list of matplotlib Line2D
        All curves.
    bands_ : list of matplotlib PolyCollection
        A band for each curve; empty without ``scores_std``.
    dense_, final_ : matplotlib Line2D or None
        Marks of the network before pruning and of the result, which is the last point that was not taken back.
    before_ : matplotlib Line2D or None
        Drop and recovery of every step that has a score before fine-tuning: from the point before over that score to
        the point.
    taken_back_ : matplotlib Line2D or None
        Points that were taken back.
    attempts_ : matplotlib Line2D or None
        What leads to these from the last point that was not.
    threshold_, target_, best_, control_ : matplotlib Line2D or None
        Lines at these.

    Raises
    ------
    ParameterError
        If the arrays do not fit each other, hold no finite number, or what belongs to one curve is given for several.
    ParameterTypeError
        If they hold values of another type.

    See Also
    --------
    prunekit.TaylorPruner : What makes the path; its ``history_`` has the numbers.
    prunekit.HistoryDisplay : All that this history has, iteration by iteration.

    Examples
    --------
    >>> from prunekit import PruningPathDisplay
    >>> display = PruningPathDisplay(
    ...     [0.0, 0.2, 0.4, 0.6], [0.95, 0.96, 0.94, 0.8], taken_back=[False, False, False, True], threshold=0.9
    ... ).plot()
    >>> display.line_.get_xdata()
    array([0. , 0.2, 0.4])
    """

    def __init__(
        self,
        reductions: ArrayLike,
        scores: ArrayLike,
        *,
        scores_std: ArrayLike | None = None,
        scores_before: ArrayLike | None = None,
        phases: ArrayLike | None = None,
        taken_back: ArrayLike | None = None,
        names: Sequence[str] | None = None,
        resource: str = "params",
        measure: str = "Validation score",
        threshold: float | None = None,
        target: float | None = None,
        best: float | None = None,
        control: float | None = None,
        stop_reason: str | None = None,
    ) -> None:
        self.scores = float_per_point("scores", scores, _OWNER)
        shape = self.scores.shape
        if self.scores.ndim not in (1, 2) or not np.isfinite(self.scores).any():
            raise ParameterError(
                f"The 'scores' parameter of {_OWNER} must have one dimension, or two for several curves, and hold a "
                f"finite number. Got an array of shape {shape} instead."
            )
        self.reductions = float_per_point("reductions", reductions, _OWNER, shape, shape[-1:])
        self.scores_std = None if scores_std is None else float_per_point("scores_std", scores_std, _OWNER, shape)
        own = {"scores_before": scores_before, "phases": phases, "taken_back": taken_back}
        given = [name for name, values in own.items() if values is not None]
        if given and self.scores.ndim == 2:
            raise ParameterError(
                f"The {given[0]!r} parameter of {_OWNER} must be None for several curves. "
                f"Got {type(own[given[0]]).__name__} instead."
            )
        self.scores_before = (
            None if scores_before is None else float_per_point("scores_before", scores_before, _OWNER, shape)
        )
        self.phases = None if phases is None else choice_per_point("phases", phases, _OWNER, _PHASES, shape)
        self.taken_back = (
            np.zeros(shape, dtype=bool)
            if taken_back is None
            else bool_per_point("taken_back", taken_back, _OWNER, shape)
        )
        if names is not None and (isinstance(names, str) or len(names) != self._num_curves):
            raise ParameterError(
                f"The 'names' parameter of {_OWNER} must hold one name for each of the {self._num_curves} curves. "
                f"Got {names!r} instead."
            )
        self.names = names
        self.resource = resource
        self.measure = measure
        self.threshold = threshold
        self.target = target
        self.best = best
        self.control = control
        self.stop_reason = stop_reason

    @classmethod
    def from_estimator(cls, pruner: Any, *, of: str | None = None, ax: "Axes | None" = None, **kwargs: Any) -> Self:
        """
        Draw the path of a fitted pruner.

        Its validation scores are drawn; if it had no validation data, the losses of its training. Of a `TaylorPrunerCV`
        the mean scores over the folds are drawn, in a band of one standard error, with the lowest score that is within
        its tolerance and the best reduction.

        Parameters
        ----------
        pruner : TaylorPruner or TaylorPrunerCV
            The pruner.
        of : {"params", "macs", "filters", "memory"}, default=None
            What the reductions are of. None: what the target of the pruner counts. The target is drawn for that only.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Passed on to `plot`.

        Returns
        -------
        PruningPathDisplay
            The display, drawn.

        Raises
        ------
        ParameterTypeError
            If it is no pruner.
        NotFittedError
            If the pruner is not fitted.
        ParameterError
            If there is no such resource, or neither a score nor a loss was measured.
        MissingDependencyError
            If matplotlib is not installed.
        """
        check_pruner(pruner, f"{_OWNER}.from_estimator")
        return cls(**read_path(pruner, of, _OWNER)).plot(ax, **kwargs)

    @classmethod
    def from_estimators(
        cls, pruners: Mapping[str, Any], *, of: str | None = None, ax: "Axes | None" = None, **kwargs: Any
    ) -> Self:
        """
        Draw the paths of several fitted pruners, to compare them.

        Each is drawn as far as it was not taken back. A threshold and a target are drawn if all have the same.

        Parameters
        ----------
        pruners : dict of str to TaylorPruner or TaylorPrunerCV
            The pruners, by the names that the legend has for them.
        of : {"params", "macs", "filters", "memory"}, default=None
            What the reductions are of. None: what the targets of all pruners count.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Passed on to `plot`.

        Returns
        -------
        PruningPathDisplay
            The display, drawn.

        Raises
        ------
        ParameterTypeError
            If one is no pruner.
        NotFittedError
            If one is not fitted.
        ParameterError
            If there is none, if their targets count different things and ``of`` does not say which to draw, or if only
            some of them have scores.
        MissingDependencyError
            If matplotlib is not installed.
        """
        owner = f"{_OWNER}.from_estimators"
        if not isinstance(pruners, Mapping):
            raise ParameterTypeError(
                f"The 'pruners' parameter of {owner} must be a dict from names to pruners. "
                f"Got {type(pruners).__name__} instead."
            )
        for pruner in pruners.values():
            check_pruner(pruner, owner)
        return cls(**read_paths(pruners, of, owner)).plot(ax, **kwargs)

    def plot(
        self,
        ax: "Axes | None" = None,
        *,
        line_kw: dict[str, Any] | None = None,
        band_kw: dict[str, Any] | None = None,
        before_kw: dict[str, Any] | None = None,
        taken_back_kw: dict[str, Any] | None = None,
    ) -> Self:
        """
        Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure with the legend beside the axes.
        line_kw : dict, default=None
            Passed on to ``matplotlib.axes.Axes.plot`` for the curves.
        band_kw : dict, default=None
            Passed on to ``matplotlib.axes.Axes.fill_between`` for the bands.
        before_kw, taken_back_kw : dict, default=None
            Passed on to ``matplotlib.axes.Axes.plot`` for the scores before fine-tuning, and for the points that were
            taken back.

        Returns
        -------
        PruningPathDisplay
            The display itself.

        Raises
        ------
        MissingDependencyError
            If matplotlib is not installed.
        """
        pyplot = pyplot_for(f"{_OWNER}.plot")
        beside = ax is None
        if ax is None:
            _, ax = pyplot.subplots(figsize=_FIGURE_INCHES, layout="constrained")
        self.ax_, self.figure_ = ax, ax.get_figure(root=True)
        self.lines_: list[Line2D] = []
        self.bands_: list[FillBetweenPolyCollection] = []
        self.before_: Line2D | None = None
        self.taken_back_: Line2D | None = None
        self.attempts_: Line2D | None = None
        self.dense_: Line2D | None = None
        self.final_: Line2D | None = None
        self._draw_curves(ax, line_kw or {}, band_kw or {})
        self.line_ = self.lines_[0]
        if self.scores.ndim == 1:
            self._draw_before(ax, before_kw or {})
            self._draw_taken_back(ax, taken_back_kw or {})
            self._mark_ends(ax)
        self._draw_limits(ax)
        self._describe(ax, beside)
        return self

    @property
    def _num_curves(self) -> int:
        return len(np.atleast_2d(self.scores))

    @property
    def _marker_points(self) -> float:
        return float(np.clip(150 / self.scores.shape[-1], 3.4, 5.5))

    def _draw_curves(self, ax: "Axes", line_kw: dict[str, Any], band_kw: dict[str, Any]) -> None:
        count = self._num_curves
        names = self.names or ([f"curve {number + 1}" for number in range(count)] if count > 1 else ["pruned"])
        colours = [BLUE] if count == 1 else shades(count, 0.75)
        stds = [None] * count if self.scores_std is None else np.atleast_2d(self.scores_std)
        curves = zip(np.atleast_2d(self.reductions), np.atleast_2d(self.scores), stds, strict=True)
        for number, (x, y, std) in enumerate(curves):
            kept = ~self.taken_back if self.scores.ndim == 1 else np.ones(y.shape, dtype=bool)
            style = {
                "color": colours[number],
                "marker": _MARKERS[number % len(_MARKERS)],
                "markersize": self._marker_points,
                "linestyle": _DASHES[number % len(_DASHES)],
                "linewidth": 1.5,
                "label": names[number],
                "zorder": 3,
            }
            (line,) = ax.plot(x[kept], y[kept], **{**style, **line_kw})
            self.lines_.append(line)
            if std is not None:
                band = {"color": line.get_color(), "alpha": 0.18, "linewidth": 0, "zorder": 1.5}
                low, high = y[kept] - std[kept], y[kept] + std[kept]
                self.bands_.append(ax.fill_between(x[kept], low, high, **{**band, **band_kw}))

    def _draw_before(self, ax: "Axes", before_kw: dict[str, Any]) -> None:
        """Draw drop and recovery of each step as one broken line, with a mark at the score between the two."""
        if self.scores_before is None or not np.isfinite(self.scores_before).any():
            return
        x: list[float] = []
        y: list[float] = []
        marked = []
        for point in np.flatnonzero(np.isfinite(self.scores_before)).tolist():
            start = self._start_of(point)
            marked.append(len(x) + 1)
            x += [self.reductions[start], self.reductions[point], self.reductions[point], np.nan]
            y += [self.scores[start], self.scores_before[point], self.scores[point], np.nan]
        style = {
            "color": "0.72",
            "linewidth": 0.9,
            "marker": "o",
            "markerfacecolor": "white",
            "markersize": 0.8 * self._marker_points,
            "markevery": marked,
            "label": "before fine-tuning",
            "zorder": 2,
        }
        (self.before_,) = ax.plot(x, y, **{**style, **before_kw})

    def _draw_taken_back(self, ax: "Axes", taken_back_kw: dict[str, Any]) -> None:
        """Mark what was taken back; a thin line leads there from where it was taken back to."""
        points = np.flatnonzero(self.taken_back).tolist()
        if not points:
            return
        x: list[float] = []
        y: list[float] = []
        for point in points:
            start = point - 1 if self._goes_on(point) else self._start_of(point)
            x += [self.reductions[start], self.reductions[point], np.nan]
            y += [self.scores[start], self.scores[point], np.nan]
        style = {
            "color": ORANGE,
            "linestyle": "none",
            "marker": "x",
            "markersize": 7.5,
            "markeredgewidth": 2,
            "label": "taken back",
            "zorder": 4,
        }
        (self.taken_back_,) = ax.plot(self.reductions[points], self.scores[points], **{**style, **taken_back_kw})
        (self.attempts_,) = ax.plot(x, y, color=self.taken_back_.get_color(), linewidth=1, zorder=2.5)

    def _start_of(self, point: int) -> int:
        """Return the last point before that was not taken back; the first has none and starts at itself."""
        kept = np.flatnonzero(~self.taken_back[:point])
        return int(kept[-1]) if kept.size else int(point)

    def _goes_on(self, point: int) -> bool:
        """Return whether a point that was taken back repeats the fine-tuning of the point before."""
        return self.phases is not None and self.phases[point] == "recover"

    def _mark_ends(self, ax: "Axes") -> None:
        drawn = np.isfinite(self.scores)
        style: dict[str, Any] = {"linestyle": "none", "color": "black", "zorder": 5}
        dense = np.flatnonzero(drawn & (self.phases == "dense")) if self.phases is not None else np.array([], dtype=int)
        if dense.size:
            x, y = self.reductions[dense[0]], self.scores[dense[0]]
            style["markerfacecolor"] = "none"
            (self.dense_,) = ax.plot([x], [y], marker="s", markersize=10, label=f"dense network, {y:.4g}", **style)
        final = np.flatnonzero(drawn & ~self.taken_back)
        if final.size and self.best is None:
            x, y = self.reductions[final[-1]], self.scores[final[-1]]
            style["markerfacecolor"] = "black"
            label = f"result, {y:.4g} at {100 * x:.3g} %"
            (self.final_,) = ax.plot([x], [y], marker="D", markersize=7, label=label, **style)

    def _draw_limits(self, ax: "Axes") -> None:
        """Draw threshold, control and target; they differ in their dashes, in grey as well."""
        self.control_: Line2D | None = None
        self.threshold_: Line2D | None = None
        self.target_: Line2D | None = None
        self.best_: Line2D | None = None
        if self.control is not None:
            label = f"dense, trained as long, {self.control:.4g}"
            self.control_ = ax.axhline(
                self.control, color=GREEN, linestyle="-.", linewidth=1.3, label=label, zorder=1.8
            )
        if self.threshold is not None:
            label = f"threshold, {self.threshold:.4g}"
            self.threshold_ = ax.axhline(
                self.threshold, color="0.25", linestyle="--", linewidth=1.1, label=label, zorder=1.8
            )
        if self.target is not None:
            label = f"target, {100 * self.target:.3g} %"
            self.target_ = ax.axvline(self.target, color="0.25", linestyle=":", linewidth=1.3, label=label, zorder=1.8)
        if self.best is not None:
            label = f"best, {100 * self.best:.3g} %"
            self.best_ = ax.axvline(self.best, color="0.25", linestyle=":", linewidth=1.3, label=label, zorder=1.8)

    def _describe(self, ax: "Axes", beside: bool) -> None:
        """Write title, legend and labels."""
        from matplotlib.ticker import PercentFormatter

        ax.set(xlabel=f"Reduction of {RESOURCE_WORDS.get(self.resource, self.resource)}", ylabel=self.measure)
        ax.xaxis.set_major_formatter(PercentFormatter(1, symbol=" %"))
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(color="0.9", linewidth=0.6, zorder=0.5)
        ax.set_axisbelow(True)
        ending = "" if self.stop_reason is None else f": {STOP_REASONS.get(self.stop_reason, self.stop_reason)}"
        ax.set_title(f"Pruning path{ending}", loc="left")
        if beside:
            ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0, frameon=False)
        else:
            ax.legend(loc="best", fontsize=FONT_POINTS)
