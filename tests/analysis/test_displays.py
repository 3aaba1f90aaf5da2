"""What the displays draw, read from the artists; and what they say when they cannot."""

import copy
import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgba
from matplotlib.scale import LinearScale, LogScale, SymmetricalLogScale
from scipy.stats import kendalltau, spearmanr
from sklearn.exceptions import NotFittedError
from torch import nn
from torch.nn import functional as F

from prunekit import CorrelationDisplay, ImportanceDisplay, PrunableNetwork
from prunekit.exceptions import MissingDependencyError, ParameterError, ParameterTypeError, TrainingError
from prunekit.importance import Taylor, oracle
from tests.nets import PlainCNN, ResidualBlock
from tests.nets_skorch import ConvNet, make_classifier, make_images, quick


@pytest.fixture(scope="module")
def pruner():
    return quick(make_classifier(ConvNet), criterion="taylor2").fit(*make_images())


@pytest.fixture
def network():
    """A network with 8 units of conv1 and 6 of conv2, scored."""
    torch.manual_seed(0)
    network = PrunableNetwork(PlainCNN(), torch.randn(2, 3, 8, 8), criterion="taylor")
    score(network)
    return network


def score(network):
    F.cross_entropy(network(torch.randn(8, 3, 8, 8)), torch.randint(4, (8,))).backward()
    network.update_score()


def arrays(sizes=(3, 2, 4), signed=False, seed=0):
    """Return importances, support and layers of a made-up network."""
    rng = np.random.default_rng(seed)
    importances = np.exp(rng.normal(-6, 2, sum(sizes)))
    if signed:
        importances *= rng.choice([-1, 1], importances.size)
    layers = np.repeat([f"layer{number}" for number in range(len(sizes))], sizes)
    return {"importances": importances, "support": importances > np.median(importances), "layers": layers}


def rows_of(points):
    return np.round(points.get_offsets()[:, 1]).astype(int)


def texts(labels):
    return [label.get_text() for label in labels]


def assert_no_overlap(figure, labels):
    """Compare where labels that follow each other stand once the figure is drawn."""
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in labels if label.get_text() and label.get_visible()]
    assert len(boxes) > 1
    assert not any(left.overlaps(right) for left, right in itertools.pairwise(boxes))


# ---------------------------------------------------------------- importance


def test_every_unit_is_one_point_in_the_row_of_its_layer():
    data = arrays()
    display = ImportanceDisplay(**data)

    assert display.plot() is display

    kept, removed = display.kept_, display.removed_
    np.testing.assert_array_equal(kept.get_offsets()[:, 0], data["importances"][data["support"]])
    np.testing.assert_array_equal(removed.get_offsets()[:, 0], data["importances"][~data["support"]])
    rows = np.repeat([0, 1, 2], [3, 2, 4])
    assert rows_of(kept).tolist() == rows[data["support"]].tolist()
    assert rows_of(removed).tolist() == rows[~data["support"]].tolist()
    assert texts(display.ax_.get_yticklabels()) == ["layer0", "layer1", "layer2"]
    assert display.ax_.get_ylim() == (2.5, -0.5)  # the first layer is on top
    assert display.figure_ is display.ax_.figure


def test_points_of_a_row_do_not_hide_each_other():
    display = ImportanceDisplay(importances=np.ones(40), support=np.ones(40, bool), layers=["a"] * 40).plot()

    heights = np.sort(display.kept_.get_offsets()[:, 1])
    assert np.diff(heights).min() > 0.005
    assert np.abs(heights).max() < 0.35


def test_removed_units_differ_in_shape_and_shade():
    display = ImportanceDisplay(**arrays()).plot()

    def grey(points):
        return to_rgba(points.get_facecolor()[0])[:3] @ np.array([0.299, 0.587, 0.114])

    assert grey(display.removed_) - grey(display.kept_) > 0.25
    shapes = [points.get_paths()[0].vertices.shape for points in (display.kept_, display.removed_)]
    assert shapes[0] != shapes[1]


def test_title_legend_and_labels():
    data = arrays()
    display = ImportanceDisplay(**data).plot()

    assert display.ax_.get_title(loc="left") == "Importance of the 9 units, by layer"
    assert display.ax_.get_xlabel() == "Importance (estimated change of the loss)"
    assert display.ax_.get_ylabel() == "Layer"
    assert texts(display.ax_.get_legend().get_texts()) == ["4 kept", "5 removed"]
    (counts,) = display.ax_.child_axes
    left = [data["support"][data["layers"] == name].sum() for name in ("layer0", "layer1", "layer2")]
    assert texts(counts.get_yticklabels()) == [f"{n} of {size}" for n, size in zip(left, (3, 2, 4), strict=True)]


def test_units_without_importance_are_counted_but_not_drawn():
    data = arrays()
    gone = np.flatnonzero(~data["support"])[:2]
    data["importances"][gone] = np.nan
    display = ImportanceDisplay(**data).plot()

    assert len(display.removed_.get_offsets()) == 3
    assert texts(display.ax_.get_legend().get_texts()) == ["4 kept", "5 removed (2 without importance)"]


def test_nothing_has_an_importance():
    display = ImportanceDisplay(importances=[np.nan, np.nan], support=[True, False], layers=["a", "b"]).plot()

    assert len(display.kept_.get_offsets()) == len(display.removed_.get_offsets()) == 0
    display.figure_.canvas.draw()


@pytest.mark.parametrize(
    ("importances", "scale"),
    [
        ([1e-4, 1e-2, 1.0], LogScale),
        ([0.0, 1e-2, 1.0], SymmetricalLogScale),
        ([-1e-3, 1e-2, 1.0], SymmetricalLogScale),
        ([-1.0, -1e-2, -1e-3], SymmetricalLogScale),
        ([1e-30, 1e-2, 1.0], SymmetricalLogScale),
        ([5e-324, 0.0, 0.0], LinearScale),
        ([0.5, 0.6, 1.0], LinearScale),
        ([0.0, 0.0, 0.0], LinearScale),
    ],
)
def test_scale(importances, scale):
    display = ImportanceDisplay(importances=importances, support=[True] * 3, layers=["a"] * 3).plot()

    assert type(display.ax_.xaxis._scale) is scale
    display.figure_.canvas.draw()
    low, high = display.ax_.get_xlim()
    assert low <= min(importances)
    assert high >= max(importances)


@pytest.mark.slow
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("n_layers", [2, 5, 60, 400])
def test_labels_do_not_overlap(n_layers, signed):
    display = ImportanceDisplay(**arrays((8,) * n_layers, signed)).plot()

    assert_no_overlap(display.figure_, display.ax_.get_yticklabels())
    assert_no_overlap(display.figure_, display.ax_.child_axes[0].get_yticklabels())
    assert_no_overlap(display.figure_, display.ax_.get_xticklabels())


def test_the_figure_grows_with_the_layers():
    five, sixty, many = (ImportanceDisplay(**arrays((2,) * n)).plot() for n in (5, 60, 1000))

    heights = [display.figure_.get_figheight() for display in (five, sixty, many)]
    assert heights[0] < 5 < 10 < heights[1] < 16 < heights[2] < 35
    assert len(sixty.ax_.get_yticklabels()) == 60
    assert texts(many.ax_.get_yticklabels())[:2] != ["layer0", "layer1"]


def test_labels_thin_out_in_axes_that_are_given():
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3))
    display = ImportanceDisplay(**arrays((2,) * 60)).plot(right)

    assert display.ax_ is right
    assert display.figure_ is figure
    assert not left.collections
    shown = texts(right.get_yticklabels())
    assert 5 < len(shown) < 20
    step = int(shown[1].removeprefix("layer"))
    assert shown == [f"layer{number}" for number in range(0, 60, step)]
    assert_no_overlap(figure, right.get_yticklabels())


def test_long_names_lose_their_first_parts():
    name = ".".join(["module"] * 12) + ".conv"
    display = ImportanceDisplay(importances=[1, 2], support=[True, True], layers=[name, ""]).plot()

    shown, root = texts(display.ax_.get_yticklabels())
    assert shown == "…" + ".".join(["module"] * 7) + ".conv"
    assert root == "(the network)"


def test_artists_take_arguments():
    display = ImportanceDisplay(**arrays()).plot(kept_kw={"color": "red"}, removed_kw={"label": "gone", "s": 7})

    assert display.kept_.get_facecolor()[0].tolist()[:3] == [1, 0, 0]
    assert display.removed_.get_sizes().tolist() == [7]
    assert texts(display.ax_.get_legend().get_texts()) == ["4 kept", "gone"]


def test_from_estimator(pruner):
    display = ImportanceDisplay.from_estimator(pruner)

    assert len(display.kept_.get_offsets()) == pruner.support_.sum() > 0
    assert len(display.removed_.get_offsets()) == (~pruner.support_).sum() > 0
    assert texts(display.ax_.get_yticklabels()) == ["features.0", "features.4"]
    table = pruner.analyze().set_index("name")
    (counts,) = display.ax_.child_axes
    assert texts(counts.get_yticklabels()) == [
        f"{table['num_filters'][name]} of {width}" for name, width in (("features.0", 8), ("features.4", 16))
    ]
    assert display.ax_.get_xlabel() == "Importance (estimated change of the loss)"


def test_from_estimator_knows_the_defaults_of_a_criterion(pruner):
    activation = copy.copy(pruner).set_params(criterion="taylor_activation")

    label = ImportanceDisplay.from_estimator(activation).ax_.get_xlabel()

    assert label == "Importance (mean size of the estimated change of the loss; l2-normalised in each layer)"


def test_from_estimator_draws_where_it_is_told(pruner):
    _, ax = plt.subplots()

    display = ImportanceDisplay.from_estimator(pruner, ax=ax, removed_kw={"s": 3})

    assert display.ax_ is ax
    assert display.removed_.get_sizes().tolist() == [3]


def test_unit_layers_of_a_pruner(pruner):
    assert pruner.unit_layers_.tolist() == ["features.0"] * 8 + ["features.4"] * 16


def test_unit_layers_of_coupled_filters():
    block = nn.Sequential(nn.Conv2d(3, 4, 3), ResidualBlock(4, 4), nn.Conv2d(4, 2, 3), nn.Flatten(), nn.LazyLinear(2))
    x = torch.randn(2, 3, 9, 9)
    block(x)
    network = PrunableNetwork(block, x)

    layers = network.unit_layers

    for unit in network.units:
        if unit.index is not None:
            owners = [name.rpartition(".")[0] for name, _ in unit.filters]
            assert layers[unit.index] == min(owners, key=network.graph.layers.index)
    shown = list(dict.fromkeys(layers.tolist()))
    assert shown == [layer for layer in network.graph.layers if layer in shown]  # rows are in the network's order
    assert "1.conv2" not in shown  # its filters belong to the units of the first layer


def test_from_network(network):
    display = ImportanceDisplay.from_network(network)

    np.testing.assert_array_equal(display.kept_.get_offsets()[:, 0], network.importances)
    assert len(display.removed_.get_offsets()) == 0
    assert texts(display.ax_.get_yticklabels()) == ["conv1", "conv2"]
    assert display.ax_.get_xlabel() == "Importance (mean square of the estimated change of the loss)"

    network.update_prunables(3)
    with pytest.raises(TrainingError, match=r"call update_score\(\) first"):
        ImportanceDisplay.from_network(network)
    score(network)
    legend = ImportanceDisplay.from_network(network).ax_.get_legend()
    assert texts(legend.get_texts()) == ["11 kept", "3 removed (3 without importance)"]


@pytest.mark.parametrize(
    ("criterion", "label"),
    [
        ("magnitude", "Importance (by magnitude)"),
        ("fisher", "Importance (estimated change of the loss)"),
        (
            Taylor(normalization="l2"),
            "Importance (mean square of the estimated change of the loss; l2-normalised in each layer)",
        ),
    ],
)
def test_the_axis_says_what_is_measured(criterion, label):
    network = PrunableNetwork(PlainCNN(), torch.randn(2, 3, 8, 8), criterion=criterion)
    score(network)

    assert ImportanceDisplay.from_network(network).ax_.get_xlabel() == label


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"importances": [[1.0, 2.0]]},
            ParameterError,
            r"The 'importances' parameter of ImportanceDisplay must hold one number for each unit\. "
            r"Got an array of shape \(1, 2\) instead\.",
        ),
        ({"importances": []}, ParameterError, r"Got an array of shape \(0,\) instead"),
        ({"importances": [1.0, np.inf]}, ParameterError, "must hold finite numbers, or NaN .* Got inf for unit 1"),
        ({"importances": ["many", "few"]}, ParameterTypeError, "must hold one number for each unit. Got list"),
        ({"support": [True]}, ParameterError, r"True or False for each of the 2 units. Got an array of shape \(1,\)"),
        ({"support": [1, 0]}, ParameterTypeError, "True or False for each of the 2 units. Got values of type int64"),
        ({"layers": ["a"]}, ParameterError, r"the name of a layer for each of the 2 units. Got .* \(1,\) instead"),
        ({"layers": [0, 1]}, ParameterTypeError, "the name of a layer for each of the 2 units. Got int64 instead"),
    ],
)
def test_importance_errors(change, error, message):
    data = {"importances": [1.0, 2.0], "support": [True, False], "layers": ["a", "b"]}

    with pytest.raises(error, match=message):
        ImportanceDisplay(**{**data, **change})


def test_sources_of_another_type(network):
    with pytest.raises(ParameterTypeError, match=r"must be a TaylorPruner\. Got PrunableNetwork instead"):
        ImportanceDisplay.from_estimator(network)
    with pytest.raises(NotFittedError):
        ImportanceDisplay.from_estimator(quick(make_classifier(ConvNet)))
    with pytest.raises(ParameterTypeError, match=r"must be a PrunableNetwork\. Got PlainCNN instead"):
        ImportanceDisplay.from_network(network.module)


# ---------------------------------------------------------------- correlation


def scores(size=40, seed=0):
    """Return an oracle with signs, and two criteria."""
    rng = np.random.default_rng(seed)
    true = rng.normal(0.2, 1, size) ** 3
    return true, {"good": true + rng.normal(0, 0.1, size), "size": np.abs(true) + 0.01}


def test_a_panel_a_criterion_with_its_correlations():
    true, importances = scores()

    display = CorrelationDisplay(oracle=true, importances=importances)
    assert display.plot() is display

    assert len(display.axes_) == len(display.points_) == 2
    for (name, values), ax, points in zip(importances.items(), display.axes_, display.points_, strict=True):
        np.testing.assert_array_equal(points.get_offsets(), np.c_[true, values])
        spearman, kendall = spearmanr(true, values).statistic, kendalltau(true, values).statistic
        assert ax.get_title() == f"{name}\nSpearman {spearman:.3f}, Kendall {kendall:.3f}".replace("-", "−")
        assert display.correlations.loc[name].tolist() == [spearman, kendall, 40]
        assert ax.get_xlabel() == "True change of the loss"
        assert ax.get_xscale() == "symlog"
    assert [ax.get_yscale() for ax in display.axes_] == ["symlog", "log"]
    assert [ax.get_ylabel() for ax in display.axes_] == ["Importance", ""]
    assert display.figure_.get_suptitle() == "Importance against the true change of the loss, 40 units"


def test_nan_leaves_units_out():
    true, importances = scores()
    true[3] = importances["good"][3] = importances["good"][7] = np.nan

    display = CorrelationDisplay.from_scores(true, importances)

    counted = np.delete(np.arange(40), [3, 7])
    np.testing.assert_array_equal(display.points_[0].get_offsets()[:, 0], true[counted])
    assert display.correlations["n_units"].to_dict() == {"good": 38, "size": 39}
    assert display.correlations["spearman"]["good"] == spearmanr(true[counted], importances["good"][counted]).statistic
    assert [ax.get_title().splitlines()[0] for ax in display.axes_] == ["good, 38 units", "size, 39 units"]


def test_a_constant_criterion_has_no_correlation():
    true, _ = scores()

    display = CorrelationDisplay.from_scores(true, {"constant": np.ones(40)})

    assert np.isnan(display.correlations["spearman"]["constant"])
    assert display.axes_[0].get_title() == "constant, 40 units\nSpearman undefined, Kendall undefined"


def test_colours_by_layer():
    true, importances = scores()
    layers = np.repeat(["first", "second", "third", "fourth"], 10)

    display = CorrelationDisplay.from_scores(true, importances, layers=layers)

    for points in display.points_:
        assert points.get_array().tolist() == np.repeat(np.arange(4), 10).tolist()
    shades = display.points_[0].cmap(np.arange(4))[:, :3] @ np.array([0.299, 0.587, 0.114])
    assert np.diff(shades).min() > 0.1  # also in grey
    bar = display.figure_.axes[-1]
    assert bar.get_ylabel() == "Layer"
    assert texts(bar.get_yticklabels()) == ["first", "second", "third", "fourth"]
    assert bar.yaxis_inverted()


def test_a_colour_overrides_the_layers():
    true, importances = scores()

    display = CorrelationDisplay.from_scores(true, importances, layers=["a", "b"] * 20, color="red", s=4)

    assert display.points_[1].get_facecolor()[0].tolist()[:3] == [1, 0, 0]
    assert display.points_[1].get_sizes().tolist() == [4]
    assert len(display.figure_.axes) == 2  # no bar


def test_grid_and_labels_of_many_panels():
    true, importances = scores()
    display = CorrelationDisplay.from_scores(true, {f"criterion{n}": importances["good"] for n in range(5)})

    assert len(display.figure_.axes) == 5
    labelled = [(bool(ax.get_xlabel()), bool(ax.get_ylabel())) for ax in display.axes_]
    assert labelled == [(False, True), (False, False), (True, False), (True, True), (True, False)]
    for ax in display.axes_:
        assert_no_overlap(display.figure_, ax.get_xticklabels())
        assert_no_overlap(display.figure_, ax.get_yticklabels())
    assert_no_overlap(display.figure_, [ax.title for ax in display.axes_])


def test_correlation_in_axes_that_are_given():
    true, importances = scores()
    figure, axes = plt.subplots(2, 1)

    display = CorrelationDisplay(oracle=true, importances=importances, layers=["a", "b"] * 20).plot(axes)

    assert display.axes_.tolist() == axes.tolist()
    assert display.figure_ is figure
    assert figure.get_suptitle() == ""
    assert all(ax.get_xlabel() and ax.get_ylabel() for ax in axes)
    one = CorrelationDisplay(oracle=true, importances={"good": importances["good"]})
    assert one.plot(axes[0]).axes_.tolist() == [axes[0]]
    with pytest.raises(ParameterError, match=r"must hold 2 axes, one for each criterion\. Got 1 instead"):
        CorrelationDisplay(oracle=true, importances=importances).plot(axes[0])


def test_correlation_with_the_oracle_of_a_network(network):
    x, y = torch.randn(16, 3, 8, 8), torch.randint(4, (16,))

    true = oracle(network, [(x, y)], F.cross_entropy, units=range(10))
    display = CorrelationDisplay.from_scores(true, {"taylor": network.importances}, layers=network.unit_layers)

    assert display.correlations["n_units"].to_list() == [10]
    assert texts(display.figure_.axes[-1].get_yticklabels()) == ["conv1", "conv2"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"oracle": [1.0, np.inf]}, ParameterError, "'oracle' parameter of CorrelationDisplay must hold finite"),
        ({"importances": [1.0, 2.0]}, ParameterTypeError, "must be a dict from names .* Got list instead"),
        ({"importances": {}}, ParameterError, "must hold at least one criterion. Got none instead"),
        (
            {"importances": {"a": [1.0]}},
            ParameterError,
            r"The 'importances\['a'\]' parameter .* for each of the 2 units. Got an array of shape \(1,\) instead",
        ),
        ({"importances": {"a": [np.nan, 1.0]}, "oracle": [1.0, np.nan]}, ParameterError, "Got NaN for all of them"),
        ({"layers": ["a"]}, ParameterError, r"name of a layer for each of the 2 units. Got .* \(1,\) instead"),
    ],
)
def test_correlation_errors(change, error, message):
    data = {"oracle": [1.0, 2.0], "importances": {"a": [1.0, 2.0]}}

    with pytest.raises(error, match=message):
        CorrelationDisplay(**{**data, **change})


# ---------------------------------------------------------------- without matplotlib


@pytest.mark.parametrize(
    "display",
    [ImportanceDisplay(**arrays()), CorrelationDisplay(oracle=[1, 2], importances={"a": [1, 2]})],
    ids=lambda display: type(display).__name__,
)
def test_missing_matplotlib(display, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(MissingDependencyError, match=r'pip install "prunekit\[plot\]"') as caught:
        display.plot()
    assert str(caught.value).startswith(f"{type(display).__name__}.plot needs matplotlib")
    assert isinstance(caught.value, ImportError)


def test_prunekit_does_not_import_matplotlib():
    code = "import sys, prunekit, prunekit.cli; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
