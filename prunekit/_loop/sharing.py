"""Parts of a run that other fits have in common with it, each done once."""

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import skorch
import torch
from skorch import NeuralNet

from prunekit._random import preserve_rng
from prunekit._skorch import Phase, classes_of, device_of, follows_course, load_trained_, trained_state
from prunekit.io import BROKEN, StateStore, fingerprint

_FREE = (
    *("target_reduction", "step", "final_epochs", "final_batches", "min_score", "max_score_drop", "recovery_rounds"),
    *("step_halvings", "control", "store_baseline", "checkpoint", "memory", "random_state", "verbose"),
)
"""Parameters that decide how far the course of pruning is gone, not what it is."""


class Sharing:
    """
    Share what a fit has in common with others.

    Parameters
    ----------
    store : StateStore
        Where it is kept.
    seed : int or None
        Seed of the fit.
    data : tuple
        All data of the fit.
    """

    def __init__(self, store: StateStore, seed: int | None, data: tuple[Any, ...]) -> None:
        self._store = store
        self._seed = seed
        self._given = fingerprint(torch.__version__, skorch.__version__, seed, data)

    def train_once(
        self, net: NeuralNet, probe: NeuralNet, train: Callable[[], tuple[NeuralNet, Phase]]
    ) -> tuple[NeuralNet, Phase]:
        """
        Train before pruning, or take over what another fit has trained.

        Parameters
        ----------
        net : NeuralNet
            The user's net.
        probe : NeuralNet
            Initialised copy of it that is not trained; it gets the weights if they are there. Without a seed random
            numbers then go on as if there was no training.
        train : callable
            Trains, and returns the net and its training.

        Returns
        -------
        net : NeuralNet
            The trained net.
        phase : Phase
            Its training.
        """
        with self._store.entry(f"dense-{fingerprint(self._given, net, classes_of(probe))}") as entry:
            if entry.state is None:
                trained, phase = train()
                entry.write(trained_state(trained, phase))
                return trained, phase
        try:
            with preserve_rng(device_of(probe)) if self._seed is None else nullcontext():
                return probe, load_trained_(probe, entry.state)
        except BROKEN as exc:
            raise entry.broken(exc) from exc

    def path(self, params: Mapping[str, Any], start: NeuralNet) -> "SharedPath":
        """
        Return the course of pruning; nobody else goes it without a seed, or with learning rates of its own.

        Parameters
        ----------
        params : Mapping of str to object
            Parameters as `TaylorPruner` has them.
        start : NeuralNet
            The trained net.

        Returns
        -------
        SharedPath
            The course.
        """
        own = {name: value for name, value in params.items() if name not in _FREE}
        key = fingerprint(self._given, own, classes_of(start))
        is_own = self._seed is None or follows_course(params["lr_policy"])
        return SharedPath(None if is_own else self._store, key)


class SharedPath:
    """
    A course of pruning that other fits may have gone before, as far as they did the same.

    Parameters
    ----------
    store : StateStore or None
        Where the states on the way are kept. None: nothing is shared.
    key : str
        Stands for everything that the course depends on, but for what is given to `step`.
    """

    def __init__(self, store: StateStore | None, key: str) -> None:
        self._store = store
        self._key = key

    def leave(self) -> None:
        """Share nothing from here on."""
        self._store = None

    def step(
        self,
        what: tuple[Any, ...],
        work: Callable[[], dict[str, Any]],
        get_state: Callable[[], dict[str, Any]],
        set_state: Callable[[Mapping[str, Any]], None],
    ) -> dict[str, Any]:
        """
        Do a step, or take over what it gave before.

        Parameters
        ----------
        what : tuple
            What the step depends on besides all steps before: numbers, strings, arrays.
        work : callable
            Does it; returns numbers.
        get_state, set_state : callable
            Return and set the state of everything that the next step depends on.

        Returns
        -------
        dict
            What ``work`` returned.
        """
        if self._store is None:
            return work()
        self._key = fingerprint(self._key, what)
        with self._store.entry(f"path-{self._key}") as entry:
            if entry.state is None:
                gave = work()
                entry.write({"gave": gave, "state": get_state()})
                return gave
        try:
            kept: dict[str, Any] = entry.state["gave"]
            set_state(entry.state["state"])
        except BROKEN as exc:
            raise entry.broken(exc) from exc
        return kept
