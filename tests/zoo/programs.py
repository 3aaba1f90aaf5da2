"""Networks that are drawn at random: short programs of operations over a list of images."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

Step = tuple[str, int, int, int]
"""Name of the operation, which tensors it takes (counted from the newest) and a free number."""

MakesLayers = Callable[["Program", Tensor, int], nn.Module]


class Program(nn.Module):
    """
    Run steps; every step takes tensors of a list and appends one.

    A step that does not fit the sizes of its tensors is left out, so any list of steps is a network. At the end every
    tensor that nothing read is pooled and read by one linear layer.
    """

    def __init__(self, steps: list[Step]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict()
        self.steps: list[Step] = []
        self.building = True
        values = [F.relu(self._layer("stem", lambda: nn.Conv2d(3, 8, 3, padding=1))(torch.randn(2, 3, 4, 4)))]
        for step in steps:
            result = self._take_step(values, step, str(len(self.steps)))
            if result is not None:
                self.steps.append(step)
                values.append(result)
        width = sum(value.size(1) for value in values[-2:])
        self.head = nn.Linear(width, 3)
        self.building = False

    def forward(self, x: Tensor) -> Tensor:
        values = [F.relu(self.layers["stem"](x))]
        for number, step in enumerate(self.steps):
            values.append(self._take_step(values, step, str(number)))
        return self.head(torch.cat([value.mean((2, 3)) for value in values[-2:]], 1))

    def _layer(self, name: str, make: Callable[[], nn.Module]) -> nn.Module:
        if self.building:
            self.layers[name] = make()
        return self.layers[name]

    def _take_step(self, values: list[Tensor], step: Step, name: str) -> Any:
        kind, first, second, number = step
        x, y = values[-1 - first % len(values)], values[-1 - second % len(values)]
        return OPERATIONS[kind](self, x, y, number, name)


def _conv(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor:
    return net._layer(name, lambda: nn.Conv2d(x.size(1), 2 + number % 7, 1 + 2 * (number % 2), padding=number % 2))(x)


def _grouped(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    if net.building and x.size(1) % 2:
        return None
    return net._layer(name, lambda: nn.Conv2d(x.size(1), 2 * (1 + number % 3), 1, groups=2))(x)


def _depthwise(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor:
    return net._layer(name, lambda: nn.Conv2d(x.size(1), x.size(1), 3, padding=1, groups=x.size(1)))(x)


def _transposed(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor:
    return net._layer(name, lambda: nn.ConvTranspose2d(x.size(1), 2 + number % 5, 1))(x)


def _batch_norm(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor:
    return net._layer(name, lambda: nn.BatchNorm2d(x.size(1), affine=number % 2 == 0))(x)


def _group_norm(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    if net.building and x.size(1) % 2:
        return None
    return net._layer(name, lambda: nn.GroupNorm(2, x.size(1), affine=number % 2 == 0))(x)


def _linear_last(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor:
    return net._layer(name, lambda: nn.Linear(x.size(1), 2 + number % 5))(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def _add(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    return _if(net, x.shape == y.shape, lambda: x + 0.5 * y)


def _multiply(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    return _if(net, x.shape == y.shape, lambda: x * torch.sigmoid(y))


def _gate(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    return _if(net, x.size(1) == y.size(1), lambda: x * torch.tanh(y.mean((2, 3), keepdim=True)))


def _cat(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    return _if(net, x.shape[2:] == y.shape[2:] and x.size(1) + y.size(1) < 40, lambda: torch.cat([x, y], 1))


def _chunk(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    return _if(net, x.size(1) % 2 == 0, lambda: x.chunk(2, 1)[number % 2])


def _swap(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    return _if(net, x.size(1) % 2 == 0, lambda: torch.cat(x.chunk(2, 1)[::-1], 1))


def _shuffle(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    return _if(net, x.size(1) % 2 == 0, lambda: x.view(x.size(0), 2, -1, *x.shape[2:]).transpose(1, 2).flatten(1, 2))


def _glu(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    return _if(net, x.size(1) % 2 == 0, lambda: F.glu(x, 1))


def _unshuffle(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    return _if(net, x.size(2) % 2 == 0 and x.size(1) < 9, lambda: F.pixel_unshuffle(x, 2))


def _pixel_shuffle(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    return _if(net, x.size(1) % 4 == 0 and x.size(2) < 8, lambda: F.pixel_shuffle(x, 2))


def _slice(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    return _if(net, x.size(1) > 3, lambda: x[:, number % 2 : x.size(1) - number % 3])


def _normalise(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor:
    return torch.softmax(x, 1) if number % 2 else x / (1 + x.abs().sum(1, keepdim=True))


def _channel_products(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    """Attention between channels or between positions, with heads where the sizes allow it."""
    batch, channels, height, width = x.shape
    if net.building and (channels % 2 or channels < 4):
        return None
    heads = x.flatten(2).view(batch, 2, channels // 2, -1)
    if number % 2:
        return (torch.softmax(heads @ heads.transpose(2, 3), -1) @ heads).reshape(batch, channels, height, width)
    mixed = torch.softmax(heads.transpose(2, 3) @ heads, -1) @ heads.transpose(2, 3)
    return mixed.transpose(2, 3).reshape(batch, channels, height, width)


def _stack(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    return _if(net, x.shape == y.shape, lambda: torch.stack([x, y], number % 2 + 1).flatten(1, 2))


def _flip(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor:
    return x.flip(1) if number % 2 else x.roll(1 + number % 3, number % 4)


def _pad(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor:
    return F.pad(x, (0, 0, 0, 0, number % 2, 1), value=0.5)


def _interleave(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    def write() -> Tensor:
        out = x.new_zeros(x.size(0), x.size(1) + y.size(1), *x.shape[2:])
        out[:, : x.size(1)] = x
        out[:, x.size(1) :] += y
        return out

    return _if(net, x.shape[2:] == y.shape[2:] and x.size(1) + y.size(1) < 40, write)


def _write(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    """In-place operations on slices and views, which other tensors see."""
    if net.building and (x.shape != y.shape or x.size(1) < 4):
        return None
    x = x.clone(memory_format=torch.contiguous_format)
    if number % 4 == 0:
        x[:, : x.size(1) // 2] *= 0.5
    elif number % 4 == 1:
        x.view(x.size(0), x.size(1), -1).add_(y.flatten(2))
    elif number % 4 == 2:
        half = x.size(1) // 2
        x[:, half : 2 * half] += x[:, :half].tanh()
    else:
        x[..., 0] = y[..., 1]
    return x


def _swap_axes(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    """Rows become channels for a moment, so channels lie along a spatial dimension."""
    layer = net._layer(name, lambda: nn.Conv2d(x.size(2), x.size(2), 1))
    return layer(x.transpose(1, 2)).transpose(1, 2)


def _squeeze_excite(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor:
    layer = net._layer(name, lambda: nn.Sequential(nn.Linear(x.size(1), 2), nn.PReLU(2), nn.Linear(2, x.size(1))))
    batch, channels = x.shape[:2]
    gate = layer(F.adaptive_avg_pool2d(x, 1).squeeze(-1).squeeze(-1))
    return x * torch.sigmoid(gate.view(batch, channels, 1, 1) if number % 2 else gate[..., None, None])


def _einsum(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    if number % 2:
        layer = net._layer(name, lambda: nn.Bilinear(1, x.size(1), 3))  # for its weight alone
        return torch.einsum("oic,bchw->bohw", layer.weight, x)
    return _if(net, x.shape == y.shape, lambda: torch.einsum("bchw,bcHW->bhwHW", x, y).mean(-1).transpose(1, 2))


def _instance_norm(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor:
    return net._layer(name, lambda: nn.InstanceNorm2d(x.size(1), affine=number % 2 == 0))(x)


def _prelu(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor:
    return net._layer(name, lambda: nn.PReLU(x.size(1) if number % 2 else 1))(x)


def _where(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    return _if(net, x.shape == y.shape, lambda: torch.where(x > 0, x, y).masked_fill(y > 1, 0.25 * number))


def _order(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor:
    """Operations that mix along one dimension, channels or width."""
    dim = 1 if number % 2 else 3
    return (x.cumsum(dim), x.sort(dim).values, x.cummax(dim).values, x - x.logsumexp(dim, keepdim=True))[
        number // 2 % 4
    ]


def _repeat(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    if net.building and x.size(1) > 12:
        return None
    return x.repeat(1, 2, 1, 1) if number % 2 else x.repeat_interleave(2, 1)


def _sizes(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor:
    """Numbers that are computed from the number of channels."""
    channels = x.size(1)
    if number % 3 == 0:
        return x * channels**-0.5
    if number % 3 == 1:
        return x + torch.linspace(0.0, 1.0, channels, dtype=x.dtype).view(-1, 1, 1)
    return x / torch.tensor([float(channels)], dtype=x.dtype)


def _attribute(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    """Views by numbers that stand in an attribute of the layer or in the code."""
    if net.building and x.size(1) % 2:
        return None
    layer = net._layer(name, lambda: Reshaped(x.size(1), number % 2 == 0))
    return layer(x)


class Reshaped(nn.Module):
    """Split channels in two by an attribute or by a constant, and back."""

    def __init__(self, channels: int, by_width: bool) -> None:
        super().__init__()
        self.width, self.by_width = channels // 2, by_width

    def forward(self, x: Tensor) -> Tensor:
        size = (2, self.width) if self.by_width else (self.width, 2)
        x = x.unflatten(1, size)
        scale = torch.tensor([1.0, -0.5], dtype=x.dtype)
        return (x * scale.view(2, *[1] * (x.dim() - 2 - (not self.by_width)))).flatten(1, 2)


def _split_unequal(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    """Cut at a number that stands in an attribute, in the code, or is computed."""
    if net.building and x.size(1) < 5:
        return None
    layer = net._layer(name, lambda: Cut(1 + number % 3, x.size(1) - 1 - number % 3, number % 4))
    return layer(x)


class Cut(nn.Module):
    """Exchange the two parts of the channels."""

    def __init__(self, first: int, second: int, kind: int) -> None:
        super().__init__()
        self.first, self.second, self.kind = first, second, kind

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == 0:
            left, right = x.split([self.first, self.second], 1)
        elif self.kind == 1:
            left, right = x.tensor_split([2], 1)
        elif self.kind == 2:
            left, right = x.split([self.first, x.size(1) - self.first], 1)
        else:
            left, right = x[:, : self.first], x[:, -self.second :]
        return torch.cat([right, left.tanh()], 1)


def _cat_along(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    """Concatenate along batch or height, with itself or with zeros."""
    if net.building and (x.shape != y.shape or x.size(2) > 8):
        return None
    if number % 4 == 0:
        return torch.cat([x, y], 0).relu().chunk(2, 0)[number % 2]
    if number % 4 == 1:
        return torch.cat([x, y], 2)[:, :, ::2]
    if number % 4 == 2:
        return torch.cat([x, torch.zeros_like(y)[:, :2]], 1)
    return torch.cat([x, -x], 1) if x.size(1) < 12 else None


def _maxout(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    if net.building and x.size(1) % 2:
        return None
    if number % 3 == 0:
        return x.view(x.size(0), x.size(1) // 2, 2, *x.shape[2:]).amax(2)
    if number % 3 == 1:
        return torch.stack(x.chunk(2, 1)).mean(0)
    return torch.maximum(*x.chunk(2, 1))


def _channel_convolution(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor:
    """A convolution across channels, and a gate for each position."""
    if number % 2:
        layer = net._layer(name, lambda: nn.Conv1d(1, 1, 3, padding=1))
        return x * torch.sigmoid(layer(x.mean((2, 3))[:, None])[:, 0, :, None, None])
    layer = net._layer(name, lambda: nn.Conv2d(x.size(1), 1, 1))
    return x * torch.sigmoid(layer(x)).expand_as(x)


def _multiplier(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    """Depthwise convolutions that make more channels than they read, and grouped transposed ones."""
    if net.building and (x.size(1) > 9 or x.size(1) % 2):
        return None
    if number % 2:
        return net._layer(name, lambda: nn.Conv2d(x.size(1), 2 * x.size(1), 1, groups=x.size(1)))(x)
    return net._layer(name, lambda: nn.ConvTranspose2d(x.size(1), 2 + 2 * (number % 3), 1, groups=2))(x)


def _free(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor:
    """Functional calls on free parameters and buffers."""
    layer = net._layer(name, lambda: Free(x.size(1), number % 5))
    return layer(x)


class Free(nn.Module):
    """Parameters without layers."""

    def __init__(self, channels: int, kind: int) -> None:
        super().__init__()
        self.kind = kind
        self.weight = nn.Parameter(torch.randn(channels, channels, 1, 1))
        self.scale = nn.Parameter(torch.randn(channels))
        self.register_buffer("offset", torch.randn(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == 0:
            return F.conv2d(x, self.weight, self.scale) + self.offset
        if self.kind == 1:
            return F.batch_norm(x, None, None, self.scale, training=True) - self.offset
        if self.kind == 2:
            return F.prelu(x, self.scale)
        if self.kind == 3:
            return (x.movedim(1, -1) @ self.weight[..., 0, 0].t() + self.scale).movedim(-1, 1)
        return F.conv2d(
            x, self.weight / self.weight.norm(dim=1, keepdim=True).clamp_min(0.1) * self.scale[:, None, None, None]
        )


def _twice(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor:
    """One convolution called twice, or two that share a weight."""
    layer = net._layer(name, lambda: nn.ModuleList([nn.Conv2d(x.size(1), x.size(1), 1) for _ in range(2)]))
    if net.building and number % 2:
        layer[1].weight = layer[0].weight
    return layer[number % 2](F.relu(layer[0](x)))


def _normed_weight(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor:
    """A weight norm or a spectral norm."""
    kind = (parametrizations.weight_norm, parametrizations.spectral_norm)[number % 2]
    transposed = number % 4 > 1
    make = nn.ConvTranspose2d if transposed else nn.Conv2d
    return net._layer(name, lambda: kind(make(x.size(1), 3 + number % 4, 1)))(x)


def _detach(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor:
    """Leave autograd in the middle."""
    if number % 2:
        return checkpoint(torch.tanh, x, use_reentrant=False)
    with torch.no_grad():
        gate = torch.sigmoid(x).mean((2, 3), keepdim=True)
    return x * gate - 0.5 * x.detach()


def _recurrent(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor:
    """A recurrent layer over the rows; its hidden size stays."""
    make = (nn.LSTM, nn.GRU, nn.RNN)[number % 3]
    layer = net._layer(name, lambda: make(x.size(1), 3, batch_first=True, bidirectional=number % 2 == 1))
    found = layer(x.flatten(2).transpose(1, 2))[0]
    return found.transpose(1, 2).unflatten(2, x.shape[2:])


def _attend(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    """Attention over positions with 2 heads, by products, by the fused kernel or by an einsum."""
    if net.building and x.size(2) > 4:
        return None
    layer = net._layer(name, lambda: Attend(x.size(1), number % 3))
    return layer(x.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])


class Attend(nn.Module):
    """Two heads of width 3; the number of heads stands in an attribute."""

    def __init__(self, channels: int, kind: int) -> None:
        super().__init__()
        self.heads, self.kind = 2, kind
        self.qkv, self.out = nn.Linear(channels, 18), nn.Linear(6, channels)

    def forward(self, x: Tensor) -> Tensor:
        query, key, value = (part.unflatten(-1, (self.heads, -1)) for part in self.qkv(x).chunk(3, -1))
        if self.kind == 0:
            scores = torch.einsum("bqhd,bkhd->bhqk", query, key).softmax(-1)
            return self.out(torch.einsum("bhqk,bkhd->bqhd", scores, value).flatten(2))
        query, key, value = (part.transpose(1, 2) for part in (query, key, value))
        if self.kind == 1:
            mixed = F.scaled_dot_product_attention(query, key, value)
        else:
            mixed = torch.softmax(query @ key.mT, -1) @ value
        return self.out(mixed.transpose(1, 2).flatten(2))


def _rotate(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    """Rotary positions: a buffer along channels, or along the width of two heads."""
    if net.building and x.size(1) % 4:
        return None
    layer = net._layer(name, lambda: Rotate(x.size(1) // (1 + number % 2), 1 + number % 2))
    return layer(x)


class Rotate(nn.Module):
    """Multiply neighbours by cosines and sines of a buffer of frequencies."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.register_buffer("frequencies", torch.linspace(0.1, 1.0, width // 2))

    def forward(self, x: Tensor) -> Tensor:
        parts = x.unflatten(1, (self.heads, -1))
        angles = torch.cat([self.frequencies, self.frequencies])[:, None, None]
        left, right = parts.chunk(2, 2)
        return (parts * angles.cos() + torch.cat([-right, left], 2) * angles.sin()).flatten(1, 2)


def _windows(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    """im2col, folding back, `unfold` of a tensor, sorting and gathering positions."""
    if net.building and (x.size(2) % 2 or x.size(1) > 9):
        return None
    if number % 4 == 0:
        return F.unfold(x, 3, padding=1).unflatten(2, x.shape[2:])
    if number % 4 == 1:
        return F.fold(F.unfold(x, 3, padding=1), x.shape[2:], 3, padding=1)
    if number % 4 == 2:
        return x.unfold(2, 2, 2).unfold(3, 2, 2).amax((-1, -2))
    flat = x.flatten(2)
    return flat.gather(2, flat.detach().argsort(-1)).view_as(x)


def _scatter(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    """Add rows up by an index, with and without an index of the channels' shape."""
    if net.building and x.size(2) < 4:
        return None
    index = torch.arange(x.size(2), device=x.device) // 2
    if number % 2:
        return torch.zeros_like(x).index_add(2, index, x)
    index = index[None, None, :, None].expand(x.size(0), x.size(1), -1, x.size(3))
    return torch.zeros_like(x).scatter_add_(2, index, x)


def _shortcut(net: Program, x: Tensor, y: Tensor, number: int, name: str) -> Tensor | None:
    """A shortcut padded with zeros, by a number in the code or by the difference of the sizes."""
    if net.building and (x.size(1) <= y.size(1) or x.shape[2:] != y.shape[2:]):
        return None
    layer = net._layer(name, lambda: Shortcut(x.size(1) - y.size(1) if number % 2 else None))
    return layer(x, y)


class Shortcut(nn.Module):
    """Add the narrower tensor to the first channels of the wider one."""

    def __init__(self, more: int | None) -> None:
        super().__init__()
        self.padding = [0, 0, 0, 0, 0, more]

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        more = self.padding[-1]
        return x + F.pad(y, (0, 0, 0, 0, 0, x.size(1) - y.size(1) if more is None else more))


def _if(net: Program, fits: bool, compute: Callable[[], Tensor]) -> Tensor | None:
    """Decide while the network is being built; later the compacted network must do what was decided."""
    return None if net.building and not fits else compute()


OPERATIONS: dict[str, Callable[[Program, Tensor, Tensor, int, str], Tensor | None]] = {
    function.__name__.strip("_"): function
    for function in (
        _conv, _grouped, _depthwise, _transposed, _batch_norm, _group_norm, _linear_last, _add, _multiply, _gate, _cat,
        _chunk, _swap, _shuffle, _glu, _unshuffle, _pixel_shuffle, _slice, _normalise, _channel_products, _stack, _flip,
        _pad, _interleave, _write, _swap_axes, _squeeze_excite, _einsum, _instance_norm,
        _prelu, _where, _order, _repeat, _sizes, _attribute,
        _split_unequal, _cat_along, _maxout, _channel_convolution, _multiplier, _free, _twice, _normed_weight, _detach,
        _recurrent, _attend, _rotate, _windows, _scatter, _shortcut,
    )
}  # fmt: skip
