"""Nets that begin with the weights of a file, and those that stay frozen until they are pruned."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.frozen import FrozenEstimator

from prunekit.exceptions import InputError, ParameterError, PipelineFileError
from prunekit.pipeline import dump_pipeline, load_experiment, load_pipeline, run_experiment
from prunekit.pipeline._describing import check_same
from prunekit.pipeline.nets import MLP

FILE = """\
name: tiny
data: {source: wine, scale: standard}
net:
  module: {name: MLP, widths: [16, 8]}
  lr: 0.02
  max_epochs: 4
  batch_size: 20
prune: {target_reduction: 0.4, step: one_shot, final_epochs: 1}
compute: {threads: 1}
outputs: {latency_batch_sizes: [1], report: false}
"""


@pytest.fixture
def path(tmp_path):
    (tmp_path / "tiny.yaml").write_text(FILE)
    return tmp_path / "tiny.yaml"


@pytest.fixture
def trained(path, tmp_path):
    """Return the folder of a run, whose dense net is there to go on with."""
    return run_experiment(load_experiment(path), tmp_path / "first")


def frozen(*more):
    return ["net.pretrained={file: first/dense.safetensors}", "net.frozen=true", *more]


def test_frozen_net_is_pruned_as_it_is(path, trained, tmp_path):
    result = run_experiment(load_experiment(path, frozen()), tmp_path / "second")
    assert (result.folder / "dense.safetensors").read_bytes() == (trained.folder / "dense.safetensors").read_bytes()
    assert result.comparison.dense.num_correct == trained.comparison.dense.num_correct
    assert list(result.history["phase"]) == ["dense", "prune", "final"]
    assert result.history["seconds_training"].iloc[0] == 0


def test_estimator_of_a_frozen_net(path, trained):
    file = load_pipeline(path, frozen())
    net = file.estimator.estimator
    assert isinstance(net, FrozenEstimator)
    assert net.estimator.score(file.data.X_test, file.data.y_test) == trained.comparison.dense.test_accuracy


def test_training_goes_on_from_the_weights(path, trained, tmp_path):
    changes = ["net.pretrained={file: first/dense.safetensors}", "net.lr=1.0e-9", "prune.final_epochs=0"]
    result = run_experiment(load_experiment(path, changes), tmp_path / "second")
    assert result.comparison.dense.num_correct == trained.comparison.dense.num_correct


@pytest.mark.parametrize("changes", [[], frozen(), frozen("data.dtype=float64")], ids=["trained", "frozen", "double"])
def test_round_trip(path, trained, tmp_path, changes):
    file = load_pipeline(path, changes or ["net.pretrained={file: first/dense.safetensors, exclude: [linear.*]}"])
    text = dump_pipeline(file.estimator, file.experiment.data, name="tiny", path=tmp_path / "dumped.yaml")
    again = load_pipeline(tmp_path / "dumped.yaml")
    check_same(file.estimator, again.estimator)
    assert dump_pipeline(again.estimator, again.experiment.data, name="tiny") == text


def test_excluded_tensors_are_drawn(path, trained):
    changes = ["net.pretrained={file: first/dense.safetensors, exclude: ['linear.*']}"]
    net = load_pipeline(path, changes).estimator.estimator.initialize()
    stored = load_pipeline(path, frozen()).estimator.estimator.estimator.module_.state_dict()
    own = net.module_.state_dict()
    assert torch.equal(own["hidden.0.weight"], stored["hidden.0.weight"])
    assert not torch.equal(own["linear.weight"], stored["linear.weight"])


def test_search_over_pretrained_nets(path, trained, tmp_path):
    search = "search={name: GridSearchCV, cv: 2, param_grid: {target_reduction: [0.2, 0.4]}}"
    result = run_experiment(load_experiment(path, frozen(search)), tmp_path / "second")
    assert result.reduction >= 0.2
    names = "search={name: GridSearchCV, cv: 2, param_grid: {estimator__lr: [0.1]}}"
    with pytest.raises(PipelineFileError, match="there is no parameter named 'estimator__lr'"):
        load_experiment(path, frozen(names))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda tensors: tensors.pop("linear.bias"), r"with no linear\.bias instead"),
        (lambda tensors: tensors.update({"linear.bias": torch.zeros(7)}),
         r"with another linear\.bias of shape \(7,\) for \(3,\) instead"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit(path, tmp_path, change, expected):
    tensors = {name: tensor.clone() for name, tensor in MLP((13,), 3, [16, 8]).state_dict().items()}
    (tmp_path / "first").mkdir()
    change(tensors)
    save_file(tensors, tmp_path / "first" / "dense.safetensors")
    with pytest.raises(InputError, match=expected):
        load_pipeline(path, frozen())


def test_file_that_is_none(path, tmp_path):
    (tmp_path / "first").mkdir()
    (tmp_path / "first" / "dense.safetensors").write_bytes(b"no tensors at all")
    with pytest.raises(InputError, match=r"must be a whole \.safetensors file"):
        load_pipeline(path, frozen())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (["net.frozen=true"], "a frozen net needs weights"),
        (["net.pretrained={file: nowhere.safetensors}"], "there is no file"),
        (frozen("prune=null", "steps={net: NeuralNet}"), "is for pruning. Add a step TaylorPruner"),
    ],
)
def test_mistakes(path, tmp_path, changes, expected):
    (tmp_path / "first").mkdir()
    save_file({"a": torch.zeros(1)}, tmp_path / "first" / "dense.safetensors")
    with pytest.raises(PipelineFileError, match=expected):
        load_experiment(path, changes)


def test_other_weights_are_another_run(path, trained, tmp_path):
    """A checkpoint is of the content of the file, not of its name."""
    first = load_pipeline(path, ["net.pretrained={file: first/dense.safetensors}"])
    tensors = load_file(tmp_path / "first" / "dense.safetensors")
    save_file({name: tensor + 1 if tensor.dtype.is_floating_point else tensor for name, tensor in tensors.items()},
              tmp_path / "first" / "dense.safetensors")  # fmt: skip
    with pytest.raises(InputError, match="must stay as it was when the net was made"):
        first.estimator.estimator.initialize()
    second = load_pipeline(path, ["net.pretrained={file: first/dense.safetensors}"])
    nets = (one.estimator.estimator.get_params()["module__weights_sha256"] for one in (first, second))
    assert len(set(nets)) == 2
    with pytest.raises(ParameterError, match="'module__weights_sha256' parameter of the net cannot be written"):
        dump_pipeline(first.estimator, first.experiment.data, name="tiny", path=tmp_path / "dumped.yaml")


def test_pruned_net_does_not_fit(path, trained):
    with pytest.raises(InputError, match="with another"):
        load_pipeline(path, ["net.pretrained={file: first/pruned.safetensors}", "net.frozen=true"])
