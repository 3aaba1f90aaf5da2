"""What `prunekit analyze` shows on the terminal; the numbers come ready from `prunekit.pipeline`."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from prunekit._words import bytes_text, change_text, count_text, percent_text
from prunekit.pipeline.tables import frozen_note, new_table

_LONGEST_NAMES = {100: 24, 130: 36}
"""Most characters of a dotted path on terminals that are narrower than a width."""
_LONGEST_NAME = 60
_PADDING = 2
_MOST_LISTED = 4


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
