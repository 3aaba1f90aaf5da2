"""Which layers compute the formula of a normalisation over all channels, whatever their code looks like."""

import copy
import itertools
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from prunekit.surgery.attributes import is_known, update_attributes_
from prunekit.tracing import OF_EVERY_MODULE, named_parts

_CHANNELS = 12
"""Number of channels of the layers that are tried out."""

_USUAL_EPS = (1e-5, 1e-6, 1e-8)
"""What a layer's code may hold that keeps no such number as an attribute."""

_SHAPES = {-1: ((2, 3), (5,), (2, 3, 3)), 1: ((2, 3, 3),)}
"""By the dimension of the channels, the other dimensions of inputs: one that a layer must take, and more."""


def written_out_norms(module: nn.Module) -> dict[str, int]:
    """
    Return the layers that compute an RMS norm or a layer norm by other operations than PyTorch's own.

    Parameters
    ----------
    module : Module
        A network; it is not touched.

    Returns
    -------
    dict of str to int
        Dimension of the channels by the dotted path of the layer: -1, or 1 of inputs with four dimensions.

    Notes
    -----
    Copies of the layer with two numbers of channels are run on random numbers. What is returned computes
    ``x / sqrt(mean(x ** 2) + eps)``, times its only parameter or one plus that, or ``(x - mean) / sqrt(var + eps)``
    times its first parameter and, where it has two, plus its second.
    """
    known: dict[object, int | None] = {}
    found = {}
    for path, layer in named_parts(module):
        if not _may_be_norm(layer):
            continue
        key = _likeness(layer)
        if key not in known:
            known[key] = _channel_dim(layer)
        dim = known[key]
        if dim is not None:
            found[path] = dim
    return found


def own_parameters(layer: nn.Module) -> list[Tensor]:
    """
    Return the parameters of a layer that has nothing else than vectors of one size.

    Parameters
    ----------
    layer : Module
        Any module.

    Returns
    -------
    list of Tensor
        Empty if it has no parameters, buffers or layers inside, or parameters of other shapes.
    """
    own: list[Tensor] = [parameter for parameter in layer._parameters.values() if parameter is not None]
    inside = (*layer._modules.values(), *layer._buffers.values())
    if not own or any(one is not None for one in inside) or any(map(is_lazy, own)):
        return []
    return own if len({parameter.shape for parameter in own}) == 1 and own[0].dim() == 1 else []


def _may_be_norm(layer: nn.Module) -> bool:
    given = [parameter for parameter in layer._parameters.values() if parameter is not None]
    if not given or any(map(is_lazy, given)) or given[0].dim() != 1 or is_known(layer):
        return False
    if getattr(type(layer), "forward", None) is nn.LayerNorm.forward:
        return False
    own = own_parameters(layer)
    return len(own) in (1, 2) and own[0].is_floating_point()


def _likeness(layer: nn.Module) -> tuple[object, ...]:
    """Return what layers that compute the same have in common."""
    plain = (int, float, str, tuple)
    own = {name: value for name, value in vars(layer).items() if name not in OF_EVERY_MODULE}
    attributes = ((name, repr(value) if isinstance(value, plain) else id(value)) for name, value in own.items())
    return type(layer), *attributes, *(name for name, value in layer._parameters.items() if value is not None)


def _channel_dim(layer: nn.Module) -> int | None:
    for dim, (usual, *others) in _SHAPES.items():
        if _computes_norm(layer, dim, usual) and all(_computes_norm(layer, dim, rest) is not False for rest in others):
            return dim
    return None


def _computes_norm(layer: nn.Module, dim: int, rest: tuple[int, ...]) -> bool | None:
    """Return whether a layer normalises inputs with these other dimensions, None if it does not take them."""
    try:
        return all(_computes_norm_of(layer, size, dim, rest) for size in (2 * _CHANNELS, _CHANNELS))
    except Exception:  # any error of the user's forward
        return None


def _computes_norm_of(layer: nn.Module, size: int, dim: int, rest: tuple[int, ...]) -> bool:
    generator = torch.Generator("cpu").manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device="cpu", dtype=torch.float32)

    twin = copy.copy(layer)
    values = {name: draw(size) for name, parameter in layer._parameters.items() if parameter is not None}
    own = {name: nn.Parameter(value) for name, value in values.items()}
    vars(twin)["_parameters"] = dict.fromkeys(layer._parameters) | own
    update_attributes_(twin)
    for twin.training, scale in itertools.product((False, True), (1.0, 0.01)):
        source = scale * (draw(*rest, size) + 0.5)
        with torch.no_grad():
            result = twin.forward(source.movedim(-1, dim).clone())
        candidates = _norms(layer, source, *values.values())
        if not any(_is_close(result, wanted.movedim(-1, dim)) for wanted in candidates):
            return False
    return True


def _norms(layer: nn.Module, source: Tensor, weight: Tensor, bias: Tensor | None = None) -> Iterator[Tensor]:
    """Yield what normalisations over the last dimension return."""
    numbers = (value for value in vars(layer).values() if isinstance(value, float))
    for eps in (torch.finfo(torch.float32).eps, *_USUAL_EPS, *numbers):
        if bias is None:
            normalised = source * (source.square().mean(-1, keepdim=True) + eps).rsqrt()
            yield normalised * weight
            yield normalised * (1.0 + weight)
        yield nn.functional.layer_norm(source, source.shape[-1:], weight, bias, eps)


def _is_close(result: object, wanted: Tensor) -> bool:
    return isinstance(result, Tensor) and result.shape == wanted.shape and torch.allclose(result, wanted, 1e-4, 1e-5)
