"""Load torchvision's networks, also where its compiled operators do not fit the installed torch."""

from types import ModuleType

import pytest
import torch

_OPERATORS = ("nms", "qnms")
"""The only operators that torchvision's Python code names while it is being imported."""

_library: torch.library.Library | None = None  # the definitions live as long as this object


def torchvision_models() -> ModuleType:
    """
    Return ``torchvision.models``; skip the calling test where torchvision is not installed.

    The networks themselves are plain Python over torch. Only the import fails where a CPU build of torch meets a wheel
    of torchvision with CUDA operators, unless the names of two of them are known.
    """
    global _library
    if _library is None:
        _library = torch.library.Library("torchvision", "FRAGMENT")
        for name in _OPERATORS:
            try:
                getattr(torch.ops.torchvision, name)
            except AttributeError:
                _library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return pytest.importorskip("torchvision.models", reason="torchvision is not installed", exc_type=ImportError)
