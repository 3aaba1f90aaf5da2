"""The path of a pruner as it is drawn, read from the artists."""

import copy
import itertools
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgba
from matplotlib.text import Text
from sklearn.exceptions import NotFittedError

from prunekit import PruningPathDisplay, TaylorPrunerCV
from prunekit.exceptions import MissingDependencyError, ParameterError, ParameterTypeError
from tests.nets_skorch import ConvNet, make_classifier, make_images, quick

GREY = np.array([0.299, 0.587, 0.114])


@pytest.fixture(scope="module")
def fitted():
    """A pruner that reached its target, with all its rows on the way."""
    return quick(make_classifier(ConvNet), criterion="taylor2").fit(*make_images())


@pytest.fixture(scope="module")
def broken():
    """A pruner that a threshold stopped."""
    net = make_classifier(ConvNet, max_epochs=6)
    options = {"target_reduction": 0.9, "step": 0.15, "max_score_drop": 0.02, "recovery_rounds": 1, "random_state": 0}
    return quick(net, **options).fit(*make_images())


@pytest.fixture
def made_up(fitted):
    """
    A pruner with a made-up history, in which everything happens that can.

    Step 2 breaks the threshold and recovers, step 3 does not, step 4 is half of it and holds, step 5 was interrupted
    after it held, and the training at the end takes the score below the threshold.
    """
    rows = [  # iteration, phase, reduction, macs, score, held, score before fine-tuning
        (0, "dense", 0.0, 0.0, 0.95, True, np.nan),
        (1, "prune", 0.2, 0.1, 0.94, True, 0.80),
        (2, "prune", 0.4, 0.3, 0.89, False, 0.70),
        (2, "recover", 0.4, 0.3, 0.93, True, np.nan),
        (3, "prune", 0.6, 0.4, 0.80, False, 0.50),
        (3, "recover", 0.6, 0.4, 0.85, False, np.nan),
        (4, "prune", 0.5, 0.5, 0.92, True, np.nan),
        (5, "prune", 0.7, 0.6, 0.91, True, 0.60),
        (5, "final", 0.5, 0.5, 0.88, False, np.nan),
    ]
    names = ["iteration", "phase", "reduction", "reduction_macs", "score", "held", "score_before"]
    history = pd.DataFrame(rows, columns=names)
    history["reduction_params"] = history["reduction"]
    history["train_loss"] = np.linspace(0.1, 0.9, len(rows))
    pruner = copy.copy(fitted).set_params(target_reduction=0.75, min_score=0.6, max_score_drop=0.05)
    pruner.history_, pruner.baseline_score_, pruner.reductions_ = history, 0.95, {"params": 0.5}
    pruner.stop_reason_ = "max_score_drop"
    return pruner


KEPT = [0, 1, 2, 3, 6]
TAKEN_BACK = [4, 5, 7, 8]


def texts(labels):
    return [label.get_text() for label in labels]


def legend_of(display):
    return texts(display.ax_.get_legend().get_texts())


def segments(line):
    """Return the pieces of a line between its gaps, as lists of points."""
    points = [tuple(point) for point in line.get_xydata().tolist()]
    pieces = itertools.groupby(points, key=lambda point: np.isnan(point).any())
    return [list(piece) for is_gap, piece in pieces if not is_gap]


def boxes_in_view(axis):
    """Return where the labels of those ticks stand that are within the limits."""
    low, high = axis.get_view_interval()
    labels = zip(axis.get_ticklocs(), axis.get_ticklabels(), strict=True)
    return [label.get_window_extent() for place, label in labels if low <= place <= high]


def grey(colour):
    return float(to_rgba(colour)[:3] @ GREY)


# ---------------------------------------------------------------- what a history says


def test_every_row_is_one_point(fitted):
    history = fitted.history_
    display = PruningPathDisplay.from_estimator(fitted)

    np.testing.assert_array_equal(display.line_.get_xdata(), history["reduction"])
    np.testing.assert_array_equal(display.line_.get_ydata(), history["score"])
    assert display.lines_ == [display.line_]
    assert display.bands_ == []
    assert display.dense_.get_xydata().tolist() == [[0, fitted.baseline_score_]]
    assert display.final_.get_xydata().tolist() == [[fitted.reduction_, history["score"].iloc[-1]]]
    assert display.target_.get_xdata() == [fitted.target_reduction] * 2
    drawn = display.before_.get_ydata()
    assert set(history["score_before"].dropna()) <= set(drawn)
    absent = (display.taken_back_, display.attempts_, display.threshold_, display.control_)
    assert absent == (None,) * 4
    assert display.ax_.get_xlabel() == "Reduction of parameters"
    assert display.ax_.get_ylabel() == "Validation score"
    assert display.ax_.get_title(loc="left") == "Pruning path: target reached"
    assert display.figure_ is display.ax_.figure


def test_a_threshold_that_broke(broken):
    """The path of the display leads to the network that the pruner returned."""
    history = broken.history_
    display = PruningPathDisplay.from_estimator(broken)

    assert broken.stop_reason_ == "max_score_drop"
    assert display.threshold_.get_ydata() == [broken.baseline_score_ - 0.02] * 2
    assert display.final_.get_xdata() == [broken.reduction_]
    np.testing.assert_array_equal(np.sort(display.line_.get_xdata()), display.line_.get_xdata())
    assert len(display.taken_back_.get_xdata()) >= 1
    assert len(display.line_.get_xdata()) + len(display.taken_back_.get_xdata()) == len(history)
    assert display.ax_.get_title(loc="left") == "Pruning path: more would break max_score_drop"


def test_steps_that_were_taken_back_are_apart(made_up):
    display = PruningPathDisplay.from_estimator(made_up)

    points = made_up.history_[["reduction", "score"]].to_numpy()
    np.testing.assert_array_equal(display.line_.get_xydata(), points[KEPT])
    np.testing.assert_array_equal(display.taken_back_.get_xydata(), points[TAKEN_BACK])
    assert display.final_.get_xydata().tolist() == [[0.5, 0.92]]
    joined = [tuple(map(tuple, points[pair].tolist())) for pair in ([3, 4], [4, 5], [6, 7], [6, 8])]
    assert [tuple(piece) for piece in segments(display.attempts_)] == joined


def test_an_interruption_takes_back_the_last_step(made_up):
    made_up.history_ = made_up.history_.iloc[:2]
    made_up.reductions_, made_up.stop_reason_ = {"params": 0.0}, "interrupted"

    display = PruningPathDisplay.from_estimator(made_up)

    assert display.taken_back_.get_xydata().tolist() == [[0.2, 0.94]]
    assert display.final_.get_xydata().tolist() == display.dense_.get_xydata().tolist() == [[0, 0.95]]
    assert display.ax_.get_title(loc="left") == "Pruning path: interrupted"


def test_the_training_at_the_end_is_apart_from_the_last_step(made_up):
    """It has the number of that step, which stays when the training is taken back."""
    made_up.history_ = made_up.history_.drop(index=7).replace({"iteration": {5: 4}})

    display = PruningPathDisplay.from_estimator(made_up)

    assert display.taken_back_.get_xydata()[-1].tolist() == [0.5, 0.88]
    assert display.final_.get_xydata().tolist() == [[0.5, 0.92]]
    assert segments(display.attempts_)[-1] == [(0.5, 0.92), (0.5, 0.88)]


def test_drop_and_recovery_of_each_step(made_up):
    display = PruningPathDisplay.from_estimator(made_up)

    assert segments(display.before_) == [
        [(0.0, 0.95), (0.2, 0.80), (0.2, 0.94)],
        [(0.2, 0.94), (0.4, 0.70), (0.4, 0.89)],
        [(0.4, 0.93), (0.6, 0.50), (0.6, 0.80)],
        [(0.5, 0.92), (0.7, 0.60), (0.7, 0.91)],
    ]
    marked = display.before_.get_xydata()[display.before_.get_markevery()]
    assert marked.tolist() == [[0.2, 0.8], [0.4, 0.7], [0.6, 0.5], [0.7, 0.6]]


def test_times_that_were_measured_shorter_than_later_ones_take_nothing_back(made_up):
    made_up.history_ = made_up.history_.iloc[[0, 1, 6, 7]].assign(reduction=[0.0, 0.3, 0.28, 0.5])
    made_up.reductions_ = {"params": 0.7}

    assert not PruningPathDisplay.from_estimator(made_up).taken_back.any()


def test_nothing_was_measured_before_fine_tuning(made_up):
    made_up.history_["score_before"] = np.nan
    assert PruningPathDisplay.from_estimator(made_up).before_ is None

    made_up.history_ = made_up.history_.drop(columns="score_before")
    display = PruningPathDisplay.from_estimator(made_up)
    assert display.before_ is None
    assert "before fine-tuning" not in legend_of(display)


@pytest.mark.parametrize(
    ("min_score", "max_score_drop", "threshold"),
    [(0.6, 0.05, 0.90), (0.92, 0.05, 0.92), (0.92, None, 0.92), (None, 0.1, 0.85)],
)
def test_the_higher_threshold_counts(made_up, min_score, max_score_drop, threshold):
    made_up.set_params(min_score=min_score, max_score_drop=max_score_drop)

    display = PruningPathDisplay.from_estimator(made_up)

    assert display.threshold_.get_ydata() == pytest.approx([threshold] * 2)
    assert f"threshold, {threshold:.4g}" in legend_of(display)


def test_another_resource(made_up):
    """Its target is unknown."""
    display = PruningPathDisplay.from_estimator(made_up, of="macs")

    history = made_up.history_
    np.testing.assert_array_equal(display.line_.get_xdata(), history["reduction_macs"].iloc[KEPT])
    np.testing.assert_array_equal(display.taken_back_.get_xdata(), history["reduction_macs"].iloc[TAKEN_BACK])
    assert display.ax_.get_xlabel() == "Reduction of multiply-adds"
    assert display.target_ is None
    assert PruningPathDisplay.from_estimator(made_up, of="params").target_.get_xdata() == [0.75] * 2


@pytest.mark.parametrize("of", ["params", "macs", "filters", "memory"])
def test_all_resources(fitted, of):
    line = PruningPathDisplay.from_estimator(fitted, of=of).line_

    np.testing.assert_array_equal(line.get_xdata(), fitted.history_[f"reduction_{of}"])


def test_control(made_up):
    made_up.control_score_ = 0.96

    display = PruningPathDisplay.from_estimator(made_up)

    assert display.control_.get_ydata() == [0.96] * 2
    assert "dense, trained as long, 0.96" in legend_of(display)
    made_up.control_score_ = np.nan
    assert PruningPathDisplay.from_estimator(made_up).control_ is None


def test_without_validation_the_losses_are_drawn():
    pruner = quick(make_classifier(ConvNet, train_split=None)).fit(*make_images())
    display = PruningPathDisplay.from_estimator(pruner)

    np.testing.assert_array_equal(display.line_.get_ydata(), pruner.history_["train_loss"])
    assert display.ax_.get_ylabel() == "Training loss (there is no validation score)"
    assert display.threshold_ is display.control_ is display.before_ is None


def test_a_dense_network_without_a_loss_is_not_marked(made_up):
    made_up.history_["score"] = np.nan
    made_up.history_.loc[0, "train_loss"] = np.nan
    made_up.set_params(min_score=None, max_score_drop=None)

    display = PruningPathDisplay.from_estimator(made_up)

    assert display.dense_ is None
    assert display.final_.get_ydata() == [made_up.history_["train_loss"][6]]


def test_the_axis_names_the_scorer(made_up):
    def profit(net, X, y):
        return 0.0

    labels = [
        PruningPathDisplay.from_estimator(made_up.set_params(scoring=scoring)).ax_.get_ylabel()
        for scoring in ("f1_macro", profit)
    ]
    assert labels == ["Validation score (f1_macro)", "Validation score (profit)"]


# ---------------------------------------------------------------- how it looks


def test_the_legend_tells_the_numbers(made_up):
    made_up.control_score_ = 0.96

    assert legend_of(PruningPathDisplay.from_estimator(made_up)) == [
        "pruned",
        "before fine-tuning",
        "taken back",
        "dense network, 0.95",
        "result, 0.92 at 50 %",
        "dense, trained as long, 0.96",
        "threshold, 0.9",
        "target, 75 %",
    ]


def test_legible_in_grey(made_up):
    made_up.control_score_ = 0.96
    display = PruningPathDisplay.from_estimator(made_up)

    path, before, back = (grey(line.get_color()) for line in (display.line_, display.before_, display.taken_back_))
    assert before - path > 0.3
    assert back - path > 0.25
    assert max(before, back) < 0.8  # on white
    markers = [display.line_, display.taken_back_, display.dense_, display.final_]
    assert len({line.get_marker() for line in markers}) == 4
    dashes = [display.line_, display.threshold_, display.control_, display.target_]
    assert len({line.get_linestyle() for line in dashes}) == 4


@pytest.mark.parametrize("n_points", [3, 20, 60])
def test_nothing_overlaps_and_nothing_is_cut_off(n_points):
    reductions = np.linspace(0, 0.9, n_points)
    display = PruningPathDisplay(
        reductions,
        0.95 - 0.2 * reductions**4,
        scores_before=0.9 - 0.4 * reductions,
        phases=["dense"] + ["prune"] * (n_points - 1),
        taken_back=np.arange(n_points) == n_points - 1,
        threshold=0.8,
        target=0.9,
        control=0.96,
        stop_reason="nothing_left_to_prune",
    ).plot()

    display.figure_.canvas.draw()
    ax, figure = display.ax_, display.figure_.bbox
    ticks = [boxes_in_view(axis) for axis in (ax.xaxis, ax.yaxis)]
    for boxes in ticks:
        assert len(boxes) > 2
        assert not any(left.overlaps(right) for left, right in itertools.pairwise(boxes))
    legend = ax.get_legend().get_window_extent()
    assert not legend.overlaps(ax.bbox)
    (title,) = (text for text in ax.findobj(Text) if text.get_text().startswith("Pruning path"))
    for box in (legend, title.get_window_extent(), ax.xaxis.label.get_window_extent(), *ticks[1]):
        assert figure.x0 <= box.x0 < box.x1 <= figure.x1
        assert figure.y0 <= box.y0 < box.y1 <= figure.y1


def test_ticks_are_percentages(fitted):
    display = PruningPathDisplay.from_estimator(fitted)

    assert display.ax_.xaxis.get_major_formatter()(0.25) == "25 %"


def test_draws_where_it_is_told(made_up):
    figure, (left, right) = plt.subplots(1, 2)

    display = PruningPathDisplay.from_estimator(
        made_up, ax=right, line_kw={"color": "red"}, before_kw={"alpha": 0.3}, taken_back_kw={"marker": "v"}
    )

    assert display.ax_ is right
    assert display.figure_ is figure
    assert not left.lines
    assert display.line_.get_color() == "red"
    assert display.before_.get_alpha() == 0.3
    assert display.taken_back_.get_marker() == "v"
    assert display.plot().ax_ is not right
    figure.canvas.draw()
    assert right.bbox.overlaps(right.get_legend().get_window_extent())  # inside: beside it may stand other axes


# ---------------------------------------------------------------- several curves


def test_curves_with_bands():
    reductions = np.linspace(0, 0.8, 5)
    scores = np.array([0.9 - 0.1 * reductions, 0.95 - 0.3 * reductions])
    spread = np.array([0.01 + 0.1 * reductions, np.full(5, 0.02)])

    display = PruningPathDisplay(
        reductions, scores, scores_std=spread, names=["slow", "fast"], measure="Mean test score"
    ).plot()

    for line, band, y, std in zip(display.lines_, display.bands_, scores, spread, strict=True):
        np.testing.assert_array_equal(line.get_xydata(), np.c_[reductions, y])
        vertices = band.get_paths()[0].vertices
        for x, low, high in zip(reductions, y - std, y + std, strict=True):
            at_x = vertices[np.isclose(vertices[:, 0], x), 1]
            assert (at_x.min(), at_x.max()) == pytest.approx((low, high))
        assert to_rgba(band.get_facecolor()[0], 1) == to_rgba(line.get_color())
    assert legend_of(display) == ["slow", "fast"]
    assert display.dense_ is display.final_ is None
    assert display.ax_.get_title(loc="left") == "Pruning path"
    assert display.ax_.get_ylabel() == "Mean test score"


def test_curves_differ_in_grey():
    display = PruningPathDisplay([0.0, 0.5], np.arange(8.0).reshape(4, 2)).plot(band_kw={"alpha": 0.5})

    shades = [grey(line.get_color()) for line in display.lines_]
    assert np.diff(shades).min() > 0.1
    assert max(shades) < 0.75
    assert len({line.get_marker() for line in display.lines_}) == 4
    assert legend_of(display) == ["curve 1", "curve 2", "curve 3", "curve 4"]


def test_curves_of_their_own_reductions_and_lengths():
    reductions = [[0.0, 0.3, 0.6], [0.0, 0.5, np.nan]]
    display = PruningPathDisplay(reductions, [[0.9, 0.8, 0.7], [0.9, 0.6, np.nan]]).plot()

    assert [line.get_xdata().tolist()[:2] for line in display.lines_] == [[0.0, 0.3], [0.0, 0.5]]


def test_a_band_around_one_curve_keeps_what_was_not_taken_back():
    display = PruningPathDisplay(
        [0.0, 0.3, 0.6], [0.9, 0.8, 0.2], scores_std=[0.1, 0.1, 0.1], taken_back=[False, False, True]
    ).plot(band_kw={"alpha": 0.5})

    (band,) = display.bands_
    assert band.get_paths()[0].vertices[:, 0].max() == 0.3
    assert band.get_alpha() == 0.5
    assert display.final_.get_xydata().tolist() == [[0.3, 0.8]]


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"scores": [["many"]]}, ParameterTypeError, "'scores' .* must hold numbers. Got list of something else"),
        ({"scores": [np.nan, np.nan]}, ParameterError, r"hold a finite number\. Got an array of shape \(2,\) instead"),
        ({"scores": 1.0}, ParameterError, r"one dimension, or two for several curves.* Got an array of shape \(\)"),
        ({"scores": [1.0, np.inf]}, ParameterError, "'scores' .* must hold finite numbers, or NaN .* Got inf instead"),
        (
            {"reductions": [0.0]},
            ParameterError,
            r"The 'reductions' parameter of PruningPathDisplay must have the shape of the scores, \(2,\)\. "
            r"Got an array of shape \(1,\) instead\.",
        ),
        ({"scores_std": [[1.0, 2.0]]}, ParameterError, r"'scores_std' .* Got an array of shape \(1, 2\) instead"),
        ({"scores_before": [1.0]}, ParameterError, r"'scores_before' .* Got an array of shape \(1,\) instead"),
        ({"taken_back": [0, 1]}, ParameterTypeError, "'taken_back' .* True or False. Got values of type int64"),
        ({"taken_back": [True]}, ParameterError, r"'taken_back' .* Got an array of shape \(1,\) instead"),
        ({"phases": ["dense", "end"]}, ParameterError, r"'phases' .* \('dense', .*\) only\. Got 'end' instead"),
        ({"phases": ["dense"]}, ParameterError, r"'phases' .* Got an array of shape \(1,\) instead"),
        ({"names": ["a", "b"]}, ParameterError, r"one name for each of the 1 curves\. Got \['a', 'b'\] instead"),
        ({"names": "a"}, ParameterError, r"one name for each of the 1 curves\. Got 'a' instead"),
        (
            {"scores": np.ones((3, 2)), "phases": ["dense", "prune"]},
            ParameterError,
            "The 'phases' parameter of PruningPathDisplay must be None for several curves. Got list instead",
        ),
    ],
)
def test_errors(change, error, message):
    with pytest.raises(error, match=message):
        PruningPathDisplay(**{"reductions": [0.0, 0.5], "scores": [1.0, 2.0], **change})


def test_sources_that_have_no_path(made_up):
    with pytest.raises(ParameterTypeError, match=r"'pruner' .* must be a TaylorPruner\. Got dict instead"):
        PruningPathDisplay.from_estimator({})
    with pytest.raises(NotFittedError):
        PruningPathDisplay.from_estimator(quick(make_classifier(ConvNet)))
    with pytest.raises(ParameterError, match=r"from_estimator must be one of 'macs', 'params'\. Got 'x' instead"):
        PruningPathDisplay.from_estimator(made_up, of="x")
    made_up.history_[["score", "train_loss"]] = np.nan
    with pytest.raises(ParameterError, match=r"must have measured something\. Got a history with neither scores"):
        PruningPathDisplay.from_estimator(made_up)


def test_missing_matplotlib(monkeypatch):
    display = PruningPathDisplay([0.0, 0.5], [1.0, 0.9])
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(MissingDependencyError, match=r"^PruningPathDisplay.plot needs matplotlib.*prunekit\[plot\]"):
        display.plot()


@pytest.mark.parametrize("of", [None, "macs"])
def test_cross_validation_is_drawn_with_its_error(of):
    search = TaylorPrunerCV(quick(make_classifier(ConvNet)), reductions=[0.3, 0.6], cv=3, tolerance=0.3)
    search.fit(*make_images(300))
    display = PruningPathDisplay.from_estimator(search, of=of)
    results = search.cv_results_
    x = results["reduction" if of is None else "mean_reduction_macs"]
    np.testing.assert_allclose(display.line_.get_xydata(), np.c_[x, results["mean_test_score"]])
    splits = np.array([results[f"split{number}_test_score"] for number in range(3)])
    error = splits.std(axis=0, ddof=1) / np.sqrt(3)
    drawn = display.bands_[0].get_paths()[0].vertices
    for point, mean, half in zip(x, results["mean_test_score"], error, strict=True):
        heights = drawn[np.isclose(drawn[:, 0], point), 1]
        np.testing.assert_allclose([heights.min(), heights.max()], [mean - half, mean + half])
    assert display.threshold_.get_ydata()[0] == search.lowest_score_ == search.dense_score_ - 0.3
    assert display.best_.get_xdata()[0] == x[search.best_index_]
    assert display.target_ is None
    assert display.final_ is None
    plt.close(display.figure_)
