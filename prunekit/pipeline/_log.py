"""The log of a run, and what it is a run of."""

import logging
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_LOGGER = logging.getLogger("prunekit")
_FORMAT = "%(asctime)s %(levelname)s %(message)s"
_GIT_SECONDS = 10


@contextmanager
def logging_to(path: Path) -> Iterator[logging.Logger]:
    """
    Write what the package logs, and all warnings, to a file as well.

    Parameters
    ----------
    path : Path
        The file; what stands there already stays.

    Yields
    ------
    Logger
        For more lines.
    """
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter(_FORMAT))
    level, show = _LOGGER.level, warnings.showwarning

    def show_and_log(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        _LOGGER.warning("%s: %s", category.__name__, message)
        show(message, category, *place, **more)

    _LOGGER.addHandler(handler)
    if not _LOGGER.isEnabledFor(logging.INFO):
        _LOGGER.setLevel(logging.INFO)
    with warnings.catch_warnings():
        warnings.showwarning = show_and_log
        try:
            yield _LOGGER
        except BaseException as exc:
            _LOGGER.error("ended by %s: %s", type(exc).__name__, exc)
            raise
        finally:
            _LOGGER.removeHandler(handler)
            _LOGGER.setLevel(level)
            handler.close()


def git_revision(file: Path | None) -> str | None:
    """
    Return the revision of the repository that a file is in.

    Parameters
    ----------
    file : Path or None
        The file; None: the current folder counts.

    Returns
    -------
    str or None
        Hash of the commit; None without a repository, or without git.
    """
    folder = Path.cwd() if file is None else file.absolute().parent
    # Only this: to ask what has changed would run programs that the repository names.
    command = ["git", "-C", str(folder), "rev-parse", "--verify", "--quiet", "HEAD"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None
