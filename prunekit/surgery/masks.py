"""Masks: removed units simulated by zeros, while the network keeps its shapes and trains on."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from prunekit.tracing import Axis, HeldAxis, UnitGraph, named_tensors

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle


class Masks:
    """
    Hold the weights that read removed channels at zero.

    Parameters
    ----------
    module : Module
        The network; its parameters get hooks, and weights of removed units become zero.
    graph : UnitGraph
        Its units.
    axes : sequence of HeldAxis, default=None
        What the tensors of the network hold, where parts of them are gone. None: everything.

    Notes
    -----
    A channel is gone for the rest of the network when every weight that reads it is zero. The gradients of those
    weights are zeroed as well, so neither the optimizer's state nor a norm over gradients sees them; what momentum from
    before the removal still moves is set back by `apply`, which belongs before every forward pass.
    """

    def __init__(
        self, module: nn.Module, graph: UnitGraph, axes: Sequence[Axis] | Sequence[HeldAxis] | None = None
    ) -> None:
        self._module = module
        self._graph = graph
        self._axes = graph.axes if axes is None else axes
        self._stays = graph.kept_labels(np.zeros(graph.n_units, dtype=bool))
        self._removed: dict[str, list[tuple[int, Tensor]]] = {}
        self._handles: dict[str, RemovableHandle] = {}

    def update(self, removed: NDArray[np.bool_]) -> None:
        """
        Set which units are removed and zero their weights.

        Parameters
        ----------
        removed : ndarray of bool, shape (n_units,)
            Removed units.
        """
        tensors = named_tensors(self._module)
        self._stays = self._graph.kept_labels(removed)
        self._removed = self._read_by(~self._stays, tensors)
        self.remove_hooks()
        for name in self._removed:
            if tensors[name].requires_grad:
                self._handles[name] = tensors[name].register_hook(self._gradient_hook(name))
        self.apply()

    @contextmanager
    def zeroed(self, removed: NDArray[np.bool_]) -> Iterator[tuple[Tensor, ...]]:
        """
        Zero the weights of more units for a while.

        Parameters
        ----------
        removed : ndarray of bool, shape (n_units,)
            Removed units, among them all that are removed already, whose weights are zero.

        Yields
        ------
        tuple of Tensor
            The weights that are changed. They are what they were before when the block ends.
        """
        tensors = named_tensors(self._module)
        saved: list[tuple[Tensor, int, Tensor, Tensor]] = []
        read = self._read_by(self._stays & ~self._graph.kept_labels(removed), tensors)
        try:
            for name, entries in read.items():
                weight = tensors[name].data
                for dim, indices in entries:
                    saved.append((weight, dim, indices, weight.index_select(dim, indices)))
                    weight.index_fill_(dim, indices, 0)
            yield tuple(tensors[name] for name in read)
        finally:
            for weight, dim, indices, values in reversed(saved):
                weight.index_copy_(dim, indices, values)

    def _read_by(self, labels: NDArray[np.bool_], tensors: dict[str, Tensor]) -> dict[str, list[tuple[int, Tensor]]]:
        """Return the weights that read some labels: dimension and indices by the name of the tensor."""
        found: dict[str, list[tuple[int, Tensor]]] = {}
        for axis in self._axes:
            gone = np.flatnonzero(labels[axis.labels] & self._graph.consumers[axis.labels])
            if gone.size:
                indices = torch.from_numpy(gone).to(tensors[axis.tensor].device)
                found.setdefault(axis.tensor, []).append((axis.dim, indices))
        return found

    def apply(self) -> None:
        """Set the weights of removed units to zero; gradients and autograd's version counters are left alone."""
        for name, entries in self._removed.items():
            _zero_(self._tensor(name).data, entries)

    def remove_hooks(self) -> None:
        """Take every hook off the parameters; the zeros stay."""
        for handle in self._handles.values():
            handle.remove()
        self._handles.clear()

    def _tensor(self, name: str) -> Tensor:
        """Return the parameter or buffer that the network has under a name now."""
        path, _, own = name.rpartition(".")
        part = self._module.get_submodule(path)
        tensor = part._parameters.get(own, part._buffers.get(own))
        assert tensor is not None
        return tensor

    def _gradient_hook(self, name: str) -> Callable[[Tensor], Tensor]:
        def zero_removed(gradient: Tensor) -> Tensor:
            masked = gradient.clone()
            _zero_(masked, self._removed[name])
            return masked

        return zero_removed


def _zero_(tensor: Tensor, entries: list[tuple[int, Tensor]]) -> None:
    for dim, indices in entries:
        if indices.device != tensor.device:
            indices = indices.to(tensor.device)
        tensor.index_fill_(dim, indices, 0)
