"""Networks that compute in another type than float32."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def in_precision(*, cast_of: Callable[..., nn.Module], cast_to: str, **options: Any) -> nn.Module:
    """
    Build a network whose parameters and buffers are of one floating-point type.

    It is what a skorch net is given as its ``module``, with these arguments as ``module__cast_of`` and so on: a
    function in an importable file and plain arguments, so that the net can be cloned, compared, pickled and searched
    over.

    Parameters
    ----------
    cast_of : callable
        Class of the network, or what else makes it.
    cast_to : {"float32", "float64"}
        The type.
    **options : object
        Arguments of ``cast_of``.

    Returns
    -------
    Module
        The network.
    """
    return cast_of(**options).to(DTYPES[cast_to])
