"""`analyze_compression`: what may go at most, what blocks the rest and what to do about it."""

import pytest
import torch
from sklearn.frozen import FrozenEstimator
from torch import nn

from prunekit import PrunableNetwork, TaylorPruner, analyze_compression
from prunekit.analysis._advice import _OTHERWISE, advice_for
from prunekit.exceptions import ParameterError, ParameterTypeError
from prunekit.tracing import Reason
from tests.nets import PlainCNN, ResNet, SqueezeNet
from tests.nets_skorch import ConvNet, make_classifier, make_images, quick

IMAGE = torch.randn(2, 3, 16, 16)


class Blocked(nn.Module):
    """Every filter stays, for a reason of its own."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(3, 8, 3, padding=1)
        self.b = nn.Conv2d(8, 8, 3, padding=1)
        self.c = nn.Conv2d(8, 3, 3, padding=1)
        self.f = nn.Linear(8 * 64, 4)

    def forward(self, x):
        z = self.b(self.a(x).softmax(1))
        z = torch.fft.fft(z, dim=1).real.contiguous()
        return self.f(z.view(-1, 512)), x + self.c(z)


class Fixed(nn.Module):
    """Reshapes to a number."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3)
        self.head = nn.Linear(8 * 36, 2)

    def forward(self, x):
        return self.head(self.conv(x).view(-1, 288))


@pytest.mark.parametrize("make", [ResNet, SqueezeNet])
def test_the_largest_reductions_are_those_of_the_network(make):
    network = PrunableNetwork(make(), IMAGE)

    table = analyze_compression(make(), IMAGE)

    for name, resource in (("params", "params"), ("macs", "macs"), ("filters", "filters"), ("memory_bytes", "memory")):
        assert table.attrs["totals"][name]["reduction"] == pytest.approx(network.max_reduction(resource))


def test_rows_are_what_is_left_when_everything_is_gone():
    network = PrunableNetwork(PlainCNN(), torch.randn(1, 3, 8, 8), criterion="random")
    table = analyze_compression(network).set_index("name")
    network.update_prunables(1000)
    gone = network.analyze().set_index("name").loc[table.index]

    assert table["num_removable"].to_list() == gone["num_pruned_filters"].to_list() == [7, 5, 0]
    assert table["max_learnables_reduction"].to_list() == gone["learnables_reduction"].to_list()
    assert table["max_macs_reduction"].to_list() == gone["macs_reduction"].to_list()


def test_constraints_of_a_pruner_count():
    net = make_classifier(ConvNet).initialize()
    X, _ = make_images(10)

    table = analyze_compression(TaylorPruner(FrozenEstimator(net), min_channels=4, exclude="features.4"), X)

    assert table.set_index("name")["num_removable"].to_dict() == {"features.0": 4, "features.4": 0, "classifier": 0}
    assert table.set_index("name")["advice"]["features.4"].startswith("Change 'include' or 'exclude'")


def test_a_network_with_everything_blocked():
    module, sample = Blocked(), torch.randn(2, 3, 8, 8)
    table = analyze_compression(module, sample)
    reasons = analyze_compression(module, sample, level="reason")

    assert table["name"].to_list() == ["a", "b", "f", "c"]
    assert (table["num_prunable"] == 0).all()
    assert table["max_learnables_reduction"].max() == 0.0
    assert table.attrs["totals"]["params"]["reduction"] == 0.0
    assert (table["blocked_by"] != "").all()
    assert (table["advice"] != "").all()
    assert reasons["layers"].to_list() == [("a",), ("b",), ("f",), ("c",)]
    assert reasons["num_filters"].to_list() == [8, 8, 4, 3]
    assert reasons["location"].str.startswith("test_compression.py:").to_list() == [True, True, False, True]
    assert (reasons["advice"] != _OTHERWISE).all()
    assert table.dtypes.to_dict() == analyze_compression(ResNet(), IMAGE).dtypes.to_dict()
    assert reasons.dtypes.to_dict() == analyze_compression(ResNet(), IMAGE, level="reason").dtypes.to_dict()


def test_a_size_in_the_models_code_is_told_with_its_line():
    row = analyze_compression(Fixed(), torch.randn(2, 3, 8, 8)).iloc[0]

    assert "fixes a size" in row["blocked_by"] or "fixes the size 288" in row["blocked_by"]
    assert "test_compression.py:" in row["blocked_by"]
    assert "x.flatten(1)" in row["advice"]


def test_following_the_advice_on_norms_helps():
    net = nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.Linear(8, 3))
    x = torch.randn(2, 5)

    assert 'norms="subset"' in analyze_compression(net, x)["advice"][0]
    assert analyze_compression(PrunableNetwork(net, x, norms="subset"))["num_removable"][0] > 0


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("network output", "Nothing to change"),
        ("excluded by the user", "exclude"),
        ("the model's code fixes the size 256", "flatten"),
        ("a number computed from a size changes from (8,) to (4,)", "flatten"),
        ("combined with a tensor whose channels always stay, such as the network's input", "1x1 convolution"),
        ("concatenated across its channels with a tensor whose channels always stay", "1x1 convolution"),
        ("cumsum over channels", "another dimension"),
        ("mean over channels", "reduction"),
        ("width of a single attention head", "heads"),
        ("summed over in a product of activations", "heads"),
        ("unknown operation aten::_fft_r2c", "report"),
        ("its 8 filters can only be removed together", "tied"),
        ("selected by an index", "slices"),
        ("group norm with one group normalises over all channels together", "module of its own"),
        ("something that nobody has seen", "report"),
    ],
)
def test_advice(text, word):
    assert word in advice_for(Reason(text))


def test_fitted_pruner_needs_inputs():
    X, y = make_images(100)
    pruner = quick(make_classifier(ConvNet, max_epochs=1)).fit(X, y)

    assert analyze_compression(pruner, X)["num_removable"].sum() >= (~pruner.support_).sum()
    with pytest.raises(ParameterTypeError, match="'X' parameter of analyze_compression must hold example inputs"):
        analyze_compression(pruner)


def test_level():
    with pytest.raises(ParameterError, match="'level' parameter of analyze_compression must be one of"):
        analyze_compression(PlainCNN(), IMAGE, level="unit")
