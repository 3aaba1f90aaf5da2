"""The tables of `analyze`: their columns, data types, order and sums."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from prunekit import PrunableNetwork, analyze
from prunekit.cost import CostModel, count_params
from prunekit.surgery import prove_units
from prunekit.tracing import Inputs
from tests.nets import PlainCNN, ResNet, SqueezeNet

IMAGE = torch.randn(2, 3, 16, 16)


class Bare(nn.Module):
    """Is a layer itself."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3, 1, 1))

    def forward(self, x):
        return self.scale * x


NETWORKS = {
    "residual": ResNet,
    "squeezenet": SqueezeNet,
    "all blocked": lambda: nn.Sequential(nn.Conv2d(3, 4, 1), nn.Softmax(1), nn.Conv2d(4, 2, 1)),
    "no filters": nn.ReLU,
    "itself a layer": Bare,
    "no parameters, nested": lambda: nn.Sequential(nn.Sequential(nn.ReLU(), nn.Identity())),
}
LEVELS = ("layer", "unit", "module")


@pytest.mark.parametrize("level", LEVELS)
def test_columns_and_data_types_are_those_of_every_network(level):
    tables = {name: analyze(make(), IMAGE, level=level) for name, make in NETWORKS.items()}

    expected = tables["residual"].dtypes
    for name, table in tables.items():
        assert table.dtypes.to_dict() == expected.to_dict(), name
        assert table.attrs["level"] == level
        assert isinstance(table.index, pd.RangeIndex)
        assert set(table.attrs["units"]) <= set(table.columns)
        assert set(table.attrs["totals"]) == {"params", "macs", "filters", "memory_bytes"}


@pytest.mark.parametrize("level", LEVELS)
def test_every_column_is_documented(level):
    table = analyze(ResNet(), IMAGE, level=level)

    missing = [name for name in table.columns if f"``{name}``" not in analyze.__doc__]
    assert missing == []


@pytest.mark.parametrize("level", LEVELS)
def test_every_number_has_a_unit_of_measure(level):
    table = analyze(ResNet(), IMAGE, level=level)

    numbers = {name for name in table.select_dtypes("number").columns if name != "unit"}
    assert numbers <= set(table.attrs["units"])


@pytest.mark.parametrize("level", LEVELS)
def test_the_order_is_the_same_every_time(level):
    first, second = (analyze(ResNet(), IMAGE, level=level) for _ in range(2))

    pd.testing.assert_frame_equal(first, second)


@pytest.mark.parametrize("make", [ResNet, SqueezeNet, Bare])
def test_a_module_is_the_sum_of_its_layers(make):
    network = PrunableNetwork(make(), IMAGE, criterion="random") if make is not Bare else None
    if network is not None:
        network.update_prunables(network.num_prunables // 3)
    subject = (network,) if network is not None else (make(), IMAGE)
    layers, modules = analyze(*subject), analyze(*subject, level="module")

    for column in ("num_learnables", "macs", "num_filters", "num_pruned_filters", "num_prunable", "memory_bytes"):
        assert modules.loc[0, column] == layers[column].sum()
    totals = layers.attrs["totals"]
    assert modules.loc[0, "learnables_reduction"] == pytest.approx(totals["params"]["reduction"])
    assert modules.loc[0, "macs_reduction"] == pytest.approx(totals["macs"]["reduction"])
    for row in modules.itertuples():
        below = layers[layers["name"].map(lambda name, path=row.name: f"{name}.".startswith(f"{path}."))]
        if row.depth:
            assert row.num_layers == len(below)
            assert row.num_learnables == below["num_learnables"].sum()


def test_modules_stand_in_the_order_of_the_tree():
    module = ResNet()

    table = analyze(module, IMAGE, level="module")

    assert table["name"].to_list() == ["ResNet", *(name for name, _ in module.named_modules() if name)]
    assert table["depth"].to_list() == [len(name.split(".")) if name else 0 for name, _ in module.named_modules()]


@pytest.mark.parametrize("make", [PlainCNN, ResNet])
def test_what_a_unit_saves_is_what_its_removal_alone_saves(make):
    sample = torch.randn(2, 3, 8, 8)
    network = PrunableNetwork(make(), sample, criterion="random")
    units = analyze(network, level="unit")
    costs = CostModel(network.module, network.graph)

    for unit in range(0, len(units), 5):
        removed = np.arange(len(units)) == unit
        for resource in ("params", "macs"):
            nothing = np.zeros_like(removed)
            assert units.loc[unit, f"{resource}_saved"] == costs.of(resource, nothing) - costs.of(resource, removed)


def test_savings_after_a_removal_are_those_of_the_whole_sum():
    graph, _ = prove_units(SqueezeNet(), Inputs.of(IMAGE))
    costs = CostModel(SqueezeNet(), graph)
    removed = np.random.default_rng(0).random(graph.n_units) < 0.3

    for resource in ("params", "macs"):
        whole = costs.savings_of(lambda without, own=resource: costs.of(own, without), removed)
        assert costs.savings(resource, removed) == pytest.approx(whole)


def test_filters_of_a_unit_through_a_residual_sum():
    network = PrunableNetwork(ResNet(), IMAGE)
    units = analyze(network, level="unit")

    assert units["num_filters"].max() > 1
    for unit, filters in zip(network.units, units["filters"], strict=False):
        assert [layer for layer, _ in filters] == [name.rpartition(".")[0] for name, _ in unit.filters]
        assert [index for _, index in filters] == [index for _, index in unit.filters]


def test_importances_that_were_scored():
    network = PrunableNetwork(PlainCNN(), torch.randn(2, 3, 8, 8))
    network(torch.randn(2, 3, 8, 8)).square().sum().backward()
    network.update_score()

    assert analyze(network, level="unit")["importance"].to_list() == network.importances.tolist()


def test_totals_count_everything_once():
    module, sample = PlainCNN(), torch.randn(2, 3, 8, 8)

    for level in LEVELS:
        assert analyze(module, sample, level=level).attrs["totals"]["params"]["before"] == count_params(module)
