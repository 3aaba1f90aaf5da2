"""Scores of size, and the choice by score and size."""

import pickle

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from prunekit.exceptions import ParameterError, ParameterTypeError
from prunekit.search import (
    ReductionScorer,
    TaylorPrunerCV,
    TradeoffScorer,
    macs_scorer,
    reduction_scorer,
    smallest_within,
    tradeoff_scorer,
)
from tests.nets_skorch import make_classifier, make_table, quick


@pytest.fixture(scope="module")
def pruner():
    return quick(make_classifier(), target_reduction=0.5).fit(*make_table())


def test_sizes(pruner):
    assert reduction_scorer(pruner, None, None) == pruner.reduction_ >= 0.5
    assert macs_scorer(pruner) == pruner.history_["reduction_macs"].iloc[-1]
    for of in ("params", "macs", "filters", "memory"):
        assert ReductionScorer(of)(pruner) == pruner.history_[f"reduction_{of}"].iloc[-1]


def test_tradeoff(pruner, table):
    assert tradeoff_scorer(pruner, *table) == pruner.score(*table) + 0.1 * macs_scorer(pruner)
    own = TradeoffScorer(2.0, of="target", scoring="neg_log_loss")
    assert own(pruner, *table) < 2.0 * pruner.reduction_


def test_around_a_pruner(table):
    pipeline = make_pipeline(StandardScaler(), quick(make_classifier())).fit(*table)
    assert reduction_scorer(pipeline) == pipeline[-1].reduction_
    search = TaylorPrunerCV(quick(make_classifier()), reductions=[0.3], cv=2, tolerance=0.5).fit(*table)
    assert reduction_scorer(search) == search.best_estimator_.reduction_
    grid = GridSearchCV(pipeline, {"taylorpruner__target_reduction": [0.3]}, cv=2).fit(*table)
    assert reduction_scorer(grid) == grid.best_estimator_[-1].reduction_


@pytest.mark.parametrize("estimator", [make_classifier(), quick(make_classifier()), make_pipeline(PCA()), 3])
def test_what_has_no_size(estimator):
    with pytest.raises(ParameterTypeError, match=r"must be a fitted TaylorPruner"):
        reduction_scorer(estimator)


def test_wrong_parameters(pruner, table):
    with pytest.raises(ParameterError, match=r"'of' parameter of ReductionScorer"):
        ReductionScorer("seconds")(pruner)
    with pytest.raises(ParameterError, match=r"'weight' parameter of TradeoffScorer"):
        TradeoffScorer(-1.0)(pruner, *table)
    with pytest.raises(ParameterError, match=r"'tolerance' parameter of smallest_within"):
        smallest_within(-0.1)


def results(scores, reductions, splits=None):
    splits = np.array(splits if splits is not None else [scores, scores], dtype=float)
    return {
        "mean_test_score": np.array(scores),
        "mean_test_reduction": np.array(reductions),
        **{f"split{number}_test_score": values for number, values in enumerate(splits)},
    }


def test_the_smallest_within_a_tolerance():
    table = results([0.9, 0.95, 0.94, 0.7, np.nan], [0.2, 0.4, 0.6, 0.8, 0.9])
    assert smallest_within(0.0)(table) == 1
    assert smallest_within(0.01)(table) == 2
    assert smallest_within(0.3)(table) == 3


def test_of_equally_small_ones_the_better():
    assert smallest_within(0.1)(results([0.90, 0.92, 0.91], [0.5, 0.5, 0.5])) == 1


def test_one_standard_error():
    splits = [[0.90, 0.86, 0.80], [0.94, 0.94, 0.84]]  # the best one has 0.90 +- 0.04
    table = results([0.92, 0.90, 0.82], [0.1, 0.5, 0.9], splits)
    assert smallest_within()(table) == 1
    assert smallest_within()(results([0.92, 0.899, 0.82], [0.1, 0.5, 0.9], splits)) == 0


def test_names():
    table = results([0.9, 0.9], [0.2, 0.4])
    renamed = {name.replace("_reduction", "_size"): values for name, values in table.items()}
    assert smallest_within(0.1, reduction="size")(renamed) == 1
    with pytest.raises(ParameterError, match=r"must have a scorer named 'reduction'.* Got 'score', 'size' instead"):
        smallest_within(0.1)(renamed)
    with pytest.raises(ParameterError, match=r"must have a score"):
        smallest_within(0.1)(results([np.nan], [0.2]))


def test_in_a_grid(table):
    grid = GridSearchCV(
        quick(make_classifier()),
        {"target_reduction": [0.2, 0.4, 0.6]},
        scoring={"score": "accuracy", "reduction": reduction_scorer},
        refit=smallest_within(0.5),
        cv=2,
    ).fit(*table)
    assert grid.best_params_ == {"target_reduction": 0.6}
    assert pickle.loads(pickle.dumps(grid.refit))(grid.cv_results_) == 2


def test_a_rule_is_shown_as_it_is_written():
    assert repr(smallest_within(0.01, score="f1")) == "smallest_within(0.01, score='f1', reduction='reduction')"
