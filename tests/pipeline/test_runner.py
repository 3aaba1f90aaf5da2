"""A whole run in miniature: the files are there, and their numbers are right."""

import json
import textwrap

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file

from prunekit import io
from prunekit.exceptions import InputError, NothingToPruneError, ParameterError, TargetError, TrainingError
from prunekit.pipeline import Listener, load_experiment, run_experiment
from prunekit.pipeline._data import load_split
from prunekit.pipeline.nets import ConvNet

FILE = """\
    name: tiny
    seed: 1
    data: {source: digits, test_size: 0.5}
    net:
      module: {name: ConvNet, widths: [8, 16], depth: 1}
      lr: 0.01
      max_epochs: 2
    prune:
      target_reduction: 0.4
      step: 0.2
      final_epochs: 1
    compute:
      threads: 1
    outputs:
      latency_batch_sizes: [1, 3]
    """


def write(folder, *replacement):
    """Write the miniature, with one part replaced."""
    path = folder / "tiny.yaml"
    path.write_text(textwrap.dedent(FILE).replace(*(replacement or ("", ""))))
    return path


class Recorder(Listener):
    """Remembers what it heard."""

    def __init__(self):
        super().__init__()
        self.heard = []

    def on_data(self, split):
        self.heard.append(("data", len(split.y_test)))

    def on_fitted(self, fitted):
        self.heard.append(("fitted", fitted.pruner.n_iterations_))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run the miniature once; return its experiment, what was heard and the result."""
    folder = tmp_path_factory.mktemp("run")
    experiment = load_experiment(write(folder))
    recorder = Recorder()
    result = run_experiment(experiment, folder / "out", recorder)
    return experiment, recorder.heard, result


def test_listener_hears_all_stages(run):
    heard = run[1]
    assert heard == [("data", 899), ("fitted", 2)]


def test_files_are_those_listed(run):
    result = run[2]
    assert {path.name for path in result.folder.iterdir()} == set(result.files)
    assert set(result.files) == {
        "dense.safetensors",
        "pruned.safetensors",
        "layers.csv",
        "history.csv",
        "history.parquet",
        "report.html",
        "run.log",
        "metrics.json",
        "experiment.yaml",
        "run.json",
    }
    assert json.loads((result.folder / "run.json").read_text())["files"] == result.files


def test_metrics_are_the_result(run):
    result = run[2]
    metrics = json.loads((result.folder / "metrics.json").read_text())
    assert metrics["reduction"] == result.reduction >= 0.4
    assert metrics["stop_reason"] == result.stop_reason == "target_reduction"
    assert metrics["pruned"]["params"] == result.comparison.pruned.params
    assert metrics["num_test"] == 899
    assert set(metrics["dense"]["latency_ms"]) == {"1", "3"}
    assert min(metrics["dense"]["latency_ms"].values()) > 0
    for name in ("dense", "pruned"):
        assert metrics[name]["file_bytes"] == (result.folder / f"{name}.safetensors").stat().st_size
    assert metrics["pruned"]["file_bytes"] < metrics["dense"]["file_bytes"]


@pytest.mark.parametrize("name", ["dense", "pruned"])
def test_saved_net_has_the_measured_accuracy(run, name):
    experiment, _, result = run
    module = io.load(result.folder / f"{name}.safetensors", ConvNet((1, 8, 8), 10, widths=[8, 16], depth=1))
    measured = getattr(result.comparison, name)
    assert sum(parameter.numel() for parameter in module.parameters()) == measured.params
    split = load_split(experiment.data, experiment.seed)
    with torch.no_grad():
        predicted = module.eval()(torch.as_tensor(split.X_test)).argmax(1).numpy()
    assert np.sum(predicted == split.y_test) == measured.num_correct
    assert measured.test_accuracy == measured.num_correct / 899


def test_layer_table_adds_up(run):
    result = run[2]
    layers = pd.read_csv(result.folder / "layers.csv")
    assert layers["num_learnables"].sum() == result.comparison.pruned.params
    assert layers["macs"].sum() == result.comparison.pruned.macs
    assert layers["num_filters"].sum() == result.comparison.pruned.filters
    dense_filters = layers["num_filters"] + layers["num_pruned_filters"]
    assert dense_filters.sum() == result.comparison.dense.filters


def test_history_ends_at_the_reduction(run):
    result = run[2]
    history = pd.read_csv(result.folder / "history.csv")
    assert history["reduction"].iloc[-1] == pytest.approx(result.reduction)
    assert list(history["phase"]) == ["dense", "prune", "prune", "final"]


def test_written_experiment_is_the_same_experiment(run):
    experiment, _, result = run
    assert load_experiment(result.folder / "experiment.yaml") == experiment
    assert yaml.safe_load((result.folder / "experiment.yaml").read_text())["prune"]["criterion"] == "taylor"


def test_same_seed_same_numbers_and_no_traces(run, tmp_path):
    experiment, _, result = run
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    again = run_experiment(experiment, tmp_path / "again")
    assert torch.equal(torch.get_rng_state(), torch_state)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    first, second = (load_file(outcome.folder / "pruned.safetensors") for outcome in (result, again))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert again.comparison.pruned.num_correct == result.comparison.pruned.num_correct


def test_refused_folder_costs_no_training(tmp_path):
    recorder = Recorder()
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ParameterError, match="The output folder must be new"):
        run_experiment(load_experiment(write(tmp_path)), tmp_path, recorder)
    assert recorder.heard == []


def test_samples_that_do_not_fit_the_network(tmp_path):
    np.savez(tmp_path / "rows.npz", X=np.zeros((40, 5)), y=np.arange(40) % 2)
    experiment = load_experiment(write(tmp_path, "source: digits", "source: {name: npz, path: rows.npz}"))
    with pytest.raises(InputError, match="ConvNet"):
        run_experiment(experiment, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_loss_that_is_not_finite(tmp_path):
    experiment = load_experiment(write(tmp_path, "lr: 0.01", "lr: 1.0e+30"))
    with pytest.raises(TrainingError, match=r"The loss is (nan|inf) in batch \d+ of epoch \d+ of the training before"):
        run_experiment(experiment, tmp_path / "out")


@pytest.mark.parametrize(
    ("prune", "error", "message"),
    [
        ("target_reduction: 0.999", TargetError,
         r"The 'target_reduction' parameter of TaylorPruner must be at most 0\.\d+ of params for this network and "
         "these constraints. Got 0.999 instead."),
        ("target_reduction: 0.4\n  exclude: ['*']", NothingToPruneError, "ConvNet has no filter that can be removed"),
    ],
)  # fmt: skip
def test_what_cannot_be_pruned_costs_no_training(tmp_path, prune, error, message):
    recorder = Recorder()
    experiment = load_experiment(write(tmp_path, "target_reduction: 0.4", prune))
    with pytest.raises(error, match=message):
        run_experiment(experiment, tmp_path / "out", recorder)
    assert recorder.heard == [("data", 899)]
