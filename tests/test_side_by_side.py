"""One experiment in several ways, `benchmarks/side_by_side.py`: its pages say what was measured, its scripts run."""

import json
import py_compile
import re
from pathlib import Path

import pytest

side_by_side = pytest.importorskip("benchmarks.side_by_side", reason="the benchmarks are not here")

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "coming_from" / "side_by_side.md"
RESULTS = ROOT / "benchmarks" / "results" / "side_by_side.md"
SCRIPTS = sorted((ROOT / "benchmarks" / "side_by_side").rglob("*.py"))


@pytest.fixture
def found():
    return json.loads(side_by_side.TARGET.read_text(encoding="utf-8"))


def test_the_tables_are_those_of_the_measurements(found):
    assert RESULTS.read_text(encoding="utf-8") == side_by_side.page(found)


def test_the_page_takes_its_tables_from_the_results():
    page, results = PAGE.read_text(encoding="utf-8"), RESULTS.read_text(encoding="utf-8")
    markers = re.findall(r"^:(?:start-after|end-before): \"(.*)\"$", page, flags=re.MULTILINE)
    assert len(markers) >= 6
    assert [marker for marker in markers if results.count(f"\n{marker}\n") != 1] == []


def test_the_page_shows_every_file():
    shown = re.findall(r"^```\{literalinclude\} (.*)$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    files = {(PAGE.parent / path).resolve() for path in shown}
    assert all(path.is_file() for path in files)
    sources = {
        path for path in (ROOT / "benchmarks" / "side_by_side").rglob("*.*") if path.suffix in {".py", ".yaml", ".m"}
    }
    assert files == sources | {ROOT / "pipelines" / "digits.yaml"}


def test_lines_are_counted_anew(found):
    for name, way in side_by_side.WAYS.items():
        assert found["ways"][name]["lines"] == side_by_side.count_all(way.files)
    assert found["matlab"]["lines"] == side_by_side.count_all(side_by_side.MATLAB)


def test_every_mistake_was_made_in_every_way(found):
    made = {mistake.title: set(mistake.edits) for mistake in side_by_side.MISTAKES}
    assert {title: set(own) for title, own in found["mistakes"].items()} == made


def test_lines_without_blanks_comments_and_docstrings(tmp_path):
    script = tmp_path / "script.py"
    script.write_text('"""Docstring\nof two lines."""\n\n# comment\nx = (\n    1,  # one\n\n)\n')
    assert side_by_side.count_lines(script) == 3


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_compiles(script, tmp_path):
    py_compile.compile(str(script), cfile=str(tmp_path / "script.pyc"), doraise=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "package", "further"),
    [
        ("hydra", "hydra", ("train.max_epochs=1", "prune.n_iterations=1", "prune.finetune_epochs=1",
                            "prune.final_epochs=0", "prune.max_score_drop=1", "prune.target_reduction=0.5")),
        ("torch-pruning", "torch_pruning", ("--total-epochs", "1", "--pruning-steps", "1", "--finetune-epochs", "1",
                                            "--final-epochs", "0", "--max-score-drop", "1",
                                            "--target-reduction", "0.5")),
    ],
)  # fmt: skip
def test_a_script_runs(name, package, further, tmp_path):
    pytest.importorskip(package)
    way = side_by_side.WAYS[name]
    outcome = side_by_side.run(
        way, side_by_side.copied(way, tmp_path / "files"), tmp_path / "out", further, hydra=None, limit_s=300.0
    )
    assert outcome.code == 0, outcome.output
    metrics = side_by_side.metrics_of(tmp_path / "out")
    assert metrics["pruned"]["params"] <= 0.5 * metrics["dense"]["params"]
