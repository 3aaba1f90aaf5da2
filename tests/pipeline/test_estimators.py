"""Files become estimators and estimators files, equal on the way there and back."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from skorch import NeuralNetClassifier
from skorch.callbacks import Checkpoint, EarlyStopping
from skorch.dataset import ValidSplit

from prunekit import TaylorPruner
from prunekit.exceptions import ParameterError
from prunekit.pipeline import dump_pipeline, load_pipeline
from prunekit.pipeline._describing import check_same
from prunekit.pipeline.nets import MLP
from prunekit.schedules import LinearSchedule

FILES = sorted((Path(__file__).parents[2] / "pipelines").glob("*.yaml"))
FILE = """\
name: tiny
seed: 2
data: {source: iris, scale: standard}
net:
  module: {name: MLP, widths: [16, 8]}
  optimizer: {name: Adamax, betas: [0.8, 0.9]}
  scheduler: {name: MultiStepLR, milestones: [2, 3]}
  callbacks: [{name: GradientNormClipping, gradient_clip_value: 1.5}]
  lr: 0.05
  max_epochs: 4
prune: {target_reduction: 0.4, step: 0.2, include: [hidden.*], final_epochs: 1}
"""


@pytest.fixture
def file(tmp_path):
    """Return the loaded FILE."""
    (tmp_path / "tiny.yaml").write_text(FILE)
    return load_pipeline(tmp_path / "tiny.yaml")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_round_trip_of_the_files(path, tmp_path):
    first = load_pipeline(path)
    target = tmp_path / "dumped.yaml"
    text = dump_pipeline(first.estimator, first.experiment.data, name=first.experiment.name, path=target)
    assert target.read_text() == text
    second = load_pipeline(target)
    ours, theirs = (loaded.experiment.resolved() for loaded in (first, second))
    for section in ("compute", "outputs"):  # of the command, not of the estimator
        ours.pop(section)
        theirs.pop(section)
    assert ours == theirs
    check_same(first.estimator, second.estimator)
    assert dump_pipeline(second.estimator, second.experiment.data, name=second.experiment.name) == text
    assert np.array_equal(first.data.X_train, second.data.X_train)


def test_estimator_is_an_ordinary_one(file):
    assert isinstance(file.estimator, TaylorPruner)
    assert not hasattr(file.estimator, "reduction_")
    pruner = clone(file.estimator).set_params(target_reduction=0.3)
    pruner.fit(file.data.X_train, file.data.y_train)
    assert pruner.reduction_ >= 0.3
    assert pruner.score(file.data.X_test, file.data.y_test) > 0.6
    search = GridSearchCV(file.estimator, {"target_reduction": [0.2, 0.4], "estimator__lr": [0.05]}, cv=2)
    search.fit(file.data.X_train, file.data.y_train)
    assert set(search.best_params_) == {"target_reduction", "estimator__lr"}


def test_same_file_same_numbers(file, tmp_path):
    again = load_pipeline(tmp_path / "tiny.yaml")
    fits = [one.estimator.fit(one.data.X_train, one.data.y_train) for one in (file, again)]
    first, second = (fit.transform().module_.state_dict() for fit in fits)
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_precision_goes_with_the_data(file, tmp_path):
    double = load_pipeline(tmp_path / "tiny.yaml", ["data.dtype=float64"])
    text = dump_pipeline(clone(double.estimator), double.experiment.data, name="double", path=tmp_path / "double.yaml")
    again = load_pipeline(tmp_path / "double.yaml")
    assert again.data.X_train.dtype == np.float64
    check_same(double.estimator, again.estimator)
    assert dump_pipeline(again.estimator, again.experiment.data, name="double") == text
    with pytest.raises(ParameterError, match="The 'module' parameter of the net cannot be written"):
        dump_pipeline(double.estimator, file.experiment.data, name="double")
    search = GridSearchCV(again.estimator, {"estimator__module__widths": [[8], [16]]}, cv=2, n_jobs=2)
    search.fit(again.data.X_train, again.data.y_train)
    net = search.best_estimator_.transform()
    assert {tensor.dtype for tensor in net.module_.parameters()} == {torch.float64}
    assert net.predict_proba(again.data.X_test).dtype == np.float64


def test_assignments(tmp_path, file):
    other = load_pipeline(tmp_path / "tiny.yaml", ["prune.target_reduction=0.7"])
    assert other.estimator.target_reduction == 0.7


def test_estimator_of_python_becomes_a_file(tmp_path):
    net = NeuralNetClassifier(
        MLP,
        module__input_shape=(13,),
        module__num_classes=3,
        module__widths=(16,),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW,
        max_epochs=3,
        batch_size=32,
        iterator_train__shuffle=True,
        train_split=ValidSplit(0.25, stratified=True, random_state=5),
        callbacks__print_log=None,
        verbose=0,
    )
    # What the file writes out is said here, too, for a default of torch may change.
    net.set_params(criterion__label_smoothing=0.0, optimizer__betas=[0.9, 0.999], optimizer__eps=1e-8)
    net.set_params(optimizer__weight_decay=0.01, optimizer__amsgrad=False, module__dropout=0.0)
    pruner = TaylorPruner(net, target_reduction=0.3, step="linear", random_state=5)
    dump_pipeline(pruner, {"source": "wine"}, name="mine", path=tmp_path / "mine.yaml")
    check_same(pruner, load_pipeline(tmp_path / "mine.yaml").estimator)


def refused(change, file):
    """Return the message of an estimator that cannot be written."""
    pruner = change(clone(file.estimator))
    with pytest.raises(ParameterError) as caught:
        dump_pipeline(pruner, file.experiment.data, name="x")
    return str(caught.value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda pruner: pruner.set_params(step=LinearSchedule(0.1)),
         "The estimator must have parameters that a pipeline file can say. Got Linear"),
        (lambda pruner: pruner.set_params(checkpoint="here"),
         "The 'checkpoint' parameter of the pruner cannot be written to a pipeline file. It must be None. "
         "Got 'here' instead."),
        (lambda pruner: pruner.set_params(random_state="x"), "Got 'x' as seed instead."),
        (lambda pruner: pruner.set_params(estimator__iterator_train__num_workers=2),
         "The 'iterator_train__num_workers' parameter of the net cannot be written to a pipeline file."),
        (lambda pruner: pruner.set_params(estimator__device="cuda"),
         "The 'device' key must be a device of this machine"),
        (lambda pruner: pruner.set_params(estimator__train_split=None),
         "The 'train_split' parameter of the net must be a ValidSplit of a fraction to be written."),
        (lambda pruner: pruner.set_params(estimator__module=torch.nn.Linear),
         "The module must be one that a pipeline file can name (ConvNet, "),
        (lambda pruner: pruner.set_params(estimator__optimizer=torch.optim.LBFGS),
         "The optimizer must be one that a pipeline file can name (SGD, "),
        (lambda pruner: pruner.set_params(estimator__callbacks=[("c", Checkpoint())]),
         "The callback must be one that a pipeline file can name (EarlyStopping, "),
        (lambda pruner: pruner.set_params(estimator__callbacks=[("stop", EarlyStopping())]),
         "The 'callbacks' parameter of the net cannot be written to a pipeline file."),
        (lambda pruner: pruner.estimator,
         "The 'estimator' parameter of dump_pipeline must be a TaylorPruner of a skorch net, a Pipeline, "
         "or a search of scikit-learn over one of them. Got NeuralNetClassifier instead."),
        (lambda pruner: TaylorPruner(partial), "Got TaylorPruner of type instead."),
    ],
)  # fmt: skip
def test_what_no_file_can_say(file, change, expected):
    assert expected in refused(change, file)


def test_file_that_cannot_be_written(file, tmp_path):
    with pytest.raises(ParameterError, match="cannot be written: No such file or directory"):
        dump_pipeline(file.estimator, file.experiment.data, name="x", path=tmp_path / "no" / "x.yaml")
