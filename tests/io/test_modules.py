"""Files with weights and plan."""

import json
from functools import partial

import pytest
import safetensors.torch
import torch
from torch import nn

from prunekit import PrunableNetwork, load, save
from prunekit.exceptions import ParameterTypeError, PlanError
from prunekit.io import read_plan
from prunekit.surgery import PruningPlan
from tests.nets import PlainCNN, ResNet, dense_net, randomise


def prune(module: nn.Module, sample: torch.Tensor, count: int = 6) -> PrunableNetwork:
    network = PrunableNetwork(randomise(module).eval(), sample, criterion="random")
    network.update_prunables(count)
    return network


@pytest.mark.parametrize(("make", "shape"), [(PlainCNN, (3, 8, 8)), (ResNet, (3, 16, 16)), (dense_net, (6,))])
def test_round_trip_into_a_fresh_dense_network(tmp_path, make, shape):
    sample = torch.randn(4, *shape)
    network = prune(make(), sample)
    smaller = network.compact()
    fresh = make()
    before = {name: tensor.clone() for name, tensor in fresh.state_dict().items()}

    path = save(smaller, tmp_path / "deep" / "net.safetensors", network.plan)
    loaded = load(path, fresh)

    assert torch.equal(loaded.eval()(sample), smaller(sample))
    assert type(loaded) is type(smaller)
    assert all(torch.equal(tensor, before[name]) for name, tensor in fresh.state_dict().items())
    assert [file.name for file in path.parent.iterdir()] == ["net.safetensors"]


def test_shared_parameters_stay_shared(tmp_path):
    def make() -> nn.Module:
        first, second = nn.Linear(6, 6), nn.Linear(6, 6)
        second.weight = first.weight
        return nn.Sequential(nn.Linear(4, 6), first, second, nn.Linear(6, 2))

    network = prune(make(), torch.randn(2, 4), 2)
    loaded = load(save(network.compact(), tmp_path / "net.safetensors", network.plan), make())

    assert loaded[1].weight is loaded[2].weight
    assert loaded[1].weight.shape == (4, 4)


def test_half_precision(tmp_path):
    network = prune(dense_net().bfloat16(), torch.randn(2, 6).bfloat16())
    smaller = network.compact()

    loaded = load(save(smaller, tmp_path / "net.safetensors", network.plan), dense_net().bfloat16())

    assert {t.dtype for t in loaded.parameters()} == {torch.bfloat16}
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), smaller.parameters(), strict=True))


def test_an_unpruned_network_needs_no_plan(tmp_path):
    module = dense_net()

    loaded = load(save(module, tmp_path / "net.safetensors"), dense_net())

    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), module.parameters(), strict=True))


def test_equal_networks_give_equal_files_with_the_usual_permissions(tmp_path):
    network = prune(PlainCNN(), torch.randn(1, 3, 8, 8))
    files = [save(network.compact(), tmp_path / name, network.plan) for name in ("a", "b")]
    (tmp_path / "usual").touch()

    assert files[0].read_bytes() == files[1].read_bytes()
    assert files[0].stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_an_old_file_stays_whole_when_writing_fails(tmp_path, monkeypatch):
    path = save(dense_net(), tmp_path / "net.safetensors")
    content = path.read_bytes()
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError("disk full")))

    with pytest.raises(OSError, match="disk full"):
        save(dense_net(), path)

    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_wrong_class_names_the_first_difference(tmp_path):
    network = prune(PlainCNN(), torch.randn(1, 3, 8, 8))
    path = save(network.compact(), tmp_path / "net.safetensors", network.plan)

    with pytest.raises(PlanError, match=r"it has no parameter or buffer '(conv|bn)1.weight'"):
        load(path, dense_net())


def test_weights_without_their_plan_do_not_fit(tmp_path):
    network = prune(dense_net(), torch.randn(1, 6))
    path = save(network.compact(), tmp_path / "net.safetensors", PruningPlan())

    with pytest.raises(PlanError, match=r"does not fit Sequential: '0.weight' must be \(8, 6\) torch.float32. Got"):
        load(path, dense_net())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is no whole safetensors file"),
        (b"\x80\x04K\x01.", "is no whole safetensors file"),
        ((10**15).to_bytes(8, "little") + b"{}", "is no whole safetensors file"),
        (
            safetensors.torch.save({"a": torch.zeros(2)}),
            "must be a file that prunekit.save wrote with protocol 2 or below. Got protocol None",
        ),
        (safetensors.torch.save({"a": torch.zeros(2)}, {"prunekit": '{"protocol": 9}'}), "Got protocol 9 instead"),
        (safetensors.torch.save({"a": torch.zeros(2)}, {"prunekit": '{"protocol": 1}'}), "is no pruning plan"),
        (
            safetensors.torch.save(
                {"a": torch.zeros(2)}, {"prunekit": json.dumps({"protocol": 1, "plan": PruningPlan().to_json()})}
            ),
            "'0.bias' is missing in '",
        ),
        (
            safetensors.torch.save(
                {"a": torch.zeros(2)},
                {
                    "prunekit": json.dumps(
                        {"protocol": 1, "plan": '{"protocol": 1, "kept": {}, "attributes": {"__class__": {"x": 1}}}'}
                    )
                },
            ),
            "does not fit the network: it has no module '__class__'",
        ),
    ],
)
def test_broken_and_hostile_files(tmp_path, content, message):
    path = tmp_path / "net.safetensors"
    path.write_bytes(content)

    with pytest.raises(PlanError, match=message):
        load(path, dense_net())


def test_save_refuses_what_is_no_network(tmp_path):
    with pytest.raises(
        ParameterTypeError, match=r"'network' parameter of save must be a torch module.* Got dict instead"
    ):
        save({}, tmp_path / "net.safetensors")

    assert not list(tmp_path.iterdir())


def test_a_prunable_network_is_compacted(tmp_path):
    network = prune(dense_net(), torch.randn(2, 6))

    loaded = load(save(network, tmp_path / "net.safetensors"), dense_net())

    assert [p.shape for p in loaded.parameters()] == [p.shape for p in network.compact().parameters()]


def test_data_types_that_the_format_does_not_know(tmp_path):
    with pytest.raises(ParameterTypeError, match=r"data types that safetensors can hold. Got torch.complex128 instead"):
        save(nn.Linear(2, 2, dtype=torch.complex128), tmp_path / "net.safetensors")

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("module", "got"),
    [
        (3, "Got int instead"),
        (dict, "Got dict, which makes dict, instead"),
        (lambda width: dense_net(), "TypeError: .* missing 1 required positional argument.* functools.partial"),
    ],
)
def test_load_wants_a_network_or_what_makes_one(tmp_path, module, got):
    path = save(dense_net(), tmp_path / "net.safetensors")

    with pytest.raises(
        ParameterTypeError, match=rf"(?s)'module' parameter of load .*torch.nn.modules.container.Sequential'.*{got}"
    ):
        load(path, module)


@pytest.mark.parametrize("make", [PlainCNN, lambda: PlainCNN(), partial(PlainCNN)])
def test_classes_and_functions_make_the_network(tmp_path, make):
    network = prune(PlainCNN(), torch.randn(2, 3, 8, 8))
    sample = torch.randn(2, 3, 8, 8)

    loaded = load(save(network, tmp_path / "net.safetensors"), make)

    assert torch.equal(loaded.eval()(sample), network.compact()(sample))


def test_a_plan_is_read_without_the_weights(tmp_path):
    network = prune(PlainCNN(), torch.randn(2, 3, 8, 8))
    assert read_plan(save(network, tmp_path / "net.safetensors")) == network.plan


def test_a_plan_of_another_protocol_is_refused(tmp_path):
    path = tmp_path / "net.safetensors"
    document = {"protocol": 9, "plan": PruningPlan().to_json()}
    safetensors.torch.save_file({"a": torch.zeros(2)}, path, {"prunekit": json.dumps(document)})
    with pytest.raises(PlanError, match="Got protocol 9 instead"):
        read_plan(path)
