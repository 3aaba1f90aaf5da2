"""What code of the user's own can stand for in a pipeline file, and with which options."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from skorch.callbacks import Callback
from torch import nn

from prunekit.exceptions import InputError, PrunekitError
from prunekit.pipeline._entry import Entry
from prunekit.pipeline._own_options import NoModelError, options_by_signature
from prunekit.pipeline._samples import Samples, Task, as_samples, as_targets
from prunekit.pipeline._section import Section, key_error


@dataclass(frozen=True)
class Kind:
    """
    What may stand where a file names something.

    Parameters
    ----------
    wanted : str
        In words, after "must be".
    fits : callable
        Tells whether an object is such a thing.
    from_the_run : tuple of str, default=()
        Parameters that the run gives by name if they are in the signature; a file cannot.
    num_positional : int, default=0
        How many parameters the run gives by position.
    required : tuple of str, default=()
        Parameters that the run gives in any case.
    make : callable, optional
        Makes of name and object what is called.
    """

    wanted: str
    fits: Callable[[Any], bool]
    from_the_run: tuple[str, ...] = ()
    num_positional: int = 0
    required: tuple[str, ...] = ()
    make: Callable[[str, Any], Callable[..., Any]] = lambda name, target: target


def is_function(target: Any) -> bool:
    """Tell functions, and methods of classes, from all else that can be called."""
    return inspect.isfunction(target) or (inspect.ismethod(target) and isinstance(target.__self__, type))


def subclass_of(base: type) -> Callable[[Any], bool]:
    """Return what tells the subclasses of a class."""
    return lambda target: isinstance(target, type) and issubclass(target, base)


def _makes_module(target: Any) -> bool:
    """Tell classes of modules, and functions that do not say that they return something else."""
    if not is_function(target):
        return subclass_of(nn.Module)(target)
    returned = getattr(target, "__annotations__", {}).get("return", nn.Module)
    return returned is not None and (not isinstance(returned, type) or issubclass(returned, nn.Module))


@dataclass(frozen=True)
class ModuleFunction:
    """
    A function of the user's that makes a module, for the ``module`` of a skorch net.

    Parameters
    ----------
    name : str
        How the file names it.
    function : callable
        The function.
    """

    name: str
    function: Callable[..., Any]

    @property
    def __wrapped__(self) -> Callable[..., Any]:
        """The function, whose signature counts."""
        return self.function

    def __call__(self, **options: Any) -> nn.Module:
        """
        Make the module.

        Parameters
        ----------
        **options : object
            Options of the file.

        Returns
        -------
        Module
            What the function returns.
        """
        module = self.function(**options)
        if not isinstance(module, nn.Module):
            raise InputError(
                f"The function {self.name} must return a torch.nn.Module, for the file names it as 'module'. "
                f"Got {type(module).__name__} instead."
            )
        return module


def unwrapped(target: Any) -> Any:
    """
    Return the function within a `ModuleFunction`, and anything else as it is.

    Parameters
    ----------
    target : object
        Parameter of a net.

    Returns
    -------
    object
        What the user wrote.
    """
    return target.function if isinstance(target, ModuleFunction) else target


@dataclass(frozen=True)
class SourceFunction:
    """
    A function of the user's that loads data.

    Parameters
    ----------
    name : str
        How the file names it.
    function : callable
        Returns samples and targets.
    """

    name: str
    function: Callable[..., Any]

    def __call__(self, *, task: Task, **options: Any) -> Samples:
        """
        Load and check the data.

        Parameters
        ----------
        task : {"classification", "regression"}
            What is to be learnt; the function is told if its signature has it.
        **options : object
            Options of the file.

        Returns
        -------
        Samples
            The data.
        """
        told = {"task": task} if "task" in inspect.signature(self.function).parameters else {}
        try:
            result = self.function(**options, **told)
        except PrunekitError:
            raise
        except Exception as exc:
            raise InputError(f"The source {self.name} raised {type(exc).__name__}: {exc}") from exc
        return self._samples(result, task)

    def _samples(self, result: Any, task: Task) -> Samples:
        num_test: Any = result.num_test if isinstance(result, Samples) else 0
        pair = (result.X, result.y) if isinstance(result, Samples) else result
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            got = f"{len(pair)} values" if isinstance(pair, (tuple, list)) else type(result).__name__
            raise InputError(
                f"The source {self.name} must return samples and targets, (X, y), or a prunekit.pipeline.Samples. "
                f"Got {got} instead."
            )
        X = as_samples(self._array(pair[0], "X"), f"The X that {self.name} returns")
        y = as_targets(self._array(pair[1], "y"), len(X), task, f"The y that {self.name} returns")
        if not isinstance(num_test, int) or not 0 <= num_test < len(X):
            raise InputError(
                f"The num_test that {self.name} returns must be an integer from 0 to less than the number of samples, "
                f"{len(X)}. Got {num_test!r} instead."
            )
        return Samples(X, y, num_test)

    def _array(self, values: Any, what: str) -> np.ndarray[Any, Any]:
        try:
            return np.asarray(values)
        except Exception as exc:  # of ragged lists, tensors on other devices, data frames of other libraries
            raise InputError(
                f"The {what} that {self.name} returns must be an array. Got {type(values).__name__} instead, which "
                f"raised {type(exc).__name__}: {exc}"
            ) from exc


KINDS: dict[str, Kind] = {
    "source": Kind("a function that returns samples and targets", is_function, ("task",), make=SourceFunction),
    "module": Kind(
        "a subclass of torch.nn.Module, or a function that returns a module",
        _makes_module,
        ("input_shape", "num_classes"),
        make=lambda name, target: ModuleFunction(name, target) if is_function(target) else target,
    ),
    "criterion": Kind("a subclass of torch.nn.Module", subclass_of(nn.Module)),
    "optimizer": Kind(
        "a subclass of torch.optim.Optimizer", subclass_of(torch.optim.Optimizer), (), 1, required=("lr",)
    ),
    "scheduler": Kind(
        "a subclass of torch.optim.lr_scheduler.LRScheduler",
        subclass_of(torch.optim.lr_scheduler.LRScheduler),
        num_positional=1,
        required=("last_epoch",),
    ),
    "callback": Kind("a subclass of skorch.callbacks.Callback", subclass_of(Callback)),
    "step": Kind("a class of scikit-learn estimators", subclass_of(BaseEstimator)),
}
"""What the user's own code can be, by the kinds of the registry. The others, such as searches, are a closed list."""


def entry_of(kind: str, name: str, target: Any) -> Entry:
    """
    Return what the registry would hold of an object.

    Parameters
    ----------
    kind : str
        A key of `KINDS`.
    name : str
        How the file names it.
    target : object
        A class or function that fits the kind.

    Returns
    -------
    Entry
        With a model of its signature.

    Raises
    ------
    ValidationError
        If a file cannot say what it needs.
    """
    try:
        options = _options(kind, target)
    except NoModelError as exc:
        raise key_error("cannot_be_given", "name", name, why=str(exc)) from None
    return Entry(KINDS[kind].make(name, target), name, options)


@lru_cache(maxsize=64)
def _options(kind: str, target: Any) -> type[Section]:
    """Return the model; every candidate of a search asks for it."""
    of = KINDS[kind]
    return options_by_signature(target, of.from_the_run, of.num_positional, of.required)


def named_parameters(target: Callable[..., Any], **values: Any) -> dict[str, Any]:
    """
    Return those values whose names a signature has.

    Parameters
    ----------
    target : callable
        What is to be called.
    **values : object
        What the run could give.

    Returns
    -------
    dict
        What it takes.
    """
    parameters = inspect.signature(target).parameters
    return {name: value for name, value in values.items() if name in parameters}
