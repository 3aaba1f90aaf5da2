"""The code on the page about exports runs as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "export.md"


@pytest.mark.slow
@pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not here")
def test_the_page_runs(tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "page.py").write_text("\n".join(blocks), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(PAGE.parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "error", "page.py"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert re.findall(r"^net\.\w+ \((\w+)", done.stdout, flags=re.MULTILINE) == ["onnx", "program", "onnx"]
