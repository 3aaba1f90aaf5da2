"""What surrounds the layers: inputs, outputs, training-only parts, data types, odd modules."""

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.nets import ConvBN, PlainCNN, ResNet
from tests.zoo.case import Case, image


class TwoInputs(nn.Module):
    """An image and a vector: 6 + 5, the sum of both 7."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.read, self.embed = nn.Conv2d(3, 6, 3), nn.Linear(6, 7), nn.Linear(4, 5)
        self.join, self.head = nn.Linear(5, 7), nn.Linear(7, 3)

    def forward(self, picture: Tensor, vector: Tensor, scale: float = 1.0) -> Tensor:
        left = self.read(F.relu(self.conv(picture)).mean((2, 3)))
        return self.head(F.relu(left + scale * self.join(F.relu(self.embed(vector)))))


class TakesDict(nn.Module):
    """One argument that is a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.net = PlainCNN()

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        logits = self.net(batch["picture"])
        return {"logits": logits, "probabilities": logits.softmax(1)}


class TwoHeads(nn.Module):
    """A tuple of outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.neck = ConvBN(3, 8), ConvBN(8, 6)
        self.left, self.right = nn.Linear(8, 4), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, None]]:
        x = self.body(x)
        return self.left(x.mean((2, 3))), (self.right(self.neck(x).mean((2, 3))), None)


@dataclass
class Result:
    logits: Tensor
    features: Tensor | None = None


class ReturnsFeatures(nn.Module):
    """What is returned stays, here the features of the first convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 5, 3), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Result:
        features = F.relu(self.conv1(x))
        return Result(self.head(F.relu(self.conv2(features)).mean((2, 3))), features)


class AuxiliaryHead(nn.Module):
    """GoogLeNet's: a second classifier that exists in training only; its 4 filters are units too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.head = ConvBN(3, 8), ConvBN(8, 6), nn.Linear(6, 4)
        self.aux_conv, self.aux_head = nn.Conv2d(8, 4, 1), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Any:
        x = self.conv1(x)
        logits = self.head(self.conv2(x).mean((2, 3)))
        if self.training:
            return logits, self.aux_head(F.relu(self.aux_conv(x)).mean((2, 3)))
        return logits


class TrainingNeedsTarget(nn.Module):
    """Detection networks compute their loss in training; without a target they raise."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.head = ConvBN(3, 8), ConvBN(8, 6), nn.Linear(6, 4)
        self.aux = nn.Linear(8, 4)

    def forward(self, x: Tensor, target: Tensor | None = None) -> Tensor:
        x = self.conv1(x)
        if self.training:
            if target is None:
                raise ValueError("training needs a target")
            return F.cross_entropy(self.aux(x.mean((2, 3))), target)
        return self.head(self.conv2(x).mean((2, 3)))


class Unused(nn.Module):
    """A layer that no run meets stays as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.net = PlainCNN()
        self.never = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class SamePadding(nn.Conv2d):
    """A convolution of the user's own that pads by its input's size."""

    def forward(self, x: Tensor) -> Tensor:
        height, width = (max((-(-s // st) - 1) * st + k - s, 0) for s, st, k in zip(
            x.shape[2:], self.stride, self.weight.shape[2:], strict=True))  # fmt: skip
        x = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return F.conv2d(x, self.weight, self.bias, self.stride, 0, self.dilation, self.groups)


def same_padding() -> nn.Sequential:
    return nn.Sequential(
        SamePadding(3, 8, 3, stride=2), nn.ReLU(), SamePadding(8, 8, 3, groups=8), nn.ReLU(), SamePadding(8, 5, 1),
        nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4),
    )  # fmt: skip


class BranchOnValues(nn.Module):
    """Which way it takes depends on the numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 5, 3), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv1(x)) if x.mean() > -100 else self.conv1(x)
        return self.head(F.relu(self.conv2(x)).mean((2, 3)))


class CachesOutputs(nn.Module):
    """Keeps a tensor with a gradient history of its last training pass."""

    def __init__(self) -> None:
        super().__init__()
        self.net = PlainCNN()
        self.last: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        self.last = self.net(x)
        return self.last


def caches_outputs() -> nn.Module:
    net = CachesOutputs()
    net(image())
    return net


class CachesList(CachesOutputs):
    """Keeps all of them in a list."""

    def forward(self, x: Tensor) -> Tensor:
        self.history = [*getattr(self, "history", []), super().forward(x)][-2:]
        return self.history[-1]


def caches_list() -> nn.Module:
    net = CachesList()
    net(image())
    return net


class PlainAttribute(nn.Module):
    """A tensor of channel shape that is neither parameter nor buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 5, 3), nn.Linear(5, 4)
        self.scale = torch.linspace(0.5, 1.5, 8).reshape(8, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.conv2(self.conv1(x) * self.scale)).mean((2, 3)))


class ParameterList(nn.Module):
    """Parameters of channel shape in torch's containers: 8 + 5."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 5, 3), nn.Linear(5, 4)
        self.scales = nn.ParameterList([torch.ones(8, 1, 1), torch.ones(8, 1, 1)])
        self.named = nn.ParameterDict({"shift": torch.zeros(8, 1, 1)})

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        for scale in self.scales:
            x = x * scale
        return self.head(F.relu(self.conv2(x + self.named["shift"])).mean((2, 3)))


class AliasedParameter(nn.Module):
    """A list of the user's own that holds a parameter beside its module."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 5, 3), nn.Linear(5, 4)
        self.weights = [self.conv2.weight]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(F.conv2d(self.conv1(x), self.weights[0], self.conv2.bias)).mean((2, 3)))


class RandomDepth(nn.Module):
    """A block is left out at random in training, by Python's and NumPy's generators."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        drawn = random.random() + np.random.rand() + torch.rand(1).item() if self.training else 0.0  # noqa: NPY002
        if drawn < 1.5:
            x = x + self.block(x)
        return self.head(F.relu(x).mean((2, 3)))


def frozen_parameters() -> nn.Module:
    net = ResNet()
    for parameter in [*net.stem.parameters(), *net.block1.parameters()]:
        parameter.requires_grad_(False)
    return net


def channels_last() -> nn.Module:
    return PlainCNN().to(memory_format=torch.channels_last)


class ComplexNet(nn.Module):
    """Complex weights: a linear layer, a convolution, and their absolute value: 6 + 5."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 6, 3, dtype=torch.complex64)
        self.mix = nn.Linear(6, 5, dtype=torch.complex64)
        self.head = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.mix(self.conv(x).mean(-1)).abs())


class ComplexParameter(nn.Module):
    """A product with a complex parameter, no layer: 6 + 5."""

    def __init__(self) -> None:
        super().__init__()
        self.encode = nn.Linear(4, 6)
        self.mix = nn.Parameter(torch.randn(6, 5, dtype=torch.complex64))
        self.head = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((torch.tanh(self.encode(x)).to(torch.complex64) @ self.mix).abs())


class TeacherMask(nn.Module):
    """A buffer that the forward pass itself writes to."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 5, 3), nn.Linear(5, 4)
        self.register_buffer("average", torch.zeros(8))
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        if self.training:
            self.calls += 1
            self.average.mul_(0.9).add_(x.detach().mean((0, 2, 3)), alpha=0.1)
        return self.head(F.relu(self.conv2(x - self.average[None, :, None, None])).mean((2, 3)))


VECTOR = torch.linspace(-1.0, 1.0, 8).reshape(2, 4)

CASES = [
    Case("two_inputs", TwoInputs, 6 + 5 + 7, {"head": "network output"}, lambda: (image(), VECTOR)),
    Case("keyword_inputs", TwoInputs, 6 + 5 + 7, {}, lambda: {"vector": VECTOR, "picture": image(), "scale": 0.5}),
    Case("dictionary_in_and_out", TakesDict, 14, {"net.head": "softmax over"}, lambda: ({"picture": image()},)),
    Case("tuple_out", TwoHeads, 8 + 6, {"left": "network output", "right": "network output"}),
    Case("features_out", ReturnsFeatures, 5, {"conv1": "network output"}),
    Case("auxiliary_head", AuxiliaryHead, 8 + 6 + 4),
    Case("training_with_target", TrainingNeedsTarget, 8 + 6, inputs=lambda: (image(), torch.tensor([0, 1]))),
    Case("unused_layer", Unused, 14),
    Case("own_convolution", same_padding, 8 + 5),
    Case("branch_on_values", BranchOnValues, 8 + 5),
    Case("caches_outputs", caches_outputs, 14),
    Case("caches_list", caches_list, 14),
    Case("plain_attribute", PlainAttribute, 5, {"conv1": "surroundings.py:"}),
    Case("parameter_list", ParameterList, 8 + 5),
    Case("aliased_parameter", AliasedParameter, 0, {"conv1": "surroundings.py:"}),
    Case("random_depth", RandomDepth, 8, trains=False),
    Case("frozen_parameters", frozen_parameters, 40),
    Case("channels_last", channels_last, 14, inputs=lambda: image().to(memory_format=torch.channels_last)),
    Case("float64", lambda: PlainCNN().double(), 14, inputs=lambda: image().double()),
    Case("bfloat16", lambda: ResNet().bfloat16(), 40, inputs=lambda: image().bfloat16()),
    Case("complex", ComplexNet, 6 + 5, {}, lambda: torch.randn(2, 2, 9, dtype=torch.complex64)),
    Case("complex_parameter", ComplexParameter, 6 + 5, {}, lambda: torch.randn(3, 4)),
    Case("own_running_average", TeacherMask, 8 + 5),
]  # fmt: skip
