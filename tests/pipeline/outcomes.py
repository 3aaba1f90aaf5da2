"""What comes out of runs and has to be the same."""

import json
from pathlib import Path
from typing import Any


def metrics_without_times(folder: Path) -> dict[str, Any]:
    """Return what a run measured, but for latencies, which are never the same."""
    content: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    for name in ("dense", "pruned"):
        del content[name]["latency_ms"]
    return content
