"""States that several processes share, each made once."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

from prunekit._files import make_folder, told_of
from prunekit.exceptions import ParameterError, ParameterTypeError, StateError
from prunekit.io._state import read_state, write_state

VERSION = 1
"""Of what is in the states; to be raised when their fields change."""


class StateStore:
    """
    Keep states by keys that stand for all that they depend on.

    Parameters
    ----------
    folder : Path
        Where the files are; it is made when something is written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @contextlib.contextmanager
    def entry(self, key: str) -> Iterator["Entry"]:
        """
        Let one thread of one process at a time work on a state; the others wait, and then find it made.

        Parameters
        ----------
        key : str
            Which state.

        Yields
        ------
        Entry
            What is there, and a way to put something there. The system frees the lock of a process that was killed.
        """
        make_folder(self._folder)
        lock = filelock.FileLock(self._folder / f"{key}.lock")
        with told_of(self._folder, "be locked"):
            lock.acquire()
        try:
            yield Entry(self._folder / f"{key}.safetensors", key)
        finally:
            lock.release()


class Entry:
    """
    A place for one state.

    Parameters
    ----------
    path : Path
        Its file.
    key : str
        What stands in it, so that a file that was put in the place of another is not taken for it.

    Attributes
    ----------
    state : object
        What is there, None if there is nothing.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._key = key
        self.state: Any = None
        with contextlib.suppress(FileNotFoundError, StateError):  # a file that is not whole is made again
            kept = read_state(path)
            if isinstance(kept, dict) and kept.get("version") == VERSION and kept.get("of", key) == key:
                self.state = kept.get("state")

    def write(self, state: Any) -> None:
        """
        Put a state there.

        Parameters
        ----------
        state : object
            What `prunekit.io.write_state` takes.
        """
        write_state(self._path, {"version": VERSION, "of": self._key, "state": state})

    def broken(self, error: Exception) -> StateError:
        """
        Return what is raised where the state says something impossible.

        Parameters
        ----------
        error : Exception
            What that led to.

        Returns
        -------
        StateError
            The error.
        """
        return StateError(
            f"'{self._path}' must be what a fit has written. Got something with which another cannot go on instead: "
            f"{type(error).__name__}: {str(error).rstrip('.')}. Remove the file; it is made again."
        )


def open_store(memory: object, owner: str) -> StateStore | None:
    """
    Return the store that a ``memory`` parameter stands for.

    Parameters
    ----------
    memory : None, str, Path or joblib.Memory
        As scikit-learn takes it. What is kept lies beside what joblib keeps there, so that ``memory.clear()`` removes
        it, but as numbers, not as pickles.
    owner : str
        Class that the parameter belongs to, for the message.

    Returns
    -------
    StateStore or None
        None if nothing is to be kept.

    Raises
    ------
    ParameterTypeError
        If it is none of these.
    ParameterError
        If it is a `joblib.Memory` that keeps nothing in a folder.
    """
    if memory is None:
        return None
    if isinstance(memory, str | Path):
        return StateStore(Path(memory) / "joblib" / "prunekit")
    if not hasattr(memory, "cache") or not hasattr(memory, "store_backend"):
        raise ParameterTypeError(
            f"The 'memory' parameter of {owner} must be the path of a folder, a joblib.Memory or None. "
            f"Got {memory!r} instead."
        )
    backend = memory.store_backend
    if backend is None:
        return None
    location = getattr(backend, "location", None)
    if not isinstance(location, str | Path):
        raise ParameterError(
            f"The 'memory' parameter of {owner} must be a joblib.Memory with a folder. Got {memory!r} instead. "
            "Pass the path of a folder that all processes see."
        )
    return StateStore(Path(location) / "prunekit")
