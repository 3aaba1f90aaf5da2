"""The path by cross-validation: what it costs, what it finds, and what it gives."""

import numpy as np
import pandas as pd
import pytest
import torch
from joblib import parallel_config
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.helper import SliceDataset
from torch.utils.data import TensorDataset

from prunekit import TaylorPruner, TaylorPrunerCV
from prunekit.exceptions import ParameterError, ParameterTypeError, TargetError
from prunekit.schedules import MilestoneSchedule
from tests.nets_skorch import (
    STEPS,
    CountSteps,
    assert_same,
    fitted_state,
    make_classifier,
    make_regressor,
    make_table,
    quick,
)
from tests.test_pruner_inputs import make_weighted


@pytest.fixture(autouse=True)
def _from_zero():
    STEPS.clear()


def make_search(estimator=None, **params):
    if estimator is None:
        estimator = quick(make_classifier(callbacks=[("count", CountSteps())]), target_reduction=0.6, final_epochs=2)
    return TaylorPrunerCV(estimator, **{"cv": 3, "reductions": 3} | params)


def test_results(table):
    search = make_search(tolerance=0.05).fit(*table)
    results = pd.DataFrame(search.cv_results_)
    assert results["reduction"].tolist() == pytest.approx([0.0, 0.2, 0.4, 0.6])
    splits = results[[f"split{number}_test_score" for number in range(3)]]
    np.testing.assert_allclose(results["mean_test_score"], splits.mean(axis=1))
    np.testing.assert_allclose(results["std_test_score"], splits.std(axis=1, ddof=0))
    assert results["rank_test_score"].min() == 1
    assert (results["mean_reduction_params"] >= results["reduction"] - 1e-9).all()
    assert (results["mean_reduction_params"] <= results["reduction"] + 0.05).all()
    assert results["mean_fit_time"].is_monotonic_increasing
    assert search.n_splits_ == 3
    assert search.dense_score_ == results["mean_test_score"][0]
    within = results[results["mean_test_score"] >= search.dense_score_ - 0.05]
    assert search.best_reduction_ == within["reduction"].max()
    assert search.best_score_ == results["mean_test_score"][search.best_index_]
    assert search.best_estimator_.reduction_ >= search.best_reduction_


def test_the_dense_score_is_that_of_the_net_alone(table):
    X, y = table
    folds = StratifiedKFold(3, shuffle=True, random_state=1)
    search = make_search(cv=folds, refit=False).fit(X, y)
    alone = [
        quick(make_classifier(), target_reduction=0.0).fit(X[train], y[train]).score(X[test], y[test])
        for train, test in folds.split(X, y)
    ]
    assert [search.cv_results_[f"split{number}_test_score"][0] for number in range(3)] == alone


def test_a_path_scores_what_separate_fits_are(table):
    """With one learning rate, the network at each reduction is that of a fit which ends there."""
    X, y = table
    params = {"lr_policy": "constant", "final_batches": 12}
    pruner = quick(make_classifier(), target_reduction=0.6, **params)
    folds = StratifiedKFold(2)
    search = make_search(pruner, cv=folds, refit=False).fit(X, y)
    for number, (train, test) in enumerate(folds.split(X, y)):
        for row, target in enumerate([0.2, 0.4, 0.6], start=1):
            step = MilestoneSchedule([0.2, 0.4, 0.6])
            own = clone(pruner).set_params(target_reduction=target, step=step, final_batches=4)
            alone = own.fit(X[train], y[train])
            assert search.cv_results_[f"split{number}_test_score"][row] == alone.score(X[test], y[test])


def test_one_path_a_fold_costs_what_one_fit_costs(table):
    X, y = table
    net = make_classifier(callbacks=[("count", CountSteps())], batch_size=10)
    pruner = quick(net, target_reduction=0.6, final_epochs=2)
    make_search(pruner, reductions=10, cv=2, refit=False).fit(X, y)
    path = sum(STEPS.values()) / 2
    assert STEPS["dense"] == 2 * 3 * 150 // 10
    STEPS.clear()
    clone(pruner).set_params(step=MilestoneSchedule(0.06)).fit(X[::2], y[::2])
    assert path <= 1.1 * sum(STEPS.values())


def test_the_result_has_gone_the_same_way(table):
    search = make_search(tolerance=1.0).fit(*table)
    assert search.best_reduction_ == pytest.approx(0.6)
    step = MilestoneSchedule([0.6 / 3, 2 * 0.6 / 3, 0.6])
    alone = quick(make_classifier(), target_reduction=0.6, final_epochs=2, step=step).fit(*table)
    assert_same(fitted_state(alone), fitted_state(search.best_estimator_))


def test_one_standard_error_is_the_default(table):
    search = make_search(refit=False).fit(*table)
    results = search.cv_results_
    dense = np.array([results[f"split{number}_test_score"][0] for number in range(3)])
    lowest = dense.mean() - dense.std(ddof=1) / np.sqrt(3)
    within = results["reduction"][results["mean_test_score"] >= lowest - 1e-12]
    assert search.best_reduction_ == within.max()


def test_nothing_holds(table):
    def judge(net, X, y):
        return float(net.module_.hidden.out_features)

    with pytest.warns(UserWarning, match=r"No reduction holds the score of the dense network, 32"):
        search = make_search(scoring=judge).fit(*table)
    assert search.best_reduction_ == 0.0
    assert search.transform().module_.hidden.out_features == 32
    assert search.best_estimator_.reduction_ == 0.0


def test_an_overshoot_counts_for_all_that_it_passed(table):
    pruner = quick(make_classifier(), target_reduction=0.5)
    search = make_search(pruner, reductions=[0.2, 0.2001, 0.5], refit=False).fit(*table)
    scores = search.cv_results_["mean_test_score"]
    assert scores[1] == scores[2]
    assert np.isfinite(scores).all()


def test_thresholds_have_no_say_on_the_folds(table):
    pruner = quick(make_classifier(), target_reduction=0.6, max_score_drop=0.0, min_score=0.2)
    search = make_search(pruner, refit=False).fit(*table)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.slow
def test_two_processes_find_the_same(table):
    one = make_search(refit=False).fit(*table)
    with parallel_config("loky", inner_max_num_threads=torch.get_num_threads()):
        two = make_search(refit=False, n_jobs=2).fit(*table)
    for name, values in one.cv_results_.items():
        if not name.endswith("fit_time"):
            np.testing.assert_array_equal(values, two.cv_results_[name])


def test_memory_goes_on_with_a_path(table, tmp_path):
    pruner = quick(make_classifier(callbacks=[("count", CountSteps())]), target_reduction=0.6, memory=tmp_path)
    first = make_search(pruner, refit=False).fit(*table)
    STEPS.clear()
    again = make_search(pruner, refit=False).fit(*table)
    assert STEPS["dense"] == 0
    np.testing.assert_array_equal(first.cv_results_["mean_test_score"], again.cv_results_["mean_test_score"])


def test_regression():
    generator = np.random.default_rng(0)
    X = generator.normal(size=(200, 20)).astype(np.float32)
    y = (X @ generator.normal(size=(20, 1))).astype(np.float32)
    search = make_search(quick(make_regressor()), cv=KFold(2), scoring="neg_mean_squared_error", tolerance=10.0)
    assert is_regressor(search)
    assert search.fit(X, y).predict(X).shape == (200, 1)
    assert not hasattr(search, "predict_proba")
    assert search.score(X, y) == pytest.approx(-np.mean((search.predict(X) - y) ** 2), rel=1e-5)


def test_a_net_stands_for_a_pruner(table):
    search = make_search(make_classifier(), reductions=[0.3], cv=2, tolerance=0.5)
    assert is_classifier(search)
    assert search.fit(*table).best_estimator_.get_params(deep=False).keys() == TaylorPruner(None).get_params().keys()
    assert search.predict_proba(table[0]).shape == (400, 2)
    assert search.classes_.tolist() == [0, 1]


def test_data_of_other_kinds(table):
    X, y = table
    dataset = TensorDataset(torch.tensor(X), torch.tensor(y))
    plain = make_search(cv=KFold(2), refit=False).fit(X, y)
    sliced = make_search(cv=KFold(2), refit=False).fit(SliceDataset(dataset, 0), SliceDataset(dataset, 1))
    np.testing.assert_array_equal(plain.cv_results_["mean_test_score"], sliced.cv_results_["mean_test_score"])


def test_in_a_pipeline(table):
    X, y = table
    pipeline = make_pipeline(StandardScaler(), make_search(cv=2, tolerance=0.5))
    pipeline.set_params(taylorprunercv__estimator__estimator__lr=0.02, taylorprunercv__estimator__criterion="taylor2")
    assert 0.5 < pipeline.fit(X.astype(np.float64), y).score(X, y) <= 1.0
    assert pipeline[-1].best_estimator_.estimator.lr == 0.02
    assert pipeline[-1].transform().module_.hidden.out_features < 32


def test_a_frozen_net_is_not_touched(table):
    net = make_classifier().fit(*table)
    before = {name: value.clone() for name, value in net.module_.state_dict().items()}
    make_search(quick(FrozenEstimator(net)), cv=2, reductions=[0.3]).fit(*table)
    assert_same(before, dict(net.module_.state_dict()))


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ({"reductions": 0}, ParameterError, r"'reductions' parameter of TaylorPrunerCV must be an integer"),
        ({"reductions": [0.5, 1.0]}, ParameterError, r"'reductions' .* must be a number in \(0, 1\)"),
        ({"reductions": []}, ParameterError, r"'reductions' .* must hold one number at least"),
        ({"reductions": "many"}, ParameterTypeError, r"'reductions'"),
        ({"tolerance": -0.1}, ParameterError, r"'tolerance' parameter of TaylorPrunerCV"),
        ({"estimator": 3}, ParameterTypeError, r"'estimator' parameter of TaylorPruner must be a skorch net"),
        ({"reductions": [0.5, 0.999]}, TargetError, r"must be at most 0\.9"),
    ],
    ids=str,
)
def test_wrong_parameters(table, params, error, message):
    with pytest.raises(error, match=message):
        make_search(**params).fit(*table)


def test_before_it_is_fitted(table):
    with pytest.raises(NotFittedError):
        make_search().transform()
    with pytest.raises(NotFittedError):
        make_search(refit=False).fit(*table).predict(table[0])


def test_parameters_and_the_users_objects(table):
    search = make_search(cv=2, tolerance=0.3)
    before = search.estimator.get_params(deep=False)
    clone(search).fit(*make_table())
    search.fit(*table)
    assert search.estimator.get_params(deep=False) == before
    assert not hasattr(search.estimator, "estimator_")


def test_labels_may_be_words(table):
    X, y = table
    words = np.array(["no", "yes"])[y]
    numbers = make_search(cv=3, tolerance=0.3, scoring="balanced_accuracy").fit(X, y)
    search = make_search(cv=3, tolerance=0.3, scoring="balanced_accuracy").fit(X.astype(np.float64), words)
    np.testing.assert_array_equal(numbers.cv_results_["mean_test_score"], search.cv_results_["mean_test_score"])
    assert search.classes_.tolist() == ["no", "yes"]
    assert set(search.predict(X)) == {"no", "yes"}
    assert search.score(X, words) == numbers.score(X, y)


def test_weights_of_samples_are_split(table):
    X, y = table
    weights = np.where(np.arange(len(X)) % 3, 1.0, 0.01)
    folds = KFold(2)
    search = make_search(quick(make_weighted()), cv=folds, refit=False).fit(X, y, sample_weight=weights)
    for number, (train, test) in enumerate(folds.split(X)):
        alone = quick(make_weighted(), target_reduction=0.0).fit(X[train], y[train], sample_weight=weights[train])
        assert search.cv_results_[f"split{number}_test_score"][0] == alone.score(X[test], y[test])
