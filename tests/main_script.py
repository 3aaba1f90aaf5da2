"""What the tests run as a script: the module class is of ``__main__``, as in a notebook."""

import json
import pickle
import sys
import warnings
from pathlib import Path

import cloudpickle
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, cross_validate
from skorch import NeuralNetClassifier
from torch import nn

from prunekit import TaylorPruner
from tests.nets_skorch import NUM_FEATURES, make_table


class Net(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(NUM_FEATURES, 16), nn.ReLU(), nn.Linear(16, 2))


def search(pruner, X, y):
    """Return the scores of a search in two processes, or what it says."""
    grid = {"target_reduction": [0.3, 0.5]}
    try:
        found = GridSearchCV(pruner, grid, cv=2, n_jobs=2, refit=False, error_score="raise").fit(X, y)
    except Exception as exc:
        return f"{type(exc).__name__}: {exc}"
    return found.cv_results_["mean_test_score"].tolist()


def returned(pruner, X, y):
    """Return what a cross-validation that returns fitted pruners says."""
    try:
        return str(cross_validate(pruner, X, y, cv=2, n_jobs=2, return_estimator=True))
    except Exception as exc:
        return f"{type(exc).__name__}: {exc}"


def main(path):
    X, y = make_table(120)
    net = NeuralNetClassifier(Net, criterion=nn.CrossEntropyLoss, lr=0.1, max_epochs=1, train_split=None, verbose=0)
    settings = {"step": 0.5, "final_epochs": 0, "random_state": 0}
    pruner = TaylorPruner(net, **settings)
    found = {"class": search(pruner, X, y), "returned": returned(pruner, X, y)}
    pruner.fit(X, y)
    found["fitted"] = search(pruner, X, y)
    net.fit(X, y)
    found["initialised"] = search(pruner, X, y)
    frozen = TaylorPruner(FrozenEstimator(net), **settings)
    found["frozen"] = search(frozen, X, y)
    frozen.fit(X, y)
    here = pickle.loads(pickle.dumps(frozen))
    found["here"] = bool((here.predict_proba(X) == frozen.predict_proba(X)).all())
    path.with_suffix(".pickle").write_bytes(cloudpickle.dumps(pruner))
    path.write_text(json.dumps(found))


if __name__ == "__main__":
    warnings.simplefilter("error")
    main(Path(sys.argv[1]))
