"""Reductions and softmax: what they mix cannot be removed singly."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prunekit.tracing._call import Call
from prunekit.tracing._factors import drop_dims, tracked
from prunekit.tracing.rules._registry import rule

if TYPE_CHECKING:
    from torch import Tensor


@rule(
    "mean",
    "sum",
    "nansum",
    "amax",
    "amin",
    "max",
    "min",
    "aminmax",
    "var",
    "var_mean",
    "std",
    "std_mean",
    "prod",
    "logsumexp",
    "norm",
    "linalg_vector_norm",
    "any",
    "all",
    "argmax",
    "argmin",
    "median",
    "nanmedian",
    sizeless=True,
)
def reduce(call: Call) -> None:
    """Drop the reduced dimensions; labels along them are frozen, or collapsed where they describe others too."""
    source = call.inputs[0]
    if call.name in ("max", "min") and len(call.inputs) == 2:
        call.freeze_all(call.inputs, f"{call.name} of two tensors")
        return
    dims = _dims(call.get("dim"), source.dim())
    keepdim = bool(call.get("keepdim", False))
    exact = call.is_weight(source) and call.name in _EXACT_WITH_ZEROS and (call.get("ord", call.get("p", 2)) or 2) > 0
    kept: list[Tensor] = []
    for factor in call.factors(source):
        if exact and tracked(factor) and set(tracked(factor)) <= set(dims):
            call.mark_consumer(factor)  # so that the mask puts the zeros there
            continue
        mixed = call.mix(factor, dims, f"{call.name} over channels")
        if mixed is not None:
            kept.append(drop_dims(mixed, dims, keepdim))
    for out in call.outputs:
        call.set(out, kept)


_EXACT_WITH_ZEROS = frozenset({"sum", "nansum", "norm", "linalg_vector_norm"})
"""Reductions of a parameter that need not know how many zeros stand in it."""


@rule(
    "_softmax",
    "_log_softmax",
    "_safe_softmax",
    "softmax",
    "log_softmax",
    "cumsum",
    "cumprod",
    "cummax",
    "cummin",
    "logcumsumexp",
    "sort",
    "topk",
    "kthvalue",
    "mode",
    "renorm",
)
def mix_along(call: Call) -> None:
    """Keep the shape, but mix positions along one dimension."""
    source = call.inputs[0]
    dims = _dims(call.get("dim", -1), source.dim())
    text = f"{call.name.strip('_').removeprefix('safe_')} over channels"
    kept = [mixed for factor in call.factors(source) if (mixed := call.mix(factor, dims, text)) is not None]
    for out in call.outputs:
        call.set(out, kept)


def _dims(value: int | Sequence[int] | None, ndim: int) -> list[int]:
    if value is None or (not isinstance(value, int) and not list(value)):
        return list(range(ndim))
    listed = [value] if isinstance(value, int) else list(value)
    return [dim % ndim for dim in listed] if ndim else []
