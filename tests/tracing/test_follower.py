"""Most networks do in training what they do in eval mode, and are traced once."""

import pytest
import torch
from torch import Tensor, nn

from prunekit.tracing import Inputs, trace
from tests.zoo.case import image


class Modes(nn.Module):
    """A convolution whose output goes through what a test says, by the mode."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.conv, self.body, self.head = nn.Conv2d(3, 6, 3), body, nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.conv(x)).mean((2, 3)))


class DropPath(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.new_empty(len(x), 1, 1, 1).bernoulli_(0.5).div_(0.5) if self.training else x


class OtherLine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return x.relu()
        return x.relu()


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * 2.0 if self.training else x * 1.0


class Reordered(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        first, second = x.relu(), x.tanh()
        return (second if self.training else first) + first


class Noise(nn.Module):
    """Noise for each of six channels, by a number in the code that only training comes by."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.empty(1, 6, 1, 1).bernoulli_(0.5) if self.training else x


ALIKE = {
    "batch norm": nn.BatchNorm2d(6),
    "dropout": nn.Dropout(),
    "channel dropout": nn.Dropout2d(),
    "drop path": DropPath(),
    "a reshape that copies": nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Flatten(1, 2)),
}
DIFFERENT = {
    "another line": OtherLine(),
    "another number": Doubled(),
    "another tensor": Reordered(),
    "channel noise": Noise(),
}


@pytest.mark.parametrize("name", ALIKE)
def test_one_run_is_enough(name: str) -> None:
    assert len(trace(Modes(ALIKE[name]), Inputs.of(image())).runs) == 1


@pytest.mark.parametrize("name", DIFFERENT)
def test_a_mode_of_its_own_is_traced(name: str) -> None:
    assert [run.training for run in trace(Modes(DIFFERENT[name]), Inputs.of(image())).runs] == [False, True]
