"""Fits that have something in common do it once, and give what separate fits give."""

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from pathlib import Path

import filelock
import joblib
import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from torch import nn

from prunekit import TaylorPruner
from prunekit.exceptions import ParameterError, ParameterTypeError
from prunekit.schedules import MilestoneSchedule
from tests.nets_skorch import (
    STEPS,
    CountSteps,
    Perceptron,
    assert_same,
    fitted_state,
    make_classifier,
    make_table,
    quick,
)


@pytest.fixture(autouse=True)
def _from_zero():
    STEPS.clear()


def make_net(**params):
    return make_classifier(callbacks=[("count", CountSteps())], **params)


def make_pruner(estimator=None, **params):
    return quick(
        estimator or make_net(),
        **{"step": MilestoneSchedule(0.2), "target_reduction": 0.6, "lr_policy": "anneal"} | params,
    )


def whole_state(pruner):
    rows = pruner.history_.drop(columns=[name for name in pruner.history_ if name.startswith(("seconds", "peak"))])
    return {
        **fitted_state(pruner),
        "rows": rows.to_json(double_precision=15),
        "importances": pruner.importances_.tobytes(),
        "reason": pruner.stop_reason_,
    }


DENSE = 3 * 300 // 50
"""Steps of the training before pruning."""
TUNED = 300 // 50
"""Steps after a removal."""


def test_the_training_before_pruning_is_shared(table, tmp_path):
    variants = [{}, {"criterion": "taylor2"}, {"step": "cubic"}, {"reduction_of": "macs", "target_reduction": 0.3}]
    for params in variants:
        alone = make_pruner(**params).fit(*table)
        assert STEPS.pop("dense") == DENSE
        shared = make_pruner(memory=tmp_path, **params).fit(*table)
        assert STEPS.pop("dense", 0) == (DENSE if params == {} else 0)
        assert_same(whole_state(alone), whole_state(shared))


def test_other_nets_data_and_seeds_are_other_trainings(table, tmp_path):
    X, y = table
    make_pruner(memory=tmp_path).fit(X, y)
    others = [
        (make_pruner(make_net(lr=0.02), memory=tmp_path), (X, y)),
        (make_pruner(memory=tmp_path, random_state=1), (X, y)),
        (make_pruner(memory=tmp_path), (X + np.float32(0.1), y)),
        (make_pruner(memory=tmp_path), (X, y, X[:100], y[:100])),
    ]
    for pruner, data in others:
        STEPS.clear()
        pruner.fit(*data)
        assert STEPS["dense"] >= DENSE


def test_a_class_that_was_edited_is_another_net(table, tmp_path):
    def make_class(activation):
        class Part(nn.Module):
            def forward(self, x):
                return x.relu() if activation == "relu" else x.tanh()

        class Edited(Perceptron):
            def __init__(self):
                super().__init__()
                self.part = Part()

            def forward(self, x):
                return self.output(self.part(self.norm(self.hidden(x))))

        if activation == "relu":
            Part.forward = lambda self, x: x.relu()
        else:
            Part.forward = lambda self, x: x.tanh()
        return Edited

    for activation in ("relu", "tanh", "relu"):
        net = make_classifier(make_class(activation), callbacks=[("count", CountSteps())])
        make_pruner(net, memory=tmp_path).fit(*table)
    assert STEPS["dense"] == 2 * DENSE


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "untrained"])
def test_a_larger_target_goes_on_with_the_path_of_a_smaller_one(table, tmp_path, frozen):
    def make_estimator():
        if not frozen:
            return make_net()
        torch.manual_seed(0)
        return FrozenEstimator(make_net().initialize())

    params = {"final_epochs": 1}
    counted = []
    for target in (0.2, 0.4, 0.6):
        alone = make_pruner(make_estimator(), target_reduction=target, **params).fit(*table)
        STEPS.clear()
        shared = make_pruner(make_estimator(), target_reduction=target, memory=tmp_path, **params).fit(*table)
        counted.append(STEPS["small"])
        assert_same(whole_state(alone), whole_state(shared))
    assert shared.n_iterations_ == 3
    assert counted == [2 * TUNED] * 3  # a step and the last training, each time


def test_nothing_but_the_training_is_shared_where_learning_rates_differ(table, tmp_path):
    for target in (0.2, 0.4):
        params = {"target_reduction": target, "lr_policy": "linear"}
        alone = make_pruner(**params).fit(*table)
        STEPS.clear()
        shared = make_pruner(memory=tmp_path, **params).fit(*table)
        assert STEPS["small"] == shared.n_iterations_ * TUNED
        assert_same(whole_state(alone), whole_state(shared))


@pytest.mark.parametrize(
    "params",
    [
        {"finetune_epochs": 0},
        {"finetune_batches": 4, "score_batches": 3},
        {"distill": 0.5},
        {"criterion": "random"},
        {"criterion": "taylor_activation", "score_momentum": 0.5},
        {"compaction": "end"},
        {"lr_policy": "constant", "control": True},
    ],
    ids=str,
)
def test_equal_to_separate_fits_whatever_is_shared(table, tmp_path, params):
    for target in (0.4, 0.6, 0.6):
        alone = make_pruner(target_reduction=target, **params).fit(*table)
        shared = make_pruner(target_reduction=target, memory=tmp_path, **params).fit(*table)
        assert_same(whole_state(alone), whole_state(shared))
        if "control" in params:
            assert alone.control_score_ == shared.control_score_


def test_thresholds_take_the_path_as_far_as_it_holds(table, tmp_path):
    def judge(net, X, y):
        return float(net.module_.hidden.out_features > 20) + 0.1

    params = {"min_score": 0.5, "scoring": judge, "step_halvings": 2, "recovery_rounds": 1, "final_epochs": 1}
    alone = make_pruner(**params).fit(*table)
    assert alone.stop_reason_ == "min_score"
    make_pruner(memory=tmp_path, scoring=judge).fit(*table)
    STEPS.clear()
    shared = make_pruner(memory=tmp_path, **params).fit(*table)
    assert STEPS["dense"] == 0
    assert_same(whole_state(alone), whole_state(shared))


def test_without_a_seed_the_training_is_shared_and_random_numbers_go_on(table, tmp_path):
    make_pruner(memory=tmp_path, random_state=None).fit(*table)
    fits = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        STEPS.clear()
        fits.append(make_pruner(memory=tmp_path, random_state=None).fit(*table))
        assert STEPS["dense"] == 0
    assert_same(fitted_state(fits[0]), fitted_state(fits[1]))
    assert not torch.equal(*(fit.estimator_.module_.output.weight for fit in fits[1:]))


def test_a_grid_trains_once_a_fold(table, tmp_path):
    grid = {"criterion": ["taylor", "random"], "target_reduction": [0.2, 0.4, 0.6]}
    folds = StratifiedKFold(2)
    STEPS.clear()
    alone = GridSearchCV(make_pruner(final_epochs=1), grid, cv=folds, refit=False).fit(*table)
    steps_alone = Counter(STEPS)
    STEPS.clear()
    shared = GridSearchCV(make_pruner(final_epochs=1, memory=tmp_path), grid, cv=folds, refit=False).fit(*table)
    a_fold = 3 * 150 // 50
    assert steps_alone["dense"] == 6 * 2 * a_fold
    assert STEPS["dense"] == 2 * a_fold
    # Of each criterion 3 steps instead of 1 + 2 + 3, and 3 times the last training.
    assert STEPS["small"] / steps_alone["small"] == (3 + 3) / (6 + 3)
    np.testing.assert_array_equal(alone.cv_results_["mean_test_score"], shared.cv_results_["mean_test_score"])


def test_threads_wait_for_each_other(table, tmp_path):
    threads = [threading.Thread(target=make_pruner(memory=tmp_path, random_state=None).fit, args=table) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert STEPS["dense"] == DENSE


_PROGRAM = """
    import sys
    from tests.nets_skorch import make_classifier, make_table, quick

    quick(make_classifier(max_epochs=100_000), memory=sys.argv[1]).fit(*make_table())
"""


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_no_lock(table, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "OMP_NUM_THREADS": "1"}
    program = [sys.executable, "-c", textwrap.dedent(_PROGRAM), str(tmp_path)]
    with subprocess.Popen(program, env=environment) as process:
        while not list(tmp_path.rglob("dense-*.lock")) and process.poll() is None:
            time.sleep(0.05)
        process.kill()
    (lock,) = tmp_path.rglob("dense-*.lock")
    filelock.FileLock(lock, timeout=10).acquire().lock.release()
    assert not list(tmp_path.rglob("*.safetensors"))
    make_pruner(memory=tmp_path).fit(*table)
    assert STEPS["dense"] == DENSE


def test_what_joblib_clears(table, tmp_path):
    memory = joblib.Memory(tmp_path, verbose=0)
    for _ in range(2):
        make_pruner(memory=memory).fit(*table)
    assert STEPS["dense"] == DENSE
    memory.clear(warn=False)
    make_pruner(memory=memory).fit(*table)
    assert STEPS["dense"] == 2 * DENSE
    make_pruner(memory=joblib.Memory(None)).fit(*table)
    assert STEPS["dense"] == 3 * DENSE


def test_a_torn_file_is_made_again(table, tmp_path):
    alone = make_pruner(memory=tmp_path).fit(*table)
    for path in tmp_path.rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:50])
    again = make_pruner(memory=tmp_path).fit(*table)
    assert STEPS["dense"] == 2 * DENSE
    assert_same(whole_state(alone), whole_state(again))


def test_nothing_is_pickled(table, tmp_path):
    make_pruner(memory=tmp_path).fit(*table)
    assert {path.suffix for path in tmp_path.rglob("*") if path.is_file()} == {".safetensors", ".lock"}


def test_together_with_a_checkpoint(table, tmp_path):
    alone = make_pruner().fit(*table)
    for _ in range(2):
        both = make_pruner(memory=tmp_path / "memory", checkpoint=tmp_path / "run").fit(*table)
        assert_same(whole_state(alone), whole_state(both))
    assert STEPS["dense"] == 2 * DENSE


@pytest.mark.parametrize(
    ("memory", "error"), [(3, ParameterTypeError), (True, ParameterTypeError), (object(), ParameterTypeError)]
)
def test_what_memory_may_be(table, memory, error):
    with pytest.raises(error, match=r"'memory' parameter of TaylorPruner must be the path of a folder"):
        make_pruner(memory=memory).fit(*table)


def test_a_memory_without_a_folder(table):
    class Backend:
        location = None

    class Cloud:
        cache = None
        store_backend = Backend()

    with pytest.raises(ParameterError, match=r"must be a joblib\.Memory with a folder"):
        TaylorPruner(make_net(), memory=Cloud()).fit(*make_table())
