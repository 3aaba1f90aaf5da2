"""Files that are whole or not there."""

import os
import secrets
import time
from contextlib import suppress
from pathlib import Path

_SECONDS_LEFT_ALONE = 3600.0
"""Another process may be at work on a younger file."""


def write_atomically(target: Path, content: bytes) -> None:
    """
    Write beside a file and put it in its place when it is whole and on the disk.

    Parameters
    ----------
    target : Path
        The file; folders that are missing are made. What a process that was killed has left beside it is removed
        once it is an hour old.
    content : bytes
        What to write.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{target.name}.*.part"):
        with suppress(FileNotFoundError):
            if time.time() - left.stat().st_mtime > _SECONDS_LEFT_ALONE:
                left.unlink()
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    with suppress(OSError):  # no folders can be opened on Windows
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
