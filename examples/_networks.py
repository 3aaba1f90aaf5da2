"""The networks of the examples, in a file that pickle and worker processes can import."""

from itertools import pairwise

import torch
from torch import Tensor, nn


class DigitsNet(nn.Module):
    """Three convolutions with batch norm for images of 8 x 8 pixels."""

    def __init__(self, widths: tuple[int, int, int] = (32, 64, 64)) -> None:
        super().__init__()
        first, second, third = widths
        self.conv1 = nn.Conv2d(1, first, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(first)
        self.conv2 = nn.Conv2d(first, second, 3, padding=1)
        self.norm2 = nn.BatchNorm2d(second)
        self.conv3 = nn.Conv2d(second, third, 3, padding=1)
        self.norm3 = nn.BatchNorm2d(third)
        self.pool = nn.MaxPool2d(2)
        self.linear = nn.Linear(third * 2 * 2, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of images of shape (batch, 1, 8, 8)."""
        x = self.pool(self.norm1(self.conv1(x)).relu())  # (batch, first, 4, 4)
        x = self.norm2(self.conv2(x)).relu()
        x = self.pool(self.norm3(self.conv3(x)).relu())  # (batch, third, 2, 2)
        return self.linear(x.flatten(1))


class Perceptron(nn.Module):
    """Two hidden layers for the rows of a table."""

    def __init__(self, num_features: int, num_classes: int, num_hidden: int = 64) -> None:
        super().__init__()
        self.hidden1 = nn.Linear(num_features, num_hidden)
        self.hidden2 = nn.Linear(num_hidden, num_hidden)
        self.output = nn.Linear(num_hidden, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of rows of shape (batch, features)."""
        return self.output(self.hidden2(self.hidden1(x).relu()).relu())


class SeriesNet(nn.Sequential):
    """Three 1-d convolutions, each of which halves the length of a window of a series, and one value as output."""

    def __init__(self, window: int = 96, widths: tuple[int, int, int] = (32, 64, 64)) -> None:
        layers: list[nn.Module] = []
        for before, width in pairwise((1, *widths)):
            layers += [nn.Conv1d(before, width, 5, stride=2, padding=2), nn.BatchNorm1d(width), nn.ReLU()]
        super().__init__(*layers, nn.Flatten(), nn.Linear(widths[-1] * window // 8, 1))


class VisionTransformer(nn.Module):
    """Small transformer: an image of 8 x 8 pixels is 16 patches of 2 x 2, and each patch a token."""

    def __init__(self, width: int = 32, num_heads: int = 4, num_hidden: int = 96, num_layers: int = 2) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 2, stride=2)
        self.positions = nn.Parameter(0.02 * torch.randn(16, width))
        layer = nn.TransformerEncoderLayer(
            width, num_heads, num_hidden, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(layer, num_layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of images of shape (batch, 1, 8, 8)."""
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.positions  # (batch, 16, width)
        return self.linear(self.norm(self.encoder(tokens)).mean(1))
