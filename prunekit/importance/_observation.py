"""What a criterion may look at after a backward pass."""

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from prunekit._processes import Processes
from prunekit.exceptions import ParameterError, TrainingError
from prunekit.importance._gates import Pass, Read
from prunekit.importance.functional import sum_but, taylor_sums
from prunekit.tracing import Axis, HeldAxis, UnitGraph, named_tensors

_AxisKey = tuple[str, int]
"""Name of a parameter or buffer, and one of its dimensions."""


class _Places:
    """
    Which entries of which dimensions are of which unit.

    Parameters
    ----------
    graph : UnitGraph
        Units of a network.
    axes : sequence of Axis or HeldAxis
        What its tensors hold.
    marked : ndarray of bool, shape (n_labels,)
        Labels that count.
    """

    def __init__(
        self,
        graph: UnitGraph,
        axes: Sequence[Axis] | Sequence[HeldAxis],
        marked: "np.ndarray[tuple[int], np.dtype[np.bool_]]",
    ) -> None:
        self.axes: dict[_AxisKey, tuple[Tensor, Tensor, int]] = {}
        self._joined: dict[tuple[tuple[_AxisKey, ...], torch.device], tuple[Tensor | None, Tensor]] = {}
        for axis in axes:
            units = np.where(marked[axis.labels], graph.unit_of_label[axis.labels], -1)
            entries = np.flatnonzero(units >= 0)
            if entries.size:
                own = torch.from_numpy(entries), torch.from_numpy(units[entries]), axis.size
                self.axes[axis.tensor, axis.dim] = own

    def joined(self, axes: tuple[_AxisKey, ...], device: torch.device) -> tuple[Tensor | None, Tensor]:
        """Return which entries of several axes, one after the other, count (None: all), and of which unit they are."""
        key = (axes, device)
        if key not in self._joined:
            found, units, start = [], [], 0
            for axis in axes:
                entries, own, size = self.axes[axis]
                found.append(entries + start)
                units.append(own)
                start += size
            every = torch.cat(found)
            self._joined[key] = None if len(every) == start else every.to(device), torch.cat(units).to(device)
        return self._joined[key]

    def sum(self, axes: tuple[_AxisKey, ...], lines: Sequence[Tensor], n_units: int, dtype: torch.dtype) -> Tensor:
        """Return the sums for each unit, shape (..., n_units), of values for the entries of axes, (..., size)."""
        device = lines[0].device
        entries, units = self.joined(axes, device)
        values = lines[0] if len(lines) == 1 else torch.cat([line.to(device) for line in lines], -1)
        if entries is not None:
            values = values[..., entries]
        return values.new_zeros((*values.shape[:-1], n_units), dtype=dtype).index_add_(-1, units, values.to(dtype))


class UnitSums:
    """
    Sum values of parameters over the slices of each unit.

    Parameters
    ----------
    graph : UnitGraph
        Units of a network.
    axes : sequence of HeldAxis, default=None
        What its tensors hold, where parts of them are gone; values of the units there are zero. None: everything.
    """

    def __init__(self, graph: UnitGraph, axes: Sequence[Axis] | Sequence[HeldAxis] | None = None) -> None:
        self.n_units = graph.n_units
        self._graph = graph
        self._axes = graph.axes if axes is None else axes
        self._consumers = _Places(graph, self._axes, graph.consumers)
        self._producers = _Places(graph, self._axes, graph.producers)

    @cached_property
    def consumer_dims(self) -> dict[str, set[int]]:
        """Names of the parameters and buffers that read channels of units, and along which dimensions."""
        found: dict[str, set[int]] = {}
        for name, dim in self._consumers.axes:
            found.setdefault(name, set()).add(dim)
        return found

    def of_reads(self, reads: Sequence[Read], values: Sequence[Tensor]) -> Tensor:
        """
        Return sums over what weights read of each unit.

        Parameters
        ----------
        reads : sequence of Read
            What they read, at least one.
        values : sequence of Tensor
            What to sum up of each, shape (..., n_channels).

        Returns
        -------
        Tensor, shape (..., n_units)
            The sums.
        """
        axes = tuple((read.weight, read.dim) for read in reads)
        return self._consumers.sum(axes, values, self.n_units, values[0].dtype)

    def channels_of(self, read: Read, like: Tensor) -> Tensor:
        """
        Return how many channels of the unit of each channel a weight reads.

        Parameters
        ----------
        read : Read
            What it reads.
        like : Tensor, shape (..., n_channels)
            For the device and the data type.

        Returns
        -------
        Tensor, shape (n_channels,)
            At least 1.
        """
        channels, units = self._consumers.joined(((read.weight, read.dim),), like.device)
        counts = like.new_ones(like.size(-1))
        counts[slice(None) if channels is None else channels] = torch.bincount(units)[units].to(counts)
        return counts

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
        return self._sum(self._consumers, self._consumers.axes, sums)

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
        return self._sum(self._producers, self._producers.axes, sums)

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
        return self._sum(self._all, [axis for axis in self._all.axes if axis[0] in names], sums)

    @cached_property
    def present(self) -> Tensor:
        """Which units the tensors of the network hold, shape (n_units,)."""
        found = torch.zeros(self.n_units, dtype=torch.bool)
        for _, units, _ in self._all.axes.values():
            found[units] = True
        return found

    @cached_property
    def _all(self) -> _Places:
        return _Places(self._graph, self._axes, np.ones(self._graph.unit_of_label.size, dtype=bool))

    def _sum(self, places: _Places, axes: Iterable[_AxisKey], sums: Callable[[str, int], Tensor | None]) -> Tensor:
        lines = {axis: line for axis in axes if (line := sums(*axis)) is not None}
        if not lines:
            return torch.zeros(self.n_units, dtype=torch.float64)
        dtype = wide_type(next(iter(lines.values())))  # squares of tiny losses must not underflow
        return places.sum(tuple(lines), list(lines.values()), self.n_units, dtype)


def wide_type(values: Tensor) -> torch.dtype:
    """
    Return the widest type of floating numbers that the device of a tensor has.

    Parameters
    ----------
    values : Tensor
        Any tensor.

    Returns
    -------
    dtype
        float64, or float32 on MPS.
    """
    return torch.float32 if values.device.type == "mps" else torch.float64


def _is_finite(values: Tensor) -> bool:
    """Tell whether all values are finite, in one pass: a sum with one that is not is not finite either."""
    return math.isfinite((values.abs() if values.is_complex() else values).sum(dtype=wide_type(values)))


class Observation:
    """
    Parameters, gradients and activations of one mini-batch, summed over units on demand.

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
    passes : sequence of Pass, default=()
        What weights read, for a criterion that watches it.
    loss_scale : float, default=1.0
        What the loss was multiplied by before the backward pass.
    processes : Processes, default=None
        Those that share the mini-batch; what is seen of it is then that of all of them. None: this one alone.
    """

    def __init__(
        self,
        module: nn.Module,
        sums: UnitSums,
        gradients: dict[str, Tensor],
        batch_size: int,
        passes: Sequence[Pass] = (),
        loss_scale: float = 1.0,
        processes: Processes | None = None,
    ) -> None:
        self._processes = processes or Processes()
        self.batch_size = self._processes.total_of(batch_size)
        self._module = module
        self._sums = sums
        self._gradients = gradients
        self._passes = passes
        self._loss_scale = loss_scale

    @property
    def is_finite(self) -> bool:
        """Whether all gradients are, of parameters and of what weights read."""
        values = [
            *self._gradients.values(),
            *(value for one in self._passes for read in one.reads for value in read.values),
        ]
        return self._processes.every(all(_is_finite(value) for value in values))

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

        def first_order(name: str, dim: int) -> Tensor | None:
            gradient = self._gradients.get(name)
            if gradient is None:
                return None
            return taylor_sums(self._module.get_parameter(name).detach(), gradient, dim)

        sums = self._sums.over_consumers(first_order) / self._loss_scale
        if not _is_finite(sums):
            broken = [name for name, value in self._gradients.items() if not bool(torch.isfinite(value).all())]
            what = f"the gradient of '{broken[0]}'" if broken else "a product of weight and gradient"
            raise TrainingError(
                f"Scoring needs finite gradients. Got NaN or infinity in {what} instead. Lower the learning rate, clip "
                "gradients, or look for NaN in the data."
            )
        return sums

    @cached_property
    def has_gates(self) -> bool:
        """Whether gates were watched in the forward pass, and their gradients seen."""
        return self._processes.every(any(one.reads for one in self._passes))

    @cached_property
    def gates(self) -> Tensor:
        """
        Derivative of each example's loss with respect to each unit's gate, shape (n_examples, n_units).

        The gate is a factor of one on the channels of the unit where weights read them; the loss is the mean over the
        examples of the mini-batch, and each example's part of it is taken times their number. The mean over examples is
        `taylor_sums`, up to what a penalty on the weights adds there.

        Raises
        ------
        TrainingError
            If there was no backward pass, or if it is not finite, with the name of the weight that reads the unit.
        """
        return self._gates(lambda read: read.values[0])

    @cached_property
    def mean_gates(self) -> Tensor:
        """
        The same with the mean over positions and channels of a unit in place of the sum, shape (n_examples, n_units).

        What several weights read of a unit is added.

        Raises
        ------
        TrainingError
            As for `gates`.
        """
        return self._gates(
            lambda read: read.values[0] / (read.positions * self._sums.channels_of(read, read.values[0]))
        )

    @cached_property
    def mean_activations(self) -> Tensor:
        """
        Mean of the absolute activations of each unit where weights read them, shape (n_units,).

        Raises
        ------
        TrainingError
            If there was no forward pass.
        """
        return self._activations(0)

    @cached_property
    def zero_fractions(self) -> Tensor:
        """
        Fraction of the activations of each unit that are zero where weights read them, shape (n_units,).

        Raises
        ------
        TrainingError
            If there was no forward pass.
        """
        return self._activations(1)

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
        missing = int(((counts == 0).cpu() & self._sums.present).sum())
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

    def _gates(self, value: Callable[[Read], Tensor]) -> Tensor:
        if not self.has_gates:
            raise TrainingError(
                "Scoring needs the gradients of activations and found none. Run a forward pass and loss.backward() "
                "before update_score()."
            )
        n_examples = sum(one.n_examples for one in self._passes)
        parts = [self._sums.of_reads(one.reads, [value(read) for read in one.reads]) for one in self._passes]
        own = n_examples / self._loss_scale * (parts[0] if len(parts) == 1 else torch.cat(parts))
        gates = self._processes.gather(own)
        if not _is_finite(gates):
            reads = [read for one in self._passes for read in one.reads]
            broken = (f"'{read.weight}'" for read in reversed(reads) if not _is_finite(read.values[0]))
            name = next(broken, "a weight of another process")
            raise TrainingError(
                f"Scoring needs finite activations and gradients. Got NaN or infinity in what {name} reads instead. "
                "Lower the learning rate, clip gradients, or look for NaN in the data."
            )
        return gates

    def _activations(self, which: int) -> Tensor:
        """Return the mean of a statistic over all positions and channels of each unit."""
        reads = [read for one in self._passes for read in one.reads]
        if not reads:
            raise TrainingError("Scoring needs activations and found none. Run a forward pass before update_score().")
        weighted = self._sums.of_reads(reads, [read.positions * read.values[which] for read in reads])
        positions = [torch.full_like(read.values[which], read.positions) for read in reads]
        counts = self._sums.of_reads(reads, positions)
        return self._processes.total(weighted) / self._processes.total(counts).clamp(min=1)
