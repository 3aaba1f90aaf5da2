import pickle
import signal

import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from skorch import NeuralNet
from skorch.callbacks import (
    Callback,
    EarlyStopping,
    InputShapeSetter,
)
from skorch.dataset import ValidSplit
from skorch.helper import SliceDict
from torch import nn
from torch.utils.data import TensorDataset

from prunekit import TaylorPruner
from prunekit.schedules import LinearSchedule
from tests.nets_skorch import (
    ConvNet,
    Perceptron,
    TwoInputs,
    Weighted,
    assert_same,
    fingerprint,
    fitted_state,
    make_classifier,
    make_images,
    make_regressor,
    quick,
)


@pytest.fixture(scope="module")
def images():
    return make_images()


@pytest.fixture(scope="module")
def pruner(images):
    """A pruner fitted on images."""
    net = make_classifier(ConvNet, max_epochs=6)
    return TaylorPruner(net, target_reduction=0.5, step=0.25, random_state=0).fit(*images)


def num_params(net):
    return sum(parameter.numel() for parameter in net.module_.parameters())


def random_states():
    return torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002


# ---------------------------------------------------------------- the result


def test_the_result_is_smaller_by_the_target(pruner):
    before = sum(parameter.numel() for parameter in ConvNet().parameters())
    reached = 1 - num_params(pruner.estimator_) / before
    assert reached == pytest.approx(pruner.reduction_)
    assert 0.5 <= reached < 0.5 + 0.061  # a filter of the second convolution is 6.08 % of the parameters
    assert pruner.stop_reason_ == "target_reduction"
    assert pruner.estimator_.module_.features[4].out_channels < 16


def test_the_result_classifies(pruner):
    X, y = make_images(1200)
    assert pruner.score(X[600:], y[600:]) > 0.8


def test_transform_returns_the_network(pruner, images):
    assert pruner.transform() is pruner.estimator_
    assert pruner.transform(images[0]) is pruner.estimator_


def test_methods_are_those_of_the_pruned_net(pruner, images):
    X, y = images
    net = pruner.estimator_
    np.testing.assert_array_equal(pruner.predict(X), net.predict(X))
    np.testing.assert_array_equal(pruner.predict_proba(X), net.predict_proba(X))
    assert pruner.score(X, y) == net.score(X, y)
    np.testing.assert_array_equal(pruner.classes_, np.arange(10))


def test_history_has_a_row_for_each_phase(pruner):
    history = pruner.history_
    assert history["phase"].tolist() == ["dense", "prune", "prune", "final"]
    assert history["iteration"].tolist() == [0, 1, 2, 2]
    assert pruner.n_iterations_ == 2
    assert history["reduction"].is_monotonic_increasing
    assert (history["reduction"] >= history["target"]).all()
    assert history["reduction"].iloc[-1] == pruner.reduction_
    assert history["reduction"].equals(history["reduction_params"])
    assert history["score"].iloc[0] == pruner.baseline_score_
    assert history["num_prunables"].diff().iloc[1:].tolist() == (-history["num_pruned"].iloc[1:]).tolist()
    assert history["train_loss"].notna().all()
    assert history["held"].all()
    assert (history["seconds_training"] > 0).all()
    assert (history[["seconds_scoring", "seconds_validation"]] > 0).loc[1:].all(axis=None)


def test_units_are_ranked_as_features_are_by_rfe(pruner):
    assert pruner.support_.sum() == pruner.n_prunables_ == pruner.history_["num_prunables"].iloc[-1]
    np.testing.assert_array_equal(pruner.ranking_ == 1, pruner.support_)
    assert [(pruner.ranking_ == rank).sum() for rank in (3, 2)] == pruner.history_["num_pruned"].iloc[1:3].tolist()
    assert pruner.importances_.shape == pruner.support_.shape
    assert np.isfinite(pruner.importances_).all()


def test_the_least_important_units_go_first(dense, table):
    settings = {"target_reduction": 0.25, "finetune_epochs": 0, "reduction_of": "filters", "criterion": "taylor"}
    pruner = quick(FrozenEstimator(dense), **settings).fit(*table)
    removed = ~pruner.support_
    assert removed.sum() == 9  # of 34, the two outputs included
    assert pruner.importances_[removed].max() <= pruner.importances_[~removed].min()


def test_analyze_returns_a_table_of_its_own(pruner):
    table = pruner.analyze()
    assert isinstance(table, pd.DataFrame)
    table["name"] = "changed"
    assert "changed" not in set(pruner.analyze()["name"])


def test_the_result_carries_the_users_parameters(images):
    split, callbacks = ValidSplit(4), [EarlyStopping(patience=50)]
    net = make_classifier(ConvNet, train_split=split, callbacks=callbacks, verbose=1, module__width=6, max_epochs=1)
    net.set_params(callbacks__print_log=None)
    small = quick(net, target_reduction=0.3, step=1.0).fit(*images).estimator_
    assert small.train_split.cv == 4
    assert small.verbose == 1
    assert small.max_epochs == 1
    assert [type(callback) for callback in small.callbacks] == [EarlyStopping]
    assert not [name for name in small.get_params() if name.startswith("module__")]
    # dense training and fine-tuning
    assert len(small.history) == 2


# ---------------------------------------------------------------- what the result survives


def test_the_result_survives_clone_and_fit(pruner, images):
    small = clone(pruner.estimator_).set_params(max_epochs=1).fit(*images)
    assert num_params(small) == num_params(pruner.estimator_)


def test_the_result_learns_further(pruner, images):
    small = pickle.loads(pickle.dumps(pruner.estimator_))
    before = small.module_.classifier.weight.detach().clone()
    small.partial_fit(*images)
    assert not torch.equal(before, small.module_.classifier.weight)


def test_a_fitted_pruner_survives_pickle(pruner, images):
    restored = pickle.loads(pickle.dumps(pruner))
    np.testing.assert_array_equal(restored.predict_proba(images[0]), pruner.predict_proba(images[0]))
    assert restored.history_.equals(pruner.history_)
    assert restored.plan_ == pruner.plan_


def test_the_result_survives_a_grid_search(pruner, images):
    search = GridSearchCV(pruner.estimator_, {"lr": [0.01, 0.1], "max_epochs": [1]}, cv=2, error_score="raise")
    assert num_params(search.fit(*images).best_estimator_) == num_params(pruner.estimator_)


def test_a_pruner_in_a_grid_search(table):
    search = GridSearchCV(
        quick(make_classifier()),
        {"target_reduction": [0.3, 0.6], "estimator__lr": [0.05]},
        cv=2,
        error_score="raise",
    ).fit(*table)
    assert search.best_estimator_.reduction_ >= search.best_params_["target_reduction"]
    assert search.cv_results_["mean_test_score"].min() > 0.6


def test_a_pruner_as_the_last_step_of_a_pipeline(table):
    X, y = table
    pipeline = Pipeline([("scale", StandardScaler()), ("prune", quick(make_classifier()))])
    assert pipeline.fit(X.astype(np.float64), y).score(X, y) > 0.7
    assert pipeline.transform(X) is pipeline.named_steps["prune"].estimator_


def test_nested_parameters_reach_schedule_and_net():
    pruner = TaylorPruner(make_classifier(), step=LinearSchedule(0.1))
    pruner.set_params(step__step=0.2, estimator__lr=0.5, estimator__module__num_hidden=7)
    copied = clone(pruner)
    assert copied.step.step == 0.2
    assert copied.estimator.lr == 0.5
    assert copied.estimator.module__num_hidden == 7


def test_the_pruned_net_can_be_pruned_again(pruner, images):
    again = quick(FrozenEstimator(pruner.estimator_), target_reduction=0.2).fit(*images)
    assert num_params(again.estimator_) <= 0.8 * num_params(pruner.estimator_)


# ---------------------------------------------------------------- where it starts from


def test_a_net_is_trained_first(table):
    net = make_classifier()
    pruner = quick(net, target_reduction=0.3).fit(*table)
    assert not net.initialized_
    assert pruner.baseline_score_ > 0.7
    # three epochs of training, then one for each iteration
    assert len(pruner.estimator_.history) == 3 + pruner.n_iterations_


def test_a_fitted_net_without_freezing_is_trained_anew(dense, table):
    pruner = quick(dense, target_reduction=0.3, random_state=1).fit(*table)
    assert len(pruner.estimator_.history) == 3 + pruner.n_iterations_


def test_a_frozen_net_is_where_pruning_starts(dense, table):
    X, y = table
    pruner = quick(FrozenEstimator(dense), target_reduction=0.3).fit(X, y)
    valid = dense.get_split_datasets(X, y)[1]
    assert pruner.baseline_score_ == dense.score(valid, y[valid.indices])
    assert [row["epoch"] for row in pruner.estimator_.history] == [1, 2, 3, 4, 5]


def test_a_net_that_was_given_weights_is_enough(dense, table):
    net = make_classifier().initialize()
    net.module_.load_state_dict(dense.module_.state_dict())
    pruner = quick(FrozenEstimator(net), target_reduction=0.3).fit(*table)
    np.testing.assert_array_equal(pruner.classes_, [0, 1])
    assert not hasattr(net, "classes_inferred_")


def test_an_instance_as_module_gives_a_warning(table):
    torch.manual_seed(0)
    module = Perceptron()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with pytest.warns(UserWarning, match=r"'module' of the net is an instance.*FrozenEstimator\(net\)"):
        quick(make_classifier(module)).fit(*table)
    assert_same(before, dict(module.state_dict()))


@pytest.mark.filterwarnings(
    "ignore:The .grad attribute of a Tensor:UserWarning"
)  # torch's own, when it compiles a loss
def test_a_compiled_net(table):
    net = make_classifier(compile=True, compile__backend="eager", max_epochs=1).fit(*table)
    pruner = quick(FrozenEstimator(net), target_reduction=0.3).fit(*table)
    assert pruner.estimator_.compile
    assert pruner.estimator_.module.hidden.out_features < 32
    assert pruner.estimator_.module_._orig_mod is pruner.estimator_.module
    assert pruner.predict(table[0]).shape == (400,)


# ---------------------------------------------------------------- what stays as it was


def test_the_users_net_is_untouched(dense, table):
    before = fingerprint(dense)
    quick(FrozenEstimator(dense), target_reduction=0.5, min_score=0.1, final_epochs=1).fit(*table)
    assert_same(fingerprint(dense), before)


class Broken(Callback):
    """Fails in the second fine-tuning."""

    def on_train_begin(self, net, X=None, y=None, **kwargs):
        if len(net.history) > 3:
            raise ValueError("broken callback")


def test_the_users_net_is_untouched_after_an_exception(table):
    torch.manual_seed(0)
    net = make_classifier(callbacks=[Broken()]).fit(*table)
    before, states = fingerprint(net), random_states()
    handler = signal.getsignal(signal.SIGINT)
    pruner = quick(FrozenEstimator(net), target_reduction=0.5)
    with pytest.raises(ValueError, match="broken callback"):
        pruner.fit(*table)
    assert_same(fingerprint(net), before)
    assert_same(random_states(), states)
    assert signal.getsignal(signal.SIGINT) is handler
    assert not hasattr(pruner, "estimator_")


def test_a_seed_leaves_the_random_states_alone(table):
    states = random_states()
    quick(make_classifier(), target_reduction=0.3, random_state=3).fit(*table)
    assert_same(random_states(), states)


def test_parameters_are_only_stored(dense):
    estimator, step = FrozenEstimator(dense), LinearSchedule()
    pruner = TaylorPruner(estimator, step=step)
    assert pruner.estimator is estimator
    assert pruner.step is step


def test_the_data_are_untouched(table):
    X, y = (array.copy() for array in table)
    X.flags.writeable = y.flags.writeable = True
    quick(make_classifier(), target_reduction=0.3).fit(X, y)
    np.testing.assert_array_equal(X, table[0])
    np.testing.assert_array_equal(y, table[1])


# ---------------------------------------------------------------- random_state


def test_the_same_seed_gives_the_same_network(table):
    net = make_classifier(train_split=ValidSplit(0.25))  # a random split
    first, second = (quick(clone(net), random_state=5).fit(*table) for _ in range(2))
    assert_same(fitted_state(first), fitted_state(second))
    assert first.plan_ == second.plan_


def test_the_seed_decides_all_that_is_random(table):
    net = make_classifier()
    torch.manual_seed(0)
    first = quick(net, random_state=5).fit(*table)
    torch.manual_seed(1)
    second = quick(net, random_state=5).fit(*table)
    third = quick(net, random_state=6).fit(*table)
    assert_same(fitted_state(first), fitted_state(second))
    assert not torch.equal(first.estimator_.module_.output.bias, third.estimator_.module_.output.bias)


def test_a_random_state_instance_goes_on(table):
    state = np.random.RandomState(0)
    first, second = (quick(make_classifier(), random_state=state).fit(*table) for _ in range(2))
    assert not torch.equal(first.estimator_.module_.output.bias, second.estimator_.module_.output.bias)


def test_without_a_seed_the_global_state_decides(table):
    torch.manual_seed(2)
    first = quick(make_classifier(), random_state=None).fit(*table)
    second = quick(make_classifier(), random_state=None).fit(*table)
    torch.manual_seed(2)
    third = quick(make_classifier(), random_state=None).fit(*table)
    assert_same(fitted_state(first), fitted_state(third))
    assert not torch.equal(first.estimator_.module_.output.bias, second.estimator_.module_.output.bias)


# ---------------------------------------------------------------- data


def test_float64_is_cast(table):
    X, y = table
    first = quick(make_classifier(), target_reduction=0.3).fit(X, y)
    second = quick(make_classifier(), target_reduction=0.3).fit(X.astype(np.float64), y)
    assert_same(fitted_state(first), fitted_state(second))
    np.testing.assert_array_equal(first.predict_proba(X.astype(np.float64)), first.predict_proba(X))
    assert first.score(X.astype(np.float64), y) == first.score(X, y)


def test_tensors(table):
    X, y = map(torch.as_tensor, table)
    pruner = quick(make_classifier(train_split=ValidSplit(4))).fit(X, y)
    assert pruner.predict(X).shape == (400,)
    assert pruner.baseline_score_ > 0.7


def test_a_dataset(table):
    dataset = TensorDataset(*map(torch.as_tensor, table))
    pruner = quick(make_classifier(train_split=ValidSplit(4))).fit(dataset)
    assert pruner.score(dataset, table[1]) > 0.7
    np.testing.assert_array_equal(pruner.classes_, [0, 1])


def test_named_inputs(table):
    X, y = table
    inputs = SliceDict(first=X[:, :10].astype(np.float64), second=X[:, 10:])
    pruner = quick(make_classifier(TwoInputs)).fit(inputs, y)
    assert pruner.estimator_.module_.left.out_features == pruner.estimator_.module_.right.out_features < 16
    assert pruner.score(inputs, y) > 0.6


def test_a_shape_that_a_callback_sets(table):
    X, y = table
    net = make_classifier(callbacks=[InputShapeSetter(param_name="num_inputs")])
    pruner = quick(net).fit(X[:, :12], y)
    assert pruner.estimator_.module_.hidden.in_features == 12
    assert pruner.predict(X[:, :12]).shape == (400,)
    assert clone(pruner.estimator_).fit(X[:, :12], y).module_.hidden.out_features < 32


def test_fit_params_reach_forward(table):
    pruner = quick(make_classifier(Weighted, train_split=None)).fit(*table, scale=torch.tensor(0.5))
    assert pruner.reduction_ >= 0.5


def test_a_regressor(table):
    X, _ = table
    y = X[:, :1] @ np.ones((1, 1))
    pruner = quick(make_regressor(), scoring="neg_mean_squared_error").fit(X, y.astype(np.float64))
    assert pruner.predict(X).shape == (400, 1)
    assert not hasattr(pruner, "predict_proba")
    assert not hasattr(pruner, "classes_")
    assert hasattr(pruner, "score")
    assert is_regressor(pruner)


# ---------------------------------------------------------------- scikit-learn's protocol


def test_tags_are_those_of_the_net():
    pruner = TaylorPruner(make_classifier())
    tags = get_tags(pruner)
    assert is_classifier(pruner)
    assert tags.classifier_tags is not None
    assert tags.transformer_tags is not None
    assert tags.target_tags == get_tags(pruner.estimator).target_tags
    assert is_regressor(TaylorPruner(make_regressor()))


def test_an_unfitted_pruner_says_so(table):
    pruner = TaylorPruner(make_classifier())
    for call in (pruner.transform, pruner.analyze, lambda: pruner.predict(table[0]), lambda: pruner.score(*table)):
        with pytest.raises(NotFittedError, match="This TaylorPruner instance is not fitted yet"):
            call()
    assert hasattr(pruner, "predict_proba")
    assert not hasattr(pruner, "classes_")


def test_a_plain_net_has_no_score():
    pruner = TaylorPruner(NeuralNet(Perceptron, nn.CrossEntropyLoss))
    assert not hasattr(pruner, "score")
    assert hasattr(pruner.set_params(scoring="accuracy"), "score")


def test_repr_shows_what_was_changed():
    assert "target_reduction=0.6" in repr(TaylorPruner(make_classifier(), target_reduction=0.6))
    assert "TaylorPruner" in TaylorPruner(make_classifier())._repr_html_()


def test_metadata_are_routed(table):
    net = make_classifier(Weighted, train_split=None)
    with sklearn.config_context(enable_metadata_routing=True):
        routed = quick(net.set_fit_request(scale=True)).fit(*table, scale=torch.tensor(0.5))
        with pytest.raises(TypeError, match="unexpected argument"):
            quick(net).fit(*table, other=1)
    plain = quick(make_classifier(Weighted, train_split=None)).fit(*table, scale=torch.tensor(0.5))
    assert_same(dict(routed.estimator_.module_.state_dict()), dict(plain.estimator_.module_.state_dict()))


def test_groups_are_routed_to_the_split(table):
    X, y = table
    groups = np.arange(len(y)) // 100
    with sklearn.config_context(enable_metadata_routing=True):
        pruner = quick(make_classifier(Weighted, train_split=ValidSplit(GroupKFold(4)))).fit(X, y, groups=groups)
    assert pruner.baseline_score_ > 0.5
