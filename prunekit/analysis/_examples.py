"""What a user gives for a network: nets around modules, and data as example inputs."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import InputShapeSetter
from skorch.helper import SliceDataset
from torch import nn
from torch.utils.data import Dataset, default_collate

from prunekit._random import preserve_rng
from prunekit.exceptions import InputError, ParameterError, ParameterTypeError
from prunekit.surgery import check_module
from prunekit.tracing import Inputs

_NUM_EXAMPLES = 2
"""Number of samples of a larger set that a network is traced with."""


def is_net(network: Any) -> bool:
    """Return whether something is a skorch net."""
    return hasattr(network, "get_params_for") and not isinstance(network, nn.Module | type)


def is_pruner(network: Any) -> bool:
    """Return whether something is a pruner over an estimator, fitted or not; they are known on a higher floor only."""
    return all(hasattr(network, name) for name in ("analyze", "fit", "estimator")) and not isinstance(network, type)


def unfrozen(estimator: Any) -> Any:
    """Return what is inside of `FrozenEstimator`, anything else as it is."""
    while isinstance(estimator, FrozenEstimator):
        estimator = estimator.estimator
    return estimator


def module_of(network: Any, X: Any, owner: str) -> nn.Module:
    """
    Return the module of a net, or the module itself.

    A net that is not initialized is copied and the copy initialized, so that it stays as it is, as random states do.
    """
    if not is_net(network):
        return check_module(network)
    if hasattr(network, "module_"):
        return check_module(network.module_)
    with preserve_rng(None if network.device is None else torch.device(network.device)):
        try:
            duplicate = clone(network).set_params(verbose=0).initialize()
            for _, callback in duplicate.callbacks_:
                if isinstance(callback, InputShapeSetter):
                    callback.on_train_begin(duplicate, X=X, y=None)
        except Exception as exc:
            raise ParameterError(
                f"The 'network' parameter of {owner} must be a net that can be initialized. "
                f"Got {type(network).__name__}, with which that raises {type(exc).__name__}: {exc} instead. "
                "Call initialize() or fit() first."
            ) from exc
    return check_module(duplicate.module_)


def example_inputs(X: Any, module: nn.Module, owner: str) -> Inputs:
    """Return example inputs as tensors of the network's own data type and device."""
    if X is None:
        raise ParameterTypeError(f"The 'X' parameter of {owner} must hold example inputs. Got None instead.")
    try:
        tensors = as_tensors(X, module, _NUM_EXAMPLES)
        has_any = any(isinstance(leaf, torch.Tensor) for leaf in torch.utils._pytree.tree_leaves(tensors))
    except InputError:
        raise
    except (TypeError, ValueError):  # lists that are no arrays
        has_any = False
    if not has_any:
        raise ParameterTypeError(
            f"The 'X' parameter of {owner} must hold example inputs: numbers in an array, a tensor, a data frame or a "
            f"data set, or a tuple or mapping of those. Got {type(X).__name__} without numbers instead."
        )
    return Inputs.of(tensors)


def as_tensors(X: Any, module: nn.Module, limit: int | None = None) -> Any:
    """
    Return data as a network takes them.

    Parameters
    ----------
    X : array, Tensor, DataFrame, Dataset, tuple, list or Mapping
        The data; a data frame is one array, and so is a list unless it holds arrays or tensors. Of the items of a data
        set that are tuples the first entry counts.
    module : Module
        The network.
    limit : int, default=None
        How many samples of arrays and data sets to take. Tensors are taken as they are, and arrays beside them.

    Returns
    -------
    object
        Tensors of the network's device, floating ones of its data type, in the same nest.

    Raises
    ------
    InputError
        If arrays hold something other than numbers, or a data set cannot be read.
    """
    if isinstance(X, Dataset | SliceDataset):
        return as_tensors(_collated(X, limit), module)
    if isinstance(X, Mapping):
        limit = None if any(isinstance(value, torch.Tensor) for value in X.values()) else limit
        return {key: as_tensors(value, module, limit) for key, value in X.items()}
    if isinstance(X, tuple) or (isinstance(X, list) and any(map(_is_data, X))):
        limit = None if any(isinstance(value, torch.Tensor) for value in X) else limit
        return tuple(as_tensors(value, module, limit) for value in X)
    if isinstance(X, list):
        X = np.asarray(X)
    if hasattr(X, "to_numpy"):
        X = X.to_numpy()
    if isinstance(X, np.ndarray):
        samples = X[:limit] if X.ndim else X
        if samples.dtype.kind not in "fciub":
            raise InputError(
                f"The inputs must be arrays of numbers. Got {X.dtype} instead; encode strings and objects first."
            )
        X = torch.from_numpy(np.array(samples))
    return moved_to(module, X) if isinstance(X, torch.Tensor) else X


def _is_data(value: Any) -> bool:
    return isinstance(value, torch.Tensor | np.ndarray | Mapping) or hasattr(value, "to_numpy")


def _collated(X: Any, limit: int | None) -> Any:
    """Return samples of a data set as one batch."""
    try:
        size = len(X) if limit is None else min(limit, len(X))
        items = [X[number] for number in range(size)]
        return default_collate([item[0] if isinstance(item, tuple) else item for item in items])
    except Exception as exc:  # of the user's own class
        raise InputError(
            "The data set must have a length, at least one sample, and samples that make a batch. Got "
            f"{type(X).__name__}, which raises {type(exc).__name__}: {exc} instead."
        ) from exc


def moved_to(module: nn.Module, tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor on the device of a network, a floating one in its data type."""
    parameter = next(module.parameters(), torch.empty(0))
    if tensor.is_floating_point() and parameter.is_floating_point():
        tensor = tensor.to(parameter.dtype)
    return tensor.to(parameter.device)
