"""The command line: what is printed, what is written, and exit codes."""

import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import prunekit.cli
from prunekit import __version__
from prunekit.cli import app
from prunekit.pipeline import load_experiment
from prunekit.pipeline.registry import REGISTRY

ROOT = Path(__file__).parents[1]
FILE = """\
name: tiny
data: {source: digits, test_size: 0.5}
net:
  module: {name: ConvNet, widths: [8, 16], depth: 1}
  lr: 0.01
  max_epochs: 2
prune: {target_reduction: 0.4, step: 0.2, final_epochs: 0}
compute: {threads: 1}
outputs: {latency_batch_sizes: [2]}
"""


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    """Return a function that calls the command in an empty folder, on a console of 80 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "tiny.yaml").write_text(FILE)
    return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_run(invoke, tmp_path):
    result = invoke("run", "tiny.yaml")
    assert result.exit_code == 0, result.output
    metrics = json.loads((tmp_path / "runs" / "tiny" / "metrics.json").read_text())
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert max(map(len, lines)) <= 80
    assert lines[0] == f"prunekit {__version__} · tiny.yaml"
    assert "Frozen: linear (network output)" in lines
    accuracy = next(line for line in lines if "accuracy on 899 test samples" in line)
    for name in ("dense", "pruned"):
        assert f"{100 * metrics[name]['test_accuracy']:.2f} %" in accuracy
        assert f"{metrics[name]['params']:,}" in next(line for line in lines if line.startswith(" parameters"))
    written = lines[lines.index("Written to runs/tiny") + 1 :]
    assert {line.split()[0] for line in written} == {path.name for path in (tmp_path / "runs" / "tiny").iterdir()}
    assert result.stderr == ""


def test_run_again_into_the_same_folder(invoke):
    assert invoke("run", "tiny.yaml", "--quiet").exit_code == 0
    assert invoke("run", "tiny.yaml", "--quiet").exit_code == 0


def test_quiet_run_prints_nothing(invoke, tmp_path):
    result = invoke("run", "tiny.yaml", "--quiet", "--out", tmp_path / "elsewhere")
    assert (result.exit_code, result.output) == (0, "")
    assert (tmp_path / "elsewhere" / "metrics.json").is_file()
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("command", ["run", "validate"])
def test_broken_file(invoke, tmp_path, command):
    (tmp_path / "tiny.yaml").write_text(FILE.replace("max_epochs", "epochs"))
    result = invoke(command, "tiny.yaml")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == "Error: tiny.yaml: line 6, net.epochs: unknown key. Did you mean 'max_epochs'?\n"
    assert not (tmp_path / "runs").exists()


def test_missing_file(invoke):
    result = invoke("run", "digits.yaml")
    assert result.exit_code == 2
    assert result.stderr == "Error: digits.yaml: there is no such file; the folder holds tiny.yaml.\n"


def test_folder_of_the_user(invoke, tmp_path):
    result = invoke("run", "tiny.yaml", "--out", tmp_path)
    assert result.exit_code == 2
    assert "The output folder must be new, empty or that of an earlier run." in result.stderr
    assert (tmp_path / "tiny.yaml").read_text() == FILE


def test_failed_run(invoke, tmp_path):
    (tmp_path / "tiny.yaml").write_text(FILE.replace("lr: 0.01", "lr: 1.0e+30"))
    result = invoke("run", "tiny.yaml")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The loss of the dense net must be finite.")
    assert "Traceback" not in result.output
    assert list((tmp_path / "runs").iterdir()) == []


def test_target_out_of_reach(invoke, tmp_path):
    (tmp_path / "tiny.yaml").write_text(FILE.replace("0.4", "0.999"))
    result = invoke("run", "tiny.yaml")
    assert result.exit_code == 1
    assert "target_reduction" in result.stderr


def test_warnings_are_told_without_code(invoke, monkeypatch):
    def run_with_warning(*arguments):
        warnings.warn("the constraints let no further unit go", UserWarning, stacklevel=1)

    monkeypatch.setattr(prunekit.cli, "run_experiment", run_with_warning)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        result = invoke("run", "tiny.yaml", "--quiet")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "Warning: the constraints let no further unit go\n"


@pytest.mark.parametrize("path", sorted((ROOT / "pipelines").glob("*.yaml")), ids=lambda path: path.name)
def test_files_of_the_repository_are_valid(invoke, path):
    result = invoke("validate", path)
    assert result.exit_code == 0, result.output
    assert result.stdout.replace("\n", "") == f"{path}: valid."


def test_version(invoke):
    result = invoke("--version")
    assert (result.exit_code, result.stdout) == (0, f"prunekit {__version__}\n")


COMMANDS = ["run", "validate", "show", "schema", "list", "report"]


def test_set_wins_over_the_file(invoke, tmp_path):
    result = invoke("run", "tiny.yaml", "--quiet", "--set", "prune.target_reduction=0.3", "--set", "net.max_epochs=1")
    assert (result.exit_code, result.output) == (0, "")
    written = yaml.safe_load((tmp_path / "runs" / "tiny" / "experiment.yaml").read_text())
    assert (written["prune"]["target_reduction"], written["net"]["max_epochs"]) == (0.3, 1)


@pytest.mark.parametrize("command", ["run", "validate", "show"])
def test_wrong_set(invoke, command):
    result = invoke(command, "tiny.yaml", "--set", "net.max_epoch=1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "Error: tiny.yaml: --set net.max_epoch=1: net.max_epoch: unknown key. Did you mean 'max_epochs'?\n"
    )


def test_show_writes_a_file_that_is_the_same(invoke, tmp_path):
    shown = invoke("show", "tiny.yaml", "--set", "seed=5")
    assert shown.exit_code == 0
    (tmp_path / "shown.yaml").write_text(shown.stdout)
    assert load_experiment(tmp_path / "shown.yaml") == load_experiment(tmp_path / "tiny.yaml", ["seed=5"])
    as_json = invoke("show", "tiny.yaml", "--set", "seed=5", "--json")
    assert json.loads(as_json.stdout) == load_experiment(tmp_path / "shown.yaml").resolved()


def test_schema(invoke, tmp_path):
    printed = invoke("schema")
    assert json.loads(printed.stdout)["title"] == "Experiment"
    assert invoke("schema", "--out", "schema.json").stdout == "Written to schema.json\n"
    assert (tmp_path / "schema.json").read_text() == printed.stdout
    refused = invoke("schema", "--out", "no/schema.json")
    assert (refused.exit_code, refused.stderr) == (
        2, "Error: The file no/schema.json cannot be written: No such file or directory.\n",
    )  # fmt: skip


def test_list(invoke):
    everything = invoke("list")
    assert everything.exit_code == 0
    assert max(map(len, everything.stdout.splitlines())) <= 80
    words = set(everything.stdout.split())
    for kind, entries in REGISTRY.items():
        assert {kind, *entries} <= words
    one = json.loads(invoke("list", "source", "--json").stdout)
    assert {item["name"] for item in one} == set(REGISTRY["source"])
    assert next(item for item in one if item["name"] == "npz")["options"][0] == "path*"
    wrong = invoke("list", "optimiser")
    assert (wrong.exit_code, wrong.stderr) == (
        2, "Error: There is no kind of names called 'optimiser'. Did you mean 'optimizer'?\n",
    )  # fmt: skip


@pytest.mark.parametrize("arguments", [(), ("--help",), *((command, "--help") for command in COMMANDS)])
def test_help_shows_an_example(invoke, arguments):
    result = invoke(*arguments)
    assert result.exit_code in ((0, 2) if not arguments else (0,))
    text = re.sub(r"\s+", " ", result.output)
    assert ("Example: prunekit" in text) == (arguments[:1] in [(command,) for command in COMMANDS])
    assert "Usage: " in text


@pytest.mark.parametrize("arguments", [("run",), ("run", "tiny.yaml", "--nonsense"), ("prune", "tiny.yaml")])
def test_wrong_arguments(invoke, arguments):
    assert invoke(*arguments).exit_code == 2


def test_command_is_installed():
    script = Path(sys.executable).with_name("prunekit")
    if not script.exists():
        pytest.skip("prunekit is not installed beside this Python; the checkout is being tested")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("prunekit ")
