"""A search picks parameters by cross-validation, and what it picks is then run as any experiment."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.torch import load_file
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV, StratifiedKFold

from prunekit.exceptions import ParameterError
from prunekit.pipeline import Listener, dump_pipeline, load_experiment, load_pipeline, run_experiment
from prunekit.pipeline._describing import check_same
from prunekit.pipeline._searching import SPLITTERS, Splitter, describe_folds
from prunekit.pipeline.reports import report_run

GRID = Path(__file__).parents[2] / "pipelines" / "grid.yaml"
SMALL = ["net.max_epochs=3", "search.cv=2", "prune.final_epochs=1"]
RANDOM = (
    "search={name: RandomizedSearchCV, n_iter: 3, cv: 2, param_distributions: "
    "{target_reduction: [0.2, 0.3, 0.4, 0.5], estimator__lr: [0.01, 0.1]}}"
)


class Recorder(Listener):
    """Remembers what it heard of the search."""

    def on_search(self, num_candidates, best, score):
        self.heard = (num_candidates, best, score)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run the grid once, in miniature."""
    recorder = Recorder()
    experiment = load_experiment(GRID, SMALL)
    return recorder, run_experiment(experiment, tmp_path_factory.mktemp("grid") / "run", recorder)


def test_table_is_that_of_scikit_learn(run):
    recorder, result = run
    table = pd.read_csv(result.folder / "search.csv")
    assert len(table) == recorder.heard[0] == 4
    assert table["rank_test_score"].is_monotonic_increasing
    assert table["mean_test_score"].max() == table["mean_test_score"][0] == pytest.approx(recorder.heard[2])
    file = load_pipeline(GRID, SMALL)
    search = file.estimator.fit(file.data.X_train, file.data.y_train)
    assert search.best_params_ == recorder.heard[1]
    assert np.sort(search.cv_results_["mean_test_score"])[::-1] == pytest.approx(table["mean_test_score"])


def test_best_alone_gives_the_same(run, tmp_path):
    recorder, result = run
    best = load_experiment(result.folder / "best.yaml")
    assert best.search is None
    assert best.prune.target_reduction == recorder.heard[1]["target_reduction"]
    assert best.net.module.arguments["widths"] == recorder.heard[1]["estimator__module__widths"]
    alone = run_experiment(best, tmp_path / "alone")
    assert "search.csv" not in alone.files
    first, second = (load_file(one.folder / "pruned.safetensors") for one in (result, alone))
    assert all(np.array_equal(first[key], second[key]) for key in first)
    assert alone.comparison.pruned.num_correct == result.comparison.pruned.num_correct


def test_files_of_the_run(run):
    _, result = run
    assert json.loads((result.folder / "run.json").read_text())["files"] == result.files
    assert {"search.csv", "best.yaml", "experiment.yaml"} <= set(result.files)
    assert load_experiment(result.folder / "experiment.yaml") == load_experiment(GRID, SMALL)
    assert "hidden.0" in report_run(result.folder).read_text()


def test_estimator_of_a_grid():
    search = load_pipeline(GRID).estimator
    assert type(search) is GridSearchCV
    assert search.param_grid["target_reduction"] == [0.4, 0.6]
    assert isinstance(search.cv, StratifiedKFold)
    assert (search.cv.n_splits, search.scoring, search.refit) == (3, "balanced_accuracy", True)


def test_randomized_search(tmp_path):
    experiment = load_experiment(GRID, [*SMALL[:1], SMALL[2], RANDOM])
    first, again = (run_experiment(experiment, tmp_path / name) for name in ("first", "again"))
    tables = [(one.folder / "search.csv").read_text() for one in (first, again)]
    assert tables[0] == tables[1]
    assert len(tables[0].splitlines()) == 4


@pytest.mark.parametrize("changes", [[], [RANDOM]])
def test_round_trip(tmp_path, changes):
    file = load_pipeline(GRID, changes)
    path = tmp_path / "dumped.yaml"
    dump_pipeline(file.estimator, file.experiment.data, name="grid", path=path)
    again = load_pipeline(path)
    check_same(file.estimator, again.estimator)
    assert again.experiment.search == file.experiment.search
    assert type(again.estimator) is (RandomizedSearchCV if changes else GridSearchCV)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ({"refit": False}, "must have parameters that a pipeline file can say. Got False as search.refit"),
        ({"pre_dispatch": 2}, "The 'pre_dispatch' parameter of the search cannot be written to a pipeline file."),
        ({"cv": 3}, "The 'cv' parameter of the search cannot be written to a pipeline file."),
        ({"param_grid": [{"step": ["cubic"]}]}, "The 'param_grid' parameter of the search must be one mapping"),
    ],
)
def test_searches_that_no_file_can_say(parameters, expected):
    file = load_pipeline(GRID)
    with pytest.raises(ParameterError, match=expected):
        dump_pipeline(file.estimator.set_params(**parameters), file.experiment.data, name="x")


@pytest.mark.parametrize("name", SPLITTERS)
def test_splitters(name):
    options = {"n_splits": 2, **({"n_repeats": 2} if "Repeated" in name else {})}
    options |= {"test_size": 0.25} if "Shuffle" in name else {}
    splitter = Splitter(name=name, **options)
    X, y = np.zeros((40, 1)), np.arange(40) % 2
    first, again = (list(splitter.make(3).split(X, y)) for _ in range(2))
    assert len(first) == 2 * options.get("n_repeats", 1)
    for one, other in zip(first, again, strict=True):
        assert np.array_equal(one[0], other[0])
    said = describe_folds(splitter.make(3), "classification")
    assert said == (2 if name == "StratifiedKFold" else {"name": name, **options})


HALVING = (
    "search={name: HalvingRandomSearchCV, cv: 2, n_candidates: 4, factor: 2, min_resources: 40, "
    "param_distributions: {target_reduction: [0.2, 0.3, 0.4], estimator__lr: [0.01, 0.02]}}"
)


def test_halving(tmp_path):
    experiment = load_experiment(GRID, [*SMALL[:1], SMALL[2], HALVING, "data.source=breast_cancer"])
    first, again = (run_experiment(experiment, tmp_path / name) for name in ("first", "again"))
    table = pd.read_csv(first.folder / "search.csv")
    assert list(table["n_resources"].unique()) == sorted(table["n_resources"].unique(), reverse=True)
    assert table["n_resources"].min() == 40
    assert (first.folder / "search.csv").read_text() == (again.folder / "search.csv").read_text()
    file = load_pipeline(GRID, [*SMALL[:1], SMALL[2], HALVING, "data.source=breast_cancer"])
    text = dump_pipeline(file.estimator, file.experiment.data, name="grid", path=tmp_path / "dumped.yaml")
    assert "HalvingRandomSearchCV" in text
    check_same(file.estimator, load_pipeline(tmp_path / "dumped.yaml").estimator)


def test_resource_that_is_a_parameter(tmp_path):
    search = (
        "search={name: HalvingGridSearchCV, cv: 2, factor: 2, resource: estimator__max_epochs, min_resources: 2, "
        "max_resources: 4, param_grid: {target_reduction: [0.2, 0.3]}}"
    )
    result = run_experiment(load_experiment(GRID, [*SMALL[:1], SMALL[2], search]), tmp_path / "out")
    best = load_experiment(result.folder / "best.yaml")
    assert best.net.max_epochs == 4
    assert json.loads((result.folder / "metrics.json").read_text())["best_params"]["estimator__max_epochs"] == 4


def test_several_scorers_and_a_rule(tmp_path):
    search = (
        "search={name: GridSearchCV, cv: 2, scoring: {score: accuracy, reduction: reduction_scorer}, "
        "refit: {name: smallest_within, tolerance: 1.0}, param_grid: {target_reduction: [0.2, 0.5, 0.3]}}"
    )
    experiment = load_experiment(GRID, [*SMALL[:1], SMALL[2], search])
    result = run_experiment(experiment, tmp_path / "out")
    assert load_experiment(result.folder / "best.yaml").prune.target_reduction == 0.5
    table = pd.read_csv(result.folder / "search.csv")
    assert table["param_target_reduction"][0] == 0.5
    assert {"mean_test_score", "mean_test_reduction"} <= set(table.columns)
    file = load_pipeline(GRID, [*SMALL[:1], SMALL[2], search])
    dump_pipeline(file.estimator, file.experiment.data, name="grid", path=tmp_path / "dumped.yaml")
    again = load_pipeline(tmp_path / "dumped.yaml")
    check_same(file.estimator, again.estimator)
    assert again.experiment.search == file.experiment.search
