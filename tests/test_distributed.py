import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier

from tests.distributed_run import CASES, fit, result

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """What two processes of one training have, each."""
    pytest.importorskip("accelerate", reason='pip install "prunekit[accelerate]"')
    folder = tmp_path_factory.mktemp("ranks")
    launched = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"),
            *("-m", "tests.distributed_run", str(folder)),
        ],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert launched.returncode == 0, launched.stderr[-5000:]
    return [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(2)]


def assert_equal(one, other):
    for name, tensor in one.pop("weights").items():
        torch.testing.assert_close(tensor, other["weights"][name], rtol=0, atol=0, msg=name)
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name], err_msg=name)


@pytest.mark.parametrize("name", CASES)
def test_two_processes_do_what_one_does(ranks, name):
    one, two = result(fit(name, 1)), ranks[0][name]
    assert two["plan"] == one["plan"]
    assert two["reason"] == one["reason"]
    assert two["scores"] == one["scores"]
    np.testing.assert_allclose(two["losses"], one["losses"], rtol=1e-3)
    np.testing.assert_allclose(two["importances"], one["importances"], rtol=0.02)
    for key, tensor in one["weights"].items():
        torch.testing.assert_close(two["weights"][key], tensor, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", [*CASES, "uneven", "whole", "resumed", "trained"])
def test_both_processes_have_the_same(ranks, name):
    assert_equal(dict(ranks[1][name]), ranks[0][name])


def test_each_predicts_all_samples(ranks):
    assert ranks[0]["uneven"]["predicted"].shape == (403, 2)
    assert ranks[0]["uneven"]["score"] > 0.7


def test_an_accelerator_of_one_process_changes_nothing():
    accelerate = pytest.importorskip("accelerate", reason='pip install "prunekit[accelerate]"')
    hf = pytest.importorskip("skorch.hf")

    class AcceleratedNet(hf.AccelerateMixin, NeuralNetClassifier):
        pass

    def make(module, **params):
        accelerator = accelerate.Accelerator(cpu=True)
        return AcceleratedNet(module, accelerator=accelerator, callbacks__print_log__sink=print, **params)

    assert_equal(result(fit("taylor2", 1, make)), result(fit("taylor2", 1)))


def test_uneven_numbers_of_batches_are_refused(ranks):
    for rank in ranks:
        assert "must be a net whose accelerator gives every process the same number of mini-batches" in rank["refused"]


def test_a_memory_is_refused(ranks):
    """Processes that wait for each other's locks would wait for ever."""
    for rank in ranks:
        assert "'memory' parameter of TaylorPruner must be None where several processes train one net" in rank["memory"]


def test_what_stops_one_process_stops_all(ranks):
    # Two epochs before pruning; the first fine-tuning ends after one of three, those after it do not.
    assert (ranks[0]["uneven"]["epochs"] - 3) % 3 == 0


def test_a_run_that_was_left_is_gone_on_with(ranks):
    assert ranks[0]["left"]
    assert ranks[1]["left"]
    assert_equal(dict(ranks[0]["resumed"]), ranks[0]["whole"])
