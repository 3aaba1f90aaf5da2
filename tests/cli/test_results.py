"""`prunekit analyze`, `compare` and `report`."""

import io
import json
import shutil

import pandas as pd
import pytest

from prunekit.cli._analysis_tables import short_name


def lines_of(result):
    """Return the lines that a command printed, without blanks at their ends."""
    assert result.exit_code == 0, result.output
    lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert max(map(len, lines)) <= 80
    return lines


def test_analyze_a_file(invoke):
    assert lines_of(invoke("analyze", "tiny.yaml")) == [
        "The dense network of tiny.yaml, untrained",
        "",
        " layer       type         output  filters  prunable  params    MACs   memory",
        " ───────────────────────────────────────────────────────────────────────────",
        " stages.0.0  Conv2d        8×8×8        8         8      72   4,608  2.34 kB",
        " stages.0.1  BatchNorm2d   8×8×8                         16       0  2.18 kB",
        " stages.1.1  Conv2d       16×4×4       16        16   1,152  18,432  5.63 kB",
        " stages.1.2  BatchNorm2d  16×4×4                         32       0  1.29 kB",
        " linear      Linear           10       10         0     170     160    720 B",
        "",
        " total                                 34        24   1,442  23,200  10.1 kB",
        "",
        "params: parameters; MACs: multiply-adds for one sample; memory: parameters,",
        "buffers and output for one sample; prunable: filters that may be removed",
        "Frozen: linear (network output)",
    ]


def test_analyze_with_a_key_set(invoke):
    rows = json.loads(invoke("analyze", "tiny.yaml", "--json", "--set", "net.module.widths=[4, 8]").stdout)["rows"]
    assert [row["num_filters"] for row in rows if row["num_filters"]] == [4, 8, 10]


def test_analyze_a_run(invoke, run_folder):
    lines = lines_of(invoke("analyze", "first"))
    metrics = json.loads((run_folder / "metrics.json").read_text())
    total = next(line for line in lines if line.startswith(" total")).split()
    assert f"{metrics['pruned']['filters']}/{metrics['dense']['filters']}" in total
    assert f"{metrics['pruned']['params']:,}" in total
    assert lines[-1] == "Frozen: linear (network output)"
    assert any(line.startswith("Left out for want of width: ") for line in lines)


def test_analyze_as_json(invoke, run_folder):
    result = invoke("analyze", "first/pruned.safetensors", "--json", "--level", "unit")
    assert result.stderr == ""
    content = json.loads(result.stdout)
    assert (content["target"], content["level"]) == ("first/pruned.safetensors", "unit")
    assert (
        content["totals"]["params"]["after"]
        == json.loads((run_folder / "metrics.json").read_text())["pruned"]["params"]
    )
    assert content["units"]["params_saved"] == "parameters"
    assert {row["removed"] for row in content["rows"]} == {True, False}
    assert content["rows"][0]["importance"] is None


def test_analyze_units_and_modules(invoke, run_folder):
    units = lines_of(invoke("analyze", "first", "--level", "unit"))
    assert units[2].split() == ["unit", "first", "layer", "filters", "params", "saved", "MACs", "saved", "removed"]
    assert "of 24 units are there" in units[-2]
    modules = lines_of(invoke("analyze", "tiny.yaml", "--level", "module"))
    assert [line.split()[0] for line in modules[4:10]] == ["ConvNet", "stages", "0", "0", "1", "2"]
    assert modules[6].startswith("     0  ")


def test_analyze_compression(invoke):
    layers = lines_of(invoke("analyze", "tiny.yaml", "--compression"))
    assert layers[2].split()[:4] == ["layer", "type", "filters", "removable"]
    assert layers[-1] == "What to do: Nothing to change: these filters are what the network returns."
    reasons = lines_of(invoke("analyze", "tiny.yaml", "--compression", "--level", "reason"))
    assert reasons[1:3] == ["1. network output", "   10 filters of 1 layer: linear"]
    assert reasons[-1].startswith("As it is, at most ") or reasons[-2].startswith("As it is, at most ")


def test_tables_are_written(invoke, tmp_path):
    printed = json.loads(invoke("analyze", "tiny.yaml", "--json").stdout)
    assert invoke("analyze", "tiny.yaml", "--out", "net.json").stdout == "Written to net.json\n"
    assert json.loads((tmp_path / "net.json").read_text()) == printed
    written = invoke("analyze", "tiny.yaml", "--out", "net.csv", "--json")
    assert json.loads(written.stdout) == {"file": "net.csv"}
    table = pd.read_csv(tmp_path / "net.csv")
    assert table["macs"].to_list() == [row["macs"] for row in printed["rows"]]
    wrong = invoke("analyze", "tiny.yaml", "--out", "net.xlsx")
    assert (wrong.exit_code, wrong.stderr) == (
        2, "Error: The file to write must be a .csv or a .json file. Got net.xlsx instead.\n",
    )  # fmt: skip


def test_quiet_analyze(invoke):
    assert invoke("analyze", "tiny.yaml", "--quiet").output == ""
    result = invoke("analyze", "nowhere", "--quiet")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: The target must be a pipeline file (.yaml), the folder of a run or a saved")


def test_long_names_keep_their_ends():
    assert short_name("features.0", 24) == "features.0"
    name = "encoder.layers.encoder_layer_11.self_attention.out_proj"
    assert short_name(name, 36) == "encoder.….self_attention.out_proj"
    assert short_name("x" * 30 + "end", 10) == "…xxxxxxend"
    for longest in range(5, 60):
        assert len(short_name(name, longest)) <= longest


@pytest.fixture
def second(run_folder):
    """The folder of a run with another seed and another accuracy."""
    folder = run_folder.with_name("second")
    shutil.copytree(run_folder, folder)
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["pruned"] |= {"num_correct": 450, "test_accuracy": 450 / 899, "params": 721}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    text = (folder / "experiment.yaml").read_text()
    (folder / "experiment.yaml").write_text(text.replace("seed: 0", "seed: 7"))
    return folder


def test_compare(invoke, second):
    result = invoke("compare", "first", "second")
    lines = lines_of(result)
    assert next(line for line in lines if line.startswith(" seed")).split() == ["seed", "0", "7"]
    accuracy = next(line for line in lines if line.startswith(" accuracy"))
    assert "50.06 %" in accuracy
    assert accuracy.endswith("points")
    assert "46.8 % to 53.3 %" in lines[lines.index(accuracy) + 1]
    assert "721" in next(line for line in lines if line.startswith(" parameters"))
    assert result.stderr == (
        "Warning: The runs may have been tested on other samples, for seed differs: small differences of scores may "
        "come from that.\n"
    )


def test_compare_many(invoke, second, run_folder):
    for name in ("third", "fourth"):
        shutil.copytree(run_folder, run_folder.with_name(name))
    lines = lines_of(invoke("compare", "first", "second", "third", "fourth"))
    headings = [line.split() for line in lines if line.split()[:1] == ["first"]]
    assert headings == [["first", "second"], ["first", "third"], ["first", "fourth"]]


def test_compare_as_json_and_csv(invoke, second, tmp_path):
    result = invoke("compare", "first", "second", "--json", "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")
    content = json.loads(result.stdout)
    assert [run["run"] for run in content["runs"]] == ["first", "second"]
    assert content["settings"] == {"seed": {"first": 0, "second": 7}}
    assert len(content["warnings"]) == 1
    assert invoke("compare", "first", "second", "--out", "runs.csv", "--quiet").stdout == ""
    table = pd.read_csv(io.StringIO((tmp_path / "runs.csv").read_text()))
    assert len(table) == len(content["metrics"])
    assert list(table) == list(content["metrics"][0])


def test_compare_the_same(invoke, run_folder):
    shutil.copytree(run_folder, run_folder.with_name("second"))
    result = invoke("compare", "first", "second")
    assert lines_of(result)[0] == "The experiments are the same."
    assert result.stderr == ""


def test_brackets_in_names_are_no_markup(invoke, run_folder, tmp_path):
    shutil.copytree(run_folder, tmp_path / "[red]x[" / "y")
    assert any("[red]x[/y" in line for line in lines_of(invoke("compare", "first", "[red]x[/y")))
    assert lines_of(invoke("analyze", "[red]x[/y"))[0] == "The pruned net of the run in [red]x[/y"


@pytest.mark.parametrize("folders", [("first",), ("first", "first"), ("first", "nowhere")])
def test_compare_what_cannot_be(invoke, run_folder, folders):
    result = invoke("compare", *folders)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: ")


def test_report(invoke, run_folder):
    assert invoke("report", "first").stdout == "Written to first/report.html\n"
    assert json.loads(invoke("report", "first", "--out", "r.html", "--json").stdout) == {"file": "r.html"}
    assert invoke("report", "first", "--quiet").output == ""
    missing = invoke("report", "nowhere", "--json")
    assert missing.exit_code == 2
    assert json.loads(missing.stdout)["error"]["message"].startswith("The folder of a report must be one that")
