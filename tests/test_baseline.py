"""The network before pruning, kept with the pruned one."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from prunekit import TaylorPrunerCV, compare
from prunekit.exceptions import ParameterTypeError
from prunekit.persistence import load_pruner, save
from tests.nets_skorch import Perceptron, assert_same, fitted_state, make_classifier, quick

RANDOM = {"iterator_train__shuffle": True, "max_epochs": 2}


def weights_of(net):
    return {name: value.clone() for name, value in net.module_.state_dict().items()}


def test_it_is_the_net_after_its_training(table):
    X, y = table
    alone = quick(make_classifier(**RANDOM), target_reduction=0.0).fit(X, y).estimator_
    pruner = quick(make_classifier(**RANDOM), store_baseline=True).fit(X, y)

    baseline = pruner.baseline_estimator_
    assert_same(weights_of(alone), weights_of(baseline))
    assert [row["train_loss"] for row in baseline.history] == [row["train_loss"] for row in alone.history]
    assert len(baseline.history) == 2
    valid = baseline.get_split_datasets(X, y)[1]
    labels = np.array([label for _, label in valid])
    assert baseline.score(valid, labels) == pruner.baseline_score_
    assert baseline.predict_proba(X).shape == (400, 2)
    assert baseline.module_.hidden.out_features == 32


def test_a_frozen_net_is_copied(dense, table):
    before = weights_of(dense)
    pruner = quick(FrozenEstimator(dense), store_baseline=True).fit(*table)

    baseline = pruner.baseline_estimator_
    assert_same(before, weights_of(baseline))
    np.testing.assert_array_equal(baseline.predict(table[0]), dense.predict(table[0]))
    baseline.partial_fit(*table)
    pruner.estimator_.partial_fit(*table)
    assert_same(before, weights_of(dense))
    assert not torch.equal(baseline.module_.hidden.weight, dense.module_.hidden.weight)


@pytest.mark.parametrize("frozen", [True, False])
def test_it_changes_no_number(dense, table, frozen):
    def fit(**params):
        return quick(FrozenEstimator(dense) if frozen else make_classifier(**RANDOM), **params).fit(*table)

    plain, kept = fit(), fit(store_baseline=True)
    assert_same(fitted_state(plain), fitted_state(kept))
    assert not hasattr(plain, "baseline_estimator_")


def test_a_later_fit_without_it_removes_it(dense, table):
    pruner = quick(FrozenEstimator(dense), store_baseline=True).fit(*table)
    assert not hasattr(clone(pruner), "baseline_estimator_")
    assert not hasattr(pruner.set_params(store_baseline=False).fit(*table), "baseline_estimator_")


def test_it_is_pickled_and_not_saved(dense, table, tmp_path):
    pruner = quick(FrozenEstimator(dense), store_baseline=True).fit(*table)

    again = pickle.loads(pickle.dumps(pruner))
    assert_same(weights_of(pruner.baseline_estimator_), weights_of(again.baseline_estimator_))
    assert len(again.baseline_estimator_.history) == len(dense.history)
    loaded = load_pruner(save(pruner, tmp_path / "pruner.safetensors"), trusted=[Perceptron])
    assert loaded.store_baseline
    assert not hasattr(loaded, "baseline_estimator_")


def test_it_can_be_compared(dense, table):
    X, y = table
    pruner = quick(FrozenEstimator(dense), store_baseline=True).fit(X, y)
    assert len(compare(pruner.baseline_estimator_, pruner, X, y)) > 1


@pytest.mark.parametrize("keeper", ["checkpoint", "memory"])
def test_what_was_kept_without_it_serves_with_it(table, tmp_path, keeper):
    params = {keeper: tmp_path, "lr_policy": "constant"}
    quick(make_classifier(), **params).fit(*table)
    before = sorted(path.name for path in tmp_path.rglob("*"))

    pruner = quick(make_classifier(), store_baseline=True, **params).fit(*table)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before
    plain = quick(make_classifier(), store_baseline=True, lr_policy="constant").fit(*table)
    assert_same(weights_of(plain.baseline_estimator_), weights_of(pruner.baseline_estimator_))
    assert len(plain.baseline_estimator_.history) == len(pruner.baseline_estimator_.history)
    assert_same(fitted_state(plain), fitted_state(pruner))


def test_the_best_of_a_search_has_it(table):
    search = TaylorPrunerCV(quick(make_classifier(), store_baseline=True), reductions=2, cv=2, tolerance=1.0)
    assert search.fit(*table).best_estimator_.baseline_estimator_.module_.hidden.out_features == 32


def test_it_is_a_switch(dense, table):
    with pytest.raises(ParameterTypeError, match=r"'store_baseline' parameter of TaylorPruner must be True or False"):
        quick(FrozenEstimator(dense), store_baseline="yes").fit(*table)
