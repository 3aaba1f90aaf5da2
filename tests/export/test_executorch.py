"""ExecuTorch programs, where it is installed; what is said where it is not."""

import importlib
import logging
import re
import warnings

import pytest
import torch
from torch import nn

from prunekit import PrunableNetwork, export_executorch
from prunekit.exceptions import ExportError, MissingDependencyError, ParameterError, ParameterTypeError
from tests.export.conftest import assert_close, evaluated
from tests.nets import PlainCNN, ResNet, randomise
from tests.nets_skorch import make_classifier, make_table, quick

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def executorch():
    """Return its runtime; importing it is noisy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            return pytest.importorskip("executorch.runtime", reason="executorch is not installed")
        finally:
            logging.disable(logging.NOTSET)


def rerun(path, *tensors):
    program = executorch().Runtime.get().load_program(str(path))
    method = program.load_method("forward")
    return [tensor.clone().numpy() for tensor in method.execute(list(tensors))]


@pytest.mark.slow
@pytest.mark.parametrize("make", [PlainCNN, ResNet])
def test_a_pruned_network(make, tmp_path):
    executorch()
    network = PrunableNetwork(randomise(make()).eval(), IMAGES, criterion="random")
    network.update_prunables(6)
    report = export_executorch(network, tmp_path / "net.pte", IMAGES, max_batch=8)
    assert report.batch_sizes == (4, 1, 3)
    assert report.file_bytes == (tmp_path / "net.pte").stat().st_size
    for size in (8, 1, 5):
        batch = torch.randn(size, 3, 8, 8)
        assert_close(rerun(report.path, batch), evaluated(network.module, batch))


@pytest.mark.slow
def test_a_pruner_and_a_fixed_batch(tmp_path):
    executorch()
    X, y = make_table(100)
    pruner = quick(make_classifier(max_epochs=1)).fit(X, y)
    report = export_executorch(pruner, tmp_path / "net.pte", X[:1])
    assert not report.dynamic_batch
    batch = torch.from_numpy(X[5:6])
    assert_close(rerun(report.path, batch), evaluated(pruner.estimator_.module_, batch))


def test_what_cannot_be_captured(tmp_path):
    executorch()

    class Branching(nn.Linear):
        def forward(self, x):
            return super().forward(x) if x.sum() > 0 else x

    with pytest.raises(ExportError, match=r"cannot be captured by torch.export"):
        export_executorch(Branching(4, 4), tmp_path / "net.pte", torch.randn(2, 4))
    assert not list(tmp_path.iterdir())


def test_parameters(tmp_path):
    with pytest.raises(ParameterError, match="must be 2 or more"):
        export_executorch(PlainCNN(), tmp_path / "net.pte", IMAGES, max_batch=1)
    with pytest.raises(ParameterTypeError, match="must be a number or None"):
        export_executorch(PlainCNN(), tmp_path / "net.pte", IMAGES, max_batch=True)


def test_it_is_missing(tmp_path, monkeypatch):
    def refuse(name, package=None):
        raise ImportError(f"No module named '{name}'")

    monkeypatch.setattr(importlib, "import_module", refuse)
    message = re.escape('pip install "prunekit[executorch]"')
    with pytest.raises(MissingDependencyError, match=f"export_executorch needs executorch, .*{message}"):
        export_executorch(PlainCNN(), tmp_path / "net.pte", IMAGES)
