"""Nets for scikit-learn's common checks: as small as can be, and of the shape that the data ask for."""

import numpy as np
import torch
from sklearn.utils.multiclass import type_of_target
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import InputShapeSetter
from torch import Tensor, nn, optim

from prunekit import TaylorPruner

NUM_HIDDEN = 8


class Small(nn.Module):
    """Twice linear; a single output has no dimension of its own."""

    def __init__(self, num_inputs=1, num_outputs=1, squeeze=True, dtype=torch.float32):
        super().__init__()
        self.hidden = nn.Linear(num_inputs, NUM_HIDDEN, dtype=dtype)
        self.output = nn.Linear(NUM_HIDDEN, num_outputs, dtype=dtype)
        self.squeeze = squeeze

    def forward(self, x: Tensor) -> Tensor:
        y = self.output(self.hidden(x).relu())
        return y.squeeze(1) if self.squeeze and y.shape[1] == 1 else y


class ShapeSetter(InputShapeSetter):
    """Set the number of inputs, and that of outputs for a classifier of several classes."""

    def __repr__(self):
        # Without an address, so that a test has the same name in every process.
        return f"ShapeSetter(classes={self.classes})"

    def __init__(self, param_name="num_inputs", input_dim_fn=None, module_name="module", classes=False):
        super().__init__(param_name, input_dim_fn, module_name)
        self.classes = classes

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        super().on_train_begin(net, X, y, **kwargs)
        if self.classes and type_of_target(y) in ("binary", "multiclass"):
            net.set_params(module__num_outputs=len(np.unique(y)), module__squeeze=False)


def _params(**changes):
    return {
        "optimizer": optim.Adam,
        "lr": 0.1,
        "max_epochs": 8,
        "batch_size": 64,
        "train_split": None,
        "callbacks": [ShapeSetter()],
        "verbose": 0,
    } | changes


def make_adaptive_classifier():
    """Return a classifier of any number of classes."""
    return NeuralNetClassifier(Small, criterion=nn.CrossEntropyLoss, **_params(callbacks=[ShapeSetter(classes=True)]))


def make_adaptive_binary_classifier():
    """Return a classifier of two classes."""
    return NeuralNetBinaryClassifier(Small, **_params())


def make_adaptive_regressor():
    """Return a regressor."""
    return NeuralNetRegressor(Small, **_params())


def make_pruner(net):
    """Return a pruner with a short run."""
    return TaylorPruner(net, step="one_shot", final_epochs=1, random_state=0)
