import re
import signal
import threading
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNet, NeuralNetClassifier
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    LRScheduler,
    ProgressBar,
    TrainEndCheckpoint,
)
from skorch.dataset import ValidSplit, unpack_data
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from prunekit import PrunableNetwork
from prunekit.exceptions import (
    ParameterError,
    TrainingError,
)
from prunekit.importance import Criterion, Fisher
from prunekit.schedules import FixedCountSchedule
from tests.nets_skorch import (
    Perceptron,
    assert_same,
    fitted_state,
    make_classifier,
    make_table,
    quick,
)

# ---------------------------------------------------------------- thresholds


class Judge:
    """A scorer that gives the scores that a test wants after each training, and remembers what the network gave."""

    def __init__(self, *scores, tuned=True):
        self.scores = list(scores)
        self.outputs = []
        self.tuned = tuned
        self.seen = -1

    def __call__(self, net, X, y):
        seen, self.seen = self.seen, len(net.history)
        if self.tuned and seen == self.seen:
            return 0.0
        self.outputs.append(net.predict_proba(X))
        return self.scores[len(self.outputs) - 1]


def valid_data(pruner, table):
    valid = pruner.estimator_.get_split_datasets(*table)[1]
    return valid, np.array([label for _, label in valid])


def valid_outputs(pruner, table):
    return pruner.predict_proba(valid_data(pruner, table)[0])


@pytest.mark.parametrize(
    ("threshold", "reason"),
    [
        ({"min_score": 0.8}, "min_score"),
        ({"max_score_drop": 0.1}, "max_score_drop"),
        ({"min_score": 0.5, "max_score_drop": 0.1}, "max_score_drop"),
        ({"min_score": 0.8, "max_score_drop": 0.5}, "min_score"),
    ],
)
def test_the_last_network_that_held_the_threshold_is_restored(dense, table, threshold, reason):
    judge = Judge(0.9, 0.9, 0.85, 0.2)
    pruner = quick(FrozenEstimator(dense), target_reduction=0.8, step=0.1, scoring=judge, **threshold).fit(*table)
    assert pruner.stop_reason_ == reason
    assert pruner.n_iterations_ == 3
    assert pruner.history_["held"].tolist() == [True, True, True, False]
    assert pruner.reduction_ == pruner.history_["reduction"].iloc[2]
    np.testing.assert_allclose(valid_outputs(pruner, table), judge.outputs[2], atol=1e-5)
    assert np.abs(judge.outputs[3] - judge.outputs[2]).max() > 1e-3
    assert sorted(set(pruner.ranking_)) == [1, 2, 3]
    np.testing.assert_array_equal(pruner.ranking_ == 1, pruner.support_)


def test_a_first_step_that_breaks_the_threshold_gives_back_the_dense_network(dense, table):
    pruner = quick(FrozenEstimator(dense), scoring=Judge(0.9, 0.2), min_score=0.8, final_epochs=2).fit(*table)
    assert pruner.reduction_ == 0
    assert pruner.support_.all()
    assert_same(dict(pruner.estimator_.module_.state_dict()), dict(dense.module_.state_dict()))


def test_the_final_training_is_undone_if_it_breaks_the_threshold(dense, table):
    judge = Judge(0.9, 0.9, 0.2)
    pruner = quick(
        FrozenEstimator(dense), target_reduction=0.3, step=1.0, scoring=judge, min_score=0.8, final_epochs=1
    ).fit(*table)
    assert pruner.stop_reason_ == "target_reduction"
    assert pruner.history_["held"].tolist() == [True, True, False]
    np.testing.assert_allclose(valid_outputs(pruner, table), judge.outputs[1], atol=1e-5)


def test_the_final_training_follows_a_broken_threshold(dense, table):
    judge = Judge(0.9, 0.9, 0.2, 0.95)
    pruner = quick(FrozenEstimator(dense), step=0.25, scoring=judge, min_score=0.8, final_epochs=1).fit(*table)
    assert pruner.history_["phase"].tolist() == ["dense", "prune", "prune", "final"]
    assert pruner.stop_reason_ == "min_score"
    np.testing.assert_allclose(valid_outputs(pruner, table), judge.outputs[3], atol=1e-5)


def test_a_broken_threshold_is_trained_on(dense, table):
    judge = Judge(0.9, 0.2, 0.3, 0.9, 0.9, 0.9)
    pruner = quick(FrozenEstimator(dense), scoring=judge, min_score=0.8, recovery_rounds=3).fit(*table)
    assert pruner.history_["phase"].tolist() == ["dense", "prune", "recover", "recover", "prune"]
    assert pruner.history_["held"].tolist() == [True, False, False, True, True]
    assert pruner.history_["iteration"].tolist() == [0, 1, 1, 1, 2]
    assert pruner.history_["num_pruned"].iloc[2:4].tolist() == [0, 0]
    assert pruner.stop_reason_ == "target_reduction"
    np.testing.assert_allclose(valid_outputs(pruner, table), judge.outputs[4], atol=1e-5)


def test_without_fine_tuning_there_is_nothing_to_repeat(dense, table):
    judge = Judge(0.9, 0.2, tuned=False)
    params = {"finetune_epochs": 0, "recovery_rounds": 3, "scoring": judge, "min_score": 0.8}
    assert quick(FrozenEstimator(dense), **params).fit(*table).stop_reason_ == "min_score"


def test_a_step_that_breaks_a_threshold_is_halved(dense, table):
    judge = Judge(0.9, 0.9, 0.2, 0.3, 0.85, 0.2, 0.1)
    params = {"step": 0.2, "target_reduction": 0.6, "scoring": judge, "min_score": 0.8}
    pruner = quick(FrozenEstimator(dense), step_halvings=2, **params).fit(*table)
    history = pruner.history_
    assert history["held"].tolist() == [True, True, False, False, True, False]
    assert pruner.stop_reason_ == "min_score"
    reached = history["reduction"].iloc[1]
    aims = history["target"].to_numpy()
    assert aims[2] - reached == pytest.approx(2 * (aims[3] - reached), rel=1e-6)
    assert aims[2] - reached == pytest.approx(4 * (aims[4] - reached), rel=1e-6)
    assert history["num_pruned"].iloc[2] > history["num_pruned"].iloc[3] > history["num_pruned"].iloc[4] > 0
    assert pruner.reduction_ == history["reduction"].iloc[4]
    np.testing.assert_allclose(valid_outputs(pruner, table), judge.outputs[4], atol=1e-5)
    assert sorted(set(pruner.ranking_)) == [1, 2, 3]
    assert (pruner.ranking_ == 1).sum() == pruner.n_prunables_


def test_a_threshold_that_holds_changes_nothing(dense, table):
    plain = quick(FrozenEstimator(dense)).fit(*table)
    held = quick(FrozenEstimator(dense), min_score=0.0, max_score_drop=1.0).fit(*table)
    assert_same(fitted_state(plain), fitted_state(held))


def test_the_dense_network_must_hold_min_score(dense, table):
    with pytest.raises(
        ParameterError, match=r"The 'min_score' parameter of TaylorPruner must be at most .* 0\.7\. Got 0"
    ):
        quick(FrozenEstimator(dense), min_score=0.8, scoring=Judge(0.7)).fit(*table)


def test_a_score_of_nan_cannot_hold_a_threshold(dense, table):
    with pytest.raises(TrainingError, match="The score on the validation data is nan"):
        quick(FrozenEstimator(dense), min_score=0.8, scoring=Judge(np.nan)).fit(*table)


@pytest.mark.parametrize("threshold", ["min_score", "max_score_drop"])
def test_a_threshold_needs_validation_data(table, threshold):
    pruner = quick(make_classifier(train_split=None), **{threshold: 0.1})
    with pytest.raises(
        ParameterError,
        match=rf"The '{threshold}' parameter of TaylorPruner must be None for a net without validation data. "
        r"Got 0.1 instead. Give fit X_val and y_val, or the net a train_split",
    ):
        pruner.fit(*table)


@pytest.mark.parametrize("frozen", [False, True])
def test_validation_data_of_ones_own(table, dense, frozen):
    X, y = table
    net = FrozenEstimator(dense) if frozen else make_classifier(callbacks=[Spy()])
    Spy.seen, Spy.begun = {"train": set(), "valid": set()}, 0
    numbered = np.column_stack([np.arange(len(X)), X[:, 1:]]).astype(np.float32)
    own = X[:30].astype(np.float64)
    judge = Judge(*[0.9] * 10)
    pruner = quick(net, scoring=judge, min_score=0.5).fit(numbered, y, X_val=own, y_val=y[:30])
    assert {len(output) for output in judge.outputs} == {30}
    if not frozen:
        assert Spy.seen["train"] == set(range(len(X)))
    assert pruner.reduction_ >= 0.5
    with pytest.raises(ParameterError, match="The 'X_val' parameter of TaylorPruner"):
        pruner.fit(X, y, y_val=y)


def test_a_threshold_needs_a_score():
    X, y = make_table()
    net = NeuralNet(Perceptron, nn.CrossEntropyLoss, verbose=0)
    with pytest.raises(ParameterError, match=r"for a net without a score method\. Got 0\.5 instead\. Pass scoring"):
        quick(net, min_score=0.5).fit(X, y)


def test_without_validation_data_there_are_no_scores(table):
    pruner = quick(make_classifier(train_split=None)).fit(*table)
    assert np.isnan(pruner.baseline_score_)
    assert pruner.history_["score"].isna().all()
    assert pruner.reduction_ >= 0.5


def test_scoring_is_what_validates_and_scores(dense, table):
    X, y = table
    pruner = quick(FrozenEstimator(dense), scoring="neg_log_loss").fit(X, y)
    assert pruner.baseline_score_ < 0
    proba = pruner.predict_proba(X)
    assert pruner.score(X, y) == pytest.approx(np.log(proba[np.arange(len(y)), y]).mean(), rel=1e-4)


# ---------------------------------------------------------------- the loop


class Spy(Callback):
    """Notes what the network is trained on; the first feature is the number of the sample."""

    # Of the class, as skorch works on copies of the callback.
    seen: ClassVar[dict[str, set[int]]] = {}
    begun: ClassVar[int] = 0

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        Spy.begun += 1

    def on_batch_begin(self, net, batch=None, training=None, **kwargs):
        Spy.seen["train" if training else "valid"].update(batch[0][:, 0].long().tolist())


def test_validation_data_never_leak_into_the_training(table):
    X, y = table
    X = X.copy()
    X[:, 0] = np.arange(len(X))
    Spy.seen, Spy.begun = {"train": set(), "valid": set()}, 0
    quick(make_classifier(callbacks=[Spy], train_split=ValidSplit(0.3)), final_epochs=1).fit(X, y)
    assert Spy.begun == 4  # dense, two iterations, final
    assert len(Spy.seen["valid"]) == 120
    assert len(Spy.seen["train"]) == 280
    assert not Spy.seen["train"] & Spy.seen["valid"]


def test_batches_instead_of_epochs(dense, table):
    pruner = quick(FrozenEstimator(dense), finetune_batches=2, score_batches=1, finetune_epochs=7).fit(*table)
    rows = pruner.estimator_.history[3:]
    assert [row["train_batch_count"] for row in rows] == [2, 2]


class Scored(Criterion):
    """Notes in which mode the batch norm and the network were for every mini-batch scored."""

    name = "scored"
    seen: ClassVar[list] = []

    def reset(self):
        pass

    def observe(self, observation):
        module = observation._module
        Scored.seen.append((module.training, module.norm.training))
        self.n_units = observation.n_units

    def importance(self):
        return np.arange(float(self.n_units))


def test_the_scoring_pass_has_running_statistics(dense, table):
    """All else is in training mode, and so is batch norm in the fine-tuning."""
    Scored.seen = []
    settings = {"score_batches": 3, "finetune_batches": 2, "step": 0.2, "target_reduction": 0.4, "final_epochs": 0}
    quick(FrozenEstimator(dense), criterion=Scored(), **settings).fit(*table)
    assert Scored.seen == [(True, False)] * 3 + [(True, True)] * 4


def test_of_a_long_fine_tuning_some_mini_batches_are_scored(dense, table):
    Scored.seen = []
    settings = {"score_batches": 1, "finetune_batches": 130, "step": 0.2, "target_reduction": 0.2, "final_epochs": 0}
    quick(FrozenEstimator(dense), criterion=Scored(), **settings).fit(*table)
    assert len(Scored.seen) == 1 + 65  # every second one


class Watched(Fisher):
    """Notes how many examples there were in every mini-batch scored."""

    seen: ClassVar[list] = []

    def observe(self, observation):
        Watched.seen.append(len(observation.gates))
        super().observe(observation)


def test_of_a_long_fine_tuning_some_examples_are_scored(dense, table):
    Watched.seen = []
    settings = {"score_batches": 1, "finetune_batches": 130, "step": 0.2, "target_reduction": 0.2, "final_epochs": 0}
    quick(FrozenEstimator(dense), criterion=Watched(), **settings).fit(*table)
    tuned = Watched.seen[1:]
    every = 130 // -(-2048 // tuned[0])
    assert every > 1
    assert len(tuned) == -(-130 // every)
    assert sum(tuned) > 2000


class Scaled(NeuralNetClassifier):
    """Scales its losses as skorch's AccelerateMixin does in half precision."""

    last_scale: ClassVar[float] = 1.0

    def __init__(self, *args, accelerator=None, **kwargs):
        super().__init__(*args, **kwargs)
        self.accelerator = accelerator

    def train_step_single(self, batch, **fit_params):
        self._set_training(True)
        inputs, labels = unpack_data(batch)
        outputs = self.infer(inputs, **fit_params)
        loss = self.get_loss(outputs, labels, X=inputs, training=True)
        self.accelerator.scaler.scale(loss).backward()
        Scaled.last_scale = self.accelerator.scaler.get_scale()
        return {"loss": loss, "y_pred": outputs}

    def _step_optimizer(self, step_fn):
        step_fn()
        self.accelerator.scaler.step(self.optimizer_)
        self.accelerator.scaler.update()


def test_scaled_losses_score_alike(table):
    """Whatever the scale; and the largest one, with which float32 overflows, is lowered."""
    found = []
    for scale in (1.0, 1024.0, 2.0**127):
        torch.manual_seed(0)
        accelerator = SimpleNamespace(scaler=torch.amp.GradScaler("cpu", init_scale=scale))
        params = make_classifier(max_epochs=1, criterion__reduction="sum", lr=0.001).get_params(deep=False)
        net = Scaled(accelerator=accelerator, **params).fit(*table)
        net.accelerator.scaler.update(scale)
        pruner = quick(FrozenEstimator(net), score_batches=40, finetune_batches=30).fit(*table)
        assert Scaled.last_scale == scale if scale < 2.0**127 else Scaled.last_scale < scale
        found.append(pruner.importances_)
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3)
    assert np.isfinite(found[2]).all()


def test_without_fine_tuning_only_the_mask_changes(dense, table):
    pruner = quick(FrozenEstimator(dense), finetune_epochs=0, step=1.0).fit(*table)
    kept = pruner.support_
    before, after = dense.module_.state_dict(), pruner.estimator_.module_.state_dict()
    for name in ("hidden.weight", "norm.weight", "norm.running_mean"):
        assert torch.equal(after[name], before[name][kept])
    assert torch.equal(after["output.bias"], before["output.bias"])
    assert len(pruner.estimator_.history) == 3


def test_a_schedule_object(dense, table):
    class TwoThirds:
        def next_reduction(self, iteration, reduction, target):
            return reduction + (target - reduction) * 2 / 3 if iteration < 2 else target

    pruner = quick(FrozenEstimator(dense), step=TwoThirds()).fit(*table)
    assert pruner.n_iterations_ == 3


def test_a_layer_that_is_nearly_emptied_is_told_of(table):
    net = make_classifier(module__num_hidden=100, max_epochs=1)
    with pytest.warns(UserWarning, match=r"Nearly nothing is left of 'hidden' \([12] filters\)\. If the score suffers"):
        quick(net, target_reduction=0.98, step=1.0, finetune_epochs=0).fit(*table)


def test_a_fixed_number_of_units_an_iteration(dense, table):
    pruner = quick(FrozenEstimator(dense), step=FixedCountSchedule(4), target_reduction=0.4, finetune_epochs=0)
    pruned = pruner.fit(*table).history_.query("phase == 'prune'").num_pruned
    assert list(pruned[:-1]) == [4] * (len(pruned) - 1)
    assert 1 <= pruned.iloc[-1] <= 4
    assert pruner.reduction_ >= 0.4
    with pytest.raises(ParameterError, match="must be a schedule that removes at least 8 units an iteration"):
        pruner.set_params(round_to=8).fit(*table)


@pytest.mark.parametrize("step", ["cubic", "geometric", lambda iteration, reduction, target: target])
def test_schedules_by_name_and_functions(dense, table, step):
    pruner = quick(FrozenEstimator(dense), step=step, finetune_epochs=0).fit(*table)
    assert pruner.stop_reason_ == "target_reduction"
    assert pruner.n_iterations_ == (1 if callable(step) else pruner.n_iterations_)
    assert clone(pruner).step is step


def test_a_schedule_that_stands_still_is_named(dense, table):
    class Still:
        def next_reduction(self, iteration, reduction, target):
            return reduction

    with pytest.raises(ParameterError, match="The 'step' parameter of TaylorPruner must be a schedule whose next_red"):
        quick(FrozenEstimator(dense), step=Still()).fit(*table)


def test_saved_weights_do_not_undo_the_fine_tuning(dense, table, tmp_path):
    saving = [("save", Checkpoint(dirname=tmp_path, load_best=True)), TrainEndCheckpoint(dirname=tmp_path)]
    nets = [make_classifier(callbacks=callbacks) for callbacks in (None, saving)]
    for net in nets:
        net.initialize().module_.load_state_dict(dense.module_.state_dict())
    plain, saved = (quick(FrozenEstimator(net)).fit(*table) for net in nets)
    assert_same(fitted_state(plain), fitted_state(saved))
    assert not list(tmp_path.iterdir())
    assert [type(item) for _, item in saved.estimator_.callbacks[:1]] == [Checkpoint]


@pytest.mark.parametrize(
    "schedule",
    [
        LRScheduler(OneCycleLR, max_lr=0.1, total_steps=3 * 6, step_every="batch"),
        LRScheduler("StepLR", step_size=1, gamma=0.5),
        LRScheduler("ReduceLROnPlateau"),
    ],
)
def test_learning_rate_schedules_begin_anew(table, schedule):
    net = make_classifier(callbacks=[("schedule", schedule)])
    pruner = quick(net, finetune_epochs=2, step=0.1, lr_policy="restart").fit(*table)
    assert pruner.n_iterations_ == 5
    if schedule.policy == "StepLR":
        rates = [row["event_lr"] for row in pruner.estimator_.history]
        assert rates == [0.05, 0.025, 0.0125] + 5 * [0.05, 0.025]


def test_the_result_goes_on_with_its_learning_rate_schedule(table):
    net = make_classifier(callbacks=[("schedule", LRScheduler("StepLR", step_size=1))])
    small = quick(net, target_reduction=0.3).fit(*table).estimator_.partial_fit(*table)
    assert len(small.history) == 3 + 2 + 3


def test_when_nothing_more_may_go_pruning_ends_with_a_warning(dense, table, monkeypatch):
    monkeypatch.setattr(PrunableNetwork, "max_reduction", lambda network, of: 1.0)
    pruner = quick(FrozenEstimator(dense), max_layer_reduction=0.25, reduction_of="filters")
    with pytest.warns(
        UserWarning, match=r"Pruning ended at a reduction of 0\.2353 of filters, below the target of 0\.5"
    ):
        pruner.fit(*table)
    assert pruner.stop_reason_ == "nothing_left_to_prune"
    assert pruner.n_prunables_ == 24
    assert pruner.estimator_.module_.hidden.out_features == 24


def test_early_stopping_ends_one_fine_tuning_only(dense, table):
    net = make_classifier(callbacks=[("stop", EarlyStopping(patience=1, threshold=10.0, sink=lambda text: None))])
    net.initialize().module_.load_state_dict(dense.module_.state_dict())
    pruner = quick(FrozenEstimator(net), finetune_epochs=5).fit(*table)
    assert len(pruner.estimator_.history) == 2 * 2
    assert pruner.stop_reason_ == "target_reduction"


class Interrupting(Callback):
    """Presses Ctrl-C in a fine-tuning, or in the training before it."""

    def __init__(self, after=3):
        self.after = after

    def on_epoch_end(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        if len(net.history) > self.after:
            signal.raise_signal(signal.SIGINT)


def test_ctrl_c_in_the_training_before_is_not_swallowed(table):
    pruner = quick(make_classifier(callbacks=[Interrupting(0)]))
    with pytest.raises(KeyboardInterrupt):
        pruner.fit(*table)
    assert not hasattr(pruner, "estimator_")


def test_ctrl_c_leaves_the_last_whole_iteration(table):
    settings = {"step": 0.1, "target_reduction": 0.6, "final_epochs": 1}
    pruner = quick(make_classifier(callbacks=[Interrupting(5)]), **settings)
    with pytest.warns(UserWarning, match="Pruning was interrupted at a reduction of"):
        pruner.fit(*table)
    assert pruner.stop_reason_ == "interrupted"
    assert pruner.n_iterations_ == 2
    whole = pruner.history_.iloc[-1]
    assert pruner.reduction_ == whole["reduction"]
    assert pruner.n_prunables_ == whole["num_prunables"] == (pruner.ranking_ == 1).sum()
    assert pruner.estimator_.score(*valid_data(pruner, table)) == pytest.approx(whole["score"])
    assert pruner.predict(table[0]).shape == table[1].shape


def test_ctrl_c_in_the_first_iteration_leaves_the_dense_network(table):
    with pytest.warns(UserWarning, match="interrupted at a reduction of 0 of params"):
        pruner = quick(make_classifier(callbacks=[Interrupting(3)])).fit(*table)
    assert pruner.n_iterations_ == 0
    assert pruner.support_.all()


class InterruptedAt(Fisher):
    """Presses Ctrl-C at a mini-batch that is scored."""

    number: ClassVar[int] = 0

    def observe(self, observation):
        InterruptedAt.number -= 1
        if not InterruptedAt.number:
            raise KeyboardInterrupt
        super().observe(observation)


def test_ctrl_c_in_a_scoring_pass_keeps_the_iteration_before(dense, table):
    InterruptedAt.number = 6  # the third pass of two mini-batches
    settings = {"criterion": InterruptedAt(), "score_batches": 2, "finetune_epochs": 0, "step": 0.1}
    with pytest.warns(UserWarning, match="Pruning was interrupted at a reduction of"):
        pruner = quick(FrozenEstimator(dense), **settings).fit(*table)
    assert pruner.n_iterations_ == 2
    assert pruner.reduction_ == pruner.history_["reduction"].iloc[-1] > 0.15
    assert pruner.n_prunables_ == pruner.history_["num_prunables"].iloc[-1]


def test_fit_runs_in_a_thread(dense, table):
    pruner = quick(FrozenEstimator(dense))
    thread = threading.Thread(target=pruner.fit, args=table)
    thread.start()
    thread.join()
    assert pruner.reduction_ >= 0.5


def test_verbose_tells_how_far_it_is(dense, table, capsys):
    quick(FrozenEstimator(dense), verbose=1).fit(*table)
    output = capsys.readouterr()
    assert output.out == ""
    assert re.search(r"Pruned: 5\d\.\d % removed, score ", output.err)
    assert "score 0." in output.err


def test_the_fine_tuning_is_silent(table, capsys):
    net = make_classifier(verbose=1, callbacks=[ProgressBar()]).fit(*table)
    capsys.readouterr()
    quick(FrozenEstimator(net)).fit(*table)
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == ""
