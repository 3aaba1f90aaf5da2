"""Plans as documents."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from prunekit import PrunableNetwork
from prunekit.exceptions import PlanError
from prunekit.importance import Random
from prunekit.surgery import AttributeChange, KeptIndices, PruningPlan, compact, noted_plan
from tests.nets import PlainCNN, dense_net, randomise


@pytest.fixture
def pruned() -> PrunableNetwork:
    network = PrunableNetwork(PlainCNN(), torch.randn(1, 3, 8, 8), criterion="random")
    network.update_prunables(6)
    return network


def test_round_trip(pruned):
    assert PruningPlan.from_json(pruned.plan.to_json()) == pruned.plan


def test_document_reads_well():
    plan = PruningPlan(
        (KeptIndices("conv.weight", 0, 4, (0, 2), "producer"), KeptIndices("fc.weight", 1, 4, (0, 2), "consumer")),
        (AttributeChange("", "width", 2),),
    )

    assert (
        plan.to_json()
        == """{
  "protocol": 2,
  "filters": {
    "conv": {
      "of": 4,
      "kept": [0, 2]
    }
  },
  "kept": {
    "conv.weight": {
      "0": {
        "role": "producer",
        "size": 4,
        "indices": [0, 2]
      }
    },
    "fc.weight": {
      "1": {
        "role": "consumer",
        "size": 4,
        "indices": [0, 2]
      }
    }
  },
  "attributes": {
    "": {
      "width": 2
    }
  }
}"""
    )


def test_filters_are_those_of_the_layer_table(pruned):
    table = pruned.analyze().set_index("name")
    lost = table[table["num_pruned_filters"] > 0]

    assert {name: len(kept) for name, kept in pruned.plan.filters.items()} == lost["num_filters"].to_dict()
    assert all(
        entry.role == "producer" for entry in pruned.plan.kept if (entry.tensor, entry.dim) == ("conv1.weight", 0)
    )


def test_a_document_of_protocol_1_is_read():
    old = {
        "protocol": 1,
        "kept": {"conv.weight": {"0": {"size": 4, "indices": [0, 2]}}},
        "attributes": {"": {"width": 2}},
    }

    plan = PruningPlan.from_json(json.dumps(old))

    assert plan == PruningPlan((KeptIndices("conv.weight", 0, 4, (0, 2)),), (AttributeChange("", "width", 2),))
    assert plan.filters == {}
    assert PruningPlan.from_json(plan.to_json()) == plan


def test_a_summary_that_says_something_else_is_refused(pruned):
    document = pruned.plan.to_document()
    layer = next(iter(document["filters"]))
    document["filters"][layer]["kept"] = document["filters"][layer]["kept"][1:]

    with pytest.raises(PlanError, match=f"'filters' must say of '{layer}' what 'kept' says"):
        PruningPlan.from_document(document)
    document["filters"] = {**pruned.plan.to_document()["filters"], "other": {"of": 2, "kept": [0]}}
    with pytest.raises(PlanError, match="'kept' has no filters of 'other', 'filters' has"):
        PruningPlan.from_document(document)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"size": 4.0, "indices": [0]}, r"kept\['a'\]\['0'\]\['size'\] must be an integer. Got 4.0"),
        ({"size": 4, "indices": [True]}, r"\['indices'\] must be an integer. Got True"),
        ({"size": 4, "indices": "01"}, r"\['indices'\] must be a list of indices. Got '01'"),
        ({"size": 4, "indices": [0], "role": "x"}, "must be one of"),
        ([], r"kept\['a'\]\['0'\] must be an object"),
    ],
)
def test_what_is_wrong_is_named(entry, message):
    with pytest.raises(PlanError, match=message):
        PruningPlan.from_document({"protocol": 1, "kept": {"a": {"0": entry}}, "attributes": {}})


def test_plan_applies_to_another_checkpoint_of_the_class(pruned):
    other = PlainCNN()

    smaller = PruningPlan.from_json(pruned.plan.to_json()).apply(other)

    assert noted_plan(smaller) == pruned.plan
    kept = next(entry for entry in pruned.plan.kept if (entry.tensor, entry.dim) == ("conv1.weight", 0)).indices
    assert torch.equal(smaller.conv1.weight, other.conv1.weight[list(kept)])
    assert {name: t.shape for name, t in smaller.state_dict().items()} == {
        name: t.shape for name, t in pruned.compact().state_dict().items()
    }


def test_empty_plan_copies():
    module = dense_net()
    copied = compact(module, PruningPlan())

    assert copied is not module
    assert all(torch.equal(a, b) and a is not b for a, b in zip(module.parameters(), copied.parameters(), strict=True))


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (KeptIndices("gone.weight", 0, 8, (0,)), "it has no parameter or buffer 'gone.weight'"),
        (
            KeptIndices("0.weight", 0, 9, (0,)),
            r"dimension 0 of '0.weight' must have size 9, but '0.weight' has shape \(8, 6\)",
        ),
        (KeptIndices("0.weight", 7, 8, (0,)), "dimension 7 of '0.weight' must have size 8"),
        (KeptIndices("0.weight", 0, 8, ()), "keeps impossible indices along dimension 0 of '0.weight'"),
        (KeptIndices("0.weight", 0, 8, (3, 1)), "keeps impossible indices"),
        (KeptIndices("0.weight", 0, 8, (1, 1)), "keeps impossible indices"),
        (KeptIndices("0.weight", 0, 8, (-1, 2)), "keeps impossible indices"),
        (KeptIndices("0.weight", 0, 8, (2, 8)), "keeps impossible indices"),
    ],
)
def test_plan_that_does_not_fit_names_the_first_difference(entry, message):
    module = dense_net()
    before = [parameter.clone() for parameter in module.parameters()]

    with pytest.raises(PlanError, match=message):
        compact(module, PruningPlan((entry,)))

    assert all(torch.equal(a, b) for a, b in zip(before, module.parameters(), strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (AttributeChange("gone", "width", 2), "it has no module 'gone'"),
        (AttributeChange("0", "forward", 2), "'0' has no integer attribute 'forward'"),
        (AttributeChange("0", "training", 2), "'0' has no integer attribute 'training'"),
        (AttributeChange("0", "in_features", 0), "'in_features' that could be 0"),
    ],
)
def test_plan_changes_integer_attributes_only(change, message):
    with pytest.raises(PlanError, match=message):
        compact(dense_net(), PruningPlan((), (change,)))


def test_newer_protocol_is_refused_with_the_remedy():
    with pytest.raises(PlanError, match=r"has protocol 9, this version of prunekit reads 2 and below. Update prunekit"):
        PruningPlan.from_json('{"protocol": 9, "kept": {}, "attributes": {}}')


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(["protocol", "kept", "attributes", "size", "indices", "0", "x"]), children, max_size=4
        )
    ),
    max_leaves=12,
)


@given(JSON)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_other_document_is_a_plan_error(document):
    if isinstance(document, dict):
        document = {"protocol": 1, "attributes": {}, **document}
    try:
        plan = PruningPlan.from_json(json.dumps(document))
    except PlanError:
        return
    assert PruningPlan.from_json(plan.to_json()) == plan


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "1", '{"protocol": 1}', "[" * 100_000])
def test_broken_text_is_a_plan_error(text):
    with pytest.raises(PlanError):
        PruningPlan.from_json(text)


def test_repaired_attributes_travel_with_the_plan():
    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.head = nn.Linear(3, 6), nn.Linear(6, 2)
            self.width = 6

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.first(x).reshape(-1, self.width))

    network = PrunableNetwork(Last(), torch.randn(2, 5, 3), criterion="random")
    network.update_prunables(2)

    assert network.plan.attributes == (AttributeChange("", "width", 4),)
    assert network.compact().width == 4


def test_two_plans_in_one():
    torch.manual_seed(0)
    sample = torch.randn(2, 3, 8, 8)
    dense = randomise(PlainCNN()).eval()
    plans, module = [], dense
    for seed in range(3):
        network = PrunableNetwork(module, sample, criterion=Random(seed))
        network.update_prunables(4)
        plans.append(network.plan)
        module = network.compact()

    whole = plans[0].then(plans[1]).then(plans[2])

    assert torch.equal(compact(dense, whole)(sample), module(sample))
    assert noted_plan(module) == whole
    assert plans[0].then(PruningPlan()) == plans[0]
    assert PruningPlan().then(plans[0]) == plans[0]
    with pytest.raises(PlanError, match=r"must be for the network that the earlier one leads to, where dimension \d"):
        plans[0].then(plans[0])


def test_a_note_that_was_written_over(pruned):
    module = pruned.compact()
    module._prunekit = "mine"
    with pytest.raises(PlanError, match="attribute '_prunekit' of PlainCNN is no longer what"):
        noted_plan(module)


@pytest.mark.parametrize(("value", "fits"), [(3, True), (4, True), (5, False), (10**12, False), (0, False)])
def test_attributes_only_shrink(value, fits):
    """A size that grew would let a small file make a network run on anything."""
    plan = PruningPlan((), (AttributeChange("0", "stride.0", value),))
    module = nn.Sequential(nn.Conv2d(1, 2, 3, stride=4))
    if fits:
        plan.check(module)
    else:
        with pytest.raises(PlanError, match=r"no integer attribute 'stride\.0' that could be"):
            plan.check(module)


def test_the_plan_of_a_compacted_network(pruned):
    small = pruned.compact()
    pruned.plan.check_result(small)
    with pytest.raises(PlanError, match=r"does not lead to the network: it keeps .* Pass the plan of this network"):
        pruned.plan.check_result(PlainCNN())
    with pytest.raises(PlanError, match="Got a network with no tensor of that name"):
        pruned.plan.check_result(dense_net())
