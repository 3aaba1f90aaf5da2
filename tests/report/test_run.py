"""Reports on the folder of a run, from Python and from the command line."""

import json
import shutil

import pandas as pd
import pytest
import torch
from typer.testing import CliRunner

from prunekit.cli import app
from prunekit.exceptions import ParameterError
from prunekit.pipeline import load_experiment, run_experiment
from prunekit.pipeline.reports import report_run
from prunekit.reporting import content_of_run
from tests.report.test_report import Page

FILE = """\
name: tiny
data: {source: digits, test_size: 0.5}
net:
  module: {name: ConvNet, widths: [8, 16], depth: 1}
  lr: 0.01
  max_epochs: 2
prune: {target_reduction: 0.4, step: 0.2, final_epochs: 0, min_score: 0.01}
compute: {threads: 1}
outputs: {latency_batch_sizes: [2]}
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder of a run that no test may change."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "tiny.yaml").write_text(FILE)
    run_experiment(load_experiment(folder / "tiny.yaml"), folder / "tiny")
    return folder / "tiny"


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the folder."""
    return shutil.copytree(finished, tmp_path / "tiny")


def test_report_holds_what_the_folder_does(run):
    state = torch.get_rng_state()
    path = report_run(run)
    assert torch.get_rng_state().equal(state)
    assert path == run / "report.html"
    page = Page(path)
    metrics = json.loads((run / "metrics.json").read_text())
    layers = pd.read_csv(run / "layers.csv", keep_default_na=False)
    history = pd.read_csv(run / "history.csv")
    assert page.of("h1")
    assert "Accuracy on 899 test samples" in page.text
    assert f"{100 * metrics['pruned']['test_accuracy']:.2f} % after" in page.text
    assert "Latency, batch of 2" in page.text
    assert [row["name"] for row in page.data["rows"]] == layers["name"].to_list()
    assert [row["params"] for row in page.data["rows"]] == layers["num_learnables"].to_list()
    assert page.data["rows"][0]["cells"][2] == "×".join(layers["activation_size"][0].strip("()").split(", ")[1:])
    assert {node[1] for node in page.data["nodes"]} >= {"stages.0.0", "linear"}
    assert f"{history['score'].iloc[0]:.4f} before" in page.text
    assert "Removed indices of" in page.text
    assert "threshold, 0.01" in page.text
    assert "target_reduction 0.4" in page.text
    marker = json.loads((run / "run.json").read_text())
    assert all(version in page.text for version in marker["versions"].values())


def test_report_of_a_run_does_nothing_in_a_browser(run, show):
    page = show(report_run(run, run / "page.html", "A heading"))
    assert page.find_element("css selector", "h1").text == "A heading"
    search = page.find_element("id", "search")
    search.send_keys("stages.1.1\n")
    assert page.find_element("id", "details").text.startswith("stages.1.1\n")


def test_report_without_the_experiment_has_no_graph(run):
    (run / "experiment.yaml").unlink()
    page = Page(report_run(run))
    assert "The folder holds no experiment.yaml that could be read." in page.text
    assert "nodes" not in page.data
    assert "Removed indices of" in page.text


def test_report_with_other_weights_has_no_graph(run):
    text = (run / "experiment.yaml").read_text()
    (run / "experiment.yaml").write_text(text.replace("- 16", "- 24"))
    page = Page(report_run(run))
    assert "The network could not be built again: The plan does not fit the network" in page.text


def test_report_without_weights_has_no_plan(run):
    (run / "pruned.safetensors").write_bytes(b"nothing")
    page = Page(report_run(run))
    assert "Removed indices of" not in page.text
    assert "The network could not be built again" in page.text


@pytest.mark.parametrize("name", ["run.json", "layers.csv", "history.csv", "metrics.json"])
def test_missing_file(run, name):
    (run / name).unlink()
    with pytest.raises(ParameterError, match=rf"must be one that 'prunekit run' wrote\. Got .*without .*{name}"):
        report_run(run)


@pytest.mark.parametrize("name", ["layers.csv", "history.csv", "metrics.json"])
def test_broken_file(run, name):
    (run / name).write_text("{}")
    with pytest.raises(ParameterError, match="must hold the files as 'prunekit run' wrote them"):
        content_of_run(run)


def test_cells_are_read_and_never_executed(run, tmp_path):
    layers = pd.read_csv(run / "layers.csv", keep_default_na=False)
    layers.loc[0, "activation_size"] = f"__import__('pathlib').Path({str(tmp_path / 'made')!r}).touch()"
    layers.to_csv(run / "layers.csv", index=False)
    with pytest.raises(ParameterError, match="with something else instead"):
        report_run(run)
    assert not (tmp_path / "made").exists()


def test_command(run, tmp_path):
    result = CliRunner().invoke(app, ["report", str(run), "--out", str(tmp_path / "out.html"), "--title", "Mine"])
    assert result.exit_code == 0, result.output
    assert result.stdout.replace("\n", "") == f"Written to {tmp_path / 'out.html'}"
    assert "Mine" in Page(tmp_path / "out.html").text
    assert CliRunner().invoke(app, ["report", str(run)]).exit_code == 0
    assert (run / "report.html").is_file()


def test_command_with_another_folder(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere"):
        result = CliRunner().invoke(app, ["report", str(folder)])
        assert result.exit_code == 2
        assert result.stderr.startswith("Error: The folder of a report must be one that 'prunekit run' wrote.")
        assert list(tmp_path.iterdir()) == []


def test_run_again_into_a_folder_with_a_report(run):
    report_run(run)
    run_experiment(load_experiment(run / "experiment.yaml"), run)
    assert (run / "report.html").is_file()


def test_help_shows_an_example():
    result = CliRunner().invoke(app, ["report", "--help"])
    assert result.exit_code == 0
    assert "Example: prunekit report runs/digits" in " ".join(result.output.split())
