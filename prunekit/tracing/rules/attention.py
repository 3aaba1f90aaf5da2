"""Fused attention: the unit is a head."""

from typing import TYPE_CHECKING

from prunekit.tracing._call import Call
from prunekit.tracing._factors import tracked
from prunekit.tracing.rules._registry import rule

if TYPE_CHECKING:
    from torch import Tensor


@rule(
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
    "_scaled_dot_product_attention_math_for_mps",
)
def attention(call: Call) -> None:
    """Collapse each head, shape of query, key and value (batch, heads, tokens, width)."""
    result: dict[tuple[int, ...], Tensor] = {}
    for tensor in (call["query"], call["key"], call["value"]):
        for factor in call.factors(tensor):
            heads = call.mix(factor, (2, 3), "width of a single attention head")
            if heads is None:
                continue
            dims = tracked(heads)
            if dims in result:
                call.tie(result[dims], heads, "attention heads that always stay")
            result.setdefault(dims, heads)
    for tensor in call.inputs[:3]:
        if result and not call.factors(tensor):
            for factor in result.values():
                call.freeze(factor, "attention with a tensor whose heads always stay")
    call.set(call.out, result.values())
    for extra in call.inputs[3:]:
        call.freeze_all([extra], "mask of an attention")
