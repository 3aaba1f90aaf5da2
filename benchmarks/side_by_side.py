"""
One experiment in several ways: a pipeline file, Hydra with a script, Torch-Pruning's way; MATLAB's is not run.

Run ``python -m benchmarks.side_by_side``; see ``benchmarks/README.md``.
"""

import argparse
import ast
import importlib.util
import io
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
import tokenize
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from benchmarks.zoo import RESULTS, describe_part

ROOT = Path(__file__).parent.parent
SCRIPTS = Path(__file__).parent / "side_by_side"
TARGET = RESULTS / "side_by_side.json"
NETWORK = SCRIPTS / "network" / "convnet.py"
_PRUNEKIT = (sys.executable, "-c", "from prunekit.cli import app; app()")
"""The command, from this folder."""
_PACKAGES = ("torch", "torch-pruning", "scikit-learn", "skorch", "numpy", "hydra-core", "omegaconf")

PARTS = ("runs", "seeds", "mistakes")
SEEDS = (0, 1, 2, 3)

BEFORE, WHILE, AFTER, NEVER = "before training", "while training", "after training", "never"
"""When a mistake is noticed."""


# ---------------------------------------------------------------- the ways


@dataclass(frozen=True)
class Way:
    """
    A way to run the experiment.

    Parameters
    ----------
    title : str
        As the tables name it.
    files : dict of str to tuple of Path
        Kinds of lines and the files that hold them.
    editable : tuple of Path
        Files that a run takes from its own folder, where mistakes are made in them.
    commands : callable
        From the folder with these files, that of the output, and further arguments to the commands of a run.
    resume : callable
        Gives further arguments to go on after a kill, with the command that was killed; None if nothing of the kind is
        offered.
    seeded : callable
        From a seed to further arguments.
    check : callable or None
        From the folder with these files to a command that checks the settings without running anything.
    shorter : tuple of str
        Arguments for a training of three epochs, and one after each step: mistakes do not need more.
    """

    title: str
    files: dict[str, tuple[Path, ...]]
    editable: tuple[Path, ...]
    commands: Callable[[Path, Path, tuple[str, ...]], list[list[str]]]
    resume: Callable[[], tuple[str, ...] | None]
    seeded: Callable[[int], tuple[str, ...]]
    check: Callable[[Path], list[str]] | None = None
    shorter: tuple[str, ...] = ()


def _run_prunekit(folder: Path, out: Path, further: tuple[str, ...]) -> list[list[str]]:
    return [[*_PRUNEKIT, "run", str(folder / "digits.yaml"), "--out", str(out), *further]]


def _set(*assignments: str) -> tuple[str, ...]:
    return tuple(word for assignment in assignments for word in ("--set", assignment))


def _check_prunekit(folder: Path) -> list[str]:
    return [*_PRUNEKIT, "validate", str(folder / "digits.yaml")]


def _run_hydra(folder: Path, out: Path, further: tuple[str, ...]) -> list[list[str]]:
    return [[sys.executable, str(folder / "main.py"), f"hydra.run.dir={out}", *further]]


def _run_torch_pruning(folder: Path, out: Path, further: tuple[str, ...]) -> list[list[str]]:
    script = [sys.executable, str(folder / "prune_digits.py"), "--output", str(out), *further]
    return [[*script, "--mode", mode] for mode in ("train", "prune")]


def _prunekit_resume() -> tuple[str, ...] | None:
    """Tell whether this version can go on with a run."""
    command = [*_PRUNEKIT, "run", "--help"]
    text = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, text=True, check=True).stdout
    return ("--resume",) if "--resume" in text else None


_PIPELINE = ROOT / "pipelines" / "digits.yaml"
_SETTINGS, _MAIN = SCRIPTS / "hydra" / "conf" / "config.yaml", SCRIPTS / "hydra" / "main.py"
_SCRIPT = SCRIPTS / "torch_pruning" / "prune_digits.py"
WAYS = {
    "prunekit": Way(
        "prunekit",
        {"settings": (_PIPELINE,)},
        (_PIPELINE,),
        _run_prunekit,
        _prunekit_resume,
        lambda seed: ("--set", f"seed={seed}"),
        _check_prunekit,
        _set("net.max_epochs=3", "prune.finetune_epochs=1", "prune.final_epochs=1"),
    ),
    "hydra": Way(
        "Hydra and a script",
        {"settings": (_SETTINGS,), "code": (_MAIN,), "network": (NETWORK,)},
        (_SETTINGS, _MAIN),
        _run_hydra,
        lambda: ("resume=true",),
        lambda seed: (f"seed={seed}",),
        shorter=("train.max_epochs=3", "prune.finetune_epochs=1", "prune.final_epochs=1"),
    ),
    "torch-pruning": Way(
        "Torch-Pruning",
        {"code": (_SCRIPT,), "network": (NETWORK,)},
        (_SCRIPT,),
        _run_torch_pruning,
        lambda: (),  # the mode that was killed is run again
        lambda seed: ("--seed", str(seed)),
        shorter=("--total-epochs", "3", "--finetune-epochs", "1", "--final-epochs", "1"),
    ),
}
"""Those that can be run here."""

MATLAB = {"code": (SCRIPTS / "matlab" / "prune_digits.m",)}


def _environment(hydra: Path | None = None) -> dict[str, str]:
    known = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    folders = [ROOT, NETWORK.parent, *([hydra] if hydra else []), *map(os.path.abspath, known)]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, folders)),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "400",
        "HYDRA_FULL_ERROR": "0",
    }


# ---------------------------------------------------------------- lines of code


def count_lines(path: Path) -> int:
    """Count the lines that hold something other than blanks, comments and docstrings."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return len(_python_lines(text))
    mark = {".yaml": "#", ".m": "%"}[path.suffix]
    return sum(bool(line.strip()) and not line.strip().startswith(mark) for line in text.splitlines())


def _python_lines(text: str) -> set[int]:
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    lines = {row for token in tokens if token.type not in skipped for row in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(ast.parse(text)):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            lines -= set(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return lines


def count_all(files: dict[str, tuple[Path, ...]]) -> dict[str, int]:
    """Count the lines of each kind."""
    return {kind: sum(map(count_lines, paths)) for kind, paths in files.items()}


# ---------------------------------------------------------------- runs


@dataclass
class Outcome:
    """
    What came of a run.

    Parameters
    ----------
    code : int
        Exit code.
    seconds : float
        Processor time of all its commands together.
    output : str
        What it printed and logged.
    """

    code: int
    seconds: float
    output: str


def copied(way: Way, folder: Path) -> Path:
    """Copy the files of a way to where mistakes can be made in them."""
    base = min((path.parent for path in way.editable), key=lambda parent: len(parent.parts))
    for path in way.editable:
        target = folder / path.relative_to(base)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(path.read_text(encoding="utf-8"), encoding="utf-8")
    return folder


def run(
    way: Way, folder: Path, out: Path, further: tuple[str, ...] = (), *, hydra: Path | None, limit_s: float = 300.0
) -> Outcome:
    """Run all commands of a way, up to the first that fails."""
    start, printed, code = _cpu_seconds(), "", 0
    for command in way.commands(folder, out, further):
        code, said = _run_one(command, folder, hydra, limit_s)
        printed += said
        if code:
            break
    return Outcome(code, _cpu_seconds() - start, printed)


def _cpu_seconds() -> float:
    """Return the time that finished processes spent computing, which a busy machine stretches least."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _run_one(command: list[str], folder: Path, hydra: Path | None, limit_s: float) -> tuple[int, str]:
    """Run a command; one that takes longer than the limit is killed."""
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=_environment(hydra), stdout=log, stderr=subprocess.STDOUT, text=True
        )
        try:
            code = process.wait(limit_s)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        log.seek(0)
        return code, log.read()


def weights_of(out: Path) -> dict[str, torch.Tensor]:
    """Read the weights of both networks that a run wrote."""
    found: dict[str, torch.Tensor] = {}
    for name in ("dense", "pruned"):
        path = next(path for path in sorted(out.glob(f"{name}.*")) if path.suffix in {".safetensors", ".pt", ".pth"})
        if path.suffix == ".safetensors":
            tensors = safetensors.torch.load_file(path)
        elif path.suffix == ".pt":
            tensors = torch.load(path)["state"]
        else:
            tensors = torch.load(path, weights_only=False).state_dict()
        found.update({f"{name}.{key}": tensor for key, tensor in tensors.items()})
    return found


def equal_weights(first: Path, second: Path) -> bool:
    """Compare two runs bit by bit."""
    one, other = weights_of(first), weights_of(second)
    return one.keys() == other.keys() and all(torch.equal(tensor, other[key]) for key, tensor in one.items())


def metrics_of(out: Path) -> dict[str, Any]:
    """Read what a run measured; times aside, which are never the same."""
    content = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    return {name: content[name] for name in ("dense", "pruned")}


def _without_times(metrics: dict[str, Any]) -> dict[str, Any]:
    return {name: {key: value for key, value in own.items() if key != "latency_ms"} for name, own in metrics.items()}


def measure_runs(way: Way, folder: Path, hydra: Path | None) -> dict[str, Any]:
    """Run a way twice, then kill and resume it."""
    files = copied(way, folder / "files")
    outs = [folder / f"run{number}" for number in (1, 2)]
    start = time.perf_counter()
    outcomes = [run(way, files, out, hydra=hydra) for out in outs]
    seconds = (time.perf_counter() - start) / 2
    for outcome in outcomes:
        if outcome.code:
            raise RuntimeError(f"{way.title} failed:\n{outcome.output}")
    metrics = [metrics_of(out) for out in outs]
    return {
        "cpu_seconds": min(outcome.seconds for outcome in outcomes),
        "metrics": metrics[0],
        "equal_weights": equal_weights(*outs),
        "equal_metrics": _without_times(metrics[0]) == _without_times(metrics[1]),
        "files": sorted(path.relative_to(outs[0]).as_posix() for path in outs[0].rglob("*") if path.is_file()),
        "kills": [
            measure_kill(way, files, outs[0], folder / f"killed{part:g}", part * seconds, hydra)
            for part in ((0.5, 0.7, 0.9) if way.resume() is not None else ())
        ],
    }


def measure_seeds(way: Way, folder: Path, hydra: Path | None) -> dict[str, Any]:
    """Run a way with several seeds, which divide the data as well; return what it measured with each."""
    files = copied(way, folder / "files")
    found = {}
    for seed in SEEDS:
        out = folder / f"seed{seed}"
        outcome = run(way, files, out, way.seeded(seed), hydra=hydra)
        if outcome.code:
            raise RuntimeError(f"{way.title} failed:\n{outcome.output}")
        found[str(seed)] = metrics_of(out)
    return found


def measure_kill(way: Way, files: Path, whole: Path, out: Path, after_s: float, hydra: Path | None) -> dict[str, Any]:
    """Kill a run after some seconds, resume it and compare what comes out with an unbroken run."""
    start = time.perf_counter()
    further, finished = way.resume() or (), 0
    for command in way.commands(files, out, ()):
        if _run_one(command, files, hydra, max(0.1, after_s - (time.perf_counter() - start)))[0]:
            break
        finished += 1
    killed_s = time.perf_counter() - start
    start, code, said = time.perf_counter(), 0, ""
    for command in way.commands(files, out, further)[finished:]:
        code, said = _run_one(command, files, hydra, 300.0)
        if code:
            break
    return {
        "killed_s": killed_s,
        "resumed_s": time.perf_counter() - start,
        "code": code,
        "equal_weights": not code and equal_weights(whole, out),
        "last_line": last_line(said) if code else "",
    }


# ---------------------------------------------------------------- mistakes


@dataclass(frozen=True)
class Edit:
    """
    A mistake in one way.

    Parameters
    ----------
    old, new : str
        Text of the file that is replaced; nothing if empty.
    further : tuple of str
        Arguments of the command line.
    file : str
        Name of the file.
    """

    old: str = ""
    new: str = ""
    further: tuple[str, ...] = ()
    file: str = ""


@dataclass(frozen=True)
class Mistake:
    """
    The same mistake in all ways.

    Parameters
    ----------
    title : str
        What was done.
    edits : dict of str to Edit
        By the name of the way; one that is not there has no place for the mistake.
    prepare : callable
        Is given the folder of the output before the run.
    """

    title: str
    edits: dict[str, Edit]
    prepare: Callable[[Path], None] = field(default=lambda out: None)


def _settings(old: str, new: str, hydra_old: str = "", hydra_new: str = "") -> dict[str, Edit]:
    """Return the edits of the two YAML files."""
    return {
        "prunekit": Edit(old, new, file="digits.yaml"),
        "hydra": Edit(hydra_old or old, hydra_new or new, file="conf/config.yaml"),
    }


def _script(old: str, new: str) -> dict[str, Edit]:
    return {"torch-pruning": Edit(old, new, file="prune_digits.py")}


def _arguments(*further: str) -> dict[str, Edit]:
    return {"torch-pruning": Edit(further=further)}


def _occupy(out: Path) -> None:
    out.mkdir()
    (out / "thesis.txt").write_text("mine\n")
    (out / "metrics.json").write_text("{}\n")


_LR = "  lr: 0.01\n"
_DROP = "max_score_drop: 0.01"
_NET = "_target_: convnet.ConvNet\n  widths: [32, 32, 64, 64, 128, 128]"

MISTAKES = (
    Mistake(
        "a key is misspelt: `target_reductoin`",
        _settings("target_reduction:", "target_reductoin:") | _arguments("--target-reductoin", "0.9"),
    ),
    Mistake(
        "an option of the optimizer is misspelt: `momentun`",
        _settings("momentum: 0.9", "momentun: 0.9") | _script("momentum=0.9", "momentun=0.9"),
    ),
    Mistake(
        "the optimizer is misspelt: `SDG`",
        _settings("name: SGD", "name: SDG", "optim.SGD", "optim.SDG") | _script("optim.SGD", "optim.SDG"),
    ),
    Mistake("the wrong type: `lr: fast`", _settings(_LR, "  lr: fast\n") | _arguments("--lr", "fast")),
    Mistake("a negative learning rate", _settings(_LR, "  lr: -0.01\n") | _arguments("--lr", "-0.01")),
    Mistake("a learning rate that diverges: 1000", _settings(_LR, "  lr: 1000\n") | _arguments("--lr", "1000")),
    Mistake(
        "the same key twice, with two values",
        _settings(_LR, f"{_LR}  lr: 0.1\n") | _arguments("--lr", "0.01", "--lr", "0.1"),
    ),
    Mistake(
        "a target out of reach: 0.9999 of the parameters",
        _settings("target_reduction: 0.9 ", "target_reduction: 0.9999 ", "reduction: 0.9\n", "reduction: 0.9999\n")
        | _arguments("--target-reduction", "0.9999"),
    ),
    Mistake(
        "the target in percent: 90",
        _settings("target_reduction: 0.9 ", "target_reduction: 90 ", "reduction: 0.9\n", "reduction: 90\n")
        | _arguments("--target-reduction", "90"),
    ),
    Mistake(
        "the permitted loss of accuracy as text: `1%`",
        _settings(_DROP, "max_score_drop: 1%") | _arguments("--max-score-drop", "1%"),
    ),
    Mistake(
        "the permitted loss of accuracy in points: 1 instead of 0.01",
        _settings(_DROP, "max_score_drop: 1") | _arguments("--max-score-drop", "1"),
    ),
    Mistake(
        "the schedule is misspelt: `cubik`",
        _settings("step: cubic", "step: cubik") | _script("** 3)", "** cubik)"),
    ),
    Mistake(
        "the data file is not there",
        _settings("source: digits ", "source: {name: npz, path: missing.npz} ", "path: null", "path: missing.npz")
        | _arguments("--data", "missing.npz"),
    ),
    Mistake(
        "a layer that is to be left alone is misspelt: `linaer`",
        _settings("  finetune_epochs", "  exclude: [linaer]\n  finetune_epochs", "exclude: []", "exclude: [linaer]")
        | _script("[model.linear]", "[model.linaer]"),
    ),
    Mistake(
        "the output folder holds somebody's files",
        _settings("", "") | _arguments(),
        _occupy,
    ),
    Mistake(
        "a YAML tag that runs a command",
        _settings(_LR, '  lr: !!python/object/apply:os.system ["touch ran"]\n'),
    ),
    Mistake(
        "a name that runs a command: `os.system`",
        _settings(
            "name: ConvNet, widths: [32, 64, 128], depth: 2",
            "name: os.system, command: touch ran",
            _NET,
            "_target_: os.system\n  command: touch ran",
        ),
    ),
    Mistake(
        "a name that writes a file: `numpy.savetxt`",
        _settings(
            "name: ConvNet, widths: [32, 64, 128], depth: 2",
            "name: numpy.savetxt, fname: ran, X: [1]",
            _NET,
            "_target_: numpy.savetxt\n  fname: ran\n  X: [1]",
        ),
    ),
)
"""What people get wrong."""


@dataclass
class Noticed:
    """
    What became of a mistake in one way.

    Parameters
    ----------
    when : str
        One of the four.
    seconds : float
        Processor time until it was told, or until the run ended.
    message : str
        Last line of what was told.
    ran : bool
        Whether a file was made by what the settings named.
    checked : bool or None
        Whether it is noticed without a run; None where nothing of the kind is offered.
    """

    when: str
    seconds: float
    message: str
    ran: bool = False
    checked: bool | None = None


_TRAINING = re.compile(r"epoch \d|in epoch \d")
_TRAINED = re.compile(r"epoch 3(/| of )3|^train ", re.MULTILINE)


def when_noticed(outcome: Outcome) -> str:
    """Tell when a run ended, by what it printed."""
    if outcome.code == 0:
        return NEVER
    if _TRAINED.search(outcome.output):
        return AFTER
    return WHILE if _TRAINING.search(outcome.output) else BEFORE


_TRAILERS = ("Set the environment variable HYDRA_FULL_ERROR", "full_key", "object_type", "reference_type")
"""What Hydra writes below its messages."""


def last_line(output: str) -> str:
    """Return the last line that says something."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(_TRAILERS)]
    return told[-1] if told else ""


def measure_mistake(mistake: Mistake, name: str, way: Way, folder: Path, hydra: Path | None) -> Noticed:
    """Make a mistake and see what happens."""
    files = copied(way, folder / "files")
    edit = mistake.edits[name]
    if edit.file:
        path = files / edit.file
        text = path.read_text(encoding="utf-8")
        if edit.old not in text:
            raise ValueError(f"{path.name} does not hold {edit.old!r}")
        path.write_text(text.replace(edit.old, edit.new, 1), encoding="utf-8")
    out = folder / "out"
    mistake.prepare(out)
    checked = None if way.check is None else bool(_run_one(way.check(files), files, hydra, 120.0)[0])
    outcome = run(way, files, out, (*way.shorter, *edit.further), hydra=hydra)
    message = last_line(outcome.output) if outcome.code else ""
    shown = message.replace(f"{files}{os.sep}", "").replace(f"{folder}{os.sep}", "")
    return Noticed(when_noticed(outcome), outcome.seconds, shown, (files / "ran").exists(), checked)


# ---------------------------------------------------------------- tables


def rendered(found: dict[str, Any]) -> dict[str, str]:
    """Return the tables in Markdown, by name."""
    titles = {name: own["title"] for name, own in found["ways"].items()}
    return {
        "lines": _lines_table(found),
        "results": _results_table(found, titles),
        "seeds": _seeds_table(found, titles),
        "runs": _runs_table(found, titles),
        "mistakes": _mistakes_table(found, titles),
        "counts": _counts_table(found, titles),
        "messages": _messages_table(found, titles),
    }


def _lines_table(found: dict[str, Any]) -> str:
    rows = [["", "settings", "code", "network", "all"]]
    for own in [*found["ways"].values(), found["matlab"]]:
        lines = own["lines"]
        cells = [str(lines.get(kind, "")) for kind in ("settings", "code", "network")]
        rows.append([own["title"], *cells, str(sum(lines.values()))])
    return _table(rows)


def _results_table(found: dict[str, Any], titles: dict[str, str]) -> str:
    rows = [["", "test accuracy", "parameters", "multiply-adds", "bytes of the file"]]
    for name, title in titles.items():
        own = found["ways"][name]
        dense, pruned = own["metrics"]["dense"], own["metrics"]["pruned"]
        cells = [
            f"{100 * dense['test_accuracy']:.2f} → {100 * pruned['test_accuracy']:.2f} %",
            *(f"{dense[key]:,} → {pruned[key]:,}" for key in ("params", "macs", "file_bytes")),
        ]
        rows.append([title, *cells])
    return _table(rows)


def _seeds_table(found: dict[str, Any], titles: dict[str, str]) -> str:
    rows = [["seed", *titles.values()]]
    for seed in map(str, SEEDS):
        cells = []
        for name in titles:
            own = found["ways"][name]["seeds"][seed]
            dense, pruned = own["dense"], own["pruned"]
            removed = 1 - pruned["params"] / dense["params"]
            accuracies = f"{100 * dense['test_accuracy']:.2f} → {100 * pruned['test_accuracy']:.2f} %"
            cells.append(f"{accuracies}, {100 * removed:.0f} % removed")
        rows.append([seed, *cells])
    return _table(rows)


def _runs_table(found: dict[str, Any], titles: dict[str, str]) -> str:
    rows = [["", "same seed, same weights", "same metrics", "killed and resumed"]]
    for name, title in titles.items():
        own = found["ways"][name]
        kills = own["kills"]
        equal = sum(kill["equal_weights"] for kill in kills)
        resumed = f"same weights {equal} of {len(kills)} times" if kills else "not offered"
        rows.append([title, _yes(own["equal_weights"]), _yes(own["equal_metrics"]), resumed])
    return _table(rows)


def _mistakes_table(found: dict[str, Any], titles: dict[str, str]) -> str:
    rows = [["mistake", *titles.values()]]
    for title, own in found["mistakes"].items():
        rows.append([title, *(_noticed(own.get(name)) for name in titles)])
    return _table(rows)


def _noticed(own: dict[str, Any] | None) -> str:
    if own is None:
        return "no such place"
    when = own["when"] if own["when"] == NEVER else f"{own['when']}, {own['seconds']:.1f} s"
    return f"{when}; **it ran**" if own["ran"] else when


def _counts_table(found: dict[str, Any], titles: dict[str, str]) -> str:
    rows = [["noticed", *titles.values()]]
    for when in (BEFORE, WHILE, AFTER, NEVER):
        own = [sum(one.get(name, {}).get("when") == when for one in found["mistakes"].values()) for name in titles]
        rows.append([when, *map(str, own)])
    checked = [[one.get(name, {}).get("checked") for one in found["mistakes"].values()] for name in titles]
    rows.append(
        ["by a check without a run", *(str(own.count(True)) if any(own) else "no such check" for own in checked)]
    )
    rows.append(
        ["no such place", *(str(sum(name not in one for one in found["mistakes"].values())) for name in titles)]
    )
    return _table(rows)


def _messages_table(found: dict[str, Any], titles: dict[str, str]) -> str:
    rows = [["mistake", "way", "last line of what was told"]]
    for title, own in found["mistakes"].items():
        for name, noticed in own.items():
            if noticed["message"]:
                rows.append([title, titles[name], f"`{noticed['message'].replace('|', '/').replace('`', chr(39))}`"])
    return _table(rows)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _table(rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], ["---"] * len(rows[0]), *rows[1:]])


def page(found: dict[str, Any]) -> str:
    """Return the page of results."""
    tables = rendered(found)
    return (
        "\n\n".join(
            [
                "# Side by side",
                "Written by `python -m benchmarks.side_by_side`; `side_by_side.json` has the machine and the versions. "
                "What it means: `docs/coming_from/side_by_side.md`.",
                "## Lines",
                "Lines with something other than blanks, comments and docstrings.",
                tables["lines"],
                "## Results",
                tables["results"],
                "With other seeds, by which the data are divided, too:",
                tables["seeds"],
                "## Again",
                tables["runs"],
                "## Mistakes",
                tables["counts"],
                tables["mistakes"],
                "## Messages",
                tables["messages"],
            ]
        )
        + "\n"
    )


# ---------------------------------------------------------------- command line


def measure(hydra: Path | None, parts: list[str], names: list[str]) -> None:
    """Measure what is asked for, and keep the rest as it was; what is done is written at once."""
    found: dict[str, Any] = json.loads(TARGET.read_text(encoding="utf-8")) if TARGET.exists() else {}
    found["matlab"] = {"title": "MATLAB, not run", "lines": count_all(MATLAB)}
    known = found.setdefault("mistakes", {})
    found["mistakes"] = {mistake.title: known.get(mistake.title, {}) for mistake in MISTAKES}
    for name in names:
        way = WAYS[name]
        own = found.setdefault("ways", {}).setdefault(name, {})
        own |= {"title": way.title, "lines": count_all(way.files)}
        if "runs" in parts:
            with tempfile.TemporaryDirectory() as folder:
                own |= measure_runs(way, Path(folder), hydra)
            print(
                name, {key: own[key] for key in ("cpu_seconds", "equal_weights", "equal_metrics", "kills")}, flush=True
            )
            _write(found)
        if "seeds" in parts:
            with tempfile.TemporaryDirectory() as folder:
                own["seeds"] = measure_seeds(way, Path(folder), hydra)
            print(name, own["seeds"], flush=True)
            _write(found)
        for mistake in MISTAKES if "mistakes" in parts else ():
            if name not in mistake.edits:
                continue
            with tempfile.TemporaryDirectory() as folder:
                noticed = asdict(measure_mistake(mistake, name, way, Path(folder), hydra))
            print(mistake.title, name, noticed, flush=True)
            found["mistakes"][mistake.title][name] = noticed
            _write(found)


def _write(found: dict[str, Any]) -> None:
    TARGET.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    """Measure, and write tables and pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hydra", type=Path, help="folder that hydra-core and omegaconf were installed to")
    parser.add_argument("--way", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--render", action="store_true", help="only write the tables again")
    options = parser.parse_args()
    sys.path.append(str(NETWORK.parent))  # whole objects are loaded by their class
    if options.hydra is not None:
        sys.path.append(str(options.hydra))  # for the versions
    if not options.render:
        if options.hydra is None and importlib.util.find_spec("hydra") is None:
            sys.exit("Hydra is not installed. Try: pip install --target DIR hydra-core, and give --hydra DIR.")
        measure(options.hydra and options.hydra.resolve(), options.part, options.way)
        describe_part(TARGET, "machine", _PACKAGES)
    found = json.loads(TARGET.read_text(encoding="utf-8"))
    (RESULTS / "side_by_side.md").write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    main()
