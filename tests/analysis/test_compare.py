"""`compare`: exact costs against the networks themselves, scores and intervals against other implementations."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import binomtest
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import accuracy_score, r2_score, recall_score
from skorch import NeuralNet
from torch import nn
from torch.utils.data import TensorDataset

from prunekit import PrunableNetwork, compare, save
from prunekit.analysis._intervals import paired_difference, r2_estimates, wilson
from prunekit.cost import count_params
from prunekit.exceptions import InputError, ParameterError, ParameterTypeError
from tests.nets import PlainCNN
from tests.nets_skorch import ConvNet, make_classifier, make_images, make_regressor, make_table, quick

QUICK = {"batch_sizes": [1], "repeats": 2}


@pytest.fixture(scope="module")
def digits():
    X, y = make_images(600)
    return X[:300], y[:300], X[300:], y[300:]


@pytest.fixture(scope="module")
def dense(digits):
    return make_classifier(ConvNet, max_epochs=6).fit(*digits[:2])


@pytest.fixture(scope="module")
def pruner(dense, digits):
    return quick(FrozenEstimator(dense), finetune_epochs=1).fit(*digits[:2])


@pytest.fixture(scope="module")
def table(dense, pruner, digits):
    return compare(dense, pruner, *digits[2:], batch_sizes=[1, 3], repeats=3)


def test_costs_are_those_of_the_networks(table, dense, pruner, tmp_path):
    totals = pruner.analyze().attrs["totals"]
    small = pruner.transform()

    assert table.loc["params", ["dense", "compact"]].to_list() == [
        count_params(dense.module_),
        count_params(small.module_),
    ]
    assert table.loc["macs", ["dense", "compact"]].to_list() == [totals["macs"]["before"], totals["macs"]["after"]]
    assert table.loc["params", "reduction"] == pytest.approx(pruner.reduction_)
    weights = {
        name: sum(tensor.nbytes for tensor in net.module_.state_dict().values())
        for name, net in (("dense", dense), ("compact", small))
    }
    for name, when in (("dense", "before"), ("compact", "after")):
        assert table.loc["peak_activation_bytes", name] == totals["memory_bytes"][when] - weights[name]
    saved = save(dense.module_, tmp_path / "dense.safetensors").stat().st_size
    assert 0 < saved - table.loc["file_bytes", "dense"] < 500  # the plan that the file has besides
    assert table.loc["file_bytes", "dense"] > weights["dense"]


def test_peak_of_activations_by_hand():
    net = nn.Sequential(nn.Linear(10, 40), nn.Linear(40, 2))

    row = compare(net, net, torch.randn(3, 10), **QUICK).loc["peak_activation_bytes"]

    assert row["dense"] == 4 * (10 + 40)  # the input and what the first layer makes of it


def test_latencies_have_quartiles(table):
    for size in (1, 3):
        row = table.loc[f"latency_ms_batch_{size}"]
        for name in ("dense", "compact"):
            assert 0 < row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
        assert row["reduction"] == pytest.approx(1 - row["compact"] / row["dense"])


def test_accuracy_and_agreement(table, dense, pruner, digits):
    X, y = digits[2:]
    before, after = dense.predict(X), pruner.predict(X)

    row = table.loc["accuracy"]
    assert row["dense"] == pytest.approx(accuracy_score(y, before))
    assert row["compact"] == pytest.approx(accuracy_score(y, after))
    assert row["change_low"] <= row["change"] <= row["change_high"]
    expected = binomtest(int((before == y).sum()), len(y)).proportion_ci(method="wilson")
    assert (row["dense_low"], row["dense_high"]) == pytest.approx((expected.low, expected.high))
    assert table.loc["agreement", "compact"] == pytest.approx((before == after).mean())
    assert np.isnan(table.loc["agreement", "dense"])
    assert np.isnan(row["reduction"])


def test_classes(dense, pruner, digits):
    X, y = digits[2:]
    keep = y != 3
    table = compare(dense, pruner, X[keep], y[keep], level="class", **QUICK)
    before, after = dense.predict(X[keep]), pruner.predict(X[keep])

    assert table.index.name == "class"
    found = table[table["num_samples"] > 0]
    assert found.index.to_list() == sorted(set(y) - {3})
    expected = recall_score(y[keep], after, labels=found.index, average=None)
    assert found["compact_recall"].to_list() == pytest.approx(expected)
    assert table["dense_predicted"].to_dict() == {label: (before == label).sum() for label in table.index}
    assert (found["change"]).to_list() == pytest.approx(found["compact_recall"] - found["dense_recall"])
    assert table.loc[table["num_samples"] == 0, "dense_recall"].isna().all()


def test_modules_nets_and_pruners_give_the_same_rows(table, dense, pruner, digits):
    X, y = digits[2:]
    same = [name for name in table.index if not name.startswith("latency")]
    small = pruner.transform()
    for one, other in (
        (dense.module_, small.module_),
        (FrozenEstimator(dense), small),
        (NeuralNet(dense.module_, nn.CrossEntropyLoss, train_split=None).initialize(), pruner),
    ):
        got = compare(one, other, X, y, **QUICK)
        pd.testing.assert_frame_equal(got.loc[same], table.loc[same])


def test_data_of_other_kinds(table, dense, pruner, digits):
    X, y = digits[2:]
    for data in (
        torch.from_numpy(X),
        X.astype("float64"),
        TensorDataset(torch.from_numpy(X), torch.from_numpy(y)),
    ):
        got = compare(dense, pruner, data, torch.from_numpy(y), **QUICK)
        assert got.loc["accuracy"].to_list()[1:] == pytest.approx(table.loc["accuracy"].to_list()[1:], nan_ok=True)


def test_prunable_network_is_compacted():
    torch.manual_seed(0)
    network = PrunableNetwork(PlainCNN(), torch.randn(2, 3, 8, 8), criterion="random")
    dense = network.compact()
    network.update_prunables(4)

    row = compare(dense, network, torch.randn(9, 3, 8, 8), **QUICK)
    assert row.loc["params", "compact"] == count_params(network.compact())
    assert "agreement" not in row.index  # nothing tells what the outputs are


def test_labels_that_are_words(dense, digits):
    X, y = digits[:2]
    words = np.array([f"digit {label}" for label in y], dtype=object)
    pruner = quick(make_classifier(ConvNet, max_epochs=1)).fit(X, words)

    assert compare(pruner, pruner, X, words, **QUICK).loc["agreement", "compact"] == 1.0
    with pytest.raises(InputError, match="'compact' parameter of compare must fit the predictions of 'dense'"):
        compare(dense, pruner, X, y, **QUICK)


def test_regression():
    X, _ = make_table(300)
    y = (X[:, :1] * 2 + X[:, 1:2]).astype("float32")
    dense = make_regressor(max_epochs=8).fit(X, y)
    pruner = quick(FrozenEstimator(dense), finetune_epochs=1).fit(X, y)

    table = compare(dense, pruner, X, y, **QUICK)

    row = table.loc["r2"]
    assert row["dense"] == pytest.approx(r2_score(y, dense.predict(X)), abs=1e-6)
    assert row["compact"] == pytest.approx(r2_score(y, pruner.predict(X)), abs=1e-6)
    assert row["change"] == pytest.approx(row["compact"] - row["dense"])
    for name in ("dense", "compact", "change"):
        assert row[f"{name}_low"] < row[name] < row[f"{name}_high"]
    assert table.loc["agreement", "compact"] == pytest.approx(r2_score(dense.predict(X), pruner.predict(X)), abs=1e-6)
    again = compare(dense, pruner, X, y, **QUICK)
    pd.testing.assert_series_equal(again.loc["r2"], row)
    other = compare(dense, pruner, X, y, random_state=1, **QUICK)
    assert other.loc["r2", "dense_low"] != row["dense_low"]


def test_data_types_do_not_depend_on_the_networks(table):
    net = PlainCNN()
    small = compare(net, net, torch.randn(2, 3, 8, 8), batch_sizes=[])

    assert small.dtypes.to_dict() == table.dtypes.to_dict()
    assert small.index.to_list() == ["params", "macs", "file_bytes", "peak_activation_bytes"]
    assert all(f"``{name}``" in compare.__doc__ for name in small.index)


def test_networks_stay_as_they_are(dense, pruner, digits):
    dense.module_.train()
    before = {name: tensor.clone() for name, tensor in dense.module_.state_dict().items()}
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)

    compare(dense.module_, pruner, *digits[2:], **QUICK)

    assert torch.equal(torch.rand(2), expected)
    assert dense.module_.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in dense.module_.state_dict().items())


@pytest.mark.parametrize(
    ("size", "both", "only_before", "only_after"), [(40, 0.6, 0.2, 0.1), (100, 0.85, 0.06, 0.04), (25, 0.3, 0.2, 0.3)]
)
def test_the_interval_of_the_change_covers_the_truth(size, both, only_before, only_after):
    random = np.random.default_rng(0)
    shares = [both, only_before, only_after, 1 - both - only_before - only_after]
    covered = []
    for _ in range(1500):
        drawn = random.choice(4, size, p=shares)
        found = paired_difference(drawn <= 1, (drawn == 0) | (drawn == 2), 0.95)
        covered.append(found.low <= only_after - only_before <= found.high)

    assert 0.93 <= np.mean(covered) <= 0.99


def test_intervals_at_the_ends():
    none, all_of = wilson(0, 20, 0.95), wilson(20, 20, 0.95)
    assert (none.low, all_of.high) == (0.0, 1.0)
    assert 0 < none.high < 0.2 < 0.8 < all_of.low < 1
    same = paired_difference(np.ones(30, bool), np.ones(30, bool), 0.95)
    assert same.value == 0
    assert same.low < 0 < same.high
    assert np.isnan(wilson(0, 0, 0.95).value)
    constant = r2_estimates(np.ones((5, 1)), np.ones((5, 1)), np.zeros((5, 1)), 0.95, 0)[0]
    assert np.isnan([constant.value, constant.low]).all()


def test_resamples_are_those_of_r2_score():
    random = np.random.default_rng(0)
    targets = random.normal(size=(60, 2))
    before, after = targets + random.normal(size=(2, 60, 2))
    drawn = [r2_score(targets[rows], before[rows]) for rows in random.integers(0, 60, (4000, 60))]

    found = r2_estimates(targets, before, after, 0.9, 0)[0]

    assert (found.low, found.high) == pytest.approx(np.percentile(drawn, [5, 95]), abs=0.03)


class OneSample(nn.Module):
    """Takes one sample or two."""

    def forward(self, x):
        if len(x) > 2:
            raise ValueError("too many")
        return x


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"dense": make_classifier()},
            ParameterTypeError,
            "'dense' parameter.*NeuralNetClassifier that is not",
        ),
        (
            {"compact": quick(make_classifier())},
            ParameterTypeError,
            "'compact' parameter.*TaylorPruner that is not",
        ),
        ({"compact": PlainCNN}, ParameterTypeError, "Got the class PlainCNN instead"),
        ({"compact": 3}, ParameterTypeError, "Got int instead"),
        ({"X": None}, ParameterTypeError, "'X' parameter of compare must hold samples"),
        ({"level": "row"}, ParameterError, "'level' parameter of compare must be one of"),
        ({"level": "class"}, ParameterError, "classifiers with 'y' only"),
        ({"task": "ranking"}, ParameterError, "'task' parameter of compare must be one of"),
        ({"confidence": 1.0}, ParameterError, "'confidence' parameter of compare"),
        ({"batch_sizes": [0]}, ParameterError, "'batch_sizes' parameter of compare"),
        ({"y": np.zeros(5, int)}, InputError, "'y' parameter of compare must fit the predictions"),
        ({"y": np.array(["a"] * 4), "task": "regression"}, InputError, "must hold numbers for task"),
        (
            {"dense": OneSample(), "compact": OneSample(), "batch_sizes": [9]},
            InputError,
            "numbers of samples on which both networks run. Got 9, on which 'dense' raises ValueError: too many",
        ),
        (
            {
                "compact": nn.Sequential(nn.Flatten(), nn.Linear(192, 1)),
                "task": "classification",
            },
            InputError,
            "NeuralNetBinaryClassifier",
        ),
    ],
)
def test_errors(change, error, message):
    net = PlainCNN()
    arguments = {"dense": net, "compact": net, "X": torch.randn(4, 3, 8, 8), **QUICK, **change}
    with pytest.raises(error, match=message):
        compare(**arguments)
