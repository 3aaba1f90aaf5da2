"""Estimators as trees and as pages."""

import pytest
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from skorch.callbacks import EarlyStopping
from torch import nn

from prunekit import TaylorPruner
from prunekit.pipeline.diagrams import diagram_html, diagram_of
from prunekit.pipeline.nets import MLP


def part_at(part, *roles):
    """Return the part that is reached by some roles."""
    for role in roles:
        [part] = [one for one in part.parts if one.role == role]
    return part


@pytest.fixture
def net():
    return NeuralNetClassifier(
        MLP,
        module__input_shape=(4,),
        module__num_classes=3,
        module__widths=[256, 128],  # the default, which is a tuple
        module__dropout=0.1,
        criterion=nn.CrossEntropyLoss,
        criterion__label_smoothing=0.0,
        lr=0.5,
        max_epochs=10,
        callbacks=[("stop", EarlyStopping(patience=7))],
        callbacks__print_log=None,
    )


def test_what_is_no_default(net):
    part = diagram_of(TaylorPruner(net, target_reduction=0.5, step="cubic", final_epochs=1))
    assert (part.role, part.kind) == ("", "TaylorPruner")
    assert part.parameters == {"final_epochs": "1"}
    dense = part_at(part, "estimator")
    assert dense.parameters == {"lr": "0.5"}
    module = part_at(dense, "module")
    assert module.kind == "MLP"
    assert module.parameters == {"input_shape": "(4,)", "num_classes": "3", "dropout": "0.1"}
    assert part_at(dense, "criterion").parameters == {}
    assert part_at(dense, "callbacks").parameters == {"print_log": "None"}
    assert part_at(dense, "callbacks", "stop").parameters == {"patience": "7"}


def test_searches_and_pipelines(net):
    search = GridSearchCV(make_pipeline(StandardScaler(), net), {"lr": [1, 2]}, cv=StratifiedKFold(3))
    part = diagram_of(search)
    assert part.parameters == {"param_grid": "{'lr': [1, 2]}"}
    assert part_at(part, "cv").parameters == {"n_splits": "3"}
    assert [step.kind for step in part_at(part, "estimator", "steps").parts] == [
        "StandardScaler",
        "NeuralNetClassifier",
    ]


def test_long_values_are_short():
    part = diagram_of(GridSearchCV(StandardScaler(), {"copy": ["x" * 500] * 50}))
    assert len(part.parameters["param_grid"]) < 800
    assert "\n" not in part.parameters["param_grid"]


def test_page(net):
    page = diagram_html(TaylorPruner(net), "<script>")
    assert "<title>&lt;script&gt;</title>" in page
    assert "NeuralNetClassifier" in page
