"""A training before pruning that ends before its time goes on with the last epoch that was kept, to the last bit."""

import copy
import os
import subprocess
import sys
import textwrap
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import (
    BatchScoring,
    Callback,
    EarlyStopping,
    EpochScoring,
    Freezer,
    GradientNormClipping,
    InputShapeSetter,
    LRScheduler,
    PassthroughScoring,
    TrainEndCheckpoint,
)
from skorch.callbacks import Checkpoint as FileCheckpoint
from skorch.dataset import Dataset
from torch import nn
from torch.optim import lr_scheduler

from prunekit._loop import Checkpoint
from prunekit._random import seeded_rng
from prunekit._skorch import InterruptWatch, _epochs, copy_net, train
from prunekit.exceptions import StateError
from prunekit.io import read_state, write_state
from tests.nets_skorch import Perceptron, assert_same, make_classifier, quick
from tests.test_resume import PowerCutError, whole_state

EPOCHS = 6
STEPS = 6
"""Mini-batches of an epoch."""


class Fuse(Callback):
    """Ends a training after a number of mini-batches, and counts those that there were."""

    left: int | None = None
    seen = 0

    def on_batch_end(self, net, batch=None, training=False, **kwargs):
        if not training:
            return
        Fuse.seen += 1
        if Fuse.left is not None:
            Fuse.left -= 1
            if Fuse.left == 0:
                raise PowerCutError


@pytest.fixture(autouse=True)
def _every_epoch(monkeypatch):
    monkeypatch.setattr(_epochs, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(_epochs, "SHARE", 1e9)
    Fuse.left, Fuse.seen = None, 0
    yield
    Fuse.left = None


def make_net(*callbacks, net=NeuralNetClassifier, module=Perceptron, **params):
    defaults = make_classifier(module, max_epochs=EPOCHS).get_params(deep=False)
    defaults = {name: value for name, value in defaults.items() if not name.startswith("_")}
    return net(**defaults | {"callbacks": [*callbacks, ("fuse", Fuse())]} | params)


def make_pruner(net, folder=None):
    """Return a pruner that only trains."""
    return quick(net, target_reduction=0.0, checkpoint=folder)


def trained(net, table, folder=None):
    """Train as a pruner does before it prunes."""
    net = copy_net(net)
    place = None if folder is None else Checkpoint(folder).place("training")
    with seeded_rng(0):
        train(net, *table, {}, InterruptWatch(), place)
        net.drawn_ = torch.rand(3).tolist()
    return net


def state_of(net):
    return {
        "weights": dict(net.module_.state_dict()),
        "criterion": dict(net.criterion_.state_dict()),
        "history": [{key: value for key, value in row.items() if key != "dur"} for row in net.history],
        "random": getattr(net, "drawn_", None),
    }


def check(make, table, folder, cuts=(9, 14, 7)):
    """Check that cuts after some numbers of mini-batches change nothing; return how many of them were repeated."""
    whole = trained(make(), table)
    steps, Fuse.seen = Fuse.seen, 0
    for cut in cuts:
        Fuse.left = cut
        try:
            trained(make(), table, folder)
        except PowerCutError:
            continue
        break
    Fuse.left = None
    assert_same(state_of(whole), state_of(trained(make(), table, folder)))
    return Fuse.seen - steps


OPTIMIZERS = ["SGD", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "Adagrad", "Adadelta", "RMSprop", "Rprop", "ASGD"]
OPTIMIZERS += [name for name in ("LBFGS", "Adafactor") if hasattr(torch.optim, name)]


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer(table, tmp_path, name):
    kind, lr = getattr(torch.optim, name), 0.1 if name == "LBFGS" else 0.02
    momentum = {"optimizer__momentum": 0.9} if name == "SGD" else {}

    def make():
        params = make_net().get_params(deep=False)
        del params["optimizer__momentum"]
        kept = {key: value for key, value in params.items() if not key.startswith("_")}
        return NeuralNetClassifier(**kept | {"optimizer": kind, "lr": lr, "max_epochs": 3} | momentum)

    again = check(make, table, tmp_path, (9, 5))
    assert 0 < again < 2 * STEPS  # what was begun and not finished


def of_epoch(net):
    return 0.5 ** len(net.history)


SCHEDULES = {
    "step": lambda: LRScheduler(lr_scheduler.StepLR, step_size=2, gamma=0.5),
    "milestones": lambda: LRScheduler(lr_scheduler.MultiStepLR, milestones=[1, 3, 3], gamma=0.5),
    "exponential": lambda: LRScheduler(lr_scheduler.ExponentialLR, gamma=0.8),
    "cosine": lambda: LRScheduler(lr_scheduler.CosineAnnealingLR, T_max=EPOCHS),
    "restarts": lambda: LRScheduler(lr_scheduler.CosineAnnealingWarmRestarts, T_0=2, step_every="batch"),
    "warm": lambda: LRScheduler("WarmRestartLR", base_period=2),
    "one cycle": lambda: LRScheduler(
        lr_scheduler.OneCycleLR, max_lr=0.1, total_steps=EPOCHS * STEPS, step_every="batch"
    ),
    "cyclic": lambda: LRScheduler(lr_scheduler.CyclicLR, base_lr=0.01, max_lr=0.1, step_size_up=4, step_every="batch"),
    "cyclic range": lambda: LRScheduler(
        lr_scheduler.CyclicLR, base_lr=0.01, max_lr=0.1, step_size_up=4, mode="exp_range", gamma=0.9, step_every="batch"
    ),
    "lambda": lambda: LRScheduler(lr_scheduler.LambdaLR, lr_lambda=half_of),
    "multiplied": lambda: LRScheduler(lr_scheduler.MultiplicativeLR, lr_lambda=three_quarters),
    "plateau": lambda: LRScheduler(lr_scheduler.ReduceLROnPlateau, monitor="valid_loss", patience=0, factor=0.5),
    "plateau of accuracy": lambda: LRScheduler(
        lr_scheduler.ReduceLROnPlateau, monitor="valid_acc", mode="max", patience=0
    ),
    "sequence": lambda: LRScheduler(in_a_row),
    "polynomial": lambda: LRScheduler(lr_scheduler.PolynomialLR, total_iters=4),
}


def half_of(epoch):
    return 0.5**epoch


def three_quarters(epoch):
    return 0.75


def in_a_row(optimizer, last_epoch=-1):
    warming = lr_scheduler.LinearLR(optimizer, 0.1, total_iters=2)
    falling = lr_scheduler.MultiStepLR(optimizer, [1, 2], 0.5)
    return lr_scheduler.SequentialLR(optimizer, [warming, falling], milestones=[2])


@pytest.mark.parametrize("name", SCHEDULES)
def test_every_schedule(table, tmp_path, name):
    again = check(lambda: make_net(("schedule", SCHEDULES[name]())), table, tmp_path)
    assert again < 3 * STEPS


CALLBACKS = {
    "early stopping": lambda: [EarlyStopping(patience=2, threshold=0.2, load_best=True)],
    "early stopping by accuracy": lambda: [
        EarlyStopping("valid_acc", lower_is_better=False, patience=3, load_best=True, threshold=0.0)
    ],
    "scores": lambda: [
        ("f1", EpochScoring("f1", lower_is_better=False)),
        ("train_acc", EpochScoring("accuracy", lower_is_better=False, on_train=True, name="train_acc")),
        ("batch_acc", BatchScoring("accuracy", lower_is_better=False, name="batch_acc")),
        ("passed", PassthroughScoring("train_loss", on_train=True)),
    ],
    "clipping": lambda: [GradientNormClipping(0.5)],
    "shape": lambda: [InputShapeSetter(param_name="num_inputs")],
    "freezing": lambda: [Freezer("hidden.*", at=3)],
    "best so far": lambda: [Best()],
    "nothing any more": lambda: [Forgetful()],
}


class Forgetful(Callback):
    """Has a number that becomes None."""

    def on_train_begin(self, net, **kwargs):
        self.wait_ = 2

    def on_epoch_end(self, net, **kwargs):
        if self.wait_ is None:
            net.optimizer_.param_groups[0]["lr"] *= 0.9
        elif len(net.history) == self.wait_:
            self.wait_ = None


class Best(Callback):
    """Keeps numbers as callbacks should, and lets them decide on the training."""

    def on_train_begin(self, net, **kwargs):
        self.best_ = np.inf
        self.name_ = "none"

    def on_epoch_end(self, net, **kwargs):
        loss = net.history[-1, "valid_loss"]
        if loss < self.best_:
            self.best_, self.name_ = loss, f"epoch {len(net.history)}"
        else:
            for group in net.optimizer_.param_groups:
                group["lr"] *= 0.5
        net.history.record("best", self.name_)


@pytest.mark.parametrize("name", CALLBACKS)
def test_every_callback(table, tmp_path, name):
    again = check(lambda: make_net(*CALLBACKS[name]()), table, tmp_path)
    assert again < 3 * STEPS


@pytest.mark.parametrize("seed", range(3))
def test_random_moments(table, tmp_path, seed):
    generator = np.random.default_rng(seed)
    cuts = generator.integers(3, 20, size=12).tolist()

    def make():
        callbacks = [
            ("schedule", LRScheduler(lr_scheduler.CosineAnnealingLR, T_max=EPOCHS)),
            ("stopping", EarlyStopping(patience=3, load_best=True)),
        ]
        return make_net(*callbacks, module__dropout=0.4)

    check(make, table, tmp_path, cuts)


@pytest.mark.parametrize("control", [False, True])
def test_a_whole_fit(table, tmp_path, control):
    """All of it is as if nothing had happened: the network before pruning, what follows, and the history."""

    def make(folder=None):
        net = make_net(EarlyStopping(patience=3, load_best=True))
        return quick(net, store_baseline=True, control=control, final_epochs=1, checkpoint=folder)

    whole = make().fit(*table)
    for cut in (9, 14, 7, 13, 11):
        Fuse.left = cut
        with pytest.raises(PowerCutError):
            make(tmp_path).fit(*table)
    Fuse.left = None
    resumed = make(tmp_path).fit(*table)
    assert_same(state_of(whole.baseline_estimator_), state_of(resumed.baseline_estimator_))
    assert_same(whole_state(whole), whole_state(resumed))
    assert not list(tmp_path.glob("*/training.safetensors"))


def test_without_a_seed(table, tmp_path):
    def fit(folder, cuts):
        for cut in (*cuts, None):
            Fuse.left = cut
            torch.manual_seed(5)
            np.random.seed(5)  # noqa: NPY002
            pruner = make_pruner(make_net(), folder).set_params(random_state=None)
            with nullcontext() if cut is None else pytest.raises(PowerCutError):
                pruner.fit(*table)
        return pruner.estimator_

    assert_same(state_of(fit(tmp_path / "a", [])), state_of(fit(tmp_path / "b", [9, 14])))


def test_a_loss_with_parameters(table, tmp_path):
    class Smoothed(nn.CrossEntropyLoss):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, outputs, target):
            self.calls += self.training
            return super().forward(outputs * self.scale, target) + 0.01 / (1 + self.calls)

    check(lambda: make_net(criterion=Smoothed), table, tmp_path)


def test_numbers_of_another_type_than_the_weights(tmp_path, table):
    """PyTorch casts them when it loads the state of an optimizer."""

    def make():
        params = {key: value for key, value in make_net().get_params(deep=False).items() if not key.startswith("_")}
        del params["optimizer__momentum"]
        return NeuralNetClassifier(**params | {"optimizer": torch.optim.NAdam, "module": Doubled, "lr": 0.01})

    X, y = table
    assert check(make, (X.astype(np.float64), y), tmp_path) < 3 * STEPS


class Doubled(Perceptron):
    """Computes in double precision."""

    def __init__(self):
        super().__init__()
        self.double()


@pytest.mark.slow
def test_workers_of_the_data_loader(table, tmp_path):
    check(lambda: make_net(max_epochs=4, iterator_train__num_workers=1), table, tmp_path, (15,))


# ---------------------------------------------------------------- what is not known begins anew, and is right


class Counting(Callback):
    """Has a memory that nobody knows of."""

    def initialize(self):
        self.count = 0
        return self

    def on_batch_end(self, net, training=False, **kwargs):
        self.count += training
        if training and self.count % 10 == 0:
            net.optimizer_.param_groups[0]["lr"] *= 0.5


class Averaging(Callback):
    """Has weights of its own."""

    def on_epoch_begin(self, net, **kwargs):
        if not hasattr(self, "mean_"):
            self.mean_ = copy.deepcopy(net.module_)

    def on_epoch_end(self, net, **kwargs):
        with torch.no_grad():
            for mean, weight in zip(self.mean_.parameters(), net.module_.parameters(), strict=True):
                mean.lerp_(weight, 0.5)

    def on_train_end(self, net, **kwargs):
        net.module_.load_state_dict(self.mean_.state_dict())


class InClosure(Callback):
    """Remembers in a function."""

    def initialize(self):
        calls = []

        def remember():
            calls.append(None)
            return len(calls)

        self.remember = remember
        return self

    def on_epoch_end(self, net, **kwargs):
        net.optimizer_.param_groups[0]["lr"] /= self.remember()


class OwnLoop(NeuralNetClassifier):
    def fit_loop(self, X, y=None, epochs=None, **kwargs):
        self.initialize_module() if not self.history else None
        return super().fit_loop(X, y, epochs, **kwargs)


class OwnStep(NeuralNetClassifier):
    """Makes a step every third mini-batch."""

    def _zero_grad_optimizer(self, set_to_none=None):
        if len(self.history[-1]["batches"]) % 3 == 0:
            super()._zero_grad_optimizer(set_to_none)


class OwnMemory(NeuralNetClassifier):
    """Weighs the loss by how often it was asked for."""

    calls = 0

    def get_loss(self, y_pred, y_true, X=None, training=False):
        self.calls += training
        return super().get_loss(y_pred, y_true, X=X, training=training) / (1 + 0.01 * self.calls)


class Tired(Perceptron):
    """Counts in an attribute."""

    def __init__(self):
        super().__init__()
        self.steps = 0

    def forward(self, x):
        self.steps += self.training
        return super().forward(x) / (1 + 0.01 * self.steps)


class Noisy(Dataset):
    """Adds noise from a generator of its own."""

    def __init__(self, X, y=None, length=None):
        super().__init__(X, y, length)
        self.generator = np.random.default_rng(0)

    def transform(self, X, y):
        X, y = super().transform(X, y)
        return X + self.generator.normal(scale=0.1, size=X.shape).astype(np.float32), y


class Streaming(Dataset):
    """Reads noise from a stream."""

    def __init__(self, X, y=None, length=None):
        super().__init__(X, y, length)
        self.stream = (number / 1000 for number in range(100_000))

    def transform(self, X, y):
        X, y = super().transform(X, y)
        return X + np.float32(next(self.stream) % 1), y


class Growing(Callback):
    """Gives the loss a parameter later on."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            net.module_.register_buffer("late", torch.ones(()))


class Unfreezing(Callback):
    """Trains the first layer later on."""

    def on_train_begin(self, net, **kwargs):
        net.optimizer_ = torch.optim.SGD(net.module_.output.parameters(), lr=0.05)

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 1:
            net.optimizer_.add_param_group({"params": list(net.module_.hidden.parameters())})


class Shrinking(Callback):
    """Changes a parameter of the net."""

    def on_epoch_end(self, net, **kwargs):
        net.lr *= 0.5
        net.optimizer_.param_groups[0]["lr"] = net.lr


UNKNOWN = {
    "data set that is a stream": lambda folder: make_net(dataset=Streaming),
    "callback that changes the module": lambda folder: make_net(Growing()),
    "callback that changes the optimizer": lambda folder: make_net(Unfreezing()),
    "callback that changes the net": lambda folder: make_net(Shrinking()),
    "callback with a memory": lambda folder: make_net(Counting()),
    "callback with weights": lambda folder: make_net(Averaging()),
    "callback with a closure": lambda folder: make_net(InClosure()),
    "best weights in a file": lambda folder: make_net(FileCheckpoint(dirname=str(folder / "best"), load_best=True)),
    "loop of one's own": lambda folder: make_net(net=OwnLoop),
    "steps of one's own": lambda folder: make_net(net=OwnStep),
    "net with a memory": lambda folder: make_net(net=OwnMemory),
    "module with a memory": lambda folder: make_net(module=Tired),
    "data set with a generator": lambda folder: make_net(dataset=Noisy),
    "sampler with a generator": lambda folder: make_net(
        iterator_train__shuffle=False,
        iterator_train__sampler=torch.utils.data.RandomSampler(range(300), generator=torch.Generator().manual_seed(1)),
    ),
    "shuffling with a generator": lambda folder: make_net(iterator_train__generator=torch.Generator().manual_seed(1)),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_known_begins_anew(table, tmp_path, name):
    cuts = (2 * STEPS + 3,)
    again = check(lambda: UNKNOWN[name](tmp_path), table, tmp_path, cuts)
    assert again >= STEPS + 3  # at least the epoch in which something changed


def test_files_that_are_only_written(table, tmp_path):
    def make():
        return make_net(
            FileCheckpoint(dirname=str(tmp_path / "best")),
            TrainEndCheckpoint(dirname=str(tmp_path / "last"), fn_prefix="x"),
        )

    assert check(make, table, tmp_path) < 3 * STEPS


# ---------------------------------------------------------------- the file


def cut_once(table, folder, cut=2 * STEPS + 3):
    Fuse.left = cut
    with pytest.raises(PowerCutError):
        make_pruner(make_net(), folder).fit(*table)
    Fuse.left = None
    (path,) = folder.glob("*/training.safetensors")
    return path


def test_no_time_is_lost_in_a_short_training(table, tmp_path, monkeypatch):
    monkeypatch.setattr(_epochs, "SECONDS_BETWEEN", 3600.0)
    Fuse.left = 4 * STEPS
    with pytest.raises(PowerCutError):
        make_pruner(make_net(), tmp_path).fit(*table)
    assert [path.name for path in tmp_path.glob("*/*")] == ["start.safetensors"]


def test_it_is_superseded(table, tmp_path):
    cut_once(table, tmp_path)
    quick(make_net(), target_reduction=0.0, checkpoint=tmp_path).fit(*table)
    assert {path.name for path in tmp_path.glob("*/*")} == {
        "start.safetensors",
        "dense.safetensors",
        "loop.safetensors",
    }


def test_a_torn_file_is_told(table, tmp_path):
    path = cut_once(table, tmp_path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StateError, match=r"training\.safetensors"):
        make_pruner(make_net(), tmp_path).fit(*table)


def _change(*keys, to):
    def change(state):
        *way, last = keys
        for key in way:
            state = state[key]
        state[last] = to

    return change


@pytest.mark.parametrize(
    "change",
    [
        _change("epochs", to=100),
        _change("epochs", to="two"),
        _change("tensors", 0, "hidden.weight", to=torch.zeros(3)),
        _change("tensors", to=[]),
        _change("trainable", 0, to=[True]),
        _change("history", to=3),
        _change("history", to=[]),
        _change("callbacks", "valid_acc", "numbers", "best_score_", to="high"),
        _change("callbacks", to={}),
        _change("rng", "torch", to=torch.zeros(3)),
        _change("optimizers", 0, "param_groups", 0, "lr", to="fast"),
    ],
)
def test_a_file_that_says_something_impossible_is_told(table, tmp_path, change):
    path = cut_once(table, tmp_path)
    kept = read_state(path)
    change(kept["state"])
    write_state(path, kept)
    with pytest.raises(StateError, match=r"training\.safetensors' must be what this run has written"):
        make_pruner(make_net(), tmp_path).fit(*table)


def test_together_with_memory(table, tmp_path):
    def make(keeper):
        return make_pruner(make_net(), tmp_path / "run").set_params(memory=keeper)

    whole = make_pruner(make_net()).fit(*table).estimator_
    Fuse.left, Fuse.seen = 2 * STEPS + 3, 0
    with pytest.raises(PowerCutError):
        make(tmp_path / "memory").fit(*table)
    Fuse.left = None
    assert_same(state_of(whole), state_of(make(tmp_path / "memory").fit(*table).estimator_))
    assert Fuse.seen == EPOCHS * STEPS + 3


_PROGRAM = """
    import sys
    import torch
    from skorch.callbacks import EarlyStopping, LRScheduler
    from prunekit._skorch import _epochs
    from tests.nets_skorch import make_classifier, make_table, quick

    torch.set_num_threads(1)
    _epochs.SECONDS_BETWEEN = 0.0
    callbacks = [LRScheduler("CosineAnnealingLR", T_max=60), EarlyStopping(patience=50, load_best=True)]
    net = make_classifier(max_epochs=60, batch_size=10, callbacks=callbacks)
    pruner = quick(net, checkpoint=sys.argv[1]).fit(*make_table())
    torch.save([pruner.estimator_.module_.state_dict(), pruner.estimator_.history[:, "train_loss"]], sys.argv[2])
"""


@pytest.mark.slow
def test_kill_minus_nine(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(_PROGRAM))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "OMP_NUM_THREADS": "1"}
    results = [tmp_path / "whole.pt", tmp_path / "resumed.pt"]

    def command(folder, result):
        return [sys.executable, str(program), str(tmp_path / folder), str(result)]

    subprocess.run(command("whole", results[0]), env=environment, check=True)
    generator, killed, kept = np.random.default_rng(0), 0, set()
    for _ in range(5):
        process = subprocess.Popen(command("resumed", results[1]), env=environment)
        while process.poll() is None and _training_time(tmp_path / "resumed") in kept:
            try:
                process.wait(0.02)
            except subprocess.TimeoutExpired:
                continue
        try:
            process.wait(generator.uniform(0.1, 0.5))
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
            kept |= {_training_time(tmp_path / "resumed"), None}
    else:
        subprocess.run(command("resumed", results[1]), env=environment, check=True)
    assert killed >= 2
    whole, resumed = (torch.load(result, weights_only=False) for result in results)
    assert_same(dict(whole[0]), dict(resumed[0]))
    assert list(whole[1]) == list(resumed[1])


def _training_time(folder):
    return max((path.stat().st_mtime_ns for path in folder.glob("*/training.safetensors")), default=None)
