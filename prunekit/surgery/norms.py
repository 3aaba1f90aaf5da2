"""Layers that normalise over all channels together, and a masked network in which they leave removed channels out."""

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prunekit.surgery.attributes import update_attributes_
from prunekit.surgery.formulas import own_parameters
from prunekit.tracing import Reason, UnitGraph, named_tensors, tracked

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

Norms = Literal["freeze", "subset"]
NORMS: tuple[Norms, ...] = ("freeze", "subset")
"""What becomes of channels that are normalised together: they stay, or may go one by one."""


@dataclass(frozen=True, slots=True, eq=False)
class NormLayer:
    """
    A layer that does nothing but normalise over all channels, and can do so over some of them.

    Parameters
    ----------
    path : str
        Dotted path.
    dim : int
        Dimension of the channels in its input and output, counted from the last one: -1, -2 and so on.
    labels : ndarray of int, shape (channels,)
        Labels of the channels.
    """

    path: str
    dim: int
    labels: NDArray[np.int64]


def frozen_norms(module: nn.Module, graph: UnitGraph, norms: Norms) -> list[tuple[NDArray[np.int64], Reason]]:
    """
    Return the channels that normalisations keep from being removed.

    Parameters
    ----------
    module : Module
        The network.
    graph : UnitGraph
        Its units.
    norms : {"freeze", "subset"}
        Whether those that can leave channels out keep them as well.

    Returns
    -------
    list of (labels, Reason)
        For `UnitGraph.with_blocked`.
    """
    able = {layer.path for layer in _norm_layers(module, graph)}
    frozen = []
    for labels, reason in graph.trace.table.normalised:
        if reason.module not in able:
            frozen.append((labels, reason))
        elif norms == "freeze":
            hint = f'{reason.text} (norms="subset" lets them be pruned)'
            frozen.append((labels, Reason(hint, reason.operation, reason.module, reason.location)))
    return frozen


class MaskedNorms:
    """
    Let the normalisations of a masked network leave removed channels out.

    Parameters
    ----------
    module : Module
        The network; those of its layers that normalise over removed channels get hooks.
    graph : UnitGraph
        Its units.
    held : ndarray of bool, shape (n_labels,), default=None
        Labels that the tensors of the network hold, where parts of them are gone. None: all.

    Notes
    -----
    Such a layer takes the channels that are left out of its input, runs its own code with as many entries of its weight
    and bias, and puts the result in their places; zeros are everywhere else. That is what the layer of the compacted
    network does. Parameters, buffers and attributes are those of the dense network whenever the layer does not run.
    """

    def __init__(self, module: nn.Module, graph: UnitGraph, held: NDArray[np.bool_] | None = None) -> None:
        self._module = module
        self._graph = graph
        self._layers = _norm_layers(module, graph)
        if held is not None:
            self._layers = tuple(replace(norm, labels=norm.labels[held[norm.labels]]) for norm in self._layers)
        self._handles: list[RemovableHandle] = []

    def update(self, removed: NDArray[np.bool_]) -> None:
        """
        Set which units are removed.

        Parameters
        ----------
        removed : ndarray of bool, shape (n_units,)
            Removed units.
        """
        self.remove_hooks()
        stays = self._graph.kept_labels(removed)
        for norm in self._layers:
            own = stays[norm.labels]
            if not own.all():
                subset = _Subset(norm.dim, torch.from_numpy(np.flatnonzero(own)))
                layer = self._module.get_submodule(norm.path)
                # Other hooks see the dense shapes: this one comes after those on the input, before those on the output.
                self._handles += [
                    layer.register_forward_pre_hook(subset.enter, with_kwargs=True),
                    layer.register_forward_hook(subset.leave, prepend=True, always_call=True),
                ]

    @property
    def is_active(self) -> bool:
        """Whether a layer leaves channels out."""
        return bool(self._handles)

    def remove_hooks(self) -> None:
        """Take every hook off the layers."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


class _Subset:
    """
    The hooks of one layer.

    Parameters
    ----------
    dim : int
        Dimension of the channels.
    kept : Tensor of int
        Channels that are left.
    """

    def __init__(self, dim: int, kept: Tensor) -> None:
        self._dim = dim
        self._kept = kept
        self._shape: torch.Size | None = None
        self._dense: dict[str, nn.Parameter | None] = {}
        self._attributes: dict[str, Any] = {}

    def enter(
        self, layer: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Make the layer a smaller one and its input, the only argument, as well."""
        source: Tensor = next(iter((*args, *kwargs.values())))
        self._kept = self._kept.to(source.device)
        smaller = source.index_select(self._dim, self._kept)
        self._shape = source.shape
        self._dense = dict(layer._parameters)
        before = dict(vars(layer))
        for name, parameter in self._dense.items():
            if parameter is not None:
                layer._parameters[name] = parameter.index_select(0, self._kept)  # type: ignore[assignment]
        update_attributes_(layer)
        self._attributes = {name: value for name, value in before.items() if vars(layer)[name] is not value}
        return (smaller,) * len(args), dict.fromkeys(kwargs, smaller)

    def leave(self, layer: nn.Module, args: Any, output: Any) -> Any:
        """Make the layer what it was, also after an error, and return its output with zeros where channels are gone."""
        if self._shape is None:
            return output
        shape, self._shape = self._shape, None
        layer._parameters.update(self._dense)
        vars(layer).update(self._attributes)
        if not isinstance(output, Tensor):
            return output
        return output.new_zeros(shape).index_copy(self._dim, self._kept.to(output.device), output)


def _norm_layers(module: nn.Module, graph: UnitGraph) -> tuple[NormLayer, ...]:
    """Return the layers that can leave channels out."""
    if not graph.trace.table.normalised:
        return ()
    names = {id(tensor): name for name, tensor in named_tensors(module).items()}
    labels = {axis.tensor: np.arange(axis.start, axis.start + axis.size) for axis in graph.axes if axis.dim == 0}
    paths = dict.fromkeys(reason.module for _, reason in graph.trace.table.normalised)
    ends = _inputs_and_outputs(graph, paths)
    layers = []
    for path in paths:
        layer = module.get_submodule(path)
        parameters = own_parameters(layer)
        own = labels.get(names[id(parameters[0])]) if parameters else None
        if own is None or len(inspect.signature(layer.forward).parameters) != 1:
            continue
        source, result = ends[path]
        dim = _channel_dim(graph, source, own)
        if dim is not None and source.shape == result.shape and dim == _channel_dim(graph, result, own):
            layers.append(NormLayer(path, dim, own))
    return tuple(layers)


def _inputs_and_outputs(graph: UnitGraph, paths: Iterable[str]) -> dict[str, tuple[Tensor, Tensor]]:
    """Return what goes into the first operation of each layer, and what the layer returns."""
    wanted = set(paths)
    found: dict[str, tuple[Tensor, Tensor]] = {}
    for run in graph.trace.runs:
        for record in run.operations:
            if record.module in wanted and record.module not in found and record.inputs:
                result = run.module_outputs.get(record.module, record.outputs[0])
                found[record.module] = (record.inputs[0], result)
    return found


def _channel_dim(graph: UnitGraph, tensor: Tensor, labels: NDArray[np.int64]) -> int | None:
    """Return the dimension of a tensor, counted from its last one, along which certain channels lie."""
    for factor in graph.trace.store[tensor]:
        found = factor.numpy().ravel()
        if len(dims := tracked(factor)) == 1 and np.array_equal(graph.component[found], graph.component[labels]):
            return dims[0] - tensor.dim()
    return None
