"""Networks that compute in another type than float32."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def in_precision(build: Callable[..., nn.Module], dtype: str, **options: Any) -> nn.Module:
    """
    Build a network whose parameters and buffers are of one floating-point type.

    It is what a skorch net is given as its ``module``, with these arguments as ``module__build`` and so on: a function
    in an importable file and plain arguments, so that the net can be cloned, compared, pickled and searched over.

    Parameters
    ----------
    build : callable
        Class of the network, or what else makes it.
    dtype : {"float32", "float64"}
        The type.
    **options : object
        Arguments of ``build``.

    Returns
    -------
    Module
        The network.
    """
    return build(**options).to(DTYPES[dtype])
