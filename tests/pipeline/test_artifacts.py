"""Tables, plots, exports and the report of a run, and what each needs."""

import json
import sys

import numpy as np
import pandas as pd
import pytest
from matplotlib.image import imread

from prunekit.exceptions import ParameterError, PipelineFileError
from prunekit.pipeline import load_experiment, load_pipeline, run_experiment

FILE = """\
name: tiny
data: {source: digits, sample: 500}
net: {module: {name: ConvNet, widths: [8, 8], depth: 1}, lr: 0.01, max_epochs: 2}
prune: {target_reduction: 0.4, step: 0.2, final_epochs: 1}
compute: {threads: 1}
outputs:
  latency_batch_sizes: [1]
  parquet: true
  plots: [path, layers, history, importances, confusion]
  onnx: true
  program: true
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run an experiment with everything."""
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("artifacts")
    (folder / "tiny.yaml").write_text(FILE)
    return run_experiment(load_experiment(folder / "tiny.yaml"), folder / "out")


@pytest.fixture
def load(tmp_path):
    (tmp_path / "tiny.yaml").write_text(FILE)
    return lambda *changes: load_experiment(tmp_path / "tiny.yaml", changes)


def test_everything_is_there(run):
    listed = json.loads((run.folder / "run.json").read_text())["files"]
    assert listed == run.files
    assert {path.name for path in run.folder.iterdir()} == set(listed)
    plots = {f"{name}.png" for name in ("path", "layers", "history", "importances", "confusion")}
    assert plots | {"layers.parquet", "history.parquet", "pruned.onnx", "pruned.pt2", "report.html"} <= set(listed)


@pytest.mark.parametrize("name", ["layers", "history"])
def test_parquet_is_the_table(run, name):
    table = pd.read_parquet(run.folder / f"{name}.parquet")
    csv = pd.read_csv(run.folder / f"{name}.csv", keep_default_na=name != "layers")
    assert list(table.columns) == list(csv.columns)
    assert len(table) == len(csv)
    for column in csv.select_dtypes("number"):
        np.testing.assert_allclose(table[column].astype(float), csv[column].astype(float), equal_nan=True)


@pytest.mark.parametrize("name", ["path", "layers", "history", "importances", "confusion"])
def test_plots_show_something(run, name):
    picture = imread(run.folder / f"{name}.png")
    assert min(picture.shape[:2]) > 400
    assert picture[..., :3].std() > 0.02


def test_exported_net_is_the_pruned_net(run, tmp_path):
    (tmp_path / "tiny.yaml").write_text(FILE)
    file = load_pipeline(tmp_path / "tiny.yaml")
    pruner = file.estimator.fit(file.data.X_train, file.data.y_train)
    expected = pruner.transform().forward(file.data.X_test[:5]).numpy()
    session = pytest.importorskip("onnxruntime").InferenceSession(run.folder / "pruned.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: file.data.X_test[:5]})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_report_tells_of_the_run(run):
    page = (run.folder / "report.html").read_text()
    assert "Accuracy on 125 test samples" in page
    assert "stages.1.1" in page
    assert f"What &#39;prunekit run&#39; wrote to {run.folder}:" in page
    assert "unfinished" not in page


def test_git_revision(run, monkeypatch):
    marker = json.loads((run.folder / "run.json").read_text())
    assert marker["git"] is None  # the file is in no repository
    assert marker["threads"] == 1


def test_nothing_that_is_not_wanted(load, tmp_path):
    changes = ("plots=[]", "parquet=false", "onnx=false", "program=false", "nets=false", "report=false")
    result = run_experiment(load(*(f"outputs.{change}" for change in changes)), tmp_path / "out")
    assert set(result.files) == {
        *("run.log", "run.json", "layers.csv", "history.csv", "history.parquet", "metrics.json", "experiment.yaml"),
    }
    assert result.comparison.pruned.file_bytes > 1000  # measured all the same


@pytest.mark.parametrize("form", ["svg", "pdf"])
def test_pictures_are_the_same_every_time(load, tmp_path, form):
    changes = (f"plot_format={form}", "plots=[layers]", "onnx=false", "program=false", "report=false")
    experiment = load(*(f"outputs.{change}" for change in changes))
    first, again = (run_experiment(experiment, tmp_path / name) for name in ("first", "again"))
    name = f"layers.{form}"
    assert (first.folder / name).read_bytes() == (again.folder / name).read_bytes()


@pytest.mark.parametrize(("package", "key"), [("matplotlib", "plots"), ("onnxruntime", "onnx")])
def test_packages_are_asked_for_at_once(load, tmp_path, monkeypatch, package, key):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ParameterError, match=f"outputs.{key}"):
        run_experiment(load(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (["outputs.plots=[paths]"], "outputs.plots[0]: must be 'path', 'layers', 'history', 'importances' or "),
        (["outputs.plots=[path, path]"], "outputs.plots[1]: 'path' stands in the list twice."),
        (["steps={net: NeuralNet}", "prune=null"], "outputs.plots: show what pruning did."),
        (["net.estimator=NeuralNetRegressor", "data={source: diabetes}", "net.module=MLP"],
         "outputs.plots[4]: 'confusion' is for classes, but the experiment is a regression."),
    ],
)  # fmt: skip
def test_mistakes(load, changes, expected):
    with pytest.raises(PipelineFileError) as caught:
        load(*changes)
    assert expected in str(caught.value)
