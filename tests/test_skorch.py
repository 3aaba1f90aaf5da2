import math
import os
import pickle
import signal
import threading
from typing import ClassVar

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNet, NeuralNetClassifier
from skorch.callbacks import Callback, Checkpoint, GradientNormClipping, InputShapeSetter, LoadInitState
from skorch.dataset import ValidSplit
from skorch.helper import SliceDict, predefined_split
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from prunekit import PrunableNetwork, _skorch
from prunekit.exceptions import InputError, ParameterTypeError, TrainingError
from tests.nets_skorch import (
    NUM_FEATURES,
    Perceptron,
    TwoInputs,
    assert_same,
    fingerprint,
    make_classifier,
    make_table,
)


@pytest.fixture(scope="module")
def table():
    return make_table()


def fitted(table, **params):
    torch.manual_seed(0)
    return make_classifier(max_epochs=2, **params).fit(*table)


@pytest.fixture
def net(table):
    return fitted(table)


# ---------------------------------------------------------------- nets


def test_a_net_is_found_inside_of_frozen_estimators(net):
    assert _skorch.check_net(net, "Owner") == (net, False)
    assert _skorch.check_net(FrozenEstimator(FrozenEstimator(net)), "Owner") == (net, True)


class TwoModules(NeuralNet):
    """Keeps two networks."""

    def initialize_module(self):
        super().initialize_module()
        self.other_ = Perceptron()
        return self


def test_a_net_of_two_modules_is_refused():
    net = TwoModules(Perceptron, nn.CrossEntropyLoss).initialize()
    with pytest.raises(
        ParameterTypeError, match=r"must keep its network in module_ alone\. Got a TwoModules with module_, o"
    ):
        _skorch.check_net(net, "Owner")


def test_a_copy_shares_nothing_but_what_is_changed(net):
    split = ValidSplit(3)
    net.set_params(callbacks=[("clip", GradientNormClipping(1.0))])
    copied = _skorch.copy_net(net, train_split=split)
    assert copied.train_split is split
    assert not copied.initialized_
    assert copied.callbacks[0][1] is not net.callbacks[0][1]
    assert copied.optimizer__momentum == 0.9
    assert copied.fit(*make_table()).module_ is not net.module_


def test_a_copy_does_not_copy_what_is_changed():
    class Uncopyable:
        def __deepcopy__(self, memo):
            raise AssertionError("copied")

        def __call__(self, dataset, y=None):
            return dataset, None

    assert _skorch.copy_net(make_classifier(train_split=Uncopyable()), train_split=None).train_split is None


def test_a_rebuilt_net_survives_clone_fit_and_pickle(net, table):
    module = Perceptron(num_hidden=5)
    net = make_classifier(module__num_hidden=32, module__dropout=0.3, verbose=0).fit(*table)
    new = _skorch.rebuild(net, module, trained=net)
    assert new.module_ is new.module is module
    assert not [name for name in new.get_params() if name.startswith("module__")]
    np.testing.assert_array_equal(new.classes_, [0, 1])
    for changed in (
        clone(new).fit(*table),
        pickle.loads(pickle.dumps(new)).fit(*table),
        clone(new).set_params(lr=0.1).fit(*table),
    ):
        assert changed.module_.hidden.out_features == 5
    parameters = {id(parameter) for group in new.optimizer_.param_groups for parameter in group["params"]}
    assert parameters == {id(parameter) for parameter in module.parameters()}


class Counting(NeuralNetClassifier):
    """Learns something of its own in `fit`."""

    def check_data(self, X, y):
        super().check_data(X, y)
        self.counts_ = np.bincount(y)


def test_a_rebuilt_net_has_what_the_fitted_one_has_learned(table):
    X, y = table
    net = Counting(Perceptron, criterion=nn.CrossEntropyLoss, max_epochs=1, verbose=0).fit(X, y)
    new = _skorch.rebuild(net, Perceptron(4), trained=net)
    np.testing.assert_array_equal(new.counts_, net.counts_)
    assert new.counts_ is not net.counts_
    assert [dict(row) for row in new.history] == [dict(row) for row in net.history]
    assert new.history is not net.history


class Tempered(nn.Module):
    """A loss with a parameter that is trained."""

    def __init__(self):
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(()))

    def forward(self, outputs, targets):
        return nn.functional.cross_entropy(outputs * self.temperature, targets)


def test_a_rebuilt_net_keeps_a_trained_loss(table):
    net = fitted(table, criterion=Tempered)
    new = _skorch.rebuild(net, Perceptron(4), trained=net)
    assert new.criterion_.temperature.item() == net.criterion_.temperature.item() != 1
    assert new.criterion_.temperature is not net.criterion_.temperature


def test_callbacks_that_prepare_a_network_are_left_out(table):
    shape = ("shape", InputShapeSetter(param_name="num_inputs"))
    net = make_classifier(callbacks=[shape, InputShapeSetter, LoadInitState(Checkpoint()), GradientNormClipping(1.0)])
    new = _skorch.rebuild(net, Perceptron(4), trained=fitted(table))
    assert [type(callback) for callback in new.callbacks] == [GradientNormClipping]
    assert new.callbacks[0] is not net.callbacks[-1]
    disabled = make_classifier(callbacks="disable")
    assert _skorch.rebuild(disabled, Perceptron(4), trained=fitted(table)).callbacks_ == []


class Stubborn(NeuralNetClassifier):
    """Builds its network whatever `module` is."""

    def initialize_module(self):
        self.module_ = Perceptron()
        return self


def test_a_net_that_ignores_module_is_refused(table):
    net = Stubborn(Perceptron, criterion=nn.CrossEntropyLoss, max_epochs=1, verbose=0).fit(*table)
    with pytest.raises(ParameterTypeError, match="Got a net whose initialize_module builds another one instead"):
        _skorch.rebuild(net, Perceptron(4), trained=net)


def test_a_probe_takes_no_random_numbers(table):
    net = make_classifier(callbacks=[InputShapeSetter(param_name="num_inputs")])
    before = torch.get_rng_state()
    probe = _skorch.make_probe(net, table[0][:, :7], table[1])
    assert probe.module_.hidden.in_features == 7
    assert torch.equal(torch.get_rng_state(), before)
    assert not net.initialized_


def test_a_copy_of_a_fitted_net_is_independent(net, table):
    before = fingerprint(net)
    copied = _skorch.copy_fitted(net)
    copied.partial_fit(*table)
    assert_same(fingerprint(net), before)
    assert len(copied.history) == 4


@pytest.mark.parametrize(
    ("module", "dtype"),
    [
        (nn.Linear(2, 2), torch.float32),
        (nn.Linear(2, 2).double(), torch.float64),
        (nn.Linear(2, 2, dtype=torch.complex64), torch.float32),
        (nn.ReLU(), None),
    ],
)
def test_float_dtype(module, dtype):
    assert _skorch.float_dtype(module) == dtype


# ---------------------------------------------------------------- data


@pytest.mark.parametrize(
    ("data", "dtype", "expected"),
    [
        (np.zeros(3), torch.float32, np.float32),
        (np.zeros(3, np.float32), torch.float64, np.float64),
        (np.zeros(3, np.complex128), torch.float32, np.complex64),
        (np.zeros(3, np.int64), torch.float32, np.int64),
        (np.zeros(3, np.uint8), torch.float32, np.uint8),
        (np.array(["a"]), torch.float32, np.dtype("<U1")),
        (np.zeros(3), None, np.float64),
        (torch.zeros(3).double(), torch.float32, torch.float32),
        (torch.zeros(3).long(), torch.float32, torch.int64),
        (np.zeros(3), torch.bfloat16, torch.bfloat16),
    ],
)
def test_floats_are_cast_and_nothing_else(data, dtype, expected):
    assert _skorch.cast_floats(data, dtype).dtype == expected


def test_containers_are_cast():
    pair = _skorch.cast_floats([np.zeros(2), np.zeros(2, np.int64)], torch.float32)
    assert [part.dtype for part in pair] == [np.float32, np.int64]
    named = _skorch.cast_floats(SliceDict(a=np.zeros(2), b=np.zeros(2, np.int64)), torch.float32)
    assert isinstance(named, SliceDict)
    assert named["a"].dtype == np.float32


def test_what_needs_no_cast_is_not_copied():
    for data in (np.zeros(2, np.float32), torch.zeros(2), {"a": torch.zeros(2)}, [1.0, 2.0], "text", None):
        assert _skorch.cast_floats(data, torch.float32) is data


def test_read_only_arrays_are_cast_without_a_warning():
    data = np.zeros(3)
    data.flags.writeable = False
    assert _skorch.cast_floats(data, torch.float32).dtype == np.float32


def test_a_split_is_made_once(table):
    net = make_classifier(train_split=ValidSplit(0.3))
    split = _skorch.split_once(net, *table, {})
    again = split(None), split("anything", y=3, groups=None)
    assert all(pair == (split.train, split.valid) for pair in again)
    assert len(split.train) == 280
    assert not set(split.train.indices) & set(split.valid.indices)


def test_no_split_means_no_validation_data(table):
    split = _skorch.split_once(make_classifier(train_split=None), *table, {})
    assert split.valid is None
    assert len(split.train) == 400


def test_a_split_gets_what_fit_gets(table):
    def by_group(dataset, y, groups):
        return torch.utils.data.Subset(dataset, np.flatnonzero(groups == 0)), None

    split = _skorch.split_once(make_classifier(train_split=by_group), *table, {"groups": np.arange(400) % 4})
    assert len(split.train) == 100


def test_samples_are_the_first_of_the_first_batch(table):
    X, y = table
    net = make_classifier(iterator_valid__drop_last=True)
    before = torch.get_rng_state()
    inputs, targets = _skorch.take_samples(net, net.get_dataset(X, y), 3)
    np.testing.assert_array_equal(inputs, X[:3])
    np.testing.assert_array_equal(targets, y[:3])
    assert torch.equal(torch.get_rng_state(), before)


def test_samples_of_named_inputs(table):
    X, y = table
    net = make_classifier(TwoInputs).initialize()
    dataset = net.get_dataset({"first": X[:, :10], "second": X[:, 10:]}, y)
    example = _skorch.check_samples(net, dataset)
    assert {name: tuple(value.shape) for name, value in example.items()} == {"first": (2, 10), "second": (2, 10)}


def test_samples_of_a_plain_input(net, table):
    (example,) = _skorch.check_samples(net, net.get_dataset(*table), 4)
    assert example.shape == (4, NUM_FEATURES)


def test_samples_that_do_not_fit_name_what_was_given(net):
    dataset = net.get_dataset(
        {"first": np.zeros((4, 2), np.float32), "second": np.zeros(4, np.int64)}, np.zeros(4, int)
    )
    with pytest.raises(InputError, match=r"'first': a batch of float32 of shape \(2, 2\), 'second': a batch of int64"):
        _skorch.check_samples(net, dataset)


# ---------------------------------------------------------------- scores


class Pairs(Dataset):
    """Gives its targets sample by sample only."""

    def __init__(self, X, y):
        self.pairs = list(zip(X, y, strict=True))

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        return self.pairs[index]


@pytest.mark.parametrize("make_dataset", [lambda X, y: TensorDataset(torch.as_tensor(X), torch.as_tensor(y)), Pairs])
def test_a_dataset_is_scored_as_arrays_are(net, table, make_dataset):
    X, y = table
    for scoring in (None, "neg_log_loss"):
        validation = _skorch.make_validation(net, make_dataset(X, y), scoring, "Owner")
        np.testing.assert_array_equal(validation.targets, y)
        expected = _skorch.make_validation(net, net.get_dataset(X, y), scoring, "Owner").score(net)
        assert validation.score(net) == expected
    assert _skorch.make_validation(net, net.get_dataset(X, y), None, "Owner").score(net) == net.score(X, y)


def test_a_scorer_must_give_one_number(net, table):
    validation = _skorch.make_validation(net, net.get_dataset(*table), lambda net, X, y: {"a": 1}, "Owner")
    with pytest.raises(ParameterTypeError, match=r"must give one number\. Got \{'a': 1\} instead"):
        validation.score(net)


# ---------------------------------------------------------------- training


def make_tuner(table, valid=None, **params):
    """Return a fine-tuner, its masked network and a dense net."""
    X, y = table
    net = fitted(table, train_split=None if valid is None else predefined_split(valid), **params)
    network = PrunableNetwork(net.module_, torch.as_tensor(X[:2]))
    split = _skorch.split_once(net, X, y, {})
    masked = _skorch.rebuild(net, network.module, trained=net, verbose=0)
    rates = _skorch.Rates("restart", None)
    return _skorch.FineTuner(masked, network, split, X, y, {}, rates, _skorch.InterruptWatch()), network


def state_of(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def test_the_scoring_pass_changes_nothing(table):
    tuner, network = make_tuner(table)
    before = state_of(network.module)
    phase = tuner.score()
    assert_same(state_of(network.module), before)
    assert network.num_scored == 8
    assert np.isfinite(network.importances).all()
    assert 0 < phase.loss < 1
    assert phase.seconds_scoring > 0 == phase.seconds_training
    assert all(parameter.grad is None for parameter in network.module.parameters())
    assert not tuner.net.optimizer_.state_dict()["state"]
    assert len(tuner.net.history) == 2


def test_the_scoring_pass_can_be_short(table):
    tuner, network = make_tuner(table)
    tuner.score(3)
    assert network.num_scored == 3


def test_scores_come_with_the_training(table):
    tuner, network = make_tuner(table)
    before = state_of(network.module)
    phase = tuner.train(_skorch.Budget(2, None), (0.0, 1.0), "a test")
    assert network.num_scored == 16
    assert not torch.equal(network.module.hidden.weight, before["hidden.weight"])
    assert [row["epoch"] for row in tuner.net.history] == [1, 2, 3, 4]
    assert phase.loss == pytest.approx(np.mean([row["train_loss"] for row in tuner.net.history[2:]]))
    assert 0 < phase.seconds_scoring < phase.seconds_training


def test_removed_units_stay_removed_with_momentum(table):
    tuner, network = make_tuner(table)
    tuner.train(_skorch.Budget(1, None), (0.0, 1.0), "a test")
    network.prune_to(0.5, of="filters")
    removed = ~network.support
    network.reset_score()
    tuner.train(_skorch.Budget(2, None), (0.0, 1.0), "a test")
    np.testing.assert_array_equal(~network.support, removed)
    network.verify(torch.as_tensor(table[0][:50]))


def test_the_optimizer_lives_on_until_weights_are_put_back(table):
    tuner, _ = make_tuner(table)
    tuner.train(_skorch.Budget(1, None), (0.0, 1.0), "a test")
    first = tuner.net.optimizer_
    momentum = [state["momentum_buffer"] for state in first.state.values()]
    tuner.train(_skorch.Budget(1, None), (0.0, 1.0), "a test")
    assert tuner.net.optimizer_ is first
    assert [id(state["momentum_buffer"]) for state in first.state.values()] == list(map(id, momentum))
    tuner.forget_momentum()
    assert not tuner.net.optimizer_.state_dict()["state"]


class Reader(Callback):
    """Notes which samples come in which order; the first feature is their number."""

    order: ClassVar[list[int]] = []  # of the class, as skorch works on copies of the callback

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        if training:
            Reader.order += batch[0][:, 0].long().tolist()


def numbered(table):
    X, y = table
    X = X.copy()
    X[:, 0] = np.arange(len(X))
    return X, y


def test_batches_go_on_where_the_last_ended(table):
    tuner, network = make_tuner(numbered(table), iterator_train__shuffle=False, callbacks=[Reader])
    Reader.order = []
    for _ in range(3):
        tuner.train(_skorch.Budget(1, 3), (0.0, 1.0), "a test")
    assert network.num_scored == 9
    assert Reader.order == [*range(400), *range(50)]


def test_validation_and_callbacks_run_as_in_skorch(table):
    X, y = table
    valid = TensorDataset(torch.as_tensor(X[:40]), torch.as_tensor(y[:40]))
    tuner, _ = make_tuner(table, valid=valid)
    tuner.train(_skorch.Budget(1, 2), (0.0, 1.0), "a test")
    row = tuner.net.history[-1]
    assert {"train_loss", "valid_loss", "valid_acc", "dur"} <= row.keys()
    assert (row["train_batch_count"], row["valid_batch_count"]) == (2, 1)


def test_gradients_are_scored_before_callbacks_change_them(table):
    class ToZero(Callback):
        def on_grad_computed(self, net, named_parameters, **kwargs):
            for _, parameter in named_parameters:
                parameter.grad.zero_()

    tuner, network = make_tuner(table, callbacks=[("zero", ToZero())])
    tuner.train(_skorch.Budget(1, None), (0.0, 1.0), "a test")
    assert (network.importances > 0).any()


def test_callbacks_may_be_disabled(table):
    tuner, network = make_tuner(table, callbacks="disable")
    phase = tuner.train(_skorch.Budget(1, None), (0.0, 1.0), "a test")
    assert network.num_scored == 8
    assert math.isfinite(phase.loss)


def test_training_data_without_a_batch_end_the_phase(table):
    tuner, network = make_tuner(table, iterator_train__shuffle=False)
    tuner._split = _skorch.FixedSplit(TensorDataset(torch.zeros(0, NUM_FEATURES), torch.zeros(0).long()), None)
    phase = tuner.train(_skorch.Budget(1, 4), (0.0, 1.0), "a test")
    assert math.isnan(phase.loss)
    assert network.num_scored == 0


def test_a_loss_that_is_not_finite_names_the_place(table):
    X, y = table
    X = X.copy()
    X[:] = np.inf
    net = make_classifier(module__num_hidden=4)
    with (
        _skorch.InterruptWatch() as interrupts,
        pytest.raises(TrainingError, match="The loss is nan in batch 1 of epoch 1 of"),
    ):
        _skorch.train(net, X, y, {}, interrupts)


# ---------------------------------------------------------------- interrupts


def test_ctrl_c_is_told_from_a_callback_that_stops():
    handler = signal.getsignal(signal.SIGINT)
    with _skorch.InterruptWatch() as interrupts:
        with pytest.raises(KeyboardInterrupt):
            raise KeyboardInterrupt
        interrupts.check()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interrupts.check()
    assert signal.getsignal(signal.SIGINT) is handler


def test_an_ignored_signal_stays_ignored():
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with _skorch.InterruptWatch() as interrupts:
            os.kill(os.getpid(), signal.SIGINT)
            interrupts.check()
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, handler)


def test_in_a_thread_there_is_nothing_to_watch():
    seen = []

    def watch():
        with _skorch.InterruptWatch() as interrupts:
            seen.append(interrupts.interrupted)

    thread = threading.Thread(target=watch)
    thread.start()
    thread.join()
    assert seen == [False]
