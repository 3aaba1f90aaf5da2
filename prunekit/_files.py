"""Files that are whole or not there, and what is said where the system refuses."""

import os
import secrets
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prunekit.exceptions import (
    FileAccessError,
    FileMissingError,
    FilePermissionError,
    ParameterError,
    ParameterTypeError,
)

_SECONDS_LEFT_ALONE = 3600.0
"""Another process may be at work on a younger file."""


def write_atomically(target: str | Path, content: bytes) -> None:
    """
    Write beside a file and put it in its place when it is whole and on the disk.

    Parameters
    ----------
    target : str or Path
        The file; folders that are missing are made. What a process that was killed has left beside it is removed
        once it is an hour old.
    content : bytes
        What to write.

    Raises
    ------
    FileAccessError
        If the system refuses, as on a full disk; the old file, if there is one, is as it was.
    """
    with written_beside(target, content):
        pass


@contextmanager
def written_beside(target: str | Path, content: bytes) -> Iterator[Path]:
    """
    Write beside a file, let the block look at that, and put it in its place if the block raises nothing.

    Parameters
    ----------
    target : str or Path
        The file, as for `write_atomically`.
    content : bytes
        What to write.

    Yields
    ------
    Path
        The new file, on the disk under another name.

    Raises
    ------
    FileAccessError
        If the system refuses; the old file, if there is one, is as it was, also where the block raises something.
    """
    target = Path(target)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with told_of(target, "be written"):
            make_folder(target.parent)
            if target.is_dir():
                raise IsADirectoryError(0, "it is a folder")
            _tidy(target)
            with temporary.open("xb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        yield temporary
        with told_of(target, "be written"):
            temporary.replace(target)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    with suppress(OSError):  # no folders can be opened on Windows
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _tidy(target: Path) -> None:
    """Remove what processes that were killed have left beside a file."""
    for left in target.parent.glob(f".{target.name}.*.part"):
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > _SECONDS_LEFT_ALONE:
                left.unlink()


def checked_path(path: object) -> Path:
    """
    Return a path that a user gave.

    Parameters
    ----------
    path : str or Path
        The file or folder.

    Returns
    -------
    Path
        The same.

    Raises
    ------
    ParameterTypeError
        If it is something else.
    ParameterError
        If no file has such a name.
    """
    if not isinstance(path, str | os.PathLike):
        raise ParameterTypeError(
            f"The 'path' parameter must be the name of a file, a string or Path. Got {path!r} instead."
        )
    found = Path(path)
    if "\0" in str(found):
        raise ParameterError(f"The 'path' parameter must be the name of a file. Got {path!r} with a zero byte instead.")
    return found


def make_folder(folder: Path) -> None:
    """
    Make a folder, and those that it is in.

    Parameters
    ----------
    folder : Path
        It may be there.

    Raises
    ------
    FileAccessError
        If the system refuses.
    """
    with told_of(folder, "be made"):
        folder.mkdir(parents=True, exist_ok=True)


def check_readable(path: str | Path) -> None:
    """
    Open a file and close it.

    Parameters
    ----------
    path : str or Path
        The file.

    Raises
    ------
    FileAccessError
        If there is none, or it cannot be read.
    ParameterTypeError
        If it is no path.
    """
    target = checked_path(path)
    with told_of(path, "be read"):
        mode = target.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):  # a pipe would be waited for
            raise OSError(0, "it is no regular file")
        target.open("rb").close()


@contextmanager
def told_of(path: str | Path, what: str) -> Iterator[None]:
    """
    Raise errors of the system as those of the package, which say which file it is about.

    Parameters
    ----------
    path : str or Path
        The file or folder.
    what : str
        What cannot be done with it, such as "be read".

    Yields
    ------
    None
        Control to the block.

    Raises
    ------
    FileAccessError
        If the block raised an `OSError`.
    """
    try:
        yield
    except FileAccessError:
        raise
    except OSError as exc:
        kind = FileAccessError
        if isinstance(exc, FileNotFoundError):
            kind = FileMissingError
        elif isinstance(exc, PermissionError):
            kind = FilePermissionError
        error = kind(f"'{path}' cannot {what}: {exc.strerror or exc}.")
        error.errno = exc.errno
        raise error from exc
