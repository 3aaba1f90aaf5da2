"""The command in an empty folder, and a run that is there already."""

import shutil

import pytest
from typer.testing import CliRunner

from prunekit.cli import app
from prunekit.pipeline import load_experiment, run_experiment
from tests.cli.tiny import FILE


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    """Return a function that calls the command in an empty folder, on a console of 80 columns."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "tiny.yaml").write_text(FILE)
    return lambda *arguments: CliRunner().invoke(app, list(map(str, arguments)), prog_name="prunekit")


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The folder of a run; no test may change it."""
    folder = tmp_path_factory.mktemp("finished")
    (folder / "tiny.yaml").write_text(FILE)
    run_experiment(load_experiment(folder / "tiny.yaml"), folder / "run")
    return folder / "run"


@pytest.fixture
def run_folder(finished, tmp_path):
    """A copy of the folder of a run."""
    shutil.copytree(finished, tmp_path / "first")
    return tmp_path / "first"
