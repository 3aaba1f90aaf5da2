"""The tables for the terminal, letter by letter."""

import pandas as pd
import pytest
from rich.console import Console

from prunekit.pipeline._results import Comparison, Measurement
from prunekit.pipeline.tables import comparison_table, frozen_note, layer_table

LAYERS = pd.DataFrame(
    [
        ("stages.0.0", "Conv2d", (30, 8, 8), 270, 0.0625, 2, 30, 17280, ""),
        ("stages.0.1", "BatchNorm2d", (30, 8, 8), 60, 0.0625, 0, 0, 1920, ""),
        ("stages.0.2", "ReLU", (30, 8, 8), 0, 0.0, 0, 0, 0, ""),
        ("linear", "Linear", (10,), 310, 0.0, 0, 10, 300, "network output"),
        ("[/red]odd", "Other", None, 5, 0.0, 0, 0, 0, ""),
    ],
    columns=[
        "name",
        "type",
        "activation_size",
        "num_learnables",
        "learnables_reduction",
        "num_pruned_filters",
        "num_filters",
        "macs",
        "blocked_by",
    ],
)
COMPARISON = Comparison(
    {
        "dense": Measurement(446, 446 / 450, 288_170, 5_000_000, 448, 1_160_000, {1: 0.5, 32: 2.0}),
        "pruned": Measurement(444, 444 / 450, 57_634, 1_000_000, 224, 240_000, {1: 0.25, 32: 2.5}),
    },
    num_test=450,
    num_threads=2,
)


def printed(table, width):
    """Return the lines of a table on a console of some width, without blanks at their ends."""
    console = Console(width=width, highlight=False)
    with console.capture() as capture:
        console.print(table)
    return [line.rstrip() for line in capture.get().splitlines()]


@pytest.mark.parametrize("width", [80, 120])
def test_layer_table(width):
    assert printed(layer_table(LAYERS), width) == [
        "Layers with parameters",
        "",
        " layer       type         output  filters  params  change    MACs",
        " ────────────────────────────────────────────────────────────────",
        " stages.0.0  Conv2d          8×8    30/32     270  −6.2 %  17,280",
        " stages.0.1  BatchNorm2d     8×8               60  −6.2 %   1,920",
        " linear      Linear                 10/10     310     0 %     300",
        " [/red]odd   Other                              5     0 %       0",
        "",
    ]


@pytest.mark.parametrize("width", [80, 120])
def test_comparison_table(width):
    assert printed(comparison_table(COMPARISON), width) == [
        "Before and after",
        "",
        "                                   dense     pruned        change",
        " ────────────────────────────────────────────────────────────────",
        " accuracy on 450 test samples    99.11 %    98.67 %  −0.44 points",
        " parameters                      288,170     57,634       −80.0 %",
        " multiply-adds for one sample  5,000,000  1,000,000       −80.0 %",
        " filters                             448        224       −50.0 %",
        " file size in bytes            1,160,000    240,000       −79.3 %",
        " latency in ms, batch of 1         0.500      0.250       −50.0 %",
        " latency in ms, batch of 32        2.000      2.500       +25.0 %",
        "",
    ]


def test_long_names_are_folded_not_cut():
    table = LAYERS.assign(name="encoder.blocks.11.attention.projection.")
    text = "".join(line.split("  ")[0].strip() for line in printed(layer_table(table), 60))
    assert text.count("encoder.blocks.11.attention.projection.") == 4


def test_frozen_note_groups_by_reason():
    assert printed(frozen_note(LAYERS), 80) == ["Frozen: linear (network output)"]
    table = pd.DataFrame({"name": list("abcdefg"), "blocked_by": ["x"] * 6 + ["y"]})
    assert printed(frozen_note(table), 80) == ["Frozen: a, b, c, d and 2 more (x)", "Frozen: g (y)"]


def test_nothing_frozen():
    assert str(frozen_note(LAYERS.assign(blocked_by=""))) == ""
