"""A training that is kept after epochs, and gone on with as if it had never ended."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

import torch
from skorch import NeuralNet
from skorch.history import History
from torch import nn
from torch.nn.parameter import is_lazy
from torch.utils.data import DataLoader

from prunekit._random import rng_state, set_rng_state
from prunekit._skorch._callbacks import callback_rest, callback_states, load_callback_states_
from prunekit._skorch._nets import device_of, optimizers_of
from prunekit._skorch._notes import note
from prunekit._skorch._optimizers import load_optimizer_, optimizer_rest
from prunekit.exceptions import ParameterTypeError
from prunekit.tracing import named_tensors

SECONDS_BETWEEN = 5.0
"""Least time from one state to the next, so that short trainings lose none."""
SHARE = 0.05
"""Largest share of the training that the keeping may take."""

_LOOP = (
    *("fit", "partial_fit", "fit_loop", "run_single_epoch", "train_step", "notify", "get_iterator"),
    *("_zero_grad_optimizer", "_step_optimizer"),
)
"""Methods of a net that are skorch's own in a training that is known."""


class Place(Protocol):
    """Where the state of a training is kept."""

    def read(self) -> Any:
        """Return the state, None if there is none."""

    def write(self, state: Any) -> None:
        """Put a state in the place of the one before."""

    def checked(self) -> AbstractContextManager[None]:
        """Tell of the file where a state that says something impossible makes the block fail."""


class EpochKeeper:
    """
    Keep a training after epochs, and go on with it.

    A state holds the weights, the loss, optimizers, history, random states, and what callbacks know. Whatever else a
    training may change - attributes of modules, data sets, samplers and callbacks, generators of random numbers - is
    noted when it begins. From the first change on no state is written any more: where nothing has changed, what is in
    the state is all there is, and otherwise the training begins at the last state, or anew.

    Parameters
    ----------
    net : NeuralNet
        A copy of the user's net, not initialised.
    place : Place or None
        Where the state is. None: nothing is kept.

    Attributes
    ----------
    done : int
        Number of epochs that are done.
    seconds : float
        Time that these took before this process went on with them.
    """

    def __init__(self, net: NeuralNet, place: Place | None) -> None:
        self.done = 0
        self.seconds = 0.0
        self._net = net
        self._place = place if _is_known(net) else None
        self._state = None if self._place is None else self._place.read()
        self._has_begun = False
        self._rest: list[str] | None = None
        self._begin = self._last = time.monotonic()
        self._cost = 0.0

    @property
    def has_begun_before(self) -> bool:
        """Whether there is something to go on with."""
        return self._state is not None

    def load_(self) -> None:
        """Go on with a training that was kept; the net is initialised, and its callbacks know that it begins."""
        if self._state is None or self._place is None:
            return
        with self._place.checked():
            self._load_(self._state)
            self._state = {"rng": self._state["rng"]}

    def begin(self, data: Mapping[str, Any]) -> None:
        """
        Do what is to be done right before the first epoch of this process.

        Parameters
        ----------
        data : Mapping
            The data sets.
        """
        if self._place is None or self._has_begun:
            return
        self._has_begun = True
        self.load_random_states_()
        self._rest = self._note_rest(data)

    def load_random_states_(self) -> None:
        """Set the random states to those after the last epoch that was kept, once."""
        if self._state is not None and self._place is not None:
            with self._place.checked():
                set_rng_state(self._state["rng"], device_of(self._net))
        self._state = None

    def end_epoch(self, data: Mapping[str, Any]) -> None:
        """
        Count an epoch, and write the state if it is time.

        Parameters
        ----------
        data : Mapping
            The data sets.
        """
        self.done += 1
        now = time.monotonic()
        if self._place is None or self._rest is None or self.done >= self._net.max_epochs:
            return
        if now - self._last < max(SECONDS_BETWEEN, self._cost / SHARE):
            return
        if self._rest != self._note_rest(data):
            self._place = None
            return
        try:
            self._place.write(self._get_state(now))
        except ParameterTypeError:  # a history, an optimizer or a schedule holds more than numbers and tensors
            self._place = None
        self._last = time.monotonic()
        self._cost = self._last - now

    def _get_state(self, now: float) -> dict[str, Any]:
        net = self._net
        return {
            "epochs": self.done,
            "seconds": self.seconds + now - self._begin,
            "tensors": [{name: one.detach() for name, one in named_tensors(part).items()} for part in _parts_of(net)],
            "trainable": [[one.requires_grad for one in part.parameters()] for part in _parts_of(net)],
            "optimizers": [optimizer.state_dict() for optimizer in optimizers_of(net)],
            "history": [dict(row) for row in net.history],
            "callbacks": callback_states(net),
            "rng": rng_state(device_of(net)),
        }

    def _load_(self, state: Mapping[str, Any]) -> None:
        net = self._net
        done = state["epochs"]
        if not isinstance(done, int) or not 0 < done <= net.max_epochs:
            raise ValueError(f"{done!r} epochs of {net.max_epochs}")
        if len(state["history"]) < done:
            raise ValueError(f"a history of {len(state['history'])} epochs after {done}")
        for part, tensors, trainable in zip(_parts_of(net), state["tensors"], state["trainable"], strict=True):
            for parameter, flag in zip(part.parameters(), trainable, strict=True):
                parameter.requires_grad_(bool(flag))
            with torch.no_grad():
                for name, tensor in named_tensors(part).items():
                    if tensors[name].shape != tensor.shape or tensors[name].dtype != tensor.dtype:
                        raise ValueError(f"'{name}' has shape {tuple(tensors[name].shape)}")
                    tensor.copy_(tensors[name])
        for optimizer, own in zip(optimizers_of(net), state["optimizers"], strict=True):
            load_optimizer_(optimizer, own)
        load_callback_states_(net, state["callbacks"])
        net.history_ = History(dict(row) for row in state["history"])
        self.done, self.seconds = done, float(state["seconds"])

    def _note_rest(self, data: Mapping[str, Any]) -> list[str] | None:
        """Note all that a state does not hold; None if nobody knows what that is."""
        net = self._net
        parts = _parts_of(net)
        if any(is_lazy(tensor) for part in parts for tensor in named_tensors(part).values()):
            return None
        iterators = [net.get_params_for(name) for name in ("iterator_train", "iterator_valid")]
        loss = None if isinstance(net.criterion_, nn.Module) else net.criterion_
        try:
            return [
                note([parts, loss, _own_attributes(net)], parts),
                note([dict(data), iterators], parts),
                *(note(optimizer_rest(optimizer), parts) for optimizer in optimizers_of(net)),
                *callback_rest(net, parts),
            ]
        except Exception:  # whatever the objects of users raise when they are looked into
            return None


@contextmanager
def followed(net: NeuralNet, keeper: EpochKeeper, tell: Callable[[NeuralNet, int], None]) -> Iterator[None]:
    """
    Let a keeper and whoever shows the progress see the training of a net, before all callbacks and after them.

    Parameters
    ----------
    net : NeuralNet
        A copy of the user's net.
    keeper : EpochKeeper
        Keeps the training.
    tell : callable
        Is called with the net and the number of epochs that are done, when the training begins and after each epoch.

    Yields
    ------
    None
        Control to the block.
    """
    notify, fit_loop = net.notify, net.fit_loop

    def notify_all(name: str, **data: Any) -> None:
        if name == "on_epoch_begin":
            keeper.begin(data)
        if name == "on_train_end":  # there may have been no epoch to go
            keeper.load_random_states_()
        try:
            notify(name, **data)
        except KeyboardInterrupt:  # such as EarlyStopping
            if name == "on_epoch_end":
                tell(net, keeper.done + 1)
            raise
        if name == "on_train_begin":
            keeper.load_()
            tell(net, keeper.done)
        if name == "on_epoch_end":
            keeper.end_epoch(data)
            tell(net, keeper.done)

    def rest_of_loop(*args: Any, **params: Any) -> Any:
        return fit_loop(*args, **params, epochs=net.max_epochs - keeper.done)

    replaced = {"notify": notify_all, **({"fit_loop": rest_of_loop} if keeper.has_begun_before else {})}
    before = {name: vars(net)[name] for name in replaced if name in vars(net)}
    vars(net).update(replaced)
    try:
        yield
    finally:
        for name in replaced:
            del vars(net)[name]
        vars(net).update(before)


def _is_known(net: NeuralNet) -> bool:
    """Return whether the training of a net is skorch's own, so that nothing is in it that a state does not hold."""
    methods = [getattr(type(net), name) for name in _LOOP]
    iterators = (net.iterator_train, net.iterator_valid)
    params = [net.get_params_for(name) for name in ("iterator_train", "iterator_valid")]
    return (
        all(method.__module__.partition(".")[0] == "skorch" for method in methods)
        and not net.compile
        and not hasattr(net, "accelerator")
        and all(kind is DataLoader for kind in iterators)
        and not any(one.get("persistent_workers") for one in params)
    )


def _parts_of(net: NeuralNet) -> list[nn.Module]:
    parts = [getattr(net, f"{name}_") for name in (*net._modules, *net._criteria)]
    return [part for part in parts if isinstance(part, nn.Module)]


def _own_attributes(net: NeuralNet) -> dict[str, Any]:
    """Return the attributes of a net that skorch knows nothing of, and all that are numbers and strings."""
    parts = [f"{name}_" for name in (*net._modules, *net._criteria, *net._optimizers)]
    known = {*vars(NeuralNet(nn.Module, None)), *_OF_TRAINING, *parts}
    return {
        name: value
        for name, value in vars(net).items()
        if isinstance(value, int | float | str) or (name not in known and "__" not in name)
    }


_OF_TRAINING = ("notify", "fit_loop", "train_step_single", "history_", "callbacks_", "initialized_", "virtual_params_")
"""Attributes of a net in its training."""
