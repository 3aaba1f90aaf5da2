"""Errors that prunekit raises; each also derives from the builtin that a user would catch."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = [
    "ExportError",
    "FileAccessError",
    "FileMissingError",
    "FilePermissionError",
    "InputError",
    "MissingDependencyError",
    "NothingToPruneError",
    "ParameterError",
    "ParameterTypeError",
    "PipelineFileError",
    "PlanError",
    "PrunekitError",
    "StateError",
    "TargetError",
    "TrainingError",
    "UntrustedError",
    "VerificationError",
]


class PrunekitError(Exception):
    """Base of every error of the package."""


class ParameterError(PrunekitError, ValueError):
    """The value of a parameter is wrong."""


class ParameterTypeError(PrunekitError, TypeError):
    """The type of a parameter is wrong."""


class InputError(PrunekitError, ValueError):
    """Data or example inputs do not fit the network."""


class ExportError(PrunekitError, RuntimeError):
    """A format cannot hold the network, or what runs it does not; the message names the cause and no file is left."""


class FileAccessError(PrunekitError, OSError):
    """A file or folder cannot be read or written; what was there before is as it was. ``errno`` is the system's."""


class FileMissingError(FileAccessError, FileNotFoundError):
    """There is no such file."""


class FilePermissionError(FileAccessError, PermissionError):
    """The file or folder may not be read or written."""


class MissingDependencyError(PrunekitError, ImportError):
    """An optional package is not installed; the message says how to install it."""


class NothingToPruneError(PrunekitError, ValueError):
    """The network has no filter that can be removed; the message lists what blocks them."""


class PlanError(PrunekitError, ValueError):
    """A pruning plan does not fit the network that it is applied to, or cannot be read."""


class StateError(PrunekitError, ValueError):
    """A file that a run is to go on from is not whole, or not one of this version."""


class TargetError(PrunekitError, ValueError):
    """The target reduction cannot be reached under the given constraints."""


class TrainingError(PrunekitError, RuntimeError):
    """Training met a loss or a gradient that is not finite."""


class UntrustedError(PrunekitError, ValueError):
    """A file names a class or function that the caller does not trust; it was not built, nor imported."""


class VerificationError(PrunekitError, RuntimeError):
    """The masked and the compacted network do not agree; nothing wrong is returned."""


class PipelineFileError(PrunekitError, ValueError):
    """
    A declarative pipeline file is wrong; the message names file, line and key.

    Parameters
    ----------
    message : str
        What is wrong, for people.
    problems : iterable of prunekit.pipeline.Problem, default=()
        The same as data: each thing that is wrong with its place, also those that a long message leaves out.
    """

    def __init__(self, message: str, problems: "Iterable[Any]" = ()) -> None:
        super().__init__(message)  # the message alone: what is pickled is this and the attributes
        self.problems: tuple[Any, ...] = tuple(problems)
