"""
In a training loop of your own
==============================

``PrunableNetwork`` needs neither skorch nor a scikit-learn estimator. The loop stays as it was; it gains one line for
each mini-batch, and one for each removal.
"""

# %%
# The data
# --------
import pandas as pd
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from prunekit import ImportanceDisplay, LayerReductionDisplay, PrunableNetwork
from prunekit.pipeline.nets import ResNet

torch.manual_seed(0)
X, y = load_digits(return_X_y=True)
X, y = torch.tensor(X, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16, torch.tensor(y)
train_indices, test_indices = train_test_split(range(len(y)), stratify=y, random_state=0)
loader = DataLoader(TensorDataset(X[train_indices], y[train_indices]), batch_size=32, shuffle=True)
X_test, y_test = X[test_indices], y[test_indices]

# %%
# The loop
# --------
# An ordinary one, as PyTorch's tutorials have it. The optimizer is kept from call to call, with its momentum. The two
# lines that mention ``network`` are all that pruning adds: after ``backward()`` the gradients are there, and
# ``update_score`` reads them. That costs no extra pass.


def train(module, optimizer, epochs, network=None):
    """Train a module; score its filters on the way if there is a network to prune."""
    module.train()
    for _ in range(epochs):
        for batch, target in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(module(batch), target).backward()
            if network is not None:
                network.update_score()
            optimizer.step()


def accuracy(module):
    """Return the fraction of test images that are classified rightly."""
    module.eval()
    with torch.no_grad():
        return (module(X_test).argmax(1) == y_test).float().mean().item()


def num_params(module):
    """Return the number of parameters."""
    return sum(parameter.numel() for parameter in module.parameters())


# %%
# A trained network
# -----------------
# A residual network. Its additions tie filters together: the filters that are added to one another can only go
# together. prunekit finds that out by itself, by running the network once.
module = ResNet((1, 8, 8), 10)
train(module, torch.optim.SGD(module.parameters(), lr=0.02, momentum=0.9), epochs=8)
rows = [("dense", 0.0, num_params(module), accuracy(module))]

# %%
# ``PrunableNetwork`` copies the module; ``module`` itself stays dense. The example inputs are what the network is run
# with; their values do not matter, their shapes do.
#
# The optimizer must be that of the copy, ``network.module``. One that still holds the parameters of the first module
# would train that one, without an error, and the copy would never change.
network = PrunableNetwork(module, X[:2], criterion="taylor")
optimizer = torch.optim.SGD(network.module.parameters(), lr=0.02, momentum=0.9)

# %%
# The first removal
# -----------------
# One epoch to score, then ``prune_to`` removes the least important units until three tenths of the parameters are gone.
#
# The figure has a point for each unit. Units of all layers stand on one scale, and what is removed is what is on the
# left. The layers differ: hardly a filter of the stem is unimportant, and many of the last block are.
train(network.module, optimizer, 1, network)
importances = network.importances  # a removal starts the scores anew, so they are kept here
network.prune_to(0.3, of="params")
display = ImportanceDisplay(
    importances=importances,
    support=network.support,
    layers=network.unit_layers,
    measure="mean square of the estimated change of the loss",
).plot()

# %%
# Step by step
# ------------
# Then on in the same way. Scores begin anew after each removal: what a unit matters changes when others are gone and
# the rest has been trained.
#
# Removed units are masked first. ``cut`` takes them out of the layers, and the optimizer's momentum with them, so that
# the next epoch is that of a smaller network. It is optional: masks hold under any optimizer.
for reduction in (0.5, 0.7, None):
    network.cut(optimizer)
    train(network.module, optimizer, 2, network)
    rows.append(("pruned", network.reduction("params"), num_params(network.module), accuracy(network.module)))
    if reduction is not None:
        network.prune_to(reduction, of="params")

# %%
# The result
# ----------
# ``compact`` returns a plain module of the same class with smaller layers. It compares its output with that of the
# masked network first and raises an error if they differ. ``verify`` does that on inputs of your own, and says by how
# much.
small = network.compact()
rows.append(("compact", network.reduction("params"), num_params(small), accuracy(small)))
print(type(small).__name__, f"largest relative difference: {network.verify(X_test):.1e}")

# %%
# What went
# ---------
# The same number of filters goes from layers that are added to one another, such as ``blocks.1.conv2`` and
# ``blocks.1.shortcut.0``.
display = LayerReductionDisplay.from_network(network)

# %%
# The score here is that of test data, for a look at the course of things only. If it were used to decide when to stop,
# it would have to be that of other data.
pd.DataFrame(rows, columns=["phase", "reduction", "parameters", "test accuracy"]).round(3)
