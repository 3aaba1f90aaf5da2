"""Tables of a run for the terminal; the numbers come ready from the runner."""

from collections.abc import Iterator

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from prunekit._words import change_text, percent_text
from prunekit.pipeline._results import Comparison

__all__ = ["comparison_table", "frozen_note", "layer_table"]

_MAX_NAMES = 4


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
    table.add_column("type", no_wrap=True)
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
    Return the dense and the pruned net side by side.

    Parameters
    ----------
    comparison : Comparison
        The numbers.

    Returns
    -------
    Table
        A row per quantity.
    """
    dense, pruned = comparison.dense, comparison.pruned
    table = new_table("Before and after")
    table.add_column("")
    for heading in ("dense", "pruned", "change"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in _score_rows(comparison):
        table.add_row(*row)
    for name, before, after in (
        ("parameters", dense.params, pruned.params),
        ("multiply-adds for one sample", dense.macs, pruned.macs),
        ("filters", dense.filters, pruned.filters),
        ("file size in bytes", dense.file_bytes, pruned.file_bytes),
    ):
        table.add_row(name, f"{before:,}", f"{after:,}", change_text(1 - after / before))
    for size, before_ms in dense.latency_ms.items():
        after_ms = pruned.latency_ms[size]
        table.add_row(
            f"latency in ms, batch of {size}",
            f"{before_ms:.3f}",
            f"{after_ms:.3f}",
            change_text(1 - after_ms / before_ms),
        )
    return table


def _score_rows(comparison: Comparison) -> Iterator[tuple[str, str, str, str]]:
    """Yield what the nets are worth on the test data."""
    dense, pruned, where = comparison.dense, comparison.pruned, f"on {comparison.num_test} test samples"
    if dense.test_accuracy is not None and pruned.test_accuracy is not None:
        points = 100 * (pruned.test_accuracy - dense.test_accuracy)
        before, after = (percent_text(accuracy, 2) for accuracy in (dense.test_accuracy, pruned.test_accuracy))
        yield f"accuracy {where}", before, after, f"{points:+.2f} points".replace("-", "−")
    if dense.r2 is not None and pruned.r2 is not None:
        yield f"R² {where}", f"{dense.r2:.4f}", f"{pruned.r2:.4f}", f"{pruned.r2 - dense.r2:+.4f}".replace("-", "−")
    if dense.mse is not None and pruned.mse is not None:
        change = change_text(1 - pruned.mse / dense.mse) if dense.mse else ""
        yield "mean squared error", f"{dense.mse:.6g}", f"{pruned.mse:.6g}", change


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
