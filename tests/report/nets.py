"""Networks and pruners that reports are made of."""

import functools

import torch
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNetClassifier
from torch import nn

from prunekit import TaylorPruner
from prunekit.pipeline.nets import ConvNet


class Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(width)
        self.act = nn.ReLU()
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return x + self.conv2(self.act(self.norm1(self.conv1(x))))


class Blocked(nn.Module):
    """A network in which nothing can be pruned."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.GroupNorm(1, 8)
        self.last = nn.Conv2d(8, 3, 1)

    def forward(self, x):
        return x + self.last(self.norm(self.conv(x)))


class Positions(nn.Module):
    """A container that holds a parameter of its own."""

    def __init__(self, width):
        super().__init__()
        self.offset = nn.Parameter(torch.randn(1, width, 1, 1))
        self.inner = nn.Conv2d(width, width, 1)

    def forward(self, x):
        return self.inner(x + self.offset)


class Whole(nn.Module):
    """A network with parameters of its own: a token that is added and the weights of its last layer."""

    def __init__(self, width=8):
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, width, 1, 1))
        self.weight = nn.Parameter(torch.randn(2, width, 1, 1))
        self.first = nn.Conv2d(3, width, 1)
        self.body = Positions(width)

    def forward(self, x):
        return nn.functional.conv2d(self.body(self.first(x) + self.token), self.weight)


def make_deep(num_blocks, width=8):
    """Return a network of four layers a block and four more."""
    torch.manual_seed(0)
    blocks = [Block(width) for _ in range(num_blocks)]
    return nn.Sequential(nn.Conv2d(3, width, 3), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 4))


@functools.cache
def digits():
    """Return samples and classes."""
    X, y = load_digits(return_X_y=True)
    return (X[:600] / 16).astype("float32").reshape(-1, 1, 8, 8), y[:600].astype("int64")


@functools.cache
def fitted_pruner():
    """Return a pruner that was fitted on the digits."""
    X, y = digits()
    torch.manual_seed(0)
    net = NeuralNetClassifier(
        ConvNet,
        module__input_shape=(1, 8, 8),
        module__num_classes=10,
        module__widths=[16, 32],
        module__depth=1,
        criterion=nn.CrossEntropyLoss,
        lr=0.05,
        max_epochs=3,
        verbose=0,
    ).fit(X, y)
    pruner = TaylorPruner(
        FrozenEstimator(net), target_reduction=0.5, max_score_drop=0.2, step=0.25, final_epochs=1, random_state=0
    )
    return pruner.fit(X, y)
