"""Tables, labels and weights as users have them."""

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import f1_score, make_scorer
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier, NeuralNetRegressor
from skorch.dataset import ValidSplit
from skorch.helper import SliceDict
from torch import nn
from torch.utils.data import TensorDataset

from prunekit import TaylorPruner
from prunekit._documentation import DOCUMENTATION_URL
from prunekit.exceptions import InputError, ParameterTypeError
from tests.nets_skorch import (
    NUM_FEATURES,
    ConvNet,
    Perceptron,
    Weighted,
    assert_same,
    fitted_state,
    make_classifier,
    make_images,
    make_regressor,
    quick,
)

QUICK = {"target_reduction": 0.3}
WORDS = np.array(["no", "yes"])


def fit(net, X, y, **params):
    return quick(net, **QUICK | params).fit(X, y)


def make_frame(X):
    return pd.DataFrame(X, columns=[f"feature {i}" for i in range(X.shape[1])])


def weights_of(pruner):
    return dict(pruner.estimator_.module_.state_dict())


@pytest.fixture(scope="module")
def fitted(table):
    return fit(make_classifier(), *table)


# ---------------------------------------------------------------- tables


@pytest.mark.parametrize("make", [make_frame, pd.DataFrame, np.ndarray.tolist, np.asfortranarray])
def test_every_kind_of_table_gives_the_same_network(table, fitted, make):
    X, y = table
    pruner = fit(make_classifier(), make(X), y)
    assert_same(fitted_state(pruner), fitted_state(fitted))
    np.testing.assert_array_equal(pruner.predict_proba(make(X)), fitted.predict_proba(X))
    assert pruner.score(make(X), y) == fitted.score(X, y)
    assert pruner.n_features_in_ == NUM_FEATURES


def test_names_of_features_are_kept_and_compared(table):
    X, y = table
    frame = make_frame(X)
    pruner = fit(make_classifier(), frame, y)
    assert pruner.feature_names_in_.tolist() == frame.columns.tolist()
    with pytest.raises(InputError, match="feature names should match"):
        pruner.predict(frame[frame.columns[::-1]])
    with pytest.raises(InputError, match="feature names should match"):
        pruner.fit(frame, y, X_val=frame.add_prefix("other "), y_val=y)


def test_names_that_are_integers_are_no_names(table):
    X, y = table
    pruner = fit(make_classifier(), pd.DataFrame(X), y)
    assert not hasattr(pruner, "feature_names_in_")
    assert pruner.predict(pd.DataFrame(X)).shape == (400,)


def test_another_number_of_features_is_refused(table, fitted):
    for call in (fitted.predict, fitted.predict_proba, fitted.transform, lambda X: fitted.score(X, table[1])):
        with pytest.raises(InputError, match="X has 7 features, but TaylorPruner is expecting 20 features as input"):
            call(table[0][:, :7])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (sparse.csr_matrix, InputError, r"must be dense\. Got a sparse csr_matrix instead\. Pass X\.toarray\(\)"),
        (sparse.coo_array, InputError, "must be dense. Got a sparse coo_array instead"),
        (lambda X: np.where(X > 2, np.nan, X), InputError, "Input X contains NaN"),
        (lambda X: np.where(X > 2, np.inf, X), InputError, "Input X contains infinity"),
        (lambda X: X[:0], InputError, "Found array with 0 sample"),
        (lambda X: X[:, :0], InputError, r"0 feature\(s\)"),
        (lambda X: np.full(X.shape, "a"), InputError, "numeric"),
        (lambda X: np.full(X.shape, None), InputError, "NaN"),
        (lambda X: np.full(X.shape, {}, dtype=object), ParameterTypeError, "argument must be"),
    ],
)
def test_what_is_no_table_of_finite_numbers_is_refused(table, fitted, change, error, message):
    X, y = table
    with pytest.raises(error, match=message):
        TaylorPruner(make_classifier()).fit(change(X), y)
    with pytest.raises(error, match=message):
        fitted.predict(change(X))


def test_a_single_row_must_have_two_dimensions(table, fitted):
    with pytest.raises(InputError, match="Reshape your data"):
        fitted.predict(table[0][0])
    assert fitted.predict(table[0][:1]).shape == (1,)


class Tolerant(NeuralNetClassifier):
    """A net that says that it takes NaN."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class Imputing(Perceptron):
    def forward(self, x):
        return super().forward(torch.nan_to_num(x))


def test_missing_values_go_to_a_net_that_takes_them(table):
    X, y = table
    params = make_classifier(Imputing).get_params(deep=False)
    net = Tolerant(**{name: value for name, value in params.items() if name != "_params_to_validate"})
    X = np.where(X > 2, np.nan, X)
    assert get_tags(TaylorPruner(net)).input_tags.allow_nan
    assert fit(net, X, y).score(X, y) > 0.6


def test_integers_are_cast(table):
    X, y = table
    whole = np.rint(4 * X).astype(np.int64)
    pruner, floating = fit(make_classifier(), whole, y), fit(make_classifier(), whole.astype(np.float32), y)
    assert_same(fitted_state(pruner), fitted_state(floating))
    np.testing.assert_array_equal(pruner.predict_proba(whole), floating.predict_proba(whole))


class Words(nn.Module):
    """Takes numbers of words."""

    def __init__(self, num_hidden=32):
        super().__init__()
        self.embedding = nn.Embedding(10, 8)
        self.hidden = nn.Linear(8, num_hidden)
        self.output = nn.Linear(num_hidden, 2)

    def forward(self, x):
        return self.output(self.hidden(self.embedding(x).mean(1)).relu())


def test_integers_that_are_words_stay_integers():
    X = np.random.default_rng(0).integers(10, size=(200, 5))
    y = (X.mean(1) > 4.5).astype(int)
    pruner = fit(make_classifier(Words, lr=0.2, max_epochs=10), X, y)
    assert pruner.score(X, y) > 0.7
    assert pruner.predict(X.tolist()).shape == (200,)


class Columns(nn.Module):
    """Takes columns of a data frame by name."""

    def __init__(self, num_hidden=16):
        super().__init__()
        self.hidden = nn.Linear(2, num_hidden)
        self.output = nn.Linear(num_hidden, 2)

    def forward(self, age, income):
        return self.output(self.hidden(torch.cat([age, income], 1)).relu())


def test_columns_that_are_arguments_are_named_inputs(table):
    X, y = table
    frame = pd.DataFrame(X[:, :2].astype(np.float64), columns=["income", "age"])
    pruner = fit(make_classifier(Columns), frame, y)
    named = fit(make_classifier(Columns), SliceDict(income=X[:, :1], age=X[:, 1:2]), y)
    assert_same(fitted_state(pruner), fitted_state(named))
    assert pruner.feature_names_in_.tolist() == ["income", "age"]
    np.testing.assert_array_equal(
        pruner.predict_proba(frame), named.predict_proba({"age": X[:, 1:2], "income": X[:, :1]})
    )


def test_what_is_no_table_leaves_no_features(table):
    X, y = table
    pruner = fit(make_classifier(), X, y)
    assert pruner.n_features_in_ == NUM_FEATURES
    pruner.fit(torch.as_tensor(X), y)
    assert not hasattr(pruner, "n_features_in_")
    pruner.set_params(estimator__train_split=ValidSplit(4)).fit(TensorDataset(*map(torch.as_tensor, table)))
    assert not hasattr(pruner, "n_features_in_")


# ---------------------------------------------------------------- labels


@pytest.fixture(scope="module")
def named(table):
    return fit(make_classifier(), table[0], WORDS[table[1]])


def test_labels_that_are_words(table, fitted, named):
    X, y = table
    assert_same(fitted_state(named), fitted_state(fitted))
    np.testing.assert_array_equal(named.classes_, WORDS)
    np.testing.assert_array_equal(named.predict(X), WORDS[fitted.predict(X)])
    np.testing.assert_array_equal(named.predict_proba(X), fitted.predict_proba(X))
    assert named.score(X, WORDS[y]) == fitted.score(X, y)
    assert named.score(X, ["maybe"] * 400) == 0.0


def test_the_net_predicts_positions_of_labels(table, named):
    X, _ = table
    small = pickle.loads(pickle.dumps(named)).transform()
    np.testing.assert_array_equal(small.classes_, [0, 1])
    np.testing.assert_array_equal(named.classes_[small.predict(X)], named.predict(X))


@pytest.mark.parametrize(
    "labels", [[3, 7], [-1, 1], [0.0, 2.0], [False, True], [1, 2], ["a", "b"]], ids=lambda labels: str(labels[0])
)
@pytest.mark.parametrize("kind", [np.asarray, list, pd.Series])
def test_labels_of_any_kind(table, fitted, labels, kind):
    X, y = table
    labels = np.array(labels)
    pruner = fit(make_classifier(), X, kind(labels[y]), step=1.0)
    np.testing.assert_array_equal(pruner.classes_, labels)
    assert set(pruner.predict(X)) <= set(labels.tolist())
    assert pruner.score(X, kind(labels[y])) == (pruner.predict(X) == labels[y]).mean() > 0.6


def test_labels_that_are_positions_of_outputs_stay(table):
    X, y = table
    pruner = fit(make_classifier(module__num_outputs=10), X, 3 * y + 2)
    assert set(pruner.transform().predict(X)) == {2, 5}
    assert set(pruner.predict(X)) == {2, 5}


def test_scorers_see_labels(table):
    X, y = table
    scoring = make_scorer(f1_score, pos_label="yes")
    pruner = fit(make_classifier(), X, WORDS[y], scoring=scoring, min_score=0.5)
    plain = fit(make_classifier(), X, y, scoring="f1", min_score=0.5)
    assert pruner.history_["score"].tolist() == plain.history_["score"].tolist()
    assert pruner.score(X, WORDS[y]) == plain.score(X, y) == f1_score(WORDS[y], pruner.predict(X), pos_label="yes")
    scores = cross_val_score(quick(make_classifier(), **QUICK), X, WORDS[y], scoring=scoring, cv=2)
    assert (scores > 0.5).all()


def test_probabilities_are_scored(table):
    X, y = table
    pruner, plain = (fit(make_classifier(), X, target, scoring="roc_auc", step=1.0) for target in (WORDS[y], y))
    assert pruner.baseline_score_ == plain.baseline_score_ > 0.5
    assert pruner.score(X, WORDS[y]) == plain.score(X, y)


def test_labels_to_validate_on(table):
    X, y = table
    pruner, plain = (
        quick(make_classifier(), **QUICK).fit(X[:300], target[:300], X_val=X[300:], y_val=target[300:])
        for target in (WORDS[y], y)
    )
    assert_same(fitted_state(pruner), fitted_state(plain))
    with pytest.raises(InputError, match=r"must hold labels of the classes \['no', 'yes'\]\. Got .*'maybe'.* instead"):
        pruner.fit(X, WORDS[y], X_val=X[:2], y_val=["no", "maybe"])


def test_labels_of_images():
    X, y = make_images(300)
    digits = np.array(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"])
    pruner = fit(make_classifier(ConvNet), X, digits[y], step=1.0)
    assert pruner.predict(X[:3]).shape == (3,)
    assert set(pruner.predict(X)) <= set(digits)


def test_classes_that_the_user_lists_have_that_order(table):
    X, y = table
    pruner = fit(make_classifier(classes=["yes", "no"]), X, WORDS[y], step=1.0)
    np.testing.assert_array_equal(pruner.classes_, ["yes", "no"])
    assert pruner.score(X, WORDS[y]) > 0.6


def test_labels_of_a_frozen_net(dense, table):
    X, y = table
    pruner, plain = (fit(FrozenEstimator(dense), X, target) for target in (WORDS[y], y))
    assert_same(fitted_state(pruner), fitted_state(plain))
    np.testing.assert_array_equal(pruner.predict(X), WORDS[plain.predict(X)])
    three = np.array(["a", "b", "c"])[np.arange(400) % 3]
    with pytest.raises(InputError, match=r"must have the 2 classes that the frozen net was trained with. Got 3 labels"):
        fit(FrozenEstimator(dense), X, three)


def make_binary(**params):
    defaults = {"module__num_outputs": 1, "lr": 0.05, "max_epochs": 3, "batch_size": 50, "verbose": 0}
    return NeuralNetBinaryClassifier(Perceptron, train_split=ValidSplit(4, stratified=True), **defaults | params)


@pytest.mark.parametrize("labels", [[0, 1], [0.0, 1.0], [-1, 1], [5, 6], ["no", "yes"], [False, True]], ids=str)
def test_a_binary_classifier(table, labels):
    X, y = table
    labels = np.array(labels)
    pruner = fit(make_binary(), X, labels[y])
    plain = fit(make_binary(), X, y.astype(np.float32))
    assert_same(fitted_state(pruner), fitted_state(plain))
    np.testing.assert_array_equal(pruner.classes_, labels)
    np.testing.assert_array_equal(pruner.predict(X), labels[plain.predict(X)])
    assert pruner.score(X, labels[y]) == plain.score(X, y) > 0.6


def test_a_binary_classifier_has_two_classes(table):
    X, _ = table
    assert not get_tags(TaylorPruner(make_binary())).classifier_tags.multi_class
    assert get_tags(TaylorPruner(make_classifier())).classifier_tags.multi_class
    with pytest.raises(InputError, match=r"Only binary classification is supported.*Got 3 classes"):
        fit(make_binary(), X, np.arange(400) % 3)
    with pytest.raises(InputError, match=r"must have two classes .* Got one class, \['a'\]"):
        fit(make_binary(), X, ["a"] * 400)


def test_a_column_of_labels_is_a_row_with_a_warning(table, fitted):
    X, y = table
    with pytest.warns(DataConversionWarning, match="A column-vector y was passed"):
        pruner = fit(make_classifier(), X, y[:, None])
    assert_same(fitted_state(pruner), fitted_state(fitted))


# ---------------------------------------------------------------- values


class Squeezed(Perceptron):
    """Gives one value for each sample, without a dimension of its own."""

    def forward(self, x):
        return super().forward(x).squeeze(1)


def test_a_row_of_values_becomes_a_column_where_the_network_gives_one(table):
    X, _ = table
    y = X[:, 0].astype(np.float64)
    row, column = fit(make_regressor(), X, y), fit(make_regressor(), X, y[:, None])
    assert_same(fitted_state(row), fitted_state(column))
    np.testing.assert_array_equal(row.predict(X), column.predict(X)[:, 0])
    assert row.score(X, y) == column.score(X, y[:, None])
    assert row.predict(X).shape == (400,)


def test_a_column_of_values_becomes_a_row_where_the_network_gives_one(table):
    X, _ = table
    net = NeuralNetRegressor(Squeezed, module__num_outputs=1, max_epochs=2, verbose=0)
    row = fit(net, X, X[:, 0])
    with pytest.warns(DataConversionWarning, match="A column-vector y was passed"):
        column = fit(net, X, X[:, :1])
    assert_same(fitted_state(row), fitted_state(column))


def test_values_that_are_integers_are_cast(table):
    X, y = table
    assert_same(fitted_state(fit(make_regressor(), X, y)), fitted_state(fit(make_regressor(), X, y.astype(np.float32))))


def test_values_must_be_finite(table):
    X, _ = table
    with pytest.raises(InputError, match="Input y contains NaN"):
        fit(make_regressor(), X, np.where(X[:, 0] > 0, np.nan, 1.0))
    with pytest.raises(InputError, match="Input y contains infinity"):
        fit(make_regressor(), X, np.where(X[:, 0] > 0, np.inf, 1.0))


# ---------------------------------------------------------------- weights of samples


class TakesWeights(Perceptron):
    def forward(self, x, sample_weight=None):
        return super().forward(x)


class WeightedNet(NeuralNetClassifier):
    """Multiplies the loss of each sample by its weight."""

    def get_loss(self, y_pred, y_true, X=None, *args, **kwargs):
        losses = super().get_loss(y_pred, y_true, X, *args, **kwargs)
        return (losses * X["sample_weight"]).mean() if isinstance(X, dict) else losses.mean()


def make_weighted():
    return WeightedNet(
        TakesWeights,
        criterion=nn.CrossEntropyLoss,
        criterion__reduction="none",
        lr=0.1,
        max_epochs=6,
        batch_size=50,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
    )


def test_weights_of_samples_reach_the_loss_batch_by_batch(table):
    X, y = table
    weights = (np.arange(400) % 2).astype(np.float64)
    wrong = np.where(weights == 0, 1 - y, y)  # every other label is wrong, and counts nothing
    pruner = quick(make_weighted(), **QUICK).fit(X, wrong, sample_weight=weights)
    assert pruner.score(X, y) > 0.75
    other = quick(make_weighted(), **QUICK).fit(X, y, sample_weight=weights)
    assert_same(weights_of(pruner), weights_of(other))
    as_dict = quick(make_weighted(), **QUICK).fit({"x": X, "sample_weight": weights}, wrong)
    assert_same(weights_of(as_dict), weights_of(pruner))


def test_weights_of_samples_are_routed(table):
    X, y = table
    weights = np.linspace(0, 1, 400)
    plain = quick(make_weighted(), **QUICK).fit(X, y, sample_weight=weights)
    with sklearn.config_context(enable_metadata_routing=True):
        pruner = quick(make_weighted().set_fit_request(sample_weight=True), **QUICK)
        pipeline = Pipeline([("same", "passthrough"), ("prune", pruner)]).fit(X, y, sample_weight=weights)
    assert_same(weights_of(pipeline["prune"]), weights_of(plain))


def test_validation_data_are_routed(table):
    X, y = table
    plain = quick(make_classifier(), **QUICK).fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
    with sklearn.config_context(enable_metadata_routing=True):
        pruner = quick(make_classifier(), **QUICK).set_fit_request(X_val=True, y_val=True)
        pipeline = Pipeline([("same", "passthrough"), ("prune", pruner)])
        pipeline.fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
    assert_same(fitted_state(pipeline["prune"]), fitted_state(plain))


@pytest.mark.parametrize(
    ("net", "X", "weights", "message"),
    [
        (
            make_classifier(),
            None,
            np.ones(400),
            "must be None for a network whose forward has no argument",
        ),
        (make_weighted(), None, np.ones(7), r"must be an array of shape \(400,\)\. Got one of shape \(7,\)"),
        (make_weighted(), None, np.full(400, np.nan), "Input sample_weight contains NaN"),
        (make_weighted(), TensorDataset(torch.zeros(4, 20)), np.ones(4), "must be None where X is a TensorDataset"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(table, net, X, weights, message):
    with pytest.raises(InputError, match=message):
        TaylorPruner(net).fit(table[0] if X is None else X, table[1], sample_weight=weights)


# ---------------------------------------------------------------- protocol


def test_seeds(table):
    X, y = table
    seeded = [fitted_state(fit(make_classifier(), X, WORDS[y], random_state=3)) for _ in range(2)]
    assert_same(*seeded)
    torch.manual_seed(0)
    first, second = (fit(make_classifier(), X, y, random_state=None) for _ in range(2))
    assert not torch.equal(first.estimator_.module_.output.bias, second.estimator_.module_.output.bias)
    assert get_tags(TaylorPruner(make_classifier())).non_deterministic
    assert not get_tags(TaylorPruner(make_classifier(), random_state=0)).non_deterministic


def test_a_network_of_double_precision(table):
    class_of = type("Double", (Perceptron,), {"__init__": lambda self: (Perceptron.__init__(self), self.double())[0]})
    X, y = table
    pruner = fit(make_classifier(class_of), X, y)
    assert pruner.estimator_.module_.hidden.weight.dtype == torch.float64
    assert pruner.predict_proba(X).dtype == np.float64


def test_the_notebook_shows_parameters_fitted_and_not(table, fitted):
    for pruner in (TaylorPruner(make_classifier(), target_reduction=0.6), fitted):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            html = pruner._repr_html_() if hasattr(pruner, "_repr_html_") else pruner._repr_mimebundle_()["text/html"]
        assert "TaylorPruner" in html
        assert "NeuralNetClassifier" in html
        assert "target_reduction" in html
        assert f"{DOCUMENTATION_URL}api/generated/prunekit.TaylorPruner.html" in html


def test_delegation_follows_the_net():
    classifier, regressor = TaylorPruner(make_classifier()), TaylorPruner(make_regressor())
    assert hasattr(classifier, "predict_proba")
    assert not hasattr(regressor, "predict_proba")
    assert hasattr(clone(regressor).set_params(estimator=make_classifier()), "predict_proba")


def test_fitted_is_what_has_a_pruned_net(fitted):
    assert fitted.__sklearn_is_fitted__()
    assert not clone(fitted).__sklearn_is_fitted__()


def test_further_arguments_still_reach_forward(table):
    net = make_classifier(Weighted, train_split=None)
    pruner = quick(net, **QUICK).fit(*table, scale=torch.tensor(0.5))
    other = quick(clone(net), **QUICK).fit(*table, scale=torch.tensor(1.0))
    assert not torch.equal(pruner.estimator_.module_.hidden.weight, other.estimator_.module_.hidden.weight)


def test_scaled_frames_through_a_pipeline(table):
    X, y = table
    pipeline = Pipeline(
        [("scale", StandardScaler().set_output(transform="pandas")), ("prune", quick(make_classifier()))]
    )
    pipeline.fit(make_frame(X), WORDS[y])
    assert pipeline["prune"].feature_names_in_[0] == "feature 0"
    assert pipeline.score(make_frame(X), WORDS[y]) > 0.6


def test_a_checkpoint_with_words(table, tmp_path):
    X, y = table
    first, second = (fit(make_classifier(), make_frame(X), WORDS[y], checkpoint=tmp_path) for _ in range(2))
    assert len(list(tmp_path.iterdir())) == 1
    assert_same(fitted_state(first), fitted_state(second))
    np.testing.assert_array_equal(second.classes_, WORDS)
    np.testing.assert_array_equal(second.predict(make_frame(X)), first.predict(make_frame(X)))
