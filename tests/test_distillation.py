"""Fine-tuning that also learns from the network before pruning."""

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from torch import nn

from prunekit import _skorch
from prunekit.exceptions import ParameterError
from tests.nets_skorch import (
    Perceptron,
    assert_same,
    fitted_state,
    make_classifier,
    make_regressor,
    make_table,
    quick,
)


class Probabilities(Perceptron):
    """As skorch's default criterion wants it."""

    def forward(self, x):
        return super().forward(x).softmax(1)


def nets(kind):
    """Return two trained nets and a mini-batch."""
    X, y = make_table()
    if kind == "regression":
        y = (X[:, :1] + X[:, 1:2]).astype(np.float32)
        found = [make_regressor(module__dropout=0.0, max_epochs=epochs).fit(X, y) for epochs in (1, 2)]
    elif kind == "binary":
        y = y[:, None].astype(np.float32)
        params = {"module__num_outputs": 1, "criterion": nn.BCEWithLogitsLoss, "lr": 0.05}
        found = [make_regressor(**params, module__dropout=0.0, max_epochs=epochs).fit(X, y) for epochs in (1, 2)]
    elif kind == "probabilities":
        params = {"module": Probabilities, "criterion": nn.NLLLoss, "module__dropout": 0.0}
        found = [make_classifier(**params, max_epochs=epochs).fit(X, y) for epochs in (1, 2)]
    else:
        found = [make_classifier(module__dropout=0.0, max_epochs=epochs).fit(X, y) for epochs in (1, 2)]
    return *found, torch.tensor(X[:20]), torch.tensor(y[:20])


def outputs(net, X):
    net.module_.eval()
    return net.infer(X)


@pytest.mark.parametrize("kind", ["logits", "probabilities", "binary", "regression"])
def test_the_loss_is_the_weighted_sum(kind):
    student, teacher, X, y = nets(kind)
    given, wanted = outputs(student, X), outputs(teacher, X).detach()
    own = student.get_loss(given, y, X=X, training=True)
    if kind == "regression":
        distance = (given - wanted).square().mean()
    elif kind == "binary":
        p, q = ((torch.cat([one, 0 * one], 1) / 3.0).softmax(1) for one in (given, wanted))
        distance = 9.0 * (q * (q / p).log()).sum(1).mean()
    else:
        p, q = ((one if kind == "logits" else one.log()).div(3.0).softmax(1) for one in (given, wanted))
        distance = 9.0 * (q * (q / p).log()).sum(1).mean()
    with _skorch.distilled(student, _skorch.Distillation(teacher, 0.3, 3.0), {}):
        found = student.get_loss(given, y, X=X, training=True)
        assert student.get_loss(given, y, X=X, training=False) == own
    torch.testing.assert_close(found, 0.7 * own + 0.3 * distance, rtol=1e-4, atol=1e-6)
    assert student.get_loss(given, y, X=X, training=True) == own
    assert "get_loss" not in vars(student)


def test_the_teacher_is_not_changed():
    student, teacher, X, y = nets("logits")
    teacher.module_.train().zero_grad()
    before = {key: value.clone() for key, value in teacher.module_.state_dict().items()}
    with _skorch.distilled(student, _skorch.Distillation(teacher, 1.0, 2.0), {}):
        student.train_step_single((X, y))
    assert_same(dict(teacher.module_.state_dict()), before)
    assert all(parameter.grad is None for parameter in teacher.module_.parameters())
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in student.module_.parameters())


@pytest.mark.parametrize("weight", [0.5, 1.0])
def test_fit_learns_from_the_dense_network(weight):
    table = make_table()
    torch.manual_seed(0)
    dense = make_classifier(max_epochs=10).fit(*table)
    wanted = dense.predict_proba(table[0])
    distances = []
    for distill in (0.0, weight):
        pruner = quick(FrozenEstimator(dense), distill=distill, finetune_epochs=10, target_reduction=0.8).fit(*table)
        found = pruner.predict_proba(table[0])
        distances.append(float((wanted * np.log(wanted / found)).sum(1).mean()))
        assert "get_loss" not in vars(pruner.estimator_)
    assert distances[1] < 0.9 * distances[0]


def test_no_distillation_changes_nothing():
    table = make_table()
    torch.manual_seed(0)
    dense = make_classifier().fit(*table)
    plain = quick(FrozenEstimator(dense)).fit(*table)
    assert_same(fitted_state(plain), fitted_state(quick(FrozenEstimator(dense), distill=0.0).fit(*table)))


@pytest.mark.parametrize(
    ("name", "value"),
    [("distill", -0.1), ("distill", 1.5), ("distill_temperature", 0.0), ("distill_temperature", np.nan)],
)
def test_wrong_parameters_are_named(name, value):
    with pytest.raises(ParameterError, match=f"The '{name}' parameter of TaylorPruner must be a number in"):
        quick(make_classifier(), **{name: value}).fit(*make_table())
