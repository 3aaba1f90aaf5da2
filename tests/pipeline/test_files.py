"""The files of the repository run; those of minutes in miniature, those that need downloads on made-up data."""

import json
from pathlib import Path

import numpy as np
import pytest

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
"""No experiment of its own, and those that need a package and weights of others."""


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
