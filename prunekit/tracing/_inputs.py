"""Arguments of a forward pass."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from prunekit.exceptions import InputError


@dataclass(frozen=True, slots=True)
class Inputs:
    """
    Arguments of a forward pass.

    Parameters
    ----------
    args : tuple
        Positional arguments.
    kwargs : Mapping
        Keyword arguments.
    """

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        """Replace a missing mapping by an empty one."""
        if self.kwargs is None:
            object.__setattr__(self, "kwargs", {})

    @classmethod
    def of(cls, example: Any) -> "Inputs":
        """
        Return inputs from what a user gives.

        Parameters
        ----------
        example : Tensor, tuple, list or Mapping
            One tensor, positional arguments or keyword arguments.

        Returns
        -------
        Inputs
            The arguments.

        Raises
        ------
        InputError
            If there is no tensor in it, or no sample.
        """
        if isinstance(example, Inputs):
            found = example
        elif isinstance(example, Mapping):
            found = cls((), dict(example))
        elif isinstance(example, tuple | list):
            found = cls(tuple(example))
        else:
            found = cls((example,))
        if not found.tensors():
            raise InputError(
                "The 'example_inputs' parameter must be a tensor, a tuple of positional arguments or a dict of keyword "
                f"arguments with at least one tensor. Got {type(example).__name__} instead."
            )
        if found.n_examples() == 0:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in found.tensors())
            raise InputError(
                f"The inputs must hold at least one sample. Got tensors of shape {shapes} instead, from which nothing "
                "can be told."
            )
        return found

    def tensors(self) -> list[Tensor]:
        """Return the tensors among the arguments."""
        leaves = torch.utils._pytree.tree_leaves((self.args, dict(self.kwargs)))
        return [leaf for leaf in leaves if isinstance(leaf, Tensor)]

    def map(self, function: Any) -> "Inputs":
        """Return inputs with ``function`` applied to every tensor."""
        args, kwargs = torch.utils._pytree.tree_map_only(Tensor, function, (self.args, dict(self.kwargs)))
        return Inputs(args, kwargs)

    def batch_size(self) -> int | None:
        """Return the size of the first dimension that all tensors share, None if they share none."""
        sizes = {tensor.size(0) if tensor.dim() else None for tensor in self.tensors()}
        return sizes.pop() if len(sizes) == 1 else None

    def n_examples(self) -> int | None:
        """Return the size of the first dimension of the first tensor that has one, None if none has."""
        return next((tensor.size(0) for tensor in self.tensors() if tensor.dim()), None)

    def with_batch(self, size: int) -> "Inputs":
        """Return inputs cut or repeated to a batch of ``size``."""
        return self.map(lambda tensor: torch.cat([tensor[:size]] * size)[:size] if tensor.dim() else tensor)


def duplicate_inputs(inputs: Inputs) -> Inputs:
    """
    Return an independent copy of inputs.

    Parameters
    ----------
    inputs : Inputs
        Any inputs.

    Returns
    -------
    Inputs
        Copy whose tensors share no memory with the original.
    """
    args, kwargs = copy.deepcopy((inputs.map(lambda t: t.detach().clone()).args, dict(inputs.kwargs)))
    return Inputs(args, kwargs)
