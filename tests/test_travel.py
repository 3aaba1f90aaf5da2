import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from sklearn.exceptions import NotFittedError

from tests.nets_skorch import make_table

ROOT = Path(__file__).parent.parent
SCRIPT = ROOT / "tests" / "main_script.py"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=["file", "stdin"])
def run(request, tmp_path_factory):
    """What a script says, started from a file, or read from standard input as a notebook's cells are."""
    path = tmp_path_factory.mktemp("main") / "found.json"
    by_name = request.param == "file"
    subprocess.run(
        [sys.executable, str(SCRIPT) if by_name else "-", str(path)],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        cwd=ROOT,
        input="" if by_name else SCRIPT.read_text(),
        text=True,
        check=True,
        timeout=120,
    )
    return json.loads(path.read_text()), path.with_suffix(".pickle")


def test_nets_that_are_not_frozen_reach_other_processes(run):
    found, _ = run
    assert min(found["class"]) > 0.4
    assert found["initialised"] == found["fitted"] == found["class"]


def test_a_frozen_net_says_where_its_class_belongs(run):
    found, _ = run
    assert found["frozen"].startswith(
        "ParameterTypeError: The 'estimator' parameter of TaylorPruner must be a skorch net or FrozenEstimator(net). "
        "Got a fitted net of __main__.Net instead, which the process that fits does not have. Put the class in a file"
    )


def test_a_result_that_cannot_come_back_says_where_its_class_belongs(run):
    found, _ = run
    assert found["returned"].startswith("StateError: A fitted net can go to another process only if that can load it.")
    assert "Put the class in a file of its own, such as nets.py" in found["returned"]


def test_in_its_own_process_a_pruner_survives_pickle(run):
    found, _ = run
    assert found["here"] is True


# Pickle's message shows the module __main__, which has the loader of built-in modules where pytest-xdist runs.
@pytest.mark.filterwarnings("ignore:BuiltinImporter.module_repr:DeprecationWarning")
def test_a_pruner_without_its_network_is_unfitted(run):
    _, path = run
    with pytest.warns(UserWarning, match=r"loaded without its network, since this process has no __main__\.Net"):
        pruner = pickle.loads(path.read_bytes())
    with pytest.raises(NotFittedError):
        pruner.predict(make_table()[0])
