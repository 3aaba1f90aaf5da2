"""Operations on each position alone: they tie the channels of what they combine."""

from collections.abc import Sequence

from torch import Tensor

from prunekit.tracing._call import Call
from prunekit.tracing._factors import left_padded, tracked
from prunekit.tracing.rules._registry import is_pointwise, rule, rule_where

WITHOUT_LABELS = "combined with a tensor whose channels always stay, such as the network's input"

_KEEP_ZEROS = frozenset(
    [
        "add",
        "sub",
        "mul",
        "neg",
        "abs",
        "clone",
        "detach",
        "alias",
        "_to_copy",
        "lift_fresh",
        "relu",
        "tanh",
        "sign",
        "sgn",
        "_conj",
        "_neg_view",
        "conj_physical",
        "_to_dense",
        "contiguous",
    ]
)


def combine(call: Call, operands: Sequence[Tensor], ndim: int) -> list[Tensor]:
    """
    Tie the labels of operands that are broadcast against each other.

    Parameters
    ----------
    call : Call
        The operation.
    operands : sequence of Tensor
        Tensors that broadcasting aligns at their last dimensions.
    ndim : int
        Number of dimensions of the result.

    Returns
    -------
    list of Tensor
        Factors of the result, one for each set of tracked dimensions.

    Notes
    -----
    After compaction the operands must still broadcast, so along every dimension that two of them span, the same
    positions must stay. A factor that meets a spanning operand without labels there is collapsed, or frozen and dropped
    where nothing else tells its units apart.
    """
    if len(operands) == 1 and operands[0].dim() == ndim:
        return list(call.factors(operands[0]))
    shapes = [(1,) * (ndim - tensor.dim()) + spanned_shape(tensor) for tensor in operands]
    factors = [[left_padded(factor, ndim) for factor in call.factors(tensor)] for tensor in operands]
    return agree(call, factors, shapes, WITHOUT_LABELS)


def spanned_shape(tensor: Tensor) -> tuple[int, ...]:
    """Return the shape of a tensor with 1 where it is expanded: such a dimension adapts to what it meets."""
    strides = tensor.stride()
    return tuple(1 if stride == 0 else size for size, stride in zip(tensor.shape, strides, strict=True))


def agree(call: Call, factors: Sequence[Sequence[Tensor]], shapes: Sequence[Sequence[int]], text: str) -> list[Tensor]:
    """
    Tie the labels of tensors that must lose the same positions along every dimension that two of them span.

    Parameters
    ----------
    call : Call
        The operation.
    factors : sequence of sequences of Tensor
        Factors of each tensor, all with the same number of dimensions.
    shapes : sequence of sequences of int
        Shape of each tensor.
    text : str
        Reason for labels that meet a tensor without labels there.

    Returns
    -------
    list of Tensor
        One factor for each set of tracked dimensions.
    """
    result: dict[tuple[int, ...], Tensor] = {}
    for here, own in enumerate(factors):
        for factor in own:
            left: Tensor | None = factor
            for there, shape in enumerate(shapes):
                spanned = [] if left is None or there == here else [dim for dim in tracked(left) if shape[dim] > 1]
                if left is None or not spanned:
                    continue
                partners = [other for other in factors[there] if set(tracked(other)) & set(tracked(left))]
                if not partners and len(spanned) == len(tracked(left)):
                    call.freeze(left, text)
                    left = None
                elif not partners:
                    left = call.collapse(left, spanned, text)
                else:
                    for other in partners:
                        if _is_across(call, left, other, shape):
                            call.tie_across(left, other, text)
                        elif there > here and not _is_across(call, other, left, shapes[here]):
                            call.tie(left, other, text)
                    if any(_is_across(call, other, left, shapes[here]) for other in partners):
                        left = None  # the other one describes the result
            if left is not None:
                result.setdefault(tracked(left), left)
    return list(result.values())


def _is_across(call: Call, wide: Tensor, narrow: Tensor, shape: Sequence[int]) -> bool:
    """
    Return whether a factor describes more dimensions than another, whose tensor has this shape and lacks them.

    One unit alone counts as well: it is what a probe has left of a dimension that the dense run told apart.
    """
    if call.is_one_unit(wide):
        return not call.is_one_unit(narrow)
    more = set(tracked(wide)) - set(tracked(narrow))
    return set(tracked(narrow)) < set(tracked(wide)) and all(shape[dim] == 1 for dim in more)


@rule(
    "copy_",
    "_prelu_kernel",
    "native_dropout",
    "dropout",
    "_to_copy",
    "clone",
    "detach",
    "detach_",
    "alias",
    "lift_fresh",
    "lift_fresh_copy",
    "hardswish",
    "hardswish_",
    "leaky_relu",  # without a tag before torch 2.7
    "leaky_relu_",
    "rrelu_with_noise",
    "rrelu_with_noise_",
    "rrelu_with_noise_functional",
    "bernoulli",
    "bernoulli_",
    "zeros_like",
    "ones_like",
    "empty_like",
    "full_like",
    "rand_like",
    "randn_like",
    "randint_like",
    "log_sigmoid_forward",
    "masked_fill",
    "masked_fill_",
    "fill_",
    "zero_",
    "normal_",
    "uniform_",
    "exponential_",
    "random_",
    "_conj",
    "_neg_view",
    "nan_to_num",
    "where",
    "_fused_dropout",
    "conj_physical",
    "to_dense",
    "_log_softmax_backward_data",
    "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams",
    "special_entr",
    "heaviside",
)
def elementwise(call: Call) -> None:
    """Combine the tensors of a pointwise operation."""
    out = call.out
    operands = list({id(tensor): tensor for tensor in call.inputs if tensor.numel() > 1}.values())
    factors = combine(call, operands, out.dim())
    weight = _stays_weight(call, operands)
    for result in call.outputs:
        if result.shape == out.shape:
            call.set(result, factors)
    if weight:
        call.set_weight(out)


rule_where(is_pointwise)(elementwise)


def _stays_weight(call: Call, operands: Sequence[Tensor]) -> bool:
    """Return whether the result is zero wherever the parameters are; if so tie the roles of added parameters."""
    name = call.name.removesuffix("_")
    if name == "div":
        return bool(operands) and call.is_weight(operands[0]) and not any(map(call.is_weight, operands[1:]))
    if name not in _KEEP_ZEROS or not operands or not all(map(call.is_weight, operands)):
        return False
    if name in ("add", "sub") and not len(operands) == len(call.inputs) == 2:
        return False  # a number, or one position for all, was added
    first = operands[0]
    if any(tensor.shape != first.shape for tensor in operands):
        return False
    for other in operands[1:]:
        for left, right in zip(call.factors(first), call.factors(other), strict=False):
            if left.shape == right.shape:
                call.tie_roles(left, right)
    return True
