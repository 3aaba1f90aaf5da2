"""Code that asks for its mode is noticed, so that all other networks need not be followed in training."""

import pytest
import torch
from torch import Tensor, nn

from prunekit.tracing import Inputs, trace
from prunekit.tracing import _trace as tracing
from prunekit.tracing._modes import mode_readers
from tests.zoo.case import image


class Asking(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.relu() if self.training else x


class Freezing(nn.Module):
    """Changes more than the mode when it is changed."""

    def __init__(self) -> None:
        super().__init__()
        self.auxiliary = True

    def train(self, mode: bool = True) -> "Freezing":
        self.auxiliary = mode
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        return x.relu() if self.auxiliary else x


class Property(nn.Module):
    @property
    def training(self) -> bool:
        return self._mode

    @training.setter
    def training(self, mode: bool) -> None:
        self._mode = mode

    def forward(self, x: Tensor) -> Tensor:
        return x.relu() if self.training else x


def network(body: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), body, nn.Flatten(), nn.Linear(216, 4))


@pytest.mark.parametrize("body", [Asking(), Freezing(), Property()], ids=lambda body: type(body).__name__)
def test_other_operations_in_training_are_noticed(body: nn.Module) -> None:
    runs = trace(network(body), Inputs.of(image())).runs
    assert [run.training for run in runs] == [False, True]
    assert [sum(record.name.startswith("aten.relu") for record in run.operations) for run in runs] == [0, 1]


@pytest.mark.parametrize("body", [nn.ReLU(), nn.Dropout(), nn.Dropout2d()], ids=lambda body: type(body).__name__)
def test_networks_that_do_not_ask_are_run_once(body: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    def follow(*args: object) -> None:
        raise AssertionError("the training mode was followed")

    monkeypatch.setattr(tracing, "Follower", follow)
    assert len(trace(network(body), Inputs.of(image())).runs) == 1


def test_attention_does_not_ask() -> None:
    module = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5, batch_first=True)
    assert len(trace(module, Inputs.of(torch.randn(2, 5, 8))).runs) == 1


def test_modules_are_as_before() -> None:
    module = network(nn.ReLU())
    with mode_readers() as outer, mode_readers() as inner:
        assert module.training
        module.eval()
        assert not module[0].training
        del module[0].training
        with pytest.raises(AttributeError, match="training"):
            _ = module[0].training
        module[0].training = True
    assert outer.codes == inner.codes
    assert outer.can_tell(module)
    assert "training" not in vars(nn.Module)
    assert vars(module)["training"] is False
    assert vars(module[0])["training"] is True
