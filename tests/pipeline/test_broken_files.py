"""Files that are wrong in every way that a section can be: each message names file, line, key and what to do.

How YAML itself, types and ranges go wrong is in ``test_loading.py``, variables and included files in
``test_assembly.py``.
"""

import re

import numpy as np
import pandas as pd
import pytest

from prunekit.exceptions import PipelineFileError
from prunekit.pipeline import load_experiment
from tests.pipeline.series import write_noise

FILE = """\
name: broken
data:
  source: digits
  scale: standard
net:
  module: {name: MLP, widths: [8, 8]}
  criterion: CrossEntropyLoss
  optimizer: {name: SGD, momentum: 0.9}
  scheduler: {name: StepLR, step_size: 2}
  callbacks:
    - EarlyStopping
    - {name: GradientNormClipping, gradient_clip_value: 1}
  max_epochs: 5
prune:
  target_reduction: 0.5
outputs:
  latency_batch_sizes: [1]
"""
CASES = [
    # data
    ("source: digits", "source: diabetes", "line 3, data.source: 'diabetes' is for regression, but the estimator is "
     "NeuralNetClassifier. Write 'estimator: NeuralNetRegressor' under net, or name another source."),
    ("source: digits", "source: mnist", "line 3, data.source: there is no source named 'mnist'. Known: digits, iris, "
     "wine, breast_cancer, diabetes, npz, csv, parquet, idx, cifar10, image_folder, ucr."),
    ("source: digits", "source: breast-cancer",
     "line 3, data.source: there is no source named 'breast-cancer'. Did you mean 'breast_cancer'?"),
    ("source: digits", "source: {name: iris, path: x}", "line 3, data.source.path: unknown key. There is nothing that "
     "can stand here; remove it."),
    ("source: digits", "sources: digits", "2 problems.\n  line 2, data.source: the key 'source' is missing. Add it.\n"
     "  line 3, data.sources: unknown key. Did you mean 'source'?"),
    ("source: digits", "source: [digits]", "line 3, data.source: must be the name of a registered source, or a mapping "
     "with the key 'name' and its options. Got ['digits'] instead."),
    ("scale: standard", "scale: standardize", "line 4, data.scale: must be 'standard' or 'minmax'. "
     "Got 'standardize' instead. Did you mean 'standard'?"),
    ("scale: standard", "scale: 255", "line 4, data.scale: must be 'standard' or 'minmax'. Got 255 instead."),
    ("scale: standard", "sample: 1", "line 4, data.sample: must be at least 2. Got 1 instead."),
    ("scale: standard", "sample: 0.5", "line 4, data.sample: must be an integer. Got 0.5 instead."),
    ("scale: standard", "reshape: 64", "line 4, data.reshape: must be a list. Got 64 instead."),
    ("scale: standard", "reshape: []", "line 4, data.reshape: must be a list of at least 1. Got [] instead."),
    ("scale: standard", "reshape: [1, 0]", "line 4, data.reshape[1]: must be at least 1. Got 0 instead."),
    ("scale: standard", "test_size: 1", "line 4, data.test_size: must be less than 1. Got 1 instead."),
    ("scale: standard", "shape: [64]", "line 4, data.shape: unknown key. Did you mean 'reshape'?"),
    ("scale: standard", "split: 0.5", "line 4, data.split: unknown key. Known: source, test_size, sample, reshape, "
     "channels, resize, dtype, scale, target_scale."),
    ("scale: standard", "dtype: float16", "line 4, data.dtype: must be 'float32' or 'float64'. Got 'float16' instead. "
     "Did you mean 'float64'?"),
    ("scale: standard", "resize: 64", "line 4, data.resize: must be a list. Got 64 instead."),
    ("scale: standard", "resize: [64, 1.5]", "line 4, data.resize[1]: must be an integer. Got 1.5 instead."),
    ("scale: standard", "resize: [64]", "line 4, data.resize: must be a list of at least 2. Got [64] instead."),
    ("scale: standard", "channels: 0", "line 4, data.channels: must be at least 1. Got 0 instead."),
    # files and folders
    ("source: digits", "source: {name: csv, path: table.csv}",
     "line 3, data.source.target: the key 'target' is missing. Add it."),
    ("source: digits", "source: {name: csv, path: tables.csv, target: kind}", "line 3, data.source.path: there is no "
     "file DIR/tables.csv. Give a path relative to the pipeline file."),
    ("source: digits", "source: {name: csv, path: table.csv, target: kid}",
     "line 3, data.source.target: there is no column named 'kid'. Did you mean 'kind'?"),
    ("source: digits", "source: {name: csv, path: table.csv, target: kind, features: [a, c]}",
     "line 3, data.source.features: there is no column named 'c'. Known: a, b, kind."),
    ("source: digits", "source: {name: csv, path: table.csv, target: kind, separator: ', '}",
     "line 3, data.source.separator: must be a text of at most 1 characters. Got ', ' instead."),
    ("source: digits", "source: {name: csv, path: empty, target: kind}", "line 3, data.source.path: must be a .csv "
     "file whose first line has the names of the columns. Got DIR/empty instead."),
    ("source: digits", "source: {name: npz, path: empty}", "line 3, data.source.path: must be a .npz file as "
     "numpy.savez writes it. Got DIR/empty instead."),
    ("source: digits", "source: {name: npz, path: arrays.npz, y: labels}",
     "line 3, data.source.y: there is no array named 'labels'. Known: X, y."),
    ("source: digits", "source: {name: parquet, path: arrays.parquet, target: y}", "line 3, data.source.path: there is "
     "no file DIR/arrays.parquet. Give a path relative to the pipeline file."),
    ("source: digits", "source: {name: parquet, path: empty, target: kind}",
     "line 3, data.source.path: must be a Parquet file. Got DIR/empty instead."),
    ("source: digits", "source: {name: parquet, path: table.csv, target: kind}",
     "line 3, data.source.path: must be a Parquet file. Got DIR/table.csv instead."),
    ("source: digits", "source: {name: parquet, path: table.parquet, target: kid}",
     "line 3, data.source.target: there is no column named 'kid'. Did you mean 'kind'?"),
    ("source: digits", "source: {name: parquet, path: table.parquet, target: kind, features: [a, row]}",
     "line 3, data.source.features: there is no column named 'row'. Known: a, b, kind."),
    ("source: digits", "source: {name: parquet, path: table.parquet, target: kind, separator: ;}",
     "line 3, data.source.separator: unknown key. Known: path, target, features."),
    ("source: digits", "source: {name: idx, path: fashion}", "line 3, data.source.path: there is no folder "
     "DIR/fashion. Give a path relative to the pipeline file."),
    ("source: digits", "source: {name: idx, path: images}", "line 3, data.source.path: the folder DIR/images has no "
     "train-images-idx3-ubyte. Give another folder, or add it."),
    ("source: digits", "source: {name: cifar10, path: images}", "line 3, data.source.path: the folder DIR/images has "
     "no data_batch_1.png. Give another folder, or add it."),
    ("source: digits", "source: {name: image_folder, path: images, size: [8, 8]}", "line 3, data.source.path: the "
     "folder DIR/images must hold at least two folders, one for each class."),
    ("source: digits", "source: {name: image_folder, path: images, size: [8]}",
     "line 3, data.source.size: must be a list of at least 2. Got [8] instead."),
    ("source: digits", "source: {name: ucr, path: series}",
     "line 3, data.source.dataset: the key 'dataset' is missing. Add it."),
    ("source: digits", "source: {name: ucr, path: images, dataset: FordA}", "line 3, data.source.path: the folder "
     "DIR/images has no NAME_TRAIN and NAME_TEST in .ts, .tsv or .txt. Give another folder, or add it."),
    ("source: digits", "source: {name: ucr, path: series, dataset: fordb}",
     "line 3, data.source.dataset: there is no data set named 'fordb'. Did you mean 'FordA'?"),
    ("source: digits", "source: {name: ucr, path: series, dataset: ../series/FordA}", "line 3, data.source.dataset: "
     "there is no data set named '../series/FordA'. Known: FordA."),
    ("source: digits", "source: {name: ucr, path: series, dataset: FordA, test: x}",
     "line 3, data.source.test: unknown key. Known: path, dataset."),
    ("source: digits", "source: {name: idx, path: 3}", "line 3, data.source.path: must be a text. Got 3 instead."),
    ("source: digits", 'source: {name: npz, path: "a\\0b"}', "line 3, data.source.path: there is no file of that name. "
     "Give a path relative to the pipeline file."),
    # net
    ("max_epochs: 5", "estimator: NeuralNetRegressor", "line 7, net.criterion: 'CrossEntropyLoss' is for "
     "classification, but the estimator is NeuralNetRegressor. Known for it: MSELoss, L1Loss, SmoothL1Loss, "
     "HuberLoss."),
    ("max_epochs: 5", "estimator: NeuralNet", "line 13, net.estimator: must be 'NeuralNetClassifier' or "
     "'NeuralNetRegressor'. Got 'NeuralNet' instead. Did you mean 'NeuralNetClassifier' or "
     "'NeuralNetRegressor'?"),
    ("criterion: CrossEntropyLoss", "criterion: MSELoss", "line 7, net.criterion: 'MSELoss' is for regression, but the "
     "estimator is NeuralNetClassifier. Known for it: CrossEntropyLoss, MultiMarginLoss."),
    ("criterion: CrossEntropyLoss", "criterion: NLLLoss",
     "line 7, net.criterion: there is no criterion named 'NLLLoss'. Did you mean 'L1Loss'?"),
    ("criterion: CrossEntropyLoss", "criterion: {name: MultiMarginLoss, p: 3}",
     "line 7, net.criterion.p: must be at most 2. Got 3 instead."),
    ("criterion: CrossEntropyLoss", "criterion: {name: CrossEntropyLoss, weight: [1, 2]}",
     "line 7, net.criterion.weight: unknown key. Known: label_smoothing."),
    ("name: MLP, widths: [8, 8]", "name: ViT, width: 30", "line 6, net.module.width: must be a multiple of "
     "'num_heads', which is 4. Got 30 instead."),
    ("name: MLP, widths: [8, 8]", "name: ViT, heads: 2", "line 6, net.module.heads: unknown key. "),
    ("name: MLP, widths: [8, 8]", "name: VGG", "line 6, net.module.name: there is no module named 'VGG'. Known: "
     "ConvNet, ResNet, MobileNet, ViT, ConvNet1d, MLP."),
    ("momentum: 0.9", "momentum: -1", "line 8, net.optimizer.momentum: must be at least 0. Got -1 instead."),
    ("momentum: 0.9", "nesterov: true", "line 8, net.optimizer.nesterov: 'nesterov' needs a momentum. "
     "Give 'momentum' a value above 0, such as 0.9."),
    ("momentum: 0.9", "lr: 0.1", "line 8, net.optimizer.lr: unknown key. "),
    ("name: SGD, momentum: 0.9", "name: LBFGS", "line 8, net.optimizer.name: there is no optimizer named 'LBFGS'. "),
    ("name: SGD, momentum: 0.9", "name: Rprop, etas: [0.5]",
     "line 8, net.optimizer.etas: must be a list of at least 2. Got [0.5] instead."),
    ("step_size: 2", "gamma: 0.5", "line 9, net.scheduler.step_size: the key 'step_size' is missing. Add it."),
    ("step_size: 2", "step_size: 0", "line 9, net.scheduler.step_size: must be at least 1. Got 0 instead."),
    ("name: StepLR, step_size: 2", "name: MultiStepLR, milestones: []",
     "line 9, net.scheduler.milestones: must be a list of at least 1. Got [] instead."),
    ("name: StepLR, step_size: 2", "name: CosineAnnealing, T_max: 2", "line 9, net.scheduler.name: there is no "
     "scheduler named 'CosineAnnealing'. Did you mean 'CosineAnnealingLR'?"),
    ("name: StepLR, step_size: 2", "name: ReduceLROnPlateau, mode: low",
     "line 9, net.scheduler.mode: must be 'min' or 'max'. Got 'low' instead."),
    ("    - EarlyStopping\n", "    - Checkpoint\n", "line 11, net.callbacks[0]: there is no callback named "
     "'Checkpoint'. Known: EarlyStopping, GradientNormClipping, EpochScoring."),
    ("    - EarlyStopping\n", "    - {name: EarlyStopping, patience: 0}\n",
     "line 11, net.callbacks[0].patience: must be at least 1. Got 0 instead."),
    ("    - EarlyStopping\n", "    - {name: EpochScoring, scoring: accuracies}\n",
     "line 11, net.callbacks[0].scoring: there is no scorer named 'accuracies'. Did you mean 'accuracy'?"),
    ("    - EarlyStopping\n", "    - {name: EarlyStopping, sink: print}\n",
     "line 11, net.callbacks[0].sink: unknown key. "),
    ("    - EarlyStopping\n", "    - GradientNormClipping\n",
     "line 12, net.callbacks[1]: 'GradientNormClipping' stands in the list twice. Keep one of them."),
    ("gradient_clip_value: 1", "gradient_clip_value: 0",
     "line 12, net.callbacks[1].gradient_clip_value: must be greater than 0. Got 0 instead."),
    # prune, outputs
    ("target_reduction: 0.5", "target_reduction: 50%",
     "line 15, prune.target_reduction: must be a number. Got '50%' instead."),
    ("target_reduction: 0.5", "max_score_drop: 1", "line 15, prune.max_score_drop: must be less than 1, for it is a "
     "fraction of the accuracy: 0.01 is one point. Got 1 instead."),
    ("target_reduction: 0.5", "max_score_drop: -0.1", "line 15, prune.max_score_drop: must be at least 0. "
     "Got -0.1 instead."),
    ("target_reduction: 0.5", "include: stages", "line 15, prune.include: must be a list. Got 'stages' instead."),
    ("latency_batch_sizes: [1]", "latency_batch_sizes: 1",
     "line 17, outputs.latency_batch_sizes: must be a list. Got 1 instead."),
    ("latency_batch_sizes: [1]", "reports: true",
     "line 17, outputs.reports: unknown key. Did you mean 'report'?"),
    ("outputs:", "compute: {threads: 0}\noutputs:", "line 16, compute.threads: must be at least 1. Got 0 instead."),
    # search
    ("outputs:", "search: GridSearchCV\noutputs:",
     "line 16, search.param_grid: the key 'param_grid' is missing. Add it."),
    ("outputs:", "search: {name: GridSearch, param_grid: {}}\noutputs:",
     "line 16, search.name: there is no search named 'GridSearch'. Did you mean 'GridSearchCV'?"),
    ("outputs:", "search: {name: GridSearchCV, param_grid: {}}\noutputs:",
     "line 16, search.param_grid: must be a mapping of at least 1. Got an empty one instead."),
    ("outputs:", "search: {name: GridSearchCV, param_grid: [0.1]}\noutputs:",
     "line 16, search.param_grid: must be a mapping of names to values. Got [0.1] instead."),
    ("outputs:", "search: {name: GridSearchCV, param_grid: {target_reduction: 0.1}}\noutputs:",
     "line 16, search.param_grid.target_reduction: must be a list. Got 0.1 instead."),
    ("outputs:", "search: {name: GridSearchCV, param_grid: {target_reduction: [0.1, 1.5]}}\noutputs:",
     "line 16, search.param_grid.target_reduction[1]: must be less than 1. Got 1.5 instead."),
    ("outputs:", "search: {name: GridSearchCV, param_grid: {target_reductoin: [0.1]}}\noutputs:",
     "line 16, search.param_grid.target_reductoin: there is no parameter named 'target_reductoin'. "
     "Did you mean 'target_reduction'?"),
    ("outputs:", "search: {name: GridSearchCV, param_grid: {estimator__module__width: [[8]]}}\noutputs:",
     "line 16, search.param_grid.estimator__module__width: there is no parameter named 'estimator__module__width'. "
     "Did you mean 'estimator__module__widths'?"),
    ("outputs:", "search: {name: GridSearchCV, param_grid: {estimator__module__widths: [[8], 8]}}\noutputs:",
     "line 16, search.param_grid.estimator__module__widths[1]: must be a list. Got 8 instead."),
    ("outputs:", "search: {name: GridSearchCV, cv: 1, param_grid: {step: [cubic]}}\noutputs:",
     "line 16, search.cv: must be at least 2. Got 1 instead."),
    ("outputs:", "search: {name: GridSearchCV, n_iter: 3, param_grid: {step: [cubic]}}\noutputs:",
     "line 16, search.n_iter: unknown key. Known: cv, scoring, refit, param_grid."),
    ("outputs:", "search: {name: RandomizedSearchCV, param_distributions: {step: [cubik]}}\noutputs:",
     "line 16, search.param_distributions.step[0]: must be 'linear', 'cubic', 'geometric', 'one_shot' or 'milestones'. "
     "Got 'cubik' instead. Did you mean 'cubic'?"),
    ("outputs:", f"search: {{name: GridSearchCV, param_grid: {{round_to: {[*range(1, 41)]}, "
     f"min_channels: {[*range(1, 41)]}}}}}\noutputs:", "line 16, search.param_grid: must be at most 1000 combinations. "
     "Got 1600 instead; shorten a list, or name RandomizedSearchCV."),
    # code of one's own; nothing is trusted here
    ("name: broken", "name: broken\nimports: [brokenlab]", "line 2, imports[0]: the package 'brokenlab' is not "
     "trusted, so nothing was imported. Add --trust brokenlab if you trust its code; it runs with your rights."),
    ("name: broken", "imports: [brokenlab.nets]\nname: broken", "line 1, imports[0]: the package 'brokenlab' is not "
     "trusted, so nothing was imported. Add --trust brokenlab if you trust its code; it runs with your rights."),
    ("name: broken", "name: broken\nimports: brokenlab", "line 2, imports: must be a list. Got 'brokenlab' instead."),
    ("name: broken", "name: broken\nimports: [os]", "line 2, imports[0]: 'os' is of Python's standard library, which "
     "has nothing that a pipeline file can use. Remove it, or rename the module if it is yours."),
    ("name: broken", "name: broken\nimports: [__main__]", "line 2, imports[0]: must be the name of a module, such as "
     "mylab.nets, of which no part begins with '_'. Got '__main__' instead."),
    ("name: broken", "name: broken\nimports: [../brokenlab.py]", "line 2, imports[0]: must be the name of a module, "
     "such as mylab.nets, of which no part begins with '_'. Got '../brokenlab.py' instead."),
    ("name: MLP, widths: [8, 8]", "name: brokenlab.nets.Tower, width: 8", "line 6, net.module.name: "
     "'brokenlab.nets.Tower' is below no module that the file imports. Add 'imports: [brokenlab.nets]' at the top of "
     "the file, and --trust brokenlab if you trust its code; it runs with your rights."),
    ("source: digits", "source: os.system", "line 3, data.source: 'os.system' is below no module that the file "
     "imports. Name something of a package of your own."),
    ("criterion: CrossEntropyLoss", "criterion: torch.nn.CrossEntropyLoss", "line 7, net.criterion: "
     "'torch.nn.CrossEntropyLoss' is below no module that the file imports. Did you mean 'CrossEntropyLoss'?"),
    ("    - EarlyStopping\n", "    - brokenlab.Stop.__init__.__globals__\n", "line 11, net.callbacks[0]: must be a "
     "public name, of which no part begins with '_' or a digit. Got 'brokenlab.Stop.__init__.__globals__' instead."),
    ("outputs:", "search: brokenlab.Search\noutputs:", "line 16, search: there is no search named 'brokenlab.Search'. "
     "Known: GridSearchCV, RandomizedSearchCV, HalvingGridSearchCV, HalvingRandomSearchCV."),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """Return a folder with data."""
    table = pd.DataFrame({"a": [1, 2], "b": [3, 4], "kind": ["x", "y"]})
    table.to_csv(tmp_path / "table.csv", index=False)
    table.set_axis(pd.Index([5, 6], name="row")).to_parquet(tmp_path / "table.parquet")
    np.savez(tmp_path / "arrays.npz", X=np.zeros((4, 2)), y=np.arange(4) % 2)
    (tmp_path / "empty").touch()
    (tmp_path / "images").mkdir()
    (tmp_path / "series").mkdir()
    write_noise(tmp_path / "series", "FordA")
    return tmp_path


def test_the_file_is_right_before_it_is_broken(folder):
    (folder / "right.yaml").write_text(FILE)
    load_experiment(folder / "right.yaml")
    assert len(CASES) >= 60
    assert len({(old, new) for old, new, _ in CASES}) == len(CASES)


@pytest.mark.parametrize(("old", "new", "expected"), CASES, ids=[new.strip() for _, new, _ in CASES])
def test_message(folder, old, new, expected):
    assert FILE.count(old) == 1
    path = folder / "broken.yaml"
    path.write_text(FILE.replace(old, new))
    with pytest.raises(PipelineFileError) as caught:
        load_experiment(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    told = text.removeprefix(f"{path}: ").replace(str(folder), "DIR")
    if expected.endswith(". "):  # the known names follow, which depend on the version of torch
        assert re.fullmatch(re.escape(expected) + r"(Known: .+\.|Did you mean '.+'\?)", told)
    else:
        assert told == expected
