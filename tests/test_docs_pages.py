"""The pages of the documentation: their Python runs, and what they name exists."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
MADE = {"_build", "auto_examples", "generated", "results"}
PAGES = sorted(
    page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md") if not MADE & set(page.relative_to(DOCS).parts)
)


def python_of(page: str) -> list[str]:
    """Return the blocks of a page that are marked as Python; sketches are marked as ``{code-block} python``."""
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


RUNNING = [page for page in PAGES if python_of(page)]


def test_most_of_the_guide_runs():
    assert {"guide/quick_start.md", "coming_from/matlab.md", "coming_from/torch_pruning.md"} <= set(RUNNING)
    assert len(RUNNING) >= 9


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNING)
def test_python_of_a_page_runs(page, tmp_path):
    script = tmp_path / f"{Path(page).stem}.py"
    script.write_text("\n".join(python_of(page)), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def test_every_page_is_listed():
    listed = {"index.md"}
    for page in PAGES:
        for block in re.findall(r"^```\{toctree\}\n(.*?)^```", (DOCS / page).read_text(), re.MULTILINE | re.DOTALL):
            for line in block.splitlines():
                if line and not line.startswith(":"):
                    listed.add(os.path.normpath(Path(page).parent / f"{line}.md"))
    assert [page for page in PAGES if page not in listed] == []


def test_pages_tell_of_nothing_outside_of_the_repository():
    for page in PAGES:
        assert not re.search(r"(?<!\w)/(?:work|tmp|home)/", (DOCS / page).read_text(encoding="utf-8")), page
