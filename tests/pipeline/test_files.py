"""The files of the repository run; those of minutes in miniature, those that need downloads on made-up data."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save_file

from prunekit.pipeline import load_experiment, run_experiment
from prunekit.pipeline.reports import report_run
from tests.pipeline.images import write_cifar10, write_idx
from tests.pipeline.series import write_noise

FOLDER = Path(__file__).parents[2] / "pipelines"
SMALL = ["net.max_epochs=2", "prune.step=one_shot", "prune.final_epochs=1", "prune.max_score_drop=null"]
IN_MINIATURE = {
    "digits": ["net.module={name: ConvNet, widths: [8, 16], depth: 1}", "prune.target_reduction=0.5"],
    "diabetes": [],
    "series": ["net.module.widths=[8, 16]", "vars.epochs=2"],
    "vit": ["net.module={name: ViT, patch_size: 4, width: 16, depth: 1, num_heads: 2, hidden: 16}"],
    "wine": [],
    "grid": ["search.param_grid.target_reduction=[0.3]", "search.cv=2", "prune.target_reduction=0.3"],
    "steps": [
        "steps.prune.reductions=[0.3]",
        "steps.prune.cv=2",
        "steps.prune.estimator={step: one_shot, final_epochs: 1, target_reduction: 0.3}",
        "outputs.plots=[]",
    ],
    "dask": ["search.param_grid.step=[one_shot]", "search.param_grid.target_reduction=[0.5]", "search.cv=2"],
    "downloads/forda": [
        "net.module.widths=[8, 8]",
        "data.source.path=DATA",
        "vars.epochs=2",
        "prune.target_reduction=0.5",
    ],
    "downloads/fashion_mnist_vgg": ["net.module.widths=[8, 8]", "data.source.path=DATA", "vars.epochs=2"],
    "downloads/fashion_mnist_schedules": [
        *("net.module.widths=[8, 8]", "data.source.path=DATA", "vars.epochs=2", "prune.target_reduction=0.4"),
        "search.param_grid={step: [linear, one_shot], target_reduction: [0.4]}",
    ],
    "downloads/cifar10_resnet56": ["net.module={name: ResNet, widths: [4, 8], depth: 1}", "data.source.path=DATA"],
}
WRITERS = {
    "downloads/fashion_mnist_vgg": write_idx,
    "downloads/fashion_mnist_schedules": write_idx,
    "downloads/cifar10_resnet56": write_cifar10,
    "downloads/forda": write_noise,
}

NEED_MORE = {"downloads/images", "downloads/efficientnet_transfer", "downloads/efficientnet_frozen"}
"""No experiment of its own, and those that need a package of others: `test_transfer_and_frozen` stands in for it."""


def test_every_file_is_tested():
    names = {str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.yaml")}
    assert names - NEED_MORE == set(IN_MINIATURE)


@pytest.mark.parametrize("name", IN_MINIATURE)
def test_runs(name, tmp_path):
    if name in WRITERS:
        WRITERS[name](tmp_path)
    small = [text for text in SMALL if name != "steps" or not text.startswith("prune.")]
    changes = [text.replace("DATA", str(tmp_path)) for text in (*small, *IN_MINIATURE[name])]
    experiment = load_experiment(FOLDER / f"{name}.yaml", changes)
    result = run_experiment(experiment, tmp_path / "run")
    metrics = json.loads((result.folder / "metrics.json").read_text())
    reduced = metrics.get("best_reduction", metrics.get("best_params", {}).get("target_reduction"))
    assert metrics["reduction"] >= (experiment.prune.target_reduction if reduced is None else reduced)
    wanted = {"r2", "mse"} if experiment.task == "regression" else {"num_correct", "test_accuracy"}
    sizes = {"params", "macs", "filters", "file_bytes", "latency_ms"}
    assert set(metrics["dense"]) == set(metrics["pruned"]) == wanted | sizes
    assert load_experiment(result.folder / "experiment.yaml") == experiment
    assert ("R² on" in report_run(result.folder).read_text()) == (experiment.task == "regression")


PACKAGE = """
from torch import nn

class EfficientNet(nn.Module):
    def __init__(self, num_classes, image_size):
        super().__init__()
        self._conv_stem = nn.Conv2d(3, 8, 3, stride=2)
        self._bn0 = nn.BatchNorm2d(8)
        self._fc = nn.Linear(8, num_classes)

    @classmethod
    def from_name(cls, model_name, **more):
        return cls(more["num_classes"], more["image_size"])

    def forward(self, x):
        return self._fc(self._bn0(self._conv_stem(x)).relu().mean((2, 3)))
"""


def test_transfer_and_frozen(tmp_path, monkeypatch):
    """The two files of EfficientNet-lite0, with a package in its place that has the same names."""
    (tmp_path / "efficientnet_lite_pytorch.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "efficientnet_lite_pytorch", raising=False)
    trust = ["efficientnet_lite_pytorch"]
    write_cifar10(tmp_path)
    network = importlib.import_module("efficientnet_lite_pytorch").EfficientNet(1000, 224)
    save_file(network.state_dict(), tmp_path / "imagenet.safetensors")
    changes = [f"data.source.path={tmp_path}", "data.sample=null", "prune.target_reduction=0.3", "vars.epochs=1"]
    changes += ["prune.max_score_drop=null", "prune.step=one_shot", "prune.final_epochs=1"]
    weights = [f"net.pretrained.file={tmp_path / 'imagenet.safetensors'}"]
    transfer = load_experiment(FOLDER / "downloads/efficientnet_transfer.yaml", [*changes, *weights], trust)
    first = run_experiment(transfer, tmp_path / "transfer")
    weights = [f"net.pretrained.file={first.folder / 'dense.safetensors'}"]
    frozen = load_experiment(FOLDER / "downloads/efficientnet_frozen.yaml", [*changes, *weights], trust)
    second = run_experiment(frozen, tmp_path / "frozen")
    assert second.comparison.dense.num_correct == first.comparison.dense.num_correct
    assert second.reduction >= 0.3
    assert load_experiment(second.folder / "experiment.yaml", trust=trust) == frozen


def test_small_file_as_it_is(tmp_path):
    result = run_experiment(load_experiment(FOLDER / "wine.yaml"), tmp_path / "run")
    assert result.comparison.dense.test_accuracy > 0.9
    assert result.comparison.pruned.test_accuracy > 0.8


def test_regression_is_measured_in_the_units_of_the_data(tmp_path):
    result = run_experiment(load_experiment(FOLDER / "diabetes.yaml", ["net.max_epochs=10"]), tmp_path / "run")
    for measured in (result.comparison.dense, result.comparison.pruned):
        assert measured.r2 > 0.15
        variance = measured.mse / (1 - measured.r2)
        assert 4000 < variance < 8000  # of the progress of the disease among the test patients
    assert np.isfinite(result.history["score"]).all()
