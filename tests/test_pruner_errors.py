import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNet
from skorch.helper import SliceDict

from prunekit import TaylorPruner
from prunekit.exceptions import (
    InputError,
    NothingToPruneError,
    ParameterError,
    ParameterTypeError,
    TargetError,
    TrainingError,
)
from tests.nets_skorch import (
    NUM_FEATURES,
    Exploding,
    Perceptron,
    Straight,
    assert_same,
    fingerprint,
    make_classifier,
    quick,
)


class Untrainable(Perceptron):
    """A network whose training fails the test."""

    def forward(self, x):
        assert not self.training, "trained before everything was checked"
        return super().forward(x)


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        (
            {"target_reduction": 1.5},
            ParameterError,
            r"The 'target_reduction' parameter of TaylorPruner must be a number in \[0, 1\). Got 1.5 instead.",
        ),
        ({"target_reduction": "half"}, ParameterTypeError, "'target_reduction' .* Got 'half' instead."),
        ({"target_reduction": 0.99}, TargetError, r"'target_reduction' .* must be at most 0\.\d+ of params"),
        (
            {"reduction_of": "flops"},
            ParameterError,
            "'reduction_of' .* must be one of 'params', 'macs', .* Got 'flops'",
        ),
        ({"step": 0.0}, ParameterError, "'step' parameter of TaylorPruner"),
        ({"step": "fast"}, ParameterError, "'step' parameter of TaylorPruner must be one of 'linear'"),
        ({"step": None}, ParameterTypeError, "'step' parameter of TaylorPruner"),
        (
            {"per": "hours"},
            ParameterError,
            "'per' parameter of TaylorPruner must be one of .*Got 'hours' instead",
        ),
        ({"macs_regularization": -1}, ParameterError, "'macs_regularization' .*Got -1 instead"),
        ({"score_momentum": 1.0}, ParameterError, "'score_momentum' .*Got 1.0 instead"),
        ({"score_batches": 0}, ParameterError, "'score_batches' .* integer of at least 1. Got 0 instead."),
        ({"finetune_epochs": -1}, ParameterError, "'finetune_epochs' .* integer of at least 0"),
        ({"finetune_batches": 1.5}, ParameterTypeError, "'finetune_batches' .* Got 1.5 instead."),
        ({"final_epochs": None}, ParameterTypeError, "'final_epochs'"),
        ({"min_score": np.nan}, ParameterError, "'min_score'"),
        ({"max_score_drop": -0.1}, ParameterError, "'max_score_drop'"),
        ({"scoring": "accurate"}, ParameterError, "'scoring' parameter of TaylorPruner .* Got 'accurate' instead."),
        ({"scoring": ["accuracy"]}, ParameterTypeError, "'scoring' parameter of TaylorPruner must be one scorer"),
        ({"random_state": -1}, ParameterError, "'random_state' .* Got -1 instead."),
        ({"random_state": "seed"}, ParameterTypeError, "'random_state' .* Got 'seed' instead."),
    ],
)
def test_wrong_parameters_are_named_before_the_training(table, params, error, message):
    with pytest.raises(error, match=message):
        TaylorPruner(make_classifier(Untrainable), **params).fit(*table)


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        ("net", "Got an object of type str instead."),
        (
            make_pipeline(StandardScaler(), make_classifier()),
            r"Got an object of type Pipeline .* make_pipeline\(\.\.\., T",
        ),
        (Straight(), "Got an object of type Straight instead. Wrap it in a net"),
        (Perceptron, "Got the class Perceptron instead. Wrap it in a net, such as NeuralNetClassifier"),
        (NeuralNet, "Got the class NeuralNet instead. Create an instance of it."),
        (StandardScaler(), "Got an object of type StandardScaler instead. Wrap the network in skorch's"),
    ],
)
def test_what_is_no_net_is_refused(table, estimator, message):
    with pytest.raises(
        ParameterTypeError, match=f"The 'estimator' parameter of TaylorPruner must be a skorch net .*{message}"
    ):
        TaylorPruner(estimator).fit(*table)


def test_a_frozen_net_must_be_fitted(table):
    with pytest.raises(
        ParameterError, match=r"Got FrozenEstimator around a net that is not fitted instead\. Fit the net"
    ):
        TaylorPruner(FrozenEstimator(make_classifier())).fit(*table)


def test_a_net_trimmed_for_prediction_is_refused(table):
    net = make_classifier(max_epochs=1).fit(*table)
    net.trim_for_prediction()
    with pytest.raises(ParameterError, match="a net that trim_for_prediction"):
        TaylorPruner(FrozenEstimator(net)).fit(*table)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (
            torch.zeros((40, NUM_FEATURES), dtype=torch.uint8),
            r"X does not fit the network: Untrainable.forward raised RuntimeError for a batch of uint8 of shape "
            r"\(2, 20\): .* The network computes in float32: cast the data first, such as X.astype\('float32'\).",
        ),
        (torch.zeros((40, NUM_FEATURES), dtype=torch.int64), "for a batch of int64 of shape"),
        (np.zeros((40, 7), dtype=np.float32), r"X does not fit the network: .* a batch of float32 of shape \(2, 7\)"),
        (
            SliceDict(**{f"column_{i}": np.zeros((40, 1), dtype=np.float32) for i in range(NUM_FEATURES)}),
            r"'column_0': a batch of float32 of shape \(2, 1\), .*\(20 in all\): .* stack them first",
        ),
        (np.full((40, NUM_FEATURES, 1), "a"), "The data cannot be turned into tensors: TypeError"),
        (np.full((40, NUM_FEATURES, 1), None, dtype=object), "The data cannot be turned into tensors: TypeError"),
    ],
)
def test_data_that_do_not_fit_are_refused_before_the_training(X, message):
    y = np.arange(40) % 2
    with pytest.raises(InputError, match=message):
        TaylorPruner(make_classifier(Untrainable)).fit(X, y)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.linspace(0, 1, 400), "Unknown label type: continuous"),
        (np.array(["c", "a", "b", "c"] * 100), "y does not fit the loss of .*: .* Target 2 is out of bounds"),
        ((np.arange(400) + 2) % 3, "y does not fit the loss of NeuralNetClassifier: .* Target 2 is out of bounds"),
        (np.arange(399) % 2, r"inconsistent numbers of samples: \[400, 399\]"),
        (None, "The 'y' parameter of TaylorPruner.fit must be an array: .* requires y to be passed"),
        (np.arange(400) * 1j, "Complex data not supported"),
    ],
)
def test_targets_that_do_not_fit_are_refused_before_the_training(table, y, message):
    with pytest.raises(InputError, match=message):
        TaylorPruner(make_classifier(Untrainable, train_split=None)).fit(table[0], y)


def test_a_network_with_nothing_to_prune_is_refused(table):
    with pytest.raises(NothingToPruneError, match="output"):
        TaylorPruner(make_classifier(Straight)).fit(*table)


def test_nan_in_the_training_before_pruning_is_an_error(table):
    X, y = table
    with pytest.raises(
        TrainingError,
        match=r"The loss is nan in batch 2 of epoch 4 of the training before pruning\. Lower the learning rate",
    ):
        TaylorPruner(make_classifier(Exploding, max_epochs=10)).fit(X, y)


def test_nan_in_the_fine_tuning_is_an_error(table):
    net = make_classifier(Exploding, max_epochs=1).fit(*table)
    before = fingerprint(net)
    with pytest.raises(TrainingError, match=r"in batch \d of epoch \d of iteration \d"):
        quick(FrozenEstimator(net)).fit(*table)
    assert_same(fingerprint(net), before)


def test_nan_in_the_scoring_pass_is_an_error(dense, table):
    X, y = table
    X = torch.tensor(X)  # arrays of two dimensions are checked before
    X[-1] = torch.nan  # of the training part
    with pytest.raises(TrainingError, match="The loss is nan while the importance of the filters is estimated"):
        quick(FrozenEstimator(dense)).fit(X, y)


def test_what_the_constraints_leave_is_said_before_the_training(table):
    pruner = TaylorPruner(make_classifier(Untrainable), max_layer_reduction=0.25, target_reduction=0.5)
    message = (
        r"must be at most 0\.\d+ of params .* Got 0.5 instead\. Blocked are 'output' \(network output\)\. "
        r"Constraints are max_layer_reduction=0\.25\."
    )
    with pytest.raises(TargetError, match=message):
        pruner.fit(*table)
