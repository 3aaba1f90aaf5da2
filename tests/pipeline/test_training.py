"""The dense net is trained as the file says: schedules, callbacks, early ends."""

import signal
import textwrap

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from skorch.callbacks import Callback

from prunekit.exceptions import TrainingError
from prunekit.pipeline import load_experiment, run_experiment
from prunekit.pipeline._data import load_split
from prunekit.pipeline._training import build_net

FILE = """\
    name: tiny
    data: {source: iris, scale: standard}
    net:
      module: {name: MLP, widths: [8, 8]}
      optimizer: SGD
      lr: 0.1
      max_epochs: 4
    prune: {target_reduction: 0.3, step: one_shot, final_epochs: 1}
    outputs: {latency_batch_sizes: [1]}
    """


@pytest.fixture
def load(tmp_path):
    """Return a function that loads FILE with changes."""
    path = tmp_path / "tiny.yaml"
    path.write_text(textwrap.dedent(FILE))
    return lambda *changes: load_experiment(path, changes)


def trained(experiment, *callbacks):
    """Return the net and its data after training, with further callbacks."""
    split = load_split(experiment.data, experiment.seed, experiment.task)
    net = build_net(experiment.net, split.input_shape, split.num_classes, experiment.seed, seeded=True)
    net.set_params(callbacks=[*callbacks, *(net.callbacks or [])])
    return net.fit(split.X_train, split.y_train), split


class Rates(Callback):
    """Remembers the learning rate of each epoch."""

    def __init__(self):
        self.rates = []

    def on_epoch_begin(self, net, **kwargs):
        self.rates.append(net.optimizer_.param_groups[0]["lr"])


def test_schedule_sets_the_rates(load):
    rates = Rates()
    trained(load("net.scheduler={name: StepLR, step_size: 2, gamma: 0.1}"), ("rates", rates))
    assert rates.rates == pytest.approx([0.1, 0.1, 0.01, 0.01])


def test_plateau_is_of_the_training_loss(load):
    net, _ = trained(load("net.scheduler={name: ReduceLROnPlateau, patience: 1, factor: 0.5}"))
    assert len(net.history) == 4


def test_early_end(load):
    stopping = "{name: EarlyStopping, patience: 2, threshold: 100, threshold_mode: abs}"
    net, _ = trained(load(f"net.callbacks=[{stopping}]", "net.max_epochs=50"))
    assert len(net.history) == 3  # the best, and two that are no better


def test_best_weights_are_taken(load):
    stopping = "{name: EarlyStopping, patience: 5, load_best: true}"
    experiment = load(f"net.callbacks=[{stopping}]", "net.max_epochs=40", "net.lr=2.0")
    net, split = trained(experiment)
    _, validation = net.get_split_datasets(split.X_train, split.y_train)
    X = torch.stack([torch.as_tensor(x) for x, _ in validation])
    y = torch.as_tensor([int(label) for _, label in validation])
    with torch.no_grad():
        loss = float(torch.nn.functional.cross_entropy(net.module_.eval()(X), y))
    losses = net.history[:, "valid_loss"]
    assert loss == pytest.approx(min(losses), rel=1e-4)


def test_score_to_stop_by(load):
    scoring = "{name: EpochScoring, scoring: balanced_accuracy, lower_is_better: false}"
    stopping = "{name: EarlyStopping, monitor: balanced_accuracy, lower_is_better: false, patience: 3}"
    net, _ = trained(load(f"net.callbacks=[{scoring}, {stopping}]"))
    assert np.isfinite(net.history[:, "balanced_accuracy"]).all()


class Interrupt(Callback):
    """Presses Ctrl-C."""

    def on_epoch_end(self, net, **kwargs):
        signal.raise_signal(signal.SIGINT)


def test_interrupt_is_no_early_end(load):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            trained(load("net.callbacks=[EarlyStopping]"), ("interrupt", Interrupt()))
    finally:
        signal.signal(signal.SIGINT, before)


def test_loss_of_a_net_that_is_not_finite(load):
    with pytest.raises(TrainingError, match="The loss of the net must be finite"):
        trained(load("net.lr=1.0e+30"))


def test_same_seed_same_weights(load):
    first, second = (trained(load())[0].module_.state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_whole_run_with_everything(load, tmp_path, capsys):
    callbacks = (
        "net.callbacks=[EarlyStopping, {name: GradientNormClipping, gradient_clip_value: 1}, "
        "{name: EpochScoring, scoring: f1_macro, lower_is_better: false}]"
    )
    experiment = load(callbacks, "net.scheduler={name: CosineAnnealingLR, T_max: 4}", "net.criterion=MultiMarginLoss")
    first, again = (run_experiment(experiment, tmp_path / name) for name in ("first", "again"))
    assert first.reduction >= 0.3
    assert first.comparison.pruned.num_correct == again.comparison.pruned.num_correct
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "changes",
    [
        [],
        [
            *("data={source: diabetes, scale: standard, target_scale: standard}", "net.criterion=HuberLoss"),
            *("net.estimator=NeuralNetRegressor", "net.lr=0.01"),
        ],
    ],
    ids=["classification", "regression"],
)
def test_whole_run_in_float64(load, tmp_path, changes):
    single, double = (
        run_experiment(load(*changes, f"data.dtype={dtype}"), tmp_path / dtype) for dtype in ("float32", "float64")
    )
    for name in ("dense", "pruned"):
        dtypes = {tensor.dtype for tensor in load_file(double.folder / f"{name}.safetensors").values()}
        assert dtypes - {torch.int64} == {torch.float64}
    assert double.comparison.pruned.params == single.comparison.pruned.params
    assert double.history["score"].iloc[-1] == pytest.approx(single.history["score"].iloc[-1], abs=0.1)


@pytest.mark.parametrize("criterion", ["MSELoss", "L1Loss", "SmoothL1Loss", "{name: HuberLoss, delta: 0.5}"])
def test_losses_of_regressions(load, criterion):
    experiment = load(
        *("data={source: diabetes, scale: standard, target_scale: standard}", f"net.criterion={criterion}"),
        *("net.estimator=NeuralNetRegressor", "net.optimizer=AdamW", "net.lr=0.01", "net.max_epochs=10"),
    )
    net, split = trained(experiment)
    assert net.history[-1, "valid_loss"] < net.history[0, "valid_loss"]
    assert net.score(split.X_test, split.y_test) > 0.1


@pytest.mark.parametrize(
    "optimizer", ["Adam", "Adamax", "NAdam", "RAdam", "Adadelta", "Adagrad", "RMSprop", "Rprop", "ASGD"]
)
def test_optimizers_train(load, optimizer):
    rate = 1 if optimizer == "Adadelta" else 0.01  # its updates begin tiny
    net, _ = trained(load(f"net.optimizer={optimizer}", f"net.lr={rate}"))
    losses = net.history[:, "train_loss"]
    assert losses[-1] < losses[0]
