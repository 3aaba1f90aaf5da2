"""Which classes and functions a file may name."""

import builtins
import inspect
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any

import sklearn.frozen
import sklearn.model_selection
import skorch
import skorch.callbacks
import skorch.dataset
import skorch.setter
import skorch.utils
import torch

from prunekit import _skorch, importance, schedules, tracing
from prunekit.exceptions import ParameterTypeError, UntrustedError
from prunekit.io import read_archive, understood
from prunekit.persistence._describe import name_of, names_in
from prunekit.pruner import TaylorPruner

_CALLBACKS = (
    "BatchScoring",
    "EarlyStopping",
    "EpochScoring",
    "EpochTimer",
    "GradientNormClipping",
    "InputShapeSetter",
    "LRScheduler",
    "PassthroughScoring",
    "PrintLog",
    "WarmRestartLR",
)
"""Those that neither read nor write files, nor talk to other machines."""

_SPLITTERS = ("KFold", "StratifiedKFold", "GroupKFold", "ShuffleSplit", "StratifiedShuffleSplit", "TimeSeriesSplit")


class Finder:
    """
    Look up classes and functions by name; nothing is imported.

    Parameters
    ----------
    trusted : iterable of class or function
        What may be named besides torch's losses and optimizers, skorch's nets and harmless callbacks, and what is
        prunekit's own.
    module : Module, class, callable or None
        What the user gave for the network.
    owner : str
        Function that asks, for the messages.

    Raises
    ------
    ParameterTypeError
        If something else is trusted.
    """

    def __init__(self, trusted: Iterable[Any], module: Any, owner: str) -> None:
        if isinstance(trusted, str) or not isinstance(trusted, Iterable):
            raise ParameterTypeError(
                f"The 'trusted' parameter of {owner} must be a list of classes and functions. Got {trusted!r} instead."
            )
        self._known = dict(_known())
        for target in trusted:
            name = name_of(target)
            if name is None or not callable(target):
                raise ParameterTypeError(
                    f"The 'trusted' parameter of {owner} must hold classes and functions that can be imported, the "
                    f"objects themselves. Got {target!r} instead."
                )
            self._known[name] = target
        self._module = module
        self._owner = owner

    def __call__(self, name: str) -> Any:
        """Return the class or function of a name."""
        if name not in self._known:
            raise UntrustedError(
                f"The file names '{name[:200]}', which is not trusted. If you know it and where the file is from, pass "
                f"the object to {self._owner} with trusted=[...]; prunekit.untrusted_names(path) has all such names."
            )
        return self._known[name]

    def module(self, name: str, is_class: bool) -> Any:
        """
        Return what the ``module`` parameter of a net is to be.

        Parameters
        ----------
        name : str
            Class that it was or was of.
        is_class : bool
            Whether it was a class, which the net makes a network of.

        Returns
        -------
        Module, class or callable
            What the user gave, else the class if it is trusted.
        """
        if self._module is not None:
            return self._module
        if is_class and name in self._known:
            return self._known[name]
        raise UntrustedError(
            f"The file is of a network of the class '{name[:200]}', which is not trusted. Pass the class, or a dense "
            f"network of it, to {self._owner} as its 'module'."
        )


def untrusted_names(path: str | Path) -> list[str]:
    """
    Return what a file of `save` names that `load_net` and `load_pruner` do not build by themselves.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    list of str
        Names of classes and functions, sorted, to be looked at before they are passed as ``trusted``.

    Raises
    ------
    FileAccessError
        If there is no such file, or it cannot be read.
    PlanError
        If it is damaged, or was not written by `save`.
    """
    parts = read_archive(path).parts
    with understood(path):
        found = set().union(*(names_in(parts[name]) for name in ("net", "pruner") if name in parts))
    return sorted(found - set(_known()))


@lru_cache(maxsize=1)
def _known() -> dict[str, Any]:
    """Return what every file may name."""
    nets = (
        skorch.NeuralNet,
        skorch.NeuralNetClassifier,
        skorch.NeuralNetBinaryClassifier,
        skorch.NeuralNetRegressor,
    )
    losses = [one for _, one in inspect.getmembers(torch.nn.modules.loss, inspect.isclass) if _is(one, torch.nn.Module)]
    optimizers = [one for _, one in inspect.getmembers(torch.optim, inspect.isclass) if _is(one, torch.optim.Optimizer)]
    schedulers = [
        one
        for _, one in inspect.getmembers(torch.optim.lr_scheduler, inspect.isclass)
        if _is(one, torch.optim.lr_scheduler.LRScheduler) or one is torch.optim.lr_scheduler.ReduceLROnPlateau
    ]
    callbacks = [getattr(skorch.callbacks, name) for name in _CALLBACKS if hasattr(skorch.callbacks, name)]
    splitters = [getattr(sklearn.model_selection, name) for name in _SPLITTERS]
    own = list(importance.CRITERIA.values())
    steps = [one for _, one in inspect.getmembers(schedules, inspect.isclass) if one.__module__ == schedules.__name__]
    others = (
        *(
            skorch.dataset.Dataset,
            skorch.dataset.ValidSplit,
            torch.utils.data.DataLoader,
            sklearn.frozen.FrozenEstimator,
        ),
        *(TaylorPruner, _skorch.Inputs, _skorch.Targets, builtins.print),
        *(tracing.Coupling, tracing.Flow, tracing.FlowNode, tracing.NetworkMap),
        *(skorch.setter.optimizer_setter, skorch.utils.to_numpy, skorch.utils.noop),
    )
    every = [*nets, *losses, *optimizers, *schedulers, *callbacks, *splitters, *own, *steps, *others]
    return {str(name_of(one)): one for one in every}


def _is(kind: type, base: type) -> bool:
    return issubclass(kind, base) and kind is not base and not kind.__name__.startswith("_")
