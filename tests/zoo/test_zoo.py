"""Every network against the invariants: what is prunable can be compacted, what is not has a reason."""

import re
from collections import Counter
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prunekit import PrunableNetwork, analyze
from prunekit.exceptions import NothingToPruneError, ParameterError, PrunekitError
from prunekit.importance import oracle
from prunekit.importance._replay import CannotReplayError, Recording
from prunekit.network import NetworkSnapshot
from prunekit.surgery import probing, prove_units
from prunekit.surgery.attributes import read_numbers
from prunekit.tracing import Inputs, duplicate_inputs, tensors_of
from tests.zoo import (
    attention,
    convolutional,
    movement,
    normalisation,
    reshaping,
    sharing,
    surroundings,
    transformers,
)
from tests.zoo.case import Case, image
from tests.zoo.check import Given, Watching, assert_same_outputs, remove, train

FAMILIES = (convolutional, movement, reshaping, normalisation, attention, transformers, sharing, surroundings)
ALL = [case for family in FAMILIES for case in family.CASES]
CASES = [case for case in ALL if case.units]

zoo = pytest.mark.parametrize("case", CASES, ids=str)
counted = pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=[pytest.mark.xfail(reason=case.short, strict=True)] if case.short else [])
        for case in CASES
    ],
    ids=str,
)


@cache
def _network(name: str) -> tuple[PrunableNetwork, NetworkSnapshot]:
    module, inputs = next(case for case in CASES if case.name == name).make()
    network = PrunableNetwork(module, inputs, criterion=Given())
    return network, network.snapshot()


def _fresh(case: Case) -> PrunableNetwork:
    """Return the case's network with nothing removed; tracing it once serves all tests."""
    network, start = _network(case.name)
    network.restore(start)
    return network


def _shared(module: nn.Module) -> list[list[str]]:
    """Return the groups of names that one parameter goes by."""
    names: dict[int, list[str]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return [group for group in names.values() if len(group) > 1]


def test_names_are_unique() -> None:
    assert max(Counter(case.name for case in ALL).values()) == 1


@counted
def test_units_and_reasons(case: Case) -> None:
    network = _fresh(case)
    assert network.num_prunables == case.units
    table = network.analyze().set_index("name")
    for layer, reason in case.blocked.items():
        assert reason in table.loc[layer, "blocked_by"]
    blocked = table[table.num_filters > table.num_prunable]
    assert (blocked.blocked_by != "").all()
    assert (table[table.num_filters == table.num_prunable].blocked_by == "").all()


@zoo
@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_masked_equals_compacted(case: Case, fraction: float) -> None:
    network = _fresh(case)
    assert remove(network, fraction) > 0 or fraction * network.num_prunables < 1
    inputs = case.make()[1]
    small = network.compact(verify=False)
    assert type(small) is type(network.module)
    assert _shared(small) == _shared(network.module)
    assert_same_outputs(network, small, inputs)
    if case.trains:
        for module in (network, small):
            train(module, inputs, torch.optim.SGD(module.parameters(), 0.01, 0.9, weight_decay=0.01), clip=1.0)
        assert_same_outputs(network, small, inputs)


@pytest.mark.parametrize("case", CASES[::3], ids=str)
def test_cut_in_mid_run(case: Case) -> None:
    """A network that is cut while it is pruned stays the masked one, and the way back is open."""
    network, inputs = _fresh(case), case.make()[1]
    start = network.snapshot()
    try:
        remove(network, 0.3, seed=3)
        masked, table = network.compact(verify=False), network.analyze()
        optimizer = torch.optim.SGD(network.module.parameters(), 0.01, 0.9, weight_decay=0.01)
        network.cut(optimizer)
        assert_same_outputs(network, masked, inputs)
        assert {id(one) for one in network.module.parameters() if one.requires_grad} <= {
            id(one) for group in optimizer.param_groups for one in group["params"]
        }
        assert _shared(network.module) == _shared(masked)
        assert network.analyze().equals(table)
        if case.trains:
            own = torch.optim.SGD(masked.parameters(), 0.01, 0.9, weight_decay=0.01)
            for module, its in ((network, optimizer), (masked, own)):
                train(module, inputs, its, clip=1.0)
            assert_same_outputs(network, masked, inputs)
        between = network.snapshot()
        if remove(network, 0.3, seed=4):
            small = network.compact(verify=False)
            assert_same_outputs(network, small, inputs)
            network.cut(optimizer)
            assert_same_outputs(network, small, inputs)
            network.verify()
            network.restore(between, optimizer)
        assert_same_outputs(network, network.compact(), inputs)
        assert network.analyze().equals(table)
    finally:
        network.restore(start)
    fresh = PrunableNetwork(*case.make(), criterion=Given())
    numbers = [read_numbers(part) for part in network.module.modules()]
    assert numbers == [read_numbers(part) for part in fresh.module.modules()]
    assert_same_outputs(network, fresh, inputs)


@zoo
def test_everything_that_may_go(case: Case) -> None:
    """Remove units until none may go: every layer keeps something, and the network still runs."""
    network = _fresh(case)
    remove(network, 1.0, seed=1)
    assert remove(network, 1.0, seed=2) == 0
    small = network.compact(verify=False)
    assert all(parameter.numel() for parameter in small.parameters())
    assert_same_outputs(network, small, case.make()[1])


@zoo
def test_compacted_network_is_analyzed_and_pruned_again(case: Case) -> None:
    """What the labels foretell of the compacted network is what tracing it finds."""
    network = _fresh(case)
    remove(network, 0.3, seed=3)
    small, inputs = network.compact(verify=False), case.make()[1]
    again = PrunableNetwork(small, inputs, criterion=Given())
    foretold, found = network.analyze(), again.analyze()
    for column in (
        "name",
        "learnable_sizes",
        "state_sizes",
        "activation_size",
        "num_learnables",
        "num_filters",
        "macs",
    ):
        assert foretold[column].tolist() == found[column].tolist()
    totals, found_totals = foretold.attrs["totals"], found.attrs["totals"]
    assert {name: total["after"] for name, total in totals.items()} == {
        name: total["before"] for name, total in found_totals.items()
    }
    assert remove(again, 0.5, seed=4) > 0
    assert_same_outputs(again, again.compact(verify=False), inputs)


@pytest.mark.parametrize("case", [case for case in ALL if not case.units], ids=str)
def test_nothing_to_prune(case: Case) -> None:
    module, inputs = case.make()
    with pytest.raises(NothingToPruneError) as caught:
        PrunableNetwork(module, inputs)
    table = analyze(module, inputs).set_index("name")
    for layer, reason in case.blocked.items():
        assert reason in str(caught.value)
        assert reason in table.loc[layer, "blocked_by"]
    assert not table.num_prunable.any()
    assert np.isclose(table.attrs["totals"]["params"]["reduction"], 0.0)


def test_scripted_parts_are_refused() -> None:
    with pytest.raises(PrunekitError, match="Script"):
        PrunableNetwork(sharing.Scripted(), image())


@pytest.mark.parametrize("case", CASES[::6], ids=str)
def test_what_probes_foresee_is_what_following_finds(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes do not follow the labels through operations whose outcome is certain; it would change nothing."""
    module, inputs = case.make()
    quick, quick_repairs = prove_units(module, Inputs.of(inputs))
    monkeypatch.setattr(probing._Watch, "foresees", lambda self, record, number: False)
    slow, slow_repairs = prove_units(module, Inputs.of(inputs))
    assert np.array_equal(quick.unit_of_label, slow.unit_of_label)
    assert [(one.module, one.name) for one in quick_repairs] == [(one.module, one.name) for one in slow_repairs]


@pytest.mark.parametrize("case", [case for case in CASES[1::4] if case.units], ids=str)
def test_gates_sum_up_to_the_terms_of_the_weights(case: Case) -> None:
    """What examples say of units is what the weights that read them say, or it is refused."""
    module, inputs = case.make()
    refused = ""
    try:
        network = PrunableNetwork(module.eval(), inputs, criterion=Watching())
    except ParameterError as error:
        refused = str(error)
    if refused:
        assert re.search("cannot be seen|mixes examples", refused)
        return
    given = duplicate_inputs(Inputs.of(inputs))
    outputs = tensors_of(network(*given.args, **given.kwargs))
    sum(output.abs().square().sum() for output in outputs if output.requires_grad).backward()
    network.update_score()
    gates, sums = network.criterion.gates.mean(0), network.criterion.sums
    short = any(parameter.dtype == torch.bfloat16 for parameter in module.parameters())
    torch.testing.assert_close(gates, sums, rtol=0.05 if short else 1e-3, atol=0.05 if short else 1e-5)


@pytest.mark.parametrize("case", CASES[2::5], ids=str)
def test_the_oracle_computes_what_a_unit_reaches(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it does not compute again is what it would be."""
    module, inputs = case.make()
    network = PrunableNetwork(module, inputs, criterion=Given())
    given = Inputs.of(duplicate_inputs(Inputs.of(inputs)))
    batches = [(dict(given.kwargs) if given.kwargs else given.args, None)]

    def loss(outputs: object, targets: object) -> Tensor:
        return sum((output.abs().double().square().mean() for output in tensors_of(outputs)), torch.zeros(()))

    network.criterion.values = np.arange(network.num_prunables)[::-1].astype(float)
    network.update_prunables(network.num_prunables // 4)
    units = np.flatnonzero(network.support)[::3].tolist()
    quick = oracle(network, batches, loss, units)

    def refuse(self: Recording, *args: object) -> None:
        raise CannotReplayError

    monkeypatch.setattr(Recording, "again", refuse)
    np.testing.assert_array_equal(quick, oracle(network, batches, loss, units))
