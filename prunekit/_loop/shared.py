"""The folder of a run in which several processes take part."""

from pathlib import Path
from typing import Any

from prunekit._loop.checkpoint import Checkpoint
from prunekit._processes import Processes
from prunekit.exceptions import StateError


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
