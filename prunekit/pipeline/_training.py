"""The dense network of an experiment, as a trained skorch net."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from skorch import NeuralNet, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import EarlyStopping, LRScheduler
from skorch.dataset import ValidSplit

from prunekit.exceptions import InputError, TrainingError
from prunekit.pipeline._data import Split
from prunekit.pipeline._precision import in_precision
from prunekit.pipeline.schema import NetSection

OnEpoch = Callable[[int, float], None]

ESTIMATORS = {"NeuralNetClassifier": NeuralNetClassifier, "NeuralNetRegressor": NeuralNetRegressor}
_SCHEDULER = "scheduler"
_WATCHED = {"classification": "valid_acc", "regression": "valid_loss"}


def make_dense(section: NetSection, split: Split, seed: int) -> NeuralNet:
    """
    Build the net, with fresh weights.

    Parameters
    ----------
    section : NetSection
        The net and how it is to be trained.
    split : Split
        The data; the test part is not looked at.
    seed : int
        Of the division into what is trained on and what is validated on. The random state of torch is the caller's.

    Returns
    -------
    NeuralNet
        The initialised net.

    Raises
    ------
    InputError
        If the samples do not fit the network.
    """
    dtype = str(split.X_train.dtype)
    net = build_net(section, split.input_shape, split.num_classes, seed, dtype=dtype).initialize()
    _check_samples(net, split)
    return net


def build_net(
    section: NetSection, input_shape: tuple[int, ...], num_outputs: int, seed: int, *, dtype: str = "float32"
) -> NeuralNet:
    """
    Build the net without initialising it.

    Parameters
    ----------
    section : NetSection
        The net and how it is to be trained.
    input_shape : tuple of int
        Shape of one sample.
    num_outputs : int
        Number of classes, or of targets.
    seed : int
        Of the division into what is trained on and what is validated on.
    dtype : {"float32", "float64"}, default="float32"
        What the network computes in.

    Returns
    -------
    NeuralNet
        The net.
    """
    chosen = {"criterion": section.criterion, "optimizer": section.optimizer}
    callbacks = [(one.name, one.entry.target(**one.arguments)) for one in section.callbacks]
    if section.scheduler is not None:
        schedule = LRScheduler(section.scheduler.entry.target, **section.scheduler.arguments)
        callbacks.append((_SCHEDULER, schedule))
    return ESTIMATORS[section.estimator](
        **_module(section, input_shape, num_outputs, dtype),
        **{key: choice.entry.target for key, choice in chosen.items()},
        **{f"{key}__{name}": value for key, choice in chosen.items() for name, value in choice.arguments.items()},
        lr=section.lr,
        max_epochs=section.max_epochs,
        batch_size=section.batch_size,
        iterator_train__shuffle=True,
        train_split=ValidSplit(section.validation_size, stratified=section.task == "classification", random_state=seed),
        callbacks=callbacks or None,
        callbacks__print_log=None,
        verbose=0,
    )


def _module(section: NetSection, input_shape: tuple[int, ...], num_outputs: int, dtype: str) -> dict[str, Any]:
    """Return what the net is told of its network."""
    target = section.module.entry.target
    options = {"input_shape": input_shape, "num_classes": num_outputs, **section.module.arguments}
    if dtype != "float32":  # what torch makes by itself
        options |= {"cast_of": target, "cast_to": dtype}
        target = in_precision
    return {"module": target, **{f"module__{key}": value for key, value in options.items()}}


def train_dense(net: NeuralNet, split: Split, on_epoch: OnEpoch) -> None:
    """
    Train the net on the training part of the data.

    Parameters
    ----------
    net : NeuralNet
        The net; it is changed.
    split : Split
        The data; the test part is not looked at.
    on_epoch : callable
        Called after each epoch with the number of epochs done and the validation accuracy; in a regression with the
        validation loss.

    Raises
    ------
    TrainingError
        If the loss is not finite.
    """
    # Epoch by epoch rather than by a callback, which would be copied with the net and report its fine-tuning, too;
    # and by fit_loop, for fit and partial_fit swallow Ctrl-C.
    net.notify("on_train_begin", X=split.X_train, y=split.y_train)
    for epoch in range(1, net.max_epochs + 1):
        ends_early = _train_epoch(net, split)
        last = net.history[-1]
        if not np.isfinite(last["train_loss"]):
            raise TrainingError(
                f"The loss of the dense net must be finite. Got {last['train_loss']} in epoch {epoch} instead; "
                f"try a smaller 'lr' than {net.lr:g}."
            )
        on_epoch(epoch, last[_WATCHED[split.task]])
        if ends_early:
            break
    net.notify("on_train_end", X=split.X_train, y=split.y_train)
    # Fine-tuning has learning rates and an end of its own.
    for name, callback in list(net.callbacks or ()):
        if isinstance(callback, (EarlyStopping, LRScheduler)):
            net.set_params(**{f"callbacks__{name}": None})


def _train_epoch(net: NeuralNet, split: Split) -> bool:
    """Train for an epoch, and tell whether a callback wants no more."""
    try:
        net.fit_loop(split.X_train, split.y_train, epochs=1)
    except KeyboardInterrupt:  # Ctrl-C, or EarlyStopping, which counts
        stopping = [one for _, one in net.callbacks_ if isinstance(one, EarlyStopping)]
        if not any(one.misses_ >= one.patience for one in stopping):
            raise
        return True
    return False


def _check_samples(net: NeuralNet, split: Split) -> None:
    """Send two samples through the network before any time is spent."""
    try:
        with torch.no_grad():
            net.module_.eval()(torch.as_tensor(split.X_train[:2], device=net.device))
    except Exception as exc:
        raise InputError(
            f"The samples, each of shape {split.input_shape}, must fit the module {type(net.module_).__name__}. "
            f"Its forward raised {type(exc).__name__}: {exc}"
        ) from exc
