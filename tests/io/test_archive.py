"""The file of `save`: old ones stay readable, damage is found, what was shared stays shared."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from prunekit import PrunableNetwork, load, save
from prunekit.exceptions import FileAccessError, FileMissingError, FilePermissionError, PlanError, PrunekitError
from prunekit.io import Archive, read_archive, read_plan, write_archive
from prunekit.surgery import PruningPlan
from tests.nets import PlainCNN, dense_net, randomise

FILES = Path(__file__).parent / "files"


@pytest.fixture(scope="module")
def small():
    network = PrunableNetwork(randomise(dense_net()).eval(), torch.randn(2, 6), criterion="random")
    network.update_prunables(4)
    return network.compact()


def make_old_net():
    """The network of the files of protocol 1."""
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)).eval()


# ---------------------------------------------------------------- versions


@pytest.mark.parametrize("name", ["protocol_1.safetensors", "protocol_2.safetensors"])
def test_older_files_stay_readable(name):
    sample = torch.linspace(-1, 1, 2 * 16).reshape(2, 1, 4, 4)
    expected = torch.tensor([[0.3214850425720215, 0.4203597605228424], [0.30304965376853943, 0.30382224917411804]])

    loaded = load(FILES / name, make_old_net)

    assert loaded[0].out_channels == 2
    torch.testing.assert_close(loaded(sample), expected)
    assert read_plan(FILES / name).to_document()["kept"].keys() == {
        *("0.weight", "0.bias", "1.weight", "1.bias", "4.weight", "1.running_mean", "1.running_var"),
    }


def test_an_older_plan_is_applied():
    plan = PruningPlan.from_json((FILES / "plan_1.json").read_text())
    assert {(e.tensor, e.dim, e.indices) for e in plan.kept} == {
        (e.tensor, e.dim, e.indices) for e in read_plan(FILES / "protocol_1.safetensors").kept
    }


@pytest.mark.parametrize("protocol", [0, 3, "2", True, None, 1.0])
def test_other_protocols_are_refused(tmp_path, protocol):
    path = tmp_path / "net.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(2)}, path, {"prunekit": json.dumps({"protocol": protocol})})
    remedy = "Update prunekit" if protocol == 3 else "It is something else"
    with pytest.raises(PlanError, match=rf"protocol 2 or below. Got protocol {protocol!r} instead. {remedy}"):
        read_archive(path)


# ---------------------------------------------------------------- damage


def test_no_changed_byte_goes_unnoticed(small, tmp_path):
    path = save(small, tmp_path / "net.safetensors")
    content = path.read_bytes()
    whole = load(path, dense_net).state_dict()
    rng = np.random.default_rng(0)
    noticed = 0
    for place in rng.permutation(len(content))[:400]:
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        try:
            found = load(path, dense_net).state_dict()
        except PrunekitError:
            noticed += 1
        else:  # a space of the header, or a digit of the reader's version
            assert all(torch.equal(found[name], tensor) for name, tensor in whole.items())
    assert noticed > 390


def test_weights_that_change_places(small, tmp_path):
    """A file that is right in itself, but for two tensors of one shape."""
    path = save(small, tmp_path / "net.safetensors")
    with safetensors.safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = file.metadata()
    swapped = {**tensors, "0.weight": tensors["0.weight"].flip(0)}
    safetensors.torch.save_file(swapped, path, metadata)
    with pytest.raises(PlanError, match="is damaged: its checksum is not that of its content"):
        load(path, dense_net)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_file_that_is_cut_off(small, tmp_path, share):
    path = save(small, tmp_path / "net.safetensors")
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(PlanError, match="is no whole safetensors file"):
        load(path, dense_net)


@given(st.binary(max_size=200))
def test_any_bytes(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.safetensors"
    path.write_bytes(content)
    with pytest.raises(PlanError):
        read_archive(path)


# ---------------------------------------------------------------- the system refuses


def test_files_that_are_not_there(tmp_path):
    for read in (read_archive, read_plan, lambda path: load(path, dense_net)):
        with pytest.raises(FileMissingError, match=r"'.*nowhere' cannot be read: No such file") as caught:
            read(tmp_path / "nowhere")
        assert isinstance(caught.value, FileNotFoundError)
        assert caught.value.errno == 2
        with pytest.raises(FileAccessError, match="cannot be read: Is a directory"):
            read(tmp_path)


def test_folders_that_are_not_folders(small, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileAccessError, match=r"cannot be made: (Not a directory|File exists)"):
        save(small, tmp_path / "file" / "net.safetensors")
    with pytest.raises(FileAccessError, match="cannot be written: it is a folder"):
        save(small, tmp_path)
    assert (tmp_path / "file").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [(OSError(28, "No space left on device"), FileAccessError), (PermissionError(13, "no"), FilePermissionError)],
)
def test_a_full_disk_leaves_the_old_file(small, tmp_path, monkeypatch, error, kind):
    path = save(small, tmp_path / "net.safetensors")
    before = path.read_bytes()

    def refuse(descriptor):
        raise error

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(kind, match="cannot be written") as caught:
        save(PlainCNN(), path)
    assert caught.value.errno == error.errno
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["net.safetensors"]


# ---------------------------------------------------------------- what is in it


def make_tied(tie=True):
    first, second = nn.Linear(6, 6), nn.Linear(6, 6)
    if tie:
        second.weight = first.weight
    return nn.Sequential(nn.Linear(4, 6), first, second, nn.Linear(6, 2))


def test_shared_tensors_are_recorded(tmp_path):
    network = PrunableNetwork(make_tied(), torch.randn(2, 4), criterion="random")
    network.update_prunables(1)
    path = save(network, tmp_path / "net.safetensors")

    assert read_archive(path).shared == {"2.weight": "1.weight"}
    loaded = load(path, make_tied)
    assert loaded[2].weight is loaded[1].weight
    with pytest.raises(PlanError, match=r"'2.weight' was shared with '1.weight' when .* is not in"):
        load(path, lambda: make_tied(tie=False))
    other = save(make_tied(tie=False), tmp_path / "other.safetensors")
    with pytest.raises(PlanError, match=r"'2.weight' was not shared with '1.weight' when .* is in"):
        load(other, make_tied)


def test_any_reader_of_safetensors_finds_the_weights(small, tmp_path):
    path = save(small, tmp_path / "net.safetensors")
    found = safetensors.torch.load_file(path)
    state = small.state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in state.items())
    assert all(name in state or name.startswith("prunekit/") for name in found)


def test_names_that_are_taken(tmp_path):
    archive = Archive("a.B", PruningPlan(), {"prunekit/0": torch.zeros(1)})
    with pytest.raises(TypeError, match="must have names that do not begin with 'prunekit/'"):
        write_archive(tmp_path / "net.safetensors", archive)


def test_equal_networks_give_equal_files(small, tmp_path):
    files = [save(small, tmp_path / name) for name in ("a", "b")]
    assert files[0].read_bytes() == files[1].read_bytes()


class Noisy(nn.Module):
    """Draws random numbers in eval mode."""

    def __init__(self):
        super().__init__()
        self.inner, self.last = nn.Linear(6, 8), nn.Linear(8, 2)

    def forward(self, x):
        return self.last(self.inner(x).relu()) + torch.randn(2)


class Choosy(Noisy):
    """Runs on the user's own numbers only."""

    def forward(self, x):
        if not x.is_meta and not isinstance(x, torch._subclasses.FakeTensor) and x.abs().max() > 1.0:
            raise ValueError("not these")
        return self.last(self.inner(x).relu())


@pytest.mark.parametrize(
    ("module", "reason"),
    [(Noisy, "it returns something else each time"), (Choosy, "it does not run on made-up inputs")],
)
def test_networks_without_anything_to_compare(tmp_path, module, reason):
    network = PrunableNetwork(module(), torch.zeros(2, 6), criterion="random")
    network.update_prunables(2)
    path = save(network, tmp_path / "net.safetensors")

    parts = read_archive(path).parts
    assert "probe" not in parts
    assert reason in parts["no_probe"]
    assert isinstance(load(path, module), module)
