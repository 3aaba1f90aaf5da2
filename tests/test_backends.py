import os
import signal
import threading
import time

import joblib
import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from sklearn.model_selection import GridSearchCV

from tests.nets_skorch import make_classifier, make_table, quick


def search():
    """Return the scores of a search of six fits."""
    pruner = quick(make_classifier(max_epochs=8))
    grid = {"target_reduction": [0.3, 0.4, 0.5]}
    found = GridSearchCV(pruner, grid, cv=2, refit=False, error_score="raise").fit(*make_table())
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


@pytest.fixture(scope="module")
def ray_workers():
    ray = pytest.importorskip("ray", reason='pip install "prunekit[ray]"')
    from ray.util.joblib import register_ray

    os.environ["RAY_AUTH_MODE"] = "disabled"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    register_ray()
    yield ray
    ray.shutdown()


def test_ray_limits_threads(ray_workers):
    with joblib.parallel_config("ray", n_jobs=2):
        assert Parallel()(delayed(num_threads)(i) for i in range(4)) == [1] * 4


def test_a_search_on_ray(ray_workers, expected):
    with joblib.parallel_config("ray", n_jobs=2):
        np.testing.assert_array_equal(search(), expected)


def test_a_search_on_ray_loses_nothing_with_a_worker(ray_workers, expected):
    psutil = pytest.importorskip("psutil")

    def busy():
        below = psutil.Process().children(recursive=True)
        return next((one.pid for one in below if one.cmdline()[:1] == ["ray::PoolActor.run_batch"]), None)

    again = {"max_restarts": 3, "max_task_retries": 3}
    with joblib.parallel_config("ray", n_jobs=2, ray_remote_args=again):
        np.testing.assert_array_equal(search_and_kill(busy), expected)
