"""What exporters say when they fail, in one line."""

import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import torch

_LONGEST = 240
_LIBRARIES = (str(Path(torch.__file__).parent), str(Path(__file__).parent.parent), sysconfig.get_path("stdlib"))
_TOOLS = re.compile(r"[/\\](sympy|onnx\w*|executorch|torchao|numpy)[/\\]|^<")
_REMARKS = re.compile(
    r"(For more information|For more help|\(Refer to|See the stack|See https|From node|Specializations un"
    r"|If you're using|Original traceback).*"
)
_TARGET = re.compile(r"target\s*=\s*torch\.ops\.([\w.]+)")


def cause_of(failure: BaseException) -> str:
    """
    Return what went wrong, in one line.

    Parameters
    ----------
    failure : Exception
        What an exporter raised.

    Returns
    -------
    str
        The first sentence of the error that all others are due to, with file and line of the model's own code where
        that was running.
    """
    chain = list(_chain(failure))
    operation = next((found[1] for one in chain if (found := _TARGET.search(str(one)))), None)
    if operation is not None and any("ConversionError" in type(one).__name__ for one in chain):
        return f"there is no translation of the operation {operation}"
    root = chain[-1]
    lines = [line.strip() for line in str(root).splitlines() if line.strip()]
    text = _REMARKS.sub("", lines[0]).strip() if lines else ""
    if len(lines) > 1 and text.endswith("!"):  # "Constraints violated (batch)!", and which below
        text = f"{text} {_REMARKS.sub('', lines[1]).strip(' -')}"
    text = text[:_LONGEST].rstrip(" .!") or type(root).__name__
    place = next((own for one in reversed(chain) if (own := _place(one.__traceback__))), "")
    return f"{text} ({place})" if place else text


def _chain(failure: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it was raised from."""
    current: BaseException | None = failure
    seen: set[int] = set()
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__


def _place(traceback: TracebackType | None) -> str:
    """Return ``file:line`` of the innermost frame that is the model's own code."""
    found = ""
    while traceback is not None:
        name = traceback.tb_frame.f_code.co_filename
        if not name.startswith(_LIBRARIES) and not _TOOLS.search(name):
            found = f"{Path(name).name}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return found
