"""The folder in which a run is kept."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from prunekit._processes import Processes
from prunekit._random import rng_state, set_rng_state
from prunekit.exceptions import StateError
from prunekit.io import BROKEN, read_state, write_state

VERSION = 1
"""Of what is in the states of a run; to be raised when their fields change."""


class Checkpoint:
    """
    Keep the states of one run.

    Parameters
    ----------
    folder : Path
        Folder of this run alone; it is made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, seed: int | None, device: torch.device | None) -> int | None:
        """
        Return the seed that the run began with, and set the random states to those of that moment if it had none.

        Parameters
        ----------
        seed : int or None
            Seed for a run that is not there yet.
        device : torch.device or None
            Device that computes.

        Returns
        -------
        int or None
            The seed.
        """
        start = self.read("start")
        if start is None:
            start = {"seed": seed, "rng": rng_state(device)}
            self.write("start", start)
        try:
            begun: int | None = start["seed"]
            if begun is None:
                set_rng_state(start["rng"], device)
        except BROKEN as exc:
            raise self.broken("start", exc) from exc
        return begun

    def write(self, name: str, state: Any) -> None:
        """
        Put a state in the place of the one before, in a single step.

        Parameters
        ----------
        name : str
            Which state.
        state : object
            What `prunekit.io.write_state` takes.
        """
        write_state(self._path(name), {"version": VERSION, "of": self._whose(name), "state": state})

    def read(self, name: str) -> Any:
        """
        Return a state, None if there is none.

        Parameters
        ----------
        name : str
            Which state.

        Returns
        -------
        object
            What was written.

        Raises
        ------
        StateError
            If the file is not whole, or not one of this version.
        """
        path = self._path(name)
        try:
            kept = read_state(path)
        except FileNotFoundError:
            return None
        version = kept.get("version") if isinstance(kept, dict) else None
        if version != VERSION:
            raise StateError(
                f"'{path}' must be of a run that this version of prunekit began (format {VERSION}). Got format "
                f"{version!r} instead. End the run with the version that began it, or remove the folder "
                f"'{self._folder}' to begin anew."
            )
        if kept.get("of", self._whose(name)) != self._whose(name) or "state" not in kept:
            raise StateError(
                f"'{path}' must be the file '{name}' of this run. Got one of another run, or of another name, instead. "
                f"Put the files back where they were, or remove the folder '{self._folder}' to begin anew."
            )
        return kept["state"]

    def remove(self, name: str) -> None:
        """
        Remove a state that is no longer of use, if it is there.

        Parameters
        ----------
        name : str
            Which state.
        """
        with suppress(OSError):  # it is in nobody's way
            self._path(name).unlink(missing_ok=True)

    def place(self, name: str) -> "StatePlace":
        """
        Return the place of a state, for those who need not know of the others.

        Parameters
        ----------
        name : str
            Which state.

        Returns
        -------
        StatePlace
            The place.
        """
        return StatePlace(self, name)

    def broken(self, name: str, error: Exception) -> StateError:
        """
        Return what is raised where a state says something impossible.

        Parameters
        ----------
        name : str
            Which state.
        error : Exception
            What that led to.

        Returns
        -------
        StateError
            The error.
        """
        cause = f"{type(error).__name__}: {str(error).rstrip('.')}"
        return StateError(
            f"'{self._path(name)}' must be what this run has written. Got something with which it cannot go on "
            f"instead: {cause}. Remove the folder '{self._folder}' to begin anew."
        )

    def _whose(self, name: str) -> str:
        return f"{self._folder.name}/{name}"

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.safetensors"


@dataclass(frozen=True, slots=True)
class StatePlace:
    """
    Where one state of a run is.

    Parameters
    ----------
    checkpoint : Checkpoint
        The run.
    name : str
        Which state.
    """

    checkpoint: Checkpoint
    name: str

    def read(self) -> Any:
        """Return the state, None if there is none."""
        return self.checkpoint.read(self.name)

    def write(self, state: Any) -> None:
        """
        Put a state in the place of the one before.

        Parameters
        ----------
        state : object
            What `prunekit.io.write_state` takes.
        """
        self.checkpoint.write(self.name, state)

    @contextmanager
    def checked(self) -> Iterator[None]:
        """
        Tell of the file where a state that says something impossible makes the block fail.

        Yields
        ------
        None
            Control to the block.

        Raises
        ------
        StateError
            If the block raises what a broken state leads to.
        """
        try:
            yield
        except BROKEN as exc:
            raise self.checkpoint.broken(self.name, exc) from exc


class SharedCheckpoint(Checkpoint):
    """
    Keep the states of one run in the first process, which alone needs the folder, and tell the others.

    Parameters
    ----------
    folder : Path
        Folder of this run alone.
    processes : Processes
        Those that take part.
    """

    def __init__(self, folder: Path, processes: Processes) -> None:
        super().__init__(folder)
        self._processes = processes

    def write(self, name: str, state: Any) -> None:
        """
        Put a state in the place of the one before; the other processes, which have the same, write nothing.

        Parameters
        ----------
        name : str
            Which state.
        state : object
            What `prunekit.io.write_state` takes.
        """
        if self._processes.is_first:
            super().write(name, state)

    def remove(self, name: str) -> None:
        """
        Remove a state that is no longer of use, if it is there.

        Parameters
        ----------
        name : str
            Which state.
        """
        if self._processes.is_first:
            super().remove(name)

    def read(self, name: str) -> Any:
        """
        Return a state that the first process has read, None if there is none.

        Parameters
        ----------
        name : str
            Which state.

        Returns
        -------
        object
            What was written.

        Raises
        ------
        StateError
            If the file is not whole, or not one of this version; in all processes.
        """
        state, message = None, ""
        if self._processes.is_first:
            try:
                state = super().read(name)
            except StateError as exc:
                message = str(exc)
        state, message = self._processes.same((state, message))
        if message:
            raise StateError(message)
        return state
