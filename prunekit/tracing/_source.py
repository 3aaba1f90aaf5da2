"""Where in the model's own code an operation was called."""

import os
import sys
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from types import FrameType

_LIBRARIES = tuple(f"{folder}{os.sep}" for folder in (Path(torch.__file__).parent, Path(__file__).parent.parent))


@lru_cache(maxsize=4096)
def _own_name(filename: str) -> str:
    """Return the name of a file of the model's own code without its folders, "" for a library's file."""
    return "" if filename.startswith((*_LIBRARIES, "<frozen")) else Path(filename).name


def user_location() -> str:
    """
    Return ``file:line`` of the innermost frame that is the model's own code.

    Returns
    -------
    str
        File name without its folders and line number, or ``""`` if only torch's own modules are on the stack
        between the tracer's forward call and the operation.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code.co_name == "forward_of_traced_module":
            return ""
        if name := _own_name(code.co_filename):
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
