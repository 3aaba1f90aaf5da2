"""`PrunableNetwork`: score, prune, verify and compact any network inside of one's own training loop."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from numbers import Integral
from typing import Any, NoReturn, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_map

from prunekit._processes import Processes
from prunekit._random import preserve_rng
from prunekit._validation import check_choice, check_integer, check_interval
from prunekit.cost import QUANTITIES, CostModel, LatencyModel, Quantity, Resource, layer_table
from prunekit.exceptions import NothingToPruneError, ParameterError, ParameterTypeError, TrainingError
from prunekit.importance import Criterion, Gates, Gradients, Observation, UnitSums, make_criterion, normalised
from prunekit.surgery import (
    NORMS,
    Body,
    Constraints,
    NetworkSnapshot,
    Norms,
    Patterns,
    PruningPlan,
    Ranking,
    Selector,
    check_module,
    compact,
    compare,
    evaluate,
    note_,
    noted_plan,
    prove_units,
    what_blocks,
)
from prunekit.tracing import Inputs, Unit, copy_module, device_of, duplicate_inputs, named_tensors

__all__ = ["NetworkSnapshot", "PrunableNetwork"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """
    By what units are compared, besides their importance; the parameters are described in `PrunableNetwork`.

    Parameters
    ----------
    per : str or None
        What importances are divided by.
    macs_regularization, score_momentum : float
        Weights of multiply-adds, and of earlier importances.
    reset_scores : bool
        Whether scoring starts anew after a removal.
    """

    per: str | None
    macs_regularization: float
    score_momentum: float
    reset_scores: bool

    @classmethod
    def checked(
        cls, per: object, macs_regularization: object, score_momentum: object, reset_scores: object, owner: str
    ) -> "Comparison":
        """
        Return what a user gave.

        Parameters
        ----------
        per, macs_regularization, score_momentum, reset_scores : object
            The parameters.
        owner : str
            Class that they belong to, for the message.

        Returns
        -------
        Comparison
            The same, checked.

        Raises
        ------
        ParameterError
            If a value is out of range.
        ParameterTypeError
            If a value has the wrong type.
        """
        return cls(
            per=None if per is None else check_choice("per", per, owner, QUANTITIES),
            macs_regularization=check_interval("macs_regularization", macs_regularization, owner, 0, np.inf, "left"),
            score_momentum=check_interval("score_momentum", score_momentum, owner, 0, 1, "left"),
            reset_scores=bool(reset_scores),
        )


class PrunableNetwork(nn.Module):
    """
    A network whose least important filters can be masked while it trains, and compacted in the end.

    Parameters
    ----------
    module : Module
        Trained network. It is copied; the copy is `module`, the user's stays as it is.
    example_inputs : Tensor, tuple or Mapping
        One tensor, positional arguments or keyword arguments that the network takes. Values do not matter much, shapes
        and types do.
    criterion : str or Criterion, default="taylor2"
        What orders the units: a name of ``prunekit.importance.CRITERIA`` or an object.
    include, exclude : str or iterable of str, default=None
        Patterns of layer names, as in file names (``"features.*"``). With `include` only matching layers lose filters;
        those that match `exclude` never do.
    min_channels : int, default=1
        Least number of filters that a layer keeps.
    round_to : int, default=None
        Layers that shrink keep a multiple of this number of filters.
    max_layer_reduction : float, default=None
        Largest fraction of its filters that a layer may lose.
    norms : {"freeze", "subset"}, default="freeze"
        What becomes of channels that a layer normalises over together, such as a transformer's residual stream.
        Removing one changes the mean and the variance for the others. With ``"freeze"`` they stay. With ``"subset"``
        they may go where a module of its own normalises (`LayerNorm`, `RMSNorm`, `GroupNorm` with one group and their
        like, with a weight); it then normalises over the channels that are left.
    per : {"params", "macs", "filters", "memory", "latency"}, default=None
        What the importance of a unit is divided by before units are compared: what its removal alone would save now of
        that resource, ``"latency"`` of the time of a forward pass, according to a table of measured layers. Importances
        below zero are not divided. None compares importances as they are.
    macs_regularization : float, default=0.0
        Importance that a unit loses for each million of multiply-adds that its removal alone would save: lambda of
        Molchanov et al. 2017 [1]_, section 2.3, where it is 0.001.
    score_momentum : float, default=0.0
        Weight of the importances before the last removal in those after it, in [0, 1); Molchanov et al. 2019 [2]_ take
        0.9. With it, units are taken one by one.
    reset_scores : bool, default=True
        Whether scoring starts anew after a removal, as in both papers. If not, all mini-batches count alike.
    latency_batch_size : int, default=1
        Number of samples of a forward pass whose time is measured, where latency is asked for. The example inputs are
        cut or repeated to it.

    Attributes
    ----------
    module : Module
        The masked copy. Train this one, by itself or through the object.
    processes : Processes
        Those that train the network together, this one alone unless it is set. Scores then count what all of them see,
        and the first one decides.

    Raises
    ------
    ParameterTypeError
        If `module` is no module.
    InputError
        If the network does not run on the example inputs.
    NothingToPruneError
        If no filter can be removed; the message says what blocks them.

    Notes
    -----
    The copy holds its masks by itself: weights that read removed filters are zero in every forward pass and get no
    gradient, whatever the optimizer. With ``norms="subset"`` its normalisations leave removed channels out as well. The
    scores do not foresee what that changes for the channels that stay, so score and fine-tune between small steps.

    References
    ----------
    .. [1] P. Molchanov, S. Tyree, T. Karras, T. Aila, J. Kautz, "Pruning Convolutional Neural Networks for Resource
       Efficient Inference", ICLR 2017, arXiv:1611.06440.
    .. [2] P. Molchanov, A. Mallya, S. Tyree, I. Frosio, J. Kautz, "Importance Estimation for Neural Network Pruning",
       CVPR 2019, arXiv:1906.10771.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from prunekit import PrunableNetwork
    >>> net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 2))
    >>> x, y = torch.randn(16, 1, 8, 8), torch.randint(2, (16,))
    >>> network = PrunableNetwork(net, x)
    >>> network.num_prunables
    8
    >>> nn.functional.cross_entropy(network(x), y).backward()
    >>> network.update_score()
    >>> network.update_prunables(max_to_prune=2)
    2
    >>> network.compact()[0]
    Conv2d(1, 6, kernel_size=(3, 3), stride=(1, 1))
    """

    def __init__(
        self,
        module: nn.Module,
        example_inputs: Any,
        *,
        criterion: str | Criterion = "taylor2",
        include: Patterns = None,
        exclude: Patterns = None,
        min_channels: int = 1,
        round_to: int | None = None,
        max_layer_reduction: float | None = None,
        norms: Norms = "freeze",
        per: str | None = None,
        macs_regularization: float = 0.0,
        score_momentum: float = 0.0,
        reset_scores: bool = True,
        latency_batch_size: int = 1,
    ) -> None:
        super().__init__()
        module = check_module(module)
        self.criterion = make_criterion(criterion, "PrunableNetwork")
        constraints = Constraints.checked(min_channels, round_to, max_layer_reduction, "PrunableNetwork")
        norms = cast("Norms", check_choice("norms", norms, "PrunableNetwork", NORMS))
        self._comparison = Comparison.checked(per, macs_regularization, score_momentum, reset_scores, "PrunableNetwork")
        self._latency_batch_size = check_integer("latency_batch_size", latency_batch_size, "PrunableNetwork", 1)
        self._earlier: NDArray[np.float64] | None = None
        with torch.inference_mode(False):
            self._inputs = duplicate_inputs(Inputs.of(example_inputs))
        graph, repairs = prove_units(module, self._inputs, include, exclude, norms)
        if not graph.n_units:
            raise NothingToPruneError(what_blocks(module, graph))
        with torch.inference_mode(False):  # the copy is to be trained
            self.module = copy_module(module)
        self.graph = graph
        self._costs = CostModel(self.module, graph)
        self._selector = Selector(graph, constraints)
        self._sums = UnitSums(graph)
        self._body = Body(self.module, graph, repairs, self._after_cut)
        self._masks_hold = False  # whether nothing changes weights for a while
        self._num_scored = 0
        self._dtype = next((parameter.dtype for parameter in module.parameters()), None)
        self._batch_size = self._inputs.batch_size() or 1
        self._gradients = Gradients(self.module, set(self._sums.consumer_dims))
        self._forward_hook = self.module.register_forward_pre_hook(self._before_forward, prepend=True, with_kwargs=True)
        self._gates = self._watched()
        self._scoring = True
        self.processes = Processes()

    def _watched(self) -> Gates | None:
        """Watch activations if the criterion looks at them."""
        watch = self.criterion.watch
        if watch == "nothing":
            return None

        def run(inputs: Inputs) -> Any:
            with preserve_rng(device_of(self.module)):
                return evaluate(self.module, inputs)

        gates = Gates(
            self.module,
            self._sums.consumer_dims,
            watch,
            run,
            self._gradients.are_reset,
            self.criterion.name,
            self.criterion.watch_needed,
        )
        has_values = all(not tensor.is_meta for tensor in named_tensors(self.module).values())
        if self.criterion.watch_needed and has_values:  # the others find out when they are scored
            gates.check(self._inputs)
        return gates

    # -- running ------------------------------------------------------------------------------------------------------

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """
        Run the masked network in its present mode.

        Parameters
        ----------
        *args, **kwargs
            Inputs of the network.

        Returns
        -------
        object
            What the network returns.
        """
        return self.module(*args, **kwargs)

    def predict(self, *args: Any, **kwargs: Any) -> Any:
        """
        Run the masked network in eval mode without gradients; its mode is as before afterwards.

        Parameters
        ----------
        *args, **kwargs
            Inputs of the network.

        Returns
        -------
        object
            What the network returns.
        """
        return evaluate(self.module, Inputs(args, kwargs))

    @property
    def scoring(self) -> bool:
        """Whether forward passes are watched for a criterion that looks at activations; False saves time."""
        return self._scoring

    @scoring.setter
    def scoring(self, value: bool) -> None:
        self._scoring = value
        if self._gates is not None:
            self._gates.active = value

    @property
    def sees_examples(self) -> bool:
        """Whether the criterion looks at single examples, and they could be seen so far."""
        return self._gates is not None and self._gates.seeing and self.criterion.watch == "gates"

    # -- looking ------------------------------------------------------------------------------------------------------

    @property
    def learnables(self) -> pd.DataFrame:
        """Parameters, one row each: ``layer``, ``parameter`` and ``value``, the live tensor."""
        return _tensor_table(self.module.named_parameters())

    @property
    def state(self) -> pd.DataFrame:
        """Buffers such as running statistics, one row each: ``layer``, ``parameter`` and ``value``, the live tensor."""
        return _tensor_table(self.module.named_buffers())

    @property
    def input_names(self) -> list[str]:
        """Names of the inputs that the network got."""
        names = list(inspect.signature(self.module.forward).parameters)
        taken = [names[i] if i < len(names) else f"input_{i}" for i in range(len(self._inputs.args))]
        return [*taken, *self._inputs.kwargs]

    @property
    def example_inputs(self) -> Inputs:
        """The example inputs, on the device and of the data type that the network has now."""
        first = next(self.module.parameters(), None)
        if first is None:
            return self._inputs
        dtype = first.dtype

        def follow(tensor: Tensor) -> Tensor:
            return tensor.to(first.device, dtype if tensor.dtype == self._dtype else tensor.dtype)

        return self._inputs.map(follow)

    @property
    def output_names(self) -> list[str]:
        """Names of the tensors that the network returns; those of a sequence are numbered."""
        return list(self.graph.trace.runs[0].outputs)

    @property
    def units(self) -> tuple[Unit, ...]:
        """All units: the prunable ones in the order of arrays over units, then the frozen ones with their reasons."""
        return self.graph.units

    @property
    def unit_layers(self) -> NDArray[np.str_]:
        """Dotted name of the layer of each unit, the first one of a unit of several layers, shape (n_units,)."""
        return np.array(self.graph.layers)[self.graph.first_layers]

    @property
    def support(self) -> NDArray[np.bool_]:
        """Which units are still there, shape (n_units,)."""
        return ~self._removed

    @property
    def num_prunables(self) -> int:
        """Number of prunable units that are still there."""
        return int((~self._removed).sum())

    @property
    def num_scored(self) -> int:
        """Number of mini-batches scored since the last removal."""
        return self._num_scored

    @property
    def importances(self) -> NDArray[np.float64]:
        """
        Importance of every unit, shape (n_units,), normalised as the criterion says; NaN for removed ones.

        Raises
        ------
        TrainingError
            If nothing was scored yet, or if an importance is not finite.
        """
        if not self._num_scored and not self.criterion.needs_gradients:
            self._observe({})
        if not self._num_scored:
            raise TrainingError(
                "There is no importance yet. Run a forward and a backward pass and call update_score() first."
            )
        importances = np.where(self._removed, np.nan, self.criterion.importance())
        broken = ~np.isfinite(importances) & self.support
        if broken.any():
            layer = self.unit_layers[broken][0]
            raise TrainingError(
                f"The criterion {self.criterion.name!r} must give finite importances. Got "
                f"{importances[broken][0]} for a filter of '{layer}', and {int(broken.sum())} such values in all, "
                "instead. Look for NaN, infinity and very large numbers in the weights and in the data."
            )
        importances = normalised(importances, self.graph.first_layers, self.criterion.normalization)
        if self._earlier is not None:
            momentum = self._comparison.score_momentum
            importances = momentum * self._earlier + (1.0 - momentum) * importances
        return importances

    def analyze(self) -> pd.DataFrame:
        """
        Return the layer table.

        Returns
        -------
        DataFrame
            One row a layer; sizes and counts are after pruning, reductions are fractions of the dense network.
            ``attrs["totals"]`` holds before, after and reduction of params, macs, filters and memory_bytes.
        """
        return layer_table(self.module, self._costs, self._removed)

    def reduction(self, of: Quantity = "params") -> float:
        """
        Return the fraction that is removed by now.

        Parameters
        ----------
        of : {"params", "macs", "filters", "memory", "latency"}, default="params"
            Of what. ``"latency"`` is measured: the compacted network runs in turns with the dense one, as eager code in
            eval mode, on the device where the network is and with as many threads as torch has.

        Returns
        -------
        float
            Between 0 and 1; of latency below 0 if the compacted network is slower.
        """
        return self._reduction_of(_quantity(of), self._removed)

    def max_reduction(self, of: Quantity = "params") -> float:
        """
        Return the largest reduction that the constraints allow.

        Parameters
        ----------
        of : {"params", "macs", "filters", "memory", "latency"}, default="params"
            Of what; latency is measured, as in `reduction`.

        Returns
        -------
        float
            Reached when every unit that may go is gone, in the order of their index.
        """
        everything = self._selector.choose(Ranking(np.zeros(self.graph.n_units)), self._removed, lambda removed: False)
        return self._reduction_of(_quantity(of), everything)

    # -- pruning ------------------------------------------------------------------------------------------------------

    def update_score(self, batch_size: int | None = None, loss_scale: float = 1.0) -> None:
        """
        Take the gradients of one backward pass into the importance; call it after ``backward``, before ``zero_grad``.

        Parameters
        ----------
        batch_size : int, default=None
            Examples in the mini-batch, by default the size of the first dimension of the last forward pass's input.
        loss_scale : float, default=1.0
            What the loss was multiplied by before ``backward``, ``scaler.get_scale()`` with a `torch.amp.GradScaler`;
            call this before ``scaler.unscale_``. If it is not 1, a mini-batch whose gradients are not finite is left
            out, as the scaler leaves out its step.

        Raises
        ------
        TrainingError
            If there are no gradients, or if they are not finite; the importance is unchanged then.
        ParameterError
            If a parameter is not positive.
        ParameterTypeError
            If a parameter has the wrong type.
        """
        scale = check_interval("loss_scale", loss_scale, "update_score", 0.0, np.inf, "neither")
        gradients = self._gradients.collect(self.processes)
        if not gradients and self.criterion.needs_gradients:
            raise TrainingError(
                "update_score() needs gradients and found none. Call loss.backward() before it, zero_grad() after it."
            )
        self._observe(gradients, batch_size, scale)

    def reset_score(self) -> None:
        """Forget the mini-batches scored so far."""
        self.criterion.reset()
        self._num_scored = 0

    def update_prunables(self, max_to_prune: int = 8) -> int:
        """
        Mask the least important units and start scoring anew.

        Parameters
        ----------
        max_to_prune : int, default=8
            How many units to mask at most.

        Returns
        -------
        int
            How many were masked; less than asked for where the constraints allow no more.

        Raises
        ------
        TrainingError
            If nothing was scored since the last removal.
        """
        limit = check_integer("max_to_prune", max_to_prune, "update_prunables", 0)
        return self._remove(self._selector.choose_at_most(self._ranking(), self._removed, limit))

    def prune_to(self, reduction: float, of: Quantity = "params", max_to_prune: int | None = None) -> int:
        """
        Mask the least important units until a reduction is reached, and start scoring anew.

        Parameters
        ----------
        reduction : float
            Fraction of the dense network that is to be gone, in [0, 1).
        of : {"params", "macs", "filters", "memory", "latency"}, default="params"
            Of what. For latency, a table of timed layers tells how many units may be enough, and a few such choices are
            measured, as in `reduction`, until one is at the aim or above it by up to 2 % of the time that is to be
            left, or none is nearer. Each takes half a second to two seconds, longer for slow networks.
        max_to_prune : int, default=None
            How many units to mask at most, though the reduction is not reached. None: as many as it takes.

        Returns
        -------
        int
            How many units were masked; 0 if the reduction is reached already, and scoring goes on. The reduction is met
            from above by the last of them, or missed where the constraints allow no more.

        Raises
        ------
        TrainingError
            If nothing was scored since the last removal.
        """
        quantity = _quantity(of)
        target = check_interval("reduction", reduction, "prune_to", 0, 1, "left")
        limit = None if max_to_prune is None else check_integer("max_to_prune", max_to_prune, "prune_to", 0)
        before = int(self._removed.sum())
        if quantity != "latency" and self._reduction_of(quantity, self._removed) >= target:
            return 0
        ranking = self._ranking()

        def pick(is_enough: Callable[[NDArray[np.bool_]], bool]) -> NDArray[np.bool_]:
            if limit is None:
                return self._selector.choose(ranking, self._removed, is_enough)
            chosen = self._selector.choose(
                ranking, self._removed, lambda removed: int(removed.sum()) - before >= limit or is_enough(removed)
            )
            if int(chosen.sum()) - before > limit:  # round sizes take several at once
                chosen = self._selector.choose_at_most(ranking, self._removed, limit)
            return chosen

        if quantity == "latency":
            return self._remove(self._latency.choose(target, self._removed, pick))
        return self._remove(pick(lambda removed: self._reduction_of(quantity, removed) >= target))

    def apply_masks(self) -> None:
        """Set the weights that read removed units to zero; every forward pass does so by itself."""
        self._body.masks.apply()

    @contextmanager
    def without(self, units: Iterable[int]) -> Iterator[tuple[Tensor, ...] | None]:
        """
        Remove units for a while, to see what the network does without them.

        Parameters
        ----------
        units : iterable of int
            Units by their index; those that are gone already stay so.

        Yields
        ------
        tuple of Tensor or None
            The weights that are changed; None if normalisations do something else as well. The masked network gives
            what it would give without the units. Afterwards it is as before, to the last bit of its weights, also after
            an error; what was scored is kept. Do not train it meanwhile.

        Raises
        ------
        ParameterError
            If there is no unit of a given index.
        ParameterTypeError
            If an index is no integer.
        """
        given = list(units)
        if not all(isinstance(unit, Integral) and not isinstance(unit, bool) for unit in given):
            raise ParameterTypeError(f"The 'units' parameter of without must hold integers. Got {given!r} instead.")
        listed = np.array(given, dtype=np.int64)
        if listed.size and not (listed.min() >= 0 and listed.max() < self._removed.size):
            raise ParameterError(
                f"The 'units' parameter of without must hold numbers from 0 to {self._removed.size - 1}. "
                f"Got {listed.tolist()} instead."
            )
        removed = self._removed.copy()
        removed[listed] = True
        self.apply_masks()
        outside, self._masks_hold = self._masks_hold, True
        try:
            with self._body.without(removed) as changed:
                yield changed
        finally:
            self._masks_hold = outside

    def snapshot(self) -> NetworkSnapshot:
        """
        Return the present state to come back to.

        Returns
        -------
        NetworkSnapshot
            Removed units and copies of all tensors.
        """
        return self._body.snapshot()

    def restore(self, snapshot: NetworkSnapshot, *optimizers: Optimizer) -> None:
        """
        Go back to an earlier state.

        Parameters
        ----------
        snapshot : NetworkSnapshot
            What `snapshot` of this network returned.
        *optimizers : Optimizer
            Optimizers of the parameters. If the network was cut since, they get the parameters that are put in the
            place of others, and forget what they knew of those.

        Raises
        ------
        ParameterError
            If it is the snapshot of another network; nothing is changed then.
        ParameterTypeError
            If it is no snapshot.
        """
        if not isinstance(snapshot, NetworkSnapshot):
            raise ParameterTypeError(
                "The 'snapshot' parameter of restore must be what snapshot() returned. "
                f"Got {type(snapshot).__name__} instead."
            )
        self._body.restore(snapshot, optimizers)
        self._earlier = None
        self.reset_score()

    def cut(self, *optimizers: Optimizer) -> bool:
        """
        Make `module` physically smaller by what is masked, so that what follows costs what the small network costs.

        Units keep their numbers, and everything here works as before: scores, masks, `plan`, `verify`, `compact`,
        `restore`. Call it between a step of the optimizer and the next forward pass.

        Parameters
        ----------
        *optimizers : Optimizer
            Optimizers of the parameters: they get the smaller ones, and momentum and the like are sliced along. An
            optimizer that is not given trains parameters that are no longer there.

        Returns
        -------
        bool
            Whether there was anything to cut off.

        Notes
        -----
        Parameters are other objects afterwards, so references to the old ones are stale. Results are those of the
        masked network up to rounding, but dropout draws fewer random numbers.
        """
        return self._body.cut(optimizers)

    def get_state(self) -> dict[str, Any]:
        """
        Return everything that another process needs to go on: what is removed, tensors, scores.

        Returns
        -------
        dict
            Arrays, tensors (not copied) and numbers, for `set_state`.
        """
        state = self._body.snapshot(copied=False)
        return {
            "removed": state.removed,
            "gone": state.gone,
            "tensors": state.tensors,
            "num_scored": self._num_scored,
            "earlier": self._earlier,
            "criterion": self.criterion.state_dict(),
        }

    def set_state(self, state: Mapping[str, Any], *optimizers: Optimizer) -> None:
        """
        Go on where another object was, made from the same dense network with the same parameters.

        Parameters
        ----------
        state : Mapping
            What `get_state` returned.
        *optimizers : Optimizer
            As for `restore`.

        Raises
        ------
        ParameterError
            If it is the state of another network, or not whole; nothing is changed then.
        ParameterTypeError
            If it is no state.
        """
        if not isinstance(state, Mapping):
            raise ParameterTypeError(
                f"The 'state' parameter of set_state must be what get_state() returned. Got {type(state).__name__} "
                "instead."
            )
        lost = [name for name in _STATE if name not in state]
        earlier = state.get("earlier")
        known = isinstance(earlier, np.ndarray) and earlier.shape == self._removed.shape and earlier.dtype == np.float64
        if lost or not (earlier is None or known) or not isinstance(state["tensors"], Mapping):
            what = f"one without {lost}" if lost else "one of another network"
            raise ParameterError(
                f"The 'state' parameter of set_state must be what get_state() returned. Got {what} instead."
            )
        self.restore(NetworkSnapshot(state["removed"], state["gone"], dict(state["tensors"])), *optimizers)
        self._earlier = state["earlier"]
        device = device_of(self.module)

        def follow(value: Any) -> Any:  # states of random generators stay on the CPU
            return value.to(device) if isinstance(value, Tensor) and value.is_floating_point() else value

        self.criterion.load_state_dict(tree_map(follow, state["criterion"]))
        self._num_scored = state["num_scored"]

    # -- leaving ------------------------------------------------------------------------------------------------------

    @property
    def plan(self) -> PruningPlan:
        """What is removed by now, as a document that can be applied to a dense network of the same class."""
        return self._body.plan

    def compact(self, verify: bool = True) -> nn.Module:
        """
        Return the physically smaller network that computes what the masked one does.

        Parameters
        ----------
        verify : bool, default=True
            Whether to compare both on the example inputs first.

        Returns
        -------
        Module
            Network of the user's own class, in the mode of the masked one.

        Raises
        ------
        VerificationError
            If the two do not agree.
        """
        smaller = self._compacted()
        if verify:
            compare(self._masked(), smaller, self.example_inputs, 1e-5)
        note_(smaller, noted_plan(self.module).then(self.plan), self.example_inputs)
        return smaller

    def verify(self, *inputs: Any, rtol: float = 1e-5) -> float:
        """
        Compare the masked network with the compacted one.

        Parameters
        ----------
        *inputs : Tensor
            Inputs of the network, the example inputs by default.
        rtol : float, default=1e-5
            Largest difference allowed, relative to the largest output. For data types with less than float32's
            precision it is at least 8 times their resolution.

        Returns
        -------
        float
            Largest difference relative to the largest output.

        Raises
        ------
        InputError
            If the network does not run on the inputs.
        VerificationError
            If the difference is larger than allowed.
        """
        tolerance = check_interval("rtol", rtol, "verify", 0, np.inf, "left")
        example = Inputs.of(inputs[0] if len(inputs) == 1 else inputs) if inputs else self.example_inputs
        return compare(self._masked(), self._compacted(), example, tolerance)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _observe(self, gradients: dict[str, Tensor], batch_size: int | None = None, loss_scale: float = 1.0) -> None:
        size = self._batch_size if batch_size is None else check_integer("batch_size", batch_size, "update_score", 1)
        passes = [] if self._gates is None else self._gates.take(gradients)
        observation = Observation(self.module, self._sums, gradients, size, passes, loss_scale, self.processes)
        if loss_scale != 1.0 and not observation.is_finite:
            return
        self.criterion.observe(observation)
        self._num_scored += 1

    def _ranking(self) -> Ranking:
        """Return the importances as they are compared, those of units that are gone being infinite."""
        importances, factor = self.importances, None
        if not self.criterion.normalization and self._earlier is None:
            together = self.criterion.together()
            if together is not None:
                importances, factor = together.alone, together.factor
        if self._comparison.macs_regularization:
            saved = self._costs.savings("macs", self._removed) / 1e6
            importances = importances - self._comparison.macs_regularization * saved
        return Ranking(np.where(self._removed, np.inf, importances), factor, self._unit_costs())

    def _unit_costs(self) -> NDArray[np.float64] | None:
        """Return what each unit costs, in relation to the mean; where a unit costs nothing it counts as little."""
        per = self._comparison.per
        if per is None:
            return None
        if per == "latency":
            costs = self._latency.savings(self._removed)
        else:
            costs = self._costs.savings(cast("Resource", per), self._removed)
        mean = costs[~self._removed].mean() if not self._removed.all() else 1.0
        return np.maximum(costs / (mean or 1.0), 1e-3)

    @cached_property
    def _latency(self) -> LatencyModel:
        """Times of the network, whose dense form is kept for them; inputs and copies follow the device."""
        with self._bare():
            dense = self._body.dense_copy(masked=False)

        def inputs() -> Inputs:
            return self.example_inputs.with_batch(self._latency_batch_size)

        def build(removed: NDArray[np.bool_]) -> nn.Module:
            present = next(self.module.parameters())
            return compact(dense.to(present.device), self._body.plan_without(removed))

        try:
            with preserve_rng(device_of(dense)):
                evaluate(dense, inputs())
        except Exception as exc:
            raise ParameterError(
                "The 'latency_batch_size' parameter must be a number of samples on which the network runs. Got "
                f"{self._latency_batch_size} instead, with which it raises {type(exc).__name__}: {exc}"
            ) from exc
        return LatencyModel(self._costs, build, inputs, partial(self._selector.spread, self.graph.first_layers))

    def _remove(self, removed: NDArray[np.bool_]) -> int:
        removed = self.processes.same(removed)
        count = int(removed.sum() - self._removed.sum())
        if self._comparison.score_momentum:
            self._earlier = self.importances
        self._body.update(removed)
        if self._comparison.reset_scores:
            self.reset_score()
        return count

    def _reduction_of(self, resource: Quantity, removed: NDArray[np.bool_]) -> float:
        if resource == "latency":
            return cast("float", self.processes.same(self._latency.reduction(removed)))
        return self._costs.reduction(resource, removed)

    def _compacted(self) -> nn.Module:
        with self._bare():
            smaller = self._body.compacted()
        self._gradients.freeze_again_(smaller)
        return smaller

    def _masked(self) -> nn.Module:
        """Return the masked network in the dense shapes: itself, or a copy if it was cut."""
        if self._body.is_whole:
            return self.module
        with self._bare():
            return self._body.dense_copy()

    @contextmanager
    def _bare(self) -> Iterator[None]:
        """Take off what hangs on the network, so that it is not copied along."""
        self._forward_hook.remove()
        try:
            with nullcontext() if self._gates is None else self._gates.detached():
                yield
        finally:
            self._forward_hook = self.module.register_forward_pre_hook(
                self._before_forward, prepend=True, with_kwargs=True
            )

    def _after_cut(self) -> None:
        """Look at the parameters that have come into the place of others."""
        self._sums = UnitSums(self.graph, self._body.axes)
        self._gradients.attach()
        if self._gates is not None:
            self._gates.forget()

    @property
    def _removed(self) -> NDArray[np.bool_]:
        return self._body.removed

    def _before_forward(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if not self._masks_hold:
            self.apply_masks()
        self._gradients.begin()
        self._batch_size = Inputs(args, kwargs).n_examples() or self._batch_size

    def __deepcopy__(self, memo: dict[int, Any]) -> NoReturn:
        """Refuse: use `snapshot` for a state to come back to."""
        raise TypeError(
            "A PrunableNetwork cannot be copied. Use snapshot() and restore(), or compact() for its network."
        )

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        """Refuse: use `prunekit.save`."""
        raise TypeError("A PrunableNetwork cannot be pickled. Use compact() and prunekit.save() to keep its network.")


_STATE = ("removed", "gone", "tensors", "num_scored", "earlier", "criterion")
"""What `PrunableNetwork.get_state` returns."""


def _quantity(of: object) -> Quantity:
    return cast("Quantity", check_choice("of", of, "PrunableNetwork.reduction", QUANTITIES))


def _tensor_table(named: Iterable[tuple[str, Tensor]]) -> pd.DataFrame:
    rows = [(name.rpartition(".")[0], name.rpartition(".")[2], tensor) for name, tensor in named]
    table = pd.DataFrame({"layer": [row[0] for row in rows], "parameter": [row[1] for row in rows]})
    values = np.empty(len(rows), dtype=object)
    for index, row in enumerate(rows):
        values[index] = row[2]
    return table.assign(value=values)
