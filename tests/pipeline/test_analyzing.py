"""Tables of pipeline files, runs and saved nets."""

import shutil

import pandas as pd
import pytest
import torch

from prunekit import analyze, save
from prunekit.exceptions import InputError, ParameterError, PipelineFileError, PlanError
from prunekit.pipeline import load_experiment, load_pipeline, run_experiment
from prunekit.pipeline.analyzing import analyze_target

FILE = """\
name: tiny
data: {source: iris}
net: {module: {name: MLP, widths: [16, 16]}, lr: 0.05, max_epochs: 2}
prune: {target_reduction: 0.4, step: one_shot, final_epochs: 0, exclude: ["hidden.0"]}
compute: {threads: 1}
outputs: {latency_batch_sizes: [2]}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(FILE)
    run_experiment(load_experiment(folder / "tiny.yaml"), folder / "run")
    return folder / "run"


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def test_file_is_the_dense_network(file):
    loaded = load_pipeline(file)
    table = analyze_target(file)
    pd.testing.assert_frame_equal(table, analyze(loaded.estimator, loaded.data.X_train))
    assert table.attrs["subject"] == f"the dense network of {file}, untrained"
    by_name = table.set_index("name")
    assert by_name.loc["hidden.0", "blocked_by"] == "excluded by the user"  # the pruner's own settings count
    assert (table["num_pruned_filters"] == 0).all()


def test_search_is_analyzed_as_its_pruner(file):
    file.write_text(FILE + "search: {name: GridSearchCV, param_grid: {target_reduction: [0.3, 0.4]}, cv: 2}\n")
    assert "hidden.4" in set(analyze_target(file)["name"])


def test_random_state_is_left_alone(file):
    before = torch.get_rng_state()
    analyze_target(file)
    assert torch.equal(before, torch.get_rng_state())


def test_keys_that_are_set(file):
    table = analyze_target(file, assignments=["net.module.widths=[5]"]).set_index("name")
    assert table.loc["hidden.0", "num_filters"] == 5


def test_table_of_a_run_is_that_of_its_net(run):
    read, rebuilt = analyze_target(run), analyze_target(run / "pruned.safetensors")
    own = [name for name in read if name not in ("blocked_by", "num_prunable")]  # which settings of the pruner decide
    pd.testing.assert_frame_equal(read[own], rebuilt[own])
    for name in ("params", "macs", "filters"):
        assert read.attrs["totals"][name] == rebuilt.attrs["totals"][name]
    assert read.attrs["units"] == rebuilt.attrs["units"]
    (run / "metrics.json").unlink()
    summed = analyze_target(run).attrs["totals"]
    assert {name: summed[name] for name in summed} == {name: rebuilt.attrs["totals"][name] for name in summed}


def test_table_of_a_run_needs_no_data(run):
    text = (run / "experiment.yaml").read_text()
    (run / "experiment.yaml").write_text(
        text.replace("name: iris", "name: npz\n    path: gone.npz\n    X: X\n    y: y")
    )
    assert len(analyze_target(run)) > 0
    with pytest.raises(PipelineFileError, match=r"gone\.npz"):
        analyze_target(run, "unit")


@pytest.mark.parametrize("level", ["unit", "module"])
def test_levels_of_a_run(run, level):
    table = analyze_target(run, level)
    assert table.attrs["level"] == level
    assert table.attrs["totals"]["params"]["reduction"] >= 0.4


@pytest.mark.parametrize("level", ["layer", "reason"])
def test_compression(file, run, level):
    for target in (file, run):
        table = analyze_target(target, level, compression=True)
        assert table.attrs["level"] == level
        assert "advice" in table


def test_saved_net_elsewhere(run, file, tmp_path):
    (tmp_path / "away").mkdir()
    net = shutil.copy(run / "pruned.safetensors", tmp_path / "away" / "net.safetensors")
    with pytest.raises(ParameterError, match="--experiment FILE"):
        analyze_target(net)
    table = analyze_target(net, experiment=file)
    pd.testing.assert_frame_equal(table, analyze_target(run / "pruned.safetensors"))
    other = tmp_path / "other.yaml"
    other.write_text(FILE.replace("[16, 16]", "[8]"))
    with pytest.raises(PlanError):
        analyze_target(net, experiment=other)


def test_dense_net_of_a_run(run):
    assert (analyze_target(run / "dense.safetensors")["num_pruned_filters"] == 0).all()


def test_net_that_python_saved(file, tmp_path):
    loaded = load_pipeline(file)
    pruner = loaded.estimator.fit(loaded.data.X_train, loaded.data.y_train)
    save(pruner, tmp_path / "net.safetensors")
    table = analyze_target(tmp_path / "net.safetensors", experiment=file)
    assert table.attrs["totals"]["params"]["reduction"] == pytest.approx(pruner.reduction_)


@pytest.mark.parametrize(
    ("target", "options", "message"),
    [
        ("none", {}, "which does not exist"),
        ("notes.txt", {}, "which is something else"),
        (".", {}, r"without run\.json"),
        ("tiny.yaml", {"level": "reason"}, "The level must be layer, unit or module without compression"),
        ("tiny.yaml", {"level": "unit", "compression": True}, "The level must be layer or reason with compression"),
        ("tiny.yaml", {"experiment": "tiny.yaml"}, "An experiment can be given for a saved net only"),
        ("run", {"assignments": ["seed=1"]}, "Keys can be set for pipeline files only"),
    ],
)
def test_wrong_parameters(file, run, tmp_path, target, options, message):
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ParameterError, match=message):
        analyze_target(tmp_path / target, **options)


def test_missing_file_is_told_as_such(tmp_path):
    with pytest.raises(PipelineFileError, match="there is no such file"):
        analyze_target(tmp_path / "none.yaml")


def test_data_that_do_not_fit(file):
    file.write_text(FILE.replace("name: MLP", "name: ConvNet"))
    with pytest.raises(InputError):
        analyze_target(file)


@pytest.mark.parametrize("text", ["", "name,type\n", "name\n\x00", "activation_size\n[[[\n"])
def test_broken_layer_table(run, text):
    (run / "layers.csv").write_text(text)
    with pytest.raises(ParameterError, match=r"layers\.csv"):
        analyze_target(run)


def test_broken_net(run):
    (run / "pruned.safetensors").write_bytes(b"nothing")
    with pytest.raises((ParameterError, PlanError), match=r"pruned\.safetensors"):
        analyze_target(run, "unit")
    (run / "pruned.safetensors").unlink()
    (run / "dense.safetensors").unlink()
    with pytest.raises(ParameterError, match="must hold a saved net"):
        analyze_target(run, "unit")
