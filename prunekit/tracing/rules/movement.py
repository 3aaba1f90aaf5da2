"""Operations that only move data: they are executed on the labels themselves."""

from contextlib import suppress

import torch
from torch import Tensor

from prunekit.tracing._call import Call
from prunekit.tracing._factors import along, reshape, shrink, tracked
from prunekit.tracing._labels import LabelConflictError
from prunekit.tracing.rules._registry import rule, rule_where
from prunekit.tracing.rules.elementwise import agree

_ACROSS = "concatenated across its channels with a tensor whose channels always stay"
_EACH_DIMENSION_ALONE = frozenset({"permute", "transpose", "t", "flip", "roll"})
"""Operations that need not know the sizes of dimensions that a factor does not describe."""

_FORMATS = ("dtype", "layout", "device", "pin_memory", "memory_format")


@rule(
    "_unsafe_view",
    "reshape",
    "view",
    "flip",
    "roll",
    "rot90",
    "repeat",
    "pixel_shuffle",
    "pixel_unshuffle",
    "narrow_copy",
    "permute_copy",
    "view_copy",
    "expand_copy",
)
def move(call: Call) -> None:
    """Run the operation on each factor."""
    source = call.inputs[0]
    if call.operation._overloadname == "dtype":
        call.freeze_all([source], "reinterpreted as another data type")
        return
    results: list[list[Tensor]] = [[] for _ in call.outputs]
    for factor in call.factors(source):
        for moved, part in zip(results, _run(call, factor, source), strict=True):
            moved.append(shrink(part))
    _finish(call, source, results)


@rule("transpose_", "t_", "unsqueeze_", "squeeze_", "swapdims_")
def move_in_place(call: Call) -> None:
    """Run the operation on a copy of each factor."""
    source = call.inputs[0]
    if call.name == "squeeze_":
        call.freeze_all([source], "squeezed in place")
    numbers = list(call.arguments.values())[1:]
    moved = [getattr(factor, call.name.removesuffix("_"))(*numbers) for factor in call.factors(source)]
    call.set(call.out, moved)


@rule_where(lambda operation: operation.is_view)
def move_view(call: Call) -> None:
    """Run a view on each factor."""
    move(call)


@rule("channel_shuffle", "native_channel_shuffle")
def channel_shuffle(call: Call) -> None:
    """Move the channels of a shuffle, whose groups lose the same positions."""
    for factor in call.factors(call.inputs[0]):
        if factor.size(1) > 1:
            groups = factor.movedim(1, 0).reshape(call["groups"], -1)
            call.tie(groups[:1], groups, "one of several groups of a channel shuffle")
    move(call)


@rule("squeeze", "squeeze_copy")
def squeeze(call: Call) -> None:
    """Drop dimensions of size 1; a labelled dimension must not shrink to that."""
    source = call.inputs[0]
    dims = call.get("dim", list(range(source.dim())))
    dims = [dim % source.dim() for dim in ([dims] if isinstance(dims, int) else dims)] if source.dim() else []
    for factor in call.factors(source):
        for dim in set(dims) & set(tracked(factor)):
            if len(tracked(factor)) == 1:
                call.keep_two(factor)
            else:
                call.freeze(factor.movedim(dim, 0), "squeezed along a labelled dimension")
    move(call)


@rule("split", "split_with_sizes", "chunk", "unsafe_split", "unsafe_split_with_sizes", "unsafe_chunk", "split_copy")
def split(call: Call) -> None:
    """Move the labels of a split; equal pieces lose the same positions."""
    source, dim = call.inputs[0], call["dim"] % call.inputs[0].dim()
    results: list[list[Tensor]] = [[] for _ in call.outputs]
    equal = len({out.size(dim) for out in call.outputs}) == 1
    for factor in call.factors(source):
        pieces = _run(call, factor, source)
        if equal and factor.size(dim) > 1:
            pieces = [shrink(piece) for piece in pieces]
            call.explain(factor, "cut into equal pieces, which lose the same positions")
            with suppress(LabelConflictError):  # in a probe, which compares the pieces themselves: equal by chance
                for piece in pieces[1:]:
                    call.tie(pieces[0], piece, "one of several equal pieces of a split")
        for moved, piece in zip(results, pieces, strict=True):
            moved.append(shrink(piece))
    _finish(call, source, results)


def _run(call: Call, factor: Tensor, source: Tensor) -> list[Tensor]:
    if call.name in ("view", "_unsafe_view", "reshape", "view_copy"):
        return [reshape(factor, source.shape, call.outputs[0].shape)]
    arguments = {key: value for key, value in call.arguments.items() if key not in _FORMATS}
    alone = call.name in _EACH_DIMENSION_ALONE and arguments.get("dims") != []
    arguments[next(iter(arguments))] = factor if alone else factor.expand(source.shape)
    moved = call.operation(**arguments)
    return list(moved) if isinstance(moved, list | tuple) else [moved]


def _finish(call: Call, source: Tensor, results: list[list[Tensor]]) -> None:
    for out, moved in zip(call.outputs, results, strict=True):
        if call.is_weight(source):
            call.set_weight(out)
            moved = _first_of_each_dim(call, moved)
        call.set(out, moved)


def _first_of_each_dim(call: Call, factors: list[Tensor]) -> list[Tensor]:
    """Freeze all but the first of the dimensions of a parameter that a view merged, such as channels and kernel."""
    kept: dict[tuple[int, ...], Tensor] = {}
    for factor in factors:
        if kept.setdefault(tracked(factor), factor) is not factor:
            call.freeze(factor, "dimension of a parameter that is merged with another one")
    return list(kept.values())


@rule("view_as_real")
def view_as_real(call: Call) -> None:
    """Add the dimension of real and imaginary part, which carries no labels."""
    source = call.inputs[0]
    _finish(call, source, [[factor.unsqueeze(-1) for factor in call.factors(source)]])


@rule("view_as_complex", "_view_as_complex")
def view_as_complex(call: Call) -> None:
    """Drop the dimension of real and imaginary part."""
    source, kept = call.inputs[0], []
    for factor in call.factors(source):
        if factor.size(-1) > 1:
            call.freeze(factor, "real and imaginary part belong to different channels")
        else:
            kept.append(factor.squeeze(-1))
    _finish(call, source, [kept])


@rule("as_strided", "as_strided_", "as_strided_copy")
def as_strided(call: Call) -> None:
    """Freeze, unless nothing moves: strides are numbers of the memory layout, which compaction changes."""
    source = call.inputs[0]
    if _only_restates_layout(call, source):
        _finish(call, source, [list(call.factors(source))])
    else:
        call.freeze_all(call.inputs, "addressed by memory strides")


def _only_restates_layout(call: Call, source: Tensor) -> bool:
    """Return whether a tensor (batch, channels, 1, ...) keeps its shape, as adaptive pooling makes it channels last."""
    size, strides = list(call["size"]), list(call["stride"])
    same = all(list(factor.shape) == [1, *size[1:2], *[1] * (len(size) - 2)] for factor in call.factors(source))
    return same and list(source.shape) == size and set(size[2:]) == {1} and strides[:2] == [size[1], 1]


@rule("constant_pad_nd", "pad")
def pad(call: Call) -> None:
    """Pad; padded positions along a labelled dimension get labels of their own."""
    source, factors = call.inputs[0], []
    padding = [int(amount) for amount in call["pad"]]
    for factor in call.factors(source):
        amounts = list(padding)
        for index in range(len(padding)):
            dim = source.dim() - 1 - index // 2
            if factor.size(dim) == 1:
                amounts[index] = 0
        padded = torch.nn.functional.pad(factor, amounts, value=-1)
        holes = padded == -1
        padded[holes] = call.fresh(int(holes.sum()))
        factors.append(padded)
    call.set(call.out, factors)


@rule("cat", "concat", "_cat", sizeless=True)
def cat(call: Call) -> None:
    """Concatenate labels; positions of an operand without labels always stay."""
    parts = [tensor for tensor in call.inputs if not (tensor.dim() == 1 and tensor.numel() == 0)]
    if parts:
        _join(call, parts, call["dim"] % call.out.dim())


@rule("stack", sizeless=True)
def stack(call: Call) -> None:
    """Concatenate labels along a new dimension; every operand loses the same positions."""
    dim = call["dim"] % call.out.dim()
    factors = [[factor.unsqueeze(dim) for factor in call.factors(part)] for part in call.inputs]
    shapes = [(*part.shape[:dim], 1, *part.shape[dim:]) for part in call.inputs]
    call.set(call.out, agree(call, factors, shapes, _ACROSS))


def _join(call: Call, parts: list[Tensor], dim: int) -> None:
    """Join operands along ``dim``: factors across it must agree, those along it are concatenated."""
    inside = [[factor for factor in call.factors(part) if factor.size(dim) > 1] for part in parts]
    across = [[factor for factor in call.factors(part) if factor.size(dim) == 1] for part in parts]
    joined = agree(call, across, [part.shape for part in parts], _ACROSS)
    if any(inside):
        segments = [_segment(call, part, own, dim) for part, own in zip(parts, inside, strict=True)]
        common = [max(segment.size(axis) for segment in segments) for axis in range(parts[0].dim())]
        common[dim] = -1
        joined.append(torch.cat([segment.expand(common) for segment in segments], dim=dim))
    call.set(call.out, joined)


def _segment(call: Call, part: Tensor, factors: list[Tensor], dim: int) -> Tensor:
    """Return the one factor of an operand along ``dim``; without one its positions always stay."""
    if not factors:
        return along(call.fixed(part.size(dim)), dim, part.dim())
    for other in factors[1:]:
        call.tie(factors[0], other, "labelled twice along a concatenation")
    return max(factors, key=lambda factor: len(tracked(factor)))
