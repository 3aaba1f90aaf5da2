"""The layer table."""

import pytest
import torch
from torch import nn

from prunekit import PrunableNetwork
from prunekit.cost import COLUMNS
from tests.nets import PlainCNN, ResNet, reference_net


def remove(network: PrunableNetwork, filters: dict[str, int]) -> None:
    """Remove so many filters of the named layers, whatever their importance."""
    unit_of = {
        name: [u.index for u in network.units if any(t == f"{name}.weight" for t, _ in u.filters)] for name in filters
    }
    snapshot = network.snapshot()
    for name, count in filters.items():
        snapshot.removed[unit_of[name][:count]] = True
    network.restore(snapshot)


def test_reference_table():
    network = PrunableNetwork(reference_net(), torch.randn(1, 1, 28, 28))
    remove(network, {"0": 2, "3": 2, "6": 4})

    table = network.analyze().set_index("name")
    layers = table.loc[["0", "1", "3", "4", "6", "7", "10"]]

    assert layers["num_learnables"].to_list() == [468, 36, 2934, 36, 2608, 32, 92170]
    assert layers["learnables_reduction"].round(5).to_list() == [0.1, 0.1, 0.18950, 0.1, 0.27956, 0.2, 0.19998]
    assert table.loc[["0", "3", "6"], "num_pruned_filters"].to_list() == [2, 2, 4]
    assert table["num_pruned_filters"].sum() == 8
    assert [table.loc[name, "activation_size"] for name in ("0", "3", "6")] == [
        (1, 18, 24, 24),
        (1, 18, 24, 24),
        (1, 16, 24, 24),
    ]
    assert set(table.loc[["0", "3", "6"], "activation_format"]) == {"NCHW"}
    assert table.attrs["totals"]["params"]["before"] == 123090
    assert table.attrs["totals"]["params"]["after"] == table["num_learnables"].sum() == 98284


def test_columns_and_types():
    table = PrunableNetwork(PlainCNN(), torch.randn(1, 3, 8, 8)).analyze()

    assert tuple(table.columns) == COLUMNS
    for column in ("num_learnables", "num_pruned_filters", "num_filters", "num_prunable", "macs", "memory_bytes"):
        assert table[column].dtype == "int64", column
    for column in ("learnables_reduction", "macs_reduction"):
        assert table[column].dtype == "float64", column
    assert table.loc[0, "learnable_sizes"] == {"weight": (8, 3, 3, 3), "bias": (8,)}
    assert table.loc[1, "state_sizes"] == {"running_mean": (8,), "running_var": (8,), "num_batches_tracked": ()}


def test_rows_come_in_the_order_of_execution_and_unused_layers_last():
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Linear(2, 2)
            self.second = nn.Linear(5, 2)
            self.first = nn.Linear(3, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(x))

    table = PrunableNetwork(Network(), torch.randn(1, 3)).analyze()

    assert table["name"].to_list() == ["first", "second", "unused"]
    assert table.loc[2, "activation_size"] is None


def test_table_after_pruning_is_the_table_of_the_compacted_network():
    network = PrunableNetwork(ResNet(), torch.randn(1, 3, 16, 16), criterion="random")
    network.update_prunables(15)
    pruned = network.analyze()

    fresh = PrunableNetwork(network.compact(), torch.randn(1, 3, 16, 16)).analyze()

    same = ["name", "type", "activation_size", "activation_format", "learnable_sizes", "num_learnables", "state_sizes"]
    same += ["num_filters", "num_prunable", "macs", "memory_bytes", "blocked_by"]
    assert pruned[same].to_dict("list") == fresh[same].to_dict("list")


@pytest.mark.parametrize(
    ("module", "sample", "layout"),
    [
        (nn.Sequential(nn.Conv1d(2, 4, 3), nn.Conv1d(4, 2, 1)), torch.randn(1, 2, 9), "NCL"),
        (nn.Sequential(nn.Conv3d(2, 4, 1), nn.Conv3d(4, 2, 1)), torch.randn(1, 2, 3, 3, 3), "NCDHW"),
        (nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 2)), torch.randn(1, 2), "NC"),
        (nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 2)), torch.randn(1, 5, 2), "NTC"),
        (nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 2)), torch.randn(1, 5, 6, 2), "NHWC"),
    ],
)
def test_activation_formats(module, sample, layout):
    assert PrunableNetwork(module, sample).analyze().loc[0, "activation_format"] == layout


def test_layers_that_another_one_uses_stand_after_it():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = nn.Linear(2, 2)
            self.first = nn.MultiheadAttention(8, 2, batch_first=True)
            self.second = nn.Linear(8, 8)
            self.last = nn.Linear(8, 3)

        def forward(self, x):
            return self.last(self.second(self.first(x, x, x)[0]).relu())

    table = PrunableNetwork(Net(), torch.randn(2, 4, 8)).analyze()

    assert table["name"].tolist() == ["first", "first.out_proj", "second", "last", "unused"]
