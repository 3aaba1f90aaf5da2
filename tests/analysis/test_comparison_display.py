"""What `ComparisonDisplay` draws, read from the artists."""

import sys

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.colors import to_rgba

from prunekit import ComparisonDisplay, compare
from prunekit.exceptions import MissingDependencyError, ParameterError, ParameterTypeError
from tests.nets import PlainCNN

QUICK = {"batch_sizes": [1], "repeats": 2}


@pytest.fixture(scope="module")
def table():
    torch.manual_seed(0)
    dense, compact = PlainCNN(), PlainCNN()
    X, y = torch.randn(40, 3, 8, 8), torch.arange(40) % 4
    return compare(dense, compact, X, y, batch_sizes=[1, 4], repeats=3)


@pytest.fixture
def halved(table):
    """The table with half of every resource gone."""
    halved = table.copy()
    resources = halved["reduction"].notna()
    for end in ("", "_low", "_high"):
        halved.loc[resources, f"compact{end}"] = halved.loc[resources, f"dense{end}"] / 2
    halved.loc[resources, "reduction"] = 0.5
    return halved


def test_bars_are_percent_of_the_dense_network(halved):
    display = ComparisonDisplay.from_table(halved)

    assert [bar.get_width() for bar in display.dense_bars_] == pytest.approx([100] * 6)
    assert [bar.get_width() for bar in display.compact_bars_] == pytest.approx([50] * 6)
    assert display.ax_.get_xlim()[0] == 0
    assert display.ax_.get_xlim()[1] >= 104


def test_scores_have_their_intervals(table):
    display = ComparisonDisplay.from_table(table)

    for container, name, rows in (
        (display.dense_scores_, "dense", ["accuracy"]),
        (display.compact_scores_, "compact", ["accuracy", "agreement"]),
    ):
        line, _, (bars,) = container.lines
        assert line.get_xdata() == pytest.approx(100 * table.loc[rows, name].to_numpy())
        ends = np.array([segment[:, 0] for segment in bars.get_segments()])
        assert ends == pytest.approx(100 * table.loc[rows, [f"{name}_low", f"{name}_high"]].to_numpy())


def test_every_row_is_named_and_told_in_numbers(halved):
    display = ComparisonDisplay.from_table(halved)

    names = [label.get_text() for label in display.ax_.get_yticklabels()]
    assert names == [
        "Parameters",
        "Multiply-adds",
        "File size",
        "Peak activation memory",
        "Latency, batch of 1",
        "Latency, batch of 4",
        "Accuracy",
        "Agreement",
    ]
    texts = [text.get_text() for text in display.texts_]
    assert len(texts) == len(names)
    assert all("−50.0" in text for text in texts[:6])
    assert texts[0].startswith("910 → 455")
    accuracy = halved.loc["accuracy"]
    assert f"{100 * accuracy['dense']:.1f}" in texts[6]
    assert "points [" in texts[6]
    assert display.ax_.get_xlabel()
    assert display.ax_.get_title(loc="left")


def test_the_two_networks_differ_without_colour(table):
    display = ComparisonDisplay.from_table(table)

    assert all(bar.get_hatch() for bar in display.dense_bars_)
    assert not any(bar.get_hatch() for bar in display.compact_bars_)
    assert display.dense_scores_[0].get_marker() != display.compact_scores_[0].get_marker()
    legend = display.ax_.get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["dense", "compacted"]


def test_nothing_lies_over_something_else_or_outside_of_the_figure(table):
    display = ComparisonDisplay.from_table(table)
    figure = display.figure_
    figure.canvas.draw()

    title = next(text for text in (display.ax_.title, display.ax_._left_title) if text.get_text())
    boxes = [artist.get_window_extent() for artist in (title, display.ax_.get_legend(), *display.texts_)]
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.width + 1
        assert box.y1 <= figure.bbox.height + 1


def test_a_slower_network_is_longer_than_the_dense_one(halved):
    halved.loc["latency_ms_batch_1", ["compact", "compact_low", "compact_high"]] = [
        2 * value for value in halved.loc["latency_ms_batch_1", ["dense", "dense_low", "dense_high"]]
    ]
    halved.loc["latency_ms_batch_1", "reduction"] = -1.0
    display = ComparisonDisplay.from_table(halved)

    assert display.compact_bars_[4].get_width() == pytest.approx(200)
    assert display.ax_.get_xlim()[1] > 200
    assert "+100.0" in display.texts_[4].get_text()


def test_some_rows_only(table):
    resources = ComparisonDisplay.from_table(table.loc[["params", "macs"]])
    scores = ComparisonDisplay.from_table(table.loc[["accuracy"]])

    assert resources.dense_scores_ is resources.compact_scores_ is None
    assert scores.dense_bars_ is scores.compact_bars_ is None
    assert len(scores.texts_) == 1


def test_axes_and_style_of_the_user(table):
    _, ax = plt.subplots()
    display = ComparisonDisplay(table)

    assert display.plot(ax, color="black") is display
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    assert display.compact_bars_[0].get_facecolor() == to_rgba("black")


def test_from_estimators_measures_and_draws():
    torch.manual_seed(0)
    net, X = PlainCNN(), torch.randn(6, 3, 8, 8)
    display = ComparisonDisplay.from_estimators(net, net, X, torch.arange(6) % 4, batch_sizes=[2])

    expected = compare(net, net, X, torch.arange(6) % 4, **QUICK)
    pd.testing.assert_series_equal(display.table.loc["accuracy"], expected.loc["accuracy"])
    assert "latency_ms_batch_2" in display.table.index
    assert len(display.compact_bars_) == 5


def test_missing_matplotlib(table, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(MissingDependencyError, match=r"ComparisonDisplay.plot needs matplotlib.*prunekit\[plot\]"):
        ComparisonDisplay(table).plot()
    with pytest.raises(MissingDependencyError, match=r"ComparisonDisplay.from_estimators needs matplotlib"):
        ComparisonDisplay.from_estimators(None, None, None)


def test_errors(table):
    with pytest.raises(ParameterTypeError, match=r"must be a DataFrame that compare returned. Got dict"):
        ComparisonDisplay({})
    with pytest.raises(ParameterError, match=r"Got a table without 'reduction'"):
        ComparisonDisplay(table.drop(columns="reduction"))
    with pytest.raises(ParameterError, match="Got a table without rows"):
        ComparisonDisplay(table.iloc[:0])
