"""Normalisations, activations and pooling, each between two convolutions."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules import activation

from tests.zoo.case import Case


class Around(nn.Module):
    """Convolution to 8 channels, one layer, convolution to 5, pooled head: 8 + 5 units."""

    def __init__(self, layer: nn.Module, outputs: int = 8) -> None:
        super().__init__()
        self.conv1, self.layer = nn.Conv2d(3, 8, 3, padding=1), layer
        self.conv2, self.head = nn.Conv2d(outputs, 5, 1), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(self.conv1(x))
        return self.head(F.relu(self.conv2(x)).mean((2, 3)))


def around(layer: Callable[[], nn.Module], outputs: int = 8) -> Callable[[], nn.Module]:
    """Return a function that builds `Around` with a new layer."""
    return lambda: Around(layer(), outputs)


class InstanceNorm1d3d(nn.Module):
    """Instance norm in one and three dimensions: 6 + 4."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv1d(2, 6, 3), nn.InstanceNorm1d(6, affine=True)
        self.conv2, self.norm2 = nn.Conv3d(6, 4, 1), nn.InstanceNorm3d(4, track_running_stats=True)
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm1(self.conv1(x)))
        return self.head(F.relu(self.norm2(self.conv2(x[..., None, None]))).mean((2, 3, 4)))


class LayerNormNHWC(nn.Module):
    """ConvNeXt's order: the normalised stream stays, the wide layer between the two pointwise ones shrinks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 6, 3), nn.LayerNorm(6)
        self.wide, self.narrow = nn.Linear(6, 12), nn.Linear(12, 6)
        self.gamma = nn.Parameter(torch.ones(6))
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).permute(0, 2, 3, 1)
        x = x + self.gamma * self.narrow(F.gelu(self.wide(self.norm(x))))
        return self.head(x.permute(0, 3, 1, 2).mean((2, 3)))


LAYER_NORM = "layer norm normalises over all channels together"
GROUP_NORM_1 = "group norm with one group normalises over all channels together"

NORMALISATIONS = [
    *(
        Case(f"{kind.__name__}_{own}_{tracks}", around(partial(kind, 8, affine=own, track_running_stats=tracks)), 8 + 5)
        for kind in (nn.BatchNorm2d, nn.InstanceNorm2d) for own in (True, False) for tracks in (True, False)
    ),
    Case("batch_norm_cumulative", around(lambda: nn.BatchNorm2d(8, momentum=None)), 8 + 5),
    Case("instance_norm_1d_3d", InstanceNorm1d3d, 6 + 4, {}, lambda: torch.randn(2, 2, 9)),
    Case("group_norm_4", around(lambda: nn.GroupNorm(4, 8)), 4 + 5),
    Case("group_norm_8", around(lambda: nn.GroupNorm(8, 8)), 8 + 5),
    Case("group_norm_1", around(lambda: nn.GroupNorm(1, 8)), 5, {"conv1": GROUP_NORM_1}),
    Case("group_norm_4_plain", around(lambda: nn.GroupNorm(4, 8, affine=False)), 4 + 5),
    Case("local_response_norm", around(lambda: nn.LocalResponseNorm(3)), 5, {"conv1": "in 'layer'"}),
    Case("layer_norm", around(lambda: nn.LayerNorm([8, 8, 8])), 5, {"conv1": LAYER_NORM}),
    Case("layer_norm_width", around(lambda: nn.LayerNorm(8)), 8 + 5),
    Case("layer_norm_nhwc", LayerNormNHWC, 12, {"stem": LAYER_NORM}),
    Case("channel_norm", around(lambda: Function(lambda x: F.normalize(x, dim=1))), 5, {"conv1": "over channels"}),
]  # fmt: skip


class Function(nn.Module):
    """Any function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


ARGUMENTS: dict[str, tuple[object, ...]] = {"Threshold": (0.1, -0.2), "GLU": (1,)}
"""What activations need to be built."""

OVER_CHANNELS = ("Softmin", "Softmax", "LogSoftmax")
"""Activations that work along a dimension: over the channels they freeze, over the width they do not."""

NO_LAYER = ("MultiheadAttention",)
"""Not a function of one tensor."""


def _activation_cases() -> list[Case]:
    cases = []
    for name in activation.__all__:
        kind = getattr(activation, name)
        if name in NO_LAYER:
            continue
        if name in OVER_CHANNELS:
            blocked = {"conv1": "softmax over channels in 'layer'"}
            cases.append(Case(f"{name}_channels", around(lambda k=kind: k(dim=1)), 5, blocked))
            cases.append(Case(f"{name}_width", around(lambda k=kind: k(dim=3)), 8 + 5))
        elif name == "Softmax2d":
            cases.append(Case(name, around(kind), 5, {"conv1": "softmax over channels in 'layer'"}))
        elif name == "GLU":
            cases.append(Case(name, around(lambda: nn.GLU(1), 4), 4 + 5))
        else:
            arguments = ARGUMENTS.get(name, ())
            random = name == "RReLU"
            cases.append(Case(name, around(lambda k=kind, a=arguments: k(*a)), 8 + 5, trains=not random))
    return [*cases, Case("PReLU_channels", around(lambda: nn.PReLU(8)), 8 + 5)]


ACTIVATIONS = _activation_cases()


class MaxUnpool(nn.Module):
    """Positions that were computed from data are not followed."""

    def __init__(self) -> None:
        super().__init__()
        self.pool, self.unpool = nn.MaxPool2d(2, return_indices=True), nn.MaxUnpool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.unpool(*self.pool(x))


POOLING = [
    *(
        Case(name, around(build), 8 + 5)
        for name, build in {
            "MaxPool2d": lambda: nn.MaxPool2d(3, 2, 1, ceil_mode=True),
            "MaxPool2d_dilated": lambda: nn.MaxPool2d(2, dilation=2),
            "AvgPool2d": lambda: nn.AvgPool2d(3, 2, 1, count_include_pad=False),
            "LPPool2d": lambda: nn.Sequential(nn.Sigmoid(), nn.LPPool2d(2, 2)),
            "AdaptiveAvgPool2d": lambda: nn.AdaptiveAvgPool2d((3, 2)),
            "AdaptiveMaxPool2d": lambda: nn.AdaptiveMaxPool2d(3),
            "Upsample": lambda: nn.Upsample(scale_factor=2),
            "UpsamplingBilinear2d": lambda: nn.UpsamplingBilinear2d(scale_factor=2),
            "bicubic": lambda: nn.Upsample(scale_factor=2, mode="bicubic"),
            "area": lambda: nn.Upsample(size=5, mode="area"),
            "ReflectionPad2d": lambda: nn.ReflectionPad2d(1),
            "ReplicationPad2d": lambda: nn.ReplicationPad2d(2),
            "ZeroPad2d": lambda: nn.ZeroPad2d((0, 1, 0, 1)),
            "CircularPad2d": lambda: nn.CircularPad2d(1),
            "Dropout": lambda: nn.Dropout(0.0),
            "Dropout2d": lambda: nn.Dropout2d(0.0),
            "AlphaDropout": lambda: nn.AlphaDropout(0.0),
            "Unflatten": lambda: nn.Sequential(nn.Flatten(2), nn.Unflatten(2, (8, 8))),
        }.items()
    ),
    Case("max_unpool", around(MaxUnpool), 5, {"conv1": "positions that are computed from data"}),
]

CASES = [*NORMALISATIONS, *ACTIVATIONS, *POOLING]
