"""A pruner in everything that scikit-learn puts estimators into."""

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import StackingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - makes HalvingGridSearchCV importable
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, RandomizedSearchCV, cross_val_predict
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.validation import check_is_fitted
from skorch import NeuralNet
from skorch.callbacks import InputShapeSetter
from skorch.dataset import ValidSplit
from skorch.helper import SliceDataset, SliceDict
from torch.utils.data import TensorDataset

from prunekit.schedules import CubicSchedule
from tests.nets_skorch import ConvNet, TwoInputs, make_classifier, make_images, make_regressor, quick

WORDS = np.array(["no", "yes"])


def make_pruner(net=None, **params):
    """Return a pruner that prunes in one step."""
    return quick(make_classifier() if net is None else net, **{"target_reduction": 0.3, "step": 1.0} | params)


@pytest.fixture(scope="module")
def fitted(table):
    return make_pruner().fit(table[0], WORDS[table[1]])


class Exporter(BaseEstimator):
    """A step after the pruner: counts the parameters of the network that it is given."""

    def fit(self, X, y=None):
        assert isinstance(X, NeuralNet)
        self.num_params_ = sum(parameter.numel() for parameter in X.module_.parameters())
        return self


# ---------------------------------------------------------------- pipelines


def test_the_last_step_of_a_pipeline(table):
    X, y = table[0] * 100 + 5, WORDS[table[1]]
    pipeline = make_pipeline(StandardScaler(), make_pruner()).fit(X, y)
    assert pipeline.score(X, y) == (pipeline.predict(X) == y).mean() > 0.7
    np.testing.assert_array_equal(pipeline.classes_, WORDS)
    assert pipeline.transform(X) is pipeline[-1].estimator_


def test_a_step_whose_network_the_next_one_is_given(table):
    pipeline = Pipeline([("scale", StandardScaler()), ("prune", make_pruner()), ("export", Exporter())]).fit(*table)
    small = pipeline["prune"].estimator_
    assert pipeline["export"].num_params_ == sum(parameter.numel() for parameter in small.module_.parameters())


def test_columns_of_a_frame_are_encoded_before(table):
    X, y = table
    frame = pd.DataFrame(X[:, :4], columns=list("abcd")).assign(kind=np.where(X[:, 5] > 0, "x", "z"))
    encode = ColumnTransformer([("numbers", StandardScaler(), list("abcd")), ("words", OneHotEncoder(), ["kind"])])
    net = make_classifier(callbacks=[InputShapeSetter(param_name="num_inputs")])
    pipeline = make_pipeline(encode, make_pruner(net)).fit(frame, WORDS[y])
    assert pipeline[-1].n_features_in_ == 6
    assert pipeline.score(frame, WORDS[y]) > 0.6


# ---------------------------------------------------------------- meta-estimators


def test_targets_that_are_transformed(table):
    X, _ = table
    y = 1000 + 100 * X[:, 0].astype(np.float64)
    model = TransformedTargetRegressor(make_pruner(make_regressor(max_epochs=8)), transformer=StandardScaler())
    assert model.fit(X, y).predict(X).shape == (400,)
    assert model.score(X, y) > 0.5


@pytest.mark.parametrize("method", ["sigmoid", "isotonic"])
def test_calibrated_probabilities(table, method):
    X, y = table
    model = CalibratedClassifierCV(make_pruner(), method=method, cv=2).fit(X, WORDS[y])
    np.testing.assert_allclose(model.predict_proba(X).sum(1), 1)
    assert model.score(X, WORDS[y]) > 0.7


def test_a_fitted_pruner_is_calibrated_without_a_fit(table, fitted):
    X, y = table
    before = fitted.estimator_
    model = CalibratedClassifierCV(FrozenEstimator(fitted)).fit(X, WORDS[y])
    assert model.calibrated_classifiers_[0].estimator.estimator.estimator_ is before
    assert model.score(X, WORDS[y]) > 0.7


def test_stacked_classifiers(table):
    X, y = table
    members = [("pruned", make_pruner()), ("linear", LogisticRegression())]
    model = StackingClassifier(members, LogisticRegression(), cv=2).fit(X, WORDS[y])
    assert model.score(X, WORDS[y]) > 0.7
    assert set(model.named_estimators_["pruned"].predict(X)) <= {0, 1}  # the stack encodes labels by itself


def test_a_frozen_net_inside(dense, table):
    X, y = table
    pipeline = make_pipeline("passthrough", make_pruner(FrozenEstimator(dense))).fit(X, y)
    assert pipeline[-1].baseline_score_ > 0.7
    assert cross_val_predict(pipeline, X, y, cv=2).shape == (400,)


# ---------------------------------------------------------------- parameters


def test_nested_parameters(table):
    pipeline = Pipeline([("scale", StandardScaler()), ("prune", make_pruner(step=CubicSchedule()))])
    pipeline.set_params(prune__estimator__lr=0.07, prune__step__exponent=2.0, prune__step__n_iterations=1)
    copied = clone(pipeline)
    assert copied["prune"].step.exponent == 2.0
    pruner = copied.fit(*table)["prune"]
    assert pruner.estimator_.lr == 0.07
    assert pruner.n_iterations_ == 1
    assert pipeline["prune"].estimator.lr == 0.07
    assert pipeline.set_params(prune__step="one_shot").get_params()["prune__step"] == "one_shot"
    with pytest.raises(ValueError, match="Invalid parameter 'nothing' for estimator"):
        pipeline.set_params(prune__nothing=1)


@pytest.mark.parametrize("tool", ["pickle", "joblib"])
def test_files(table, fitted, tmp_path, tool):
    path = tmp_path / "pruner"

    def through_a_file(pruner):
        if tool == "joblib":
            joblib.dump(pruner, path)
            return joblib.load(path)
        path.write_bytes(pickle.dumps(pruner))
        return pickle.loads(path.read_bytes())

    restored = through_a_file(fitted)
    np.testing.assert_array_equal(restored.predict(table[0]), fitted.predict(table[0]))
    np.testing.assert_array_equal(restored.classes_, WORDS)
    unfitted = through_a_file(make_pruner(target_reduction=0.4))
    assert unfitted.target_reduction == 0.4
    assert unfitted.fit(*table).reduction_ >= 0.4


def test_a_clone_is_not_fitted_and_gives_the_same(table, fitted):
    copied = clone(fitted)
    assert not hasattr(copied, "estimator_")
    copied.fit(table[0], WORDS[table[1]])
    check_is_fitted(copied)
    np.testing.assert_array_equal(copied.predict_proba(table[0]), fitted.predict_proba(table[0]))


# ---------------------------------------------------------------- searches

GRID = {
    "step": ["one_shot", 0.2],
    "criterion": ["taylor", "magnitude"],
    "target_reduction": [0.2, 0.4],
    "estimator__lr": [0.02, 0.05],
}


def assert_found(search, X, y):
    best = search.best_estimator_
    assert best.reduction_ >= search.best_params_["target_reduction"]
    assert best.estimator_.lr == search.best_params_["estimator__lr"]
    assert best.step == search.best_params_["step"]
    assert search.score(X, y) > 0.6
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def make_searched():
    return make_pruner(make_classifier(max_epochs=2))


def test_grid_search(table):
    X, y = table[0], WORDS[table[1]]
    grid = GRID | {"criterion": ["magnitude"], "step": ["one_shot"]}
    search = GridSearchCV(make_searched(), grid, cv=2, n_jobs=1, error_score="raise").fit(X, y)
    assert_found(search, X, y)
    assert len(search.cv_results_["params"]) == 4


def test_randomized_search(table):
    X, y = table[0], WORDS[table[1]]
    search = RandomizedSearchCV(
        make_searched(), GRID, n_iter=4, cv=2, n_jobs=1, error_score="raise", random_state=0
    ).fit(X, y)
    assert_found(search, X, y)


def test_halving_search(table):
    X, y = table[0], WORDS[table[1]]
    grid = GRID | {"criterion": ["taylor"], "estimator__lr": [0.05]}
    search = HalvingGridSearchCV(
        make_searched(), grid, cv=2, n_jobs=1, min_resources=100, error_score="raise", random_state=0
    ).fit(X, y)
    assert_found(search, X, y)
    assert search.n_iterations_ == 2


# ---------------------------------------------------------------- data of other kinds


def test_images_in_a_search():
    X, y = make_images(300)
    search = GridSearchCV(
        make_pruner(make_classifier(ConvNet, max_epochs=2)), {"target_reduction": [0.2]}, cv=2, error_score="raise"
    )
    assert search.fit(X, y).predict(X).shape == (300,)


def test_a_torch_dataset(table):
    data = TensorDataset(*map(torch.as_tensor, table))
    pruner = make_pruner(make_classifier(train_split=ValidSplit(4))).fit(data)
    assert pruner.predict(data).shape == (400,)
    np.testing.assert_array_equal(pruner.classes_, [0, 1])


def test_a_sliced_dataset_in_a_search(table):
    data = TensorDataset(*map(torch.as_tensor, table))
    X, y = SliceDataset(data, 0), SliceDataset(data, 1)
    net = make_classifier(train_split=ValidSplit(4))
    search = GridSearchCV(
        make_pruner(net), {"estimator__lr": [0.02, 0.05]}, cv=2, scoring="accuracy", error_score="raise"
    ).fit(X, np.asarray(table[1]))
    assert search.best_score_ > 0.6
    pruner = make_pruner(net).fit(X, y)
    assert pruner.predict(X).shape == (400,)


def test_named_inputs_in_a_search(table):
    X, y = table
    named = SliceDict(first=X[:, :10], second=X[:, 10:])
    search = GridSearchCV(
        make_pruner(make_classifier(TwoInputs)), {"criterion": ["taylor", "magnitude"]}, cv=2, error_score="raise"
    ).fit(named, WORDS[y])
    assert search.score(named, WORDS[y]) > 0.6
