"""What is drawn of the layers, read from the artists."""

import itertools
import sys

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgba
from sklearn.exceptions import NotFittedError
from torch import nn
from torch.nn import functional as F

from prunekit import LayerReductionDisplay, PrunableNetwork, TaylorPrunerCV, analyze
from prunekit.exceptions import MissingDependencyError, ParameterError, ParameterTypeError
from tests.nets import PlainCNN
from tests.nets_skorch import ConvNet, make_classifier, make_images, quick
from tests.torchvision_shim import torchvision_models

GREY = np.array([0.299, 0.587, 0.114])


@pytest.fixture(scope="module")
def pruner():
    return quick(make_classifier(ConvNet)).fit(*make_images())


def texts(labels):
    return [label.get_text() for label in labels]


def widths(bars):
    return [bar.get_width() for bar in bars]


def test_a_bar_is_as_long_as_what_a_layer_has():
    data = {"layers": ["conv1", "conv2", "fc"], "before": [32, 64, 10], "after": [29, 26, 10]}
    display = LayerReductionDisplay(**data, blocked=[False, False, True])

    assert display.plot() is display

    assert widths(display.before_) == [32, 64, 10]
    assert widths(display.after_) == [29, 26, 10]
    ax = display.ax_
    assert ax.get_ylim() == (2.5, -0.5)  # the first layer is on top
    assert texts(ax.get_yticklabels()) == ["conv1", "conv2", "fc"]
    (numbers,) = ax.child_axes
    assert texts(numbers.get_yticklabels()) == ["29 of 32", "26 of 64", "10 of 10"]
    assert ax.get_title(loc="left") == "Filters, by layer: 38.7 % removed"
    assert ax.get_xlabel() == "Filters"
    assert texts(ax.get_legend().get_texts()) == ["left", "left, cannot be pruned", "removed"]
    assert display.figure_ is ax.figure


def test_the_legend_has_only_what_is_there():
    display = LayerReductionDisplay(layers=["a"], before=[3], after=[3]).plot()

    assert texts(display.ax_.get_legend().get_texts()) == ["left"]


def test_legible_in_grey():
    display = LayerReductionDisplay(layers=["a", "b"], before=[4, 4], after=[2, 4], blocked=[False, True]).plot()

    removed, left, blocked = (
        to_rgba(bar.get_facecolor())[:3] @ GREY for bar in (display.before_[0], display.after_[0], display.after_[1])
    )
    assert left < blocked - 0.2 < removed - 0.5
    assert display.before_[0].get_hatch()


def test_from_estimator(pruner):
    display = LayerReductionDisplay.from_estimator(pruner)

    table = pruner.analyze()
    rows = table[table["num_filters"] > 0]
    assert texts(display.ax_.get_yticklabels()) == rows["name"].to_list() == ["features.0", "features.4", "classifier"]
    assert widths(display.before_) == [8, 16, 10]
    assert widths(display.after_) == rows["num_filters"].to_list()
    assert display.blocked.tolist() == [False, False, True]


def test_what_there_was_is_found_from_the_reductions(pruner):
    params = LayerReductionDisplay.from_estimator(pruner, of="params")
    macs = LayerReductionDisplay.from_estimator(pruner, of="macs")

    dense = {parameter: value.numel() for parameter, value in ConvNet().named_parameters()}
    layers = ["features.0", "features.1", "features.4", "features.5", "classifier"]
    assert params.layers.tolist() == layers
    assert params.before.tolist() == [dense[f"{name}.weight"] + dense[f"{name}.bias"] for name in layers]
    assert macs.layers.tolist() == ["features.0", "features.4", "classifier"]
    assert macs.before.tolist() == [8 * 9 * 64, 16 * 8 * 9 * 16, 16 * 16 * 10]
    assert macs.ax_.get_xlabel() == "Multiply-adds for one sample"
    assert not params.blocked.any()  # a layer that cannot be pruned gets smaller with the one before it


def test_of_a_search_the_result_is_drawn():
    search = TaylorPrunerCV(quick(make_classifier(ConvNet)), reductions=[0.4], cv=2, tolerance=1.0)
    search.fit(*make_images(200))

    display = LayerReductionDisplay.from_estimator(search)

    table = search.analyze()
    assert widths(display.after_) == table.loc[table["num_filters"] > 0, "num_filters"].to_list()


def test_from_network_as_it_is_now():
    torch.manual_seed(0)
    network = PrunableNetwork(PlainCNN(), torch.randn(2, 3, 8, 8))
    F.cross_entropy(network(torch.randn(8, 3, 8, 8)), torch.randint(4, (8,))).backward()
    network.update_score()
    network.update_prunables(3)

    display = LayerReductionDisplay.from_network(network)

    assert sum(widths(display.before_)) - sum(widths(display.after_)) == 3


def test_from_a_table_before_any_pruning():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1))
    table = analyze(net, torch.randn(1, 3, 8, 8))

    display = LayerReductionDisplay.from_table(table)

    assert widths(display.before_) == widths(display.after_) == [8, 4]
    assert display.blocked.tolist() == [False, True]
    assert LayerReductionDisplay.from_table(table.iloc[:1]).layers.tolist() == ["0"]


def test_draws_where_it_is_told(pruner):
    figure, ax = plt.subplots()

    display = LayerReductionDisplay.from_estimator(pruner, ax=ax, before_kw={"hatch": "x"}, after_kw={"color": "red"})

    assert display.ax_ is ax
    assert display.figure_ is figure
    assert display.before_[0].get_hatch() == "x"
    assert display.after_[0].get_facecolor() == to_rgba("red")


def assert_readable(display):
    """No name or number hides another one or is cut off."""
    display.figure_.canvas.draw()
    figure = display.figure_.bbox
    (numbers,) = display.ax_.child_axes
    for axis in (display.ax_.yaxis, numbers.yaxis):
        boxes = [label.get_window_extent() for label in axis.get_ticklabels()]
        assert not any(upper.overlaps(lower) for upper, lower in itertools.pairwise(boxes))
        assert min(box.x0 for box in boxes) >= figure.x0
        assert max(box.x1 for box in boxes) <= figure.x1
    legend = display.ax_.get_legend().get_window_extent()
    assert not legend.overlaps(display.ax_.bbox)


def test_resnet50_stays_readable():
    net = torchvision_models().resnet50(weights=None)
    display = LayerReductionDisplay.from_table(analyze(net, torch.randn(1, 3, 64, 64)))

    assert display.layers.size == 54
    assert len(display.ax_.get_yticklabels()) == 54
    assert_readable(display)


def test_hundreds_of_layers_with_long_names():
    names = [f"vision_model.encoder.layers.{n}.self_attention.attention_block.projection" for n in range(300)]
    display = LayerReductionDisplay(layers=names, before=np.full(300, 4e6), after=np.full(300, 3e6)).plot()

    assert texts(display.ax_.child_axes[0].get_yticklabels())[0] == "3 M of 4 M"
    assert len(display.after_) == 300
    assert_readable(display)


@pytest.mark.parametrize(
    ("number", "shown"),
    [(0, "0"), (99_999, "99,999"), (123_456, "123 k"), (25_557_032, "25.6 M"), (4.1e9, "4.1 G")],
)
def test_large_numbers_are_short(number, shown):
    display = LayerReductionDisplay(layers=["a"], before=[number], after=[number]).plot()

    assert texts(display.ax_.child_axes[0].get_yticklabels()) == [f"{shown} of {shown}"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"layers": []}, ParameterError, r"'layers' .* one layer at least\. Got an array of shape \(0,\) instead"),
        ({"before": [1]}, ParameterError, r"'before' .* for each of the 2 layers\. Got an array of shape \(1,\)"),
        ({"before": ["many", "few"]}, ParameterTypeError, "'before' .* Got list of something else instead"),
        ({"after": [1, -1]}, ParameterError, r"'after' .* a number from 0 on .* Got -1\.0 instead"),
        ({"after": [1, np.nan]}, ParameterError, "'after' .* Got nan instead"),
        ({"after": [9, 1]}, ParameterError, "at most what there was before, 4 in 'a'. Got 9 instead"),
        (
            {"blocked": [1, 0]},
            ParameterError,
            r"'blocked' .* Got an array of shape \(2,\) and type int64 instead",
        ),
        ({"of": "memory"}, ParameterError, "'of' parameter of LayerReductionDisplay must be one of"),
    ],
)
def test_errors(change, error, message):
    with pytest.raises(error, match=message):
        LayerReductionDisplay(**{"layers": ["a", "b"], "before": [4, 4], "after": [2, 4], **change})


def test_sources_of_another_type(pruner):
    with pytest.raises(ParameterTypeError, match=r"from_estimator must be a TaylorPruner\. Got dict instead"):
        LayerReductionDisplay.from_estimator({})
    with pytest.raises(NotFittedError):
        LayerReductionDisplay.from_estimator(quick(make_classifier(ConvNet)))
    with pytest.raises(ParameterTypeError, match=r"must be a PrunableNetwork\. Got PlainCNN instead"):
        LayerReductionDisplay.from_network(PlainCNN())
    with pytest.raises(ParameterTypeError, match=r"must be a layer table.* Got list instead"):
        LayerReductionDisplay.from_table([])
    table = pruner.analyze()
    with pytest.raises(ParameterTypeError, match=r"Got a DataFrame without 'macs_reduction' instead"):
        LayerReductionDisplay.from_table(table.drop(columns="macs_reduction"), of="macs")
    with pytest.raises(ParameterError, match=r"'of' .*from_table must be one of"):
        LayerReductionDisplay.from_table(table, of="latency")
    with pytest.raises(ParameterError, match=r"must have a layer with filters. Got 1 layers without instead"):
        LayerReductionDisplay.from_table(table[table["type"] == "MaxPool2d"])


def test_missing_matplotlib(monkeypatch):
    display = LayerReductionDisplay(layers=["a"], before=[2], after=[1])
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(MissingDependencyError, match=r"^LayerReductionDisplay.plot needs matplotlib.*prunekit\[plot\]"):
        display.plot()
