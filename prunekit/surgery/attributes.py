"""Integer attributes of modules that repeat the shapes of their parameters."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from prunekit.tracing import UnitGraph, named_parts
from prunekit.tracing.multihead import CompactMultiheadAttention

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Repair:
    """
    An attribute of a module whose value is the number of some labels.

    Parameters
    ----------
    module : str
        Dotted path.
    name : str
        Attribute, or ``attribute.position`` for one number of a tuple or list.
    labels : ndarray of int, shape (dense_value, n)
        Labels that it counts; a row stays if any of its labels does.
    """

    module: str
    name: str
    labels: NDArray[np.int64]

    @property
    def dense_value(self) -> int:
        """Value in the dense network."""
        return int(self.labels.shape[0])

    def value(self, kept: NDArray[np.bool_]) -> int:
        """
        Return the value in the compacted network.

        Parameters
        ----------
        kept : ndarray of bool, shape (n_labels,)
            Labels that stay.

        Returns
        -------
        int
            Number of rows that stay.
        """
        return int(kept[self.labels].any(axis=1).sum())


def read_numbers(module: nn.Module) -> dict[str, int]:
    """
    Return the integer attributes of a module, those inside of tuples and lists as well.

    Parameters
    ----------
    module : Module
        Any module.

    Returns
    -------
    dict of str to int
        By the names that `Repair` uses.
    """
    found: dict[str, int] = {}
    for name, value in vars(module).items():
        if type(value) is int:
            found[name] = value
        elif isinstance(value, tuple | list) and 0 < len(value) <= _LONGEST:
            found |= {f"{name}.{place}": part for place, part in enumerate(value) if type(part) is int}
    return found


_LONGEST = 16
"""Longest tuple or list whose numbers are taken for sizes."""


def write_number_(module: nn.Module, name: str, value: int) -> None:
    """
    Set an integer attribute of a module.

    Parameters
    ----------
    module : Module
        Any module.
    name : str
        Name as `read_numbers` gives it.
    value : int
        New value.
    """
    attribute, _, place = name.partition(".")
    if not place:
        setattr(module, name, value)
        return
    old = getattr(module, attribute)
    new = [value if number == int(place) else part for number, part in enumerate(old)]
    setattr(module, attribute, old._make(new) if hasattr(old, "_make") else type(old)(new))


def update_attributes_(module: nn.Module) -> None:
    """
    Set the attributes of one of torch's own layers, or of a layer norm, from the shapes of its parameters.

    Parameters
    ----------
    module : Module
        A layer whose parameters may have been sliced; other modules are left alone.
    """
    update = _update_of(module)
    if update is not None:
        update(module)
        return
    shape, weight = vars(module).get("normalized_shape"), module._parameters.get("weight")
    if isinstance(shape, tuple) and weight is not None and len(shape) == weight.dim():  # layer norm and its like
        vars(module)["normalized_shape"] = tuple(weight.shape)


def is_known(module: nn.Module) -> bool:
    """Return whether `update_attributes_` knows the type of a module, or the one that compaction gives it."""
    return type(module) is nn.MultiheadAttention or _update_of(module) is not None


def _update_of(module: nn.Module) -> Callable[[Any], None] | None:
    return next((update for kind, update in _UPDATES if isinstance(module, kind)), None)


def repairs_without_parameters(module: nn.Module, graph: UnitGraph) -> tuple[Repair, ...]:
    """
    Return the repairs of normalisations that have no parameters to tell their size.

    Parameters
    ----------
    module : Module
        The dense network.
    graph : UnitGraph
        Its units.

    Returns
    -------
    tuple of Repair
        For ``num_features``, ``num_channels`` and ``num_groups``.
    """
    run = graph.trace.runs[0]
    counts = {(record.module, number): labels for record in run.operations for number, labels in record.counts}
    repairs = []
    for path, layer in named_parts(module):
        if not isinstance(layer, (_NormBase, nn.GroupNorm)) or path not in run.module_outputs:
            continue
        if any(tensor is not None for own in (layer._parameters, layer._buffers) for tensor in own.values()):
            continue
        name = "num_features" if isinstance(layer, _NormBase) else "num_channels"
        for factor in graph.trace.store[run.module_outputs[path]]:
            labels = labels_along(factor, 1)
            if labels is not None and len(labels) == getattr(layer, name):
                repairs.append(Repair(path, name, labels))
        if isinstance(layer, nn.GroupNorm) and (path, layer.num_groups) in counts:
            repairs.append(Repair(path, "num_groups", counts[path, layer.num_groups].reshape(-1, 1).numpy()))
    return tuple(repairs)


def labels_along(factor: Tensor, dim: int) -> NDArray[np.int64] | None:
    """
    Return the labels of a factor as a matrix whose rows lie along one dimension.

    Parameters
    ----------
    factor : Tensor
        Label factor.
    dim : int
        Dimension.

    Returns
    -------
    ndarray of int, shape (size, n) or None
        None if the factor does not describe the dimension.
    """
    if factor.dim() <= dim or factor.size(dim) == 1:
        return None
    matrix: NDArray[np.int64] = factor.movedim(dim, 0).reshape(factor.size(dim), -1).numpy()
    return matrix


def _weight_shape(layer: nn.Module) -> Shape:
    """Return the shape of the weight from what it is stored as; a computed one must not be asked for, it may change."""
    for name in ("weight", "weight_orig", "weight_v"):
        if name in layer._parameters:
            return tuple(cast("Tensor", layer._parameters[name]).shape)
    stored = layer.get_submodule("parametrizations.weight")._parameters
    return tuple(cast("Tensor", stored.get("original", stored.get("original1"))).shape)


def _convolution(layer: Any) -> None:
    weight = _weight_shape(layer)
    transposed = isinstance(layer, _ConvTransposeNd)
    if layer.groups > 1:
        layer.groups = layer.groups * weight[0] // (layer.in_channels if transposed else layer.out_channels)
    if transposed:
        layer.in_channels, layer.out_channels = weight[0], weight[1] * layer.groups
    else:
        layer.in_channels, layer.out_channels = weight[1] * layer.groups, weight[0]


def _linear(layer: Any) -> None:
    layer.out_features, layer.in_features = _weight_shape(layer)


def _norm(layer: Any) -> None:
    for tensor in (layer._parameters.get("weight"), layer._buffers.get("running_mean")):
        if tensor is not None:
            layer.num_features = tensor.shape[0]
            return


def _group_norm(layer: Any) -> None:
    if layer.affine:
        channels = _weight_shape(layer)[0]
        layer.num_groups = max(1, layer.num_groups * channels // layer.num_channels)
        layer.num_channels = channels


def _prelu(layer: Any) -> None:
    layer.num_parameters = _weight_shape(layer)[0]


def _embedding(layer: Any) -> None:
    layer.num_embeddings, layer.embedding_dim = _weight_shape(layer)


def _attention(layer: Any) -> None:
    layer.num_heads = _weight_shape(layer.out_proj)[1] // layer.head_dim
    packed, *separate = (layer._parameters.get(f"{name}_weight") for name in ("in_proj", "q_proj", "k_proj", "v_proj"))
    weights = separate if packed is None else [packed] * 3
    if all(weight is not None for weight in weights):  # else they are computed
        layer.embed_dim, layer.kdim, layer.vdim = (weight.shape[1] for weight in weights)


def _bilinear(layer: Any) -> None:
    layer.out_features, layer.in1_features, layer.in2_features = _weight_shape(layer)


def _recurrent(layer: Any) -> None:
    gates = {"LSTM": 4, "GRU": 3}.get(layer.mode, 1)
    layer.hidden_size = layer.weight_hh_l0.shape[0] // gates
    layer.input_size = layer.weight_ih_l0.shape[1]
    if layer.proj_size:
        layer.proj_size = layer.weight_hr_l0.shape[0]


_UPDATES: tuple[tuple[type[nn.Module], Callable[[Any], None]], ...] = (
    (_ConvNd, _convolution),
    (nn.Linear, _linear),
    (_NormBase, _norm),
    (nn.GroupNorm, _group_norm),
    (nn.PReLU, _prelu),
    (nn.Embedding, _embedding),
    (nn.EmbeddingBag, _embedding),
    (nn.Bilinear, _bilinear),
    (nn.RNNBase, _recurrent),
    (CompactMultiheadAttention, _attention),
)
