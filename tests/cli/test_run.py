"""`prunekit run`: what is printed, what is written, and exit codes."""

import json
import os
import signal
import warnings

import pytest
import yaml

from prunekit import __version__
from prunekit.cli import _running
from tests.cli.tiny import FILE


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


def test_run_as_json(invoke, tmp_path):
    result = invoke("run", "tiny.yaml", "--json", "--quiet", "--out", "here")
    assert (result.exit_code, result.stderr) == (0, "")
    content = json.loads(result.stdout)
    assert content["folder"] == "here"
    assert set(content["files"]) == {path.name for path in (tmp_path / "here").iterdir()}
    assert content["metrics"] == json.loads((tmp_path / "here" / "metrics.json").read_text())
    assert (content["reduction"], content["stop_reason"]) == (content["metrics"]["reduction"], "target_reduction")


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
    assert result.stderr.startswith("Error: The loss is ")
    assert "Traceback" not in result.output
    assert list((tmp_path / "runs").iterdir()) == []


def test_target_out_of_reach(invoke, tmp_path):
    (tmp_path / "tiny.yaml").write_text(FILE.replace("0.4", "0.999"))
    result = invoke("run", "tiny.yaml")
    assert result.exit_code == 1
    assert "target_reduction" in result.stderr


def test_warnings_are_told_without_code(invoke, monkeypatch):
    def run_with_warning(*arguments, **more):
        warnings.warn("the constraints let no further unit go", UserWarning, stacklevel=1)

    monkeypatch.setattr(_running, "run_experiment", run_with_warning)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        result = invoke("run", "tiny.yaml", "--quiet")
    assert (result.exit_code, result.stdout) == (0, "")
    assert result.stderr == "Warning: the constraints let no further unit go\n"


def test_set_wins_over_the_file(invoke, tmp_path):
    result = invoke("run", "tiny.yaml", "--quiet", "--set", "prune.target_reduction=0.3", "--set", "net.max_epochs=1")
    assert (result.exit_code, result.output) == (0, "")
    written = yaml.safe_load((tmp_path / "runs" / "tiny" / "experiment.yaml").read_text())
    assert (written["prune"]["target_reduction"], written["net"]["max_epochs"]) == (0.3, 1)


def test_errors_as_json(invoke):
    result = invoke("run", "tiny.yaml", "--json", "--set", "prune.target_reduction=0.999")
    assert (result.exit_code, result.stderr) == (1, "")
    error = json.loads(result.stdout)["error"]
    assert error["type"] == "TargetError"
    assert error["message"].startswith("The 'target_reduction' parameter of TaylorPruner must be at most")


@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c(invoke, monkeypatch, as_json):
    monkeypatch.setattr(_running, "run_experiment", lambda *arguments, **more: os.kill(os.getpid(), signal.SIGINT))
    result = invoke("run", "tiny.yaml", "--json" if as_json else "--quiet")
    assert result.exit_code == 130
    if as_json:
        assert json.loads(result.stdout) == {"error": {"type": "KeyboardInterrupt", "message": "Interrupted."}}
        assert result.stderr == ""
    else:
        assert (result.stdout, result.stderr) == ("", "To go on: give the same command with --resume.\nInterrupted.\n")


def test_ctrl_c_that_ends_a_stage_only(invoke, monkeypatch, finished):
    """A training that was cut short gives results, which are not those that were asked for."""
    run_experiment = _running.run_experiment

    def interrupted(*arguments, **more):
        result = run_experiment(*arguments, **more)
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            return result

    monkeypatch.setattr(_running, "run_experiment", interrupted)
    result = invoke("run", "tiny.yaml", "--json")
    assert result.exit_code == 130
    assert json.loads(result.stdout)["stop_reason"] == "target_reduction"
    assert result.stderr == "Interrupted: the results are those of what was done until then.\n"


def test_mistakes_of_the_package_are_shown_as_they_are(invoke, monkeypatch):
    def broken(*arguments, **more):
        raise ZeroDivisionError("a mistake")

    monkeypatch.setattr(_running, "run_experiment", broken)
    result = invoke("run", "tiny.yaml", "--json")
    assert isinstance(result.exception, ZeroDivisionError)
    assert result.stdout == ""
