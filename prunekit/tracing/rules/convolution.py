"""Convolutions of any dimension, grouped, depthwise and transposed."""

import torch
from torch import Tensor

from prunekit.tracing._call import Call
from prunekit.tracing._factors import along, tracked
from prunekit.tracing.rules._registry import rule


@rule(
    "convolution", "_convolution", "convolution_overrideable", "cudnn_convolution", "mkldnn_convolution", sizeless=True
)
def convolution(call: Call) -> None:
    """Draw the labels of the outputs from the weight's filters; its columns consume the input's channels."""
    source, weight, bias = call["input"], call["weight"], call["bias"]
    groups, transposed = call["groups"], bool(call.get("transposed", False))
    channel_dim = 1
    inputs, others = [], []
    for factor in call.factors(source):
        mixed = call.mix(factor, range(2, source.dim()), "convolved along a labelled dimension")
        if mixed is None:
            continue
        if mixed.size(channel_dim) > 1:
            inputs.append(call.collapse(mixed, [0], "labelled along the batch"))
        else:
            others.append(mixed)
    if not call.is_weight(weight):
        _dynamic(call, inputs, weight, bias)
        call.set(call.out, others)
        return
    labels = (_grouped if groups > 1 else _dense)(call, inputs, weight, transposed)
    if labels is None:
        call.set(call.out, others)
        return
    if bias is not None:
        for factor in call.factors(bias):
            call.tie(labels, factor.reshape(-1), "bias of channels that always stay")
    call.set(call.out, [along(labels, channel_dim, call.out.dim()), *others])


@rule("_weight_norm_interface", "_weight_norm")
def weight_norm(call: Call) -> None:
    """Follow ``direction * magnitude / norm(direction)``; the norm is that of what stays, where the mask is zero."""
    direction, magnitude, dim = call.inputs[0], call.inputs[1], call["dim"] % call.inputs[0].dim()
    if not (call.is_weight(direction) and call.is_weight(magnitude)):
        call.freeze_all(call.inputs, "weight norm of a weight that is computed from data")
        call.set(call.out, ())
        return
    summed = [factor for factor in call.factors(direction) if factor.size(dim) == 1]
    for factor in summed:
        call.mark_consumer(factor)
    scaled = call.factors(magnitude)  # to be zeroed in place of the direction, whose norm must not be zero
    for factor in call.factors(direction):
        for scale in scaled if factor.size(dim) > 1 else ():
            call.tie(factor, scale, "magnitudes of a weight norm")
    call.set(call.out, [*scaled, *summed])
    call.set_weight(call.out)


def _axis_labels(call: Call, weight: Tensor, dim: int) -> Tensor | None:
    """Return the labels along one dimension of a weight, or None where it has size 1."""
    for factor in call.factors(weight):
        if factor.size(dim) > 1:
            factor = call.collapse(factor, [other for other in tracked(factor) if other != dim], "weight moved")
            return factor.reshape(-1)
    return None


def _dense(call: Call, inputs: list[Tensor], weight: Tensor, transposed: bool) -> Tensor | None:
    out_dim, in_dim = (1, 0) if transposed else (0, 1)
    columns = _axis_labels(call, weight, in_dim)
    if columns is not None:
        call.mark_consumer(columns)
        if not inputs:
            call.freeze(columns, "reads channels that always stay")
    for factor in inputs:
        if columns is None:
            call.freeze(factor, "read by a weight whose columns cannot be told apart")
        else:
            call.tie(factor.reshape(-1), columns, "reads channels that always stay")
    filters = _axis_labels(call, weight, out_dim)
    if filters is not None:
        call.mark_producer(filters)
    return filters


def _grouped(call: Call, inputs: list[Tensor], weight: Tensor, transposed: bool) -> Tensor | None:
    """Tie each group's inputs and outputs: a unit is a whole group, for a depthwise convolution one channel."""
    groups = call["groups"]
    rows = _axis_labels(call, weight, 0)
    columns = _axis_labels(call, weight, 1)
    if columns is not None:
        call.freeze(columns, "position inside of a group of a grouped convolution")
    if rows is None:
        call.freeze_all([call["input"]], "grouped convolution whose groups cannot be told apart")
        return None
    per_group = rows.reshape(groups, -1)
    first = per_group[:, :1]
    call.tie(first, per_group, "grouped convolution")
    call.count(groups, first)
    for factor in inputs:
        call.tie(factor.reshape(groups, -1), first, "grouped convolution of channels that always stay")
    if not inputs:
        call.freeze(first, "grouped convolution of channels that always stay, such as the network's input")
    if transposed:
        return first.expand(groups, weight.size(1)).reshape(-1)
    call.mark_producer(rows)
    return rows


def _dynamic(call: Call, inputs: list[Tensor], weight: Tensor, bias: Tensor | None) -> None:
    """Freeze everything: the weight is computed from data, or from parameters in a way that mixes its channels."""
    text = "convolved with a weight that is computed by the model's code"
    for factor in call.factors(weight):
        call.mark_producer(factor)
    for factor in inputs:
        call.freeze(factor, text)
    call.freeze_all([tensor for tensor in (weight, bias) if isinstance(tensor, torch.Tensor)], text)
