"""Labels: numbers that are tied, frozen and marked while a network runs."""

import numpy as np
import pytest
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from prunekit.tracing import CheckingTable, LabelConflictError, LabelTable, Reason, tracked
from prunekit.tracing._factors import along, drop_dims, left_padded, shrink
from prunekit.tracing._labels import FIXED, connected


def test_fresh_labels_are_new_and_start_above_the_fixed_one() -> None:
    table = LabelTable()
    first, second = table.fresh(3), table.fresh(2)
    assert [*first.tolist(), *second.tolist()] == [1, 2, 3, 4, 5]
    assert FIXED not in first
    assert table.fixed(2).tolist() == [FIXED, FIXED]


def test_ties_are_transitive_and_elementwise() -> None:
    table = LabelTable()
    a, b, c = table.fresh(3), table.fresh(3), table.fresh(3)
    table.tie(a, b, Reason("x"))
    table.tie(c, b.flip(0), Reason("x"))
    component = table.components()
    assert len(set(component.tolist())) == 1 + 3
    assert component[a].tolist() == component[b].tolist() == component[c.flip(0)].tolist()


def test_ties_broadcast() -> None:
    table = LabelTable()
    labels = table.fresh(6).reshape(2, 3)
    table.tie(labels[:, :1], labels, Reason("group"))
    component = table.components()[labels.numpy()]
    assert (component == component[:, :1]).all()
    assert component[0, 0] != component[1, 0]


def test_what_meets_a_fixed_position_is_frozen_and_not_tied() -> None:
    table = LabelTable()
    a = table.fresh(3)
    reason = Reason("meets the input")
    table.tie(a, torch.cat([table.fixed(2), a[2:]]), reason)
    labels, numbers = table.frozen_pairs()
    assert labels.tolist() == [1, 2]
    assert [table.reasons[number] for number in numbers] == [reason, reason]
    assert len(set(table.components()[a].tolist())) == 3


def test_many_ties_are_as_few() -> None:
    """A factor that spans a large tensor gives each pair once."""
    table = LabelTable()
    a, b = table.fresh(4), table.fresh(4)
    table.tie(a.reshape(4, 1, 1).expand(4, 60, 60), b.reshape(4, 1, 1).expand(4, 60, 60), Reason("x"))
    component = table.components()
    assert component[a].tolist() == component[b].tolist()
    assert len(set(component[a].tolist())) == 4


def test_marks_follow_roles() -> None:
    table = LabelTable()
    a, b, c = table.fresh(2), table.fresh(2), table.fresh(2)
    table.mark_producer(a)
    table.mark_consumer(b)
    table.tie_roles(b, c)
    producers, consumers = table.marked()
    assert np.flatnonzero(producers).tolist() == a.tolist()
    assert np.flatnonzero(consumers).tolist() == [*b.tolist(), *c.tolist()]
    table.mark_producer(table.fixed(1))
    assert not table.marked()[0][FIXED]


def test_checking_table_knows_what_belongs_together() -> None:
    component = np.array([0, 1, 1, 2, 3])  # labels 1 and 2 are one, 3 is another, 4 is frozen
    prunable = np.array([False, True, True, False])
    table = CheckingTable(component, prunable)
    table.tie(torch.tensor([1, 3, 4]), torch.tensor([2, 3, 0]), Reason("x"))
    table.tie(torch.tensor([1]), table.fresh(1), Reason("a constant of this run"))
    table.freeze(torch.tensor([4]), Reason("x"))
    for left, right in ((1, 3), (1, 0), (3, 4)):
        with pytest.raises(LabelConflictError):
            table.tie(torch.tensor([left]), torch.tensor([right]), Reason("x"))
    with pytest.raises(LabelConflictError):
        table.tie(torch.tensor([1, 2]), torch.tensor([1, 2, 3]), Reason("x"))
    table.freeze(torch.tensor([1, 2, 4]), Reason("what is left is one unit"))
    with pytest.raises(LabelConflictError, match="softmax"):
        table.freeze(torch.tensor([1, 3]), Reason("softmax"))


def test_factors() -> None:
    labels = torch.arange(1, 7)
    factor = along(labels, 1, 4)
    assert factor.shape == (1, 6, 1, 1)
    assert tracked(factor) == (1,)
    assert shrink(factor.expand(2, 6, 5, 5)).shape == (1, 6, 1, 1)
    assert shrink(factor.repeat(2, 1, 5, 5)).shape == (1, 6, 1, 1)
    assert tracked(shrink(labels.reshape(2, 3).repeat(2, 1))) == (0, 1)
    assert left_padded(labels, 3).shape == (1, 1, 6)
    assert drop_dims(factor, [2, 3], keepdim=False).shape == (1, 6)
    assert drop_dims(factor, [2, 3], keepdim=True).shape == (1, 6, 1, 1)


def test_reasons_are_sentences() -> None:
    assert str(Reason("network output")) == "network output"
    reason = Reason("softmax over channels", "aten._softmax", "body.gate", "nets.py:42")
    assert str(reason) == "softmax over channels in 'body.gate' (nets.py:42)"


@pytest.mark.parametrize("kind", ["random", "star", "path"])
def test_components_are_those_of_scipy(kind: str) -> None:
    random = np.random.default_rng(0)
    for _ in range(200):
        size = int(random.integers(2, 200))
        one, other = random.integers(0, size, (2, int(random.integers(0, 300))))
        if kind == "star":
            one = np.full_like(other, size - 1)
        elif kind == "path":
            order = random.permutation(size)
            one, other = order[:-1], order[1:]
        graph = coo_array((np.ones(one.size, dtype=bool), (one, other)), shape=(size, size))
        expected = connected_components(graph, directed=False)[1]
        half = one.size // 2
        assert np.array_equal(connected([(one, other)], size), expected)
        assert np.array_equal(connected([(one[:half], other[:half]), (one[half:], other[half:])], size), expected)
