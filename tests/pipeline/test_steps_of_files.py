"""Files with steps: what can follow what, what comes out, and that a run is the fit of the file's estimator."""

import json
import textwrap

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from sklearn.pipeline import Pipeline

from prunekit import TaylorPruner, TaylorPrunerCV
from prunekit.exceptions import InputError, PipelineFileError
from prunekit.pipeline import dump_pipeline, load_experiment, load_pipeline, run_experiment
from prunekit.pipeline._describing import check_same
from prunekit.pipeline.reports import report_run

HEAD = """\
    name: steps
    data: {source: wine}
    net: {module: {name: MLP, widths: [16, 8]}, lr: 0.02, max_epochs: 4}
    compute: {threads: 1}
    outputs: {latency_batch_sizes: [1], report: false}
    """
STEPS = {
    "scaled": "{scale: StandardScaler, prune: {name: TaylorPruner, target_reduction: 0.4, step: one_shot}}",
    "reduced": "{pca: {name: PCA, n_components: 5}, prune: {name: TaylorPruner, step: one_shot, final_epochs: 1}}",
    "union": "{both: {name: FeatureUnion, transformer_list: [[pca, {name: PCA, n_components: 3}], "
    "[best, {name: SelectKBest, k: 4}]]}, prune: {name: TaylorPruner, step: one_shot, final_epochs: 1}}",
    "path": "{scale: StandardScaler, prune: {name: TaylorPrunerCV, reductions: [0.2, 0.4], cv: 2, "
    "estimator: {final_epochs: 1, step: one_shot}}}",
    "net": "{scale: StandardScaler, net: NeuralNet}",
}


@pytest.fixture
def write(tmp_path):
    """Return a function that writes HEAD with steps and more."""

    def write(steps, more="", head=HEAD):
        path = tmp_path / "steps.yaml"
        path.write_text(f"{textwrap.dedent(head)}steps: {steps}\n{more}")
        return path

    return write


@pytest.mark.parametrize("steps", STEPS.values(), ids=STEPS)
def test_run_is_the_fit_of_the_estimator(write, tmp_path, steps):
    path = write(steps)
    result = run_experiment(load_experiment(path), tmp_path / "out")
    file = load_pipeline(path)
    assert isinstance(file.estimator, Pipeline)
    fitted = file.estimator.fit(file.data.X_train, file.data.y_train)
    last = fitted[-1]
    net = last.transform() if hasattr(last, "transform") else last
    name = "pruned" if hasattr(last, "transform") else "net"
    saved = load_file(result.folder / f"{name}.safetensors")
    assert saved.keys() >= net.module_.state_dict().keys()
    assert all(torch.equal(saved[key], tensor) for key, tensor in net.module_.state_dict().items())
    correct = int(np.sum(fitted.predict(file.data.X_test) == file.data.y_test))
    assert result.comparison.measured[name].num_correct == correct
    assert json.loads((result.folder / "metrics.json").read_text())[name]["num_correct"] == correct


@pytest.mark.parametrize("steps", [*STEPS.values(), "{prune: TaylorPruner, onnx: {name: OnnxExporter, path: a.onnx}}"])
def test_round_trip(write, tmp_path, steps):
    file = load_pipeline(write(steps))
    target = tmp_path / "dumped.yaml"
    text = dump_pipeline(file.estimator, file.experiment.data, name="steps", path=target)
    again = load_pipeline(target)
    check_same(file.estimator, again.estimator)
    assert again.experiment.steps.keys() == file.experiment.steps.keys()
    assert dump_pipeline(again.estimator, again.experiment.data, name="steps") == text


def test_net_learns_the_shape_of_its_samples(write):
    file = load_pipeline(write(STEPS["union"]))
    assert file.estimator[-1].estimator.get_params()["module__input_shape"] == (7,)
    assert file.data.input_shape == (13,)
    pipeline = file.estimator.set_params(both__pca__n_components=2)  # so does a search
    pipeline.fit(file.data.X_train, file.data.y_train)
    assert pipeline[-1].baseline_score_ > 0
    assert pipeline[-1].transform().module_.hidden[0].in_features == 6


def test_images_through_a_table(write, tmp_path):
    head = HEAD.replace("wine", "digits, sample: 400").replace("{name: MLP, widths: [16, 8]}", "ConvNet")
    steps = (
        "{flat: {name: Reshape, shape: [-1]}, pca: {name: PCA, n_components: 16}, "
        "image: {name: Reshape, shape: [1, 4, 4]}, prune: {name: TaylorPruner, step: one_shot, final_epochs: 0}}"
    )
    head = head.replace("max_epochs: 4", "max_epochs: 1")
    result = run_experiment(load_experiment(write(steps, head=head)), tmp_path / "out")
    assert result.layers["activation_size"].iloc[0][-2:] == (4, 4)


def test_transformers_are_seeded(write):
    steps = "{some: {name: Nystroem, n_components: 6}, prune: {name: TaylorPruner, step: one_shot, final_epochs: 1}}"
    files = [load_pipeline(write(steps)) for _ in range(2)]
    first, second = (file.estimator.fit(file.data.X_train, file.data.y_train) for file in files)
    assert first[0].random_state == 0
    assert np.array_equal(first.predict_proba(files[0].data.X_test), second.predict_proba(files[0].data.X_test))


def test_files_of_a_path(write, tmp_path):
    result = run_experiment(load_experiment(write(STEPS["path"])), tmp_path / "out")
    table = pd.read_csv(result.folder / "path.csv")
    assert list(table["reduction"]) == [0, 0.2, 0.4]
    metrics = json.loads((result.folder / "metrics.json").read_text())
    assert metrics["best_reduction"] in (0.2, 0.4, 0)
    assert "hidden.0" in report_run(result.folder).read_text()


def test_estimators_without_a_net(tmp_path):
    path = tmp_path / "forest.yaml"
    path.write_text(
        "name: forest\ndata: {source: diabetes}\n"
        "steps: {scale: RobustScaler, forest: {name: RandomForestRegressor, n_estimators: 10}}\n"
        "search: {name: GridSearchCV, cv: 2, param_grid: {forest__max_depth: [2, 3], scale__with_centering: [true]}}\n"
    )
    experiment = load_experiment(path)
    assert experiment.task == "regression"
    assert experiment.pruner is None
    result = run_experiment(experiment, tmp_path / "out")
    assert result.layers is None
    assert result.history is None
    assert set(result.files) == {
        *("run.log", "run.json", "search.csv", "best.yaml", "metrics.json", "experiment.yaml"),
    }
    measured = result.comparison.measured["estimator"]
    assert 0 < measured.r2 < 1
    file = load_pipeline(result.folder / "best.yaml")
    assert file.estimator.fit(file.data.X_train, file.data.y_train).score(file.data.X_test, file.data.y_test) == (
        pytest.approx(measured.r2)
    )


def test_candidates_of_steps(write, tmp_path):
    search = (
        "search:\n  name: GridSearchCV\n  cv: 2\n  param_grid:\n    scale__feature_range: [[0, 1], [-1, 1]]\n"
        "    prune__estimator__module__widths: [[8, 8], [16, 8]]\n"
    )
    steps = "{scale: MinMaxScaler, prune: {name: TaylorPruner, step: one_shot, final_epochs: 1}}"
    experiment = load_experiment(write(steps, search))
    result = run_experiment(experiment, tmp_path / "out")
    best = load_experiment(result.folder / "best.yaml")
    assert best.search is None
    metrics = json.loads((result.folder / "metrics.json").read_text())
    assert best.steps["scale"].arguments["feature_range"] == metrics["best_params"]["scale__feature_range"]
    alone = run_experiment(best, tmp_path / "alone")
    first, second = (load_file(one.folder / "pruned.safetensors") for one in (result, alone))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_types_of_the_estimators(write):
    file = load_pipeline(write(STEPS["path"]))
    assert [type(step) for step in file.estimator.named_steps.values()][-1] is TaylorPrunerCV
    file = load_pipeline(write(STEPS["scaled"]))
    assert type(file.estimator[-1]) is TaylorPruner
    assert file.estimator[-1].random_state == 0


def message(path):
    with pytest.raises(PipelineFileError) as caught:
        load_experiment(path)
    return str(caught.value).partition(": ")[2]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ("{net: NeuralNet, prune: TaylorPruner}",
         "line 6, steps.net: all steps but the last and exporters must transform data. Got 'NeuralNet' before the last "
         "instead; move it, or leave out the steps after it."),
        ("{forest: RandomForestClassifier, prune: TaylorPruner}",
         "line 6, steps.forest: all steps but the last and exporters must transform data. Got 'RandomForestClassifier' "
         "before the last instead; move it, or leave out the steps after it."),
        ("{onnx: {name: OnnxExporter, path: a.onnx}, prune: TaylorPruner}",
         "line 6, steps.onnx: all steps but the last and exporters must transform data. Got 'OnnxExporter' before the "
         "last instead; move it, or leave out the steps after it."),
        ("{net: NeuralNet, onnx: {name: OnnxExporter, path: a.onnx}}",
         "line 6, steps.onnx: 'OnnxExporter' exports what a pruner gives. Put it after a step 'TaylorPruner' or "
         "'TaylorPrunerCV'."),
        ("{prune: TaylorPruner, onnx: {name: OnnxExporter, path: ../a.onnx}}",
         "line 6, steps.onnx.path: must be the name of a file within the folder of the run: letters, digits, '.', '_' "
         "and '-', ending in .onnx. Got '../a.onnx' instead."),
        ("{prune: TaylorPruner, program: {name: ProgramExporter, path: metrics.json}}",
         "line 6, steps.program.path: must be the name of a file within the folder of the run: letters, digits, '.', "
         "'_' and '-', ending in .pt2. Got 'metrics.json' instead."),
        ("{prune: TaylorPruner, a: {name: OnnxExporter, path: a.onnx}, b: {name: OnnxExporter, path: a.onnx}}",
         "line 6, steps.b.path: the run writes another file of the name 'a.onnx'. Give this one another."),
        ("{memory: StandardScaler, prune: TaylorPruner}",
         "line 6, steps.memory: a pipeline has a parameter named 'memory'. Give the step another name."),
        ("{my__scale: StandardScaler, prune: TaylorPruner}",
         "line 6, steps.my__scale: must be letters and digits, beginning with a letter, with single '_' in between, "
         "for it names a step. Got 'my__scale' instead."),
        ("{scale: StandardScaler}",
         "line 3, net: no step is about the net. Add one that is (NeuralNet, TaylorPruner, TaylorPrunerCV), or leave "
         "the section out."),
        ("{scale: StandardScalar, prune: TaylorPruner}",
         "line 6, steps.scale: there is no step named 'StandardScalar'. Did you mean 'StandardScaler'?"),
        ("{prune: {name: TaylorPrunerCV, estimator: {max_score_drop: 1}}}",
         "line 6, steps.prune.estimator.max_score_drop: must be less than 1, for it is a fraction of the accuracy"),
        ("{prune: {name: TaylorPruner, target_reduction: 2}}",
         "line 6, steps.prune.target_reduction: must be less than 1. Got 2 instead."),
        ("{prune: {name: TaylorPrunerCV, estimator: {stepp: 1}}}",
         "line 6, steps.prune.estimator.stepp: unknown key. Did you mean 'step'?"),
        ("{prune: {name: TaylorPrunerCV, reductions: [0.5, 1.5]}}",
         "line 6, steps.prune.reductions[1]: must be less than 1. Got 1.5 instead."),
        ("{prune: {name: TaylorPrunerCV, cv: {name: KFolds}}}",
         "line 6, steps.prune.cv.name: there is no splitter named 'KFolds'. Did you mean 'KFold'?"),
        ("{pca: {name: PCA, n_components: many}, prune: TaylorPruner}", "line 6, steps.pca.n_components: must be "),
    ],
)  # fmt: skip
def test_mistakes(write, steps, expected):
    assert expected in message(write(steps))


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("prune: {}\n", "line 6, steps: is there beside 'prune'"),
        ("search: {name: GridSearchCV, param_grid: {scale__with_men: [true]}}\n",
         "line 7, search.param_grid.scale__with_men: there is no parameter named 'scale__with_men'. Did you mean "
         "'scale__with_mean'?"),
        ("search: {name: GridSearchCV, param_grid: {scale__with_mean: [maybe]}}\n",
         "line 7, search.param_grid.scale__with_mean[0]: must be "),
        ("search: {name: GridSearchCV, param_grid: {prune__estimator__lr: [fast]}}\n",
         "line 7, search.param_grid.prune__estimator__lr[0]: must be a number. Got 'fast' instead."),
        ("search: {name: HalvingGridSearchCV, resource: epochs, param_grid: {prune__step: [cubic]}}\n",
         "line 7, search.resource: there is no parameter named 'epochs'."),
        ("search: {name: GridSearchCV, scoring: {a: accuracy, b: f1_macro}, param_grid: {prune__step: [cubic]}}\n",
         "line 7, search.refit: must be one of the scorers (a, b), or a rule. Got true instead."),
        ("search: {name: GridSearchCV, refit: accuracy, param_grid: {prune__step: [cubic]}}\n",
         "line 7, search.refit: is for several scorers. Leave it out, or give 'scoring' a mapping of names to "
         "scorers."),
        ("search: {name: GridSearchCV, refit: {name: smallest_within}, param_grid: {prune__step: [cubic]}}\n",
         "line 7, search.refit: the rule needs a scorer named 'score' among 'scoring'"),
        ("search: {name: GridSearchCV, scoring: {a: acuracy}, refit: a, param_grid: {prune__step: [cubic]}}\n",
         "line 7, search.scoring.a: there is no scorer named 'acuracy'. Did you mean 'accuracy'?"),
        ("search: {name: GridSearchCV, cv: {name: KFold, test_size: 0.2}, param_grid: {prune__step: [cubic]}}\n",
         "line 7, search.cv.test_size: unknown key. Known: name, n_splits."),
        ("search: {name: GridSearchCV, cv: {name: TimeSeriesSplit, test_size: 0.2}, "
         "param_grid: {prune__step: [cubic]}}\n",
         "line 7, search.cv.test_size: unknown key. Known: name, n_splits."),
        ("search: {name: GridSearchCV, cv: {name: KFold, n_splits: 1}, param_grid: {prune__step: [cubic]}}\n",
         "line 7, search.cv.n_splits: must be at least 2. Got 1 instead."),
    ],
)  # fmt: skip
def test_mistakes_beside_steps(write, more, expected):
    assert expected in message(write(STEPS["scaled"], more))


def test_candidates_are_not_exported(write):
    steps = "{prune: TaylorPruner, onnx: {name: OnnxExporter, path: a.onnx}}"
    assert message(write(steps, "search: {name: GridSearchCV, param_grid: {prune__step: [cubic]}}\n")) == (
        "line 6, steps.onnx: a search has nothing to score after 'OnnxExporter'. Leave the step out, and write "
        "'outputs: {onnx: true}', which exports the best."
    )


def test_steps_that_do_not_fit_the_data(write):
    with pytest.raises(InputError, match=r"The step 'pca' \(PCA\) must be able to work with samples of shape \(13,\)"):
        load_pipeline(write("{pca: {name: PCA, n_components: 50}, prune: TaylorPruner}"))
