"""Capture of a network as a program of ATen operations, which all formats are made of."""

import inspect
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from prunekit.exceptions import ExportError
from prunekit.export._causes import cause_of
from prunekit.export._subject import Subject, bound, fixed_batch, grows, resized, tensors_in

_TRACED = 7
"""Examples of the batch that is traced: no size that other dimensions often have."""


class _TensorsOnly(nn.Module):
    """Returns the tensors of what a network returns, and takes what it takes, by the same names."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

        def forward(*args: Any, **kwargs: Any) -> tuple[Tensor, ...]:
            return tuple(tensors_in(network(*args, **kwargs)))

        forward.__signature__ = inspect.signature(network.forward)  # type: ignore[attr-defined]
        self.forward = forward


def capture(
    subject: Subject, owner: str, *, tensors_only: bool = False, max_batch: int | None = None
) -> ExportedProgram:
    """
    Return a network as a program.

    Parameters
    ----------
    subject : Subject
        The network.
    owner : str
        Function that asks, for the messages.
    tensors_only : bool, default=False
        Whether the program may return nothing but tensors.
    max_batch : int, default=None
        Largest batch that the program has to take. None: no limit.

    Returns
    -------
    ExportedProgram
        What ``torch.export.export`` returns, with a dynamic batch if the subject has one.

    Raises
    ------
    ExportError
        If PyTorch cannot capture the network.
    """
    name = type(subject.module).__name__
    module = _TensorsOnly(subject.module) if tensors_only and subject.returns_more else subject.module
    try:
        return _capture(module, subject, subject.batch, max_batch)
    except Exception as exc:
        cause = exc
    if subject.batch is not None and _can_be_captured(module, subject):
        raise ExportError(
            f"{name} cannot be exported for batches of any size, only for one (it was traced with {_TRACED} examples): "
            f"{cause_of(cause)}. {fixed_batch(owner)} does that, for batches like 'X'."
        ) from cause
    told = cause_of(cause)
    which = ", which follows no Python that depends on the values of tensors" if "data-dependent" in told else ""
    raise ExportError(f"{name} cannot be captured by torch.export{which}: {told}. Nothing was written.") from cause


def _capture(module: nn.Module, subject: Subject, batch: int | None, max_batch: int | None = None) -> ExportedProgram:
    inputs = subject.batches[0]
    if batch is None:
        return torch.export.export(module, inputs.args, dict(inputs.kwargs))
    size = _TRACED if max_batch is None else min(_TRACED, max_batch)
    dim = Dim("batch", max=max_batch)
    shapes = {
        name: torch.utils._pytree.tree_map(lambda leaf: _shape_of(leaf, batch, dim), value)
        for name, value in bound(module, inputs).items()
    }
    traced = resized(inputs, batch, size)
    return torch.export.export(module, traced.args, dict(traced.kwargs), dynamic_shapes=shapes)


def _shape_of(leaf: Any, batch: int, dim: Any) -> Any:
    return {0: dim} if isinstance(leaf, Tensor) and grows(leaf, batch) else None


def _can_be_captured(module: nn.Module, subject: Subject) -> bool:
    try:
        _capture(module, subject, None)
    except Exception:  # for whatever reason: the first failure is the one to tell
        return False
    return True
