"""A small zoo of networks that pipeline files can name.

Each takes the shape of one sample and the number of classes, and gives logits. They live in an importable file, so that
nets made of them can be pickled and trained in several processes.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn

__all__ = ["MLP", "ConvNet", "MobileNet", "ResNet"]


class ConvNet(nn.Module):
    """
    Plain stack of 3x3 convolutions with batch norm, in stages of equal width.

    Parameters
    ----------
    input_shape : sequence of int
        Shape of one sample, (channels, height, width).
    num_classes : int
        Number of logits.
    widths : sequence of int, default=(32, 64, 128)
        Filters of each stage; a stage after the first halves height and width.
    depth : int, default=2
        Convolutions of each stage.
    dropout : float, default=0.0
        Probability that a feature before the linear layer is dropped during training.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        widths: Sequence[int] = (32, 64, 128),
        depth: int = 2,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        stages = []
        for stage, (before, width) in enumerate(pairwise((input_shape[0], *widths))):
            layers: list[nn.Module] = [nn.MaxPool2d(2)] if stage else []
            for index in range(depth):
                layers += [
                    nn.Conv2d(width if index else before, width, 3, padding=1, bias=False),
                    nn.BatchNorm2d(width),
                    nn.ReLU(),
                ]
            stages.append(nn.Sequential(*layers))
        self.stages = nn.Sequential(*stages)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(widths[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """
        Return the logits.

        Parameters
        ----------
        x : Tensor
            Images, (batch, channels, height, width).

        Returns
        -------
        Tensor
            Logits, (batch, classes).
        """
        features = self.pool(self.stages(x)).flatten(1)  # (batch, widths[-1])
        logits: Tensor = self.linear(self.dropout(features))
        return logits


class _ResidualBlock(nn.Module):
    """Two 3x3 convolutions and the identity, or a strided 1x1 convolution where the shape changes."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.shortcut = (
            nn.Identity()
            if stride == 1 and before == width
            else nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))
        )

    def forward(self, x: Tensor) -> Tensor:
        inner = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(inner)) + self.shortcut(x))


class ResNet(nn.Module):
    """
    Residual network of basic blocks.

    Parameters
    ----------
    input_shape : sequence of int
        Shape of one sample, (channels, height, width).
    num_classes : int
        Number of logits.
    widths : sequence of int, default=(16, 32, 64)
        Filters of each stage; a stage after the first halves height and width.
    depth : int, default=1
        Residual blocks of each stage.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        widths: Sequence[int] = (16, 32, 64),
        depth: int = 1,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(input_shape[0], widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
        )
        blocks = []
        for stage, (before, width) in enumerate(pairwise((widths[0], *widths))):
            for index in range(depth):
                stride = 2 if stage and not index else 1
                blocks.append(_ResidualBlock(width if index else before, width, stride))
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(widths[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """
        Return the logits.

        Parameters
        ----------
        x : Tensor
            Images, (batch, channels, height, width).

        Returns
        -------
        Tensor
            Logits, (batch, classes).
        """
        logits: Tensor = self.linear(self.pool(self.blocks(self.stem(x))).flatten(1))
        return logits


class MobileNet(nn.Module):
    """
    Depthwise-separable convolutions, each a 3x3 filter per channel and a 1x1 convolution.

    Parameters
    ----------
    input_shape : sequence of int
        Shape of one sample, (channels, height, width).
    num_classes : int
        Number of logits.
    widths : sequence of int, default=(16, 32, 64)
        Filters of the first convolution and of each separable one; every second of these halves height and width.
    """

    def __init__(self, input_shape: Sequence[int], num_classes: int, widths: Sequence[int] = (16, 32, 64)) -> None:
        super().__init__()
        layers: list[nn.Module] = [
            nn.Conv2d(input_shape[0], widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU6(),
        ]  # fmt: skip
        for index, (before, width) in enumerate(pairwise(widths)):
            layers += [
                nn.Conv2d(before, before, 3, 1 + index % 2, 1, groups=before, bias=False),
                nn.BatchNorm2d(before),
                nn.ReLU6(),
                nn.Conv2d(before, width, 1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU6(),
            ]
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(widths[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """
        Return the logits.

        Parameters
        ----------
        x : Tensor
            Images, (batch, channels, height, width).

        Returns
        -------
        Tensor
            Logits, (batch, classes).
        """
        logits: Tensor = self.linear(self.pool(self.features(x)).flatten(1))
        return logits


class MLP(nn.Module):
    """
    Linear layers with batch norm and ReLU between them, on the flattened sample.

    Parameters
    ----------
    input_shape : sequence of int
        Shape of one sample, of any number of dimensions.
    num_classes : int
        Number of logits.
    widths : sequence of int, default=(256, 128)
        Features of each hidden layer.
    dropout : float, default=0.0
        Probability that a hidden feature is dropped during training.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        widths: Sequence[int] = (256, 128),
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, width in pairwise((prod(input_shape), *widths)):
            layers += [nn.Linear(before, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(dropout)]
        self.hidden = nn.Sequential(*layers)
        self.linear = nn.Linear(widths[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """
        Return the logits.

        Parameters
        ----------
        x : Tensor
            Samples, (batch, *input_shape).

        Returns
        -------
        Tensor
            Logits, (batch, classes).
        """
        logits: Tensor = self.linear(self.hidden(x.flatten(1)))
        return logits
