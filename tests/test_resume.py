"""A fit that ends before its time goes on, and ends as if it had not been interrupted."""

import os
import signal
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import Callback

from prunekit import TaylorPruner
from prunekit._skorch._callbacks import is_number_of
from prunekit.exceptions import StateError
from prunekit.io import read_state, write_state
from tests.nets_skorch import assert_same, fitted_state, make_classifier, make_table, quick


class PowerCutError(Exception):
    """Ends a fit at once."""


class Fuse(Callback):
    """Ends a fit after a number of mini-batches, if it is lit."""

    left = None

    def on_batch_end(self, net, batch=None, training=False, **kwargs):
        if training and Fuse.left is not None:
            Fuse.left -= 1
            if Fuse.left == 0:
                raise PowerCutError


@pytest.fixture(autouse=True)
def _fuse_is_out():
    Fuse.left = None
    yield
    Fuse.left = None


@cache
def trained_net():
    torch.manual_seed(0)
    return make_classifier(callbacks=[("fuse", Fuse())]).fit(*make_table())


def make_net(trained):
    return FrozenEstimator(trained_net()) if trained else make_classifier(callbacks=[("fuse", Fuse())])


def whole_state(pruner):
    rows = pruner.history_.drop(columns=[name for name in pruner.history_ if name.startswith(("seconds", "peak"))])
    return {
        **fitted_state(pruner),
        "plan": pruner.plan_.to_json(),
        "rows": rows.to_json(double_precision=15),
        "importances": pruner.importances_.tobytes(),
        "reason": pruner.stop_reason_,
        "net_history": [
            {key: value for key, value in row.items() if key not in ("dur", "batches")}
            for row in pruner.estimator_.history
        ],
        "control": dict(pruner.control_estimator_.module_.state_dict()) if pruner.control else None,
    }


def fit_with_cuts(make_pruner, table, cuts):
    """Fit again and again; the fuse burns out after each of the given numbers of mini-batches."""
    for cut in cuts:
        pruner = make_pruner()
        Fuse.left = cut
        try:
            pruner.fit(*table)
        except PowerCutError:
            continue
        break
    Fuse.left = None
    return make_pruner().fit(*table)


OPTIONS = {
    "plain": {},
    "batches": {"finetune_batches": 4, "final_batches": 5, "score_batches": 3},
    "masked": {"compaction": "end"},
    "taylor": {"criterion": "taylor", "score_momentum": 0.5},
    "kept scores": {"criterion": "fisher", "reset_scores": False},
    "random": {"criterion": "random"},
    "control": {"control": True, "lr_policy": "restart"},
    "distilled": {"distill": 0.5, "lr_policy": "constant"},
}


@pytest.mark.parametrize("trained", [True, False], ids=["frozen", "untrained"])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_the_same_end_wherever_it_was_cut(table, tmp_path, options, trained):
    params = {"step": 0.15, "target_reduction": 0.6, "final_epochs": 1} | options
    whole = quick(make_net(trained), **params).fit(*table)

    def make_pruner():
        return quick(make_net(trained), checkpoint=tmp_path, **params)

    resumed = fit_with_cuts(make_pruner, table, [1, 8, 20, 25, 7, 11, 13, 40])
    assert_same(whole_state(whole), whole_state(resumed))


def test_steps_that_were_taken_back(table, tmp_path):
    def judge(net, X, y):
        return float(net.module_.hidden.out_features > 20) + 0.1

    params = {"step": 0.2, "target_reduction": 0.6, "min_score": 0.5, "scoring": judge}
    params |= {"step_halvings": 2, "recovery_rounds": 1, "final_epochs": 1}
    whole = quick(make_net(True), **params).fit(*table)
    assert whole.stop_reason_ == "min_score"

    def make_pruner():
        return quick(make_net(True), checkpoint=tmp_path, **params)

    assert_same(whole_state(whole), whole_state(fit_with_cuts(make_pruner, table, [13, 20, 20, 9, 30, 15])))


def test_without_a_seed_random_numbers_go_on_too(table, tmp_path):
    def fit(cuts, folder):
        def make_pruner():
            pruner = quick(make_net(True), checkpoint=folder, final_epochs=1)
            torch.manual_seed(5)
            np.random.seed(5)  # noqa: NPY002
            return pruner.set_params(random_state=None)

        return fit_with_cuts(make_pruner, table, cuts)

    assert_same(whole_state(fit([], tmp_path / "a")), whole_state(fit([10, 9, 20], tmp_path / "b")))


def test_a_fit_that_ended_is_not_repeated(table, tmp_path):
    params = {"checkpoint": tmp_path, "final_epochs": 1, "control": True}
    first = quick(make_net(False), **params).fit(*table)
    written = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    Fuse.left = 1
    again = quick(make_net(False), **params).fit(*table)
    assert Fuse.left == 1
    assert written == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert_same(whole_state(first), whole_state(again))


def test_other_parameters_and_data_are_other_fits(table, tmp_path):
    quick(make_net(True), checkpoint=tmp_path).fit(*table)
    before = sorted(path.name for path in tmp_path.iterdir())
    other = quick(make_net(True), checkpoint=tmp_path, target_reduction=0.3).fit(*table)
    assert 0.3 <= other.reduction_ < 0.4
    X, y = table
    quick(make_net(True), checkpoint=tmp_path).fit(X[:300], y[:300])
    assert len(before) == 1
    assert len(list(tmp_path.iterdir())) == 3


def test_ctrl_c_leaves_a_checkpoint_to_go_on_from(table, tmp_path):
    class CtrlC(Fuse):
        def on_batch_end(self, net, batch=None, training=False, **kwargs):
            try:
                super().on_batch_end(net, batch, training)
            except PowerCutError:
                signal.raise_signal(signal.SIGINT)

    def make_pruner(folder):
        net = make_classifier(callbacks=[("fuse", CtrlC())]).initialize()
        net.module_.load_state_dict(trained_net().module_.state_dict())
        return quick(FrozenEstimator(net), step=0.1, checkpoint=folder, final_epochs=1)

    whole = make_pruner(None).fit(*table)
    Fuse.left = 20
    with pytest.warns(UserWarning, match="was interrupted"):
        interrupted = make_pruner(tmp_path).fit(*table)
    assert interrupted.stop_reason_ == "interrupted"
    assert 0 < interrupted.reduction_ < whole.reduction_
    assert_same(whole_state(whole), whole_state(make_pruner(tmp_path).fit(*table)))


def test_a_torn_checkpoint_is_told(table, tmp_path):
    quick(make_net(True), checkpoint=tmp_path).fit(*table)
    (path,) = tmp_path.glob("*/loop.safetensors")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StateError, match=r"loop\.safetensors"):
        quick(make_net(True), checkpoint=tmp_path).fit(*table)


def test_a_checkpoint_of_another_version_is_told(table, tmp_path, monkeypatch):
    quick(make_net(True), checkpoint=tmp_path).fit(*table)
    before = {path: path.read_bytes() for path in tmp_path.glob("*/*")}
    monkeypatch.setattr("prunekit._loop.checkpoint.VERSION", 2)
    with pytest.raises(StateError, match=r"start\.safetensors' must be .*\(format 2\). Got format 1 instead"):
        quick(make_net(True), checkpoint=tmp_path).fit(*table)
    assert before == {path: path.read_bytes() for path in tmp_path.glob("*/*")}


_PROGRAM = """
    import sys
    import torch
    from sklearn.frozen import FrozenEstimator
    from tests.nets_skorch import make_classifier, make_table, quick

    torch.set_num_threads(1)
    net = make_classifier(max_epochs=4)
    pruner = quick(net, step=0.05, target_reduction=0.6, final_epochs=2, checkpoint=sys.argv[1]).fit(*make_table())
    torch.save(pruner.estimator_.module_.state_dict(), sys.argv[2])
"""


@pytest.mark.slow
def test_kill_minus_nine(table, tmp_path):
    """Processes are killed at arbitrary moments until one comes to the end."""
    whole = quick(make_classifier(max_epochs=4), step=0.05, target_reduction=0.6, final_epochs=2).fit(*table)
    program = tmp_path / "program.py"
    program.write_text(textwrap.dedent(_PROGRAM))
    result, folder = tmp_path / "weights.pt", tmp_path / "checkpoint"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent), "OMP_NUM_THREADS": "1"}
    generator, killed = np.random.default_rng(0), 0
    for _ in range(4):
        process = subprocess.Popen([sys.executable, str(program), str(folder), str(result)], env=environment)
        seen = _newest(folder)
        try:
            while process.poll() is None and _newest(folder) == seen:  # something was written, then a moment more
                try:
                    process.wait(0.02)
                except subprocess.TimeoutExpired:
                    continue
            process.wait(generator.uniform(0, 0.3))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
            continue
        break
    else:
        subprocess.run([sys.executable, str(program), str(folder), str(result)], env=environment, check=True)
    assert killed >= 2
    assert_same(dict(torch.load(result, weights_only=True)), dict(whole.estimator_.module_.state_dict()))


def _newest(folder):
    return max((path.stat().st_mtime_ns for path in folder.glob("*/*.safetensors")), default=0)


def test_checkpoint_may_be_a_string(table, tmp_path):
    TaylorPruner(make_net(True), checkpoint=str(tmp_path / "new" / "folder"), final_epochs=0).fit(*table)
    assert list(tmp_path.glob("new/folder/*/loop.safetensors"))


def test_a_checkpoint_hides_no_method_of_a_callback(table, tmp_path):
    """Somebody who may write there sets numbers that callbacks keep, and nothing else."""
    params = {"step": 0.15, "target_reduction": 0.6, "checkpoint": tmp_path}
    Fuse.left = 20
    with pytest.raises(PowerCutError):
        quick(make_net(True), **params).fit(*table)
    Fuse.left = None
    (path,) = tmp_path.glob("*/loop.safetensors")
    kept = read_state(path)
    kept["state"]["tuner"]["callbacks"]["fuse"] = {"on_batch_end": 3, "dirname": "/tmp", "left": 1, "best_": 2.0}
    write_state(path, kept)
    pruner = quick(make_net(True), **params).fit(*table)

    assert pruner.reduction_ >= 0.6
    taken = {name for name, value in kept["state"]["tuner"]["callbacks"]["fuse"].items() if is_kept(name, value)}
    assert taken == {"best_"}


def is_kept(name, value):
    return is_number_of(Fuse(), name, value)
