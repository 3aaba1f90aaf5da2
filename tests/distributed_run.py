"""What the processes of the tests of data-parallel training run: fit pruners, and keep what came out."""

import os
import sys
import warnings
from pathlib import Path

import torch
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from skorch.dataset import Dataset
from skorch.helper import predefined_split
from torch import nn

from prunekit import TaylorPruner
from prunekit.exceptions import ParameterError
from prunekit.importance import Taylor2
from tests.nets_skorch import NUM_FEATURES, Perceptron, make_table

GLOBAL_BATCH = 40


class Plain(nn.Module):
    """Has no batch norm and no dropout: a mini-batch in two halves gives what the whole one gives."""

    def __init__(self, num_hidden=24, frozen=False):
        super().__init__()
        self.first = nn.Linear(NUM_FEATURES, num_hidden)
        self.second = nn.Linear(num_hidden, num_hidden).requires_grad_(not frozen)
        self.output = nn.Linear(num_hidden, 2)

    def forward(self, x):
        return self.output(self.second(self.first(x).relu()).relu())


CASES = {
    "taylor": ({"optimizer__momentum": 0.9}, {"criterion": "taylor"}),
    "taylor2": ({"optimizer__momentum": 0.9}, {"criterion": "taylor2"}),
    "mini-batches": (
        {"optimizer": torch.optim.Adam, "lr": 0.003},
        {"criterion": Taylor2("mini-batch"), "compaction": "end"},
    ),
    "taylor_activation": ({}, {"criterion": "taylor_activation", "max_score_drop": 0.2}),
    "mean_activation": ({}, {"criterion": "mean_activation", "finetune_epochs": 0, "score_batches": 5}),
    "frozen": ({"module__frozen": True}, {"criterion": "taylor", "finetune_batches": 7}),
    "distilled": ({}, {"distill": 0.5, "control": True}),
}
"""Parameters of the net and of the pruner, of which one process and two give the same."""


def fit(name, num_processes, make=NeuralNetClassifier):
    """Return a fitted pruner."""
    net_params, params = CASES[name]
    X, y = make_table(520)
    net = make(
        Plain,
        criterion=nn.CrossEntropyLoss,
        batch_size=GLOBAL_BATCH // num_processes,
        train_split=predefined_split(Dataset(X[400:], y[400:])),
        verbose=0,
        **{"lr": 0.05, "max_epochs": 3} | net_params,
    )
    defaults = {"target_reduction": 0.6, "step": 0.3, "final_epochs": 1, "random_state": 0}
    return TaylorPruner(net, **defaults | params).fit(X[:400], y[:400])


def result(pruner):
    """Return what is compared."""
    return {
        "plan": pruner.plan_.to_json(),
        "weights": dict(pruner.estimator_.module_.state_dict()),
        "losses": pruner.history_["train_loss"].tolist(),
        "scores": pruner.history_["score"].tolist(),
        "importances": pruner.importances_.tolist(),
        "reason": pruner.stop_reason_,
        "epochs": len(pruner.estimator_.history),
    }


class Uneven(Callback):
    """Stops one process only, as a score of its share of the data may."""

    def on_epoch_end(self, net, **kwargs):
        if os.environ["RANK"] == "1" and len(net.history) == 3:
            raise KeyboardInterrupt


class Broken(Callback):
    """Fails in the second fine-tuning."""

    def on_train_begin(self, net, **kwargs):
        if len(net.history) > 2:
            raise ValueError("broken callback")


def main(folder):
    """Fit in a process of several."""
    from accelerate import Accelerator, DataLoaderConfiguration
    from skorch.hf import AccelerateMixin

    class AcceleratedNet(AccelerateMixin, NeuralNetClassifier):
        pass

    def make(module, **params):
        return AcceleratedNet(module, accelerator=Accelerator(cpu=True), **params)

    found = {name: result(fit(name, 2, make)) for name in CASES}

    # Batch norm, dropout, shuffling, no seed, a random split, a last mini-batch that is not full.
    X, y = make_table(403)
    net = make(
        Perceptron,
        criterion=nn.CrossEntropyLoss,
        lr=0.05,
        batch_size=25,
        max_epochs=2,
        iterator_train__shuffle=True,
        callbacks=[Uneven()],
        verbose=0,
    )
    torch.manual_seed(int(os.environ["RANK"]))
    quick = {"step": 0.3, "finetune_epochs": 3, "final_epochs": 0}
    pruner = TaylorPruner(net, max_score_drop=0.0, step_halvings=1, **quick).fit(X, y)
    found["uneven"] = result(pruner) | {"predicted": pruner.predict_proba(X), "score": pruner.score(X, y)}

    # One process writes; a run that was left is gone on with by all.
    quick |= {"random_state": 0, "finetune_epochs": 1}
    net.set_params(callbacks=[])
    found["whole"] = result(TaylorPruner(net, checkpoint=folder / "whole", **quick).fit(X, y))
    net.set_params(callbacks=[Broken()])
    try:
        TaylorPruner(net, checkpoint=folder / "left", **quick).fit(X, y)
        found["left"] = False
    except ValueError:
        found["left"] = True
        Broken.on_train_begin = Callback.on_train_begin
    found["resumed"] = result(TaylorPruner(net, checkpoint=folder / "left", **quick).fit(X, y))
    net.set_params(callbacks=[])

    # A net that the user has trained; it may still be wrapped.
    class Lenient(Accelerator):
        def prepare_model(self, model, **kwargs):
            trained = any(parameter.requires_grad for parameter in model.parameters())
            return super().prepare_model(model, **kwargs) if trained else model

    net.set_params(accelerator=Lenient(cpu=True), unwrap_after_train=False).fit(X, y)
    assert isinstance(net.module_, nn.parallel.DistributedDataParallel)
    found["trained"] = result(TaylorPruner(FrozenEstimator(net), **quick).fit(X, y))

    uneven = Accelerator(cpu=True, dataloader_config=DataLoaderConfiguration(even_batches=False))
    try:
        TaylorPruner(net.set_params(accelerator=uneven)).fit(X, y)
    except ParameterError as exc:
        found["refused"] = str(exc)
    try:
        TaylorPruner(net.set_params(accelerator=Accelerator()), memory=folder / "memory").fit(X, y)
    except ParameterError as exc:
        found["memory"] = str(exc)
    torch.save(found, folder / f"{os.environ['RANK']}.pt")
    Accelerator().end_training()


if __name__ == "__main__":
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    main(Path(sys.argv[1]))
