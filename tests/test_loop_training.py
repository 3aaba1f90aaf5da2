"""How the loop trains: budgets, learning rates, cutting, the control run."""

import itertools
from typing import ClassVar

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import Callback, LRScheduler

from prunekit.exceptions import ParameterError, ParameterTypeError
from prunekit.schedules import CubicSchedule, FixedCountSchedule
from tests.nets_skorch import ConvNet, assert_same, fitted_state, make_classifier, make_images, quick


class Recorder(Callback):
    """Notes of every mini-batch of training the learning rate and the number of weights that were trained."""

    rates: ClassVar = []
    sizes: ClassVar = []

    def on_batch_end(self, net, batch=None, training=False, **kwargs):
        if training:
            self.rates.append([group["lr"] for group in net.optimizer_.param_groups])
            self.sizes.append(sum(p.numel() for group in net.optimizer_.param_groups for p in group["params"]))


@pytest.fixture
def recorder(dense):
    Recorder.rates, Recorder.sizes = [], []
    net = make_classifier(callbacks=[("recorder", Recorder())])
    net.initialize().module_.load_state_dict(dense.module_.state_dict())
    return net


# ---------------------------------------------------------------- learning rates


def test_a_cosine_runs_over_all_training(recorder, table):
    quick(
        FrozenEstimator(recorder),
        step=0.1,
        finetune_batches=4,
        final_batches=10,
        lr_policy="cosine",
        target_reduction=0.4,
    ).fit(*table)
    rates = np.array(Recorder.rates)[:, 0]
    assert len(rates) == 4 * 4 + 10
    expected = 0.05 * 0.5 * (1 + np.cos(np.pi * np.arange(26) / 26))
    np.testing.assert_allclose(rates, expected, rtol=1e-9)


def test_a_cosine_ends_at_zero_whatever_the_number_of_steps_was_thought_to_be(recorder, table):
    step = FixedCountSchedule(3)
    pruner = quick(
        FrozenEstimator(recorder),
        step=step,
        finetune_batches=3,
        final_batches=3,
        lr_policy="cosine",
        target_reduction=0.6,
    ).fit(*table)
    rates = np.array(Recorder.rates)[:, 0]
    assert len(rates) == 3 * pruner.n_iterations_ + 3
    assert (np.diff(rates) <= 0).all()
    assert rates[-1] < 0.15 * 0.05


def test_by_default_the_rate_falls_in_a_line_over_the_whole_run(recorder, table):
    params = {"finetune_batches": 4, "final_batches": 10, "target_reduction": 0.4}
    pruner = quick(FrozenEstimator(recorder), step=0.1, **params).fit(*table)
    assert pruner.n_iterations_ == 4
    np.testing.assert_allclose(np.array(Recorder.rates)[:, 0], 0.05 * (1 - np.arange(26) / 26), rtol=1e-9)


def test_the_last_training_anneals(recorder, table):
    params = {"finetune_batches": 4, "final_batches": 10, "target_reduction": 0.4, "lr_policy": "anneal"}
    quick(FrozenEstimator(recorder), step=0.1, **params).fit(*table)
    rates = np.array(Recorder.rates)[:, 0]
    expected = 0.05 * np.concatenate([np.ones(16), 0.5 * (1 + np.cos(np.pi * np.arange(10) / 10))])
    np.testing.assert_allclose(rates, expected, rtol=1e-9)


def test_without_a_last_training_the_last_step_anneals(recorder, table):
    params = {"finetune_batches": 4, "target_reduction": 0.4, "lr_policy": "anneal"}
    quick(FrozenEstimator(recorder), step=0.1, **params).fit(*table)
    rates = np.array(Recorder.rates)[:, 0]
    np.testing.assert_allclose(rates[:13], 0.05)
    assert (np.diff(rates[12:]) < 0).all()


def test_a_constant_rate_ignores_the_schedules_of_the_net(dense, table):
    Recorder.rates = []
    callbacks = [("schedule", LRScheduler("StepLR", step_size=1, gamma=0.1)), ("recorder", Recorder())]
    net = make_classifier(callbacks=callbacks)
    net.initialize().module_.load_state_dict(dense.module_.state_dict())
    quick(FrozenEstimator(net), lr_policy="constant", finetune_epochs=2).fit(*table)
    assert {rate for row in Recorder.rates for rate in row} == {0.05}


@pytest.mark.parametrize("policy", ["linear", "anneal", "constant", "restart", "cosine"])
def test_the_learning_rate_to_start_with(dense, table, policy):
    Recorder.rates = []
    groups = [("output*", {"lr": 0.2})]
    net = make_classifier(callbacks=[("recorder", Recorder())], optimizer__param_groups=groups)
    net.initialize().module_.load_state_dict(dense.module_.state_dict())
    quick(FrozenEstimator(net), lr_policy=policy, finetune_lr=0.01).fit(*table)
    np.testing.assert_allclose(Recorder.rates[0], [0.04, 0.01])  # in proportion
    if policy in ("constant", "restart"):
        np.testing.assert_allclose(Recorder.rates[-1], [0.04, 0.01])


def test_after_a_step_back_the_rate_goes_on_where_it_was(dense, table):
    scores = itertools.chain([0.9, 0.1, 0.1], itertools.repeat(0.9))
    Recorder.rates = []
    net = make_classifier(callbacks=[("recorder", Recorder())])
    net.initialize().module_.load_state_dict(dense.module_.state_dict())
    quick(
        FrozenEstimator(net),
        scoring=lambda net, X, y: next(scores),
        min_score=0.5,
        step_halvings=1,
        finetune_batches=2,
        lr_policy="cosine",
    ).fit(*table)
    rates = [row[0] for row in Recorder.rates]
    assert rates[0] == rates[2] == 0.05  # the second iteration is the first one again
    assert rates[3] > rates[1]  # with smaller steps, of which there are more


# ---------------------------------------------------------------- budgets


def test_final_batches_take_the_place_of_epochs(recorder, table):
    params = {"target_reduction": 0.25, "finetune_batches": 3}
    quick(FrozenEstimator(recorder), final_epochs=5, final_batches=7, **params).fit(*table)
    assert len(Recorder.rates) == 3 + 7


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"final_batches": 0}, ParameterError, r"'final_batches' .* must be an integer"),
        ({"lr_policy": "step"}, ParameterError, r"'lr_policy' .* must be one of 'linear', 'cosine', 'anneal', 'const"),
        ({"finetune_lr": 0.0}, ParameterError, r"'finetune_lr' .* must be a number in \(0, inf\)"),
        ({"compaction": "never"}, ParameterError, r"'compaction' .* must be one of 'step', 'end'"),
        ({"checkpoint": 3}, ParameterTypeError, r"'checkpoint' .* must be the path of a folder or None\. Got 3"),
    ],
)
def test_wrong_parameters(dense, table, params, error, message):
    with pytest.raises(error, match=message):
        quick(FrozenEstimator(dense), **params).fit(*table)


# ---------------------------------------------------------------- cutting


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam])
@pytest.mark.parametrize("criterion", ["taylor", "taylor2"])
def test_cutting_as_you_go_gives_what_masks_give(optimizer, criterion):
    X, y = make_images()
    X = X.astype(np.float64)
    torch.manual_seed(0)
    net = make_classifier(
        ConvNet, optimizer=optimizer, optimizer__weight_decay=1e-3, lr=0.05 if optimizer is torch.optim.SGD else 0.003
    )
    if optimizer is torch.optim.Adam:
        net.set_params(optimizer__momentum=None)
        net = make_adam(net)
    net.initialize()
    net.module_.double()
    params = {"criterion": criterion, "reduction_of": "macs", "step": 0.2, "target_reduction": 0.7, "final_epochs": 1}
    cut, masked = (
        quick(FrozenEstimator(net), compaction=compaction, **params).fit(X, y) for compaction in ("step", "end")
    )
    assert cut.plan_ == masked.plan_
    np.testing.assert_array_equal(cut.ranking_, masked.ranking_)
    np.testing.assert_allclose(cut.importances_, masked.importances_, rtol=1e-5, atol=1e-12)
    weights = masked.estimator_.module_.state_dict()
    for name, value in cut.estimator_.module_.state_dict().items():
        torch.testing.assert_close(value, weights[name], rtol=1e-6, atol=1e-8)
    assert cut.analyze().equals(masked.analyze())


def make_adam(net):
    """Return the net with Adam, which knows no momentum."""
    params = {name: value for name, value in net.get_params(deep=False).items() if name != "optimizer__momentum"}
    del params["_params_to_validate"]
    return type(net)(**params)


def test_what_is_trained_shrinks(recorder, table):
    quick(FrozenEstimator(recorder), step=0.1, target_reduction=0.5, finetune_batches=2).fit(*table)
    sizes = Recorder.sizes
    assert all(later < earlier for earlier, later in zip(sizes[1::2], sizes[3::2], strict=False))
    assert sizes[-1] == pytest.approx(0.5 * sum(p.numel() for p in recorder.module_.parameters()), rel=0.1)


def test_masked_only_trains_all_of_it(recorder, table):
    quick(FrozenEstimator(recorder), step=0.1, finetune_batches=2, compaction="end").fit(*table)
    assert set(Recorder.sizes) == {sum(p.numel() for p in recorder.module_.parameters())}


def test_a_step_is_taken_back_after_a_cut(dense, table):
    scores = iter([0.9, 0.9, 0.9, 0.1, 0.1, 0.1, 0.1])
    params = {"step": 0.2, "target_reduction": 0.6, "min_score": 0.5}
    pruner = quick(FrozenEstimator(dense), scoring=lambda net, X, y: next(scores), **params).fit(*table)
    assert pruner.stop_reason_ == "min_score"
    row = pruner.history_.query("held").iloc[-1]
    assert pruner.reduction_ == row["reduction"]
    width = pruner.estimator_.module_.hidden.out_features
    assert width == pruner.n_prunables_ == row["num_prunables"]
    assert pruner.estimator_.module_.norm.num_features == width


# ---------------------------------------------------------------- history


def test_scores_before_and_after_fine_tuning(dense, table):
    scores = iter([0.9, 0.4, 0.8, 0.3, 0.7, 0.75])
    pruner = quick(FrozenEstimator(dense), scoring=lambda net, X, y: next(scores), final_epochs=1).fit(*table)
    np.testing.assert_array_equal(pruner.history_["score_before"], [np.nan, 0.4, 0.3, np.nan])
    np.testing.assert_array_equal(pruner.history_["score"], [0.9, 0.8, 0.7, 0.75])


def test_memory_is_told(dense, table):
    peaks = quick(FrozenEstimator(dense)).fit(*table).history_["peak_memory_bytes"]
    assert (peaks > 1e7).all()  # an interpreter with PyTorch takes more
    assert (peaks.diff().dropna() >= 0).all()


# ---------------------------------------------------------------- the control run


def test_the_control_run_trains_the_dense_net_as_long(recorder, table):
    params = {"finetune_batches": 4, "final_batches": 6, "lr_policy": "cosine"}
    pruner = quick(FrozenEstimator(recorder), control=True, **params).fit(*table)
    rates, sizes = Recorder.rates, Recorder.sizes
    assert len(rates) == 2 * (2 * 4 + 6)
    assert rates[:14] == rates[14:]
    whole = sum(p.numel() for p in recorder.module_.parameters())
    assert set(sizes[14:]) == {whole}
    control = pruner.control_estimator_
    assert sum(p.numel() for p in control.module_.parameters()) == whole
    valid = recorder.get_split_datasets(*table)[1]
    labels = np.array([label for _, label in valid])
    assert pruner.control_score_ == control.score(valid, labels)
    assert not torch.equal(control.module_.hidden.weight, recorder.module_.hidden.weight)


def test_the_control_run_changes_nothing_else(dense, table):
    plain, controlled = (quick(FrozenEstimator(dense), control=control).fit(*table) for control in (False, True))
    assert_same(fitted_state(plain), fitted_state(controlled))
    assert not hasattr(plain, "control_score_")


def test_a_control_run_that_was_interrupted(dense, table):
    class Impatient(Callback):
        epochs = 0

        def on_epoch_begin(self, net, **kwargs):
            Impatient.epochs += 1
            if Impatient.epochs == 3:
                import signal

                signal.raise_signal(signal.SIGINT)

    net = make_classifier(callbacks=[("impatient", Impatient())])
    net.initialize().module_.load_state_dict(dense.module_.state_dict())
    with pytest.warns(UserWarning, match="There is no control run"):
        pruner = quick(FrozenEstimator(net), control=True).fit(*table)
    assert pruner.stop_reason_ == "target_reduction"
    assert pruner.reduction_ >= 0.5


def test_the_control_run_of_a_distilled_net(dense, table):
    pruner = quick(FrozenEstimator(dense), control=True, distill=1.0, distill_temperature=1.0).fit(*table)
    assert pruner.control_score_ > 0.9  # its teacher is itself, so it hardly moves


# ---------------------------------------------------------------- time that is left


def test_the_bar_foretells_the_mini_batches(dense, table, monkeypatch):
    totals = []
    monkeypatch.setattr("prunekit._loop.progress.Progress.expect", lambda self, left: totals.append(left))
    quick(FrozenEstimator(dense), step=CubicSchedule(4), finetune_batches=5, final_batches=9, score_batches=3).fit(
        *table
    )
    assert totals[0] == 3 + 4 * 5 + 9
    assert totals[-1] == 9
