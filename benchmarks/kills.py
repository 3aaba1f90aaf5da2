"""
Runs of pipeline files that are killed at random moments and resumed, against runs that are not.

`python -m benchmarks.kills` writes `benchmarks/results/kills.json` and `kills.md`.
"""

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.zoo import RESULTS, describe_part
from tests.pipeline.outcomes import metrics_without_times

FILES = ("digits", "grid", "steps")
_PIPELINES = Path(__file__).parents[1] / "pipelines"
_HEAD = """# Killed runs

Written by `python -m benchmarks.kills`: runs of pipeline files that were ended by SIGKILL at random moments and then
resumed, against one that was not. Metrics, times aside, layer tables and both networks are compared.

"""
_SAME = ("dense.safetensors", "pruned.safetensors", "layers.csv")
_PACKAGES = ("torch", "skorch", "scikit-learn", "safetensors")


def command(file: str, folder: Path) -> list[str]:
    """Return the command that runs or resumes a file."""
    run = [sys.executable, "-m", "prunekit", "run", str(_PIPELINES / f"{file}.yaml")]
    return [*run, "--quiet", "--resume", "--out", str(folder)]


def kill_once(file: str, folder: Path, after: float) -> str:
    """Kill a run after so many seconds, and return what it was doing, by the files that it had written."""
    process = subprocess.Popen(command(file, folder), stderr=subprocess.DEVNULL)
    try:
        process.wait(timeout=after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
    if folder.exists():
        return "over"
    work = folder.parent / f".{folder.name}.unfinished"
    states = sorted({path.stem for path in work.glob("state/fits/*/*.safetensors")})
    return ", ".join(states) or "nothing kept yet"


def kill_and_resume(file: str, kills: int, rng: random.Random, folder: Path) -> dict[str, Any]:
    """Kill runs of a file, one at each of some random moments, and resume each until it is over."""
    whole = folder / "whole"
    start = time.perf_counter()
    subprocess.run(command(file, whole), check=True)
    seconds = time.perf_counter() - start
    expected = metrics_without_times(whole)
    moments = []
    for index in range(kills):
        killed = folder / f"killed-{index}"
        after = rng.uniform(0, seconds)
        found = kill_once(file, killed, after)
        start = time.perf_counter()
        subprocess.run(command(file, killed), check=True)
        alike = metrics_without_times(killed) == expected and all(
            (killed / name).read_bytes() == (whole / name).read_bytes() for name in _SAME
        )
        resumed = time.perf_counter() - start
        moments.append({"after": after, "kept": found, "resumed_seconds": resumed, "alike": alike})
        print(f"{file}: killed after {after:.1f} of {seconds:.1f} s ({found}), alike: {alike}")
    return {"seconds": seconds, "moments": moments}


def table(results: dict[str, Any]) -> str:
    """Return the results as Markdown."""
    lines = ["| file | whole run | kills | same metrics and files |", "|---|---|---|---|"]
    for file, found in results.items():
        alike = sum(moment["alike"] for moment in found["moments"])
        count = len(found["moments"])
        lines.append(f"| `pipelines/{file}.yaml` | {found['seconds']:.0f} s | {count} | {alike} of {count} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the files and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("files", nargs="*", default=FILES)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    results = {}
    for file in options.files:
        with tempfile.TemporaryDirectory() as folder:
            results[file] = kill_and_resume(file, options.kills, rng, Path(folder))
    path = RESULTS / "kills.json"
    path.write_text(json.dumps({"files": results}, indent=2) + "\n")
    describe_part(path, "machine", _PACKAGES)
    (RESULTS / "kills.md").write_text(_HEAD + table(results))


if __name__ == "__main__":
    main()
