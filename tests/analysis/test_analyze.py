"""`analyze` of whatever a user has at hand."""

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNetClassifier
from skorch.helper import SliceDataset
from torch import nn
from torch.utils.data import TensorDataset

from prunekit import PrunableNetwork, TaylorPruner, TaylorPrunerCV, analyze, save
from prunekit.exceptions import InputError, ParameterError, ParameterTypeError, PlanError
from tests.nets import PlainCNN, reference_net
from tests.nets_skorch import ConvNet, make_classifier, make_images, quick

UNKNOWN = ["removed", "importance"]


@pytest.fixture(scope="module")
def digits():
    return make_images(200)


@pytest.fixture(scope="module")
def dense(digits):
    return make_classifier(ConvNet, max_epochs=1).fit(*digits)


@pytest.fixture(scope="module")
def pruner(dense, digits):
    return quick(FrozenEstimator(dense), exclude="features.4", target_reduction=0.25).fit(*digits)


def rows(table):
    return table.to_dict("list")


def test_module_array_and_tensor_give_the_same_table():
    sample = np.random.default_rng(0).normal(size=(4, 1, 28, 28))
    module = reference_net()

    from_array, from_tensor = analyze(module, sample), analyze(module, torch.from_numpy(sample).float())

    assert rows(from_array) == rows(from_tensor)
    assert from_array["num_learnables"].sum() == 123090
    assert from_array["num_prunable"].sum() == 60


def test_barriers_of_a_network_with_nothing_to_prune():
    norm = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(1, 8), nn.Conv2d(8, 4, 3))
    softmax = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Softmax(1))
    sample = torch.randn(1, 3, 9, 9)

    assert analyze(norm, sample)["blocked_by"].to_list() == [
        "group norm with one group normalises over all channels together (norms=\"subset\" lets them be pruned) in '1'",
        "",
        "network output",
    ]
    assert analyze(softmax, sample)["blocked_by"].to_list() == ["softmax over channels in '1'", ""]


@pytest.mark.parametrize("wrap", [lambda net: net, FrozenEstimator], ids=["net", "frozen"])
def test_skorch_net(dense, digits, wrap):
    assert rows(analyze(wrap(dense), digits[0])) == rows(analyze(dense.module_, digits[0]))


def test_a_net_that_is_not_initialized_stays_so_and_draws_no_random_numbers(digits):
    net = NeuralNetClassifier(ConvNet, module__width=6)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)

    table = analyze(net, digits[0])

    assert torch.equal(torch.rand(3), expected)
    assert not net.initialized_
    assert rows(table) == rows(analyze(ConvNet(6), digits[0]))


def test_data_sets(digits):
    X, y = torch.from_numpy(digits[0]), torch.from_numpy(digits[1])
    module, dataset = ConvNet(), TensorDataset(X, y)

    assert rows(analyze(module, dataset)) == rows(analyze(module, X))
    assert rows(analyze(module, SliceDataset(dataset, 0))) == rows(analyze(module, X))


def test_prunable_network_needs_no_inputs():
    network = PrunableNetwork(PlainCNN(), torch.randn(1, 3, 8, 8), criterion="random")
    network.update_prunables(5)

    assert rows(analyze(network)) == rows(network.analyze())
    units = analyze(network, level="unit")
    assert units["removed"].to_list() == (~network.support).tolist()
    assert units["importance"].isna().all()


def test_units_of_a_network_that_was_cut_are_those_of_the_dense_one():
    network = PrunableNetwork(PlainCNN(), torch.randn(1, 3, 8, 8), criterion="random")
    before = analyze(network, level="unit")
    network.update_prunables(5)
    network.cut()
    after = analyze(network, level="unit")

    assert after["removed"].sum() == 5
    assert rows(after.drop(columns=UNKNOWN)) == rows(before.drop(columns=UNKNOWN))


def test_fitted_pruner(pruner, digits):
    assert rows(analyze(pruner)) == rows(pruner.analyze())
    units = analyze(pruner, digits[0], level="unit")
    assert units["removed"].to_list() == (~pruner.support_).tolist()
    assert np.array_equal(units["importance"], pruner.importances_, equal_nan=True)
    assert set(units["layer"]) == {"features.0"}
    assert analyze(pruner, level="module").loc[0, "num_learnables"] == sum(
        parameter.numel() for parameter in pruner.estimator_.module_.parameters()
    )


def test_units_of_a_fitted_pruner_need_inputs(pruner):
    with pytest.raises(ParameterTypeError, match="'X' parameter of analyze must hold example inputs for the units"):
        analyze(pruner, level="unit")


def test_pruner_that_is_not_fitted_counts_its_settings(dense, digits):
    table = analyze(TaylorPruner(FrozenEstimator(dense), exclude="features.0"), digits[0]).set_index("name")

    assert table["blocked_by"]["features.0"] == "excluded by the user"
    assert table["num_prunable"].to_dict()["features.4"] == 16
    with pytest.raises(ParameterTypeError, match="'X' parameter of analyze must hold example inputs"):
        analyze(TaylorPruner(dense))


def test_cross_validated_pruner(dense, digits):
    search = TaylorPrunerCV(quick(make_classifier(ConvNet, max_epochs=1), exclude="features.0"), reductions=[0.3], cv=2)
    before = analyze(search, digits[0])
    search.fit(*digits)

    assert before.set_index("name")["blocked_by"]["features.0"] == "excluded by the user"
    assert rows(analyze(search)) == rows(search.best_estimator_.analyze())
    assert analyze(TaylorPrunerCV(dense), digits[0])["num_prunable"].sum() == 8 + 16


def test_saved_file_of_a_pruner(pruner, digits, tmp_path):
    path = save(pruner, tmp_path / "small.safetensors")

    assert rows(analyze(path, digits[0], module=ConvNet())) == rows(
        pruner.analyze().assign(
            num_prunable=analyze(path, digits[0], module=ConvNet())["num_prunable"],  # the file knows no 'exclude'
            blocked_by=analyze(ConvNet(), digits[0])["blocked_by"],
        )
    )
    assert analyze(str(path), digits[0], module=ConvNet(), level="unit")["removed"].sum() == (~pruner.support_).sum()


def test_saved_file_with_channels_of_a_norm_removed(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.Linear(8, 3))
    network = PrunableNetwork(net, torch.randn(2, 5), criterion="random", norms="subset")
    network.update_prunables(3)
    path = save(network, tmp_path / "small.safetensors")

    assert rows(analyze(path, torch.randn(2, 5), module=net)) == rows(network.analyze())


def test_saved_file_that_does_not_fit(pruner, digits, tmp_path):
    path = save(pruner, tmp_path / "small.safetensors")
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"nothing")

    with pytest.raises(PlanError, match="does not fit the network"):
        analyze(path, digits[0], module=ConvNet(6))
    with pytest.raises(PlanError, match=r"is no whole safetensors file"):
        analyze(other, digits[0], module=ConvNet())
    with pytest.raises(ParameterTypeError, match=r"'module' parameter of analyze must be a dense network.*Got None"):
        analyze(path, digits[0])
    with pytest.raises(FileNotFoundError, match=r"'nowhere' cannot be read: No such file"):
        analyze("nowhere", digits[0], module=ConvNet())


@pytest.mark.parametrize(
    ("network", "sample", "error", "message"),
    [
        (NeuralNetClassifier(PlainCNN), None, ParameterTypeError, "'X' parameter of analyze must hold example inputs"),
        (
            NeuralNetClassifier(PlainCNN, module__width=3),
            torch.randn(1, 3, 8, 8),
            ParameterError,
            r"must be a net that can be initialized. Got NeuralNetClassifier, with which that raises TypeError",
        ),
        (PlainCNN, torch.randn(1, 3, 8, 8), ParameterTypeError, "Got PlainCNN itself, not an instance of it, instead"),
        (PlainCNN(), None, ParameterTypeError, "'X' parameter of analyze must hold example inputs"),
        (PlainCNN(), torch.randn(1, 5, 8, 8), InputError, "PlainCNN does not run on the example inputs"),
        (object(), torch.randn(1, 5), ParameterTypeError, "Got object instead"),
    ],
)
def test_errors(network, sample, error, message):
    with pytest.raises(error, match=message):
        analyze(network, sample)


def test_errors_of_parameters():
    with pytest.raises(ParameterError, match=r"'level' parameter of analyze must be one of 'layer', 'unit', 'module'"):
        analyze(PlainCNN(), torch.randn(1, 3, 8, 8), level="row")
    with pytest.raises(ParameterError, match="'module' parameter of analyze must be None unless a saved file"):
        analyze(PlainCNN(), torch.randn(1, 3, 8, 8), module=PlainCNN())
