"""What callbacks know in the middle of a training, as numbers and tensors."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from skorch import NeuralNet
from skorch.callbacks import Callback, Checkpoint, EarlyStopping, EpochScoring, LRScheduler, PrintLog, ProgressBar
from torch import Tensor, nn

from prunekit._skorch._notes import OpaqueError, note

_NUMBERS = (int, float, str, np.number, np.bool_, type(None))
_PASSING: tuple[tuple[type[Callback], tuple[str, ...]], ...] = (
    (EpochScoring, ("y_trues_", "y_preds_")),
    (EarlyStopping, ("best_model_weights_",)),
    (LRScheduler, ("lr_scheduler_",)),
    (PrintLog, ("first_iteration_",)),
    (ProgressBar, ("pbar_",)),
)
"""Attributes that are kept in another form, or are of an epoch or a process alone."""


def numbers_of(callback: Callback) -> dict[str, Any]:
    """Return what a callback keeps from phase to phase, such as the best score so far."""
    return {name: value for name, value in vars(callback).items() if is_number_of(callback, name, value)}


def set_numbers_(callback: Callback, numbers: Mapping[str, Any]) -> None:
    """Give a callback what `numbers_of` returned; other things that stand there are passed over."""
    vars(callback).update({name: numbers[name] for name in numbers if is_number_of(callback, name, numbers[name])})


def is_number_of(callback: Callback, name: Any, value: Any) -> bool:
    """Return whether an attribute is one that a callback keeps, and hides none that its class has."""
    fits = str(name).endswith("_") and not str(name).startswith("_") and isinstance(value, _NUMBERS)
    return fits and not hasattr(type(callback), str(name))


def callback_states(net: NeuralNet) -> dict[str, dict[str, Any]]:
    """
    Return what the callbacks of a net know, as far as it can be kept; `callback_rest` tells of the rest.

    Parameters
    ----------
    net : NeuralNet
        A net in the middle of its training, between two epochs.

    Returns
    -------
    dict of str to dict
        For each callback its numbers, the state of its learning-rate schedule and the best weights so far.
    """
    return {name: _state_of(callback) for name, callback in net.callbacks_}


def _state_of(callback: Callback) -> dict[str, Any]:
    passing = _passing(callback)
    state: dict[str, Any] = {
        "numbers": {name: value for name, value in numbers_of(callback).items() if name not in passing}
    }
    if isinstance(callback, LRScheduler):
        state["schedule"] = _plain_part(callback.lr_scheduler_.state_dict())
    best = getattr(callback, "best_model_weights_", None) if isinstance(callback, EarlyStopping) else None
    if best is not None:
        state["best"] = dict(best)
    return state


def load_callback_states_(net: NeuralNet, states: Mapping[str, Mapping[str, Any]]) -> None:
    """
    Give the callbacks of a net that begins its training what those of another one knew.

    Parameters
    ----------
    net : NeuralNet
        The net; ``on_train_begin`` of its callbacks was called.
    states : Mapping
        What `callback_states` returned.
    """
    for name, callback in net.callbacks_:
        state = states[name]
        for key, number in state["numbers"].items():
            if isinstance(own := getattr(callback, str(key), None), _NUMBERS) and not _are_alike(own, number):
                raise TypeError(f"'{key}' of '{name}' must not be {type(number).__name__}")
        set_numbers_(callback, state["numbers"])
        if isinstance(callback, LRScheduler):
            schedule = callback.lr_scheduler_
            schedule.load_state_dict(_merged(schedule.state_dict(), state["schedule"], name))
        if isinstance(callback, EarlyStopping) and "best" in state:
            callback.best_model_weights_ = _as_weights(net.module_, state["best"])


def callback_rest(net: NeuralNet, parts: Iterable[nn.Module]) -> list[str]:
    """
    Note what the callbacks of a net hold besides what is kept of them.

    Parameters
    ----------
    net : NeuralNet
        A net in its training.
    parts : iterable of Module
        Its modules, which are kept elsewhere.

    Returns
    -------
    list of str
        Equal to that of another moment if nothing has changed since.

    Raises
    ------
    OpaqueError
        If nobody knows what a callback holds.
    """
    parts = list(parts)
    return [note(_rest_of(callback), parts, strict=True) for _, callback in net.callbacks_]


def _rest_of(callback: Callback) -> list[Any]:
    if isinstance(callback, Checkpoint) and callback.load_best:
        raise OpaqueError("what is in the files of a Checkpoint is not known")
    kept = numbers_of(callback).keys() | set(_passing(callback))
    rest: list[Any] = [type(callback), {name: value for name, value in vars(callback).items() if name not in kept}]
    if isinstance(callback, LRScheduler):
        rest.append(_other_part(callback.lr_scheduler_.state_dict()))
    return rest


def _passing(callback: Callback) -> list[str]:
    return [name for kind, names in _PASSING if isinstance(callback, kind) for name in names]


def _as_weights(module: nn.Module, kept: Mapping[str, Tensor]) -> "OrderedDict[str, Tensor]":
    """Return weights as ``state_dict`` has them, versions of the modules included."""
    weights = module.state_dict()
    best = OrderedDict((name, kept[name].to(value.device)) for name, value in weights.items())
    for name, value in weights.items():
        if best[name].shape != value.shape or best[name].dtype != value.dtype:
            raise ValueError(f"'{name}' has shape {tuple(best[name].shape)}")
    best._metadata = weights._metadata  # type: ignore[attr-defined]
    return best


# A schedule keeps its state in attributes of all kinds. Numbers and nests of numbers are kept; the rest, such as the
# functions of a LambdaLR or the Counter of a MultiStepLR, is what the schedule was made with and stays as it is.


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind in (list, tuple):
        return all(map(_is_plain, value))
    return kind in (type(None), bool, int, float, str, Tensor) or isinstance(value, np.number | np.bool_)


def _plain_part(state: Any) -> Any:
    """Return the part of a nest of dicts and lists that is plain."""
    if type(state) is dict:
        return {name: _plain_part(value) for name, value in state.items() if _has_plain_part(value)}
    return [_plain_part(item) for item in state] if _holds_dicts(state) else state


def _other_part(state: Any) -> Any:
    """Return the rest of the nest, and the names of all that is in it."""
    if type(state) is dict:
        return {name: None if _is_plain(value) else _other_part(value) for name, value in state.items()}
    return [_other_part(item) for item in state] if _holds_dicts(state) else state


def _has_plain_part(value: Any) -> bool:
    return type(value) is dict or _holds_dicts(value) or _is_plain(value)


def _holds_dicts(value: Any) -> bool:
    return type(value) is list and bool(value) and all(type(item) is dict for item in value)


def _merged(own: Any, kept: Any, where: str) -> Any:
    """Return a nest with the plain parts of another one."""
    if type(own) is dict and type(kept) is dict:
        return {
            name: _merged(value, kept[name], f"{where}.{name}") if name in kept else value
            for name, value in own.items()
        }
    if _holds_dicts(own) and _holds_dicts(kept):
        return [_merged(*pair, where) for pair in zip(own, kept, strict=True)]
    if not _is_plain(own) or not _is_plain(kept) or not _are_alike(own, kept):
        raise TypeError(f"'{where}' must not be {type(kept).__name__}")
    return kept.to(own.device) if isinstance(own, Tensor) and isinstance(kept, Tensor) else kept


def _are_alike(own: Any, kept: Any) -> bool:
    """Return whether a value may stand in the place of another one; None may stand anywhere."""
    return own is None or kept is None or _shape_of(own) == _shape_of(kept)


def _shape_of(value: Any) -> type:
    return next((kind for kind in (str, list, tuple) if isinstance(value, kind)), float)
