"""The folder that a run writes: all of it or nothing."""

import json
import platform
import shutil
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pandas as pd
import yaml
from filelock import FileLock, Timeout
from skorch import NeuralNet

from prunekit import __version__, persistence
from prunekit.exceptions import ParameterError, PrunekitError
from prunekit.pipeline.schema import Experiment

FORMAT = 1

MARKER = "run.json"
_LOG = "run.log"
_PACKAGES = ("torch", "scikit-learn", "skorch", "numpy", "scipy", "pandas", "safetensors")


class OutputFolder:
    """
    Collects files beside the folder and moves them into place when the block ends without an exception.

    Nothing but files of an earlier run is ever replaced. What a run has computed is kept beside the folder until it is
    over, so that one that was killed can go on.

    Parameters
    ----------
    path : str or Path
        The folder: a new one, an empty one or that of an earlier run.
    resume : bool, default=False
        Whether to go on with a run that was killed, if there is one.

    Attributes
    ----------
    path : Path
        The folder.
    files : dict of str to str
        Names of the files written so far and what they hold.
    is_resumed : bool
        Whether a run goes on.
    """

    def __init__(self, path: str | Path, *, resume: bool = False) -> None:
        self.path = Path(path)
        self.files: dict[str, str] = {}
        self.is_resumed = False
        self._resume = resume
        absolute = self.path.resolve()  # "." has no name
        self._work = absolute.parent / f".{absolute.name}.unfinished"
        self._lock = FileLock(self._work / "lock", timeout=0)

    @property
    def staging(self) -> Path:
        """
        Where files are until the run is over.

        Returns
        -------
        Path
            A folder.
        """
        return self._work / "files"

    @property
    def state(self) -> Path:
        """
        Where the run keeps what it needs to go on after it was killed.

        Returns
        -------
        Path
            A folder, which may not be there.
        """
        return self._work / "state"

    @property
    def log(self) -> Path:
        """
        Where the log is written, also while the run goes on.

        Returns
        -------
        Path
            A file.
        """
        return self._work / _LOG

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
            If the folder holds something else than an earlier run, cannot be written, is written by another run, or
            has an unfinished run that is not to go on.
        """
        if self.path.exists() and not _may_be_written(self.path):
            raise ParameterError(
                f"The output folder must be new, empty or that of an earlier run. Got {self.path}, "
                "which is something else, instead. Give another folder with --out."
            )
        try:
            self._work.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout as exc:
            raise ParameterError(
                f"The output folder must be one that no other run is writing. Got {self.path} instead. Wait for the "
                "other run, or give another folder with --out."
            ) from exc
        except OSError as exc:
            raise ParameterError(
                f"The output folder must be in a folder that can be written. Got {self.path} instead: {exc.strerror}."
            ) from exc
        self.is_resumed = self.state.exists()
        if self.is_resumed and not self._resume:
            self._lock.release()
            raise ParameterError(
                f"The output folder must be one without an unfinished run. Got {self.path} instead. Give --resume to "
                f"go on with it, remove {self._work} to begin anew, or give another folder with --out."
            )
        shutil.rmtree(self.staging, ignore_errors=True)
        self.staging.mkdir()
        if not self.is_resumed:
            self.log.unlink(missing_ok=True)
        self.log.touch()
        self.files[_LOG] = "the log"
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """
        Move everything into place; after an exception, keep only what the run can go on from.

        An error that another attempt would end in as well leaves nothing, unless the run had begun before.

        Parameters
        ----------
        exc_type : type or None
            Type of the exception.
        exc : BaseException or None
            The exception.
        traceback : TracebackType or None
            Where it was raised.
        """
        ends_again = isinstance(exc, PrunekitError) and not self.is_resumed
        try:
            if exc_type is None:
                self.log.replace(self.staging / _LOG)
                self._move()
        finally:
            shutil.rmtree(self.staging, ignore_errors=True)
            goes_on = exc_type is not None and self.state.exists() and not ends_again
            self._lock.release()
            if not goes_on:
                shutil.rmtree(self._work, ignore_errors=True)

    def _move(self) -> None:
        """Move the files into place: a new folder at once, into an old one file by file, of which the last marks it."""
        if not self.path.exists():
            self.staging.rename(self.path)
            return
        for name in self.files:
            (self.staging / name).replace(self.path / name)

    def save_net(self, name: str, net: NeuralNet, what: str, *, keep: bool = True) -> int:
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
        keep : bool, default=True
            Whether the file stays, or only its size is wanted.

        Returns
        -------
        int
            Size of the file in bytes.
        """
        path = self.new(name, what)
        persistence.save(net.module_, path)
        size = path.stat().st_size
        if not keep:
            path.unlink()
            del self.files[name]
        return size

    def write_table(self, name: str, table: pd.DataFrame, what: str, formats: Sequence[str] = ("csv",)) -> None:
        """
        Write a table.

        Parameters
        ----------
        name : str
            Name of the files, without the part after the dot.
        table : DataFrame
            The table.
        what : str
            What the files hold.
        formats : sequence of {"csv", "parquet"}, default=("csv",)
            The formats.
        """
        index = not isinstance(table.index, pd.RangeIndex)
        if "csv" in formats:
            table.to_csv(self.new(f"{name}.csv", what), index=index)
        if "parquet" in formats:
            bare = table.copy()
            bare.attrs = {}  # which hold more than the format takes
            bare.to_parquet(self.new(f"{name}.parquet", f"{what}, typed"), index=index)

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
        self.new(name, what).write_text(f"{text}\n", encoding="utf-8")

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
        self.new(name, what).write_text(text, encoding="utf-8")

    def write_marker(self, experiment: Experiment, facts: dict[str, Any]) -> None:
        """
        Write what marks the folder as a run: its format, the versions and the files.

        Parameters
        ----------
        experiment : Experiment
            The experiment.
        facts : dict
            More that is known of the run.
        """
        what = "versions of all packages, git revision, list of the files"
        content = {
            "prunekit_run": FORMAT,
            "name": experiment.name,
            "seed": experiment.seed,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "versions": {"prunekit": __version__, **{name: metadata.version(name) for name in _PACKAGES}},
            **facts,
            "files": {**self.files, MARKER: what},
        }
        self.write_json(MARKER, content, what)

    def new(self, name: str, what: str) -> Path:
        """
        Return the path of a new file.

        Parameters
        ----------
        name : str
            Name of the file.
        what : str
            What the file holds.

        Returns
        -------
        Path
            Where to write it.
        """
        self.files[name] = what
        return self.staging / name


def _may_be_written(folder: Path) -> bool:
    """Tell whether a folder is empty or was written by a run."""
    if not folder.is_dir():
        return False
    if not any(folder.iterdir()):
        return True
    try:
        return "prunekit_run" in json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False
