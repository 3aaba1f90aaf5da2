"""
What was tried to break prunekit, and what came of it, as one page: `docs/reliability.md`.

`python -m benchmarks.reliability` assembles it from the files in `benchmarks/results`; `--run` first runs the tables of
bad input and of hostile files, and keeps their outcome in `reliability.json`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.zoo import RESULTS, describe_part

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "docs" / "reliability.md"
_PACKAGES = ("torch", "skorch", "scikit-learn", "safetensors", "hypothesis", "pytest")
_TESTS = ("tests/test_bad_input.py", "tests/test_hostile.py", "tests/test_soak.py", "tests/io", "tests/persistence")
_FAULTS = {
    "the disk is full": ("full disk",),
    "a folder or file may not be read or written": ("read-only", "without permission"),
    "a file is torn, empty or longer": ("torn", "is empty", "load nothing", "with more"),
    "a bit of a file has changed": ("changed bit",),
    "files have changed places, or are of another network": ("changed places", "another network", "for a checkpoint"),
    "the file is of a later version": ("later",),
    "a hook, a network or a data set raises": ("that raises", "raises in the end"),
    "a device is not there": ("CUDA", "device", "abacus"),
    "weights, losses, gradients or data are not finite": ("NaN", "infinity", "nan"),
}
"""Faults that the cases of bad input inject, and words in their names."""


def run() -> None:
    """Run the tests that are tables, and keep the outcomes."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junit-xml={report}", *_TESTS]
        subprocess.run(command, cwd=ROOT, check=False)
        suites = ElementTree.parse(report).getroot().iter("testcase")
        found: dict[str, Counter[str]] = {}
        for case in suites:
            kinds = {child.tag for child in case} & {"failure", "error", "skipped"}
            name = str(case.get("classname")).removeprefix("tests.").split(".")[0]
            found.setdefault(name, Counter())[kinds.pop() if kinds else "passed"] += 1
    target = RESULTS / "reliability.json"
    kept = json.loads(target.read_text()) if target.exists() else {}
    target.write_text(json.dumps({**kept, "tests": {name: dict(own) for name, own in found.items()}}, indent=1) + "\n")
    describe_part(target, "machine", _PACKAGES)


def _read(name: str) -> Any:
    path = RESULTS / name
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def _table_of_cases() -> list[str]:
    from tests.test_bad_input import CASES, WORKS

    builtins = Counter(case.builtin.__name__ for case in CASES)
    told = ", ".join(f"`{name}` {count}" for name, count in builtins.most_common())
    lines = [
        "## Bad input\n",
        f"{len(CASES)} cases of what users give by mistake. Each raises an error of the package that one of Python's",
        f"own catches as well ({told}),",
        "with a message that says what, where, what was got and what to do; networks,",
        "modes, hooks, gradients, random states, arrays and files are compared before and after. "
        f"{len(WORKS)} more look bad and give the right result.\n",
        "| fault | cases |",
        "| --- | --- |",
    ]
    for fault, words in _FAULTS.items():
        count = sum(any(word in case.name for word in words) for case in CASES)
        lines.append(f"| {fault} | {count} |")
    return [*lines, ""]


def _tests() -> list[str]:
    found = _read("reliability.json")
    if found is None:
        return []
    lines = ["## Tests\n", "| tests | passed | failed | skipped |", "| --- | --- | --- | --- |"]
    for name, own in found["tests"].items():
        failed = own.get("failure", 0) + own.get("error", 0)
        lines.append(f"| {name} | {own.get('passed', 0)} | {failed} | {own.get('skipped', 0)} |")
    return [*lines, ""]


def _included(name: str) -> list[str]:
    """Return a page of results, its headings one level lower."""
    path = RESULTS / name
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").strip().splitlines()
    return [*(f"#{line}" if line.startswith("#") else line for line in lines), ""]


def rendered() -> str:
    """Return the page."""
    head = [
        "# Reliability\n",
        "What was tried to break prunekit, and what came of it. Made by `python -m benchmarks.reliability` from the",
        "files in `benchmarks/results`, which name machines and versions; what is promised is in "
        "`SECURITY.md` of the repository.\n",
    ]
    parts = (
        _table_of_cases(),
        _included("fuzz.md"),
        _included("soak.md"),
        _kills(),
        _included("round_trips.md"),
        _tests(),
    )
    return "\n".join([*head, *(line for part in parts for line in part)]).rstrip() + "\n"


def _kills() -> list[str]:
    """Return what the benchmark of the loop says of its own kills."""
    path = RESULTS / "loop_kills.csv"
    if not path.exists():
        return []
    table = pd.read_csv(path)
    same = bool(table["equal_plan"].all() and table["equal_weights"].all())
    said = "ended at the same plan and the same weights" if same else "did not all end at the same plan and weights"
    return [f"Longer runs, of `python -m benchmarks.loop`, were killed {table['kills'].sum()} times and {said}.\n"]


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", action="store_true", help="run the tests first")
    options = parser.parse_args()
    if options.run:
        run()
    TARGET.write_text(rendered(), encoding="utf-8")


if __name__ == "__main__":
    main()
