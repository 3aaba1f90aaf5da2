import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from sklearn.model_selection import GridSearchCV

from prunekit import TaylorPrunerCV
from tests.nets_skorch import make_classifier, make_table, quick

pytestmark = pytest.mark.slow


def search():
    """Return the scores of a search of six fits."""
    pruner = quick(make_classifier(max_epochs=8))
    grid = {"target_reduction": [0.3, 0.4, 0.5]}
    found = GridSearchCV(pruner, grid, cv=2, refit=False, error_score="raise").fit(*make_table())
    return np.stack([found.cv_results_[f"split{fold}_test_score"] for fold in range(2)])


def search_path():
    """Return the scores of a path on two folds."""
    pruner = quick(make_classifier(max_epochs=8))
    found = TaylorPrunerCV(pruner, reductions=[0.2, 0.4], cv=2).fit(*make_table())
    return np.stack([found.cv_results_[f"split{fold}_test_score"] for fold in range(2)])


def num_threads(_):
    return torch.get_num_threads()


def search_and_kill(find_busy):
    """Search, and kill a worker that is at work; return the scores."""
    killed = []

    def kill():
        while find_busy() is None:
            time.sleep(0.05)
        time.sleep(0.5)
        killed.append(find_busy())
        os.kill(killed[0], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    found = search()
    assert killed, "the search ended before"
    thread.join()
    return found


@pytest.fixture(scope="module")
def expected():
    return search()


@pytest.fixture(scope="module")
def path():
    return search_path()


@pytest.fixture(scope="module")
def dask_client():
    dask = pytest.importorskip("dask", reason='pip install "prunekit[dask]"')
    distributed = pytest.importorskip("distributed", reason='pip install "prunekit[dask]"')

    class Client(distributed.Client):
        """Gives every worker what joblib gives to one."""

        def scatter(self, data, **kwargs):
            return super().scatter(data, **{"broadcast": True} | kwargs)

    with (
        dask.config.set({"distributed.scheduler.active-memory-manager.start": False}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def test_dask_limits_threads(dask_client):
    with joblib.parallel_config("dask"):
        assert Parallel()(delayed(num_threads)(i) for i in range(4)) == [1] * 4


def test_a_search_on_dask_loses_nothing_with_a_worker(dask_client, expected):
    address, pid = next(iter(dask_client.run(os.getpid).items()))
    with joblib.parallel_config("dask"):
        found = search_and_kill(lambda: pid if dask_client.processing()[address] else None)
    np.testing.assert_array_equal(found, expected)
    assert pid not in dask_client.run(os.getpid).values()


def test_a_search_on_dask(dask_client, expected):
    with joblib.parallel_config("dask"):
        np.testing.assert_array_equal(search(), expected)


def test_a_path_on_dask(dask_client, path):
    with joblib.parallel_config("dask"):
        np.testing.assert_array_equal(search_path(), path)


@pytest.fixture(scope="module")
def found_by_ray(tmp_path_factory):
    """What searches on two workers of ray give, started once for all tests and in a process of its own."""
    pytest.importorskip("ray", reason='pip install "prunekit[ray]"')
    path = tmp_path_factory.mktemp("ray") / "found.json"
    subprocess.run(
        [sys.executable, "-m", "tests.ray_run", str(path)],
        env={**os.environ, "RAY_AUTH_MODE": "disabled"},
        cwd=Path(__file__).parents[1],
        check=True,
        timeout=900,
    )
    return json.loads(path.read_text(encoding="utf-8"))


def test_ray_limits_threads(found_by_ray):
    assert found_by_ray["threads"] == [1] * 4


def test_a_search_on_ray(found_by_ray, expected):
    np.testing.assert_array_equal(found_by_ray["search"], expected)


def test_a_path_on_ray(found_by_ray, path):
    np.testing.assert_array_equal(found_by_ray["path"], path)


def test_a_search_on_ray_loses_nothing_with_a_worker(found_by_ray, expected):
    np.testing.assert_array_equal(found_by_ray["killed"], expected)
