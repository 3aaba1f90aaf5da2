"""`TaylorPruner` with a target of measured time; the clock is made up, so that every test gives the same anywhere."""

import math

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator

from prunekit.cost import _latency_model
from prunekit.exceptions import ParameterError, TargetError
from prunekit.schedules import CubicSchedule, FixedCountSchedule
from tests.nets_skorch import make_classifier, make_table, quick

FIXED = 100


def duration(module):
    return FIXED + sum(parameter.numel() for parameter in module.parameters())


@pytest.fixture(scope="module")
def table():
    return make_table(200)


@pytest.fixture(scope="module")
def dense(table):
    torch.manual_seed(0)
    return make_classifier(max_epochs=1).fit(*table)


@pytest.fixture
def measured(monkeypatch):
    """Replace what measures; list what it said."""
    measured = []

    def ratio(module, reference, inputs):
        measured.append(duration(module) / duration(reference))
        return measured[-1]

    def module_times(module, inputs, paths, *, repeats=5):
        return {path: 1.0 + sum(p.numel() for p in module.get_submodule(path).parameters()) for path in paths}

    monkeypatch.setattr(_latency_model, "latency_ratio", ratio)
    monkeypatch.setattr(_latency_model, "module_latency_us", module_times)
    return measured


def true_reduction(pruner, dense):
    return 1.0 - duration(pruner.estimator_.module_) / duration(dense.module_)


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("step", [0.15, CubicSchedule(4), "one_shot", FixedCountSchedule(3)])
def test_the_measured_target_is_reached(dense, table, measured, frozen, step):
    net = FrozenEstimator(dense) if frozen else make_classifier(max_epochs=1)
    pruner = quick(net, reduction_of="latency", target_reduction=0.5, step=step, criterion="taylor").fit(*table)
    assert pruner.stop_reason_ == "target_reduction"
    assert pruner.reduction_ == pytest.approx(true_reduction(pruner, dense))
    assert 0.5 <= pruner.reduction_ <= 0.55
    history = pruner.history_
    np.testing.assert_array_equal(history["reduction_latency"], history["reduction"])
    assert history["reduction_latency"].iloc[0] == 0.0
    assert history["reduction_latency"].iloc[-1] == pruner.reduction_
    assert (history["reduction"] >= history["target"])[:-1].all() or isinstance(step, FixedCountSchedule)
    if isinstance(step, FixedCountSchedule):
        assert (history["num_pruned"].iloc[1:-1] == 3).all()


def test_what_is_measured_short_of_the_target_is_pruned_further(dense, table, measured, monkeypatch):
    def ratio(module, reference, inputs):  # slow for as long as half of the filters are there
        return min(1.0, 0.9 * duration(module) / duration(reference) + 0.3)

    monkeypatch.setattr(_latency_model, "latency_ratio", ratio)
    params = {"target_reduction": 0.3, "step": 1.0, "criterion": "taylor"}
    pruner = quick(FrozenEstimator(dense), reduction_of="latency", **params).fit(*table)
    assert pruner.reduction_ == pytest.approx(1.0 - ratio(pruner.estimator_.module_, dense.module_, None))
    assert 0.3 <= pruner.reduction_ <= 0.35
    assert pruner.history_["reduction_params"].iloc[-1] > 0.5


def test_nothing_is_timed_for_another_target(dense, table, measured):
    history = quick(FrozenEstimator(dense), criterion="taylor").fit(*table).history_
    assert not measured
    assert all(math.isnan(value) for value in history["reduction_latency"])


def test_a_target_that_no_network_reaches(dense, table, measured):
    pruner = quick(FrozenEstimator(dense), reduction_of="latency", target_reduction=0.9)
    message = r"'target_reduction' parameter of TaylorPruner must be at most 0\.8\d* of latency .* Got 0\.9 instead"
    with pytest.raises(TargetError, match=message):
        pruner.fit(*table)


def test_bad_batch(dense, table):
    with pytest.raises(ParameterError, match="'latency_batch_size' parameter of TaylorPruner must be an integer"):
        quick(FrozenEstimator(dense), latency_batch_size=0).fit(*table)


def test_the_batch_of_a_pass(dense, table, measured, monkeypatch):
    sizes = set()

    def ratio(module, reference, inputs):
        sizes.add(len(inputs.args[0]))
        return duration(module) / duration(reference)

    monkeypatch.setattr(_latency_model, "latency_ratio", ratio)
    quick(FrozenEstimator(dense), reduction_of="latency", latency_batch_size=7, step=1.0).fit(*table)
    assert sizes == {7}
