"""Transformers as people write them: the units are heads, groups of heads that share a key, and neurons of the MLP."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.zoo.attention import INPUT, tokens
from tests.zoo.case import Case, image


class Mlp(nn.Module):
    """12 neurons."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Linear(width, 12), nn.Linear(12, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.narrow(F.gelu(self.wide(x)))


class PreNorm(nn.Module):
    """A block around an attention, on an embedding that stays: the attention's units + 12."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.norm1, self.attention, self.norm2, self.mlp = nn.LayerNorm(8), attention, nn.LayerNorm(8), Mlp()
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return self.head((x + self.mlp(self.norm2(x))).mean(1))


class Separate(nn.Module):
    """Query, key and value of 4 heads of width 2; a subclass attends."""

    heads = 4

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(8, 8) for _ in range(4))
        self.num_heads, self.head_dim = self.heads, 8 // self.heads

    def forward(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class EinsumAttention(Separate):
    """Heads and positions by the letters of an einsum: 4 heads."""

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            part(x).unflatten(-1, (self.num_heads, self.head_dim)) for part in (self.query, self.key, self.value)
        )
        scores = torch.einsum("bqhd,bkhd->bhqk", query, key) * self.head_dim**-0.5
        return self.out(torch.einsum("bhqk,bkhd->bqhd", scores.softmax(-1), value).flatten(2))


class EinsumWeights(nn.Module):
    """Weights of shape (embedding, heads, width) without layers around them: 4 heads."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Parameter(torch.randn(8, 4, 2)) for _ in range(3))
        self.out = nn.Parameter(torch.randn(4, 2, 8))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (torch.einsum("bte,ehd->bhtd", x, part) for part in (self.query, self.key, self.value))
        scores = torch.einsum("bhqd,bhkd->bhqk", query, key).softmax(-1)
        return torch.einsum("bhqd,hde->bqe", scores @ value, self.out)


class WidthInCode(Separate):
    """The width of a head is a number in the code, so heads may go: 4."""

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        query, key, value = (
            part(x).view(batch, length, -1, 2).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        mixed = (query @ key.transpose(-2, -1) / 2**0.5).softmax(-1) @ value
        return self.out(mixed.transpose(1, 2).reshape(batch, length, -1))


class HeadsInCode(Separate):
    """The number of heads is a number in the code, so no head may go."""

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        query, key, value = (
            part(x).view(batch, length, 4, 2).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        return self.out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(batch, length, 8))


class WidthByDivision(Separate):
    """The number of heads stands in an attribute, the width is computed of both: 4 heads."""

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        query, key, value = (part(x) for part in (self.query, self.key, self.value))
        width = query.size(-1) // self.num_heads
        query, key, value = (
            part.view(batch, length, self.num_heads, width).transpose(1, 2) for part in (query, key, value)
        )
        return self.out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(batch, length, -1))


class SingleHead(Separate):
    """One head as wide as the embedding: 8 channels of the value; query and key are summed over."""

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = self.query(x), self.key(x), self.value(x)
        return self.out(F.softmax(torch.bmm(query, key.mT) * 8**-0.5, -1) @ value)


class FusedProjection(nn.Module):
    """One layer makes query, key and value, as in timm: 4 heads."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.head_dim = 4, 2
        self.scale = self.head_dim**-0.5
        self.qkv, self.proj = nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        qkv = self.qkv(x).reshape(batch, length, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        scores = (query * self.scale @ key.transpose(-2, -1)).softmax(-1)
        return self.proj((scores @ value).transpose(1, 2).reshape(batch, length, self.num_heads * self.head_dim))


class FusedOfInput(FusedProjection):
    """The sizes are those of the input, so the projection keeps its 8 channels."""

    def forward(self, x: Tensor) -> Tensor:
        batch, length, channels = x.shape
        qkv = self.qkv(x).reshape(batch, length, 3, self.num_heads, channels // self.num_heads).permute(2, 0, 3, 1, 4)
        query, key, value = qkv[0], qkv[1], qkv[2]
        scores = (query * self.scale @ key.transpose(-2, -1)).softmax(-1)
        return self.proj((scores @ value).transpose(1, 2).reshape(batch, length, channels))


class FusedByChunk(FusedProjection):
    """Query, key and value as thirds of one layer: 4 heads."""

    def forward(self, x: Tensor) -> Tensor:
        parts = (part.unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        return self.proj(F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2))


class Conv1D(nn.Module):
    """GPT-2's linear layer, whose weight is transposed."""

    def __init__(self, outputs: int, inputs: int) -> None:
        super().__init__()
        self.nf, self.nx = outputs, inputs
        self.weight, self.bias = nn.Parameter(torch.randn(inputs, outputs)), nn.Parameter(torch.zeros(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight).view(*x.shape[:-1], self.nf)


class GPT2Attention(nn.Module):
    """Causal, query, key and value split by the width of the embedding, which repairs to that of the heads: 4."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.split_size = 4, 2, 8
        self.c_attn, self.c_proj = Conv1D(24, 8), Conv1D(8, 8)
        self.register_buffer("bias", torch.tril(torch.ones(16, 16, dtype=torch.bool)).view(1, 1, 16, 16))

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            part.view(*part.shape[:-1], -1, self.head_dim).transpose(1, 2)
            for part in self.c_attn(x).split(self.split_size, dim=2)
        )
        scores = query @ key.transpose(-1, -2) / torch.full([], value.size(-1) ** 0.5, dtype=query.dtype)
        length = x.size(1)
        mask = self.bias[:, :, :length, :length]
        scores = torch.where(mask, scores, torch.finfo(scores.dtype).min).softmax(-1)
        mixed = (scores @ value).transpose(1, 2)
        return self.c_proj(mixed.reshape(*mixed.shape[:-2], -1))


class GPT2(nn.Module):
    """Token and position embeddings, a block, tied output weights: 4 heads + 12 neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(20, 8), nn.Embedding(16, 8)
        self.ln_1, self.attn, self.ln_2, self.ln_f = nn.LayerNorm(8), GPT2Attention(), nn.LayerNorm(8), nn.LayerNorm(8)
        self.c_fc, self.c_proj = Conv1D(12, 8), Conv1D(8, 12)
        self.lm_head = nn.Linear(8, 20, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, words: Tensor) -> Tensor:
        x = self.wte(words) + self.wpe(torch.arange(words.size(1)))
        x = x + self.attn(self.ln_1(x))
        x = x + self.c_proj(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))
        return self.lm_head(self.ln_f(x))


def rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], -1) * sin


class GroupedQueries(nn.Module):
    """Llama's: 4 query heads of width 4, of which two share a key and a value; a unit is such a group."""

    def __init__(self, norm: bool = False) -> None:
        super().__init__()
        self.head_dim = 4
        self.num_key_value_groups = 2
        self.q_proj, self.o_proj = nn.Linear(8, 16, bias=False), nn.Linear(16, 8, bias=False)
        self.k_proj, self.v_proj = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False)
        self.q_norm, self.k_norm = (nn.RMSNorm(4) if norm else nn.Identity() for _ in range(2))
        self.register_buffer("inv_freq", 1.0 / 100.0 ** (torch.arange(0, 4, 2) / 4), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, _ = x.shape
        query = self.q_norm(self.q_proj(x).view(batch, length, -1, self.head_dim)).transpose(1, 2)
        key = self.k_norm(self.k_proj(x).view(batch, length, -1, self.head_dim)).transpose(1, 2)
        value = self.v_proj(x).view(batch, length, -1, self.head_dim).transpose(1, 2)
        angles = torch.outer(torch.arange(length).to(self.inv_freq.dtype), self.inv_freq)
        angles = torch.cat([angles, angles], -1)
        query, key = (rotated(part, angles.cos(), angles.sin()) for part in (query, key))
        return self.attend(query, self.repeated(key), self.repeated(value))

    def repeated(self, x: Tensor) -> Tensor:
        batch, heads, length, width = x.shape
        x = x[:, :, None].expand(batch, heads, self.num_key_value_groups, length, width)
        return x.reshape(batch, heads * self.num_key_value_groups, length, width)

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))


class GroupedByInterleave(GroupedQueries):
    def repeated(self, x: Tensor) -> Tensor:
        return x.repeat_interleave(self.num_key_value_groups, dim=1)


class GroupedByTorch(GroupedQueries):
    """The fused attention repeats keys itself."""

    def repeated(self, x: Tensor) -> Tensor:
        return x

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        mixed = F.scaled_dot_product_attention(query, key, value, enable_gqa=True)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))


class MultiQuery(GroupedQueries):
    """All 4 query heads share one key and value, whose head therefore stays: 4 query heads."""

    def __init__(self) -> None:
        super().__init__()
        self.k_proj, self.v_proj = nn.Linear(8, 4, bias=False), nn.Linear(8, 4, bias=False)

    def repeated(self, x: Tensor) -> Tensor:
        return x

    def attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        mixed = (query @ key.mT * self.head_dim**-0.5).softmax(-1) @ value
        return self.o_proj(mixed.transpose(1, 2).flatten(2))


class SwiGLU(nn.Module):
    """Llama's MLP: 12 pairs of neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.gate_proj, self.up_proj = nn.Linear(8, 12, bias=False), nn.Linear(8, 12, bias=False)
        self.down_proj = nn.Linear(12, 8, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class PackedSwiGLU(nn.Module):
    """The same with one layer for gate and values: 12 pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.gate_up, self.down = nn.Linear(8, 24), nn.Linear(12, 8)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, -1)
        return self.down(F.silu(gate) * up)


class Llama(nn.Module):
    """An embedding that is an input, RMS norms, a block: 2 groups + 12."""

    def __init__(self) -> None:
        super().__init__()
        self.norm1, self.attention, self.norm2, self.mlp = nn.RMSNorm(8), GroupedQueries(), nn.RMSNorm(8), SwiGLU()
        self.head = nn.Linear(8, 5, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return self.head(x + self.mlp(self.norm2(x)))


class WindowAttention(nn.Module):
    """Swin's attention in windows of 2x2 with a bias for each head and relative position, as torchvision does it."""

    def __init__(self, shift: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim, self.shift = 4, 2, shift
        self.qkv, self.proj = nn.Linear(8, 24), nn.Linear(8, 8)
        self.table = nn.Parameter(torch.randn(9, 4))
        rows = torch.stack(torch.meshgrid(torch.arange(2), torch.arange(2), indexing="ij")).flatten(1)
        offsets = (rows[:, :, None] - rows[:, None, :] + 1).permute(1, 2, 0)
        self.register_buffer("index", (offsets[..., 0] * 3 + offsets[..., 1]).flatten())

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        if self.shift:
            x = torch.roll(x, (-self.shift, -self.shift), (1, 2))
        windows = (
            x.view(batch, height // 2, 2, width // 2, 2, channels).permute(0, 1, 3, 2, 4, 5).reshape(-1, 4, channels)
        )
        qkv = self.qkv(windows).reshape(-1, 4, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        query, key, value = qkv[0], qkv[1], qkv[2]
        scores = (query * self.head_dim**-0.5) @ key.transpose(-2, -1)
        scores = scores + self.table[self.index].view(4, 4, -1).permute(2, 0, 1).unsqueeze(0)
        if self.shift:
            mask = self.mask(x, height, width)
            scores = scores.view(batch, -1, self.num_heads, 4, 4) + mask[None, :, None]
            scores = scores.view(-1, self.num_heads, 4, 4)
        x = self.proj((scores.softmax(-1) @ value).transpose(1, 2).flatten(2))
        x = x.view(batch, height // 2, width // 2, 2, 2, -1).permute(0, 1, 3, 2, 4, 5).reshape(batch, height, width, -1)
        return torch.roll(x, (self.shift, self.shift), (1, 2)) if self.shift else x

    def mask(self, x: Tensor, height: int, width: int) -> Tensor:
        """Return what keeps positions apart that only the shift has brought together."""
        regions = x.new_zeros(height, width)
        for number, rows in enumerate((slice(0, -2), slice(-2, -1), slice(-1, None))):
            for other, columns in enumerate((slice(0, -2), slice(-2, -1), slice(-1, None))):
                regions[rows, columns] = 3 * number + other
        regions = regions.view(height // 2, 2, width // 2, 2).permute(0, 2, 1, 3).reshape(-1, 4)
        apart = regions[:, None, :] - regions[:, :, None]
        return apart.masked_fill(apart != 0, -100.0).masked_fill(apart == 0, 0.0)


class Swin(nn.Module):
    """Two blocks, one of them shifted, on patches that stay: 4 + 12 each."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(8) for _ in range(4)])
        self.attentions = nn.ModuleList([WindowAttention(0), WindowAttention(1)])
        self.mlps = nn.ModuleList([Mlp(), Mlp()])
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        for number, (attention, mlp) in enumerate(zip(self.attentions, self.mlps, strict=True)):
            x = x + attention(self.norms[2 * number](x))
            x = x + mlp(self.norms[2 * number + 1](x))
        return self.head(x.mean((1, 2)))


class PatchMerging(nn.Module):
    """Swin's way to half the resolution: four neighbours become one position, 6 channels each, and 5 come out."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.reduce, self.head = nn.Conv2d(3, 6, 1), nn.Linear(24, 5, bias=False), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.embed(x)).permute(0, 2, 3, 1)
        x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1)
        return self.head(F.gelu(self.reduce(x)).mean((1, 2)))


class CrossAttention(nn.Module):
    """Queries of one input, keys and values of another that a layer reads first: 6 + 4 heads + 12."""

    def __init__(self) -> None:
        super().__init__()
        self.context, self.num_heads = nn.Linear(5, 6), 4
        self.to_q, self.to_kv, self.to_out = nn.Linear(8, 8), nn.Linear(6, 16), nn.Linear(8, 8)
        self.mlp, self.head = Mlp(), nn.Linear(8, 3)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        query, (key, value) = self.to_q(x), self.to_kv(torch.tanh(self.context(context))).chunk(2, -1)
        query, key, value = (part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in (query, key, value))
        mixed = F.scaled_dot_product_attention(query, key, value)
        x = x + self.to_out(mixed.transpose(1, 2).flatten(2))
        return self.head(x + self.mlp(x))


class VisionTransformer(nn.Module):
    """Patches, class token, position embedding, a block; the embedding has layer norms: 4 + 12."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, 8))
        self.positions = nn.Parameter(torch.zeros(1, 5, 8))
        self.block, self.norm, self.head = nn.Module(), nn.LayerNorm(8), nn.Linear(8, 3)
        self.norm1, self.norm2, self.attention, self.mlp = nn.LayerNorm(8), nn.LayerNorm(8), FusedProjection(), Mlp()

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.size(0), -1, -1), x], 1) + self.positions
        x = x + self.attention(self.norm1(x))
        x = x + self.mlp(self.norm2(x))
        return self.head(self.norm(x)[:, 0])


class LinearAttention(Separate):
    """No softmax: keys and values are multiplied first. 4 heads."""

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (
            part(x).unflatten(-1, (-1, self.head_dim)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        query, key = F.elu(query) + 1, F.elu(key) + 1
        memory = key.mT @ value
        total = query @ key.sum(2).unsqueeze(-1)
        return self.out((query @ memory / (total + 1e-6)).transpose(1, 2).flatten(2))


class ChannelTransposed(nn.Module):
    """XCiT's and Restormer's: attention between the channels of a head, with a temperature for each of 4 heads."""

    def __init__(self) -> None:
        super().__init__()
        self.num_heads = 4
        self.temperature = nn.Parameter(torch.ones(4, 1, 1))
        self.qkv, self.depthwise, self.out = (
            nn.Conv2d(3, 24, 1),
            nn.Conv2d(24, 24, 3, padding=1, groups=24),
            nn.Conv2d(8, 4, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        query, key, value = (
            part.reshape(x.size(0), self.num_heads, -1, height * width)
            for part in self.depthwise(self.qkv(x)).chunk(3, 1)
        )
        query, key = F.normalize(query, dim=-1), F.normalize(key, dim=-1)
        mixed = (query @ key.transpose(-2, -1) * self.temperature).softmax(-1) @ value
        return self.out(mixed.reshape(x.size(0), -1, height, width)).mean((2, 3))


def words() -> Tensor:
    return torch.arange(14).reshape(2, 7)


def context() -> tuple[Tensor, Tensor]:
    return tokens(), tokens()[:, :3, :5]


def grid() -> Tensor:
    return image(4, 8).permute(0, 2, 3, 1).repeat(1, 1, 1, 2)


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=0.0, batch_first=True, activation="gelu")
    return nn.Sequential(nn.TransformerEncoder(layer, 2, nn.LayerNorm(8), enable_nested_tensor=False), nn.Linear(8, 3))


def block(kind: type[nn.Module]) -> PreNorm:
    return PreNorm(kind())


FIXED = "transformers.py:"

CASES = [
    Case("attention_einsum", lambda: block(EinsumAttention), 4 + 12, {"mlp.narrow": INPUT}, tokens),
    Case("attention_einsum_weights", lambda: block(EinsumWeights), 4 + 12, inputs=tokens),
    Case("attention_width_in_code", lambda: block(WidthInCode), 4 + 12, inputs=tokens),
    Case("attention_heads_in_code", lambda: block(HeadsInCode), 12, {"attention.query": FIXED}, tokens),
    Case("attention_width_by_division", lambda: block(WidthByDivision), 4 + 12, inputs=tokens),
    Case("attention_single_head", lambda: block(SingleHead), 8 + 12, {"attention.query": "summed over"}, tokens),
    Case("attention_fused_projection", lambda: block(FusedProjection), 4 + 12, inputs=tokens),
    Case("attention_fused_of_input", lambda: block(FusedOfInput), 12, {"attention.qkv": FIXED}, tokens),
    Case("attention_fused_by_chunk", lambda: block(FusedByChunk), 4 + 12, inputs=tokens),
    Case("attention_linear", lambda: block(LinearAttention), 4 + 12, inputs=tokens),
    Case("attention_of_channels", ChannelTransposed, 4, {"out": "network output"}),
    Case("gpt2", GPT2, 4 + 12, {}, words),
    Case("grouped_queries", lambda: block(GroupedQueries), 2 + 12, inputs=tokens),
    Case("grouped_queries_normalised", lambda: block(lambda: GroupedQueries(norm=True)), 2 + 12, inputs=tokens),
    Case("grouped_queries_interleaved", lambda: block(GroupedByInterleave), 2 + 12, inputs=tokens),
    Case("grouped_queries_by_torch", lambda: block(GroupedByTorch), 2 + 12, inputs=tokens),
    Case(
        "multi_query",
        lambda: block(MultiQuery),
        4 + 12,
        inputs=tokens,
        short="an expanded dimension that a view merges with the batch meets the heads of the query",
    ),
    Case("packed_swiglu", lambda: nn.Sequential(PackedSwiGLU(), nn.Linear(8, 3)), 8 + 12, inputs=tokens),
    Case("llama", Llama, 2 + 12, {"mlp.down_proj": INPUT}, tokens),
    Case("swin", Swin, 2 * (4 + 12), {}, grid),
    Case("patch_merging", PatchMerging, 6 + 5),
    Case("cross_attention", CrossAttention, 6 + 4 + 12, {}, context),
    Case("vision_transformer", VisionTransformer, 4 + 12),
    Case("transformer_encoder", encoder, 2 * (2 + 12), {}, tokens),
]
