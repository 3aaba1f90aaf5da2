"""From the content to what the template and the script of the page need."""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from prunekit._words import bytes_text, change_text, count_text, percent_text
from prunekit.cost import dense_counts
from prunekit.reporting._content import ReportContent
from prunekit.surgery import PruningPlan
from prunekit.tracing import NetworkMap

_WHOLE = "(the network itself)"
"""Stands beside the class of the outermost module, which has no path."""


@dataclass(frozen=True)
class Cell:
    """
    A cell of a table.

    Parameters
    ----------
    text : str
        What stands in it.
    value : str or float
        What it is sorted by.
    share : float, default=None
        Length of its bar, from 0 to 1.
    """

    text: str
    value: str | float
    share: float | None = None


@dataclass(frozen=True)
class Column:
    """
    A column of a table.

    Parameters
    ----------
    heading : str
        Its heading.
    is_number : bool
        Whether it is set flush right.
    help : str
        What it means.
    """

    heading: str
    is_number: bool = False
    help: str = ""


@dataclass(frozen=True)
class Card:
    """
    A number of the summary.

    Parameters
    ----------
    name : str
        What it counts.
    after, before, change : str
        Its values; `before` and `change` are empty where nothing is removed.
    share : float
        What is left, from 0 to 1.
    """

    name: str
    after: str
    before: str
    change: str
    share: float


@dataclass(frozen=True)
class PlanRow:
    """
    What goes along one dimension of a parameter.

    Parameters
    ----------
    tensor : str
        Name of the parameter or buffer.
    dim, before, after : int
        Dimension, and its size before and after.
    removed : str
        Indices that are removed, with ranges.
    """

    tensor: str
    dim: int
    before: int
    after: int
    removed: str


_QUANTITIES = {
    "params": "Parameters",
    "macs": "Multiply-adds for one sample",
    "filters": "Filters",
    "memory_bytes": "Memory for one sample",
}


def make_cards(content: ReportContent) -> list[Card]:
    """Return the numbers of the summary."""
    cards = []
    for key, name in _QUANTITIES.items():
        if key not in content.totals:
            continue
        total = content.totals[key]
        shown: Callable[[float], str] = bytes_text if key == "memory_bytes" else count_text
        before, after = total["before"], total["after"]
        change = change_text(total["reduction"]) if content.is_pruned else ""
        cards.append(
            Card(
                name,
                shown(after),
                shown(before) if content.is_pruned else "",
                change,
                after / before if before else 1.0,
            )
        )
    return cards


def layer_columns(is_pruned: bool) -> list[Column]:
    """Return the columns of the layer table."""
    changes = (
        [Column("Change of\u00a0parameters", True, "Fraction of the layer's parameters that is gone")]
        if is_pruned
        else []
    )
    macs = [Column("Change of\u00a0MACs", True, "Fraction of its multiply-adds that is gone")] if is_pruned else []
    return [
        Column("Layer", help="Dotted name of the module"),
        Column("Type", help="Its class"),
        Column("Output", help="Shape of what it returns for one sample"),
        Column("Filters", True, "Filters that are left, of those there were" if is_pruned else "Filters of the layer"),
        Column("Prunable", True, "Filters that could still go"),
        Column("Parameters", True),
        *changes,
        Column("MACs", True, "Multiply-adds for one sample"),
        *macs,
        Column("Memory", True, "Bytes of the weights and of the output for one sample"),
        Column("Blocked by", help="Why the other filters cannot go"),
    ]


def layer_rows(content: ReportContent) -> list[list[Cell]]:
    """Return the cells of the layer table."""
    rows = [_layer_cells(row, content.is_pruned) for row in content.table.to_dict("records")]  # type: ignore[arg-type]
    whole = _row_of_whole(content)
    if whole is not None:
        rows[whole][0] = replace(rows[whole][0], text=f"{rows[whole][0].text} {_WHOLE}")
    return rows


def _row_of_whole(content: ReportContent) -> int | None:
    """Return the number of the row of the network itself, which the table calls by its class; None if it has none."""
    if content.network is None:
        return None
    name = content.network.types[""]
    found = np.flatnonzero((content.table["name"] == name) & (content.table["type"] == name))
    num_others = int(content.network.types.get(name) == name)  # a module of that name and class, which runs before
    return int(found[-1]) if found.size > num_others else None


def _layer_cells(row: dict[str, Any], is_pruned: bool) -> list[Cell]:
    """Return the cells of a row of the layer table."""
    filters, gone = int(row["num_filters"]), int(row["num_pruned_filters"])
    shape = row["activation_size"]
    sizes = tuple(shape)[1:] if isinstance(shape, tuple | list) else ()
    left = f"{filters:,} / {filters + gone:,}" if is_pruned and filters + gone else f"{filters:,}" if filters else "–"
    cells = [
        Cell(row["name"], row["name"]),
        Cell(row["type"], row["type"]),
        Cell("×".join(map(str, sizes)) or "–", float(np.prod(sizes)) if sizes else 0.0),
        Cell(left, filters),
        Cell(f"{row['num_prunable']:,}" if filters else "–", int(row["num_prunable"])),
        Cell(f"{row['num_learnables']:,}", int(row["num_learnables"])),
    ]
    if is_pruned:
        cells.append(_change_cell(row["learnables_reduction"]))
    cells.append(Cell(f"{row['macs']:,}", int(row["macs"])))
    if is_pruned:
        cells.append(_change_cell(row["macs_reduction"]))
    cells.append(Cell(bytes_text(row["memory_bytes"]), int(row["memory_bytes"])))
    cells.append(Cell(row["blocked_by"] or "", row["blocked_by"] or ""))
    return cells


def _change_cell(reduction: float) -> Cell:
    return Cell(change_text(reduction), float(reduction), float(min(max(reduction, 0.0), 1.0)))


def script_data(content: ReportContent, columns: list[Column], rows: list[list[Cell]]) -> dict[str, Any]:
    """Return what the script draws the graph from."""
    network = content.network
    table = content.table
    before = dense_counts(table["num_learnables"], table["learnables_reduction"]).astype(np.int64).tolist()
    paths = table["name"].to_list()
    whole = _row_of_whole(content)
    if whole is not None:
        paths[whole] = ""
    data: dict[str, Any] = {
        "pruned": content.is_pruned,
        "columns": [column.heading for column in columns],
        "rows": [
            {
                "name": name,
                "path": path,
                "cells": [cell.text for cell in cells],
                "params": int(params),
                "before": was,
                "filters": int(filters),
                "gone": int(gone),
                "prunable": int(prunable),
                "blocked": blocked or "",
            }
            for name, path, cells, params, was, filters, gone, prunable, blocked in zip(
                table["name"],
                paths,
                rows,
                table["num_learnables"],
                before,
                table["num_filters"],
                table["num_pruned_filters"],
                table["num_prunable"],
                table["blocked_by"],
                strict=True,
            )
        ],
    }
    if network is not None:
        data |= _network_data(network)
    return data


def _network_data(network: NetworkMap) -> dict[str, Any]:
    names = list(
        dict.fromkeys([*network.coupling.together, *(one for own in network.coupling.along.values() for one in own)])
    )
    number_of = {name: number for number, name in enumerate(names)}
    sets: dict[tuple[int, ...], int] = {}

    def listed(coupled: dict[str, tuple[str, ...]]) -> dict[str, int]:
        """Return numbers of sets, which many layers share once a layer counts as coupled with itself."""
        return {
            name: sets.setdefault(tuple(sorted({number_of[name], *(number_of[one] for one in own)})), len(sets))
            for name, own in coupled.items()
            if own
        }

    together, along = listed(network.coupling.together), listed(network.coupling.along)
    return {
        "nodes": [[node.kind, node.module, node.label, node.call] for node in network.flow.nodes],
        "edges": [list(edge) for edge in network.flow.edges],
        "types": network.types,
        "names": names,
        "sets": [list(one) for one in sets],
        "together": together,
        "along": along,
    }


def plan_rows(plan: PruningPlan | None) -> list[PlanRow]:
    """Return what a plan removes."""
    if plan is None:
        return []
    rows = []
    for entry in plan.kept:
        gone = np.setdiff1d(np.arange(entry.size), np.array(entry.indices, dtype=np.int64)).tolist()
        rows.append(PlanRow(entry.tensor, entry.dim, entry.size, len(entry.indices), ranges(gone)))
    return rows


def history_table(content: ReportContent) -> tuple[list[Column], list[list[Cell]]]:
    """Return the columns and the rows of the history, with outcomes for whether the thresholds held."""
    if content.history is None:
        return [], []
    history = content.history.assign(held=content.outcomes).rename(columns={"held": "outcome"})
    shown = [column for column in history.columns if not history[column].isna().all()]
    columns = [Column(name.replace("_", " "), history[name].dtype.kind in "iuf") for name in shown]
    return columns, [[_history_cell(name, row[name]) for name in shown] for _, row in history.iterrows()]


def _history_cell(name: str, value: Any) -> Cell:
    if isinstance(value, str):
        return Cell(value, value)
    number = float(value)
    if math.isnan(number):
        return Cell("–", -math.inf)
    if name.startswith(("reduction", "target")):
        return Cell(percent_text(number), number)
    if name.endswith("_bytes"):
        return Cell(bytes_text(number), number)
    return Cell(f"{number:,.0f}" if number == round(number) and abs(number) < 1e15 else f"{number:.4g}", number)


def ranges(indices: Iterable[int]) -> str:
    """
    Return ascending numbers with ranges, such as "0–3, 7".

    Parameters
    ----------
    indices : iterable of int
        The numbers.

    Returns
    -------
    str
        Empty for none.
    """
    parts: list[list[int]] = []
    for index in indices:
        if parts and index == parts[-1][1] + 1:
            parts[-1][1] = index
        else:
            parts.append([index, index])
    return ", ".join(f"{first}" if first == last else f"{first}–{last}" for first, last in parts)
