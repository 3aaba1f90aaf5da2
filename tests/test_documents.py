"""What the documents show runs as it stands there, in a new process and an empty folder."""

import ast
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = sorted((ROOT / "examples").glob("[0-9][0-9]_*.py"))
PYTHON_BLOCKS = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def run_python(script: Path, folder: Path) -> None:
    """Run a script in a folder; on failure, show what it printed."""
    settings = {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "OMP_NUM_THREADS": "1", "MPLBACKEND": "Agg"}
    environment = {**os.environ, **settings}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def test_readme_has_blocks():
    assert len(PYTHON_BLOCKS) >= 2


@pytest.mark.parametrize("number", range(len(PYTHON_BLOCKS)))
def test_readme_block(number, tmp_path):
    script = tmp_path / f"readme_{number}.py"
    script.write_text(PYTHON_BLOCKS[number], encoding="utf-8")
    run_python(script, tmp_path)


def test_first_readme_block_is_short():
    lines = [line for line in PYTHON_BLOCKS[0].splitlines() if line.strip()]
    assert len(lines) <= 30


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example(example, tmp_path):
    run_python(example, tmp_path)


def test_examples_are_ten_in_order():
    assert [path.name[:2] for path in EXAMPLES] == [f"{number:02}" for number in range(1, 11)]
    others = {path.name for path in (ROOT / "examples").glob("*.py")} - {path.name for path in EXAMPLES}
    assert others == {"_networks.py"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_begins_with_a_title_and_a_seed(example):
    tree = ast.parse(example.read_text(encoding="utf-8"))
    title, line, blank, *summary = (ast.get_docstring(tree) or "").splitlines()
    assert line == "=" * len(title)
    assert not blank
    assert summary
    statements = [node for node in tree.body[1:] if not isinstance(node, ast.Import | ast.ImportFrom)]
    assert ast.unparse(statements[0]) == "torch.manual_seed(0)"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_explains_each_cell(example):
    text = example.read_text(encoding="utf-8")
    assert [cell for cell in cells(text) if not cell.startswith("# ")] == []
    underlined = re.findall(r"^# (.+)\n# (-{3,})$", text, flags=re.MULTILINE)
    assert underlined
    assert [heading for heading, line in underlined if len(line) != len(heading)] == []


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_example_ends_in_a_table(example):
    last = ast.parse(cells(example.read_text(encoding="utf-8"))[-1]).body[-1]
    assert isinstance(last, ast.Expr)  # the value of a bare expression is what a notebook and the gallery show
    assert re.search(r"DataFrame|table|columns|analyze|row\.", ast.unparse(last))


def cells(text: str) -> list[str]:
    """Return the parts of an example that begin with a line ``# %%``, without this line."""
    return re.split(r"^# %%\n", text, flags=re.MULTILINE)[1:]


def test_readme_links_exist():
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", README)
    assert "CHANGELOG.md" in links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_readme_commands_name_what_there_is():
    commands = re.findall(r"prunekit (?:run|validate) (\S+/\S+\.yaml)", README)
    assert "pipelines/digits.yaml" in commands
    assert [file for file in commands if not (ROOT / file).is_file()] == []
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for line in re.findall(r"pip install .*", README):
        for word in shlex.split(line.split("&&")[0]):
            if match := re.fullmatch(r"\.\[(.+)\]", word):
                assert set(match[1].split(",")) <= set(extras)
