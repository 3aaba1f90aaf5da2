"""Small networks that more than one test file prunes; those that only the zoo looks at stand there."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def reference_net() -> nn.Sequential:
    """Return the network of the reference table: 28x28x1 input, three convolutions, 123090 learnables."""
    return nn.Sequential(
        nn.Conv2d(1, 20, 5),
        nn.BatchNorm2d(20),
        nn.ReLU(),
        nn.Conv2d(20, 20, 3, padding="same"),
        nn.BatchNorm2d(20),
        nn.ReLU(),
        nn.Conv2d(20, 20, 3, padding="same"),
        nn.BatchNorm2d(20),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24 * 24 * 20, 10),
    )


class PlainCNN(nn.Module):
    """Two convolutions with batch norm and a linear layer, 3x8x8 input: 8 + 6 units."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 6, 3)
        self.bn2 = nn.BatchNorm2d(6)
        self.head = nn.Linear(6 * 9, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.max_pool2d(F.relu(self.bn2(self.conv2(x))), 2)
        return self.head(x.flatten(1))


class ConvBN(nn.Sequential):
    """Convolution that keeps the size, batch norm, ReLU."""

    def __init__(self, inputs: int, outputs: int, size: int = 3, stride: int = 1, groups: int = 1) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
        )


class ResidualBlock(nn.Module):
    """Two convolutions and a shortcut, which is a convolution where size or stride change."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = ConvBN(inputs, outputs, stride=stride)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        same = inputs == outputs and stride == 1
        self.shortcut = (
            nn.Identity()
            if same
            else nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn2(self.conv2(self.conv1(x))) + self.shortcut(x))


class ResNet(nn.Module):
    """A residual stream of 8 channels, then one of 12: 8 + 8 + 12 + 12 units."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = ConvBN(3, 8)
        self.block1 = ResidualBlock(8, 8)
        self.block2 = ResidualBlock(8, 12, stride=2)
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block2(self.block1(self.stem(x))).mean((2, 3)))


class Fire(nn.Module):
    """SqueezeNet's module: squeeze, then two expansions side by side."""

    def __init__(self, inputs: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeeze, 1)
        self.expand1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3 = nn.Conv2d(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.squeeze(x))
        return torch.cat([F.relu(self.expand1(x)), F.relu(self.expand3(x))], 1)


class SqueezeNet(nn.Module):
    """Two fire modules between convolutions: every filter is a unit but the 4 of the classifier, 8 + 16 + 13."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True), Fire(8, 4, 6), Fire(12, 3, 5)
        )
        self.classifier = nn.Sequential(nn.Dropout(0.0), nn.Conv2d(10, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.features(x)).flatten(1)


def dense_net() -> nn.Sequential:
    """Return a network of two hidden linear layers, 6 inputs, 3 outputs: 8 + 5 units."""
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5), nn.Tanh(), nn.Linear(5, 3))


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give every parameter and buffer values that a trained network could have: nothing is zero or one by default."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if not (tensor.is_floating_point() or tensor.is_complex()):
                continue
            noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            if "running_var" in name:
                values = noise.square() + 0.5
            elif tensor.dim() < 2:
                values = 1.0 + 0.3 * noise
            else:
                values = noise * (1.5 / tensor[0].numel() ** 0.5)
            if tensor.is_complex():
                values = torch.complex(values, values.flip(0))
            tensor.copy_(values)
    return module
