"""How data flow between layers, and which layers share units."""

import itertools

import torch
from torch import nn

from prunekit.tracing import Inputs, UnitGraph, coupled_layers, data_flow, trace


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.relu = nn.ReLU(inplace=True)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.drop = nn.Dropout()
        self.head = nn.Linear(8, 2)

    def forward(self, x):
        x = self.relu(self.norm(self.first(x)))
        x = self.relu(x + self.drop(self.second(x)))
        return self.head(x.mean((2, 3)))


class OwnParameters(nn.Module):
    """Its child's weights are read, but the child never runs."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x):
        return nn.functional.linear(x, self.inner.weight)


class Ends(nn.Module):
    """Two inputs and two outputs, one of them an input passed on."""

    def __init__(self):
        super().__init__()
        self.left = nn.Linear(4, 4)
        self.right = nn.Linear(4, 4)
        self.same = nn.Identity()

    def forward(self, a, b):
        return self.left(a), torch.cat([self.same(b), self.right(b)], 1)


def traced(module, *shapes):
    return trace(module.eval(), Inputs.of(tuple(torch.zeros(shape) for shape in shapes)))


def edges_of(flow):
    def name(node):
        call = f"#{node.call}" if node.call > 1 else ""
        return f"{node.module}{'/' if node.label and node.module else ''}{node.label}{call}"

    return {(name(flow.nodes[start]), name(flow.nodes[end])) for start, end in flow.edges}


def test_residual_network():
    flow = data_flow(traced(Residual(), (2, 3, 6, 6)))
    assert edges_of(flow) == {
        ("input", "first"),
        ("first", "norm"),
        ("norm", "relu"),
        ("relu", "second"),
        ("second", "drop"),
        ("relu", "add"),
        ("drop", "add"),
        ("add", "relu#2"),
        ("relu#2", "head"),
        ("head", "output"),
    }
    assert all(start < end for start, end in flow.edges)


def test_child_that_does_not_run_is_no_node():
    flow = data_flow(traced(nn.Sequential(OwnParameters(), nn.ReLU()), (2, 4)))
    assert edges_of(flow) == {("input", "0"), ("0", "1"), ("1", "output")}


def test_several_inputs_and_outputs():
    edges = edges_of(data_flow(traced(Ends(), (2, 4), (2, 4))))
    assert edges >= {("input", "left"), ("left", "output"), ("input", "same"), ("same", "cat"), ("right", "cat")}
    assert ("cat", "output") in edges


def test_network_of_one_layer():
    flow = data_flow(traced(nn.Linear(3, 2), (2, 3)))
    assert [(node.kind, node.module) for node in flow.nodes] == [("input", ""), ("layer", ""), ("output", "")]
    assert flow.edges == ((0, 1), (1, 2))


def test_network_that_returns_its_input():
    flow = data_flow(traced(nn.Sequential(nn.Identity(), nn.Dropout()), (2, 3)))
    assert edges_of(flow) == {("input", "0"), ("0", "1"), ("1", "output")}


class Twice(nn.Module):
    """An idle layer that is called twice, with another one between."""

    def __init__(self):
        super().__init__()
        self.skip = nn.Identity()
        self.drop = nn.Dropout()
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)

    def forward(self, x):
        x = x + self.skip(self.first(x))
        return x + self.skip(self.second(self.drop(x.relu())))


def test_idle_layer_that_is_called_twice_does_not_disturb_the_others():
    edges = edges_of(data_flow(traced(Twice(), (2, 4))))
    chain = ["input", "first", "add", "drop", "second", "skip", "add", "output"]
    shortcuts = {("input", "add"), ("add", "add")}
    assert edges == {*itertools.pairwise(chain), *shortcuts}


def test_long_chain_keeps_its_order():
    net = nn.Sequential(*[nn.ReLU() if number % 2 else nn.Linear(4, 4) for number in range(40)])
    flow = data_flow(traced(net, (2, 4)))
    assert flow.edges == tuple((number, number + 1) for number in range(41))


def test_coupled_layers():
    coupling = coupled_layers(UnitGraph(traced(Residual(), (2, 3, 6, 6))))
    assert coupling.together == {"first": ("second",), "second": ("first",), "head": ()}
    assert coupling.along == {"first": ("norm", "head"), "second": ("norm", "head"), "head": ()}


def test_layers_without_units_in_common():
    net = nn.Sequential(nn.Linear(3, 5), nn.ReLU(), nn.Linear(5, 2))
    coupling = coupled_layers(UnitGraph(traced(net, (2, 3))))
    assert coupling.together == {"0": (), "2": ()}
    assert coupling.along == {"0": ("2",), "2": ()}


def test_network_without_parameters():
    coupling = coupled_layers(UnitGraph(traced(nn.ReLU(), (2, 3))))
    assert (coupling.together, coupling.along) == ({}, {})
