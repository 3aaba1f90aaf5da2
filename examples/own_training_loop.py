"""Prune inside of a training loop of one's own, with `PrunableNetwork`.

The loop stays as it was: after ``loss.backward()`` the gradients are there, and `update_score` reads them. Every few
epochs `prune_to` masks the least important filters; `compact` returns a plain, smaller module in the end.
"""

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from prunekit import PrunableNetwork
from prunekit.pipeline.nets import ResNet

torch.manual_seed(0)
X, y = load_digits(return_X_y=True)
X, y = torch.tensor(X, dtype=torch.float32).reshape(-1, 1, 8, 8) / 16, torch.tensor(y)
train = DataLoader(TensorDataset(X[:1400], y[:1400]), batch_size=64, shuffle=True)
X_test, y_test = X[1400:], y[1400:]


def train_epochs(module, epochs, network=None):
    """Train a module; score the filters on the way if there is a network to prune."""
    optimizer = torch.optim.SGD(module.parameters(), lr=0.02, momentum=0.9)
    module.train()
    for _ in range(epochs):
        for batch, target in train:
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


module = ResNet((1, 8, 8), 10)
train_epochs(module, 10)
print(f"dense:  {accuracy(module):.3f}, {sum(p.numel() for p in module.parameters()):,} parameters")

network = PrunableNetwork(module, X[:2])
train_epochs(network.module, 1, network)
for reduction in (0.2, 0.4, 0.6, 0.7):
    network.prune_to(reduction, of="params")
    train_epochs(network.module, 2, network)
    print(f"  {network.reduction('params'):.2f} removed: {accuracy(network.module):.3f}")

small = network.compact()
print(f"pruned: {accuracy(small):.3f}, {sum(p.numel() for p in small.parameters()):,} parameters")
print(f"largest relative difference of the outputs: {network.verify(X_test):.1e}")
