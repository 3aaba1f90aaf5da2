"""Networks that move channels about: splits, views, shuffles, slices, concatenations."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.zoo.case import Case


class Between(nn.Module):
    """Convolution to `first` channels, what a subclass does between, convolution from `second` to 5, pooled head."""

    first, second = 8, 8

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, self.first, 3, padding=1)
        self.conv2 = nn.Conv2d(self.second, 5, 1)
        self.head = nn.Linear(5, 4)
        self.prepare()

    def prepare(self) -> None:
        """Make what `between` needs."""

    def between(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.conv2(self.between(F.relu(self.conv1(x))))).mean((2, 3)))


class Chunk(Between):
    """One half gates the other: 4 pairs."""

    second = 4

    def between(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=1)
        return left * torch.sigmoid(right)


class Glu(Between):
    second = 4

    def between(self, x: Tensor) -> Tensor:
        return F.glu(x, dim=1)


class SplitAttribute(Between):
    """The sizes of the halves stand in an attribute, which can be set: 4 pairs."""

    def prepare(self) -> None:
        self.half = 4

    def between(self, x: Tensor) -> Tensor:
        left, right = x.split(self.half, dim=1)
        return torch.cat([right, left.tanh()], 1)


class SplitConstant(Between):
    def between(self, x: Tensor) -> Tensor:
        left, right = x.split([3, 5], dim=1)
        return torch.cat([right, left.tanh()], 1)


class Unbind(Between):
    """Channels taken one by one keep their names: the first one is code, not a channel."""

    first, second = 4, 1

    def between(self, x: Tensor) -> Tensor:
        first, *rest = x.unbind(1)
        for other in rest:
            first = first - 0.5 * other
        return first.unsqueeze(1)


class SelectFirst(Between):
    def between(self, x: Tensor) -> Tensor:
        return x + x[:, 0].unsqueeze(1)


class SelectFourth(Between):
    def between(self, x: Tensor) -> Tensor:
        return x + x[:, 3].unsqueeze(1)


class SelectLast(Between):
    def between(self, x: Tensor) -> Tensor:
        return x * x[:, -1:].tanh()


class SliceFirst(Between):
    def between(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(x[:, :1])


class WriteFirst(Between):
    def between(self, x: Tensor) -> Tensor:
        x = x.clone()
        x[:, 0] = 2.0
        return x


class SliceConstant(Between):
    second = 4

    def between(self, x: Tensor) -> Tensor:
        return x[:, :4]


class SliceHalf(Between):
    second = 4

    def between(self, x: Tensor) -> Tensor:
        return x[:, : x.size(1) // 2]


class EverySecond(Between):
    second = 4

    def between(self, x: Tensor) -> Tensor:
        return x[:, ::2]


class AllButOne(Between):
    second = 7

    def between(self, x: Tensor) -> Tensor:
        return x[:, 1:] - x[:, :-1]


class Roll(Between):
    def between(self, x: Tensor) -> Tensor:
        return x.roll(1, dims=1)


class Flip(Between):
    def between(self, x: Tensor) -> Tensor:
        return x.flip(1)


class Shuffle(Between):
    """Channels i and i + 4 change places with their neighbours, then groups of two: 4 pairs."""

    def between(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        x = x.view(batch, 2, channels // 2, height, width).transpose(1, 2)
        return x.reshape(batch, channels, height, width)


class PixelShuffle(Between):
    """Four channels make one of twice the size: 3 fours."""

    first, second = 12, 3

    def between(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(x, 2)


class PixelUnshuffle(Between):
    first, second = 4, 16

    def between(self, x: Tensor) -> Tensor:
        return F.pixel_unshuffle(x, 2)


class TwoBranches(Between):
    """`conv1` and `other` meet in `join`."""

    def prepare(self) -> None:
        self.other = nn.Conv2d(8, 8, 1)


class Stack(TwoBranches):
    def between(self, x: Tensor) -> Tensor:
        return torch.stack([x, self.other(x)], 1).sum(1)


class SetItem(Between):
    """Two layers written into zeros of the right size: 8 + 6."""

    second = 14

    def prepare(self) -> None:
        self.other = nn.Conv2d(8, 6, 1)

    def between(self, x: Tensor) -> Tensor:
        other = self.other(x)
        out = x.new_zeros(x.size(0), x.size(1) + other.size(1), *x.shape[2:])
        out[:, : x.size(1)] = x
        out[:, x.size(1) :] = other
        return out


class SetItemConstant(SetItem):
    def between(self, x: Tensor) -> Tensor:
        out = torch.zeros(x.size(0), 14, *x.shape[2:])
        out[:, :8] = x
        out[:, 8:] = self.other(x)
        return out


class CatWithInput(nn.Module):
    """The input's channels always stay, those beside them may go."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(11, 5, 1)
        self.head = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.conv2(torch.cat([x, F.relu(self.conv1(x))], 1))).mean((2, 3)))


class PaddedShortcut(nn.Module):
    """The shortcut of the first ResNets: 6 + 10; the 4 channels that it pads by a number in the code stay."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv1 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 10, 3, stride=2, padding=1)
        self.conv2 = nn.Conv2d(10, 10, 3, padding=1)
        self.head = nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        shortcut = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
        return self.head(F.relu(self.conv2(F.relu(self.conv1(x))) + shortcut).mean((2, 3)))


class NHWCFlatten(nn.Module):
    """Channels come last before they are flattened; 6 of them, each with 36 columns of the linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 6, 3), nn.Linear(216, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.conv(x)).permute(0, 2, 3, 1).flatten(1))


class NHWCLinear(nn.Module):
    """Linear layers on the last dimension of images: 6 + 5."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.mlp, self.last = nn.Conv2d(3, 6, 3), nn.Linear(6, 5), nn.Conv2d(5, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.mlp(F.relu(self.conv(x)).permute(0, 2, 3, 1)))
        return self.last(x.permute(0, 3, 1, 2))


class ViewConstant(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv0, self.conv1, self.head = nn.Conv2d(3, 5, 1), nn.Conv2d(5, 6, 3), nn.Linear(216, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.conv1(F.relu(self.conv0(x)))).view(-1, 216))


class ViewAttribute(nn.Module):
    """The flattened size stands in an attribute, which can be set."""

    def __init__(self) -> None:
        super().__init__()
        self.num_flat = 216
        self.conv0, self.conv1, self.head = nn.Conv2d(3, 5, 1), nn.Conv2d(5, 6, 3), nn.Linear(self.num_flat, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.conv1(F.relu(self.conv0(x)))).view(-1, self.num_flat))


class InPlace(Between):
    """In-place operations on tensors and on views of them."""

    def prepare(self) -> None:
        self.other = nn.Conv2d(8, 8, 1)

    def between(self, x: Tensor) -> Tensor:
        x = self.other(x).add_(x)
        flat = x.view(x.size(0), x.size(1), -1)
        flat.mul_(0.5).sub_(0.1)
        x += 0.1
        return F.relu_(x)


class Einsum(Between):
    """A parameter that is no layer makes and reads channels: 8 + 6."""

    second = 6

    def prepare(self) -> None:
        self.mix = nn.Parameter(torch.randn(6, 8))

    def between(self, x: Tensor) -> Tensor:
        return torch.einsum("oc,bchw->bohw", self.mix, x)


class MatmulParameter(Between):
    second = 6

    def prepare(self) -> None:
        self.mix = nn.Parameter(torch.randn(6, 8))

    def between(self, x: Tensor) -> Tensor:
        return (self.mix @ x.flatten(2)).view(x.size(0), -1, *x.shape[2:])


class SharedModule(Between):
    """One convolution called twice feeds itself: its output channel i is its input channel i and that of `conv1`."""

    def prepare(self) -> None:
        self.twice = nn.Conv2d(8, 8, 3, padding=1)

    def between(self, x: Tensor) -> Tensor:
        return F.relu(self.twice(F.relu(self.twice(x))))


class SharedParameter(Between):
    """Two convolutions hold the same weight."""

    def prepare(self) -> None:
        self.left, self.right = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.right.weight = self.left.weight

    def between(self, x: Tensor) -> Tensor:
        return F.relu(self.right(F.relu(self.left(x))))


class TiedAutoencoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(10, 6)
        self.bias = nn.Parameter(torch.zeros(10))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(torch.relu(self.encode(x)), self.encode.weight.t(), self.bias)


class ResidualSum(Between):
    """Three layers whose outputs are added share their channels."""

    def prepare(self) -> None:
        self.left, self.right = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 3, padding=1)

    def between(self, x: Tensor) -> Tensor:
        return x + self.left(x) - 2 * self.right(x)


class BroadcastParameters(Between):
    """Parameters of channel shape belong to the channels."""

    def prepare(self) -> None:
        self.scale = nn.Parameter(torch.ones(1, 8, 1, 1))
        self.shift = nn.Parameter(torch.zeros(8))
        self.register_buffer("offset", torch.ones(8, 1, 1))

    def between(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift[None, :, None, None] - self.offset


class SpatialGate(Between):
    """A gate of one channel on all channels."""

    def prepare(self) -> None:
        self.gate = nn.Conv2d(8, 1, 1)

    def between(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.gate(x))


class ChannelAttentionMaps(Between):
    """Mean and maximum over channels mix them."""

    def prepare(self) -> None:
        self.gate = nn.Conv2d(2, 1, 1)

    def between(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(self.gate(torch.stack([x.mean(1), x.amax(1)], 1)))


class MaxOverChannels(Between):
    second = 1

    def between(self, x: Tensor) -> Tensor:
        return x.max(dim=1, keepdim=True).values


class SoftmaxOverChannels(Between):
    def between(self, x: Tensor) -> Tensor:
        return F.softmax(x, dim=1)


class SoftmaxOverWidth(Between):
    def between(self, x: Tensor) -> Tensor:
        return F.softmax(x, dim=-1)


class ScaleBySize(Between):
    def between(self, x: Tensor) -> Tensor:
        return x * x.shape[1] ** -0.5


class ScaleByTensorSize(Between):
    def between(self, x: Tensor) -> Tensor:
        return x / torch.tensor(float(x.shape[1]))


class ScaleByFull(Between):
    def between(self, x: Tensor) -> Tensor:
        return x / torch.full((1,), x.shape[1])


class AddCount(Between):
    def between(self, x: Tensor) -> Tensor:
        return x + torch.ones(x.size(1)).sum()


class Positions(Between):
    """Numbers that depend on the place of a channel are no channels."""

    def between(self, x: Tensor) -> Tensor:
        return x + 0.1 * torch.arange(x.size(1)).view(1, -1, 1, 1)


class Gather(Between):
    def between(self, x: Tensor) -> Tensor:
        return x[:, [1, 0, 3, 2, 5, 4, 7, 6]]


class Unfold(Between):
    """A convolution as im2col and a matrix product: 8 with 9 columns each; how many come out stands in the code."""

    second = 6

    def prepare(self) -> None:
        self.weight = nn.Parameter(torch.randn(6, 72))

    def between(self, x: Tensor) -> Tensor:
        return (self.weight @ F.unfold(x, 3, padding=1)).view(x.size(0), 6, *x.shape[2:])


class WeightPlusOne(Between):
    """A weight that is not zero where its parameter is."""

    second = 8

    def prepare(self) -> None:
        self.weight = nn.Parameter(torch.randn(8, 8, 1, 1))

    def between(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight + 1.0)


class WeightDoubled(Between):
    """A weight that is zero where its parameter is: conv1's 8, the own 8."""

    def prepare(self) -> None:
        self.weight = nn.Parameter(torch.randn(8, 8, 1, 1))

    def between(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight * 2.0)


class WeightSum(Between):
    """A reparametrised convolution: the kernel is the sum of two."""

    def prepare(self) -> None:
        self.left, self.right = nn.Parameter(torch.randn(8, 8, 1, 1)), nn.Parameter(torch.randn(8, 8, 1, 1))

    def between(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.left + self.right)


class WeightStandardised(Between):
    """A weight that is normalised in every pass is computed from data."""

    def prepare(self) -> None:
        self.weight = nn.Parameter(torch.randn(8, 8, 1, 1))

    def between(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight / weight.std((1, 2, 3), keepdim=True))


class GatedByLinear(Between):
    """A tensor of shape (batch, channels) viewed to (batch, channels, 1, 1), in steps."""

    def prepare(self) -> None:
        self.fc1, self.fc2 = nn.Linear(8, 3), nn.Linear(3, 8)

    def between(self, x: Tensor) -> Tensor:
        batch, channels, _, _ = x.size()
        gate = self.fc2(F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1).view(batch, channels))))
        return x * torch.sigmoid(gate).view(batch, channels, 1, 1).expand_as(x)


def wider(kind: type[Between], first: int, second: int) -> Callable[[], nn.Module]:
    """Return the network with another width."""
    return type(f"{kind.__name__}{first}", (kind,), {"first": first, "second": second, "__module__": __name__})


NUMBER = "a number computed from a size changes"

CASES = [
    Case("chunk", Chunk, 4 + 5),
    Case("glu", Glu, 4 + 5),
    Case("split_by_attribute", SplitAttribute, 4 + 5),
    Case("split_by_constants", SplitConstant, 5, {"conv1": "movement.py:"}),
    Case("unbind", Unbind, 5, {"conv1": "movement.py:"}),
    Case("select_first", SelectFirst, 7 + 5, {"conv1": "movement.py:"}),
    Case("select_fourth", SelectFourth, 5, {"conv1": "movement.py:"}),
    Case("select_last", SelectLast, 7 + 5, {"conv1": "movement.py:"}),
    Case("slice_first", SliceFirst, 7 + 5, {"conv1": "movement.py:"}),
    Case("write_first", WriteFirst, 7 + 5, {"conv1": "movement.py:"}),
    Case("slice_constant", SliceConstant, 5, {"conv1": "movement.py:"}),
    Case("slice_half", SliceHalf, 5, {"conv1": "movement.py:"}),
    Case("every_second", EverySecond, 5, {"conv1": "movement.py:"}),
    Case("all_but_one", AllButOne, 5),
    Case("roll", Roll, 5, {"conv1": "movement.py:"}),
    *(Case(f"roll_{n}", wider(Roll, n, n), 5) for n in (4, 5, 6, 7, 9, 10, 11, 12, 13)),
    *(Case(f"slice_half_{n}", wider(SliceHalf, n, n // 2), 5) for n in (4, 5, 6, 7, 9, 10, 11, 12, 13)),
    *(Case(f"every_second_{n}", wider(EverySecond, n, (n + 1) // 2), 5) for n in (4, 5, 6, 7, 9, 10, 11, 12, 13)),
    *(Case(f"all_but_one_{n}", wider(AllButOne, n, n - 1), 5) for n in (4, 5, 6, 7, 9, 10, 11, 12, 13)),
    Case("flip", Flip, 8 + 5),
    Case("channel_shuffle", Shuffle, 4 + 5),
    Case("pixel_shuffle", PixelShuffle, 3 + 5),
    Case("pixel_unshuffle", PixelUnshuffle, 4 + 5),
    Case("stack", Stack, 8 + 5),
    Case("set_item", SetItem, 8 + 6 + 5),
    Case("set_item_constants", SetItemConstant, 5, {"conv1": "movement.py:", "other": "movement.py:"}),
    Case("cat_with_input", CatWithInput, 8 + 5),
    Case("padded_shortcut", PaddedShortcut, 6 + 10, {"conv2": "movement.py:"}),
    Case("nhwc_flatten", NHWCFlatten, 6),
    Case("nhwc_linear", NHWCLinear, 6 + 5),
    Case("view_constant", ViewConstant, 5, {"conv1": "movement.py:"}),
    Case("view_attribute", ViewAttribute, 5 + 6),
    Case("in_place", InPlace, 8 + 5),
    Case("einsum", Einsum, 8 + 6 + 5),
    Case("matmul_parameter", MatmulParameter, 8 + 6 + 5),
    Case("shared_module", SharedModule, 8 + 5),
    Case("shared_parameter", SharedParameter, 8 + 5),
    Case("tied_autoencoder", TiedAutoencoder, 6, {}, lambda: torch.randn(3, 10)),
    Case("residual_sum", ResidualSum, 8 + 5),
    Case("broadcast_parameters", BroadcastParameters, 8 + 5),
    Case("spatial_gate", SpatialGate, 8 + 5),
    Case("channel_attention_maps", ChannelAttentionMaps, 5, {"conv1": "mean over channels (movement.py:"}),
    Case("max_over_channels", MaxOverChannels, 5, {"conv1": "max over channels (movement.py:"}),
    Case("softmax_over_channels", SoftmaxOverChannels, 5, {"conv1": "softmax over channels (movement.py:"}),
    Case("softmax_over_width", SoftmaxOverWidth, 8 + 5),
    Case("scale_by_size", ScaleBySize, 5, {"conv1": NUMBER}),
    Case("scale_by_tensor_of_size", ScaleByTensorSize, 5, {"conv1": "movement.py:"}),
    Case("scale_by_full_of_size", ScaleByFull, 5, {"conv1": "movement.py:"}),
    Case("add_count", AddCount, 5, {"conv1": "movement.py:"}),
    Case("positions", Positions, 5, {"conv1": "movement.py:"}),
    Case("gather", Gather, 5, {"conv1": "selected by an index (movement.py:"}),
    Case("unfold", Unfold, 8 + 5, {"Unfold": "movement.py:"}),
    Case("weight_plus_one", WeightPlusOne, 5),
    Case("weight_doubled", WeightDoubled, 8 + 8 + 5),
    Case("weight_sum", WeightSum, 8 + 8 + 5),
    Case("weight_standardised", WeightStandardised, 5, {"conv1": "computed by the model's code"}),
    Case("gated_by_linear", GatedByLinear, 8 + 3 + 5),
]
