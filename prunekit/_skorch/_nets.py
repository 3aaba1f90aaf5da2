"""Take skorch nets apart and put them together again."""

import copy
from typing import Any

import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from skorch import NeuralNet
from skorch.callbacks import (
    Callback,
    Checkpoint,
    InputShapeSetter,
    LoadInitState,
    LRScheduler,
    ProgressBar,
    TrainEndCheckpoint,
)
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import ReduceLROnPlateau

from prunekit import tracing
from prunekit._random import preserve_rng
from prunekit._skorch._distributed import check_accelerator, initialize_, own_accelerator
from prunekit._skorch._travel import WHERE_TO, MissingNet
from prunekit._validation import is_builtin
from prunekit.exceptions import ParameterError, ParameterTypeError
from prunekit.tracing import copy_module

# These prepare an untrained network: around a pruned one they would build the dense module again, or load its weights.
_PREPARING = (InputShapeSetter, LoadInitState)
# These would write masked weights over the files of the training before, or load its weights when a phase ends.
_SAVING = (Checkpoint, TrainEndCheckpoint)
_PRINTING = (ProgressBar,)


def check_net(estimator: object, owner: str) -> tuple[NeuralNet, bool]:
    """
    Return the skorch net that an ``estimator`` parameter holds and whether it is frozen.

    Parameters
    ----------
    estimator : object
        What the user gave: a skorch net, or `FrozenEstimator` around a fitted one.
    owner : str
        Class that the parameter belongs to, for the message.

    Returns
    -------
    net : NeuralNet
        The user's own net; not to be changed.
    frozen : bool
        Whether its weights are the starting point.

    Raises
    ------
    ParameterTypeError
        If there is no skorch net, or one that holds more than the one module ``module_``.
    ParameterError
        If a frozen net is not fitted, or cannot be trained any more, or the device is not there.
    """
    net, frozen = estimator, False
    while isinstance(net, FrozenEstimator):
        net, frozen = net.estimator, True
    wanted = f"The 'estimator' parameter of {owner} must be a skorch net or FrozenEstimator(net)."
    if not isinstance(net, NeuralNet):
        raise ParameterTypeError(f"{wanted} {_what_else(net, owner)}")
    if frozen and not net.initialized_:
        raise ParameterError(
            f"{wanted} Got FrozenEstimator around a net that is not fitted instead. "
            f"Fit the net first, or pass it without FrozenEstimator so that {owner} trains it."
        )
    if getattr(net, "_trimmed_for_prediction", False):
        raise ParameterError(
            f"{wanted} Got a net that trim_for_prediction() has made untrainable instead. "
            "Pass the net as it was before."
        )
    _check_device(net)
    if net.initialized_ and net._modules != ["module"]:
        raise ParameterTypeError(
            f"{wanted} The net must keep its network in module_ alone. "
            f"Got a {type(net).__name__} with {', '.join(f'{name}_' for name in net._modules)} instead."
        )
    check_accelerator(net, owner)
    return net, frozen


def _check_device(net: NeuralNet) -> None:
    """Refuse a device that is not there, or does not compute."""
    if net.device is None:
        return
    wanted = f"The 'device' parameter of {type(net).__name__} must be a device that is there and computes."
    try:
        device = torch.device(net.device)
        torch.empty(0, device=device)
    except Exception as exc:  # of torch, which has one of its own for every device
        cause = str(exc).strip().split("\n")[0]
        raise ParameterError(
            f"{wanted} Got {net.device!r}, with which torch raises {type(exc).__name__}: {cause} instead. Set "
            "device='cpu', or run where there is one."
        ) from exc
    if device.type == "meta":
        raise ParameterError(f"{wanted} Got {net.device!r} instead.")


def _make_(net: NeuralNet) -> None:
    """Initialise a copy of the user's net; say what is wrong with its parameters."""
    try:
        initialize_(net)
    except Exception as exc:
        if not is_builtin(exc):
            raise
        kind = ParameterTypeError if isinstance(exc, TypeError) else ParameterError
        raise kind(
            f"The 'estimator' parameter must be a net that can be initialised. Got {type(net).__name__}, with which "
            f"that raises {type(exc).__name__}: {exc} instead. Try it alone: clone(net).initialize()."
        ) from exc


def _what_else(got: object, owner: str) -> str:
    """Say what was got instead of a net, and what to do."""
    if isinstance(got, MissingNet):
        return f"Got a fitted net of {got.classes} instead, which the process that fits does not have. {WHERE_TO}"
    if isinstance(got, type):
        advice = "Create an instance of it."
        if issubclass(got, torch.nn.Module):
            advice = f"Wrap it in a net, such as NeuralNetClassifier({got.__name__})."
        return f"Got the class {got.__name__} instead. {advice}"
    name = type(got).__name__
    if isinstance(got, torch.nn.Module):
        advice = (
            f"Wrap it in a net, such as NeuralNetClassifier({name}), or use PrunableNetwork(module, example_inputs)."
        )
    elif isinstance(got, Pipeline):
        advice = f"Make the pruner the last step: make_pipeline(..., {owner}(net))."
    else:
        advice = "Wrap the network in skorch's NeuralNetClassifier or NeuralNetRegressor."
    return f"Got an object of type {name} instead. {advice}"


def bare_module(net: NeuralNet) -> torch.nn.Module:
    """Return the network of an initialised net, without the wrappers of ``torch.compile`` and of several processes."""
    return _unwrap(net.module_)


def classes_of(net: NeuralNet) -> list[type]:
    """Return the classes of all parts of the network of an initialised net, which decide on what it computes."""
    found = {type(part) for part in bare_module(net).modules()}
    return sorted(found, key=lambda kind: (kind.__module__, kind.__qualname__))


def _unwrap(module: torch.nn.Module) -> torch.nn.Module:
    inner = module.module if isinstance(module, DistributedDataParallel) else module
    original: torch.nn.Module = getattr(inner, "_orig_mod", inner)
    return original


def float_dtype(module: torch.nn.Module) -> torch.dtype | None:
    """Return the real dtype that a network computes in, None if it has no float parameters."""
    for parameter in module.parameters():
        if parameter.is_floating_point():
            return parameter.dtype
        if parameter.is_complex():
            return parameter.dtype.to_real()
    return None


def copy_net(net: NeuralNet, **changes: Any) -> NeuralNet:
    """
    Return an unfitted copy of a net with changed parameters.

    As ``sklearn.clone``, but what is changed is not copied first; a ``train_split`` may hold a whole data set.

    Parameters
    ----------
    net : NeuralNet
        The net; it stays as it is.
    **changes : dict
        Parameters that the copy has instead of the net's own.

    Returns
    -------
    NeuralNet
        The new net, not initialised.
    """
    return _construct(net, net.get_params(deep=False), changes)


def _construct(net: NeuralNet, params: dict[str, Any], changes: dict[str, Any]) -> NeuralNet:
    """Build a net of the same class from copied parameters and from changed ones, which are taken as they are."""
    # skorch keeps notes among the parameters, such as which were set; a new net makes its own.
    kept = {name: value for name, value in params.items() if not name.startswith("_") and name not in changes}
    with_accelerator = own_accelerator(kept, silent=changes.get("verbose") == 0)
    copied = {name: clone(value, safe=False) for name, value in kept.items() if name not in with_accelerator}
    new = type(net)(**copied, **with_accelerator, **changes)
    if hasattr(net, "_metadata_request"):
        new._metadata_request = copy.deepcopy(net._metadata_request)
    return new


def make_probe(net: NeuralNet, X: Any, y: Any) -> NeuralNet:
    """
    Return an initialised copy of a net that is not trained, to check parameters and data on.

    Random states stay as they are, so that the training that follows is the same as without the copy.

    Parameters
    ----------
    net : NeuralNet
        The net; it stays as it is.
    X, y : object
        The data, from which an `InputShapeSetter` takes the shape of the network.

    Returns
    -------
    NeuralNet
        The copy.
    """
    with preserve_rng(None if net.device is None else torch.device(net.device)):
        probe = copy_net(net, verbose=0)
        _make_(probe)
        for _, callback in probe.callbacks_:
            if isinstance(callback, InputShapeSetter):
                callback.on_train_begin(probe, X=X, y=y)
    return probe


def copy_fitted(net: NeuralNet) -> NeuralNet:
    """
    Return a copy of a fitted net with its weights.

    Parameters
    ----------
    net : NeuralNet
        The net; it stays as it is.

    Returns
    -------
    NeuralNet
        The copy, with an optimizer that has no state.
    """
    return rebuild(net, copy_module(bare_module(net)), trained=net, verbose=0, compile=False)


def make_tuned(
    net: NeuralNet, module: torch.nn.Module, *, trained: NeuralNet, train_split: Any, schedules: bool
) -> NeuralNet:
    """
    Return a net that fine-tunes a network, silently and uncompiled.

    Callbacks that save or load weights, or print, are left out. Learning-rate schedules, where they stay, begin anew
    with each phase; a schedule made for the training before may have no more steps to give.

    Parameters
    ----------
    net : NeuralNet
        The user's net; it stays as it is.
    module : torch.nn.Module
        The network; not copied.
    trained : NeuralNet
        Fitted net whose history, classes, criterion state and other fitted attributes are copied.
    train_split : callable
        Replaces the net's own.
    schedules : bool
        Whether the net's own learning-rate schedules stay.

    Returns
    -------
    NeuralNet
        The net.
    """
    callbacks = _without(net.callbacks, (*_PREPARING, *_SAVING, *_PRINTING, *(() if schedules else (LRScheduler,))))
    masked = rebuild(
        net,
        module,
        trained=trained,
        train_split=train_split,
        verbose=0,
        compile=False,
        callbacks=clone(callbacks, safe=False),
    )
    for _, callback in masked.callbacks_:
        if isinstance(callback, LRScheduler) and callback.policy_ is not ReduceLROnPlateau:
            callback.last_epoch = -1  # skorch hands it to the schedule; without it, it counts the epochs of the history
    return masked


def rebuild(net: NeuralNet, module: torch.nn.Module, *, trained: NeuralNet, **changes: Any) -> NeuralNet:
    """
    Return a new, initialised net around a module.

    Only a net whose ``module`` is the instance, with every ``module__`` parameter gone, survives ``clone``, ``fit``,
    pickle and grid search: skorch builds the class anew as soon as one such parameter is left.

    Parameters
    ----------
    net : NeuralNet
        Net whose class and parameters the new one has; it stays as it is.
    module : torch.nn.Module
        The network of the new net; not copied.
    trained : NeuralNet
        Fitted net whose history, classes, criterion state and other fitted attributes are copied.
    **changes : dict
        Parameters that the new net has instead of the net's own.

    Returns
    -------
    NeuralNet
        The new net. Its optimizer starts without state.

    Raises
    ------
    ParameterTypeError
        If the class of the net builds its module by itself.
    """
    params = {name: value for name, value in net.get_params(deep=False).items() if not name.startswith("module__")}
    params["callbacks"] = _without(net.callbacks, _PREPARING)
    new = _construct(net, params, {**changes, "module": module})
    _make_(new)
    if _unwrap(new.module_) is not module:
        raise ParameterTypeError(
            f"The 'module' parameter of {type(net).__name__} must decide which network the net holds. "
            "Got a net whose initialize_module builds another one instead."
        )
    criterion, trained_criterion = new.criterion_, trained.criterion_
    if isinstance(criterion, torch.nn.Module) and isinstance(trained_criterion, torch.nn.Module):
        _unwrap(criterion).load_state_dict(_unwrap(trained_criterion).state_dict())
    for name, value in vars(trained).items():
        if name.endswith("_") and name not in vars(new) and not is_torch_component(value):
            setattr(new, name, copy.deepcopy(value))
    new.history_ = copy.deepcopy(trained.history_)
    mark_rates_(new)
    return new


def mark_rates_(net: NeuralNet) -> None:
    """
    Note the first learning rates of a net that has a history.

    Torch asks for them where skorch goes on with a learning-rate schedule, as it does if there is a history.

    Parameters
    ----------
    net : NeuralNet
        An initialised net.
    """
    if net.history_:
        for group in param_groups(net):
            group.setdefault("initial_lr", group["lr"])


def optimizers_of(net: NeuralNet) -> list[torch.optim.Optimizer]:
    """Return the optimizers of an initialised net, without the wrapper of `accelerate`."""
    found = [getattr(net, f"{name}_") for name in net._optimizers]
    return [getattr(optimizer, "optimizer", optimizer) for optimizer in found]


def param_groups(net: NeuralNet) -> list[dict[str, Any]]:
    """Return the parameter groups of all optimizers of an initialised net."""
    return [group for optimizer in optimizers_of(net) for group in optimizer.param_groups]


def device_of(net: NeuralNet) -> torch.device:
    """Return the device of the network of an initialised net."""
    return tracing.device_of(bare_module(net)) or torch.device("cpu")


def _without(callbacks: Any, kinds: tuple[type[Callback], ...]) -> Any:
    """Return a ``callbacks`` parameter without the callbacks of some classes."""
    if not isinstance(callbacks, list):
        return callbacks

    def is_kept(item: Callback | type | tuple[str, Any]) -> bool:
        callback = item[1] if isinstance(item, (tuple, list)) else item
        return not issubclass(callback if isinstance(callback, type) else type(callback), kinds)

    return [item for item in callbacks if is_kept(item)]


def is_torch_component(value: object) -> bool:
    """
    Return whether an attribute of a net has weights or a state of training.

    Parameters
    ----------
    value : object
        The attribute.

    Returns
    -------
    bool
        True for modules and optimizers.
    """
    return isinstance(value, (torch.nn.Module, torch.optim.Optimizer))
