"""
Long and rough: hundreds of fits in one process, fits in threads, processes that are ended, a full disk.

`python -m benchmarks.soak` writes `benchmarks/results/soak.json` and `soak.md`; the work is in `tests/soak.py`.
"""

import argparse
import json
import random
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.zoo import RESULTS, describe_part
from tests import soak

_PACKAGES = ("torch", "skorch", "scikit-learn", "safetensors")


def fits(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Fit often, and see what the process holds."""
    found = soak.run_fits(options.fits, folder)
    first, last = found[1], found[-1]
    return {
        "fits": len(found) * len(soak.KINDS),
        "kib_per_fit": soak.slope_kib(found),
        "first": asdict(first),
        "last": asdict(last),
        "resident_kib": [one.resident_kib for one in found],
    }


def threads(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Fit in four threads."""
    alike, of = soak.fit_in_threads(4, options.rounds)
    return {"fits": of, "alike": alike}


def saves(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """End processes while they save."""
    rng = random.Random(options.seed)
    counts = {"SIGKILL": options.kills, "SIGTERM": options.kills // 2, "SIGINT": options.kills // 2}
    found: dict[str, Any] = {
        name: soak.end_saving(folder / f"{name}.safetensors", count, signal.Signals[name], rng)
        for name, count in counts.items()
    }
    found["Ctrl-C in this process"] = soak.interrupt_saving(folder / "own.safetensors", 10 * options.kills, rng)
    return found


def checkpoints(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """End processes while they fit."""
    rng = random.Random(options.seed)
    found = {}
    for name in ("SIGKILL", "SIGTERM", "SIGINT"):
        ended, same = soak.end_fitting(folder / name, options.kills // 4, signal.Signals[name], rng)
        found[name] = {"ended": ended, "same": same}
    return found


def disk(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Save onto a small file system until it is full."""
    try:
        with soak.small_disk(folder / "disk", 256) as own:
            return dict(soak.fill_disk(own))
    except PermissionError as exc:
        return {"skipped": str(exc)}


PARTS: dict[str, Callable[[argparse.Namespace, Path], dict[str, Any]]] = {
    "fits": fits,
    "threads": threads,
    "saves": saves,
    "checkpoints": checkpoints,
    "disk": disk,
}


def rendered(found: dict[str, Any]) -> str:
    """Return the results in Markdown."""
    text = ["# Long and rough\n", "Written by `python -m benchmarks.soak`; machine and versions are in `soak.json`.\n"]
    if "fits" in found:
        own = found["fits"]
        names = [name for name in own["first"] if name != "resident_kib"]
        text += [
            f"## {own['fits']} fits in one process\n",
            f"Of seven kinds in turn: {', '.join(kind.__name__.strip('_').replace('_', ' ') for kind in soak.KINDS)}.",
            f"Resident memory grew by {own['kib_per_fit']:.1f} KiB a fit over the second half, from "
            f"{own['first']['resident_kib'] / 1024:.0f} MiB after two rounds to "
            f"{own['last']['resident_kib'] / 1024:.0f} MiB at the end.\n",
            "| held | after two rounds | at the end |",
            "| --- | --- | --- |",
            *(f"| {name.replace('_', ' ')} | {own['first'][name]} | {own['last'][name]} |" for name in names),
            "",
        ]
    if "threads" in found:
        own = found["threads"]
        text += [
            "## Fits in four threads at once\n",
            f"{own['alike']} of {own['fits']} gave the same weights as one after the other.\n",
        ]
    if "saves" in found:
        text += [
            "## Processes that end while they save\n",
            "| ended by | times | file whole | something left beside it |",
        ]
        text += ["| --- | --- | --- | --- |"]
        text += [f"| {how} | {own['ended']} | {own['whole']} | {own['left']} |" for how, own in found["saves"].items()]
        text += ["\nWhat a killed process leaves is removed by a save that comes an hour later.\n"]
    if "checkpoints" in found:
        text += [
            "## Processes that end while they fit\n",
            "| ended by | times | then the same result |",
            "| --- | --- | --- |",
        ]
        text += [
            f"| {how} | {own['ended']} | {'yes' if own['same'] else 'no'} |"
            for how, own in found["checkpoints"].items()
        ]
        text += [""]
    if "disk" in found:
        own = found["disk"]
        said = own.get("skipped") or ", ".join(f"{name}: {'yes' if value else 'no'}" for name, value in own.items())
        text += ["## A full disk\n", f"{said}.\n"]
    return "\n".join(text)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--fits", type=int, default=203)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--render", action="store_true", help="only write the text again")
    options = parser.parse_args()
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    target = RESULTS / "soak.json"
    kept = json.loads(target.read_text()) if target.exists() else {}
    for part in () if options.render else options.part:
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "temporary").mkdir()
            before, tempfile.tempdir = tempfile.tempdir, str(Path(name) / "temporary")
            try:
                kept.setdefault("results", {})[part] = PARTS[part](options, Path(name))
            finally:
                tempfile.tempdir = before
        print(f"{part}: {time.perf_counter() - start:.0f} s", flush=True)
        target.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
        describe_part(target, part, _PACKAGES)
        kept = json.loads(target.read_text())
    (RESULTS / "soak.md").write_text(rendered(kept["results"]), encoding="utf-8")


if __name__ == "__main__":
    main()
