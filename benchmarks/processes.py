"""
A grid search over pruners in one process and in two, with the threads that torch takes by default.

Run:  python -m benchmarks.processes
"""

import time

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from skorch import NeuralNetClassifier
from torch import nn

from prunekit import TaylorPruner
from prunekit.pipeline.nets import ConvNet

ROUNDS = 3


def measure(n_jobs: int) -> float:
    """Return the seconds of a search of four fits."""
    X, y = load_digits(return_X_y=True)
    images = (X.reshape(-1, 1, 8, 8) / 16).astype("float32")
    net = NeuralNetClassifier(
        ConvNet,
        module__input_shape=(1, 8, 8),
        module__num_classes=10,
        module__widths=(32, 64, 128),
        criterion=nn.CrossEntropyLoss,
        lr=0.05,
        max_epochs=4,
        verbose=0,
    )
    pruner = TaylorPruner(net, step=0.25, final_epochs=1, random_state=0)
    search = GridSearchCV(pruner, {"target_reduction": [0.4, 0.6]}, cv=2, n_jobs=n_jobs, refit=False)
    start = time.perf_counter()
    search.fit(images, y)
    return time.perf_counter() - start


def main() -> None:
    """Print the seconds of both, in turns."""
    print(f"{torch.get_num_threads()} threads in one process")
    measure(2)  # workers start, and import torch, once
    for _ in range(ROUNDS):
        one, two = measure(1), measure(2)
        print(f"n_jobs=1 {one:.1f} s, n_jobs=2 {two:.1f} s, ratio {two / one:.2f}")


if __name__ == "__main__":
    main()
