"""The history as it is drawn, and several paths in one picture."""

import itertools
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgba
from sklearn.exceptions import NotFittedError

from prunekit import HistoryDisplay, PruningPathDisplay, TaylorPrunerCV
from prunekit.exceptions import MissingDependencyError, ParameterError, ParameterTypeError
from tests.nets_skorch import ConvNet, make_classifier, make_images, quick

GREY = np.array([0.299, 0.587, 0.114])


@pytest.fixture(scope="module")
def pruner():
    return quick(make_classifier(ConvNet), final_epochs=1).fit(*make_images())


@pytest.fixture(scope="module")
def broken():
    """A pruner that a threshold stopped, so that something was taken back."""
    net = make_classifier(ConvNet, max_epochs=6)
    options = {"target_reduction": 0.9, "step": 0.15, "max_score_drop": 0.02, "recovery_rounds": 1}
    return quick(net, **options).fit(*make_images())


@pytest.fixture(scope="module")
def search():
    return TaylorPrunerCV(quick(make_classifier(ConvNet)), reductions=[0.2, 0.4], cv=3, tolerance=1.0).fit(
        *make_images(300)
    )


def texts(labels):
    return [label.get_text() for label in labels]


def long_history(history, count):
    """Return a history of so many iterations."""
    rows = history[history["phase"] == "prune"].iloc[[0] * count]
    made = pd.concat([history.iloc[:1], rows, history.iloc[-1:]], ignore_index=True)
    made["iteration"] = [0, *range(1, count + 1), count]
    return made


# ---------------------------------------------------------------- history


def test_every_row_is_in_every_panel(pruner):
    history = pruner.history_
    display = HistoryDisplay.from_estimator(pruner)

    np.testing.assert_array_equal(display.loss_.get_ydata(), history["train_loss"])
    np.testing.assert_array_equal(display.score_.get_ydata(), history["score"])
    np.testing.assert_array_equal(display.before_.get_ydata(), history["score_before"])
    for name, line in display.left_.items():
        np.testing.assert_allclose(line.get_ydata(), 1 - history[f"reduction_{name}"])
    for name, bars in display.seconds_.items():
        np.testing.assert_allclose([bar.get_height() for bar in bars], history[f"seconds_{name}"])
    tops = [bar.get_y() + bar.get_height() for bar in display.seconds_["validation"]]
    parts = ["seconds_scoring", "seconds_training", "seconds_validation"]
    np.testing.assert_allclose(tops, history[parts].sum(axis=1))
    assert display.taken_back_ == []
    assert display.threshold_ is None
    assert [panel.get_xlabel() for panel in display.axes_] == ["Iteration"] * 4
    assert [panel.get_ylabel() for panel in display.axes_] == [
        "Mean loss of a sample",
        "Score",
        "Fraction left",
        "Seconds",
    ]
    assert texts(display.axes_[0].get_xticklabels()) == ["dense", "final", "1", "2"]
    assert display.axes_[2].yaxis.get_major_formatter()(0.25) == "25 %"
    assert display.figure_ is display.axes_[0].figure


def test_what_was_taken_back_is_marked(broken):
    display = HistoryDisplay.from_estimator(broken)

    taken_back = PruningPathDisplay.from_estimator(broken).taken_back
    assert taken_back.any()
    rows = np.flatnonzero(taken_back)
    columns = ("train_loss", "score", "reduction_filters")
    for marks, column in zip(display.taken_back_, columns, strict=True):
        values = broken.history_[column].to_numpy()[rows]
        np.testing.assert_array_equal(marks.get_xdata(), rows)
        np.testing.assert_allclose(marks.get_ydata(), 1 - values if column.startswith("reduction") else values)
    assert display.threshold_.get_ydata() == [broken.baseline_score_ - 0.02] * 2
    assert texts(display.axes_[0].get_legend().get_texts()) == ["taken back"]
    assert texts(display.axes_[1].get_legend().get_texts())[:2] == ["before fine-tuning", "after"]


def test_of_a_search_the_last_fit_is_drawn(search):
    display = HistoryDisplay.from_estimator(search)

    pd.testing.assert_frame_equal(display.history, search.best_estimator_.history_)


def test_without_validation():
    pruner = quick(make_classifier(ConvNet, train_split=None)).fit(*make_images(200))

    display = HistoryDisplay.from_estimator(pruner)

    assert texts(display.axes_[1].texts) == ["there is no validation score"]
    assert display.axes_[1].get_legend() is None
    assert len(display.axes_[0].texts) == 0


def test_a_history_without_scores_before_fine_tuning(pruner):
    display = HistoryDisplay(pruner.history_.drop(columns="score_before")).plot()

    assert np.isnan(display.before_.get_ydata()).all()


def test_legible_in_grey(pruner):
    display = HistoryDisplay.from_estimator(pruner)

    lines = display.left_.values()
    assert len({line.get_marker() for line in lines}) == len({line.get_linestyle() for line in lines}) == 3
    bars = [bars[0] for bars in display.seconds_.values()]
    shades = [to_rgba(bar.get_facecolor())[:3] @ GREY for bar in bars]
    assert np.diff(shades).min() > 0.1
    assert len({bar.get_hatch() for bar in bars}) == 3


@pytest.mark.parametrize("count", [4, 12, 60, 300])
def test_nothing_overlaps(pruner, count):
    display = HistoryDisplay(long_history(pruner.history_, count), threshold=0.5).plot()

    display.figure_.canvas.draw()
    whole = display.figure_.bbox
    for panel in display.axes_:
        boxes = sorted((label.get_window_extent() for label in panel.get_xticklabels()), key=lambda box: box.x0)
        assert len(boxes) > 3
        assert not any(left.overlaps(right) for left, right in itertools.pairwise(boxes))
        legend = panel.get_legend()
        if legend is not None:
            box = legend.get_window_extent()
            assert not box.overlaps(panel.bbox)
            assert whole.x0 <= box.x0 < box.x1 <= whole.x1
    assert (display.seconds_["training"][0].get_hatch() is None) == (count >= 60)


def test_draws_where_it_is_told(pruner):
    figure, axes = plt.subplots(2, 2)
    given = HistoryDisplay.from_estimator(pruner, ax=axes, line_kw={"linewidth": 4}, bar_kw={"alpha": 0.5})

    assert given.axes_.tolist() == axes.ravel().tolist()
    assert given.figure_ is figure
    assert given.loss_.get_linewidth() == 4
    assert given.seconds_["training"][0].get_alpha() == 0.5
    _, ax = plt.subplots()
    assert len(HistoryDisplay.from_estimator(pruner, ax=ax).axes_) == 4
    assert not ax.axison
    with pytest.raises(ParameterError, match=r"or 4 axes, one a panel\. Got 2 instead"):
        HistoryDisplay.from_estimator(pruner, ax=axes[0])


def test_history_errors(pruner):
    with pytest.raises(ParameterTypeError, match=r"must be the history_ of a TaylorPruner. Got list instead"):
        HistoryDisplay([])
    with pytest.raises(ParameterTypeError, match=r"Got a DataFrame without 'score' instead"):
        HistoryDisplay(pruner.history_.drop(columns="score"))
    with pytest.raises(ParameterError, match=r"must have a row at least. Got none"):
        HistoryDisplay(pruner.history_.iloc[:0])
    with pytest.raises(ParameterError, match=r"'taken_back' parameter of HistoryDisplay must have"):
        HistoryDisplay(pruner.history_, taken_back=[True])
    with pytest.raises(ParameterTypeError, match=r"must be a TaylorPruner\. Got dict instead"):
        HistoryDisplay.from_estimator({})
    with pytest.raises(NotFittedError):
        HistoryDisplay.from_estimator(quick(make_classifier(ConvNet)))


def test_a_search_without_a_last_fit(search):
    lone = TaylorPrunerCV(search.estimator, reductions=[0.2], cv=2, tolerance=1.0, refit=False).fit(*make_images(100))

    with pytest.raises(ParameterTypeError, match=r"or be a search with refit=True. Got TaylorPrunerCV without one"):
        HistoryDisplay.from_estimator(lone)


def test_missing_matplotlib(pruner, monkeypatch):
    display = HistoryDisplay(pruner.history_)
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(MissingDependencyError, match=r"^HistoryDisplay.plot needs matplotlib"):
        display.plot()


# ---------------------------------------------------------------- several paths


def test_several_runs_in_one_picture(pruner, broken):
    display = PruningPathDisplay.from_estimators({"far": pruner, "careful": broken})

    alone = [PruningPathDisplay.from_estimator(one).line_ for one in (pruner, broken)]
    for line, own in zip(display.lines_, alone, strict=True):
        drawn = line.get_xydata()
        np.testing.assert_array_equal(drawn[: len(own.get_xdata())], own.get_xydata())
        assert np.isnan(drawn[len(own.get_xdata()) :]).all()
    assert texts(display.ax_.get_legend().get_texts()) == ["far", "careful"]
    assert len({str(line.get_color()) for line in display.lines_}) == 2
    assert len({line.get_marker() for line in display.lines_}) == 2
    assert [line.is_dashed() for line in display.lines_] == [False, True]
    assert display.threshold_ is None
    assert display.target_ is None  # they differ
    assert display.ax_.get_xlabel() == "Reduction of parameters"


def test_what_all_runs_have_in_common_is_drawn(pruner):
    display = PruningPathDisplay.from_estimators({"a": pruner, "b": pruner})

    assert display.target_.get_xdata() == [pruner.target_reduction] * 2
    assert PruningPathDisplay.from_estimators({"a": pruner, "b": pruner}, of="macs").target_ is None


def test_a_search_beside_a_pruner_keeps_its_band(pruner, search):
    display = PruningPathDisplay.from_estimators({"one": pruner, "folds": search})

    band = display.bands_[1].get_paths()[0].vertices
    assert band[:, 0].max() == search.cv_results_["reduction"].max()
    assert all(len(path.vertices) == 0 for path in display.bands_[0].get_paths())
    assert display.ax_.get_ylabel() == "Score"


def test_paths_are_drawn_where_it_is_told(pruner):
    _, ax = plt.subplots()

    assert PruningPathDisplay.from_estimators({"a": pruner}, ax=ax).ax_ is ax
    assert len(ax.lines) >= 1


def test_runs_that_cannot_be_compared(pruner):
    other = quick(make_classifier(ConvNet, train_split=None), reduction_of="macs").fit(*make_images(200))

    with pytest.raises(ParameterTypeError, match=r"must be a dict from names to pruners. Got list instead"):
        PruningPathDisplay.from_estimators([pruner])
    with pytest.raises(ParameterTypeError, match=r"must be a TaylorPruner\. Got int instead"):
        PruningPathDisplay.from_estimators({"a": 1})
    with pytest.raises(ParameterError, match=r"or 'of' must say what to draw. Got no pruner instead"):
        PruningPathDisplay.from_estimators({})
    with pytest.raises(ParameterError, match=r"whose targets count the same thing.* Got macs and params instead"):
        PruningPathDisplay.from_estimators({"a": pruner, "b": other})
    with pytest.raises(ParameterError, match=r"all have scores, or none. Got b without a score instead"):
        PruningPathDisplay.from_estimators({"a": pruner, "b": other}, of="params")
