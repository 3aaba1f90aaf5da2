"""Search on two workers of ray, and write what was found.

A process of its own, since ray puts another ``print`` in the place of Python's, and skorch's nets, which hold the first
one, can then not be pickled any more.
"""

import json
import sys
from pathlib import Path

import joblib
import psutil
import ray
from joblib import Parallel, delayed
from ray.util.joblib import register_ray

from tests.test_backends import num_threads, search, search_and_kill, search_path


def busy():
    """Return the number of a worker that is at work."""
    below = psutil.Process().children(recursive=True)
    return next((one.pid for one in below if one.cmdline()[:1] == ["ray::PoolActor.run_batch"]), None)


def main():
    """Run all of it."""
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    register_ray()
    with joblib.parallel_config("ray", n_jobs=2):
        found = {
            "threads": Parallel()(delayed(num_threads)(i) for i in range(4)),
            "search": search().tolist(),
            "path": search_path().tolist(),
        }
    again = {"max_restarts": 3, "max_task_retries": 3}
    with joblib.parallel_config("ray", n_jobs=2, ray_remote_args=again):
        found["killed"] = search_and_kill(busy).tolist()
    Path(sys.argv[1]).write_text(json.dumps(found), encoding="utf-8")
    ray.shutdown()


if __name__ == "__main__":
    main()
