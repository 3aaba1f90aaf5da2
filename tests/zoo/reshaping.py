"""Channels that are cut, joined and reshaped: splits, concatenations, sizes that stand in the code."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.nets import ConvBN
from tests.zoo.case import Case
from tests.zoo.movement import Between, Shuffle, TwoBranches


class SplitThree(Between):
    """Three equal pieces, one of which is not used: 3 triples."""

    first, second = 9, 3

    def between(self, x: Tensor) -> Tensor:
        left, right, _ = x.chunk(3, 1)
        return left + right.tanh()


class ChunkUneven(Between):
    """Chunks of 3, 3 and 2: their size is rounded up from all channels, so which channel lies where changes."""

    def between(self, x: Tensor) -> Tensor:
        first, second, third = x.chunk(3, 1)
        return torch.cat([third, first, second], 1)


class SplitUneven(Between):
    """The sizes of unequal pieces stand in attributes: 8."""

    def prepare(self) -> None:
        self.small, self.large = 3, 5

    def between(self, x: Tensor) -> Tensor:
        small, large = x.split([self.small, self.large], 1)
        return torch.cat([large.tanh(), small], 1)


class SplitList(Between):
    """They stand in a list: 8."""

    def prepare(self) -> None:
        self.sizes = [3, 5]

    def between(self, x: Tensor) -> Tensor:
        small, large = x.split(self.sizes, 1)
        return torch.cat([large.tanh(), small], 1)


class TanhSigmoid(nn.Module):
    """WaveNet's layer: a dilated convolution gates itself, a residual and a skip. 6 in the stream, 4 pairs, 5 skip."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.gate = nn.Conv1d(2, 6, 1), nn.Conv1d(6, 8, 2, dilation=2)
        self.residual, self.skip, self.head = nn.Conv1d(4, 6, 1), nn.Conv1d(4, 5, 1), nn.Conv1d(5, 3, 1)
        self.last = nn.Conv1d(6, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        value, gate = self.gate(F.pad(x, (2, 0))).chunk(2, 1)
        value = torch.tanh(value) * torch.sigmoid(gate)
        return self.head(F.relu(self.skip(value))) + self.last(x + self.residual(value))


class Bottleneck(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.cv1, self.cv2 = ConvBN(channels, 5), ConvBN(5, channels)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.cv2(self.cv1(x))


class C2f(nn.Module):
    """YOLOv8's block: one half of the first layer feeds bottlenecks, all is concatenated. 4 pairs and 5 + 5, then 6."""

    def __init__(self, by_split: bool) -> None:
        super().__init__()
        self.c, self.by_split = 4, by_split
        self.stem, self.cv1, self.cv2 = ConvBN(3, 7), ConvBN(7, 8, 1), ConvBN(16, 6, 1)
        self.m = nn.ModuleList([Bottleneck(4), Bottleneck(4)])
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.cv1(self.stem(x))
        parts = list(x.split((self.c, self.c), 1) if self.by_split else x.chunk(2, 1))
        parts.extend(m(parts[-1]) for m in self.m)
        return self.head(self.cv2(torch.cat(parts, 1)).mean((2, 3)))


class CrossStagePartial(nn.Module):
    """Two layers make the halves: 4 of one, 4 of the other, 5 between."""

    def __init__(self) -> None:
        super().__init__()
        self.cv1, self.cv2, self.m, self.cv3 = ConvBN(3, 4, 1), ConvBN(3, 4, 1), Bottleneck(4), ConvBN(8, 6, 1)
        self.head = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cv3(torch.cat((self.m(self.cv1(x)), self.cv2(x)), 1)).mean((2, 3)))


class SpatialPyramid(nn.Module):
    """SPPF: a layer beside three poolings of itself. 4 + 6."""

    def __init__(self) -> None:
        super().__init__()
        self.cv1, self.cv2, self.head = ConvBN(3, 4, 1), ConvBN(16, 6, 1), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.cv1(x)]
        for _ in range(3):
            parts.append(F.max_pool2d(parts[-1], 5, 1, 2))
        return self.head(self.cv2(torch.cat(parts, 1)).mean((2, 3)))


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    batch, channels, height, width = x.shape
    return x.view(batch, groups, channels // groups, height, width).transpose(1, 2).reshape(x.shape)


class ShuffleUnit(nn.Module):
    """ShuffleNet v2: half of the channels pass by, or, where the resolution halves, both branches compute."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        self.stride = stride
        self.left = nn.Sequential(
            nn.Conv2d(inputs, inputs, 3, stride, 1, groups=inputs), nn.BatchNorm2d(inputs), ConvBN(inputs, half, 1)
        ) if stride > 1 else nn.Identity()  # fmt: skip
        inputs = inputs if stride > 1 else half
        self.right = nn.Sequential(
            ConvBN(inputs, half, 1),
            nn.Conv2d(half, half, 3, stride, 1, groups=half), nn.BatchNorm2d(half), ConvBN(half, half, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        left, right = (x, x) if self.stride > 1 else x.chunk(2, 1)
        return channel_shuffle(torch.cat([self.left(left), self.right(right)], 1), 2)


class ShuffleNetDown(nn.Module):
    """One unit that halves the resolution: 6, its 4 inner channels, 4 pairs that the shuffle interleaves."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down, self.head = ConvBN(3, 6), ShuffleUnit(6, 8, 2), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.down(self.stem(x)).mean((2, 3)))


class ShuffleNetV2(nn.Module):
    """
    Halving and then one more unit, whose chunk meets the shuffled pairs of the first.

    The first shuffle leaves channels (2i, 2i + 1) = (left i, right i), the chunk puts channels 0-3 against 4-7, so that
    pairs 0, 1 pass by and pairs 2, 3 are computed with. Position i of the chunk's halves goes together: pairs 0 and 2,
    1 and 3. The second shuffle pairs them with the unit's own output. 2 such units are left; and 6 + 4 + 4 inner ones.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down, self.unit = ConvBN(3, 6), ShuffleUnit(6, 8, 2), ShuffleUnit(8, 8, 1)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.unit(self.down(self.stem(x))).mean((2, 3)))


class ShuffleByTorch(Shuffle):
    def prepare(self) -> None:
        self.shuffle = nn.ChannelShuffle(2)

    def between(self, x: Tensor) -> Tensor:
        return self.shuffle(x)


class GroupedShuffle(nn.Module):
    """ShuffleNet v1: grouped, shuffled, grouped again. Group g holds channels of all, so nothing but all can go."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first = nn.Conv2d(3, 6, 1), nn.Conv2d(6, 8, 1, groups=2)
        self.second, self.mix, self.head = nn.Conv2d(8, 8, 1, groups=2), nn.Conv2d(8, 5, 1), nn.Linear(5, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = channel_shuffle(F.relu(self.first(self.stem(x))), 2)
        return self.head(F.relu(self.mix(F.relu(self.second(x)))).mean((2, 3)))


class CatWithItself(Between):
    second = 16

    def between(self, x: Tensor) -> Tensor:
        return torch.cat([x, -x], 1)


class CatBatch(TwoBranches):
    """Two layers over each other in the batch share their channels, as the sides of a siamese network do."""

    def between(self, x: Tensor) -> Tensor:
        left, right = torch.cat([x, self.other(x)], 0).tanh().chunk(2, 0)
        return left - right


class CatHeight(TwoBranches):
    def between(self, x: Tensor) -> Tensor:
        return torch.cat([x, self.other(x)], 2)


class CatFlattened(nn.Module):
    """Two flattened maps of different size side by side: 6 + 5, with 9 and 1 columns each."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(3, 5, 8), nn.Linear(6 * 9 + 5, 4)

    def forward(self, x: Tensor) -> Tensor:
        left, right = F.max_pool2d(F.relu(self.left(x)), 2), F.relu(self.right(x))
        return self.head(torch.cat([left.flatten(1), right.flatten(1)], 1))


class CatScales(nn.Module):
    """Detection heads: one layer reads maps of two sizes, joined along the positions. Both have the same 6."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down, self.box = ConvBN(3, 6), ConvBN(6, 6, stride=2), nn.Conv2d(6, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return torch.cat([self.box(part).flatten(2) for part in (x, self.down(x))], 2).transpose(1, 2)


class Maxout(Between):
    """The larger of two neighbours: 4 pairs."""

    second = 4

    def between(self, x: Tensor) -> Tensor:
        return x.view(x.size(0), x.size(1) // 2, 2, *x.shape[2:]).amax(2)


class MaxoutHalves(Between):
    """The larger of two channels half the width apart: 4 pairs."""

    second = 4

    def between(self, x: Tensor) -> Tensor:
        return torch.stack(x.chunk(2, 1)).max(0).values


class MaxOfTwo(TwoBranches):
    """MaxFeatureMap of two layers: 8."""

    def between(self, x: Tensor) -> Tensor:
        return torch.maximum(x, self.other(x)) - torch.max(x, self.other(x)) * 0.5


class EfficientChannelAttention(Between):
    """A convolution across the channels mixes neighbours."""

    def prepare(self) -> None:
        self.mix = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def between(self, x: Tensor) -> Tensor:
        weights = self.mix(F.adaptive_avg_pool2d(x, 1).squeeze(-1).transpose(-1, -2))
        return x * torch.sigmoid(weights.transpose(-1, -2).unsqueeze(-1))


class SpatialAttentionOfInput(nn.Module):
    """A gate for each position, computed from the input: 8 + 6."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.gate, self.mask = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(3, 6, 1), nn.Conv2d(6, 1, 1)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        mask = torch.sigmoid(self.mask(F.relu(self.gate(x))))
        return self.head((F.relu(self.body(x)) * mask.expand(-1, self.body.out_channels, -1, -1)).mean((2, 3)))


class SelectiveKernels(Between):
    """SKNet: two branches, weighted by a softmax over the branches, not the channels. 8 with both branches, 4."""

    def prepare(self) -> None:
        self.left, self.right = nn.Conv2d(8, 6, 3, padding=1), nn.Conv2d(8, 6, 1)
        self.squeeze, self.excite = nn.Linear(6, 4), nn.Linear(4, 12)

    second = 6

    def between(self, x: Tensor) -> Tensor:
        both = torch.stack([self.left(x), self.right(x)], 1)
        squeezed = F.relu(self.squeeze(both.sum(1).mean((2, 3))))
        weights = self.excite(squeezed).view(x.size(0), 2, -1).softmax(1)
        return (both * weights[..., None, None]).sum(1)


class StackMean(TwoBranches):
    def between(self, x: Tensor) -> Tensor:
        return torch.stack([x, self.other(x), x * 0.5]).mean(0)


class StackMedian(TwoBranches):
    def between(self, x: Tensor) -> Tensor:
        return torch.stack([x, self.other(x), x * 0.5], -1).median(-1).values


class SumOfList(TwoBranches):
    def between(self, x: Tensor) -> Tensor:
        return sum([x, self.other(x), x.tanh()])


class WriteIntoBuffer(TwoBranches):
    """`copy_` and `index_copy_` into an empty tensor of the right size."""

    def between(self, x: Tensor) -> Tensor:
        out = torch.empty_like(x)
        out.copy_(x)
        out[:, :, 1::2] = self.other(x)[:, :, ::2]
        return out


class PaddedByDifference(nn.Module):
    """A shortcut that pads as many zeros as its layer has channels more: 6 + 9, 4 of conv2 alone."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv1 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 9, 3, stride=2, padding=1)
        self.conv2, self.head = nn.Conv2d(9, 10, 3, padding=1), nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        out = self.conv2(F.relu(self.conv1(x)))
        shortcut = x[:, :, ::2, ::2]
        shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, out.size(1) - shortcut.size(1)))
        return self.head(F.relu(out + shortcut).mean((2, 3)))


class CatZeros(nn.Module):
    """The same by a concatenation with zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv1 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 9, 3, padding=1)
        self.conv2, self.head = nn.Conv2d(9, 10, 3, padding=1), nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        zeros = torch.zeros(x.size(0), 4, *x.shape[2:])
        return self.head(F.relu(self.conv2(F.relu(self.conv1(x))) + torch.cat([x, zeros], 1)).mean((2, 3)))


class FlattenTwice(nn.Module):
    """Flattened, made an image again, flattened in another order: 4 + 7."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.linear, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(256, 7), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x)).flatten(1).view(x.size(0), -1, 8, 8)
        return self.head(F.relu(self.linear(x.permute(2, 0, 3, 1).permute(1, 0, 2, 3).reshape(x.size(0), -1))))


class Generator(nn.Module):
    """A linear layer makes an image of 5 channels of 4x4: 5 with 16 filters each, then 6."""

    def __init__(self) -> None:
        super().__init__()
        self.project, self.norm = nn.Linear(7, 80), nn.BatchNorm2d(5)
        self.up, self.out = nn.ConvTranspose2d(5, 6, 2, 2), nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, noise: Tensor) -> Tensor:
        x = F.relu(self.norm(self.project(noise).view(noise.size(0), -1, 4, 4)))
        return torch.tanh(self.out(F.relu(self.up(x))))


class GeneratorInCode(Generator):
    """The 5 stands in the code."""

    def forward(self, noise: Tensor) -> Tensor:
        x = F.relu(self.norm(self.project(noise).view(-1, 5, 4, 4)))
        return torch.tanh(self.out(F.relu(self.up(x))))


class Unfold2d(Between):
    """Patches by `unfold` of a tensor: views, so channels are followed. 8."""

    second = 32

    def between(self, x: Tensor) -> Tensor:
        patches = x.unfold(2, 2, 2).unfold(3, 2, 2)
        return patches.permute(0, 1, 4, 5, 2, 3).flatten(1, 3)


class Im2Col(Between):
    """Each channel's 9 neighbours by `F.unfold`, read by a convolution: 8."""

    second = 72

    def between(self, x: Tensor) -> Tensor:
        return F.unfold(x, 3, padding=1).view(x.size(0), -1, *x.shape[2:])


class FoldOverlap(Between):
    """`F.fold` adds the windows of each channel up: 8."""

    def between(self, x: Tensor) -> Tensor:
        return F.fold(F.unfold(x, 3, padding=1) * 0.5, x.shape[2:], 3, padding=1)


class BatchedSum(TwoBranches):
    """`baddbmm` of maps: channels are outside of the contraction, rows of the first operand: 8."""

    def prepare(self) -> None:
        super().prepare()
        self.gate = nn.Conv2d(8, 64, 8)

    def between(self, x: Tensor) -> Tensor:
        flat, other = x.flatten(2), self.other(x).flatten(2)
        positions = self.gate(x).flatten(1).softmax(1)
        return torch.baddbmm(other, flat, positions[:, :, None] * positions[:, None, :]).view_as(x)


class BilinearPool(nn.Module):
    """The outer product of two layers, flattened: 7 before them, 4 + 5, columns of pairs."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.left, self.right, self.head = (
            nn.Linear(6, 7),
            nn.Linear(7, 4),
            nn.Linear(7, 5),
            nn.Linear(20, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        return self.head(torch.einsum("bi,bj->bij", self.left(x), self.right(x)).flatten(1))


class BilinearLayer(nn.Module):
    """nn.Bilinear reads two vectors: 4 and 5, and makes 6."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.mix, self.head = (
            nn.Linear(6, 4),
            nn.Linear(6, 5),
            nn.Bilinear(4, 5, 6),
            nn.Linear(6, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.mix(torch.tanh(self.left(x)), torch.tanh(self.right(x)))))


class Distances(nn.Module):
    """Distances sum over channels, which no weight reads."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.embed, self.head = nn.Linear(6, 7), nn.Linear(7, 4), nn.Linear(3, 2)
        self.centres = nn.Parameter(torch.randn(3, 4))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.cdist(self.embed(torch.relu(self.hidden(x))), self.centres))


class TakeAlong(Between):
    """Positions are sorted for each channel, and gathered by that: 8."""

    def between(self, x: Tensor) -> Tensor:
        flat = x.flatten(2)
        order = flat.detach().argsort(-1)
        return flat.gather(2, order).view_as(x)


class ScatterAdd(nn.Module):
    """A graph convolution: messages of neighbours are added up by `index_add`, channels stay apart: 8 + 6."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, 8), nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        source, target = edges
        for layer in (self.first, self.second):
            messages = layer(nodes)
            nodes = torch.relu(torch.zeros_like(messages).index_add(0, target, messages[source]) + messages)
        return self.head(nodes)


class ScatterReduce(ScatterAdd):
    """The same with `scatter_add_` and an index of the messages' shape."""

    def forward(self, nodes: Tensor, edges: Tensor) -> Tensor:
        source, target = edges
        for layer in (self.first, self.second):
            messages = layer(nodes)
            index = target.unsqueeze(-1).expand(-1, messages.size(-1))
            gathered = torch.zeros_like(messages).scatter_add_(0, index, messages.index_select(0, source))
            nodes = torch.relu(gathered + messages)
        return self.head(nodes)


def graph() -> tuple[Tensor, Tensor]:
    nodes = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    return nodes, torch.tensor([[0, 1, 2, 3, 4, 0], [1, 2, 3, 4, 0, 2]])


def vectors() -> Tensor:
    return torch.randn(5, 6, generator=torch.Generator().manual_seed(1))


HERE = "reshaping.py:"

CASES = [
    Case("split_three", SplitThree, 3 + 5),
    Case("chunk_uneven", ChunkUneven, 5, {"conv1": HERE}),
    Case("split_uneven", SplitUneven, 8 + 5),
    Case("split_by_list", SplitList, 8 + 5),
    Case("tanh_sigmoid", TanhSigmoid, 6 + 4 + 5, {"head": "network output"}, lambda: torch.randn(2, 2, 9)),
    Case("c2f_chunk", lambda: C2f(False), 7 + 4 + 5 + 5 + 6),
    Case("c2f_split", lambda: C2f(True), 7 + 4 + 5 + 5 + 6),
    Case("cross_stage_partial", CrossStagePartial, 4 + 4 + 5 + 6),
    Case("spatial_pyramid", SpatialPyramid, 4 + 6),
    Case("shufflenet_down", ShuffleNetDown, 6 + 4 + 4),
    Case("shufflenet_v2", ShuffleNetV2, 6 + 4 + 4 + 2),
    Case("channel_shuffle_layer", ShuffleByTorch, 4 + 5),
    Case("grouped_shuffle", GroupedShuffle, 5),
    Case("cat_with_itself", CatWithItself, 8 + 5),
    Case("cat_batch", CatBatch, 8 + 5),
    Case("cat_height", CatHeight, 8 + 5),
    Case("cat_flattened", CatFlattened, 6 + 5),
    Case("cat_scales", CatScales, 6, {"box": "network output"}),
    Case("maxout", Maxout, 4 + 5),
    Case("maxout_of_halves", MaxoutHalves, 4 + 5),
    Case("max_of_two", MaxOfTwo, 8 + 5),
    Case("efficient_channel_attention", EfficientChannelAttention, 5, {"conv1": "convolved along"}),
    Case("spatial_attention_of_input", SpatialAttentionOfInput, 8 + 6),
    Case("selective_kernels", SelectiveKernels, 8 + 6 + 4 + 5),
    Case("stack_mean", StackMean, 8 + 5),
    Case("stack_median", StackMedian, 8 + 5),
    Case("sum_of_list", SumOfList, 8 + 5),
    Case("write_into_empty", WriteIntoBuffer, 8 + 5),
    Case("padded_by_difference", PaddedByDifference, 6 + 9 + 4),
    Case("cat_zeros", CatZeros, 6 + 9, {"conv2": HERE}),
    Case("flatten_twice", FlattenTwice, 4 + 7),
    Case("generator", Generator, 5 + 6, {}, lambda: torch.randn(2, 7)),
    Case("generator_in_code", GeneratorInCode, 6, {"project": HERE}, lambda: torch.randn(2, 7)),
    Case("unfold_views", Unfold2d, 8 + 5),
    Case("im2col", Im2Col, 8 + 5),
    Case("fold", FoldOverlap, 8 + 5),
    Case("baddbmm", BatchedSum, 8 + 5),
    Case("bilinear_pool", BilinearPool, 7 + 4 + 5, {}, vectors, short="a column belongs to one unit only"),
    Case("bilinear_layer", BilinearLayer, 4 + 5 + 6, {}, vectors),
    Case("distances", Distances, 7, {"embed": "cdist"}, vectors),
    Case("gather_positions", TakeAlong, 8 + 5),
    Case("index_add", ScatterAdd, 8 + 6, {}, graph),
    Case("scatter_add", ScatterReduce, 8 + 6, {}, graph),
]
