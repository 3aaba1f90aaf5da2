"""What `prunekit compare` shows on the terminal; the numbers come ready from `prunekit.pipeline`."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from prunekit._words import STOP_REASONS, bytes_text, count_text, percent_text
from prunekit.pipeline._problems import shown
from prunekit.pipeline.comparing import RunsComparison
from prunekit.pipeline.tables import new_table

_LABEL_WIDTH, _RUN_WIDTH = 32, 25


def settings_table(comparison: RunsComparison) -> Iterator[RenderableType]:
    """Yield what differs between the experiments."""
    settings = comparison.settings
    if settings.empty:
        yield Text("The experiments are the same.")
        return
    table = new_table("What differs in the experiments")
    table.add_column("key", overflow="fold")
    for label in settings.columns:
        table.add_column(Text(label), overflow="fold")
    for key, row in zip(settings.index, settings.to_numpy(), strict=True):
        table.add_row(Text(key), *(Text("–" if value is pd.NA else _setting(value)) for value in row))
    yield table


def _setting(value: Any) -> str:
    """Return a value as the file has it, shortened where it is long."""
    if value is None:
        return "null"
    return value if isinstance(value, str) else shown(value)


def metric_tables(comparison: RunsComparison, width: int) -> Iterator[RenderableType]:
    """Yield what came out, with as many runs beside the first one as the width has room for."""
    first, *others = comparison.runs.index
    room = max(1, (width - _LABEL_WIDTH - _RUN_WIDTH) // _RUN_WIDTH)
    for start in range(0, len(others), room):
        labels = [first, *others[start : start + room]]
        yield _metric_table(comparison, labels)


def _metric_table(comparison: RunsComparison, labels: list[str]) -> Table:
    table = new_table("What came out")
    table.add_column("", overflow="fold")
    for label in labels:
        table.add_column(Text(label), justify="right", overflow="fold")
    facts = comparison.runs.to_dict("index")
    for heading, text in _FACTS.items():
        table.add_row(heading, *(Text(text(facts[label])) for label in labels))
    rows = {(row["network"], row["measure"], row["run"]): row for row in comparison.metrics.to_dict("records")}
    for network in ("final", "dense"):
        measures = dict.fromkeys(measure for one, measure, run in rows if one == network and run in labels)
        if measures:
            table.add_section()
            table.add_row(Text(f"{network} net", style="bold cyan"))
        for measure in measures:
            cells = [_metric_cell(rows.get((network, measure, label)), label == labels[0]) for label in labels]
            table.add_row(Text(_MEASURES.get(measure, _latency_label(measure))), *cells)
    return table


_MEASURES = {
    "test_accuracy": "accuracy, 95 % interval",
    "r2": "R²",
    "mse": "mean squared error",
    "params": "parameters",
    "macs": "multiply-adds for one sample",
    "filters": "filters",
    "file_bytes": "file size",
}
_COUNTS = ("params", "macs", "filters")


def _latency_label(measure: str) -> str:
    return measure.replace("latency_ms_batch_", "latency in ms, batch of ")


def _reduction(facts: Mapping[Any, Any]) -> str:
    return "" if pd.isna(facts["reduction"]) else f"{percent_text(facts['reduction'])} of {facts['reduction_of']}"


def _known(count: Any) -> str:
    return "" if pd.isna(count) else f"{count:,}"


_FACTS: dict[str, Callable[[Mapping[Any, Any]], str]] = {
    "reduction": _reduction,
    "ended, for": lambda facts: STOP_REASONS.get(facts["stop_reason"], facts["stop_reason"]),
    "test samples": lambda facts: _known(facts["num_test"]),
}


def _metric_cell(row: Mapping[Any, Any] | None, is_first: bool) -> Text:
    """Return a value, how it differs from that of the first run, and its interval."""
    if row is None:
        return Text("–")
    value, difference, ratio = row["value"], row["difference"], row["ratio"]
    if row["measure"] == "test_accuracy":
        text, change, is_known = percent_text(value, 2), f"{100 * difference:+.2f} points", not pd.isna(difference)
    elif row["measure"] == "r2":
        text, change, is_known = f"{value:.4f}", f"{difference:+.4f}", not pd.isna(difference)
    else:
        text, change, is_known = _quantity(row["measure"], value), f"×{ratio:.3g}", not pd.isna(ratio)
    cell = Text.assemble(text, (f"  {change}" if is_known and not is_first else "", "cyan"))
    if not pd.isna(row["low"]):
        cell.append(f"\n{percent_text(row['low'])} to {percent_text(row['high'])}", style="dim")
    return cell


def _quantity(measure: str, value: float) -> str:
    if measure in _COUNTS:
        return count_text(value)
    if measure == "file_bytes":
        return bytes_text(value)
    return f"{value:.3f}" if measure.startswith("latency_ms") else f"{value:.6g}"
