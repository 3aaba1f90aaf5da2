"""A difference of rounding is told from one of structure."""

import warnings

import pytest
import torch
from torch import Tensor, nn

from prunekit.exceptions import VerificationError
from prunekit.surgery.comparison import compare
from prunekit.tracing import Inputs


class Scaled(nn.Module):
    """Multiplies by its parameter, after what is to be different."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((5,), 2.0))
        self.register_buffer("offset", torch.tensor(1000.0))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"result": self.before(x) * self.weight, "sizes": torch.tensor(x.shape)}

    def before(self, x: Tensor) -> Tensor:
        return x


class Rounded(Scaled):
    def before(self, x: Tensor) -> Tensor:
        return (x + self.offset) - self.offset


class Fixed(Scaled):
    """Computes in a type of its own."""

    def before(self, x: Tensor) -> Tensor:
        return (x.float() + self.offset.float()) - self.offset.float()


class Other(Scaled):
    def before(self, x: Tensor) -> Tensor:
        return x * 1.0001


X = torch.linspace(-1.0, 1.0, 15).reshape(3, 5)


def test_what_rounding_alone_makes_different_is_told_and_passes() -> None:
    one, other = Scaled(), Rounded()
    with pytest.warns(UserWarning, match="in double precision, but to no more than .* rounding"):
        difference = compare(one, other, Inputs.of(X), 1e-5)
    assert 1e-5 < difference < 1e-3
    assert {tensor.dtype for module in (one, other) for tensor in module.state_dict().values()} == {torch.float32}


def test_half_precision_is_widened_as_well() -> None:
    with pytest.warns(UserWarning, match="rounding"):
        compare(Scaled().bfloat16(), Rounded().bfloat16(), Inputs.of(X.bfloat16()), 1e-5)


@pytest.mark.parametrize("other", [Other(), Fixed()], ids=["structure", "own-type"])
def test_any_other_difference_is_an_error(other: nn.Module) -> None:
    with pytest.raises(VerificationError, match="must agree to 1e-05"):
        compare(Scaled(), other, Inputs.of(X), 1e-5)


def test_networks_that_agree_are_silent() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert compare(Scaled(), Scaled(), Inputs.of(X), 1e-5) == 0.0
