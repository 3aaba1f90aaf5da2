"""Confusion matrices before and after pruning as they are drawn."""

import itertools
import sys

import numpy as np
import pytest
from matplotlib import pyplot as plt
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix

from prunekit import ConfusionChangeDisplay
from prunekit.exceptions import MissingDependencyError, ParameterError, ParameterTypeError
from tests.nets_skorch import ConvNet, make_classifier, make_images, quick

Y = np.array(["cat", "cat", "cat", "dog", "dog", "eel"])
BEFORE = np.array(["cat", "cat", "dog", "dog", "dog", "cat"])
AFTER = np.array(["cat", "dog", "dog", "dog", "cat", "eel"])


def numbers(display, panel):
    return {cell: text.get_text() for cell, text in display.texts_[panel].items()}


def texts(labels):
    return [label.get_text() for label in labels]


def test_the_three_panels():
    display = ConfusionChangeDisplay.from_predictions(Y, BEFORE, AFTER)

    before, after = confusion_matrix(Y, BEFORE), confusion_matrix(Y, AFTER)
    np.testing.assert_array_equal(display.before, before)
    np.testing.assert_array_equal(display.after, after)
    np.testing.assert_array_equal(display.images_[0].get_array(), before)
    np.testing.assert_array_equal(display.images_[1].get_array(), after)
    assert numbers(display, 0) == {(0, 0): "2", (0, 1): "1", (1, 1): "2", (2, 0): "1"}
    assert numbers(display, 1) == {(0, 0): "1", (0, 1): "2", (1, 0): "1", (1, 1): "1", (2, 2): "1"}
    assert numbers(display, 2) == {
        (0, 0): "−1",
        (0, 1): "+1",
        (1, 0): "+1",
        (1, 1): "−1",
        (2, 0): "−1",
        (2, 2): "+1",
    }
    assert [panel.get_title(loc="left") for panel in display.axes_] == [
        "Before pruning\n4 of 6 right (66.7 %)",
        "After pruning\n3 of 6 right (50.0 %)",
        "Change",
    ]
    assert [panel.get_xlabel() for panel in display.axes_] == ["Predicted class"] * 3
    assert display.axes_[0].get_ylabel() == "True class"
    for panel in display.axes_:
        assert texts(panel.get_xticklabels()) == texts(panel.get_yticklabels()) == ["cat", "dog", "eel"]
    assert display.figure_ is display.axes_[0].figure


def test_worse_cells_are_framed_and_of_another_colour():
    display = ConfusionChangeDisplay.from_predictions(Y, BEFORE, AFTER)

    shown = display.images_[2].get_array()
    worse = {(0, 0), (0, 1), (1, 0), (1, 1)}
    assert {tuple(cell) for cell in np.argwhere(shown < 0)} == worse
    assert {tuple(cell) for cell in np.argwhere(shown > 0)} == {(2, 0), (2, 2)}
    centres = {tuple(path.vertices[:4].mean(axis=0).round().astype(int)[::-1]) for path in display.frames_.get_paths()}
    assert centres == worse
    assert texts(display.axes_[2].get_legend().get_texts()) == ["better", "worse"]


def test_nothing_has_changed():
    display = ConfusionChangeDisplay.from_predictions(Y, Y, Y)

    assert numbers(display, 2) == {}
    assert display.frames_.get_paths() == []
    assert display.axes_[2].get_legend() is None
    display.figure_.canvas.draw()


def test_the_numbers_stand_out_from_the_cells():
    display = ConfusionChangeDisplay(np.diag([100, 1]), np.diag([100, 1]))
    display.plot()

    assert [display.texts_[0][cell].get_color() for cell in ((0, 0), (1, 1))] == ["white", "black"]


def test_fractions():
    display = ConfusionChangeDisplay.from_predictions(
        Y, BEFORE, AFTER, normalize="true", display_labels=["Cat", "Dog", "Eel"]
    )

    np.testing.assert_allclose(display.before, confusion_matrix(Y, BEFORE, normalize="true"))
    assert numbers(display, 0) == {(0, 0): ".67", (0, 1): ".33", (1, 1): "1.00", (2, 0): "1.00"}
    assert numbers(display, 2)[0, 0] == "−.33"
    assert display.axes_[0].get_title(loc="left") == "Before pruning"
    assert texts(display.axes_[0].get_xticklabels()) == ["Cat", "Dog", "Eel"]
    display.plot(values_format=".1%")
    assert numbers(display, 1)[0, 1] == "66.7%"


def test_labels_and_weights():
    display = ConfusionChangeDisplay.from_predictions(
        Y, BEFORE, AFTER, labels=["dog", "cat"], sample_weight=np.full(6, 3)
    )

    np.testing.assert_array_equal(display.before, 3 * confusion_matrix(Y, BEFORE, labels=["dog", "cat"]))
    assert texts(display.axes_[1].get_yticklabels()) == ["dog", "cat"]


def test_from_a_net_and_a_pruner():
    X, y = make_images(300)
    net = make_classifier(ConvNet).fit(X, y)
    pruner = quick(make_classifier(ConvNet)).fit(X, y)

    display = ConfusionChangeDisplay.from_estimators(net, pruner, X, y, names=("dense", "small"))

    np.testing.assert_array_equal(display.before, confusion_matrix(y, net.predict(X)))
    np.testing.assert_array_equal(display.after, confusion_matrix(y, pruner.predict(X)))
    assert [panel.get_title(loc="left").split("\n")[0] for panel in display.axes_] == ["dense", "small", "Change"]


def test_many_classes_have_no_numbers_and_fewer_labels():
    y = np.arange(200)
    display = ConfusionChangeDisplay.from_predictions(y, y, np.roll(y, 1))

    assert display.texts_ == [{}, {}, {}]
    assert len(display.frames_.get_paths()) == 400
    display.figure_.canvas.draw()
    boxes = [label.get_window_extent() for label in display.axes_[0].get_yticklabels()]
    assert 10 < len(boxes) < 100
    assert not any(upper.overlaps(lower) for upper, lower in itertools.pairwise(boxes))


def test_long_names_of_classes_stand_upright():
    display = ConfusionChangeDisplay(np.eye(3, dtype=int), np.eye(3, dtype=int))
    short = display.plot().axes_[0].get_xticklabels()
    display.display_labels = np.array(["a class with a very long name"] * 3, dtype=object)
    long = display.plot().axes_[0].get_xticklabels()

    assert {label.get_rotation() for label in short} == {0}
    assert {label.get_rotation() for label in long} == {90}
    display.figure_.canvas.draw()
    lowest = min(label.get_window_extent().y0 for label in long)
    assert lowest >= display.figure_.bbox.y0


def test_draws_where_it_is_told():
    figure, axes = plt.subplots(2, 3, figsize=(12, 8))
    row = ConfusionChangeDisplay.from_predictions(Y, BEFORE, AFTER, ax=axes[0], im_kw={"cmap": "Greys"})

    assert row.axes_.tolist() == axes[0].tolist()
    assert row.images_[0].get_cmap().name == "Greys"
    inside = ConfusionChangeDisplay.from_predictions(Y, BEFORE, AFTER, ax=axes[1, 1], text_kw={"color": "red"})
    assert inside.figure_ is figure
    assert len(inside.axes_) == 3
    assert not axes[1, 1].axison
    assert inside.texts_[0][0, 0].get_color() == "red"
    with pytest.raises(ParameterError, match=r"must be None, axes of a grid, or 3 axes, one a panel\. Got 2 instead"):
        ConfusionChangeDisplay.from_predictions(Y, BEFORE, AFTER, ax=axes[0, :2])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"before": [["a"]]}, ParameterTypeError, "'before' .* must hold numbers. Got values of type"),
        ({"after": [[1, 2]]}, ParameterError, r"'after' .* a square matrix\. Got an array of shape \(1, 2\) instead"),
        ({"after": [[1]]}, ParameterError, r"the shape of 'before', \(2, 2\)\. Got an array of shape \(1, 1\) instead"),
        ({"after": [[1, np.nan], [0, 1]]}, ParameterError, "'after' .* finite numbers. Got NaN or inf"),
        ({"display_labels": ["a"]}, ParameterError, r"a name for each of the 2 classes\. Got an array of shape \(1,\)"),
    ],
)
def test_errors(change, error, message):
    with pytest.raises(error, match=message):
        ConfusionChangeDisplay(**{"before": np.eye(2, dtype=int), "after": np.eye(2, dtype=int), **change})


def test_predictions_that_do_not_fit():
    with pytest.raises(ParameterError, match=r"must hold predictions of the labels in 'y_true'.* inconsistent"):
        ConfusionChangeDisplay.from_predictions(Y, BEFORE[:2], AFTER)
    with pytest.raises(ParameterError, match=r"must hold predictions of the labels"):
        ConfusionChangeDisplay.from_predictions(Y, np.arange(6), np.arange(6))
    with pytest.raises(ParameterTypeError, match=r"'after' .*from_estimators must be a fitted classifier. Got dict"):
        ConfusionChangeDisplay.from_estimators(LogisticRegression(), {}, np.eye(6), Y)


def test_missing_matplotlib(monkeypatch):
    display = ConfusionChangeDisplay([[1]], [[1]])
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(MissingDependencyError, match=r"^ConfusionChangeDisplay.plot needs matplotlib"):
        display.plot()
