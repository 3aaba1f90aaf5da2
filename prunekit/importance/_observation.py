"""What a criterion may look at after a backward pass."""

from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from prunekit.exceptions import ParameterError, TrainingError
from prunekit.importance.functional import sum_but, taylor_sums
from prunekit.tracing import Axis, UnitGraph, named_tensors


class UnitSums:
    """
    Sum values of parameters over the slices of each unit.

    Parameters
    ----------
    graph : UnitGraph
        Units of a network.
    """

    def __init__(self, graph: UnitGraph) -> None:
        self.n_units = graph.n_units
        self._graph = graph
        self._consumers = self._plan(graph, graph.consumers)
        self._producers = self._plan(graph, graph.producers)

    @staticmethod
    def _plan(
        graph: UnitGraph, marked: "np.ndarray[tuple[int], np.dtype[np.bool_]]"
    ) -> list[tuple[Axis, Tensor, Tensor]]:
        found = []
        for axis in graph.axes:
            units = np.where(marked[axis.labels], graph.unit_of_label[axis.labels], -1)
            indices = np.flatnonzero(units >= 0)
            if indices.size:
                found.append((axis, torch.from_numpy(indices), torch.from_numpy(units[indices])))
        return found

    @property
    def consumer_tensors(self) -> set[str]:
        """Names of the parameters and buffers that read channels of units."""
        return {axis.tensor for axis, _, _ in self._consumers}

    def over_consumers(self, sums: Callable[[str, int], Tensor | None]) -> Tensor:
        """
        Return sums over the weights that read each unit.

        Parameters
        ----------
        sums : callable
            Takes the name of a parameter or buffer and one of its dimensions; returns the sums over all others, shape
            (size of the dimension,), or None for zeros.

        Returns
        -------
        Tensor, shape (n_units,)
            The sums.
        """
        return self._sum(self._consumers, sums)

    def over_producers(self, sums: Callable[[str, int], Tensor | None]) -> Tensor:
        """
        Return sums over the filters of each unit.

        Parameters
        ----------
        sums : callable
            As for `over_consumers`.

        Returns
        -------
        Tensor, shape (n_units,)
            The sums.
        """
        return self._sum(self._producers, sums)

    def over(self, names: set[str], sums: Callable[[str, int], Tensor | None]) -> Tensor:
        """
        Return sums over whatever some parameters or buffers hold for each unit.

        Parameters
        ----------
        names : set of str
            Names of the parameters and buffers.
        sums : callable
            As for `over_consumers`.

        Returns
        -------
        Tensor, shape (n_units,)
            The sums.
        """
        return self._sum([entry for entry in self._all if entry[0].tensor in names], sums)

    @cached_property
    def _all(self) -> list[tuple[Axis, Tensor, Tensor]]:
        return self._plan(self._graph, np.ones(self._graph.unit_of_label.size, dtype=bool))

    def _sum(self, plan: list[tuple[Axis, Tensor, Tensor]], sums: Callable[[str, int], Tensor | None]) -> Tensor:
        total: Tensor | None = None
        for axis, indices, units in plan:
            line = sums(axis.tensor, axis.dim)
            if line is None:
                continue
            if total is None:  # squares of tiny losses must not underflow
                wide = torch.float32 if line.device.type == "mps" else torch.float64
                total = torch.zeros(self.n_units, device=line.device, dtype=wide)
            own = line.to(total.device, total.dtype)[indices.to(total.device)]
            total.index_add_(0, units.to(total.device), own)
        return torch.zeros(self.n_units, dtype=torch.float64) if total is None else total


class Observation:
    """
    Parameters and gradients of one mini-batch, summed over units on demand.

    Parameters
    ----------
    module : Module
        The network after ``backward``.
    sums : UnitSums
        How to sum over units.
    gradients : dict of str to Tensor
        Gradients by the name of the parameter.
    batch_size : int
        Examples in the mini-batch.
    """

    def __init__(self, module: nn.Module, sums: UnitSums, gradients: dict[str, Tensor], batch_size: int) -> None:
        self.batch_size = batch_size
        self._module = module
        self._sums = sums
        self._gradients = gradients

    @property
    def n_units(self) -> int:
        """Number of units."""
        return self._sums.n_units

    @cached_property
    def taylor_sums(self) -> Tensor:
        """
        Sum over the weights that read each unit of weight times gradient, shape (n_units,).

        Raises
        ------
        TrainingError
            If it is not finite, with the name of the parameter.
        """
        tensors = named_tensors(self._module)

        def first_order(name: str, dim: int) -> Tensor | None:
            gradient = self._gradients.get(name)
            return None if gradient is None else taylor_sums(tensors[name].detach(), gradient, dim)

        sums = self._sums.over_consumers(first_order)
        if not bool(torch.isfinite(sums).all()):
            broken = [name for name, value in self._gradients.items() if not bool(torch.isfinite(value).all())]
            what = f"the gradient of '{broken[0]}'" if broken else "a product of weight and gradient"
            raise TrainingError(
                f"Scoring needs finite gradients. Got NaN or infinity in {what} instead. Lower the learning rate, clip "
                "gradients, or look for NaN in the data."
            )
        return sums

    @cached_property
    def norm_scales(self) -> Tensor:
        """
        Sum over the channels of each unit of the absolute scales of the normalisations behind it, shape (n_units,).

        Raises
        ------
        ParameterError
            If a unit has no such scale, with the number of those.
        """
        tensors = named_tensors(self._module)
        scales = {
            f"{path}.weight" if path else "weight"
            for path, part in self._module.named_modules()
            if isinstance(part, (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)) and part.weight is not None
        }
        counts = self._sums.over(scales, lambda name, dim: torch.ones_like(tensors[name].detach()))
        missing = int((counts == 0).sum())
        if missing:
            raise ParameterError(
                "The 'criterion' parameter must not be 'bn_scale' for this network: a normalisation with a scale must "
                f"follow every unit that may be removed. Got {missing} of {self.n_units} units without one. Leave "
                "their layers out by exclude=, or take another criterion."
            )
        return self._sums.over(scales, lambda name, dim: tensors[name].detach().abs())

    @cached_property
    def filter_norms(self) -> Tensor:
        """Sum over the filters of each unit of the squares of their weights, shape (n_units,)."""
        tensors = named_tensors(self._module)

        def squares(name: str, dim: int) -> Tensor | None:
            tensor = tensors[name].detach()
            if not (tensor.is_floating_point() or tensor.is_complex()):
                return None
            return sum_but(tensor.abs().square(), dim)

        return self._sums.over_producers(squares)
