"""What each example says of each unit, seen where weights read the unit's channels."""

import functools
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from prunekit.exceptions import ParameterError, TrainingError
from prunekit.importance._readers import Readers
from prunekit.importance.functional import taylor_terms
from prunekit.tracing import Inputs

Watch = Literal["nothing", "gates", "activations"]
"""What a criterion looks at besides parameters and their gradients."""


@dataclass(frozen=True, slots=True)
class Read:
    """
    What one weight read in one forward pass.

    Parameters
    ----------
    weight : str
        Name of the weight.
    dim : int
        Its dimension along which it reads channels.
    positions : int
        Positions at which each example has each channel.
    values : tuple of Tensor
        For gates one tensor of shape (n_examples, n_channels): activation times gradient, summed over positions. For
        activations two of shape (n_channels,): the mean of the absolute value and the fraction of zeros.
    """

    weight: str
    dim: int
    positions: int
    values: tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class _Layout:
    """
    Where the examples of a mini-batch are in a tensor.

    Parameters
    ----------
    dim : int
        Dimension, the channels being moved to the last one.
    outer : bool
        Whether the dimension is (examples, others) or (others, examples).
    """

    dim: int
    outer: bool

    def split(self, values: Tensor, n_examples: int) -> Tensor:
        """Return values of shape (n_examples, ...) with the channels last."""
        if values.dim() == 1:
            return values.unsqueeze(0)
        if self.dim == 0 and values.size(0) == n_examples:
            return values
        sizes = (n_examples, -1) if self.outer else (-1, n_examples)
        parts: Tensor = values.unflatten(self.dim, sizes)
        return parts.movedim(self.dim + (not self.outer), 0)


@dataclass(slots=True)
class Pass:
    """
    What was seen of one forward pass.

    Parameters
    ----------
    n_examples : int
        Examples in it.
    reads : list of Read
        What each weight read.
    untold : set of str
        Weights that read without gradients where others read with them.
    data : dict
        What was read, until its gradient was taken.
    """

    n_examples: int
    reads: list[Read] = field(default_factory=list)
    untold: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)
    data: dict["_Key", Tensor] = field(default_factory=dict)

    def key(self, weight: str) -> "_Key":
        """Return the name of a weight and how often it has read before in this pass."""
        number = self.counts.get(weight, 0)
        self.counts[weight] = number + 1
        return weight, number


_Key = tuple[str, int]


class Gates:
    """
    Watch the activations of units, and their gradients, in every forward pass of a network.

    A gate is a factor of one on everything that an example has in the channels of a unit, put where weights read them.
    The gradient with respect to it is activation times gradient, summed over positions and readers; over the examples
    it sums up to the first-order term of the weights that read the unit.

    Parameters
    ----------
    module : Module
        The network; its ``forward`` is wrapped.
    dims : dict of str to set of int
        Names of the parameters and buffers that read channels of units, and along which dimensions.
    watch : {"gates", "activations"}
        What to look at.
    run : callable
        Runs the network on `Inputs` in eval mode without gradients.
    is_fresh : callable
        Tells whether there are no gradients yet to which those of the next backward pass will be added.
    criterion : str
        Name of the criterion that asks, for messages.
    needed : bool
        Whether to refuse networks of which not everything can be seen. If not, nothing is seen of them.

    Attributes
    ----------
    active : bool
        Whether to watch at all.

    Notes
    -----
    Where the examples are in what a weight reads (first, second, or merged with other dimensions) is found out by
    running two examples in both orders. Of activations only those of the last forward pass are kept.
    """

    def __init__(
        self,
        module: nn.Module,
        dims: dict[str, set[int]],
        watch: Watch,
        run: Callable[[Inputs], Any],
        is_fresh: Callable[[], bool],
        criterion: str,
        needed: bool,
    ) -> None:
        self.active = True
        self._needed = needed
        self._given_up = False
        self._module = module
        self._dims = dims
        self._watch = watch
        self._run = run
        self._is_fresh = is_fresh
        self._criterion = criterion
        self._current = Pass(1)
        self._passes: list[Pass] = []
        paths = {name: name.rpartition(".") for name in dims}
        self._holders = [(module.get_submodule(path), key, name) for name, (path, _, key) in paths.items()]
        self._layouts: dict[_Key, _Layout] = {}
        self._probed: dict[_Key, Tensor] | None = None
        self._readers = Readers(dims, self._gate, self._refuse)
        self._attach()

    @property
    def seeing(self) -> bool:
        """Whether everything that is to be watched could be seen so far."""
        return not self._given_up

    def check(self, inputs: Inputs) -> None:
        """
        Run the network once to see whether everything that reads units can be watched.

        Parameters
        ----------
        inputs : Inputs
            Example inputs.

        Raises
        ------
        ParameterError
            If it cannot.
        """
        if self._watch == "gates" and (inputs.n_examples() or 1) > 1:
            self._learn_layouts(inputs)
        else:
            self._probe(inputs)

    def take(self, gradients: Iterable[str]) -> list[Pass]:
        """
        Return what was seen since the last time, and forget it.

        Parameters
        ----------
        gradients : iterable of str
            Names of the parameters that got a gradient.

        Returns
        -------
        list of Pass
            One a forward pass, of which there are several if gradients were accumulated.

        Raises
        ------
        TrainingError
            If a weight got a gradient from what could not be seen.
        """
        passes, self._passes = self._passes, []
        for one in passes:
            one.data.clear()  # the graph, and with it the hooks, may live on
        hidden = {name for one in passes for name in one.untold}.intersection(gradients)
        if hidden:
            self._give_up(
                TrainingError(
                    f"The criterion {self._criterion!r} needs the gradient of what '{min(hidden)}' reads. It read "
                    "without gradients, and got one nevertheless, as reentrant checkpoints do. Use checkpoint(..., "
                    "use_reentrant=False), or a criterion that needs no activations, such as 'taylor'."
                )
            )
        return [] if self._given_up else passes

    def forget(self) -> None:
        """Forget what was seen since it was last taken."""
        self._passes.clear()

    @contextmanager
    def detached(self) -> Iterator[None]:
        """
        Give the network its own ``forward`` back for a while.

        Yields
        ------
        None
            Control to the block.
        """
        if self._replaced is None:
            del self._module.forward
        else:
            self._module.forward = self._replaced
        try:
            yield
        finally:
            self._attach()

    def _attach(self) -> None:
        self._replaced = vars(self._module).get("forward")
        forward = self._module.forward

        @functools.wraps(forward)
        def watched(*args: Any, **kwargs: Any) -> Any:
            if not self.active or self._given_up or torch.compiler.is_compiling():
                return forward(*args, **kwargs)
            outer = self._current
            self._begin(Inputs(args, kwargs))
            try:
                with self._readers.watching(self._weights()):
                    return forward(*args, **kwargs)
            finally:
                self._current = outer

        self._module.forward = watched

    def _weights(self) -> list[tuple[str, Tensor]]:
        """Return the weights that read units, with their names."""
        found = ((name, part._parameters.get(key, part._buffers.get(key))) for part, key, name in self._holders)
        return [(name, weight) for name, weight in found if weight is not None]

    def _give_up(self, error: Exception) -> None:
        """Raise an error, or see nothing from now on."""
        if self._needed:
            raise error
        self._given_up = True

    def _begin(self, inputs: Inputs) -> None:
        n_examples = inputs.n_examples() or 1
        if self._probed is None:
            if self._watch == "gates" and n_examples > 1 and torch.is_grad_enabled() and not self._layouts:
                self._learn_layouts(inputs)
            if self._passes and (self._watch == "activations" or self._is_fresh()):
                self._passes.clear()
        self._current = Pass(n_examples)

    def _gate(self, data: Tensor, weight: str, dim: int, channels: int) -> Tensor:
        """Note what a weight reads, or have it noted in the backward pass."""
        seen = self._current
        key = seen.key(weight)
        if self._probed is not None:
            self._probed[key] = data.detach().movedim(channels, -1).clone()
        elif self._watch == "activations":
            sizes = _wide(data.detach().movedim(channels, -1)).abs()
            others, count = tuple(range(sizes.dim() - 1)), math.prod(sizes.shape[:-1])
            sums = [values.sum(others) if others else values for values in (sizes, sizes.sign())]
            statistics = sums[0] / count, 1.0 - sums[1] / count
            self._add(seen, Read(weight, dim, max(count // seen.n_examples, 1), statistics))
        elif torch.is_grad_enabled():
            layout = self._layout(key, seen.n_examples)
            if layout is None:
                return data
            seen.data[key] = data.detach()  # the hook must not hold the tensor that it hangs on
            data = data.view_as(data) if data.requires_grad else data.detach().requires_grad_()

            def note(gradient: Tensor) -> None:
                read = seen.data.get(key)
                if not _keeps_graph():  # as autograd lets go what it saved: memory that can be used again at once
                    seen.data.pop(key, None)
                if read is not None:
                    own = layout.split(taylor_terms(read, gradient).movedim(channels, -1), seen.n_examples)
                    sums = own.sum(tuple(range(1, own.dim() - 1))) if own.dim() > 2 else own
                    self._add(seen, Read(weight, dim, math.prod(own.shape[1:-1]), (sums,)))

            data.register_hook(note)
        else:
            seen.untold.add(weight)
        return data

    def _add(self, seen: Pass, read: Read) -> None:
        """Keep what was read; a pass is known from its first one on, which may come after other passes have begun."""
        if not seen.reads:
            self._passes.append(seen)
        seen.reads.append(read)

    def _layout(self, key: _Key, n_examples: int) -> _Layout | None:
        if n_examples == 1:
            return _SINGLE
        if key not in self._layouts:
            self._give_up(
                TrainingError(
                    f"The criterion {self._criterion!r} needs to know which example is which in what '{key[0]}' reads. "
                    f"It did not read {key[1] + 1} times in eval mode, where that is found out. Take a criterion that "
                    "needs no activations, such as 'taylor'."
                )
            )
        return self._layouts.get(key)

    def _learn_layouts(self, inputs: Inputs) -> None:
        """Find out which example is which, by two examples in both orders."""
        n_examples = inputs.n_examples() or 1
        batched = [tensor for tensor in inputs.tensors() if tensor.dim() and tensor.size(0) == n_examples]
        unlike = (i for i in range(1, n_examples) if any(not torch.equal(one[0], one[i]) for one in batched))
        other = next(unlike, 0)

        def pair(order: list[int]) -> Inputs:
            return inputs.map(lambda tensor: tensor[order] if any(tensor is one for one in batched) else tensor)

        try:
            first, second = self._probe(pair([0, other])), self._probe(pair([other, 0]))
        except Exception as exc:  # of the user's forward
            self._mixes(f"it does not run on two examples of a mini-batch ({exc})")
            return
        found = {key: _layout_of(data, second.get(key)) for key, data in first.items()}
        for key, layout in found.items():
            if layout is None:
                self._mixes(f"it cannot be told which example is which in what '{key[0]}' reads")
                return
            self._layouts[key] = layout

    def _probe(self, inputs: Inputs) -> dict[_Key, Tensor]:
        """Return what each weight reads, with the channels last."""
        self._probed = {}
        try:
            self._run(inputs)
            return self._probed
        finally:
            self._probed = None

    def _mixes(self, why: str) -> None:
        self._give_up(
            ParameterError(
                "The 'criterion' parameter must be one that needs no activations, such as 'taylor', for a network "
                f"that mixes examples: {why}. Got {self._criterion!r} instead."
            )
        )

    def _refuse(self, weight: str, function: str) -> None:
        self._give_up(
            ParameterError(
                "The 'criterion' parameter must be one that needs no activations, such as 'taylor', for this network: "
                f"what '{weight}' reads cannot be seen, since the weight is given to {function}. Got "
                f"{self._criterion!r} instead."
            )
        )


_SINGLE = _Layout(0, outer=False)
"""Of a mini-batch of one example, which may have no dimension of its own."""


def _keeps_graph() -> bool:
    """Tell whether the backward pass that is running may be run again."""
    ask = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)
    return ask is None or bool(ask())


def _wide(values: Tensor) -> Tensor:
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def _layout_of(data: Tensor, swapped: Tensor | None) -> _Layout | None:
    """Return the layout in which two examples have changed places, None if there is none."""
    if swapped is None or data.shape != swapped.shape:
        return None
    scale = float(data.abs().max()) if data.numel() else 0.0
    if not math.isfinite(scale):
        return None  # which is told where it is scored
    for dim in range(data.dim() - 1):
        for outer in (True, False) if data.size(dim) % 2 == 0 else ():
            layout = _Layout(dim, outer)
            back = layout.split(swapped, 2).flip(0)
            if torch.allclose(layout.split(data, 2), back, rtol=1e-3, atol=1e-4 * scale):
                return layout
    return None
