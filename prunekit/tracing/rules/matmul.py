"""Matrix products: with a parameter they make and read channels, between activations they end labels."""

from torch import Tensor

from prunekit.tracing._call import Call
from prunekit.tracing._factors import along, left_padded, tracked
from prunekit.tracing.rules._registry import rule
from prunekit.tracing.rules.elementwise import WITHOUT_LABELS, combine


@rule("mm", "bmm", "mv", "dot", "vdot", sizeless=True)
def matmul(call: Call) -> None:
    """Contract the last dimension of the first operand with the one but last of the second."""
    call.set(call.out, contract(call, *call.inputs[:2]))
    if call.out.dim() < 2 and all(map(call.is_weight, call.inputs[:2])):
        call.set_weight(call.out)


@rule("_trilinear")
def bilinear(call: Call) -> None:
    """Read two inputs by a weight of shape (made, first, second), as `torch.nn.Bilinear` does."""
    first, weight, second = call.inputs[:3]
    dims = tuple(tuple(call[name]) for name in ("expand1", "expand2", "expand3", "sumdim"))
    if dims != ((1, 3), (0,), (1, 2), (2, 3)) or not call.is_weight(weight):
        call.freeze_all(call.inputs, "product of three tensors")
        call.set(call.out, ())
        return
    made = [factor for factor in call.factors(weight) if factor.size(0) > 1]
    outside = []
    for dim, data in ((1, first), (2, second)):
        inside = [factor for factor in call.factors(data) if factor.size(-1) > 1]
        _read(call, [factor for factor in call.factors(weight) if factor.size(dim) > 1], dim, inside, data.dim() - 1)
        outside.append([factor for factor in call.factors(data) if factor.size(-1) == 1])
    for factor in made:
        call.mark_producer(factor)
    call.set(call.out, [along(factor.reshape(-1), call.out.dim() - 1, call.out.dim()) for factor in made])
    for factor in [factor for own in outside for factor in own]:
        call.freeze(factor, "labelled outside of the channels of a bilinear layer")


@rule("addmm", "baddbmm", "addmv", sizeless=True)
def add_matmul(call: Call) -> None:
    """Contract, then add the first operand."""
    added, left, right = call.inputs[:3]
    call.set(call.out, contract(call, left, right))
    call.set(call.out, combine(call, [call.out, added], call.out.dim()))


@rule("linear", sizeless=True)
def linear(call: Call) -> None:
    """Contract the last dimensions of input, shape (…, k), and weight, shape (n, k), then add the bias."""
    source, weight, bias = call["input"], call["weight"], call.get("bias")
    rest, filters = _contract(call, (source, weight), (source.dim() - 1, 1))
    call.set(call.out, [*rest, *(left_padded(factor.t(), call.out.dim()) for factor in filters)])
    if bias is not None:
        call.set(call.out, combine(call, [call.out, bias], call.out.dim()))


def contract(call: Call, left: Tensor, right: Tensor) -> list[Tensor]:
    """
    Return the factors of ``left @ right`` and settle the labels along the contracted dimension.

    Parameters
    ----------
    call : Call
        The operation.
    left : Tensor, shape (m, k), (batch, m, k) or (k,)
        First operand.
    right : Tensor, shape (k, n), (batch, k, n) or (k,)
        Second operand.

    Returns
    -------
    list of Tensor
        Factors of the result.
    """
    return _merge(call, _contract(call, (left, right), (left.dim() - 1, max(right.dim() - 2, 0))))


def _contract(call: Call, operands: tuple[Tensor, Tensor], dims: tuple[int, int]) -> list[list[Tensor]]:
    """Settle the labels along the dimensions that are summed over; return the factors that are left of each operand."""
    inside = [
        [factor for factor in call.factors(operand) if factor.size(dim) > 1]
        for operand, dim in zip(operands, dims, strict=True)
    ]
    outside = [
        [factor for factor in call.factors(operand) if factor.size(dim) == 1]
        for operand, dim in zip(operands, dims, strict=True)
    ]
    weights = [index for index in (0, 1) if call.is_weight(operands[index])]
    if len(weights) == 1:
        weight, data = weights[0], 1 - weights[0]
        _read(call, inside[weight], dims[weight], inside[data], dims[data])
        for factor in outside[weight]:
            call.mark_producer(factor)
    elif weights and operands[1].dim() == 1:
        _sum_parameters(call, inside, dims)
    else:
        kind = "parameters" if weights else "activations"
        for index in (0, 1):
            text = f"summed over in a product of {kind}"
            mixed = [call.mix(factor, [dims[index]], text) for factor in inside[index]]
            outside[index] += [factor for factor in mixed if factor is not None]
    return outside


def _read(call: Call, weight: list[Tensor], weight_dim: int, data: list[Tensor], data_dim: int) -> None:
    """Let the columns of a weight consume the channels of the data."""
    text = "reads channels that always stay"
    columns = []
    for factor in weight:
        others = [dim for dim in tracked(factor) if dim != weight_dim]
        columns.append(call.collapse(factor, others, "column of a reshaped weight").reshape(-1))
    for column in columns:
        call.mark_consumer(column)
        if not data:
            call.freeze(column, text)
    for factor in data:
        if not columns:
            call.freeze(factor, "read by a weight whose columns cannot be told apart")
        for column in columns:
            call.tie(factor.movedim(data_dim, -1), column, text)


def _sum_parameters(call: Call, inside: list[list[Tensor]], dims: tuple[int, int]) -> None:
    """Tie what is summed over in a product of parameters, as spectral norm takes: zeros there leave the sum exact."""
    labels = [factor.movedim(dim, -1).reshape(-1) for own, dim in zip(inside, dims, strict=True) for factor in own]
    for own in labels:
        call.mark_consumer(own)
        call.tie(labels[0], own, "summed over in a product of parameters")


def _merge(call: Call, outside: list[list[Tensor]]) -> list[Tensor]:
    """Join the factors of both operands; along the batch of ``bmm`` both must lose the same positions."""
    batched = call.name in ("bmm", "baddbmm")
    result: dict[tuple[int, ...], Tensor] = {}
    for own, others in ((outside[0], outside[1]), (outside[1], outside[0])):
        for factor in own:
            shaped = factor if factor.dim() == call.out.dim() else factor.squeeze(-1)
            dims = tracked(shaped)
            if batched and 0 in dims:
                partners = [other for other in others if other.size(0) > 1]
                if not partners:
                    call.freeze(factor, WITHOUT_LABELS)
                for other in partners:
                    call.tie(factor, other, WITHOUT_LABELS)
            result.setdefault(dims, shaped)
    return list(result.values())
