"""Runs that are killed go on, and end with the same numbers as one that was not."""

import os
import random
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
from typer.testing import CliRunner

from prunekit import TaylorPruner
from prunekit.cli import app
from prunekit.exceptions import ParameterError
from prunekit.pipeline import Listener, is_finished, load_experiment, run_experiment
from prunekit.pipeline._outputs import OutputFolder
from tests.pipeline.outcomes import metrics_without_times

FILE = """\
name: tiny
data: {source: digits, sample: 600, test_size: 0.3}
net: {module: {name: ConvNet, widths: [8, 8], depth: 1}, lr: 0.01, max_epochs: 3}
prune: {target_reduction: 0.5, step: 0.1, final_epochs: 1}
compute: {threads: 1}
outputs: {latency_batch_sizes: [1]}
"""
SEARCH = "search: {name: GridSearchCV, cv: 2, param_grid: {target_reduction: [0.3, 0.5]}}\n"


def write(folder, more=""):
    path = folder / "tiny.yaml"
    path.write_text(FILE + more)
    return path


class Killed(BaseException):
    """Stands for the end of a process; nothing handles it."""


@pytest.fixture
def kill(monkeypatch):
    """Return a function that lets the process end when a step of pruning is written for the n-th time."""
    from prunekit._loop import checkpoint

    write_state = checkpoint.write_state

    def kill(after):
        left = [after]

        def write_and_end(path, state):
            written = write_state(path, state)
            left[0] -= 1
            if left[0] <= 0:
                raise Killed
            return written

        monkeypatch.setattr(checkpoint, "write_state", write_and_end)

    yield kill
    monkeypatch.undo()


@pytest.mark.parametrize("more", ["", SEARCH], ids=["run", "search"])
def test_killed_run_goes_on(tmp_path, kill, monkeypatch, more):
    experiment = load_experiment(write(tmp_path, more))
    whole = run_experiment(experiment, tmp_path / "whole")
    for after in (3, 2, 4):
        kill(after)
        with pytest.raises(Killed):
            run_experiment(experiment, tmp_path / "killed", resume=True)
        monkeypatch.undo()
        assert not (tmp_path / "killed").exists()
    with pytest.raises(ParameterError, match=r"must be one without an unfinished run.*Give --resume to go on"):
        run_experiment(experiment, tmp_path / "killed")
    again = run_experiment(experiment, tmp_path / "killed", resume=True)
    assert metrics_without_times(again.folder) == metrics_without_times(whole.folder)
    for name in ("dense.safetensors", "pruned.safetensors", "layers.csv"):
        assert (again.folder / name).read_bytes() == (whole.folder / name).read_bytes()
    log = (again.folder / "run.log").read_text()
    assert log.count("resumed run of 'tiny'") == 3
    assert log.count("ended by Killed") == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "tiny.yaml", "whole"]


def test_steps_are_not_done_again(tmp_path, kill, monkeypatch):
    experiment = load_experiment(write(tmp_path))
    kill(6)
    with pytest.raises(Killed):
        run_experiment(experiment, tmp_path / "out")
    monkeypatch.undo()
    trainings = []
    monkeypatch.setattr("prunekit._skorch.train", lambda *args, **kwargs: trainings.append(args))
    run_experiment(experiment, tmp_path / "out", resume=True)
    assert trainings == []


def test_another_experiment_shares_nothing(tmp_path, kill, monkeypatch):
    kill(3)
    with pytest.raises(Killed):
        run_experiment(load_experiment(write(tmp_path)), tmp_path / "out")
    monkeypatch.undo()
    other = load_experiment(write(tmp_path), ["seed=7"])
    resumed = run_experiment(other, tmp_path / "out", resume=True)
    whole = run_experiment(other, tmp_path / "whole")
    assert metrics_without_times(resumed.folder) == metrics_without_times(whole.folder)


def test_error_leaves_nothing_to_go_on_with(tmp_path, monkeypatch):
    def fail(self, *args, **kwargs):
        Path(self.checkpoint).mkdir(parents=True)
        raise ParameterError("no")

    monkeypatch.setattr(TaylorPruner, "fit", fail)
    with pytest.raises(ParameterError, match="no"):
        run_experiment(load_experiment(write(tmp_path)), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]


def test_two_runs_do_not_write_into_one_folder(tmp_path):
    with OutputFolder(tmp_path / "out") as output:
        with pytest.raises(ParameterError, match="must be one that no other run is writing"):
            OutputFolder(tmp_path / "out").__enter__()
        output.write_json("run.json", {"prunekit_run": 1}, "marker")
    with OutputFolder(tmp_path / "out", resume=True) as output:
        assert not output.is_resumed


def test_finished_run_stays(tmp_path):
    path = write(tmp_path)
    experiment = load_experiment(path)
    assert not is_finished(experiment, tmp_path / "out")
    first = CliRunner().invoke(app, ["run", str(path), "--out", str(tmp_path / "out"), "--resume", "--quiet"])
    assert first.exit_code == 0, first.output
    assert is_finished(experiment, tmp_path / "out")
    assert not is_finished(load_experiment(path, ["seed=1"]), tmp_path / "out")
    before = (tmp_path / "out" / "metrics.json").stat().st_mtime_ns
    again = CliRunner().invoke(app, ["run", str(path), "--out", str(tmp_path / "out"), "--resume"])
    assert again.exit_code == 0
    assert "Finished already" in again.output
    assert (tmp_path / "out" / "metrics.json").stat().st_mtime_ns == before


@pytest.mark.slow
def test_processes_that_are_killed(tmp_path):
    """As on a cluster: SIGKILL at some moment, again and again, until a run comes through."""
    path = write(tmp_path)
    command = [sys.executable, "-m", "prunekit", "run", str(path), "--quiet", "--resume", "--out"]
    start = time.monotonic()
    whole = subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    seconds = time.monotonic() - start
    assert whole.returncode == 0
    rng = random.Random(0)
    killed = 0
    for fraction in (0.75, 0.85, 0.95, 2.0):
        process = subprocess.Popen(
            [*command, str(tmp_path / "killed")], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        try:
            process.wait(timeout=seconds * fraction * rng.uniform(0.9, 1.1) if fraction < 2 else 600)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        _, errors = process.communicate()
        assert process.returncode in (0, -signal.SIGKILL), errors.decode()
    assert process.returncode == 0
    assert metrics_without_times(tmp_path / "killed") == metrics_without_times(tmp_path / "whole")


class Warner(Listener):
    """Warns in the middle of a run."""

    def on_data(self, split):
        warnings.warn("mind the gap", UserWarning, stacklevel=1)


def test_log_tells_of_warnings(tmp_path):
    with pytest.warns(UserWarning, match="mind the gap"):
        result = run_experiment(load_experiment(write(tmp_path)), tmp_path / "out", Warner(verbose=1))
    lines = (result.folder / "run.log").read_text().splitlines()
    assert any("WARNING UserWarning: mind the gap" in line for line in lines)
    assert "run of 'tiny'" in lines[0]
    assert sum("pruned" in line or "Iteration" in line or "final" in line for line in lines) >= 3
    assert "finished: " in lines[-1]
