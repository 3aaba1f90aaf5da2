"""A network of which some units are masked, and others are gone."""

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer

from prunekit.exceptions import ParameterError
from prunekit.surgery.attributes import Repair, read_numbers, write_number_
from prunekit.surgery.compaction import apply_plan_, compact, replace_tensors_
from prunekit.surgery.masks import Masks
from prunekit.surgery.norms import MaskedNorms
from prunekit.surgery.optimizers import forget_parameters_, slice_optimizer_
from prunekit.surgery.plan import PruningPlan, make_plan
from prunekit.tracing import HeldAxis, UnitGraph, copy_module, named_parts, named_tensors

BoolArray = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class NetworkSnapshot:
    """
    State of a network that is being pruned, to come back to.

    Parameters
    ----------
    removed : ndarray of bool, shape (n_units,)
        Removed units, masked or gone.
    gone : ndarray of bool, shape (n_units,)
        Those of them that are gone.
    tensors : dict of str to Tensor
        Copies of parameters and buffers.
    """

    removed: BoolArray
    gone: BoolArray
    tensors: dict[str, Tensor]


class Body:
    """
    Hold a network whose removed units are simulated by masks until they are cut off.

    Units keep their numbers, whatever is cut off.

    Parameters
    ----------
    module : Module
        The dense network; it is changed.
    graph : UnitGraph
        Its units.
    repairs : tuple of Repair
        Attributes that hold sizes.
    on_cut : callable
        Is called after other parameters have come into the place of those that were there.

    Attributes
    ----------
    module : Module
        The network.
    axes : tuple of HeldAxis
        What its tensors hold.
    masks : Masks
        The zeros.
    norms : MaskedNorms
        The normalisations that leave masked channels out.
    """

    def __init__(
        self, module: nn.Module, graph: UnitGraph, repairs: tuple[Repair, ...], on_cut: Callable[[], None]
    ) -> None:
        self.module = module
        self._graph = graph
        self._repairs = repairs
        self._on_cut = on_cut
        self._removed = np.zeros(graph.n_units, dtype=bool)
        self._gone = self._removed.copy()
        self._dense_sizes: dict[tuple[str, str], int] = {}  # attributes that were changed, as they were
        self._dense_shapes = {name: tensor.shape for name, tensor in named_tensors(module).items()}
        self._hold(self._gone)

    @property
    def removed(self) -> BoolArray:
        """Removed units, masked or gone, shape (n_units,)."""
        return self._removed

    @property
    def is_whole(self) -> bool:
        """Whether nothing was cut off."""
        return not self._gone.any()

    @property
    def plan(self) -> PruningPlan:
        """What is removed, for the dense network."""
        return self.plan_without(self._removed)

    def plan_without(self, removed: BoolArray) -> PruningPlan:
        """
        Return the plan that would remove some units from the dense network.

        Parameters
        ----------
        removed : ndarray of bool, shape (n_units,)
            The units.

        Returns
        -------
        PruningPlan
            The plan.
        """
        return make_plan(self._graph, removed, self._repairs)

    def update(self, removed: BoolArray) -> None:
        """
        Mask units.

        Parameters
        ----------
        removed : ndarray of bool, shape (n_units,)
            All removed units, those that are gone among them.
        """
        self._removed = removed
        self.masks.update(removed)
        self.norms.update(removed)

    def cut(self, optimizers: Iterable[Optimizer] = ()) -> bool:
        """
        Cut off what is masked.

        Parameters
        ----------
        optimizers : iterable of Optimizer
            They get the smaller parameters, and keep what they know of what is left of them.

        Returns
        -------
        bool
            Whether there was anything to cut off.
        """
        plan = self._plan_of_masked()
        if not plan.kept:
            return False
        self.masks.apply()
        self._let_go()
        before = self._numbers()
        replacements = apply_plan_(self.module, plan)
        after = self._numbers()
        for key, number in before.items():
            if after.get(key) != number:
                self._dense_sizes.setdefault(key, number)
        for optimizer in optimizers:
            slice_optimizer_(optimizer, replacements.values())
        self._hold(self._removed.copy())
        self._on_cut()
        return True

    def compacted(self) -> nn.Module:
        """
        Return the smaller network.

        Returns
        -------
        Module
            A copy without hooks.
        """
        self.masks.apply()
        with self._without_norms():
            return compact(self.module, self._plan_of_masked())

    def dense_copy(self, masked: bool = True) -> nn.Module:
        """
        Return a network of the dense shapes that computes what this one does.

        What reads a removed unit is zero in it, and what is gone otherwise is one, since it must not matter.

        Parameters
        ----------
        masked : bool, default=True
            Whether it is to compute the same; if not, it only has the shapes.

        Returns
        -------
        Module
            A copy; where normalisations leave channels out, with hooks.
        """
        with self._without_norms():
            duplicate = copy_module(self.module)
        held: dict[str, list[HeldAxis]] = {}
        for axis in self.axes:
            held.setdefault(axis.tensor, []).append(axis)
        wide = {
            name: self._widened(name, tensor, held.get(name, []))
            for name, tensor in named_tensors(duplicate).items()
            if tensor.shape != self._dense_shapes[name]
        }
        replace_tensors_(duplicate, wide)
        for (path, name), number in self._dense_sizes.items():
            write_number_(duplicate.get_submodule(path), name, number)
        if masked:
            Masks(duplicate, self._graph).update(self._removed)
            MaskedNorms(duplicate, self._graph).update(self._removed)
        return duplicate

    @contextmanager
    def without(self, removed: BoolArray) -> Iterator[tuple[Tensor, ...] | None]:
        """
        Mask more units for a while.

        Parameters
        ----------
        removed : ndarray of bool, shape (n_units,)
            All removed units.

        Yields
        ------
        tuple of Tensor or None
            Weights that are changed, None if normalisations do something else as well.
        """
        try:
            with self.masks.zeroed(removed) as changed:
                self.norms.update(removed)
                yield None if self.norms.is_active else changed
        finally:
            self.norms.update(self._removed)

    def snapshot(self, copied: bool = True) -> NetworkSnapshot:
        """
        Return the present state to come back to.

        Parameters
        ----------
        copied : bool, default=True
            Whether its tensors are copies, which later training does not change.

        Returns
        -------
        NetworkSnapshot
            The state.
        """
        tensors = {name: tensor.detach() for name, tensor in named_tensors(self.module).items()}
        if copied:
            tensors = {name: tensor.clone() for name, tensor in tensors.items()}
        return NetworkSnapshot(self._removed.copy(), self._gone.copy(), tensors)

    def restore(self, snapshot: NetworkSnapshot, optimizers: Iterable[Optimizer] = ()) -> None:
        """
        Go back to an earlier state.

        Parameters
        ----------
        snapshot : NetworkSnapshot
            What `snapshot` of this body returned.
        optimizers : iterable of Optimizer
            They get the parameters that come into the place of others, and forget what they knew of those.

        Raises
        ------
        ParameterError
            If it is the snapshot of another network; nothing is changed then.
        """
        own = named_tensors(self.module)
        if not self._fits(snapshot, own):
            raise ParameterError(
                "The 'snapshot' parameter of restore must be a snapshot of this network. Got one of another network "
                "instead."
            )
        device = next((tensor.device for tensor in own.values()), None)
        if np.array_equal(snapshot.gone, self._gone):
            with torch.no_grad():
                for name, tensor in own.items():
                    tensor.data.copy_(snapshot.tensors[name])
        else:
            self._let_go()
            self._set_numbers(snapshot.gone)
            replace_tensors_(self.module, {name: one.to(device, copy=True) for name, one in snapshot.tensors.items()})
            now = named_tensors(self.module)
            for optimizer in optimizers:
                forget_parameters_(optimizer, {id(old): now[name] for name, old in own.items()})
            self._hold(snapshot.gone.copy())
            self._on_cut()
        self.update(snapshot.removed.copy())

    def _fits(self, snapshot: NetworkSnapshot, own: dict[str, Tensor]) -> bool:
        """Tell whether a snapshot has the tensors that the network has without the units that are gone in it."""
        masks: tuple[Any, ...] = snapshot.removed, snapshot.gone  # maybe from a file
        if any(
            not isinstance(one, np.ndarray) or one.dtype != bool or one.shape != self._removed.shape for one in masks
        ):
            return False
        if own.keys() != snapshot.tensors.keys():
            return False
        if any(type(one) is not Tensor or one.dtype != own[name].dtype for name, one in snapshot.tensors.items()):
            return False
        shapes = {name: list(shape) for name, shape in self._dense_shapes.items()}
        for axis in self._graph.held_axes(self._graph.kept_labels(snapshot.gone)):
            shapes[axis.tensor][axis.dim] = axis.size
        return all(list(tensor.shape) == shapes[name] for name, tensor in snapshot.tensors.items())

    def _hold(self, gone: BoolArray) -> None:
        """Take note of what is gone, and have masks for the rest."""
        held = self._graph.kept_labels(gone)
        self._gone = gone
        self.axes = self._graph.held_axes(held)
        self.masks = Masks(self.module, self._graph, self.axes)
        self.norms = MaskedNorms(self.module, self._graph, held)

    def _plan_of_masked(self) -> PruningPlan:
        """Return the plan that cuts off what is masked."""
        return make_plan(self._graph, self._removed, self._repairs, self.axes)

    @contextmanager
    def _without_norms(self) -> Iterator[None]:
        """Take the hooks of normalisations off for a while, so that they are not copied."""
        self.norms.remove_hooks()
        try:
            yield
        finally:
            self.norms.update(self._removed)

    def _let_go(self) -> None:
        self.masks.remove_hooks()
        self.norms.remove_hooks()

    def _numbers(self) -> dict[tuple[str, str], int]:
        return {
            (path, name): number
            for path, part in named_parts(self.module)
            for name, number in read_numbers(part).items()
        }

    def _set_numbers(self, gone: BoolArray) -> None:
        """Set the attributes to what they are without some units, by cutting a dense network without values."""
        for (path, name), number in self._dense_sizes.items():
            write_number_(self.module.get_submodule(path), name, number)
        tensors = named_tensors(self.module)
        empty = {name: tensors[name].new_zeros(()).expand(shape) for name, shape in self._dense_shapes.items()}
        replace_tensors_(self.module, empty)
        apply_plan_(self.module, make_plan(self._graph, gone, self._repairs))

    def _widened(self, name: str, tensor: Tensor, axes: list[HeldAxis]) -> Tensor:
        """Return a tensor of the dense shape: the values where they belong, ones elsewhere."""
        shape = self._dense_shapes[name]
        starts = {axis.dim: axis.start for axis in self._graph.axes if axis.tensor == name}
        places = [torch.arange(size, device=tensor.device) for size in shape]
        for axis in axes:
            places[axis.dim] = torch.from_numpy(axis.labels - starts[axis.dim]).to(tensor.device)
        steps = [math.prod(shape[dim + 1 :]) for dim in range(len(shape))]
        flat = torch.zeros((), dtype=torch.long, device=tensor.device)
        for place, step in zip(places, steps, strict=True):
            flat = flat.unsqueeze(-1) + step * place
        wide = tensor.new_ones(math.prod(shape))
        wide[flat.reshape(-1)] = tensor.detach().reshape(-1)
        return wide.view(shape)
