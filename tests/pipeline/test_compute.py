"""What an experiment computes with changes nothing of what comes out."""

import importlib.util
import sys

import pandas as pd
import pytest
import torch
from joblib import parallel_config
from joblib.parallel import get_active_backend

from prunekit.exceptions import ParameterError, PipelineFileError
from prunekit.pipeline import load_experiment, load_pipeline, run_experiment
from prunekit.pipeline._compute import ComputeSection, computing, device_of
from tests.pipeline.outcomes import metrics_without_times

FILE = """\
name: tiny
data: {source: wine, scale: standard}
net: {module: {name: MLP, widths: [16]}, lr: 0.02, max_epochs: 3, batch_size: 20}
prune: {step: one_shot, final_epochs: 1}
search: {name: GridSearchCV, cv: 2, param_grid: {target_reduction: [0.3, 0.6], step: [linear, one_shot]}}
compute: {threads: 1}
outputs: {latency_batch_sizes: [1], report: false}
"""


@pytest.fixture
def load(tmp_path):
    """Return a function that loads FILE with changes."""
    (tmp_path / "tiny.yaml").write_text(FILE)
    return lambda *changes: load_experiment(tmp_path / "tiny.yaml", changes)


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """Return the candidates and the metrics of a search in one process."""
    folder = tmp_path_factory.mktemp("expected")
    (folder / "tiny.yaml").write_text(FILE)
    return outcome(run_experiment(load_experiment(folder / "tiny.yaml"), folder / "out"))


def outcome(result):
    return pd.read_csv(result.folder / "search.csv"), metrics_without_times(result.folder)


def check(result, expected):
    table, metrics = outcome(result)
    pd.testing.assert_frame_equal(table, expected[0])
    assert metrics == expected[1]


def test_shared_trainings_change_nothing(load, tmp_path, expected):
    check(run_experiment(load("compute.memory=true"), tmp_path / "out"), expected)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["loky", "dask", "ray"])
def test_workers_change_nothing(load, tmp_path, expected, backend):
    package = {"loky": "joblib", "dask": "distributed"}.get(backend, backend)
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    experiment = load(f"compute.backend={backend}", "compute.n_jobs=2", "compute.memory=true")
    before = torch.get_num_threads()
    check(run_experiment(experiment, tmp_path / "out"), expected)
    assert torch.get_num_threads() == before
    assert type(get_active_backend()[0]).__name__ == "LokyBackend"


def test_jobs_of_the_estimators(load, tmp_path):
    load()
    file = load_pipeline(tmp_path / "tiny.yaml", ["compute.n_jobs=2"])
    assert file.estimator.n_jobs == 2
    steps = "steps={prune: TaylorPrunerCV}"
    (tmp_path / "path.yaml").write_text(
        "name: a\ndata: {source: wine}\nnet: {module: MLP}\nsteps: {prune: TaylorPrunerCV}\n"
    )
    assert load_pipeline(tmp_path / "path.yaml", [steps, "compute.n_jobs=-1"]).estimator[-1].n_jobs == -1


def test_threads_inside_and_after():
    before = torch.get_num_threads()
    with computing(ComputeSection(threads=before + 1)):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_users_own_backend_stays():
    with parallel_config("threading", n_jobs=3), computing(ComputeSection()):
        assert get_active_backend()[1] == 3


def test_cluster_that_is_not_there():
    pytest.importorskip("distributed")
    section = ComputeSection(backend="dask", address="tcp://127.0.0.1:1")
    expected = "The 'address' key of compute must be that of a dask cluster that runs. Got tcp://127.0.0.1:1 instead"
    with pytest.raises(ParameterError, match=expected), computing(section):
        pass


@pytest.mark.parametrize(("backend", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_package_that_is_not_there(monkeypatch, backend, package):
    monkeypatch.setitem(sys.modules, package, None)
    with (
        pytest.raises(ParameterError, match=rf"Got '{backend}' without {package} instead: pip install 'prunekit"),
        computing(ComputeSection(backend=backend)),
    ):
        pass


def test_devices(monkeypatch):
    assert device_of("cpu") == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert device_of("auto") == "cuda"
    assert device_of("cuda:1") == "cuda:1"
    with pytest.raises(ParameterError, match="which has 2 of the kind 'cuda'"):
        device_of("cuda:2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert device_of("auto") == "cpu"


def test_device_of_the_net_wins(load, tmp_path):
    load()
    file = load_pipeline(tmp_path / "tiny.yaml", ["compute.device=auto", "net.device=cpu"])
    assert file.estimator.estimator.estimator.device == "cpu"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("compute.backend=spark", "must be 'loky', 'dask' or 'ray'. Got 'spark' instead."),
        ("compute.n_jobs=0", "must be at least 1, or -1 for as many as there are cores. Got 0 instead."),
        ("compute.address=tcp://a:1", "is for clusters, but the backend is loky."),
        ("compute.device=gpu", "must be cpu, cuda, cuda:1, mps, or auto for a GPU if there is one. Got 'gpu' instead."),
        ("net.device=tpu", "must be cpu, cuda, cuda:1, mps, or auto for a GPU if there is one. Got 'tpu' instead."),
    ],
)
def test_mistakes(load, change, expected):
    with pytest.raises(PipelineFileError) as caught:
        load(change)
    assert expected in str(caught.value)
