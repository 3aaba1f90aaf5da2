"""Scikit-learn's common checks, of a pruner around each kind of skorch net."""

import pytest
import sklearn
import torch
from sklearn.utils.estimator_checks import parametrize_with_checks

from prunekit import TaylorPruner
from tests.nets_common import (
    make_adaptive_binary_classifier,
    make_adaptive_classifier,
    make_adaptive_regressor,
    make_pruner,
)

NETS = {
    "classifier": make_adaptive_classifier,
    "binary classifier": make_adaptive_binary_classifier,
    "regressor": make_adaptive_regressor,
}
_COMPARED = "compares what transform returns as arrays; a pruner returns a network"
EXPECTED_FAILURES = {
    "check_array_api_input": _COMPARED,  # skipped without SCIPY_ARRAY_API
    "check_estimators_pickle": _COMPARED,
    "check_fit_idempotent": _COMPARED,
    "check_methods_sample_order_invariance": "takes rows of what transform returns; a pruner returns a network",
    "check_methods_subset_invariance": "stacks what transform returns for batches; a pruner returns a network",
    "check_pipeline_consistency": _COMPARED,
    "check_transformer_data_not_an_array": "wants a row of transform for each sample; a pruner returns a network",
    "check_transformer_general": "wants a row of transform for each sample; a pruner returns a network",
}
"""Checks that assume arrays from transform, with the reason. There is no other that fails."""

COUNTS = {"classifier": (50, 10), "binary classifier": (51, 10), "regressor": (47, 10)}
"""
Checks of scikit-learn 1.9 that pass and that are expected to fail, two of the latter with two settings. One that is
expected to fail and passes is an error, too.
"""


def expected_failures(estimator):
    return EXPECTED_FAILURES


@parametrize_with_checks([make_pruner(make()) for make in NETS.values()], expected_failed_checks=expected_failures)
def test_common_checks(estimator, check):
    check(estimator)


@pytest.mark.skipif(not sklearn.__version__.startswith("1.9."), reason="other versions have other checks")
def test_how_many_checks_pass():
    counts = {}
    for name, make in NETS.items():
        marked = parametrize_with_checks([make_pruner(make())], expected_failed_checks=expected_failures).args[1]
        failing = [bool(getattr(param, "marks", ())) for param in marked]
        counts[name] = (failing.count(False), failing.count(True))
    assert counts == COUNTS


class Predictor(TaylorPruner):
    """A pruner that only predicts, to show that nothing but transform is why a check fails."""

    transform = fit_transform = property()  # attributes that are not there

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags = None
        return tags


def only_what_is_hidden(make):
    """Yield the checks of a pruner without transform that fail with it."""
    # In float32 the last bit of a result depends on where in the batch a sample stands.
    params = make_pruner(make().set_params(module__dtype=torch.float64)).get_params(deep=False)
    for estimator, check in parametrize_with_checks([Predictor(**params)]).args[1]:
        if check.func.__name__ in EXPECTED_FAILURES:
            yield pytest.param(estimator, check, id=f"{type(estimator.estimator).__name__}-{check.func.__name__}")


@pytest.mark.parametrize(
    ("estimator", "check"), [param for make in NETS.values() for param in only_what_is_hidden(make)]
)
def test_without_transform_the_expected_failures_pass(estimator, check):
    check(estimator)
