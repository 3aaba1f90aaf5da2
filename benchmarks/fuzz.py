"""
Hostile files without end: mutate what prunekit writes, read it, and see that nothing happens but reading.

`python -m benchmarks.fuzz --minutes 10` runs in a process of its own whose memory is limited, goes on after each
violation, and writes counts to `benchmarks/results/fuzz.json` and `fuzz.md`; files that break a promise are kept in a
folder. `--corpus` writes the small files again that the tests replay. See `tests/hostile.py` for what is promised.
"""

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from benchmarks.zoo import RESULTS, describe_part
from tests import hostile

_PACKAGES = ("torch", "safetensors", "PyYAML", "pydantic", "scikit-learn", "skorch")
_MEMORY = 3 * 2**30
"""Address space that reading may take beyond what is taken when the process is warm."""


def crafted() -> dict[str, bytes]:
    """Return small files that are interesting, by target and name."""
    document, tensors = hostile.opened(hostile.seed("module"))
    net, net_tensors = hostile.opened(hostile.seed("net"))

    def archive(tensors: Any = tensors, **changes: Any) -> bytes:
        return hostile.signed({**document, **changes}, tensors)

    def probed(inputs: Any) -> bytes:
        probe = dict(document["parts"]["probe"]["dict"]) | {"inputs": hostile.encoded(inputs)}
        return archive(parts={"probe": {"dict": [[name, value] for name, value in probe.items()]}})

    def with_param(name: str, value: Any) -> bytes:
        changed = json.loads(json.dumps(net))
        params = _find(changed["parts"]["net"], "params")
        items = next(own for key, own in params["dict"] if key == "items")
        items.append({"tuple": [name, hostile.encoded(value)]})
        return hostile.signed(changed, net_tensors)

    planned = json.loads(hostile.seed("plan"))
    laughs = "a: &a [x, x, x]\n" + "".join(
        f"{c}: &{c} [*{b}, *{b}, *{b}]\n" for b, c in zip("abcdefgh", "bcdefghi", strict=True)
    )
    made_up = {"tensor": "float32", "shape": [2048, 2048]}
    return {
        "load/array_taken_often": archive(
            {**tensors, "prunekit/9": torch.zeros(1000, dtype=torch.uint8)},
            parts={"a": [{"array": "prunekit/9", "dtype": "|u1", "shape": [1000]}] * 50},
        ),
        "load/inputs_of_gigabytes": probed({"args": [made_up] * 50, "kwargs": {}}),
        "load/inputs_of_terabytes": probed({"args": [{"tensor": "float32", "shape": [2**20, 2**20]}], "kwargs": {}}),
        "load/inputs_negative": probed({"args": [made_up, {"tensor": "float32", "shape": [-1]}], "kwargs": {}}),
        "load/probe_is_a_number": archive(parts={"probe": 1}),
        "load/names_that_climb": archive({**tensors, "../../../tmp/hostile": torch.zeros(1)}),
        "load/protocol_to_come": archive(protocol=3),
        "load/nested": archive(parts={"a": hostile._deep(60, "dict"), "b": hostile._deep(120)}),
        "load/surrogate": archive(module="\ud800", parts={"\ud800": "\udfff"}),
        "load/attributes_that_grow": archive(
            plan={**document["plan"], "attributes": {"hidden": {"in_features": 10**12}}}
        ),
        "load/no_checksum": hostile.safetensors.torch.save(tensors, {"prunekit": json.dumps(document)}),
        "load/header_of_exabytes": _header(
            {"a": {"dtype": "F32", "shape": [2**40, 2**20], "data_offsets": [0, 2**62]}}
        ),
        "load/header_of_nothing": _header({"a": {"dtype": "F32", "shape": [2**62, 0], "data_offsets": [0, 0]}}),
        "load/header_is_long": (2**63).to_bytes(8, "little") + b"{}",
        "load_net/a_bomb": with_param("callbacks__own", hostile.made(f"{hostile.CANARY}.Bomb")),
        "load_net/a_function": with_param("criterion__own", hostile.named("os.system")),
        "load_net/a_policy": with_param("callbacks", [hostile.made(_SCHEDULER, policy="sys")]),
        "load_net/strings": with_param(
            "classes", {"kind": "array", "dtype": "U", "shape": [20_000], "items": ["a" * 900, *[""] * 19]}
        ),
        "load_net/compile": with_param("compile", True),
        "load_net/workers": with_param("iterator_train__num_workers", 10**6),
        "read_plan/future": archive(plan={**document["plan"], "protocol": 99}),
        "from_json/attributes_that_grow": json.dumps({**planned, "attributes": {"": {"training": 10**9}}}).encode(),
        "from_json/brackets": b"[" * 3000,
        "from_json/long_number": json.dumps(planned).replace("5", "5" * 5000, 1).encode(),
        "from_json/surrogate": json.dumps({**planned, "kept": {"\ud800": {"\ud800": {}}}}).encode(),
        "read_state/object_array": hostile.signed_state(
            {"array": "0", "dtype": "|O", "shape": [1]}, {"0": torch.zeros(8, dtype=torch.uint8)}
        ),
        "read_state/taken_often": hostile.signed_state(
            [{"array": "0", "dtype": "|u1", "shape": [1000]}] * 50, {"0": torch.zeros(1000, dtype=torch.uint8)}
        ),
        "read_state/brackets": hostile.signed_state(b"[" * 3000, {}),
        "read_state/numbers": hostile.signed_state(b"9" * 5000, {}),
        "load_experiment/laughs": laughs.encode(),
        "load_experiment/tag": b"name: !!python/object/apply:os.system ['true']\n",
        "load_experiment/hexadecimal": hostile.seed("yaml").replace(b"seed: 3", b"seed: 0x" + b"f" * 5000),
        "load_experiment/brackets": b"[" * 5000,
        "load_experiment/dashes": b"- " * 5000,
        "load_experiment/question_marks": b"? " * 3000,
        "load_experiment/merge": hostile.seed("yaml") + b"<<: *a\n",
        "load_experiment/zero_byte": b"name: a\0b\n",
        "load_experiment/unknown_keys": b"".join(b"k%d: 1\n" % number for number in range(600)),
    }


_SCHEDULER = "skorch.callbacks.lr_scheduler.LRScheduler"


def _find(tree: Any, key: str) -> Any:
    """Return the first value of a name in an encoded nest."""
    if isinstance(tree, dict):
        for name, own in tree.get("dict", []):
            if name == key:
                return own
            found = _find(own, key)
            if found is not None:
                return found
    return None


def _header(header: dict[str, Any]) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text


def write_corpus() -> None:
    """Write the corpus, and what each file gives."""
    for name, content in crafted().items():
        path = hostile.CORPUS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    outcomes = {}
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as hidden:
        hostile.hide_canary(Path(hidden))
        for path in sorted(hostile.CORPUS.rglob("*")):
            if path.is_file() and path.suffix != ".json":
                outcomes[str(path.relative_to(hostile.CORPUS))] = hostile.judge(
                    path.parent.name, path.read_bytes(), Path(folder)
                )
    text = json.dumps(outcomes, indent=1)
    (hostile.CORPUS / "outcomes.json").write_text(text + "\n", encoding="utf-8")


# ---------------------------------------------------------------- without end


def work(minutes: float, seed: int, found: Path, progress: Path) -> None:
    """Fuzz for a while; write counts again and again, and the present file before it is read."""
    torch.set_num_threads(1)
    rng = random.Random(seed)
    counts: dict[str, Counter[str]] = {target: Counter() for target in hostile.TARGETS}
    violations: dict[str, str] = {}
    slowest, sizes, written = 0.0, Counter[str](), 0.0
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as hidden:
        trace = hostile.hide_canary(Path(hidden))
        for name, target in hostile.TARGETS.items():
            for own in target.seeds:
                assert hostile.judge(name, hostile.seed(own), Path(folder)) == "right"
        before = _peak()
        resource.setrlimit(resource.RLIMIT_AS, (_address_space() + _MEMORY, resource.RLIM_INFINITY))
        begin = time.monotonic()
        while time.monotonic() < begin + 60 * minutes:
            name = rng.choice([*(one for one in hostile.TARGETS if one != "fit"), *["fit"] * (rng.random() < 0.1)])
            own = rng.choice(hostile.TARGETS[name].seeds)
            content = hostile.mutated(own, hostile.seed(own), rng)
            (progress / "present").write_bytes(name.encode() + b"\n" + content)
            start = time.perf_counter()
            try:
                outcome = hostile.judge(name, content, Path(folder))
            except hostile.ViolationError as exc:
                outcome = "violation"
                key = f"{name}: {str(exc)[:60]}"
                if key not in violations:
                    violations[key] = f"{name}-{len(violations)}"
                    (found / violations[key]).write_bytes(content)
            if trace.exists():
                raise SystemExit("a file was imported")
            counts[name][outcome] += 1
            sizes[name] += len(content)
            slowest = max(slowest, time.perf_counter() - start)
            if time.monotonic() > written + 5:
                written = time.monotonic()
                result = {
                    "minutes": (written - begin) / 60,
                    "cases": {target: dict(own) for target, own in counts.items()},
                    "bytes": dict(sizes),
                    "violations": violations,
                    "slowest_seconds": slowest,
                    "more_memory_mib": (_peak() - before) / 2**20,
                }
                (progress / "counts.json").write_text(json.dumps(result), encoding="utf-8")


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


def fuzz(minutes: float, seed: int, found: Path) -> None:
    """Run processes until the time is over; one that dies is a violation as well."""
    found.mkdir(parents=True, exist_ok=True)
    target = RESULTS / "fuzz.json"
    kept = json.loads(target.read_text()) if target.exists() else {}
    runs = kept.get("runs", [])
    left, deaths = minutes, 0
    while left > 0.05:
        with tempfile.TemporaryDirectory() as name:
            progress = Path(name)
            command = [sys.executable, "-m", "benchmarks.fuzz", "--work", name, "--minutes", str(left)]
            done = subprocess.run([*command, "--seed", str(seed + len(runs)), "--found", str(found)])
            counts = progress / "counts.json"
            result = json.loads(counts.read_text()) if counts.exists() else {"minutes": 0.0, "cases": {}}
            if done.returncode:
                deaths += 1
                (found / f"death-{seed}-{len(runs)}").write_bytes((progress / "present").read_bytes())
            runs.append({"seed": seed + len(runs), "exit": done.returncode, **result})
            left -= max(result["minutes"], 0.1)
    target.write_text(json.dumps({**kept, "runs": runs}, indent=1) + "\n", encoding="utf-8")
    describe_part(target, "machine", _PACKAGES)
    (RESULTS / "fuzz.md").write_text(rendered(json.loads(target.read_text())["runs"]), encoding="utf-8")


def rendered(runs: list[dict[str, Any]]) -> str:
    """Return the counts of all runs in Markdown."""
    total: dict[str, Counter[str]] = {}
    sizes = Counter[str]()
    for run in runs:
        sizes.update(run.get("bytes", {}))
        for target, own in run["cases"].items():
            total.setdefault(target, Counter()).update(own)
    bad = sum(own["violation"] for own in total.values()) + sum(bool(run["exit"]) for run in runs)
    cases = sum(sum(own.values()) for own in total.values())
    minutes = sum(run["minutes"] for run in runs)
    slowest, grown = (max(run.get(name, 0) for run in runs) for name in ("slowest_seconds", "more_memory_mib"))
    text = [
        "# Hostile files\n",
        "Written by `python -m benchmarks.fuzz`; machine and versions are in `fuzz.json`. Files that prunekit writes",
        "are changed byte by byte, in their header, in their document with the checksum made right again, or in their",
        "text, and read. A violation is anything but a result or an error of the package, an import, a file written,",
        "more than 10 s, or more memory than 128 MiB and 64 times the file. `fit` goes on from a checkpoint, where",
        "numbers that look right may make training fail with errors of torch.\n",
        f"{cases:,} files, {sum(sizes.values()) / 1e6:,.0f} MB, in {minutes:.0f} minutes: {bad} violations.",
        f"The slowest took {slowest:.1f} s; the process grew by {grown:.0f} MiB at most.\n",
        "| reads | files | MB | outcomes |",
        "| --- | --- | --- | --- |",
    ]
    for target, own in total.items():
        outcomes = ", ".join(f"{name} {count:,}" for name, count in own.most_common())
        text.append(f"| `{target}` | {sum(own.values()):,} | {sizes[target] / 1e6:,.1f} | {outcomes} |")
    return "\n".join(text) + "\n"


def main() -> None:
    """Fuzz, or write the corpus."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--found", type=Path, default=Path(tempfile.gettempdir()) / "prunekit_fuzz")
    parser.add_argument("--corpus", action="store_true", help="write the corpus of the tests again")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.corpus:
        write_corpus()
    elif options.work:
        work(options.minutes, options.seed, options.found, options.work)
    else:
        fuzz(options.minutes, options.seed, options.found)


if __name__ == "__main__":
    main()
