"""Tables of a run for the terminal; the numbers come ready from the runner."""

from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from prunekit._words import change_text, percent_text
from prunekit.pipeline._results import Comparison

__all__ = ["comparison_table", "frozen_note", "layer_table"]

_MAX_NAMES = 4
_TYPE_WIDTH = 18


def layer_table(layers: pd.DataFrame) -> Table:
    """
    Return the layers that have parameters.

    Parameters
    ----------
    layers : DataFrame
        As `TaylorPruner.analyze` returns it.

    Returns
    -------
    Table
        A row per layer.
    """
    table = new_table("Layers with parameters")
    table.add_column("layer", overflow="fold")
    # Names are folded, not cut; so a long name of a class may not take their place.
    table.add_column("type", no_wrap=True, max_width=_TYPE_WIDTH)
    for heading in ("output", "filters", "params", "change", "MACs"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in layers[layers["num_learnables"] > 0].to_dict("records"):
        before = row["num_filters"] + row["num_pruned_filters"]
        cells = [
            row["name"],
            row["type"],
            "×".join(map(str, (row["activation_size"] or ())[1:])),
            f"{row['num_filters']}/{before}" if before else "",
            f"{row['num_learnables']:,}",
            change_text(row["learnables_reduction"]),
            f"{row['macs']:,}",
        ]
        table.add_row(*map(Text, cells))
    return table


def frozen_note(layers: pd.DataFrame) -> Text:
    """
    Return which layers have filters that cannot be removed, and why.

    Parameters
    ----------
    layers : DataFrame
        As `TaylorPruner.analyze` returns it.

    Returns
    -------
    Text
        A line per reason; empty if everything can be pruned.
    """
    frozen = layers[layers["blocked_by"] != ""]
    lines = []
    for reason, names in frozen.groupby("blocked_by", sort=False)["name"]:
        first = ", ".join(names[:_MAX_NAMES])
        more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
        lines.append(Text.assemble(("Frozen: ", "bold"), f"{first}{more} ({reason})"))
    return Text("\n").join(lines)


def comparison_table(comparison: Comparison) -> Table:
    """
    Return the dense and the pruned net side by side, or what else was fitted.

    Parameters
    ----------
    comparison : Comparison
        The numbers.

    Returns
    -------
    Table
        A row per quantity.
    """
    names = list(comparison.measured)
    table = new_table("Before and after" if len(names) > 1 else "Measured")
    table.add_column("")
    for heading in (*names, "change") if len(names) > 1 else names:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, values, show, tell in _rows(comparison):
        change = [tell(*values)] if len(values) > 1 else []
        table.add_row(name, *map(show, values), *change)
    return table


_Row = tuple[str, list[Any], Callable[[Any], str], Callable[[Any, Any], str]]


def _rows(comparison: Comparison) -> Iterator[_Row]:
    """Yield each quantity: its name, values, how they are shown, and how their change is told."""
    measured = list(comparison.measured.values())
    where = f"on {comparison.num_test} test samples"
    shown: list[tuple[str, str, Callable[[Any], str], Callable[[Any, Any], str]]] = [
        ("test_accuracy", f"accuracy {where}", lambda value: percent_text(value, 2), _points),
        ("r2", f"R² {where}", lambda value: f"{value:.4f}", lambda a, b: f"{b - a:+.4f}".replace("-", "−")),
        ("mse", "mean squared error", lambda value: f"{value:.6g}", _change),
        ("params", "parameters", lambda value: f"{value:,}", _change),
        ("macs", "multiply-adds for one sample", lambda value: f"{value:,}", _change),
        ("filters", "filters", lambda value: f"{value:,}", _change),
        ("file_bytes", "file size in bytes", lambda value: f"{value:,}", _change),
    ]
    for key, name, show, tell in shown:
        values = [getattr(one, key) for one in measured]
        if None not in values:
            yield name, values, show, tell
    latencies = [one.latency_ms for one in measured if one.latency_ms is not None]
    for size in latencies[0] if latencies else ():
        yield f"latency in ms, batch of {size}", [one[size] for one in latencies], lambda ms: f"{ms:.3f}", _change


def _points(before: float, after: float) -> str:
    return f"{100 * (after - before):+.2f} points".replace("-", "−")


def _change(before: float, after: float) -> str:
    return change_text(1 - after / before) if before else ""


def new_table(title: str) -> Table:
    """Return an empty table, narrow enough for 80 columns."""
    return Table(
        box=box.SIMPLE_HEAD,
        title=title,
        title_justify="left",
        title_style="bold cyan",
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
