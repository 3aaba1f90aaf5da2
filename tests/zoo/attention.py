"""Attention: the unit is a head, or a channel of a layer between two others."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.zoo.case import Case


def tokens() -> Tensor:
    return torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1))


class Attention(nn.Module):
    """Self-attention whose number of heads is an attribute: 4 heads, each 2 rows of query, key and value."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.heads, self.fused = 4, fused
        self.query, self.key, self.value = (nn.Linear(8, 8) for _ in range(3))
        self.out = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            part(x).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        if self.fused:
            mixed = F.scaled_dot_product_attention(query, key, value)
        else:
            mixed = torch.softmax(query @ key.transpose(-2, -1) * query.size(-1) ** -0.5, -1) @ value
        return self.out(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """A transformer block before an embedding that stays: 4 heads + 12."""

    def __init__(self, fused: bool) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(8), Attention(fused)
        self.norm2, self.wide, self.narrow = nn.LayerNorm(8), nn.Linear(8, 12), nn.Linear(12, 8)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        x = x + self.narrow(F.gelu(self.wide(self.norm2(x))))
        return self.head(x.mean(1))


class Multihead(nn.Module):
    """torch's own attention to the input, and a layer that reads it: 4 heads + 8."""

    def __init__(self, *, attention: type[nn.MultiheadAttention] = nn.MultiheadAttention, **options: Any) -> None:
        super().__init__()
        self.attention = attention(8, 4, batch_first=True, **options)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.attend(x))

    def attend(self, x: Tensor, **options: Any) -> Tensor:
        return self.attention(x, x, x, need_weights=False, **options)[0]


class WithoutBatch(Multihead):
    def attend(self, x: Tensor, **options: Any) -> Tensor:
        return torch.stack([super(WithoutBatch, self).attend(sample) for sample in x])


class OtherKeys(Multihead):
    """Keys and values are other tensors than the query, of other widths: 6 channels of the keys besides."""

    def __init__(self) -> None:
        super().__init__(kdim=6, vdim=7)
        self.keys = nn.Linear(8, 6)

    def attend(self, x: Tensor, **options: Any) -> Tensor:
        return self.attention(x, self.keys(x), x[..., :7], need_weights=False)[0]


class Causal(Multihead):
    def attend(self, x: Tensor, **options: Any) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.size(1))
        return super().attend(x, attn_mask=mask, is_causal=True)


class MaskOfHeads(Multihead):
    """A mask for each head, made for as many heads as the layer has."""

    def attend(self, x: Tensor, **options: Any) -> Tensor:
        mask = torch.zeros(x.size(0) * self.attention.num_heads, x.size(1), x.size(1))
        return super().attend(x, attn_mask=mask)


class MaskOfFourHeads(Multihead):
    def attend(self, x: Tensor, **options: Any) -> Tensor:
        mask = x.new_ones(x.size(0) * 4, x.size(1), x.size(1)).tril() == 0
        return super().attend(x, attn_mask=mask)


class Weights(Multihead):
    """The weights of the attention are an output: 8 channels of the projection of what is attended to."""

    def __init__(self, *, average: bool) -> None:
        super().__init__()
        self.average = average

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        attended, weights = self.attention(x, x, x, average_attn_weights=self.average)
        return self.head(attended), weights


class OwnForward(nn.MultiheadAttention):
    """Attention that another library made of torch's."""

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return super().forward(*args, **kwargs)


def encoder_layer(**options: Any) -> nn.Module:
    return nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, **{"batch_first": True, **options})


def decoder_layer() -> nn.Module:
    return nn.TransformerDecoderLayer(8, 2, 12, dropout=0.0, batch_first=True)


def transformer() -> nn.Module:
    return nn.Transformer(8, 2, 1, 2, 12, dropout=0.0, batch_first=True)


def source_and_target() -> tuple[Tensor, Tensor]:
    return tokens(), tokens().flip(1)[:, :4]


INPUT = "such as the network's input"

CASES = [
    Case("attention_products", lambda: Block(fused=False), 4 + 12, {"attention.out": INPUT}, tokens),
    Case("attention_fused", lambda: Block(fused=True), 4 + 12, {"attention.out": INPUT}, tokens),
    Case("multihead", Multihead, 4 + 8, inputs=tokens),
    Case("multihead_without_bias", lambda: Multihead(bias=False), 4 + 8, inputs=tokens),
    Case("multihead_bias_kv", lambda: Multihead(add_bias_kv=True), 4 + 8, inputs=tokens),
    Case("multihead_zero", lambda: Multihead(add_zero_attn=True), 4 + 8, inputs=tokens),
    Case("multihead_without_batch", WithoutBatch, 4 + 8, inputs=tokens),
    Case("multihead_other_keys", OtherKeys, 4 + 8 + 6, inputs=tokens),
    Case("multihead_causal", Causal, 4 + 8, inputs=tokens),
    Case("multihead_mask_of_heads", MaskOfHeads, 4 + 8, inputs=tokens),
    Case("multihead_mask_of_four_heads", MaskOfFourHeads, 8, {"attention": INPUT}, tokens),
    Case("multihead_mean_weights", lambda: Weights(average=True), 8, {"attention": "mean over channels"}, tokens),
    Case("multihead_weights", lambda: Weights(average=False), 8, {"attention": "network output"}, tokens),
    Case(
        "multihead_subclass",
        lambda: Multihead(attention=OwnForward),
        8,
        {"attention": "the model's code fixes"},
        tokens,
    ),
    Case("encoder_layer", encoder_layer, 2 + 12, {"linear2": INPUT, "self_attn.out_proj": INPUT}, tokens),
    Case("encoder_layer_tokens_first", lambda: encoder_layer(batch_first=False), 2 + 12, {"linear2": INPUT}, tokens),
    Case("encoder_layer_norm_first", lambda: encoder_layer(norm_first=True), 2 + 12, {"linear2": INPUT}, tokens),
    Case("decoder_layer", decoder_layer, 2 + 2 + 12, {"linear2": INPUT}, source_and_target),
    Case("transformer", transformer, (2 + 12) + 2 * (2 + 2 + 12), {}, source_and_target),
]
