"""
Run prunekit and Torch-Pruning on the networks of torchvision, timm and transformers and write one table.

Each network runs in a process of its own, on one thread, with a time limit. Run it from the root of the repository::

    python -m benchmarks.zoo --library prunekit --list timm --only "res*"
"""

import argparse
import csv
import json
import logging
import os
import platform
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

from benchmarks import zoo_prunekit
from benchmarks.zoo_common import Row, quiet
from benchmarks.zoo_models import LISTS, Entry, entries

RESULTS = Path(__file__).parent / "results"
LIBRARIES = ("prunekit", "torch-pruning")
VERDICTS = ("right", "refused", "wrong", "shape", "error", "crash", "timeout")
PACKAGES = ("torch", "torchvision", "timm", "transformers", "torch-pruning", "numpy", "scipy")
COLUMNS = [field.name for field in fields(Row)]
_MARK = "ROW "


def main() -> None:
    """Run the command line."""
    options = _parser().parse_args()
    if options.one:
        listed, name = options.one
        run_here(listed, name, options.library[0])
        return
    RESULTS.mkdir(exist_ok=True)
    if not options.render:
        done = {(row["list"], row["network"], row["library"]) for row in _read()} if options.missing else set()
        chosen = [(entry, name) for entry in entries(tuple(options.list), options.only) for name in options.library]
        work = [(entry, name) for entry, name in chosen if (entry.list, entry.name, name) not in done]
        _describe_machine(options)
        with ThreadPoolExecutor(options.jobs) as pool:
            for row in pool.map(lambda job: run_apart(job[0], job[1], options.limit), work):
                _append(row)
                print(f"{row.library:14} {row.list}/{row.network}: {row.verdict} {row.message[:80]}", flush=True)
    (RESULTS / "zoo.md").write_text(rendered(_read()), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.zoo", description=__doc__.split("\n\n")[0])
    parser.add_argument("--list", nargs="+", choices=LISTS, default=list(LISTS), help="lists to run, by default all")
    parser.add_argument("--only", default="*", help="pattern of network names, as in file names")
    parser.add_argument("--library", nargs="+", choices=LIBRARIES, default=list(LIBRARIES), help="by default both")
    parser.add_argument("--limit", type=float, default=120.0, help="seconds for each network")
    parser.add_argument("--jobs", type=int, default=1, help="networks to run at the same time")
    parser.add_argument("--missing", action="store_true", help="go on: only what was not measured yet")
    parser.add_argument("--render", action="store_true", help="only write the table from what was measured")
    parser.add_argument("--one", nargs=2, metavar=("LIST", "NAME"), help="measure one network in this process")
    return parser


# -- one network ------------------------------------------------------------------------------------------------------


def run_here(listed: str, name: str, library: str) -> None:
    """Measure one network and print its row."""
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    entry = Entry(listed, name, LISTS[listed][name])
    with quiet():
        if library == "prunekit":
            row = zoo_prunekit.measure(entry, _report)
        else:
            from benchmarks import zoo_torch_pruning

            row = zoo_torch_pruning.measure(entry, _report)
    _report(row)


def _report(row: Row) -> None:
    print(_MARK + json.dumps(asdict(row)), flush=True)


def run_apart(entry: Entry, library: str, limit: float) -> Row:
    """Measure one network in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.zoo", "--one", entry.list, entry.name, "--library", library]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    process = subprocess.Popen(
        command,
        cwd=RESULTS.parent.parent,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    expired = False
    try:
        output, errors = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        process.kill()
        output, errors = process.communicate()
        expired = True
    found = [line.removeprefix(_MARK) for line in output.splitlines() if line.startswith(_MARK)]
    row = Row(**json.loads(found[-1])) if found else Row(entry.list, entry.name, library)
    if expired:
        row.verdict, row.message = "timeout", f"more than {limit:g} s"
    elif not row.verdict:
        row.verdict = "error" if library == "prunekit" else "crash"
        row.message = " ".join(errors.strip().splitlines()[-1:]) or f"exit code {process.returncode}"
    return row


# -- results ----------------------------------------------------------------------------------------------------------


def _describe_machine(options: argparse.Namespace) -> None:
    described = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "threads": 1,
        "jobs": options.jobs,
        "limit_s": options.limit,
        "versions": {name: version(name) for name in PACKAGES},
    }
    (RESULTS / "zoo.json").write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")


def describe_part(path: Path, part: str, packages: tuple[str, ...]) -> None:
    """Note in a JSON file on which machine, with which versions, and when a part was measured on one thread."""
    described = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    described[part] = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "threads": 1,
        "load": [round(value, 2) for value in os.getloadavg()],
        "versions": {name: version(name) for name in packages},
    }
    path.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


def _append(row: Row) -> None:
    path = RESULTS / "zoo.csv"
    new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        rounded = {key: f"{value:.4g}" if isinstance(value, float) else value for key, value in asdict(row).items()}
        writer.writerow(rounded | {"message": " ".join(row.message.split())[:500]})


def _read() -> list[dict[str, str]]:
    """Return the last row of every network and library."""
    path = RESULTS / "zoo.csv"
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        last = {(row["list"], row["network"], row["library"]): row for row in csv.DictReader(file)}
    return [last[key] for key in sorted(last)]


def rendered(rows: list[dict[str, str]]) -> str:
    """Return the rows as tables in Markdown, with totals."""
    parts = ["# Networks of torchvision, timm and transformers\n", _totals(rows)]
    for library in LIBRARIES:
        for listed in LISTS:
            chosen = [row for row in rows if row["library"] == library and row["list"] == listed]
            if chosen:
                parts.append(f"## {library}, {listed}\n\n" + _table(chosen))
    return "\n".join(parts)


def _totals(rows: list[dict[str, str]]) -> str:
    lines = [_line(["library", "list", "networks", *VERDICTS, "median s", "slowest s"])]
    lines.append(_line(["---"] * (5 + len(VERDICTS))))
    for library in LIBRARIES:
        for listed in (*LISTS, "all"):
            chosen = [row for row in rows if row["library"] == library and listed in (row["list"], "all")]
            if chosen:
                counts = Counter(row["verdict"] for row in chosen)
                seconds = sorted(float(row["seconds"]) for row in chosen if row["seconds"])
                times = [f"{seconds[len(seconds) // 2]:.2f}", f"{seconds[-1]:.1f}"] if seconds else ["", ""]
                lines.append(_line([library, listed, len(chosen), *(counts[name] for name in VERDICTS), *times]))
    return "\n".join(lines) + "\n"


def _table(rows: list[dict[str, str]]) -> str:
    names = ["network", "verdict", "n_units", "n_frozen", "n_filters", "seconds", "difference", "train_difference"]
    names += ["params_reduction", "macs_reduction"]
    lines = [_line([*names, "frozen by, or message"]), _line(["---"] * (len(names) + 1))]
    for row in rows:
        remark = " ".join((row["message"] or row["frozen_by"]).replace("|", "/").split())
        lines.append(_line([*(row[name] for name in names), remark if len(remark) <= 160 else remark[:157] + "..."]))
    return "\n".join(lines) + "\n"


def _line(cells: list[object]) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


if __name__ == "__main__":
    main()
