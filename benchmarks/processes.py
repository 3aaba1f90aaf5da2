"""
A grid search over pruners in one process and in two.

Run:  python -m benchmarks.processes

One process is timed with one thread and with all that torch takes by default; workers of joblib's default backend get
their share of the cores by joblib.
"""

import time

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from skorch import NeuralNetClassifier
from torch import nn

from prunekit import TaylorPruner
from prunekit.pipeline.nets import ConvNet

ROUNDS = 2


def measure(n_jobs: int) -> float:
    """Return the seconds of a search of four fits."""
    X, y = load_digits(return_X_y=True)
    images = (X.reshape(-1, 1, 8, 8) / 16).astype("float32")
    net = NeuralNetClassifier(
        ConvNet,
        module__input_shape=(1, 8, 8),
        module__num_classes=10,
        module__widths=(16, 32, 64),
        criterion=nn.CrossEntropyLoss,
        lr=0.05,
        max_epochs=2,
        verbose=0,
    )
    pruner = TaylorPruner(net, step=0.25, final_epochs=1, random_state=0)
    search = GridSearchCV(pruner, {"target_reduction": [0.4, 0.6]}, cv=2, n_jobs=n_jobs, refit=False)
    start = time.perf_counter()
    search.fit(images, y)
    return time.perf_counter() - start


def main() -> None:
    """Print the seconds of each way, in turns."""
    default = torch.get_num_threads()
    measure(2)  # workers start, and import torch, once
    for _ in range(ROUNDS):
        torch.set_num_threads(1)
        one = measure(1)
        torch.set_num_threads(default)
        two, many = measure(2), measure(1)
        print(f"n_jobs=1: {one:.1f} s with 1 thread, {many:.1f} s with {default}; n_jobs=2: {two:.1f} s")


if __name__ == "__main__":
    main()
