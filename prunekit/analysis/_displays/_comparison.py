"""A dense and a compacted network side by side, drawn."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Self

import pandas as pd

from prunekit._words import bytes_text, change_text, count_text, percent_text
from prunekit.analysis._compare import COLUMNS, compare
from prunekit.analysis._displays._drawing import BLUE, pyplot_for
from prunekit.analysis._predictions import Task
from prunekit.exceptions import ParameterError, ParameterTypeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer, ErrorbarContainer

_OWNER = "ComparisonDisplay"
_NAMES = {
    "params": "Parameters",
    "macs": "Multiply-adds",
    "file_bytes": "File size",
    "peak_activation_bytes": "Peak activation memory",
    "accuracy": "Accuracy",
    "r2": "R²",
    "agreement": "Agreement",
}
_LATENCY = "latency_ms_batch_"
_INCHES_WIDE, _INCHES_PER_ROW, _INCHES_AROUND = 9.6, 0.42, 1.6
_DENSE_HEIGHT, _COMPACT_HEIGHT, _APART = 0.72, 0.4, 0.16
_KILO = 1000.0


class ComparisonDisplay:
    """
    What a compacted network costs and scores in relation to the dense one.

    Use `from_estimators` to measure two networks, `from_table` for what `compare` returned.

    Parameters
    ----------
    table : DataFrame
        What `prunekit.compare` returned, or some rows of it.

    Attributes
    ----------
    ax_ : matplotlib Axes
        Axes of the plot.
    figure_ : matplotlib Figure
        Figure of the plot.
    dense_bars_, compact_bars_ : matplotlib BarContainer or None
        Bars of the resources, in percent of the dense network; None if the table has none.
    dense_scores_, compact_scores_ : matplotlib ErrorbarContainer or None
        Marks of the scores with their intervals, in percent; None if the table has none.
    texts_ : list of matplotlib Text
        The numbers of each row, from top to bottom.

    Raises
    ------
    ParameterTypeError
        If `table` is no DataFrame.
    ParameterError
        If it has no rows or lacks columns.

    See Also
    --------
    prunekit.compare : The numbers.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from prunekit import ComparisonDisplay, compare
    >>> dense, compact = (nn.Sequential(nn.Linear(8, n), nn.ReLU(), nn.Linear(n, 2)) for n in (40, 10))
    >>> display = ComparisonDisplay.from_table(compare(dense, compact, torch.randn(50, 8), batch_sizes=[]))
    >>> print(display.texts_[0].get_text().replace(chr(0x2009), " "))
    442 → 112   (−74.7 %)
    """

    def __init__(self, table: pd.DataFrame) -> None:
        if not isinstance(table, pd.DataFrame):
            raise ParameterTypeError(
                f"The 'table' parameter of {_OWNER} must be a DataFrame that compare returned. "
                f"Got {type(table).__name__} instead."
            )
        missing = [name for name in COLUMNS if name not in table.columns]
        if missing or not len(table):
            raise ParameterError(
                f"The 'table' parameter of {_OWNER} must have the columns and rows of compare with level=\"network\". "
                f"Got a table {f'without {missing[0]!r}' if missing else 'without rows'} instead."
            )
        self.table = table

    @classmethod
    def from_estimators(
        cls,
        dense: Any,
        compact: Any,
        X: Any,
        y: Any = None,
        *,
        task: Task | None = None,
        batch_sizes: Sequence[int] = (1, 32),
        ax: "Axes | None" = None,
        **kwargs: Any,
    ) -> Self:
        """
        Measure two networks and draw.

        Parameters
        ----------
        dense, compact : Module, fitted skorch net, fitted TaylorPruner or TaylorPrunerCV, or PrunableNetwork
            The networks, as for `prunekit.compare`.
        X : array, Tensor, DataFrame, Dataset, tuple or Mapping
            Samples that neither was trained on.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
            Their targets.
        task : {"classification", "regression"}, default=None
            What predictions are; None as for `prunekit.compare`.
        batch_sizes : sequence of int, default=(1, 32)
            Numbers of samples of the forward passes that are timed.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Passed on to `plot`.

        Returns
        -------
        ComparisonDisplay
            The display, drawn.

        Raises
        ------
        ParameterTypeError
            If there is no network that can run in `dense` or `compact`.
        ParameterError
            If the value of a parameter is out of range.
        InputError
            If a network does not run on the samples, or predictions and targets do not fit.
        MissingDependencyError
            If matplotlib is not installed.
        """
        pyplot_for(f"{_OWNER}.from_estimators")  # before anything is measured
        return cls(compare(dense, compact, X, y, task=task, batch_sizes=batch_sizes)).plot(ax, **kwargs)

    @classmethod
    def from_table(cls, table: pd.DataFrame, *, ax: "Axes | None" = None, **kwargs: Any) -> Self:
        """
        Draw what was measured.

        Parameters
        ----------
        table : DataFrame
            What `prunekit.compare` returned.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Passed on to `plot`.

        Returns
        -------
        ComparisonDisplay
            The display, drawn.

        Raises
        ------
        ParameterTypeError
            If it is no DataFrame.
        ParameterError
            If it has no rows or lacks columns.
        MissingDependencyError
            If matplotlib is not installed.
        """
        return cls(table).plot(ax, **kwargs)

    def plot(self, ax: "Axes | None" = None, **kwargs: Any) -> Self:
        """
        Draw.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a figure.
        **kwargs : dict
            Passed on to ``matplotlib.axes.Axes.barh`` for the bars of the compacted network.

        Returns
        -------
        ComparisonDisplay
            The display itself.

        Raises
        ------
        MissingDependencyError
            If matplotlib is not installed.
        """
        pyplot = pyplot_for(f"{_OWNER}.plot")
        resources = self.table[self.table["reduction"].notna()]
        scores = self.table[self.table["reduction"].isna()]
        ordered = pd.concat([resources, scores])
        if ax is None:
            size = (_INCHES_WIDE, _INCHES_AROUND + _INCHES_PER_ROW * len(ordered))
            _, ax = pyplot.subplots(figsize=size, layout="constrained")
        self.ax_, self.figure_ = ax, ax.get_figure(root=True)
        self.dense_bars_, self.compact_bars_ = self._draw_resources(resources, kwargs)
        self.dense_scores_, self.compact_scores_ = self._draw_scores(scores, len(resources))
        if len(resources) and len(scores):
            ax.axhline(len(resources) - 0.5, color="0.6", linewidth=0.8)
        self.texts_ = [
            ax.text(1.02, place, _numbers(str(name), row), transform=ax.get_yaxis_transform(), va="center")
            for place, (name, row) in enumerate(ordered.iterrows())
        ]
        ax.set_yticks(range(len(ordered)), [_title(str(name)) for name in ordered.index])
        ax.tick_params(axis="y", length=0)
        ax.set_ylim(len(ordered) - 0.5, -0.5)
        ax.set_xlim(left=0, right=max(104.0, ax.get_xlim()[1]))
        ax.set_xlabel(_axis_label(len(resources) > 0, len(scores) > 0))
        ax.set_title("Dense and compacted network", loc="left", pad=30)
        ax.spines[["top", "right"]].set_visible(False)
        self._add_legend()
        return self

    def _add_legend(self) -> None:
        """Name bars and marks of both networks above the axes."""
        from matplotlib.legend_handler import HandlerTuple

        shown = {
            "dense": (self.dense_bars_, self.dense_scores_),
            "compacted": (self.compact_bars_, self.compact_scores_),
        }
        named: dict[str, Any] = {name: tuple(one for one in pair if one is not None) for name, pair in shown.items()}
        named = {name: found for name, found in named.items() if found}
        self.ax_.legend(
            named.values(),
            named.keys(),
            handler_map={tuple: HandlerTuple(ndivide=None, pad=0.6)},
            handlelength=3.2,
            loc="lower left",
            bbox_to_anchor=(0, 1),
            borderaxespad=0.2,
            ncols=2,
            frameon=False,
        )

    def _draw_resources(
        self, rows: pd.DataFrame, style: dict[str, Any]
    ) -> "tuple[BarContainer | None, BarContainer | None]":
        """Draw a wide hatched bar for the dense network and a narrow full one on it for the other."""
        if not len(rows):
            return None, None
        places = range(len(rows))
        percent = 100.0 / rows["dense"]
        dense = self.ax_.barh(
            places, rows["dense"] * percent, _DENSE_HEIGHT, color="white", edgecolor="0.55", hatch="////"
        )
        own = {"color": BLUE, "edgecolor": "black", "linewidth": 0.8, "zorder": 2, **style}
        compact = self.ax_.barh(places, rows["compact"] * percent, _COMPACT_HEIGHT, **own)
        for name, shift in (("dense", -_DENSE_HEIGHT / 2 + 0.08), ("compact", 0.0)):
            known = rows[f"{name}_low"].notna()
            if known.any():
                values, scale = rows.loc[known], percent[known]
                centre = values[name] * scale
                ends = [centre - values[f"{name}_low"] * scale, values[f"{name}_high"] * scale - centre]
                where = [place + shift for place, is_known in zip(places, known, strict=True) if is_known]
                self.ax_.errorbar(
                    centre, where, xerr=ends, fmt="none", ecolor="black", elinewidth=1.1, capsize=3, zorder=3
                )
        return dense, compact

    def _draw_scores(
        self, rows: pd.DataFrame, start: int
    ) -> "tuple[ErrorbarContainer | None, ErrorbarContainer | None]":
        """Draw an open circle for the dense network and a full square for the other, with intervals."""
        made: list[Any] = []
        for name, marker, fill, shift in (("dense", "o", "white", -_APART), ("compact", "s", BLUE, _APART)):
            known = rows[name].notna()
            if not known.any():
                made.append(None)
                continue
            values = 100.0 * rows.loc[known, name].clip(lower=0)
            alone = rows["dense"].isna()
            where = [
                start + place + (0.0 if alone.iloc[place] else shift) for place in range(len(rows)) if known.iloc[place]
            ]
            low, high = (100.0 * rows.loc[known, f"{name}_{end}"].clip(lower=0) for end in ("low", "high"))
            ends = [(values - low).clip(lower=0).fillna(0), (high - values).clip(lower=0).fillna(0)]
            made.append(
                self.ax_.errorbar(
                    values,
                    where,
                    xerr=ends,
                    fmt=marker,
                    color="black",
                    markerfacecolor=fill,
                    markersize=4.5,
                    capsize=3,
                    elinewidth=1.1,
                    zorder=3,
                )
            )
        return made[0], made[1]


def _title(name: str) -> str:
    if name.startswith(_LATENCY):
        return f"Latency, batch of {name.removeprefix(_LATENCY)}"
    return _NAMES.get(name, name)


def _numbers(name: str, row: "pd.Series[Any]") -> str:
    """Return what stands beside a row: both numbers and the change."""
    show: Callable[[float], str]
    if not math.isnan(row["reduction"]):
        show = _milliseconds if name.startswith(_LATENCY) else bytes_text if name.endswith("bytes") else count_text
        return f"{show(row['dense'])} → {show(row['compact'])}   ({change_text(row['reduction'])})"
    if row["unit"] == "R²":
        show, points, scale = "{:.3f}".format, "", 1.0
    else:
        show, points, scale = percent_text, " points", 100.0
    if math.isnan(row["dense"]):
        return f"{show(row['compact'])}{_interval(row, 'compact', scale)}"
    change = f"{scale * row['change']:+.{1 if points else 3}f}".replace("-", "−")
    return f"{show(row['dense'])} → {show(row['compact'])}   ({change}{points}{_interval(row, 'change', scale)})"


def _interval(row: "pd.Series[Any]", name: str, scale: float) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    if math.isnan(low):
        return ""
    digits = 1 if scale != 1.0 else 3
    return f" [{scale * low:.{digits}f}, {scale * high:.{digits}f}]".replace("-", "−")


def _milliseconds(value: float) -> str:
    return f"{value:.3g} ms" if value < _KILO else f"{value:,.0f} ms"


def _axis_label(has_resources: bool, has_scores: bool) -> str:
    parts = ["percent of the dense network" if has_resources else "", "score in percent" if has_scores else ""]
    return "; ".join(part for part in parts if part).capitalize()
