"""Data on their way into a skorch net: types, the split, a few samples."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import sklearn
import torch
from sklearn.utils.metadata_routing import process_routing
from skorch import NeuralNet
from skorch.dataset import unpack_data
from skorch.utils import to_tensor
from torch.utils._pytree import tree_map_only

from prunekit._random import preserve_rng
from prunekit._skorch._nets import bare_module, device_of, float_dtype
from prunekit._validation import is_builtin
from prunekit.exceptions import InputError, ParameterError, ParameterTypeError, PrunekitError


def cast_floats(data: Any, dtype: torch.dtype | None) -> Any:
    """
    Return ``data`` with its floating-point arrays in the precision of the network.

    Scikit-learn's transformers give float64, networks take float32. Integers and everything that is no array, tensor
    or container of those (data sets, data frames) are returned as they are.

    Parameters
    ----------
    data : array, tensor, dict, list or tuple of those, or anything else
        What the user gave as ``X`` or ``y``.
    dtype : torch.dtype or None
        Real floating-point type of the network. None: nothing is cast.

    Returns
    -------
    object
        The data; the same object where there is nothing to cast.
    """
    if dtype is None:
        return data
    if isinstance(data, Mapping):
        values = {key: cast_floats(value, dtype) for key, value in data.items()}
        # A SliceDict stays one, for whoever slices it.
        return data if all(values[key] is data[key] for key in data) else type(data)(**values)
    if isinstance(data, (list, tuple)) and any(isinstance(part, (np.ndarray, torch.Tensor)) for part in data):
        return [cast_floats(part, dtype) for part in data]
    if isinstance(data, torch.Tensor):
        wanted = dtype.to_complex() if data.is_complex() else dtype if data.is_floating_point() else data.dtype
        return data if data.dtype == wanted else data.to(wanted)
    if isinstance(data, np.ndarray) and data.dtype.kind in "fc":
        if dtype is torch.bfloat16:  # NumPy knows no such type
            return cast_floats(torch.tensor(data), dtype)
        return data.astype(_name(dtype.to_complex() if data.dtype.kind == "c" else dtype), copy=False)
    return data


def _name(dtype: torch.dtype) -> str:
    """Return the name of a type as NumPy has it."""
    return str(dtype).removeprefix("torch.")


class FixedSplit:
    """
    A ``train_split`` that returns the same two data sets each time.

    Without it a random split would be drawn anew for the fine-tuning, and data that the network was trained on would
    be used to validate it.

    Parameters
    ----------
    train : Dataset
        What to train on.
    valid : Dataset or None
        What to validate on.
    user_split : callable or None
        The ``train_split`` that made them.
    """

    def __init__(self, train: Any, valid: Any, user_split: Any = None) -> None:
        self.train = train
        self.valid = valid
        if hasattr(user_split, "cv"):
            self.cv = user_split.cv  # where skorch looks for metadata to route

    def __call__(self, dataset: Any, y: Any = None, **split_params: Any) -> tuple[Any, Any]:
        """Return the two data sets, whatever is asked for."""
        return self.train, self.valid


def split_once(
    net: NeuralNet, X: Any, y: Any, fit_params: Mapping[str, Any], valid: tuple[Any, Any] | None = None
) -> FixedSplit:
    """
    Split the data with the net's own ``train_split``, or take all for training if there are others to validate on.

    Parameters
    ----------
    net : NeuralNet
        A copy of the user's net.
    X, y : object
        The data, as skorch takes them.
    fit_params : dict
        What the user gave to ``fit``; skorch passes it on to the split.
    valid : tuple of (X, y), optional
        Data to validate on.

    Returns
    -------
    FixedSplit
        The two data sets.

    Raises
    ------
    InputError
        If there are too few data for that, or X and y do not fit each other.
    ParameterTypeError
        If the split does not take what it is given.
    """
    params = dict(fit_params)
    if sklearn.get_config()["enable_metadata_routing"] and valid is None:
        params = process_routing(net, "fit", **fit_params).get("splitter", {"split": {}})["split"]
    try:
        if valid is not None:
            return FixedSplit(net.get_dataset(X, y), net.get_dataset(*valid), net.train_split)
        train, valid = net.get_split_datasets(X, y, **params)
    except Exception as exc:
        if not is_builtin(exc):
            raise
        kind = ParameterTypeError if isinstance(exc, TypeError) else InputError
        said = f" and {', '.join(repr(name) for name in params)}" if params else ""
        raise kind(
            f"X, y{said} cannot be made into data to train and to validate on: {type(exc).__name__}: {_sentence(exc)} "
            f"They must have the same number of samples, and enough for the train_split of {type(net).__name__}; with "
            "train_split=None, all are trained on."
        ) from exc
    return FixedSplit(train, valid, net.train_split)


def take_samples(net: NeuralNet, dataset: Any, num_samples: int) -> tuple[Any, Any]:
    """
    Return the first samples of a data set as the net's ``forward`` and loss get them.

    Parameters
    ----------
    net : NeuralNet
        Decides on loading and device; need not be initialised.
    dataset : Dataset
        The data.
    num_samples : int
        How many samples; fewer if the first batch is smaller.

    Returns
    -------
    inputs, targets : tensor, or dict or list of tensors
        On the net's device, first dimension ``num_samples``.

    Raises
    ------
    ParameterError
        If the net cannot make a data loader.
    InputError
        If there are no data.
    """
    try:
        batches = net.get_iterator(dataset, training=False)
    except Exception as exc:
        if not is_builtin(exc):
            raise
        raise ParameterError(
            f"The parameters of {type(net).__name__} must be such that it can make mini-batches. Got "
            f"batch_size={net.batch_size!r} and others, with which that raises {type(exc).__name__}: {exc} instead."
        ) from exc
    with preserve_rng():  # a data loader draws a random number when it starts
        batch = next(iter(batches), None)
        if batch is None:
            raise InputError(f"X must hold at least one sample. Got a {type(dataset).__name__} without any instead.")
        inputs, targets = unpack_data(batch)
    inputs, targets = (to_tensor(_first(part, num_samples), device=net.device) for part in (inputs, targets))
    return inputs, targets


def _first(batch: Any, num_samples: int) -> Any:
    """Return the first samples of a batch."""
    if isinstance(batch, torch.Tensor):
        return batch[:num_samples]
    if isinstance(batch, Mapping):
        return {key: _first(value, num_samples) for key, value in batch.items()}
    if isinstance(batch, (list, tuple)) and batch and isinstance(batch[0], (torch.Tensor, Mapping, list, tuple)):
        return [_first(part, num_samples) for part in batch]
    return batch


def check_samples(net: NeuralNet, dataset: Any, num_samples: int = 2) -> Any:
    """
    Return example inputs for the network after they went through ``forward`` and the loss.

    Parameters
    ----------
    net : NeuralNet
        An initialised copy of the user's net.
    dataset : Dataset
        What will be trained on.
    num_samples : int, default=2
        Size of the example batch.

    Returns
    -------
    dict or tuple
        Keyword arguments of ``forward`` if the samples are dicts, else a tuple of its positional arguments.

    Raises
    ------
    InputError
        If the samples cannot be loaded, do not fit the network, or the targets do not fit the loss.
    """
    owner = type(net).__name__
    dtype = float_dtype(bare_module(net))
    with preserve_rng(device_of(net)), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the training will warn
        net._set_training(False)
        try:
            inputs, targets = take_samples(net, dataset, num_samples)
        except PrunekitError:
            raise
        except Exception as exc:
            raise InputError(
                f"The data cannot be turned into tensors: {type(exc).__name__}: {_sentence(exc)} "
                f"X and y must hold numbers that {owner} can load; encode strings and objects first."
            ) from exc
        try:
            outputs = net.infer(inputs)
        except Exception as exc:
            raise InputError(
                f"X does not fit the network: {type(bare_module(net)).__name__}.forward raised "
                f"{type(exc).__name__} for {_describe(inputs)}: {_sentence(exc)}{_hint(inputs, dtype)}"
            ) from exc
        try:
            with torch.enable_grad():
                loss = net.get_loss(_as_trained(outputs), targets, X=inputs, training=False)
        except Exception as exc:
            raise InputError(
                f"y does not fit the loss of {owner}: {type(net.criterion_).__name__} raised {type(exc).__name__} "
                f"for {_describe(targets)}: {_sentence(exc)}"
            ) from exc
    if type(net).train_step_single is NeuralNet.train_step_single:  # else the net may train by something else
        _check_loss(loss, f"{owner} ({type(net.criterion_).__name__})")
    return as_example(inputs)


def _as_trained(outputs: Any) -> Any:
    """Return outputs as a loss gets them in training, with a gradient to give; not leaves, which may not be changed."""

    def follow(tensor: torch.Tensor) -> torch.Tensor:
        differs = tensor.is_floating_point() or tensor.is_complex()
        return tensor.detach().requires_grad_().clone() if differs else tensor

    return tree_map_only(torch.Tensor, follow, outputs)


def _check_loss(loss: Any, owner: str) -> None:
    """Refuse a loss that cannot be trained by."""
    wanted = f"The loss of {owner} must be one number that depends on the outputs of the network."
    if not isinstance(loss, torch.Tensor):
        raise ParameterTypeError(f"{wanted} Got {type(loss).__name__} instead.")
    if loss.numel() != 1:
        raise ParameterError(
            f"{wanted} Got a tensor of shape {tuple(loss.shape)} instead. Let the criterion take the mean, "
            "as with criterion__reduction='mean'."
        )
    if not loss.requires_grad:
        raise ParameterError(f"{wanted} Got one without gradient instead: it is detached, or made of numbers.")


def as_example(inputs: Any) -> dict[str, Any] | tuple[Any]:
    """
    Return a batch as the network's ``forward`` gets it from skorch.

    Parameters
    ----------
    inputs : tensor, or dict or list of tensors
        The batch.

    Returns
    -------
    dict or tuple
        Keyword arguments if the batch is a dict, else a tuple with the one positional argument.
    """
    return dict(inputs) if isinstance(inputs, Mapping) else (inputs,)


def _sentence(error: Exception) -> str:
    """Return the message of an error with a full stop."""
    return f"{str(error).rstrip('.')}."


def _describe(batch: Any) -> str:
    """Describe a batch by types and shapes."""
    if isinstance(batch, torch.Tensor):
        return f"a batch of {_name(batch.dtype)} of shape {tuple(batch.shape)}"
    if isinstance(batch, Mapping):
        return _join([f"{key!r}: {_describe(value)}" for key, value in batch.items()])
    if isinstance(batch, (list, tuple)):
        return _join([_describe(part) for part in batch])
    return f"an object of type {type(batch).__name__}"


def _join(parts: list[str]) -> str:
    """Join descriptions, three at most."""
    return ", ".join(parts if len(parts) <= 3 else [*parts[:3], f"... ({len(parts)} in all)"])


def _hint(inputs: Any, dtype: torch.dtype | None) -> str:
    """Say what to do about named inputs, or inputs of another type than the network."""
    if isinstance(inputs, Mapping):
        return " Named inputs are keyword arguments of forward; to pass them as one array, stack them first."
    if not isinstance(inputs, torch.Tensor) or dtype is None or inputs.dtype == dtype:
        return ""
    name = _name(dtype)
    return f" The network computes in {name}: cast the data first, such as X.astype('{name}')."
