"""Convolutional networks by their architecture."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.nets import ConvBN, PlainCNN, ResNet, SqueezeNet, dense_net
from tests.zoo.case import Case, image


def vgg() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(48, 16), nn.ReLU(), nn.Dropout(0.0), nn.Linear(16, 4),
    )  # fmt: skip


def conv1d() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(2, 6, 3), nn.BatchNorm1d(6), nn.ReLU(), nn.AvgPool1d(2),
        nn.Conv1d(6, 5, 3, stride=2), nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(5, 4),
    )  # fmt: skip


def conv3d() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv3d(1, 4, 3, padding=1), nn.BatchNorm3d(4), nn.ReLU(), nn.MaxPool3d(2),
        nn.Conv3d(4, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool3d((1, 2, 2)), nn.Flatten(), nn.Linear(24, 4),
    )  # fmt: skip


class SqueezeExcite(nn.Module):
    def __init__(self, channels: int, squeeze: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeeze, 1)
        self.fc2 = nn.Conv2d(squeeze, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * F.hardsigmoid(self.fc2(F.relu(self.fc1(F.adaptive_avg_pool2d(x, 1)))))


class MobileNet(nn.Module):
    """Inverted residual: the stem's 8 channels are those of the projection; expansion, depthwise and gate share 16."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBN(3, 8, stride=2)
        self.expand = ConvBN(8, 16, 1)
        self.depthwise = ConvBN(16, 16, groups=16)
        self.gate = SqueezeExcite(16, 4)
        self.project = nn.Sequential(nn.Conv2d(16, 8, 1, bias=False), nn.BatchNorm2d(8))
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.project(self.gate(self.depthwise(self.expand(x))))
        return self.head(F.hardswish(x).mean((2, 3)))


def depthwise_multiplier() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 3, groups=4), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 6, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4),
    )  # fmt: skip


def grouped() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 12, 3, groups=4), nn.BatchNorm2d(12), nn.ReLU(),
        nn.Conv2d(12, 5, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4),
    )  # fmt: skip


def depthwise_first() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, groups=3), nn.ReLU(), nn.Conv2d(6, 5, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(5, 4),
    )  # fmt: skip


def transposed() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(), nn.ConvTranspose2d(6, 5, 2, stride=2), nn.BatchNorm2d(5),
        nn.ReLU(), nn.Conv2d(5, 2, 1),
    )  # fmt: skip


def grouped_transposed() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.ConvTranspose2d(8, 12, 2, stride=2, groups=4), nn.ReLU(),
        nn.Conv2d(12, 2, 1),
    )  # fmt: skip


def transposed_1d() -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(2, 6, 3), nn.ReLU(), nn.ConvTranspose1d(6, 5, 3), nn.ReLU(), nn.Conv1d(5, 2, 1))


def transposed_3d() -> nn.Sequential:
    return nn.Sequential(nn.Conv3d(1, 4, 3), nn.ReLU(), nn.ConvTranspose3d(4, 6, 3), nn.ReLU(), nn.Conv3d(6, 2, 1))


class DenseNet(nn.Module):
    """Every layer reads all channels before it: 6 + 4 + 4."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norms = nn.ModuleList([nn.BatchNorm2d(6), nn.BatchNorm2d(10)])
        self.convs = nn.ModuleList([nn.Conv2d(6, 4, 3, padding=1), nn.Conv2d(10, 4, 3, padding=1)])
        self.norm = nn.BatchNorm2d(14)
        self.head = nn.Linear(14, 4)

    def forward(self, x: Tensor) -> Tensor:
        features = [self.stem(x)]
        for norm, conv in zip(self.norms, self.convs, strict=True):
            features.append(conv(F.relu(norm(torch.cat(features, 1)))))
        return self.head(F.relu(self.norm(torch.cat(features, 1))).mean((2, 3)))


class UNet(nn.Module):
    """Skip connections by concatenation: 6 + 8 + 10 down, 8 + 8 + 6 + 6 up, 2 come out."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = ConvBN(3, 6), ConvBN(6, 8), ConvBN(8, 10)
        self.up2, self.merge2 = nn.ConvTranspose2d(10, 8, 2, 2), ConvBN(16, 8)
        self.up1, self.merge1 = nn.ConvTranspose2d(8, 6, 2, 2), ConvBN(12, 6)
        self.head = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.down1(x)
        second = self.down2(F.max_pool2d(first, 2))
        x = self.up2(self.bottom(F.max_pool2d(second, 2)))
        x = self.up1(self.merge2(torch.cat([second, x], 1)))
        return self.head(self.merge1(torch.cat([first, x], 1)))


class TextCNN(nn.Module):
    """The width of an embedding is made of channels too: 8 + 6."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(20, 8)
        self.conv = nn.Conv1d(8, 6, 3)
        self.head = nn.Linear(6, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(F.relu(self.conv(self.table(tokens).transpose(1, 2))).amax(-1))


class PoolAndResize(nn.Module):
    """Pooling, padding and resizing act on each channel alone: 6 + 5."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 5, 3)
        self.head = nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.lp_pool2d(F.relu(self.conv1(x)) + 0.1, 2, 2)
        x = F.pad(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False), (1, 1, 1, 1), mode="reflect")
        x = F.interpolate(F.pad(self.conv2(x), (0, 1, 2, 0), value=0.5), size=(5, 5), mode="nearest")
        return self.head(F.adaptive_max_pool2d(F.avg_pool2d(x, 2, 1), 1).flatten(1))


OUTPUT = {"head": "network output"}

CASES = [
    Case("plain", PlainCNN, 14, OUTPUT),
    Case("linear", dense_net, 13, {"4": "network output"}, lambda: torch.randn(5, 6)),
    Case("vgg", vgg, 8 + 8 + 12 + 12 + 16, {"14": "network output"}),
    Case("conv1d", conv1d, 11, {"8": "network output"}, lambda: torch.randn(2, 2, 16)),
    Case("conv3d", conv3d, 10, {"8": "network output"}, lambda: torch.randn(2, 1, 4, 6, 6)),
    Case("resnet", ResNet, 8 + 8 + 12 + 12, OUTPUT),
    Case("mobilenet_squeeze_excite", MobileNet, 8 + 16 + 4, OUTPUT),
    Case("depthwise_multiplier", depthwise_multiplier, 4 + 6),
    Case("grouped", grouped, 4 + 5),
    Case("depthwise_on_the_input", depthwise_first, 5, {"0": "such as the network's input"}),
    Case("transposed", transposed, 6 + 5, {"5": "network output"}),
    Case("grouped_transposed", grouped_transposed, 4),
    Case("transposed_1d", transposed_1d, 11, inputs=lambda: torch.randn(2, 2, 9)),
    Case("transposed_3d", transposed_3d, 10, inputs=lambda: torch.randn(2, 1, 4, 4, 4)),
    Case("densenet", DenseNet, 6 + 4 + 4, OUTPUT),
    Case("squeezenet", SqueezeNet, 8 + 16 + 13, {"classifier.1": "network output"}),
    Case("unet", UNet, 6 + 8 + 10 + 8 + 8 + 6 + 6, OUTPUT),
    Case("text_cnn", TextCNN, 8 + 6, OUTPUT, lambda: torch.arange(14).reshape(2, 7)),
    Case("pool_and_resize", PoolAndResize, 6 + 5, OUTPUT, lambda: image(size=10)),
]
