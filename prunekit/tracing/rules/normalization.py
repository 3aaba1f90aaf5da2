"""Normalisations: batch norm ties its parameters to the channels, group norm ties whole groups.

Layer norm, and group norm with one group, normalise over all channels: what remains of them are other numbers when one
is removed. The rules note those channels; `prunekit.surgery.norms` says which of them are frozen.
"""

from collections.abc import Iterable

from torch import Tensor

from prunekit.tracing._call import Call
from prunekit.tracing._factors import Factors, tracked
from prunekit.tracing.rules._registry import rule


@rule(
    "native_batch_norm",
    "_native_batch_norm_legit",
    "_native_batch_norm_legit_functional",
    "_native_batch_norm_legit_no_training",
    "_batch_norm_with_update",
    "_batch_norm_no_update",
    "batch_norm",
    "cudnn_batch_norm",
    "miopen_batch_norm",
    sizeless=True,
)
def batch_norm(call: Call) -> None:
    """Tie weight, bias and running statistics, each of shape (channels,), to the channels."""
    source = call["input"]
    kept = _per_channel(call, source, "batch norm over a labelled dimension")
    names = ("weight", "bias", "running_mean", "running_var")
    _tie_parameters(call, kept, (call.get(name) for name in names))
    call.set(call.out, kept)


@rule("native_group_norm")
def group_norm(call: Call) -> None:
    """Tie the channels of each group; those of one single group are normalised together."""
    source, groups = call["input"], int(call["group"])
    kept = []
    for factor in _per_channel(call, source, "group norm over a labelled dimension"):
        kept.append(factor)
        if factor.size(1) == 1:
            continue
        if groups == 1:
            call.note_normalised(factor, "group norm with one group normalises over all channels together")
            continue
        labels = factor.reshape(groups, -1)
        call.tie(labels[:, :1], labels, "group norm")
        call.count(groups, labels[:, 0])
    _tie_parameters(call, kept, (call.get(name) for name in ("weight", "bias")))
    call.set(call.out, kept)


@rule("native_layer_norm", "_fused_rms_norm", "rms_norm", sizeless=True)
def layer_norm(call: Call) -> None:
    """Tie weight and bias to channels that are normalised together; those of several dimensions are frozen."""
    source = call["input"]
    inner = range(source.dim() - len(call["normalized_shape"]), source.dim())
    text = "layer norm normalises over all channels together"
    if tuple(source.shape[inner.start :]) != tuple(call["normalized_shape"]):  # as in a compacted copy
        call.freeze_all([source], "layer norm normalises over a fixed number of channels")
    kept, channels = [], []
    for factor in call.factors(source):
        mixed = [dim for dim in tracked(factor) if dim in inner]
        if len(mixed) < len(tracked(factor)) or call.is_one_unit(factor):  # another dimension tells, such as heads
            kept.append(call.collapse(factor, mixed, text))
            continue
        if len(inner) == 1:
            call.note_normalised(factor, text)
            call.keep_two(factor)  # one alone has no variance
            channels.append(factor)
        else:
            call.freeze(factor, text)
        kept.append(factor)
    _tie_parameters(call, channels, (call.get(name) for name in ("weight", "bias")))
    call.set(call.out, kept)


def _per_channel(call: Call, source: Tensor, text: str) -> list[Tensor]:
    """Return the factors that describe the channels, dimension 1; what describes other dimensions alone is frozen."""
    others = [dim for dim in range(source.dim()) if dim != 1]
    mixed = [call.mix(factor, others, text) for factor in call.factors(source)]
    return [factor for factor in mixed if factor is not None]


def _tie_parameters(call: Call, channels: Iterable[Tensor], parameters: Iterable[Tensor | None]) -> None:
    described: Factors = tuple([factor.reshape(-1) for factor in channels if factor.numel() > 1])
    text = "normalises channels that always stay"
    for parameter in parameters:
        for own in () if parameter is None else call.factors(parameter):
            if not described:
                call.freeze(own, text)
            for labels in described:
                call.tie(labels, own if own.dim() == 1 else own.reshape(-1), text)
