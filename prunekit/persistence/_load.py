"""From a file to nets and fitted pruners; classes are built only if the caller trusts them."""

import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from skorch import NeuralNet
from skorch.history import History
from torch import nn

from prunekit import _skorch
from prunekit._random import preserve_rng
from prunekit.exceptions import ParameterError, PlanError, PrunekitError
from prunekit.io import Archive, module_from, read_archive, understood
from prunekit.persistence._describe import Omitted, restore
from prunekit.persistence._trust import Finder
from prunekit.pruner import TaylorPruner

_PRIVATE = ("_inputs", "_layer_table", "_network_map", "_targets")
"""Attributes that `TaylorPruner.fit` sets besides the public ones."""

ModuleSource = nn.Module | type[nn.Module] | Callable[..., nn.Module]


def load_net(
    path: str | Path,
    module: ModuleSource | None = None,
    *,
    trusted: Iterable[Any] = (),
    verify: bool = True,
    **params: Any,
) -> NeuralNet:
    """
    Return a fitted skorch net from a file.

    Parameters
    ----------
    path : str or Path
        File that `save` wrote, of a net or of a pruner, whose pruned net is returned.
    module : Module, class or callable, default=None
        Dense network of the class that was pruned, or what makes one: the class, to which the ``module__`` parameters
        in the file are given, or a function without arguments. None: the class that the file names, if it is among
        `trusted`.
    trusted : iterable of class or function, default=()
        What the file may name besides torch's losses, optimizers and schedulers, skorch's own nets, data sets and
        harmless callbacks, scikit-learn's splitters, and criteria and schedules of prunekit: the objects themselves.
        `untrusted_names` tells what a file names.
    verify : bool, default=True
        Whether to run the network once, and compare with what it returned when it was saved.
    **params : dict
        Parameters of the net that are to be other than in the file, such as ``device="cpu"``; needed for those that
        could not be written down.

    Returns
    -------
    NeuralNet
        Initialized net with weights, history, classes, and the states of criterion and optimizer if they were saved.

    Raises
    ------
    FileAccessError
        If there is no such file, or it cannot be read.
    PlanError
        If the file is damaged, was not written by `save`, holds no net, or does not fit the network.
    UntrustedError
        If the file names something that is not trusted.
    VerificationError
        If the network returns something else than it did when it was saved.

    Warns
    -----
    UserWarning
        If parameters could not be written down when the net was saved, and have their defaults therefore.

    See Also
    --------
    save : Write the file.

    Notes
    -----
    Nothing is imported or unpickled. Whoever wrote the file decides with which arguments trusted classes are made, so
    trust no class whose making does harm.
    """
    archive = read_archive(path)
    find = Finder(trusted, module, "load_net")
    with understood(path), preserve_rng():  # the weights that a new network draws are overwritten
        return _net_of(archive, path, module, find, verify, params, "load_net")


def load_pruner(
    path: str | Path,
    module: ModuleSource | None = None,
    *,
    trusted: Iterable[Any] = (),
    verify: bool = True,
    **params: Any,
) -> TaylorPruner:
    """
    Return a fitted pruner from a file, to predict, to analyze, to report.

    Parameters
    ----------
    path : str or Path
        File that `save` wrote of a pruner.
    module : Module, class or callable, default=None
        As in `load_net`.
    trusted : iterable of class or function, default=()
        As in `load_net`.
    verify : bool, default=True
        As in `load_net`.
    **params : dict
        Parameters of the pruned net that are to be other than in the file.

    Returns
    -------
    TaylorPruner
        The fitted pruner. Its ``estimator`` is not fitted: the dense weights are not in the file.

    Raises
    ------
    FileAccessError
        If there is no such file, or it cannot be read.
    PlanError
        If the file is damaged, was not written by `save`, holds no pruner, or does not fit the network.
    UntrustedError
        If the file names something that is not trusted.
    VerificationError
        If the network returns something else than it did when it was saved.

    Warns
    -----
    UserWarning
        If parameters could not be written down when the pruner was saved, and have their defaults therefore.

    See Also
    --------
    save : Write the file.
    prunekit.report : A report on what came back.
    """
    archive = read_archive(path)
    find = Finder(trusted, module, "load_pruner")
    with understood(path), preserve_rng():  # the weights that a new network draws are overwritten
        return _pruner_of(archive, path, module, find, verify, params)


def _pruner_of(
    archive: Archive, path: str | Path, module: Any, find: Finder, verify: bool, params: dict[str, Any]
) -> TaylorPruner:
    part = archive.parts.get("pruner")
    if part is None:
        raise PlanError(f"'{path}' must be a file that was saved of a pruner. Got one of a network instead.")
    kind = find(str(part["name"]))
    if not isinstance(kind, type) or not issubclass(kind, TaylorPruner):
        raise PlanError(f"'{path}' must be a file that was saved of a pruner. Got one of a {part['name']} instead.")
    net = _net_of(archive, path, module, find, verify, params, "load_pruner")
    pruner = kind(**_given(restore(part["params"], find), kind.__name__))
    _set_attributes(pruner, restore(part["fitted"], find), _PRIVATE)
    pruner.history_ = restore(part["history"], find)
    pruner.plan_ = archive.plan
    pruner.estimator_ = net
    return pruner


def _net_of(
    archive: Archive,
    path: str | Path,
    module: Any,
    find: Finder,
    verify: bool,
    params: dict[str, Any],
    owner: str,
) -> NeuralNet:
    part = archive.parts.get("net")
    if part is None:
        raise PlanError(
            f"'{path}' must be a file that was saved of a net or a pruner. Got one of a module instead; prunekit.load "
            "reads it."
        )
    dense = _dense_maker(archive, module, find)
    smaller = module_from(archive, path, dense, verify=verify, owner=owner)
    described = part["net"]
    kind = find(str(described["name"]))
    if not isinstance(kind, type) or not issubclass(kind, NeuralNet):
        raise PlanError(f"'{path}' must be a file that was saved of a net. Got one of a {described['name']} instead.")
    given = _given(restore(described["params"], find), kind.__name__, params)
    given = {name: value for name, value in given.items() if not name.startswith("module__")} | params
    try:
        net = kind(smaller, **given)
        _skorch.initialize_(net)
    except PrunekitError:
        raise
    except Exception as exc:  # of torch or of a class that the user trusts
        cause = str(exc).rstrip(".")
        raise ParameterError(
            f"The net of '{path}' cannot be made: {cause}. Pass what is missing or other to {owner} by name."
        ) from exc
    _fill_net(net, part, find)
    return net


def _dense_maker(archive: Archive, module: Any, find: Finder) -> Any:
    """Return a dense network, or what makes one when it is called without arguments."""
    described = _net_described(archive.parts["pruner"]["params"]) if "pruner" in archive.parts else None
    described = described or archive.parts["net"]["net"]
    source = find.module(str(described["module"]), bool(described["is_class"]))
    if not isinstance(source, type) or not described["is_class"]:
        return source
    params = restore(described["params"], find)
    own = {name.removeprefix("module__"): value for name, value in params.items() if name.startswith("module__")}
    return lambda: source(**own)


def _net_described(value: Any) -> Any:
    """Return the description of the net that the estimator of a pruner is or freezes."""
    for name, own in value["items"]:
        if name in ("estimator", "base_estimator"):
            while own.get("kind") == "object":
                own = dict(own["params"]["items"])["estimator"]
            return own if own.get("kind") == "net" else None
    return None


def _fill_net(net: NeuralNet, part: Any, find: Finder) -> None:
    if isinstance(net.criterion_, nn.Module):
        net.criterion_.load_state_dict(part["criterion"])
    _set_attributes(net, {name: restore(value, find) for name, value in part["attributes"].items()})
    net.history_ = History(restore(part["history"], find))
    states = part.get("optimizers")
    if states is not None:
        with torch.no_grad():
            for optimizer, state in zip(_skorch.optimizers_of(net), states, strict=True):
                optimizer.load_state_dict(state)
    _skorch.mark_rates_(net)


def _set_attributes(target: Any, values: dict[str, Any], private: Iterable[str] = ()) -> None:
    """Set fitted attributes; those of a file hide no method, and replace nothing that is there."""
    for name, value in values.items():
        is_fitted = name in private or (str(name).endswith("_") and not str(name).startswith("_"))
        is_new = is_fitted and not hasattr(type(target), name) and name not in vars(target)
        if is_new and not isinstance(value, Omitted):
            setattr(target, name, value)


def _given(params: dict[str, Any], owner: str, instead: Iterable[str] = ()) -> dict[str, Any]:
    """Return the parameters that could be written down, and warn of the others."""
    lost = {name: value.text for name, value in params.items() if isinstance(value, Omitted) and name not in instead}
    if lost:
        said = ", ".join(f"{name} ({text})" for name, text in lost.items())
        warnings.warn(
            f"What {owner} had for {said} could not be written down; the default stands in its place. Set it if it "
            "matters.",
            UserWarning,
            stacklevel=4,
        )
    return {name: value for name, value in params.items() if not isinstance(value, Omitted)}
