"""What `export_onnx` and `export_program` take, leave as it is, refuse, and say."""

import importlib
import logging
import random
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from skorch.dataset import Dataset
from skorch.helper import SliceDataset
from torch import nn

from prunekit import ExportReport, PrunableNetwork, TaylorPrunerCV, export_onnx, export_program
from prunekit.exceptions import (
    ExportError,
    FileAccessError,
    InputError,
    MissingDependencyError,
    ParameterError,
    ParameterTypeError,
    VerificationError,
)
from prunekit.export import _onnx, _program
from tests.export.conftest import assert_close, evaluated, rerun
from tests.nets import PlainCNN, randomise
from tests.nets_skorch import (
    NUM_FEATURES,
    Perceptron,
    TwoInputs,
    assert_same,
    fingerprint,
    make_classifier,
    make_table,
    quick,
)

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


@pytest.fixture(scope="module")
def pruner(dense, table):
    return quick(FrozenEstimator(dense)).fit(*table)


# ---------------------------------------------------------------- what holds a network


def test_a_net(dense, table, name, export, tmp_path):
    report = export(dense, tmp_path / name, table[0])
    batch = torch.from_numpy(table[0][:50])
    assert_close(rerun(report, batch), evaluated(dense.module_, batch))
    assert report.input_names == ("x",)


def test_a_pruner_needs_no_examples(pruner, table, name, export, tmp_path):
    report = export(pruner, tmp_path / name)
    batch = torch.from_numpy(table[0][:50])
    assert_close(rerun(report, batch), evaluated(pruner.estimator_.module_, batch))
    assert rerun(report, batch)[0].argmax(1).tolist() == pruner.predict(table[0][:50]).tolist()
    assert_close(rerun(export(FrozenEstimator(pruner.transform()), tmp_path / name), batch), rerun(report, batch))


def test_a_searched_pruner(dense, table, tmp_path):
    search = TaylorPrunerCV(quick(FrozenEstimator(dense)), cv=2, reductions=[0.3, 0.5], tolerance=1.0).fit(*table)
    report = export_program(search, tmp_path / "net.pt2")
    batch = torch.from_numpy(table[0][:5])
    assert_close(rerun(report, batch), evaluated(search.best_estimator_.estimator_.module_, batch))


def test_a_prunable_network_is_compacted(name, export, tmp_path):
    network = PrunableNetwork(randomise(PlainCNN()).eval(), IMAGES, criterion="random")
    network.update_prunables(6)
    report = export(network, tmp_path / name)
    assert_close(rerun(report, IMAGES), evaluated(network.module, IMAGES))
    assert network.num_prunables == 8


def test_a_net_of_named_inputs(name, export, tmp_path):
    X, y = make_table(60)
    data = {"second": X[:, 10:], "first": X[:, :10]}
    net = make_classifier(TwoInputs, max_epochs=1).fit(data, y)
    report = export(net, tmp_path / name, data)
    assert report.input_names == ("first", "second")
    batch = {"first": torch.from_numpy(X[:7, :10]), "second": torch.from_numpy(X[:7, 10:])}
    assert_close(rerun(report, batch), evaluated(net.module_, batch))


def test_data_of_all_kinds(tmp_path):
    X, y = make_table(50)
    kinds = (X.astype(float), pd.DataFrame(X), Dataset(X, y), SliceDataset(Dataset(X, y)), torch.from_numpy(X))
    for data in kinds:
        assert export_program(Perceptron(), tmp_path / "net.pt2", data).batch_sizes == (32, 1, 3)
    halves = [pd.DataFrame(X[:, :10]), X[:, 10:]]
    for data in (halves, tuple(halves), {"second": halves[1], "first": halves[0]}):
        report = export_program(TwoInputs(), tmp_path / "net.pt2", data)
        assert report.input_names == ("first", "second")


def test_a_compiled_module_is_unwrapped(tmp_path):
    module, compiled = PlainCNN(), nn.Module()
    compiled._orig_mod = module
    report = export_program(compiled, tmp_path / "net.pt2", IMAGES)
    assert_close(rerun(report, IMAGES), evaluated(module, IMAGES))


@pytest.mark.parametrize("network", [3, PlainCNN, "net.onnx", None])
def test_what_holds_none(network, export, name, tmp_path):
    with pytest.raises(ParameterTypeError, match="must be a torch module, a fitted skorch net"):
        export(network, tmp_path / name, IMAGES)


def test_what_is_not_fitted(export, name, tmp_path):
    for network in (make_classifier(), quick(make_classifier())):
        with pytest.raises(ParameterTypeError, match=f"must be fitted. Got {type(network).__name__} that is not"):
            export(network, tmp_path / name, IMAGES)


def test_inputs_are_missing_or_wrong(export, name, tmp_path):
    with pytest.raises(ParameterTypeError, match="must hold example inputs, unless the network was compacted"):
        export(PlainCNN(), tmp_path / name)
    with pytest.raises(ParameterTypeError, match="Got str instead"):
        export(PlainCNN(), tmp_path / name, "images")
    with pytest.raises(InputError, match="PlainCNN does not run on the example inputs"):
        export(PlainCNN(), tmp_path / name, torch.randn(2, 1, 8, 8))
    with pytest.raises(InputError, match="batch in its first dimension"):
        export(nn.ReLU(), tmp_path / name, torch.tensor(1.0))
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- what stays as it is


@pytest.mark.parametrize("fails", [False, True])
def test_the_users_network_stays_as_it_is(fails, name, export, tmp_path, monkeypatch, capfd, caplog):
    X, y = make_table(100)
    net = make_classifier(max_epochs=1).fit(X, y)
    module = net.module_.train()
    module.hidden.eval()
    module.hidden.weight.grad = torch.ones_like(module.hidden.weight)
    seen = []
    module.output.register_forward_hook(lambda *args: None)
    fast = torch.backends.mha.get_fastpath_enabled()
    before = fingerprint(net)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    if fails:

        def refuse(*args, **kwargs):
            seen.append(args)
            raise RuntimeError("no such thing")

        where, what = (torch.onnx, "export") if export is export_onnx else (torch.export, "save")
        monkeypatch.setattr(where, what, refuse)
        with pytest.raises(ExportError, match="no such thing"):
            export(net, tmp_path / name, X)
        assert seen
    else:
        export(net, tmp_path / name, X)
    assert_same(fingerprint(net), before)
    assert module.training
    assert not module.hidden.training
    assert states[:2] == (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002
    assert torch.equal(states[2], torch.get_rng_state())
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert torch.is_grad_enabled()
    assert capfd.readouterr() == ("", "")
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]


def test_no_example_of_the_user_is_in_the_file(name, export, tmp_path):
    secret = torch.full((2, NUM_FEATURES), 1234.5)
    report = export(Perceptron().eval(), tmp_path / name, secret)
    assert secret.numpy().tobytes()[:16] not in report.path.read_bytes()
    if name.endswith("pt2"):
        assert torch.export.load(report.path).example_inputs is None


# ---------------------------------------------------------------- what is refused


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        x = self.linear(x)
        if x.sum() > 0:  # a line to be named
            return x
        return -x


class FixedBatch(nn.Module):
    """Its code holds the size of the batch."""

    def __init__(self, size=4):
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.size = size

    def forward(self, x):
        return self.linear(x).view(self.size, 4)


class Looping(nn.Module):
    """Runs on any batch, but its Python counts the examples."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return torch.stack([self.linear(one) for one in x])


class Squeezing(nn.Module):
    """Returns no batch for one example."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        return self.linear(x) if len(x) > 1 else self.linear(x)[0]


def line_of(text):
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


def test_a_branch_on_values(name, export, tmp_path):
    place = f"test_export.py:{line_of('a line to be named')}"
    with pytest.raises(ExportError, match=rf"Branching cannot be captured by torch.export.*{place}") as caught:
        export(Branching(), tmp_path / name, torch.randn(4, 4))
    assert caught.value.__cause__ is not None
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (FixedBatch, "takes 4 examples, but not 1: its code fixes the size of the batch"),
        (Looping, r"cannot be exported for batches of any size, only for one \(it was traced with 7 examples\): "),
    ],
)
def test_a_fixed_batch(make, message, name, export, tmp_path):
    module, batch = make(), torch.randn(4, 4)
    with pytest.raises(ExportError, match=message) as caught:
        export(module, tmp_path / name, batch)
    assert f"{export.__name__}(…, dynamic_batch=False)" in str(caught.value)
    assert not list(tmp_path.iterdir())
    report = export(module, tmp_path / name, batch, dynamic_batch=False)
    assert report.batch_sizes == (4,)
    assert not report.dynamic_batch
    assert_close(rerun(report, batch), evaluated(module, batch))


def test_one_example_is_another_shape(name, export, tmp_path):
    with pytest.raises(
        (VerificationError, ExportError), match=r"specialized it to be a constant .*dynamic_batch=False"
    ):
        export(Squeezing(), tmp_path / name, torch.randn(4, 4))


def test_random_outputs(name, export, tmp_path):
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(4, 4)

        def forward(self, x):
            return self.linear(x) + torch.randn_like(x)

    with pytest.raises(ExportError, match="draws random numbers"):
        export(Noisy(), tmp_path / name, torch.randn(4, 4))


def test_no_outputs(name, export, tmp_path):
    class Silent(nn.Linear):
        def forward(self, x):
            return None

    with pytest.raises(ExportError, match="must return tensors"):
        export(Silent(4, 4), tmp_path / name, torch.randn(4, 4))


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"rtol": -1.0}, ParameterError, "'rtol' parameter"),
        ({"rtol": "small"}, ParameterTypeError, "'rtol' parameter"),
        ({"dynamic_batch": 1}, ParameterTypeError, "'dynamic_batch' parameter"),
        ({"path": None}, ParameterTypeError, "'path' parameter"),
    ],
)
def test_parameters(params, error, message, name, export, tmp_path):
    with pytest.raises(error, match=message):
        export(nn.Linear(4, 2), **{"path": tmp_path / name, "X": torch.randn(2, 4), **params})


# ---------------------------------------------------------------- the file


@pytest.mark.parametrize("old", [b"an old file", None])
def test_a_wrong_file_takes_no_place(old, name, export, tmp_path, monkeypatch):
    module, batch = nn.Linear(4, 2), torch.randn(2, 4)
    path = tmp_path / name
    if old is not None:
        path.write_bytes(old)
    where, which = (_onnx, "onnx_runner") if export is export_onnx else (_program, "program_runner")
    right = getattr(where, which)

    def wrong(place):
        run = right(place)
        return lambda inputs: [tensor * 1.001 for tensor in run(inputs)]

    monkeypatch.setattr(where, which, wrong)
    with pytest.raises(VerificationError, match=r"Got a difference of 0.00\d+ in 'output' for 2 examples by"):
        export(module, path, batch)
    assert [own.name for own in tmp_path.iterdir()] == ([name] if old else [])
    assert old is None or path.read_bytes() == old
    assert export(module, path, batch, rtol=0.01).largest_difference == pytest.approx(0.001, rel=0.01)
    assert [own.name for own in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda found: [found[0][:1]], r"Got the shape \(1, 2\) by .* and \(2, 2\) from .*dynamic_batch=False\)"),
        (lambda found: found * 2, "returns 1 tensors, but 2 when the file is run"),
        (lambda found: [found[0] * torch.nan], "Got a difference of inf in 'output'"),
    ],
)
def test_what_a_file_may_get_wrong(change, message, name, export, tmp_path, monkeypatch):
    where, which = (_onnx, "onnx_runner") if export is export_onnx else (_program, "program_runner")
    right = getattr(where, which)
    monkeypatch.setattr(where, which, lambda place: lambda inputs: change(right(place)(inputs)))
    with pytest.raises(VerificationError, match=message):
        export(nn.Linear(4, 2), tmp_path / name, torch.randn(2, 4))
    assert not list(tmp_path.iterdir())


def test_a_file_that_does_not_run(name, export, tmp_path, monkeypatch):
    path = tmp_path / name
    path.write_bytes(b"an old file")
    where, which = (_onnx, "onnx_runner") if export is export_onnx else (_program, "program_runner")

    def refuse(place):
        assert place.read_bytes()
        assert path.read_bytes() == b"an old file"
        raise OSError("cannot run this")

    monkeypatch.setattr(where, which, refuse)
    with pytest.raises(ExportError, match=r"does not run what export_.* made of Linear: cannot run this"):
        export(nn.Linear(4, 2), path, torch.randn(2, 4))
    assert path.read_bytes() == b"an old file"
    assert len(list(tmp_path.iterdir())) == 1


def test_folders_are_made(name, export, tmp_path):
    report = export(nn.Linear(4, 2), str(tmp_path / "new" / "folder" / name), torch.randn(2, 4))
    assert report.path == tmp_path / "new" / "folder" / name
    with pytest.raises(FileAccessError, match="it is a folder"):
        export(nn.Linear(4, 2), tmp_path / "new", torch.randn(2, 4))
    (tmp_path / "file").write_text("")
    with pytest.raises(FileAccessError):
        export(nn.Linear(4, 2), tmp_path / "file" / name, torch.randn(2, 4))


def test_a_network_that_magnifies_rounding(name, export, tmp_path):
    """The tolerance grows with what rounding does to the network itself."""

    class Magnifying(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(64, 64)

        def forward(self, x):
            y = self.linear(x)
            return y.sum(1) - y.flip(1).cumsum(1)[:, -1] * 0.999  # what is left is small

    batch = torch.randn(8, 64, generator=torch.Generator().manual_seed(0)) * 100
    assert export(randomise(Magnifying()), tmp_path / name, batch, rtol=0.0).largest_difference < 1e-3


# ---------------------------------------------------------------- onnx


def test_opset_and_slim(tmp_path):
    module, path = randomise(PlainCNN()), tmp_path / "net.onnx"
    reports = [
        export_onnx(module, path, IMAGES, **params)
        for params in ({"opset": 18}, {"opset": 21}, {"slim": True, "dynamic_batch": False})
    ]
    assert [report.opset for report in reports][:2] == [18, 21]
    found = onnx.load(path)
    assert [own.dim_value for own in found.graph.input[0].type.tensor_type.shape.dim] == [4, 3, 8, 8]
    assert {own.op_type for own in found.graph.node}.isdisjoint({"BatchNormalization", "Identity"})
    assert all(report.largest_difference < 1e-6 for report in reports)
    slim = export_onnx(module, path, IMAGES, slim=True)
    assert_close(rerun(slim, IMAGES[:3]), evaluated(module, IMAGES[:3]))
    assert onnx.load(path).graph.input[0].type.tensor_type.shape.dim[0].dim_param


def test_opsets_that_do_not_exist(tmp_path):
    with pytest.raises((ParameterError, ExportError), match=r"opset|onnx"):
        export_onnx(PlainCNN(), tmp_path / "net.onnx", IMAGES, opset=99)
    for opset in ("18", True, 18.0):
        with pytest.raises(ParameterTypeError, match="'opset' parameter"):
            export_onnx(PlainCNN(), tmp_path / "net.onnx", IMAGES, opset=opset)
    with pytest.raises(ParameterTypeError, match="'slim' parameter"):
        export_onnx(PlainCNN(), tmp_path / "net.onnx", IMAGES, slim=1)


def test_weights_beyond_one_file(tmp_path, monkeypatch):
    monkeypatch.setattr(_onnx, "_LARGEST", 1000)
    with pytest.raises(ExportError, match=r"must have less than 2 GiB .* export_program has no such limit"):
        export_onnx(PlainCNN(), tmp_path / "net.onnx", IMAGES)


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime", "onnxslim"])
def test_missing_packages(missing, tmp_path, monkeypatch):
    known = importlib.import_module

    def refuse(name, package=None):
        if name == missing:
            raise ImportError(f"No module named '{name}'")
        return known(name, package)

    monkeypatch.setattr(importlib, "import_module", refuse)
    message = re.escape(f"No module named '{missing}'. Install them with: pip install \"prunekit[onnx]\"")
    with pytest.raises(MissingDependencyError, match=message):
        export_onnx(PlainCNN(), tmp_path / "net.onnx", IMAGES, slim=True)
    if missing == "onnxslim":
        export_onnx(PlainCNN(), tmp_path / "net.onnx", IMAGES)


def test_the_report_in_one_line(tmp_path):
    report = export_onnx(PlainCNN(), tmp_path / "net.onnx", IMAGES, dynamic_batch=False)
    assert isinstance(report, ExportReport)
    start = (
        f"{tmp_path / 'net.onnx'} (onnx, opset {report.opset}): {report.file_bytes:,} bytes, x -> output, fixed batch"
    )
    assert str(report).startswith(start)
    assert str(report).endswith("(batches compared: 4)")
