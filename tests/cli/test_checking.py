"""`prunekit validate`, `show`, `list` and `schema`."""

import json

import pytest
import yaml

from prunekit.pipeline import load_experiment
from prunekit.pipeline.registry import REGISTRY
from tests.cli.tiny import FILE, ROOT


@pytest.mark.parametrize("path", sorted((ROOT / "pipelines").glob("*.yaml")), ids=lambda path: path.name)
def test_files_of_the_repository_are_valid(invoke, path):
    result = invoke("validate", path)
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{path}: valid.\n"


def test_validate_as_json(invoke):
    result = invoke("validate", "tiny.yaml", "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout) == {"valid": True, "problems": []}


def test_problems_as_json(invoke, tmp_path):
    (tmp_path / "shared.yaml").write_text("net: {epochs: 5}\n")
    text = FILE.replace("name: tiny", "include: shared.yaml\nname: tiny").replace("source: digits", "source: digit")
    (tmp_path / "tiny.yaml").write_text(text)
    result = invoke("validate", "tiny.yaml", "--json", "--set", "net.lr=fast")
    assert (result.exit_code, result.stderr) == (2, "")
    content = json.loads(result.stdout)
    assert content["valid"] is False
    assert content["problems"] == [
        {
            "file": "tiny.yaml",
            "line": 3,
            "key": "data.source",
            "message": "there is no source named 'digit'. Did you mean 'digits'?",
            "assignment": None,
        },
        {
            "file": None,
            "line": None,
            "key": "net.lr",
            "message": "must be a number. Got 'fast' instead.",
            "assignment": "net.lr=fast",
        },
        {
            "file": "shared.yaml",
            "line": 1,
            "key": "net.epochs",
            "message": "unknown key. Did you mean 'max_epochs'?",
            "assignment": None,
        },
    ]


def test_broken_included_file_as_json(invoke, tmp_path):
    (tmp_path / "shared.yaml").write_text("net: {epochs: 5\n")
    (tmp_path / "tiny.yaml").write_text(f"include: shared.yaml\n{FILE}")
    [problem] = json.loads(invoke("validate", "tiny.yaml", "--json").stdout)["problems"]
    assert (problem["file"], problem["line"], problem["key"]) == ("shared.yaml", 2, None)


def test_quiet_validate(invoke):
    result = invoke("validate", "tiny.yaml", "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    wrong = invoke("validate", "tiny.yaml", "--quiet", "--set", "net.lr=fast")
    assert (wrong.exit_code, wrong.stdout) == (2, "")
    assert wrong.stderr.startswith("Error: tiny.yaml: --set net.lr=fast")


@pytest.mark.parametrize("command", ["run", "validate", "show", "analyze"])
def test_wrong_set(invoke, command):
    result = invoke(command, "tiny.yaml", "--set", "net.max_epoch=1")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr == (
        "Error: tiny.yaml: --set net.max_epoch=1: net.max_epoch: unknown key. Did you mean 'max_epochs'?\n"
    )


@pytest.mark.parametrize("diagram", ["--diagram", "--no-diagram"])
def test_show_writes_a_file_that_is_the_same(invoke, tmp_path, diagram):
    shown = invoke("show", "tiny.yaml", "--set", "seed=5", diagram)
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert shown.stdout.startswith("# TaylorPruner\n" if diagram == "--diagram" else "name: tiny\n")
    (tmp_path / "shown.yaml").write_text(shown.stdout)
    assert load_experiment(tmp_path / "shown.yaml") == load_experiment(tmp_path / "tiny.yaml", ["seed=5"])
    as_json = invoke("show", "tiny.yaml", "--set", "seed=5", "--json")
    assert json.loads(as_json.stdout) == load_experiment(tmp_path / "shown.yaml").resolved()
    assert invoke("show", "tiny.yaml", "--quiet").output == ""


def test_show_draws_the_estimator(invoke):
    lines = invoke("show", "tiny.yaml").stdout.splitlines()
    comments = [line for line in lines if line.startswith("#")]
    assert "# ├── target_reduction = 0.4" in comments
    assert "# └── estimator: NeuralNetClassifier" in comments
    assert "#     │   ├── input_shape = (1, 8, 8)" in comments
    assert not any("finetune_epochs" in line for line in comments)  # the default


def test_show_without_the_data(invoke, tmp_path):
    result = invoke("show", "tiny.yaml", "--html", "net.html", "--set", "data.sample=3")
    assert result.exit_code == 0
    assert result.stdout.startswith("# The shape of a sample is not known: The 'sample' key of data must leave samples")
    assert yaml.safe_load(result.stdout)["data"]["sample"] == 3
    assert "NeuralNetClassifier" in (tmp_path / "net.html").read_text()


def test_show_writes_a_page(invoke, tmp_path):
    result = invoke("show", "tiny.yaml", "--html", "net.html", "--quiet")
    assert (result.exit_code, result.output) == (0, "")
    page = (tmp_path / "net.html").read_text()
    assert page.startswith("<!DOCTYPE html>")
    assert "<title>tiny</title>" in page
    assert "TaylorPruner" in page
    assert not any(loads in page for loads in (" src=", "@import", "url(http", "<link"))
    refused = invoke("show", "tiny.yaml", "--html", "no/net.html")
    assert refused.exit_code == 2
    assert refused.stderr == "Error: The file no/net.html cannot be written: No such file or directory.\n"


def test_schema(invoke, tmp_path):
    printed = invoke("schema")
    assert json.loads(printed.stdout)["title"] == "Experiment"
    assert invoke("schema", "--json", "--quiet").stdout == printed.stdout
    assert invoke("schema", "--out", "schema.json").stdout == "Written to schema.json\n"
    assert (tmp_path / "schema.json").read_text() == printed.stdout
    assert json.loads(invoke("schema", "--out", "schema.json", "--json").stdout) == {"file": "schema.json"}
    assert invoke("schema", "--out", "schema.json", "--quiet").output == ""
    refused = invoke("schema", "--out", "no/schema.json")
    assert (refused.exit_code, refused.stderr) == (
        2, "Error: The file no/schema.json cannot be written: No such file or directory.\n",
    )  # fmt: skip


def test_list(invoke):
    everything = invoke("list")
    assert everything.exit_code == 0
    assert max(map(len, everything.stdout.splitlines())) <= 80
    words = set(everything.stdout.split())
    for kind, entries in REGISTRY.items():
        assert {kind, *entries} <= words
    one = json.loads(invoke("list", "source", "--json").stdout)
    assert {item["name"] for item in one} == set(REGISTRY["source"])
    assert next(item for item in one if item["name"] == "npz")["options"][0] == "path*"
    wrong = invoke("list", "optimiser")
    assert (wrong.exit_code, wrong.stderr) == (
        2, "Error: There is no kind of names called 'optimiser'. Did you mean 'optimizer'?\n",
    )  # fmt: skip
    as_json = invoke("list", "optimiser", "--json")
    assert json.loads(as_json.stdout)["error"]["type"] == "ParameterError"
    assert (as_json.exit_code, as_json.stderr) == (2, "")
