"""Attention: the unit is a head, or a channel of a layer between two others."""

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


def encoder_layer() -> nn.Module:
    return nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True)


CASES = [
    Case(
        "attention_products",
        lambda: Block(fused=False),
        4 + 12,
        {"attention.out": "such as the network's input"},
        tokens,
    ),
    Case(
        "attention_fused", lambda: Block(fused=True), 4 + 12, {"attention.out": "such as the network's input"}, tokens
    ),
    Case("encoder_layer", encoder_layer, 12, {"linear2": "such as the network's input"}, tokens),
]
