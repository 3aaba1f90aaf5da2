"""A small zoo of networks that pipeline files can name.

Each takes the shape of one sample and the number of classes, and gives logits; in a regression ``num_classes`` is the
number of targets, and what comes out are their values. They live in an importable file, so that
nets made of them can be pickled and trained in several processes.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["MLP", "ConvNet", "ConvNet1d", "MobileNet", "ResNet", "ViT"]


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


class ConvNet1d(nn.Module):
    """
    Convolutions over series with batch norm, max pooling between them.

    Parameters
    ----------
    input_shape : sequence of int
        Shape of one sample, (channels, length).
    num_classes : int
        Number of logits.
    widths : sequence of int, default=(32, 64, 64)
        Filters of each convolution; one after the first halves the length.
    kernel_size : int, default=5
        Length of the filters.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        widths: Sequence[int] = (32, 64, 64),
        kernel_size: int = 5,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for stage, (before, width) in enumerate(pairwise((input_shape[0], *widths))):
            layers += [nn.MaxPool1d(2)] if stage else []
            convolution = nn.Conv1d(before, width, kernel_size, padding=kernel_size // 2, bias=False)
            layers += [convolution, nn.BatchNorm1d(width), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool1d(1)
        self.linear = nn.Linear(widths[-1], num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """
        Return the logits.

        Parameters
        ----------
        x : Tensor
            Series, (batch, channels, length).

        Returns
        -------
        Tensor
            Logits, (batch, classes).
        """
        logits: Tensor = self.linear(self.pool(self.features(x)).flatten(1))
        return logits


class _Attention(nn.Module):
    """Self-attention of several heads."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        mixed = F.scaled_dot_product_attention(q, k, v)  # (batch, heads, tokens, width of a head)
        result: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return result


class _EncoderBlock(nn.Module):
    """Attention and a hidden layer, each added to what comes in."""

    def __init__(self, width: int, num_heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), _Attention(width, num_heads)
        self.norm2, self.fc1, self.fc2 = nn.LayerNorm(width), nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        result: Tensor = x + self.fc2(F.gelu(self.fc1(self.norm2(x))))
        return result


class ViT(nn.Module):
    """
    Small vision transformer; heads and hidden units can be pruned.

    Parameters
    ----------
    input_shape : sequence of int
        Shape of one sample, (channels, height, width); both at least ``patch_size``.
    num_classes : int
        Number of logits.
    patch_size : int, default=4
        Height and width of a patch, which makes a token.
    width : int, default=64
        Features of a token; a multiple of ``num_heads``.
    depth : int, default=4
        Blocks.
    num_heads : int, default=4
        Attention heads of each block.
    hidden : int, default=128
        Hidden units of each block.
    """

    def __init__(
        self,
        input_shape: Sequence[int],
        num_classes: int,
        patch_size: int = 4,
        width: int = 64,
        depth: int = 4,
        num_heads: int = 4,
        hidden: int = 128,
    ) -> None:
        super().__init__()
        self.patches = nn.Conv2d(input_shape[0], width, patch_size, stride=patch_size)
        tokens = prod(size // patch_size for size in input_shape[1:])
        self.positions = nn.Parameter(0.02 * torch.randn(1, tokens, width))
        self.blocks = nn.ModuleList(_EncoderBlock(width, num_heads, hidden) for _ in range(depth))
        self.norm, self.linear = nn.LayerNorm(width), nn.Linear(width, num_classes)

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
        x = self.patches(x).flatten(2).transpose(1, 2) + self.positions  # (batch, tokens, width)
        for block in self.blocks:
            x = block(x)
        logits: Tensor = self.linear(self.norm(x).mean(1))
        return logits
