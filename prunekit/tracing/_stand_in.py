"""Normalisations that a module writes out by hand, traced as the one operation that they are."""

from types import MethodType
from typing import Any, cast

import torch
from torch import Tensor, nn


def stand_in_for_norm_(layer: nn.Module, dim: int) -> None:
    """
    Let a layer without memory run one layer norm in place of its own code.

    Parameters
    ----------
    layer : Module
        A copy of a layer that normalises over all channels, by whatever formula, and multiplies by its parameter.
    dim : int
        Dimension of the channels: -1, or 1 of inputs with four dimensions; other inputs meet the layer's own code.
    """
    own = layer.forward

    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
        source: Tensor = next(iter((*args, *kwargs.values())))
        if dim == 1 and source.dim() != 4:
            return cast("Tensor", own(*args, **kwargs))
        weight, bias = (*(one for one in self._parameters.values() if one is not None), None)[:2]
        last = source if dim == -1 else source.movedim(dim, -1)
        normalised: Tensor = torch.native_layer_norm(last, [last.size(-1)], weight, bias, 1e-5)[0]
        dtype = source.dtype if weight is None else torch.promote_types(source.dtype, weight.dtype)
        return (normalised if dim == -1 else normalised.movedim(-1, dim)).to(dtype)

    layer.forward = MethodType(forward, layer)
