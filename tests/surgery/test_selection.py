"""Which units go, under constraints."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from prunekit.surgery import Constraints, Ranking, Selector
from prunekit.tracing import Inputs, UnitGraph, trace
from tests.nets import ResNet, dense_net


@pytest.fixture(scope="module")
def linear() -> UnitGraph:
    """Return 8 + 5 units of two linear layers."""
    return UnitGraph(trace(dense_net(), Inputs.of(torch.randn(2, 6))))


@pytest.fixture(scope="module")
def residual() -> UnitGraph:
    return UnitGraph(trace(ResNet(), Inputs.of(torch.randn(2, 3, 16, 16))))


def kept_by_layer(graph: UnitGraph, removed: np.ndarray) -> dict[str, tuple[int, int]]:
    kept = graph.kept_labels(removed)
    return {
        name: (int(kept[labels].sum()), len(labels)) for name in graph.layers if len(labels := graph.filters_of(name))
    }


def none(graph: UnitGraph) -> np.ndarray:
    return np.zeros(graph.n_units, dtype=bool)


def test_least_important_go_first(linear):
    importances = np.arange(13.0)[::-1]

    chosen = Selector(linear, Constraints()).choose_at_most(Ranking(importances), none(linear), 3)

    assert np.flatnonzero(chosen).tolist() == [10, 11, 12]


def test_a_layer_is_never_emptied(linear):
    chosen = Selector(linear, Constraints()).choose(Ranking(np.zeros(13)), none(linear), lambda removed: False)

    assert kept_by_layer(linear, chosen) == {"0": (1, 8), "2": (1, 5), "4": (3, 3)}


def test_as_few_as_are_enough(linear):
    chosen = Selector(linear, Constraints()).choose(
        Ranking(np.arange(13.0)), none(linear), lambda removed: removed.sum() >= 4
    )

    assert np.flatnonzero(chosen).tolist() == [0, 1, 2, 3]


def test_what_is_gone_stays_gone(linear):
    removed = none(linear)
    removed[[7, 12]] = True

    chosen = Selector(linear, Constraints()).choose_at_most(Ranking(np.arange(13.0)), removed, 2)

    assert np.flatnonzero(chosen).tolist() == [0, 1, 7, 12]


CONSTRAINTS = st.builds(
    Constraints,
    min_channels=st.integers(1, 9),
    max_layer_reduction=st.sampled_from([0.1, 0.25, 0.5, 0.9, 1.0]),
    round_to=st.sampled_from([1, 2, 3, 4, 8]),
)


@given(constraints=CONSTRAINTS, seed=st.integers(0, 10_000), limit=st.integers(0, 40), steps=st.integers(1, 3))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_constraints_hold_whatever_the_importances(residual, constraints, seed, limit, steps):
    random = np.random.default_rng(seed)
    selector = Selector(residual, constraints)
    removed = none(residual)
    for _ in range(steps):
        before = removed
        removed = selector.choose_at_most(Ranking(random.normal(size=residual.n_units)), removed, limit)
        assert (removed | ~before).all()
        assert (removed & ~before).sum() <= limit

    for kept, size in kept_by_layer(residual, removed).values():
        assert kept >= min(constraints.min_channels, size)
        assert size - kept <= size * constraints.max_layer_reduction + 1e-9
        assert kept == size or kept % constraints.round_to == 0


@given(seed=st.integers(0, 10_000), aim=st.integers(0, 40))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_choose_stops_at_the_first_prefix_that_is_enough(residual, seed, aim):
    importances = np.random.default_rng(seed).normal(size=residual.n_units)
    selector = Selector(residual, Constraints())
    order = list(selector.order(Ranking(importances), none(residual)))

    chosen = selector.choose(Ranking(importances), none(residual), lambda removed: removed.sum() >= aim)

    assert chosen.sum() == min(aim, len(order))
    assert set(np.flatnonzero(chosen)) == set(order[: chosen.sum()])


def test_two_groups_of_a_grouped_convolution_stay():
    module = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1, groups=4), nn.Conv2d(8, 2, 1))
    graph = UnitGraph(trace(module, Inputs.of(torch.randn(2, 3, 4, 4))))

    chosen = Selector(graph, Constraints()).choose(Ranking(np.zeros(graph.n_units)), none(graph), lambda removed: False)

    assert graph.n_units == 4
    assert kept_by_layer(graph, chosen)["1"] == (4, 8)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ((0, None, None), "The 'min_channels' parameter of Owner must be an integer of at least 1. Got 0 instead."),
        ((1, 0, None), "The 'round_to' parameter of Owner must be an integer of at least 1. Got 0 instead."),
        (
            (1, None, 0.0),
            r"The 'max_layer_reduction' parameter of Owner must be a number in \(0, 1\]. Got 0.0 instead.",
        ),
        (
            (1, None, 1.5),
            r"The 'max_layer_reduction' parameter of Owner must be a number in \(0, 1\]. Got 1.5 instead.",
        ),
    ],
)
def test_wrong_constraints(given, message):
    with pytest.raises(ValueError, match=message):
        Constraints.checked(*given, "Owner")


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_units_are_chosen_with_those_in_mind_that_went_before(residual, seed):
    """As by trying every unit at every step."""
    random = np.random.default_rng(seed)
    n_units = residual.n_units
    importances, factor = random.normal(size=n_units), random.normal(size=(7, n_units)).astype(np.float32)
    costs = random.uniform(0.5, 2, size=n_units)
    removed = random.random(n_units) < 0.2
    selector = Selector(residual, Constraints(min_channels=3))
    order = list(selector.order(Ranking(importances, factor, costs), removed))

    chosen, tried = [], set(np.flatnonzero(removed).tolist())
    allowed = set(selector.order(Ranking(importances), removed))
    while len(tried) < n_units:
        together = factor[:, chosen].sum(1)
        values = importances + together @ factor
        values = np.where(values > 0, values / costs, values)
        best = min((unit for unit in range(n_units) if unit not in tried), key=lambda unit: values[unit])
        tried.add(best)
        if best in order:
            chosen.append(best)

    assert chosen == order
    assert len(order) == len(allowed)


def test_one_of_two_that_stand_in_for_each_other_stays(linear):
    """Either could go for little, both together for much."""
    importances = np.full(13, 1.0)
    importances[:2] = 0.1
    factor = np.zeros((1, 13), dtype=np.float32)
    factor[0, :2] = 2.0
    chosen = Selector(linear, Constraints()).choose_at_most(Ranking(importances, factor), none(linear), 2)
    assert np.flatnonzero(chosen).tolist() == [0, 2]
