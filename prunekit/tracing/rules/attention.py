"""Fused attention: the unit is a head."""

from torch import Tensor

from prunekit.tracing._call import Call
from prunekit.tracing._factors import left_padded, tracked
from prunekit.tracing.rules._registry import rule

_STAY = "attention with a tensor whose heads always stay"


@rule(
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
    "_scaled_dot_product_attention_math_for_mps",
)
def attention(call: Call) -> None:
    """
    Collapse each head, shape of query, key and value (batch, heads, tokens, width).

    Keys and values may have fewer heads, each for a group of heads of the query: a unit is a whole group then.
    """
    query, *others = call["query"], call["key"], call["value"]
    mask = call.get("attn_mask", call.get("attn_bias"))
    found = _heads(call, query)
    for other in others:
        _tie_heads(call, found, _heads(call, other), other)
    if isinstance(mask, Tensor):
        masked: _Heads = {}
        for factor in (left_padded(factor, query.dim()) for factor in call.factors(mask)):
            if tracked(factor) == (1,):
                masked[1,] = factor
            else:
                call.freeze(factor, "mask of an attention")
        _tie_heads(call, found, masked, mask)
    call.set(call.out, found.values())


@rule("scaled_dot_product_attention")
def plain_attention(call: Call) -> None:
    """
    Follow ``softmax(query @ key.T) @ value``, shapes (batch, heads, tokens, width), without a mask.

    The width of queries and keys is summed over, and so are the tokens of keys and values; what a head of one of the
    three loses the others lose too.
    """
    parts = []
    for name, dims in (("query", (0, 3)), ("key", (0, 2, 3)), ("value", (0, 2))):
        mixed = [call.mix(factor, dims, "summed over in an attention") for factor in call.factors(call[name])]
        parts.append([factor for factor in mixed if factor is not None])
    for here, own in enumerate(parts):
        for there, others in enumerate(parts):
            partners = [other for other in others if other.size(1) > 1]
            for factor in own if here != there else ():
                if factor.size(1) > 1 and not partners:
                    call.freeze(factor, _STAY)
                for other in partners if factor.size(1) > 1 and here < there else ():
                    call.tie(factor, other, _STAY)
    query, _, value = parts
    heads = any(factor.size(1) > 1 for factor in value)
    call.set(call.out, [*value, *(factor for factor in query if factor.size(2) > 1 or not heads)])


_Heads = dict[tuple[int, ...], Tensor]


def _heads(call: Call, tensor: Tensor) -> _Heads:
    """Return what is left of the factors of a tensor when tokens and width are mixed, by the dimensions described."""
    mixed = [call.mix(factor, (2, 3), "width of a single attention head") for factor in call.factors(tensor)]
    return {tracked(factor): factor for factor in mixed if factor is not None}


def _tie_heads(call: Call, query: _Heads, other: _Heads, tensor: Tensor) -> None:
    """Tie heads of the query to those of another tensor, which may be shared by a group of them or by all."""
    size = tensor.size(-3) if tensor.dim() > 2 else 1
    for dims in list({**query, **other}):
        left, right = query.get(dims), other.get(dims)
        if left is not None and right is not None:
            if left.shape != right.shape:
                left, right = left.reshape(size, -1), right.reshape(size, 1)
            call.tie(left, right, _STAY)
        elif left is not None and 1 in dims and size > 1:
            call.freeze(left, _STAY)
        elif right is not None:
            call.freeze(right, _STAY)
