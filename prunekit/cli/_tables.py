"""Tables and trees on the terminal; the numbers come ready from `prunekit.pipeline`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from prunekit._words import STOP_REASONS, bytes_text, change_text, count_text, percent_text
from prunekit.pipeline._problems import shown
from prunekit.pipeline.comparing import RunsComparison
from prunekit.pipeline.diagrams import Part
from prunekit.pipeline.tables import frozen_note, new_table

_LONGEST_NAMES = {100: 24, 130: 36}
"""Most characters of a dotted path on terminals that are narrower than a width."""
_LONGEST_NAME = 60
_PADDING = 2
_MOST_LISTED = 4
_LABEL_WIDTH, _RUN_WIDTH = 32, 25


@dataclass(frozen=True)
class _Column:
    """A column of a table; of those that do not fit the ones with the highest rank are left out."""

    heading: str
    cells: list[str]
    footer: str = ""
    rank: int = 0
    is_text: bool = False

    @property
    def width(self) -> int:
        return max(map(len, (self.heading, self.footer, *self.cells))) + _PADDING


def diagram_tree(part: Part) -> list[Text]:
    """Return an estimator as a tree, a line for each part and each parameter that is no default."""
    return [_part_line(part), *_branches(part)]


def _part_line(part: Part) -> Text:
    role = "" if part.role in ("", part.kind) else f"{part.role}: " if part.kind else part.role
    return Text.assemble(role, (part.kind, "bold cyan"))


def _branches(part: Part) -> Iterator[Text]:
    lines = [(Text.assemble((name, "green"), f" = {text}"), None) for name, text in part.parameters.items()]
    items: list[tuple[Text, Part | None]] = [*lines, *((_part_line(inner), inner) for inner in part.parts)]
    for number, (line, inner) in enumerate(items, start=1):
        fork, bar = ("└── ", "    ") if number == len(items) else ("├── ", "│   ")
        yield Text(fork, style="dim") + line
        for below in _branches(inner) if inner is not None else ():
            yield Text(bar, style="dim") + below


def analysis_tables(table: pd.DataFrame, compression: bool, width: int) -> Iterator[RenderableType]:
    """Yield the table that `analyze_target` returned, and what is to be said of it, for a terminal of some width."""
    subject = str(table.attrs["subject"])
    title = subject[:1].upper() + subject[1:]
    if table.attrs["level"] == "reason":
        yield from (Text(title, style="bold cyan"), *_reasons(table))
        return
    longest = next((most for below, most in _LONGEST_NAMES.items() if width < below), _LONGEST_NAME)
    columns, notes = (_COMPRESSION if compression else _ANALYSIS)[table.attrs["level"]](table, longest)
    wide, left_out = _fitting(columns, width)
    yield _table(title, wide)
    units = [f"{heading}: {unit}" for heading, unit in _UNITS.items() if heading in {column.heading for column in wide}]
    lines = ["; ".join(units)] if units else []
    if left_out:
        lines.append(f"Left out for want of width: {', '.join(left_out)}; --json and --out have all.")
    for note in (*(Text(line, style="dim") for line in lines), *notes):
        if note:
            yield note


_UNITS = {
    "params": "parameters",
    "MACs": "multiply-adds for one sample",
    "memory": "parameters, buffers and output for one sample",
    "prunable": "filters that may be removed",
    "removable": "filters that may be removed at most",
    "params cut": "what goes of them if all of these do",
    "params saved": "parameters that go with the unit alone",
    "MACs saved": "multiply-adds for one sample that go with it",
}

Columns = tuple[list[_Column], list[Text]]


def _layer_columns(table: pd.DataFrame, longest: int) -> Columns:
    shown_rows = table[(table["num_learnables"] > 0) | (table["macs"] > 0)]
    names = [short_name(name, longest) for name in shown_rows["name"]]
    shapes = ["×".join(map(str, (size or ())[1:])) for size in shown_rows["activation_size"]]
    columns = [
        _Column("layer", names, "total", is_text=True),
        _Column("type", list(shown_rows["type"]), rank=1, is_text=True),
        _Column("output", shapes, rank=4),
        *_cost_columns(shown_rows, table.attrs["totals"], int(table["num_prunable"].sum())),
    ]
    return columns, [frozen_note(table)]


def _module_columns(table: pd.DataFrame, longest: int) -> Columns:
    names = [f"{'  ' * row['depth']}{row['name'].rpartition('.')[2]}" for row in table.to_dict("records")]
    columns = [
        _Column("module", names, is_text=True),
        _Column("type", list(table["type"]), rank=1, is_text=True),
        _Column("layers", [f"{count:,}" for count in table["num_layers"]], rank=4),
        *_cost_columns(table, {}, 0),
    ]
    return columns, []


def _cost_columns(table: pd.DataFrame, totals: dict[str, Any], num_prunable: int) -> list[_Column]:
    """Return filters, parameters, multiply-adds and memory, with what changed if something did."""
    is_pruned = bool((table["num_pruned_filters"] > 0).any())
    filters = []
    for left, gone in zip(table["num_filters"], table["num_pruned_filters"], strict=True):
        before = f"/{left + gone:,}" if is_pruned else ""
        filters.append(f"{left:,}{before}" if left + gone else "")
    total = {name: totals.get(name, {}) for name in ("filters", "params", "macs", "memory_bytes")}
    of_all = ""
    if total["filters"]:
        of_all = f"{total['filters']['after']:,}" + (f"/{total['filters']['before']:,}" if is_pruned else "")
    prunable = [f"{count:,}" if made else "" for count, made in zip(table["num_prunable"], filters, strict=True)]
    columns = [
        _Column("filters", filters, of_all),
        _Column("prunable", prunable, f"{num_prunable:,}" if totals else "", rank=0 if not is_pruned else 5),
    ]
    for heading, column, name, rank in (("params", "learnables", "params", 0), ("MACs", "macs", "macs", 0)):
        counts = table["num_learnables" if name == "params" else "macs"]
        known = total[name]
        columns.append(_Column(heading, [count_text(one) for one in counts], _after(known, count_text), rank))
        if is_pruned:
            changes = [change_text(one) for one in table[f"{column}_reduction"]]
            columns.append(_Column("change", changes, change_text(known["reduction"]) if known else "", rank + 2))
    memory = [bytes_text(one) for one in table["memory_bytes"]]
    return [*columns, _Column("memory", memory, _after(total["memory_bytes"], bytes_text), rank=3)]


def _after(total: dict[str, Any], text: Callable[[float], str]) -> str:
    return text(total["after"]) if total else ""


def _unit_columns(table: pd.DataFrame, longest: int) -> Columns:
    columns = [
        _Column("unit", [str(unit) for unit in table["unit"]]),
        _Column("first layer", [short_name(name, longest) for name in table["layer"]], is_text=True),
        _Column("filters", [str(count) for count in table["num_filters"]]),
        _Column("params saved", [count_text(one) for one in table["params_saved"]]),
        _Column("MACs saved", [count_text(one) for one in table["macs_saved"]]),
    ]
    if table["importance"].notna().any():
        columns.append(_Column("importance", [f"{value:.3g}" for value in table["importance"]], rank=1))
    if table["removed"].any():
        columns.append(_Column("removed", ["yes" if gone else "no" for gone in table["removed"]]))
    totals = table.attrs["totals"]
    left = f"{(~table['removed']).sum():,} of {len(table):,} units are there; with them the network has "
    costs = (
        f"{count_text(totals['params']['after'])} parameters and {count_text(totals['macs']['after'])} multiply-adds."
    )
    return columns, [Text(left + costs)]


def _compression_columns(table: pd.DataFrame, longest: int) -> Columns:
    totals = table.attrs["totals"]
    filters, params, macs = (totals[name] for name in ("filters", "params", "macs"))
    columns = [
        _Column("layer", [short_name(name, longest) for name in table["name"]], "total", is_text=True),
        _Column("type", list(table["type"]), rank=4, is_text=True),
        _Column("filters", [f"{one:,}" for one in table["num_filters"]], f"{filters['before']:,}"),
        _Column(
            "removable", [f"{one:,}" for one in table["num_removable"]], f"{filters['before'] - filters['after']:,}"
        ),
        _Column("params", [count_text(one) for one in table["num_learnables"]], count_text(params["before"])),
        _Column("params cut", _changes(table["max_learnables_reduction"]), change_text(params["reduction"])),
        _Column("MACs", [count_text(one) for one in table["macs"]], count_text(macs["before"]), rank=3),
        _Column("MACs cut", _changes(table["max_macs_reduction"]), change_text(macs["reduction"]), rank=2),
    ]
    advice = dict.fromkeys(text for text in table["advice"] if text)
    return columns, [frozen_note(table), *(Text.assemble(("What to do: ", "bold"), text) for text in advice)]


def _changes(reductions: pd.Series) -> list[str]:
    return [change_text(one) for one in reductions]


def _reasons(table: pd.DataFrame) -> Iterator[RenderableType]:
    """Yield what blocks filters, what to do, and what could go as it is."""
    for number, row in enumerate(table.to_dict("records"), start=1):
        where = row["location"] or row["module"]
        reason = Text.assemble((str(row["reason"]), "bold"), f" in {where}" if where else "")
        count = f"{_counted(row['num_filters'], 'filter')} of {_counted(row['num_layers'], 'layer')}"
        lines = (reason, Text(f"{count}: {_some(row['layers'])}", style="dim"), Text(row["advice"]))
        entry = Table.grid(padding=(0, 1, 0, 0))
        entry.add_row(f"{number}.", Text("\n").join(lines))
        yield entry
    cuts = {name: percent_text(table.attrs["totals"][name]["reduction"]) for name in ("params", "macs")}
    yield Text(f"As it is, at most {cuts['params']} of the parameters and {cuts['macs']} of the multiply-adds can go.")


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_LISTED} more" if len(names) > _MOST_LISTED else ""
    return f"{', '.join(names[:_MOST_LISTED])}{more}"


_ANALYSIS = {"layer": _layer_columns, "module": _module_columns, "unit": _unit_columns}
_COMPRESSION = {"layer": _compression_columns}


def short_name(name: str, longest: int) -> str:
    """Return a dotted path that is not longer; parts in its middle go first, for its ends tell most."""
    if len(name) <= longest:
        return name
    parts = name.split(".")
    for gone in range(1, len(parts) - 1):
        short = ".".join([parts[0], "…", *parts[1 + gone :]])
        if len(short) <= longest:
            return short
    return f"…{name[len(name) - longest + 1 :]}"


def _fitting(columns: list[_Column], width: int) -> tuple[list[_Column], list[str]]:
    """Return the columns that fit into a width, and the headings of those that do not."""
    kept = list(columns)
    while sum(column.width for column in kept) + 1 > width and any(column.rank for column in kept):
        kept.remove(max(kept, key=lambda column: column.rank))
    return kept, list(dict.fromkeys(column.heading for column in columns if column not in kept))


def _table(title: str, columns: list[_Column]) -> Table:
    table = new_table(escape(title))
    table.show_footer = any(column.footer for column in columns)
    for column in columns:
        footer = Text(column.footer, style="bold")
        if column.is_text:
            table.add_column(column.heading, footer, overflow="fold")
        else:
            table.add_column(column.heading, footer, justify="right", no_wrap=True)
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*map(Text, cells))
    return table


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
