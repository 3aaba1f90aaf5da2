"""The network of the pipeline file, for the scripts: 3x3 convolutions with batch norm, in stages of two."""

from torch import Tensor, nn


class ConvNet(nn.Module):
    """Widths are those of the single convolutions, so that a pruned network can be built again from its widths."""

    def __init__(self, widths: list[int], num_classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 1
        for index, width in enumerate(widths):
            if index and index % 2 == 0:
                layers.append(nn.MaxPool2d(2))
            layers += [nn.Conv2d(before, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            before = width
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.linear = nn.Linear(before, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(self.pool(self.features(x)).flatten(1))
        return logits
