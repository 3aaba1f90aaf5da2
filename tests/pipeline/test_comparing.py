"""Runs side by side, made by hand: every number is known."""

import json

import numpy as np
import pandas as pd
import pytest
import yaml

from prunekit.analysis._intervals import wilson
from prunekit.exceptions import ParameterError
from prunekit.pipeline import compare_runs

VERSIONS = {"prunekit": "0.1.0", "torch": "2.13.0"}
SETTINGS = {
    "name": "one",
    "seed": 0,
    "data": {"source": {"name": "digits"}, "test_size": 0.25, "sample": None},
    "net": {"module": {"name": "MLP", "widths": [32, 32]}, "lr": 0.01, "callbacks": []},
    "prune": {"target_reduction": 0.5, "reduction_of": "macs"},
    "search": None,
}
NET = {
    "num_correct": 90,
    "test_accuracy": 0.9,
    "params": 1000,
    "macs": 800,
    "file_bytes": 4400,
    "latency_ms": {"1": 2.0},
}
METRICS = {
    "reduction": 0.5,
    "stop_reason": "target_reduction",
    "dense": {**NET, "num_correct": 95, "test_accuracy": 0.95},
    "pruned": NET,
    "num_test": 100,
    "num_threads": 1,
}


@pytest.fixture
def write(tmp_path):
    """Return a function that writes the folder of a run, of which some things are other."""

    def write(name, *, metrics=METRICS, settings=SETTINGS, **marker):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        marker = {"prunekit_run": 1, "name": name, "seed": 0, "versions": VERSIONS, "platform": "Linux", **marker}
        (folder / "run.json").write_text(json.dumps(marker))
        (folder / "metrics.json").write_text(json.dumps(metrics))
        (folder / "experiment.yaml").write_text(yaml.safe_dump(settings, sort_keys=False))
        return folder

    return write


def rows_of(comparison, run, network="final"):
    """Return the metrics of one network by measure."""
    table = comparison.metrics
    return table[(table["run"] == run) & (table["network"] == network)].set_index("measure")


def test_metrics(write):
    smaller = {**METRICS, "pruned": {**NET, "num_correct": 88, "test_accuracy": 0.88, "params": 250}}
    comparison = compare_runs([write("one"), write("two", metrics=smaller)])
    first, second = (rows_of(comparison, run) for run in ("one", "two"))
    assert list(first.index) == ["test_accuracy", "params", "macs", "file_bytes", "latency_ms_batch_1"]
    assert first["difference"].to_list() == [0] * 5
    assert first["ratio"].to_list() == [1] * 5
    assert second.loc["test_accuracy", "difference"] == pytest.approx(-0.02)
    assert second.loc["params", ["value", "difference", "ratio"]].to_list() == [250, -750, 0.25]
    interval = wilson(88, 100, 0.95)
    assert second.loc["test_accuracy", ["low", "high"]].to_list() == [interval.low, interval.high]
    assert second.loc["params", ["low", "high"]].isna().all()
    assert second.loc["latency_ms_batch_1", "unit"] == "ms"
    assert rows_of(comparison, "two", "dense").loc["test_accuracy", "value"] == 0.95
    assert comparison.warnings == ()


def test_confidence(write):
    folders = [write("one"), write("two")]
    narrow, wide = (
        rows_of(compare_runs(folders, confidence=confidence), "one").loc["test_accuracy", "low"]
        for confidence in (0.5, 0.99)
    )
    assert narrow > wide


def test_runs(write):
    runs = compare_runs([write("one"), write("two", seed=3, python="3.12")]).runs
    assert runs.loc["two", ["name", "seed", "python", "num_test"]].to_list() == ["two", 3, "3.12", 100]
    assert runs.loc["one", ["reduction", "reduction_of", "stop_reason"]].to_list() == [0.5, "macs", "target_reduction"]


@pytest.mark.parametrize(
    "step",
    [
        {"name": "TaylorPruner", "reduction_of": "macs"},
        {"name": "TaylorPrunerCV", "reductions": 3, "estimator": {"reduction_of": "macs"}},
    ],
)
def test_what_reductions_of_steps_are_of(write, step):
    steps = {"scale": {"name": "StandardScaler"}, "prune": step, "onnx": {"name": "OnnxExporter", "path": "a.onnx"}}
    settings = {**{key: value for key, value in SETTINGS.items() if key != "prune"}, "steps": steps}
    runs = compare_runs([write("one"), write("two", settings=settings)]).runs
    assert runs["reduction_of"].to_list() == ["macs", "macs"]


def test_settings_that_differ(write):
    other = {
        **SETTINGS,
        "net": {
            "module": {"name": "MLP", "widths": [16]},
            "lr": 0.01,
            "callbacks": [{"name": "EarlyStopping", "patience": 5}],
        },
        "prune": {"target_reduction": 0.5, "reduction_of": "macs", "norms": None},
    }
    settings = compare_runs([write("one"), write("two", settings=other)]).settings
    assert list(settings.index) == [
        "net.module.widths",
        "net.callbacks[0].name",
        "net.callbacks[0].patience",
        "prune.norms",
    ]
    assert settings["one"].to_list() == [[32, 32], pd.NA, pd.NA, pd.NA]
    assert settings["two"].to_list() == [[16], "EarlyStopping", 5, None]


def test_search_counts_with_its_best(write):
    folder = write("two", settings={**SETTINGS, "search": {"name": "GridSearchCV", "cv": 3}})
    best = {**SETTINGS, "prune": {"target_reduction": 0.7, "reduction_of": "macs"}}
    (folder / "best.yaml").write_text(yaml.safe_dump(best))
    settings = compare_runs([write("one"), folder]).settings
    assert settings["two"].to_dict() == {"prune.target_reduction": 0.7, "search.name": "GridSearchCV", "search.cv": 3}


@pytest.mark.parametrize("section", ["net", "estimator"])
def test_run_that_prunes_nothing(write, section):
    """It has a final net only, which is what the pruned one of another is compared with."""
    metrics = {section: NET, "num_test": 100}
    comparison = compare_runs([write("one", metrics=metrics), write("two")])
    assert rows_of(comparison, "two").loc["params", "ratio"] == 1
    assert rows_of(comparison, "one", "dense").empty
    assert rows_of(comparison, "two", "dense")["difference"].isna().all()
    assert np.isnan(comparison.runs.loc["one", "reduction"])
    assert comparison.runs.loc["one", "stop_reason"] == ""


def test_measures_of_later_versions(write):
    metrics = {**METRICS, "pruned": {**NET, "energy_mj": 3.5, "label": "small", "done": True}}
    rows = rows_of(compare_runs([write("one"), write("two", metrics=metrics)]), "two")
    assert rows.loc["energy_mj", "value"] == 3.5
    assert not {"label", "done", "num_correct"} & set(rows.index)


def test_regressions(write):
    net = {"r2": 0.5, "mse": 10.0, "params": 100}
    metrics = {"pruned": net, "num_test": 10}
    worse = {"pruned": {**net, "r2": 0.4}, "num_test": 10}
    comparison = compare_runs([write("one", metrics=metrics), write("two", metrics=worse)])
    assert rows_of(comparison, "two").loc["r2", "difference"] == pytest.approx(-0.1)
    mixed = compare_runs([write("three"), write("four", metrics=metrics)])
    assert mixed.warnings[0].startswith("Some runs classify and others predict values")


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"settings": {**SETTINGS, "seed": 1}}, "other samples, for seed differs"),
        (
            {"settings": {**SETTINGS, "data": {**SETTINGS["data"], "source": {"name": "wine"}, "sample": 50}}},
            "other samples, for data.source.name and data.sample differ",
        ),
        ({"metrics": {**METRICS, "num_test": 120}}, "other samples, for the number of test samples differs"),
        ({"versions": {**VERSIONS, "torch": "2.14.0"}}, "The versions of torch differ"),
        ({"python": "3.14"}, "The versions of python differ"),
        ({"platform": "Windows"}, "The machines differ by platform: latencies do not compare."),
        ({"metrics": {**METRICS, "num_threads": 8}}, "The machines differ by num_threads"),
    ],
)
def test_warnings(write, change, warning):
    [told] = compare_runs([write("one"), write("two", **change)]).warnings
    assert warning in told


@pytest.mark.parametrize("change", [{"settings": {**SETTINGS, "net": {"lr": 1}}}, {"git": "1a2b3c"}])
def test_no_warnings(write, change):
    assert compare_runs([write("one"), write("two", **change)]).warnings == ()


def test_names_of_runs(write, tmp_path):
    same = compare_runs([write("a/run"), write("b/run")])
    assert list(same.runs.index) == ["a/run", "b/run"]
    nested = compare_runs([tmp_path / "a" / "run", write("a/run/again")])
    assert list(nested.runs.index) == ["run", "again"]


def test_folders_that_are_no_runs(write, tmp_path):
    one = write("one")
    for folders, message in (
        ([one], "At least two folders of runs must be given to be compared. Got 1 instead."),
        ([one, tmp_path / "one" / ".." / "one"], "Each folder must be given once."),
        ([one, tmp_path / "none"], f"{tmp_path / 'none'} must be a folder that 'prunekit run' wrote. Got no folder"),
        ([one, tmp_path], f"{tmp_path} must be a folder that 'prunekit run' wrote. Got one without run.json"),
    ):
        with pytest.raises(ParameterError) as raised:
            compare_runs(folders)
        assert str(raised.value).startswith(message)
    with pytest.raises(ParameterError, match="confidence"):
        compare_runs([one, write("two")], confidence=1)


@pytest.mark.parametrize("name", ["run.json", "metrics.json", "experiment.yaml"])
@pytest.mark.parametrize("text", [None, "", "{", "[1, 2]", "[" * 100_000, b"\xff\xfe\x00"])
def test_broken_files_are_named(write, name, text):
    folder = write("two")
    if text is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ParameterError, match=name.replace(".", r"\.")):
        compare_runs([write("one"), folder])


@pytest.mark.parametrize("marker", [{"prunekit_run": 99}, {"prunekit_run": "1"}, {"prunekit_run": None}])
def test_other_formats(write, marker):
    with pytest.raises(ParameterError, match=r"run\.json must be (of format 1|as 'prunekit run' wrote it)"):
        compare_runs([write("one"), write("two", **marker)])


def test_strange_numbers_are_left_out(write):
    odd = {**NET, "params": "many", "macs": 10**400, "latency_ms": [1], "num_correct": 500}
    metrics = {**METRICS, "pruned": odd, "num_threads": None, "dense": 7, "reduction": "half"}
    comparison = compare_runs([write("one"), write("two", metrics=metrics, seed=10**30)])
    rows = rows_of(comparison, "two")
    assert list(rows.index) == ["test_accuracy", "file_bytes"]
    assert np.isnan(rows.loc["test_accuracy", "low"])
    assert comparison.runs.loc["two", "seed"] is pd.NA
