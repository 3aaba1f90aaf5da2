"""A search that ends before its time goes on, and repeats nothing that was done."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from joblib import parallel_config

from prunekit import TaylorPrunerCV
from prunekit._skorch import _epochs
from prunekit.exceptions import ParameterTypeError, StateError
from prunekit.io import read_state, write_state
from tests.nets_skorch import assert_same, fitted_state, make_classifier, quick
from tests.test_resume import Fuse, PowerCutError

STEPS = 3 * 3
"""Mini-batches of the training before pruning on a fold."""


@pytest.fixture(autouse=True)
def _fuse_is_out():
    Fuse.left = None
    yield
    Fuse.left = None


def make_search(folder=None, cv=2, **params):
    net = make_classifier(callbacks=[("fuse", Fuse())])
    pruner = quick(net, target_reduction=0.6, final_batches=4, finetune_batches=3, checkpoint=folder)
    return TaylorPrunerCV(pruner, cv=cv, reductions=2, tolerance=0.3, **params)


def scores_of(search):
    return {name: values.tolist() for name, values in search.cv_results_.items() if not name.endswith("time")}


def steps_of(search, table):
    """Fit, and return the number of mini-batches."""
    Fuse.left = 10**6
    search.fit(*table)
    return 10**6 - Fuse.left


def cut_after(search, table, steps):
    Fuse.left = steps
    with pytest.raises(PowerCutError):
        search.fit(*table)
    Fuse.left = None


def test_a_search_that_ended_is_read(table, tmp_path):
    plain = make_search().fit(*table)
    first = make_search(tmp_path)
    assert steps_of(first, table) > 0
    again = make_search(tmp_path)
    assert steps_of(again, table) == 0

    assert scores_of(plain) == scores_of(first) == scores_of(again)
    np.testing.assert_array_equal(first.cv_results_["mean_fit_time"], again.cv_results_["mean_fit_time"])
    assert_same(fitted_state(plain.best_estimator_), fitted_state(again.best_estimator_))


@pytest.mark.parametrize("share", [0.15, 0.5, 0.95])
def test_what_was_done_is_not_repeated(table, tmp_path, share, monkeypatch):
    monkeypatch.setattr(_epochs, "SECONDS_BETWEEN", 0.0)
    monkeypatch.setattr(_epochs, "SHARE", 1e9)
    plain = make_search()
    total = steps_of(plain, table)
    cut = int(share * total)
    cut_after(make_search(tmp_path), table, cut)

    resumed = make_search(tmp_path)
    assert total - cut <= steps_of(resumed, table) <= total - cut + 4 + 3 + 2  # an epoch, or a step and what follows it
    assert scores_of(plain) == scores_of(resumed)
    assert_same(fitted_state(plain.best_estimator_), fitted_state(resumed.best_estimator_))


def test_many_cuts(table, tmp_path):
    plain = make_search(refit=False).fit(*table)
    for cut in (STEPS + 4, 10, 9, STEPS + 3):
        cut_after(make_search(tmp_path, refit=False), table, cut)
    resumed = make_search(tmp_path, refit=False).fit(*table)

    assert scores_of(plain) == scores_of(resumed)
    assert resumed.cv_results_["mean_fit_time"].tolist() == sorted(resumed.cv_results_["mean_fit_time"])


def test_only_the_scores_of_a_fold_stay(table, tmp_path):
    make_search(tmp_path, refit=False).fit(*table)
    assert [path.name for path in tmp_path.glob("*/*")] == ["path.safetensors"] * 2


@pytest.mark.parametrize(
    "change",
    [
        lambda search, X, y: search.set_params(reductions=3),
        lambda search, X, y: search.set_params(scoring="balanced_accuracy"),
        lambda search, X, y: search.set_params(estimator__final_batches=6),
        lambda search, X, y: search.set_params(cv=3),
        lambda search, X, y: np.negative(X, out=X),
    ],
    ids=["reductions", "scoring", "final training", "folds", "data"],
)
def test_other_parameters_and_data_are_other_searches(table, tmp_path, change):
    X, y = (part.copy() for part in table)
    make_search(tmp_path, refit=False).fit(X, y)
    plain, other = make_search(refit=False), make_search(tmp_path, refit=False)
    change(plain, X, y)
    if np.array_equal(X, table[0]):
        change(other, X, y)
    assert steps_of(other, (X, y)) > 0
    assert scores_of(other) == scores_of(plain.fit(X, y))


def test_a_fold_that_says_something_impossible_is_told(table, tmp_path):
    make_search(tmp_path, refit=False).fit(*table)
    path = min(tmp_path.glob("*/path.safetensors"))
    kept = read_state(path)
    kept["state"]["scores"] = kept["state"]["scores"][:1]
    write_state(path, kept)
    with pytest.raises(StateError, match=r"path\.safetensors' must be what this run has written"):
        make_search(tmp_path, refit=False).fit(*table)


def test_what_a_checkpoint_may_be(table):
    with pytest.raises(ParameterTypeError, match=r"'checkpoint' parameter of TaylorPruner must be the path"):
        make_search(3).fit(*table)


_PROGRAM = """
    import sys
    from joblib import parallel_config
    from tests.nets_skorch import make_table
    from tests.search.test_cv_resume import make_search, scores_of

    if __name__ == "__main__":
        with parallel_config("loky", inner_max_num_threads=1):
            make_search(sys.argv[1], refit=False, n_jobs=2).fit(*make_table())
"""


@pytest.mark.slow
def test_two_processes_that_are_killed(table, tmp_path):
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(_PROGRAM))
    folder = tmp_path / "run"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, str(program), str(folder)], env=environment, start_new_session=True, stderr=subprocess.DEVNULL
    )
    while process.poll() is None and not list(folder.glob("*/*.safetensors")):
        try:
            process.wait(0.02)
        except subprocess.TimeoutExpired:
            continue
    os.killpg(process.pid, 9)
    process.wait()

    with parallel_config("loky", inner_max_num_threads=torch.get_num_threads()):
        resumed = make_search(folder, refit=False, n_jobs=2).fit(*table)
    assert scores_of(make_search(refit=False).fit(*table)) == scores_of(resumed)
    assert len(list(folder.glob("*/path.safetensors"))) == 2
