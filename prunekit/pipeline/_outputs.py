"""The folder that a run writes: all of it or nothing."""

import json
import os
import platform
import shutil
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pandas as pd
import yaml
from skorch import NeuralNet

from prunekit import __version__, persistence
from prunekit.exceptions import ParameterError
from prunekit.pipeline.schema import Experiment

FORMAT = 1

_MARKER = "run.json"
_PACKAGES = ("torch", "scikit-learn", "skorch", "numpy", "scipy", "pandas", "safetensors")


class OutputFolder:
    """
    Collects files beside the folder and moves them into place when the block ends without an exception.

    Nothing but files of an earlier run is ever replaced.

    Parameters
    ----------
    path : str or Path
        The folder: a new one, an empty one or that of an earlier run.

    Attributes
    ----------
    path : Path
        The folder.
    files : dict of str to str
        Names of the files written so far and what they hold.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.files: dict[str, str] = {}
        absolute = self.path.resolve()  # "." has no name
        self._staging = absolute.parent / f".{absolute.name}.{os.getpid()}"

    def __enter__(self) -> Self:
        """
        Check the folder and open another one beside it.

        Returns
        -------
        OutputFolder
            This object.

        Raises
        ------
        ParameterError
            If the folder holds something else than an earlier run or cannot be written.
        """
        if self.path.exists() and not _is_run(self.path):
            raise ParameterError(
                f"The output folder must be new, empty or that of an earlier run. Got {self.path}, "
                "which is something else, instead. Give another folder with --out."
            )
        try:
            self._staging.mkdir(parents=True)
        except OSError as exc:
            raise ParameterError(
                f"The output folder must be in a folder that can be written. Got {self.path} instead: {exc.strerror}."
            ) from exc
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """
        Move everything into place, or remove it after an exception.

        Parameters
        ----------
        exc_type : type or None
            Type of the exception.
        exc : BaseException or None
            The exception.
        traceback : TracebackType or None
            Where it was raised.
        """
        try:
            if exc_type is None:
                self.path.mkdir(exist_ok=True)
                for name in self.files:
                    (self._staging / name).replace(self.path / name)
        finally:
            shutil.rmtree(self._staging, ignore_errors=True)

    def save_net(self, name: str, net: NeuralNet, what: str) -> int:
        """
        Save a network.

        Parameters
        ----------
        name : str
            Name of the file.
        net : NeuralNet
            The net; its network alone is written, so that the same experiment gives the same file.
        what : str
            What the file holds.

        Returns
        -------
        int
            Size of the file in bytes.
        """
        persistence.save(net.module_, self._new(name, what))
        return (self._staging / name).stat().st_size

    def write_table(self, name: str, table: pd.DataFrame, what: str) -> None:
        """
        Write a table as CSV.

        Parameters
        ----------
        name : str
            Name of the file.
        table : DataFrame
            The table.
        what : str
            What the file holds.
        """
        table.to_csv(self._new(name, what), index=not isinstance(table.index, pd.RangeIndex))

    def write_json(self, name: str, content: dict[str, Any], what: str) -> None:
        """
        Write plain values as JSON.

        Parameters
        ----------
        name : str
            Name of the file.
        content : dict
            The values.
        what : str
            What the file holds.
        """
        text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False)
        self._new(name, what).write_text(f"{text}\n", encoding="utf-8")

    def write_experiment(
        self,
        experiment: Experiment,
        name: str = "experiment.yaml",
        what: str = "the experiment, every default written out",
    ) -> None:
        """
        Write the experiment as a pipeline file that leaves nothing out.

        Parameters
        ----------
        experiment : Experiment
            The experiment.
        name : str, default="experiment.yaml"
            Name of the file.
        what : str, default="the experiment, every default written out"
            What the file holds.
        """
        text = yaml.safe_dump(experiment.resolved(), sort_keys=False, default_flow_style=False)
        self._new(name, what).write_text(text, encoding="utf-8")

    def write_marker(self, experiment: Experiment) -> None:
        """
        Write what marks the folder as a run: its format, the versions and the files.

        Parameters
        ----------
        experiment : Experiment
            The experiment.
        """
        what = "versions of all packages, list of the files"
        content = {
            "prunekit_run": FORMAT,
            "name": experiment.name,
            "seed": experiment.seed,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "versions": {"prunekit": __version__, **{name: metadata.version(name) for name in _PACKAGES}},
            "files": {**self.files, _MARKER: what},
        }
        self.write_json(_MARKER, content, what)

    def _new(self, name: str, what: str) -> Path:
        self.files[name] = what
        return self._staging / name


def _is_run(folder: Path) -> bool:
    """Tell whether a folder is empty or was written by a run."""
    if not folder.is_dir():
        return False
    if not any(folder.iterdir()):
        return True
    try:
        return "prunekit_run" in json.loads((folder / _MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False
