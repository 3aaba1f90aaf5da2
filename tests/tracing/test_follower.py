"""Most networks do in training what they do in eval mode, and are traced once."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prunekit.surgery.formulas import written_out_norms
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


class RootMeanSquare(nn.Module):
    """An RMS norm in operations of its own, which is traced as one."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6))


class NormThenDropout(nn.Module):
    """Its drop path asks for the mode, so that both modes are compared."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.drop = RootMeanSquare(), DropPath()

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.norm(x.movedim(1, -1)).movedim(-1, 1))


class AttentionDropout(nn.Module):
    """Fused attention of positions, with dropout in training alone."""

    def __init__(self, masked: bool) -> None:
        super().__init__()
        self.masked = masked

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2).unsqueeze(1)  # (batch, 1 head, positions, channels)
        mask = torch.zeros(tokens.size(2), tokens.size(2), device=x.device) if self.masked else None
        found = F.scaled_dot_product_attention(tokens, tokens, tokens, mask, dropout_p=0.5 if self.training else 0.0)
        return found.squeeze(1).transpose(1, 2).unflatten(2, x.shape[2:])


ALIKE = {
    "batch norm": nn.BatchNorm2d(6),
    "dropout": nn.Dropout(),
    "channel dropout": nn.Dropout2d(),
    "drop path": DropPath(),
    "written-out norm": NormThenDropout(),
    "dropout of an attention": AttentionDropout(False),
    "dropout of a masked attention": AttentionDropout(True),
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
    module = Modes(ALIKE[name])
    assert len(trace(module, Inputs.of(image()), written_out_norms(module)).runs) == 1


@pytest.mark.parametrize("name", DIFFERENT)
def test_a_mode_of_its_own_is_traced(name: str) -> None:
    assert [run.training for run in trace(Modes(DIFFERENT[name]), Inputs.of(image())).runs] == [False, True]
