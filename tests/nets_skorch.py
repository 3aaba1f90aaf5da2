"""Small networks and data for the tests of everything above skorch; importable, so that nets pickle."""

from collections import Counter

import numpy as np
import torch
from sklearn.datasets import load_digits, make_classification
from skorch import NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import Callback
from skorch.dataset import ValidSplit
from torch import Tensor, nn

from prunekit import TaylorPruner

NUM_FEATURES = 20


class Perceptron(nn.Module):
    """Twice linear, with batch norm and dropout between: buffers and random numbers in one small network."""

    def __init__(self, num_hidden=32, num_outputs=2, num_inputs=NUM_FEATURES, dropout=0.1):
        super().__init__()
        self.hidden = nn.Linear(num_inputs, num_hidden)
        self.norm = nn.BatchNorm1d(num_hidden)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(num_hidden, num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(self.dropout(self.norm(self.hidden(x)).relu()))


class TwoInputs(nn.Module):
    """Takes two named inputs."""

    def __init__(self, num_hidden=16):
        super().__init__()
        self.left = nn.Linear(NUM_FEATURES // 2, num_hidden)
        self.right = nn.Linear(NUM_FEATURES // 2, num_hidden)
        self.output = nn.Linear(num_hidden, 2)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.output((self.left(first) + self.right(second)).relu())


class Weighted(Perceptron):
    """Takes further arguments, as fit_params give them."""

    def forward(self, x: Tensor, scale: float = 1.0, groups: object = None) -> Tensor:
        return super().forward(x) * scale


class Straight(nn.Module):
    """Has nothing to prune: its only layer makes the output."""

    def __init__(self):
        super().__init__()
        self.output = nn.Linear(NUM_FEATURES, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(x)


class ConvNet(nn.Module):
    """Two convolutions for 8 x 8 images."""

    def __init__(self, width=8):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
        )
        self.classifier = nn.Linear(2 * width * 16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x).flatten(1))


class Exploding(Perceptron):
    """Gives NaN from its 20th training step on."""

    def __init__(self, num_hidden=32):
        super().__init__(num_hidden)
        self.num_steps = 0

    def forward(self, x: Tensor) -> Tensor:
        self.num_steps += self.training
        return super().forward(x) * (torch.nan if self.num_steps >= 20 else 1.0)


STEPS: Counter[str] = Counter()
"""Training steps by what the network looks like: whole ("dense"), or smaller ("small"). Tests empty it first."""


class CountSteps(Callback):
    """Counts the training steps of a `Perceptron`."""

    def on_batch_end(self, net, batch=None, training=False, **kwargs):
        if training:
            STEPS["dense" if net.module_.hidden.out_features == 32 else "small"] += 1


def make_table(num_samples=400):
    """Return a classification problem of float32."""
    X, y = make_classification(num_samples, NUM_FEATURES, n_informative=8, class_sep=2.0, random_state=0)
    return X.astype(np.float32), y.astype(np.int64)


def make_images(num_samples=600):
    """Return handwritten digits, 1 x 8 x 8 pixels in [0, 1]."""
    X, y = load_digits(return_X_y=True)
    return (X[:num_samples].reshape(-1, 1, 8, 8) / 16).astype(np.float32), y[:num_samples].astype(np.int64)


def make_classifier(module=Perceptron, **params):
    """Return a quick classifier."""
    defaults = {
        "criterion": nn.CrossEntropyLoss,
        "optimizer__momentum": 0.9,
        "lr": 0.05,
        "max_epochs": 3,
        "batch_size": 50,
        "iterator_train__shuffle": True,
        "train_split": ValidSplit(4, stratified=True),
        "verbose": 0,
    }
    return NeuralNetClassifier(module, **defaults | params)


def make_regressor(**params):
    """Return a quick regressor."""
    defaults = {"module__num_outputs": 1, "lr": 0.01, "max_epochs": 3, "batch_size": 50, "verbose": 0}
    return NeuralNetRegressor(Perceptron, **defaults | params)


def quick(estimator, **params):
    """Return a pruner that prunes in two iterations."""
    return TaylorPruner(
        estimator,
        **{"step": 0.25, "final_epochs": 0, "recovery_rounds": 0, "step_halvings": 0, "random_state": 0} | params,
    )


def fitted_state(pruner):
    """Return what two equal fits have in common."""
    return {
        "weights": dict(pruner.estimator_.module_.state_dict()),
        "support": pruner.support_.tolist(),
        "ranking": pruner.ranking_.tolist(),
        "scores": pruner.history_["score"].tolist(),
    }


def fingerprint(net):
    """Return everything of a fitted net that nobody but its owner may change."""
    module = net.module_
    return {
        "weights": {name: value.clone() for name, value in module.state_dict().items()},
        "gradients": {name: None if p.grad is None else p.grad.clone() for name, p in module.named_parameters()},
        "training": [part.training for part in module.modules()],
        "hooks": [
            (len(part._forward_hooks), len(part._forward_pre_hooks), len(part._backward_hooks))
            for part in module.modules()
        ],
        "tensor_hooks": [bool(p._backward_hooks) for p in module.parameters()],
        "requires_grad": [p.requires_grad for p in module.parameters()],
        "optimizer": {
            number: {name: value.clone() if torch.is_tensor(value) else value for name, value in state.items()}
            for number, state in net.optimizer_.state_dict()["state"].items()
        },
        "history": [dict(row) for row in net.history],
        "callbacks": [id(callback) for _, callback in net.callbacks_],
        "params": {name: id(value) for name, value in net.get_params(deep=False).items()},
    }


def assert_same(left, right):
    """Compare nested structures of tensors and values."""
    assert type(left) is type(right)
    if isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            assert_same(left[key], right[key])
    elif isinstance(left, (list, tuple)):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    elif torch.is_tensor(left):
        assert torch.equal(left, right)
    else:
        assert left == right
