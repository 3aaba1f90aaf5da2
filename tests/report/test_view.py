"""Numbers as they are shown, and the geometry of the plots."""

import copy

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prunekit.reporting._content import Importances
from prunekit.reporting._page import render
from prunekit.reporting._plots import nice_ticks, plot_importances, plot_path
from prunekit.reporting._sources import collect_content
from prunekit.reporting._view import history_table, ranges
from tests.report.nets import fitted_pruner


@given(st.sets(st.integers(0, 60)))
def test_ranges_hold_every_index_once(indices):
    found = []
    for part in filter(None, ranges(sorted(indices)).split(", ")):
        first, _, last = part.partition("–")
        found += range(int(first), int(last or first) + 1)
    assert found == sorted(indices)


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_ticks_enclose_the_interval(a, b):
    low, high = min(a, b), max(a, b)
    ticks = nice_ticks(low, high)
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    assert 2 <= len(ticks) <= 9
    assert np.all(np.diff(ticks) > 0)


def test_path_is_within_its_axes_and_in_the_order_of_reductions():
    pruner = fitted_pruner()
    plot = plot_path(collect_content(pruner, None, None))
    marks = [*plot.kept, *plot.taken_back]
    assert len(marks) == len(pruner.history_)
    assert all(plot.left <= mark.x <= plot.right and plot.top <= mark.y <= plot.bottom for mark in marks)
    held = pruner.history_[pruner.history_["held"]]
    assert [mark.text.split(", ")[0] for mark in plot.kept] == held["phase"].to_list()
    across = np.array([mark.x for mark in plot.kept])
    assert np.corrcoef(across, held["reduction"])[0, 1] == pytest.approx(1.0)
    up = np.array([mark.y for mark in plot.kept])
    if held["score"].nunique() > 1:
        assert np.corrcoef(up, held["score"])[0, 1] == pytest.approx(-1.0)
    assert plot.y_label == "Validation score"


def pruner_with(rows, reached):
    """Return a pruner with a made-up history of iteration, phase, reduction, score and whether the threshold held."""
    pruner = copy.copy(fitted_pruner())
    history = pd.DataFrame(rows, columns=["iteration", "phase", "reduction", "score", "held"])
    history["reduction_params"] = history["reduction"]
    pruner.history_, pruner.baseline_score_, pruner.reductions_ = history, 0.95, {"params": reached}
    return pruner


DENSE = (0, "dense", 0.0, 0.95, True)
HISTORIES = {
    "held": ([DENSE, (1, "prune", 0.2, 0.94, True), (1, "final", 0.2, 0.95, True)], 0.2, ["held"] * 3),
    "recovered": (
        [DENSE, (1, "prune", 0.2, 0.5, False), (1, "recover", 0.2, 0.9, True), (1, "final", 0.2, 0.95, True)],
        0.2,
        ["held", "recovered", "held", "held"],
    ),
    "taken back": (
        [DENSE, (1, "prune", 0.4, 0.5, False), (1, "recover", 0.4, 0.6, False), (2, "prune", 0.2, 0.94, True)],
        0.2,
        ["held", "taken back", "taken back", "held"],
    ),
    "final training taken back": (
        [DENSE, (1, "prune", 0.2, 0.94, True), (1, "final", 0.2, 0.5, False)],
        0.2,
        ["held", "held", "taken back"],
    ),
    "interrupted": (
        [DENSE, (1, "prune", 0.2, 0.94, True), (2, "prune", 0.4, 0.93, True)],
        0.2,
        ["held", "held", "taken back"],
    ),
}


@pytest.mark.parametrize("kind", HISTORIES)
def test_plot_table_and_summary_tell_what_became_of_each_row(kind):
    rows, reached, words = HISTORIES[kind]
    content = collect_content(pruner_with(rows, reached), None, None)
    columns, cells = history_table(content)
    place = [column.heading for column in columns].index("outcome")
    assert [row[place].text for row in cells] == words
    plot = plot_path(content)
    marks = {"held": plot.kept, "recovered": plot.recovered, "taken back": plot.taken_back}
    for word, own in marks.items():
        scores = [row[3] for row, outcome in zip(rows, words, strict=True) if outcome == word]
        assert [mark.text.rpartition(" ")[2] for mark in own] == [f"{score:.4f}" for score in scores]
    assert len(plot.line.split(" ")) == len(rows) - words.count("taken back")
    last = [row for row, word in zip(rows, words, strict=True) if word != "taken back"][-1]
    assert content.facts["Validation score"] == f"0.9500 before, {last[3]:.4f} after"
    assert content.facts["Reduction reached"] == f"{100 * last[2]:.1f} % of parameters"


def test_page_tells_recovered_from_taken_back():
    texts = {kind: render(collect_content(pruner_with(*HISTORIES[kind][:2]), None, None)) for kind in HISTORIES}
    assert [kind for kind, text in texts.items() if 'class="recovered"' in text] == ["recovered"]
    assert [kind for kind, text in texts.items() if 'class="taken-back"' in text] == list(HISTORIES)[2:]


def test_path_without_scores_shows_losses():
    pruner = copy.copy(fitted_pruner())
    pruner.history_ = pruner.history_.copy()
    content = collect_content(pruner, None, None)
    content.history["score"] = np.nan
    assert plot_path(content).y_label == "Training loss"
    content.history["train_loss"] = np.nan
    assert plot_path(content) is None


def importances(values, support=None):
    values = np.array(values, dtype=float)
    support = np.ones(values.size, dtype=bool) if support is None else np.array(support)
    return Importances(values, np.array(["a"] * (values.size - 1) + ["b"]), support, "taylor2")


def dots(path):
    return [float(part.split(" ")[0]) for part in path.split("M")[1:]]


def test_importances_keep_their_order_across_zero():
    plot = plot_importances(importances([-1e-3, -1e-7, 0.0, 1e-5, 2.0, 1.0]))
    places = dots(plot.strips[0].kept)
    assert places == sorted(places)
    assert plot.left <= min(places)
    assert max(places) <= plot.width
    assert [tick.text for tick in plot.ticks if tick.text == "0"] == ["0"]
    assert dots(plot.strips[1].kept)[0] < places[-1]


def test_importances_count_what_is_gone_and_what_was_not_scored():
    plot = plot_importances(importances([1.0, 2.0, np.nan, 3.0], [True, False, True, True]))
    first, second = plot.strips
    assert (first.num_kept, first.num_removed, first.num_unscored) == (2, 1, 1)
    assert (len(dots(first.kept)), len(dots(first.removed)), len(dots(second.kept))) == (1, 1, 1)
    assert plot_importances(importances([np.nan, np.nan])) is None
    assert plot_importances(None) is None


def test_importances_of_many_units_are_thinned():
    plot = plot_importances(importances(np.arange(1.0, 1001.0)))
    assert plot.is_thinned
    assert len(dots(plot.strips[0].kept)) == 200
    assert not plot_importances(importances([0.0, 0.0, 0.0])).is_thinned
