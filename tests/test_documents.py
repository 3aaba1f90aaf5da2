"""What the documents show runs as it stands there, in a new process and an empty folder."""

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
PYTHON_BLOCKS = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def run_python(script: Path, folder: Path) -> None:
    """Run a script in a folder; on failure, show what it printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "OMP_NUM_THREADS": "1"}
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


@pytest.mark.parametrize("example", sorted(path.name for path in (ROOT / "examples").glob("*.py")))
def test_example(example, tmp_path):
    run_python(ROOT / "examples" / example, tmp_path)


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
