"""
Files of somebody who means harm: how they are made out of files that are right, read, and judged.

The property: whatever is in a file, reading it gives an error of the package or a result, within seconds and within
memory in proportion to the file; nothing is imported, nothing is run, and nothing is written.
"""

import contextlib
import copy
import functools
import json
import random
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import Callback

from prunekit import PrunableNetwork, load, load_net, load_pruner, save, untrusted_names
from prunekit.exceptions import PrunekitError
from prunekit.io import read_plan, read_state, write_state
from prunekit.io._state import StateWriter, checksum
from prunekit.pipeline import load_experiment
from prunekit.surgery import PruningPlan
from tests.nets_skorch import Perceptron, make_classifier, make_table, quick

CORPUS = Path(__file__).parent / "corpus"
CANARY = "hostile_canary"
"""A module that writes a file when it is imported; `hidden_canary` puts it where imports would find it."""

SECONDS = 10.0
"""Longest that a file may take; the largest take a tenth of it on a slow machine."""

_HIDDEN = 5
_WEIGHTS = "prunekit"


# ---------------------------------------------------------------- files that are right


@functools.cache
def _pruner() -> Any:
    X, y = make_table(60)
    torch.manual_seed(0)
    net = make_classifier(module__num_hidden=_HIDDEN, max_epochs=1, batch_size=30).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return quick(FrozenEstimator(net), step=1.0, target_reduction=0.4).fit(X, y)


@functools.cache
def seed(name: str) -> bytes:
    """
    Return a file that is right.

    Parameters
    ----------
    name : str
        Of `SEEDS`.

    Returns
    -------
    bytes
        Its content.
    """
    return SEEDS[name]()


class _StopError(Exception):
    """Ends a fit in its midst."""


class _Fuse(Callback):
    """Burns out after some mini-batches, if it is lit."""

    left: int | None = None

    def on_batch_end(self, net: Any, batch: Any = None, training: bool = False, **kwargs: Any) -> None:
        if training and _Fuse.left is not None:
            _Fuse.left -= 1
            if _Fuse.left < 0:
                raise _StopError


def _make_run(folder: Path) -> Any:
    torch.manual_seed(0)
    net = make_classifier(
        module__num_hidden=_HIDDEN, max_epochs=1, batch_size=30, optimizer__momentum=0.9, callbacks=[_Fuse()]
    ).initialize()
    return quick(FrozenEstimator(net), step=0.2, target_reduction=0.5, checkpoint=folder, recovery_rounds=1)


@functools.cache
def _run_files() -> dict[str, bytes]:
    """Return the files of a fit that was left after its first iteration."""
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _Fuse.left = 3
        with contextlib.suppress(_StopError):
            _make_run(Path(name)).fit(*make_table(60))
        _Fuse.left = None
        return {str(path.relative_to(name)): path.read_bytes() for path in Path(name).rglob("*.safetensors")}


def _run() -> bytes:
    return next(content for name, content in _run_files().items() if name.endswith("loop.safetensors"))


def _bytes_of(write: Callable[[Path], Any]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        write(path)
        return path.read_bytes()


def _module() -> bytes:
    torch.manual_seed(0)
    network = PrunableNetwork(make_dense(), torch.zeros(2, 20), criterion="random")
    network.update_prunables(2)
    return _bytes_of(lambda path: save(network, path))


def _state() -> bytes:
    state = {
        "version": 1,
        "of": "0123456789abcdef/loop",
        "state": {
            "rows": [{"iteration": 1, "score": 0.5}, (1, 2.5, None, True)],
            "removed": np.array([True, False]),
            "number": np.float64(2.5),
            "weights": torch.arange(12.0).reshape(3, 4).t(),
            "complex": torch.ones(2, dtype=torch.complex64),
            3: float("nan"),
        },
    }
    return _bytes_of(lambda path: write_state(path, state))


_EXPERIMENT = """\
name: tiny-${lr}
seed: 3
vars: {lr: 1e-3, widths: [8, 16]}
data:
  source: digits
  test_size: 0.5
net:
  module: {name: ConvNet, widths: "${widths}"}
  optimizer: AdamW
  lr: ${lr}
  max_epochs: 2
  callbacks: [EarlyStopping]
search: {name: GridSearchCV, param_grid: {target_reduction: [0.3, 0.6]}}
prune:
  target_reduction: 0.6
outputs:
  latency_batch_sizes: [1, 32]
"""

SEEDS: dict[str, Callable[[], bytes]] = {
    "module": _module,
    "net": lambda: _bytes_of(lambda path: save(_pruner().estimator_, path, optimizer=True)),
    "pruner": lambda: _bytes_of(lambda path: save(_pruner(), path)),
    "state": _state,
    "plan": lambda: read_plan_of(seed("module")).to_json().encode(),
    "yaml": _EXPERIMENT.encode,
    "run": _run,
}


def read_plan_of(content: bytes) -> PruningPlan:
    """Return the plan in a file."""
    document, _ = opened(content)
    return PruningPlan.from_document(document["plan"])


def make_dense() -> Perceptron:
    """Return the dense network of all files here."""
    return Perceptron(_HIDDEN)


# ---------------------------------------------------------------- reading


@dataclass(frozen=True)
class Target:
    """
    Something that reads files.

    Parameters
    ----------
    read : callable
        Reads one.
    seeds : tuple of str
        What it reads when all is right.
    trains : bool, default=False
        Whether training goes on with what was read: numbers of the right kind may still make torch raise.
    """

    read: Callable[[Path], Any]
    seeds: tuple[str, ...]
    trains: bool = False


def _read_plan(path: Path) -> None:
    plan = PruningPlan.from_json(path.read_bytes())  # type: ignore[arg-type]  # json.loads takes bytes
    PruningPlan.from_json(plan.to_json())
    plan.check(make_dense())
    plan.then(PruningPlan())


def _go_on(path: Path) -> None:
    """Go on with a fit whose last state is in the file."""
    folder = path.parent / "run"
    try:
        for name, content in _run_files().items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes() if target.name == "loop.safetensors" else content)
        _make_run(folder).fit(*make_table(60))
    finally:
        shutil.rmtree(folder)


TARGETS: dict[str, Target] = {
    "load": Target(lambda path: load(path, make_dense), ("module", "net", "pruner")),
    "load_net": Target(lambda path: load_net(path, make_dense, trusted=[Perceptron]), ("net", "pruner")),
    "load_pruner": Target(lambda path: load_pruner(path, make_dense, trusted=[Perceptron]), ("pruner",)),
    "untrusted_names": Target(untrusted_names, ("net", "pruner")),
    "read_plan": Target(read_plan, ("module",)),
    "from_json": Target(_read_plan, ("plan",)),
    "read_state": Target(read_state, ("state",)),
    "load_experiment": Target(load_experiment, ("yaml",)),
    "fit": Target(_go_on, ("run",), trains=True),
}


# ---------------------------------------------------------------- making them hostile


def opened(content: bytes) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """
    Return what is in a file of `save`.

    Parameters
    ----------
    content : bytes
        The file.

    Returns
    -------
    document : dict
        Without its checksum.
    tensors : dict of str to Tensor
        The rest.
    """
    length = int.from_bytes(content[:8], "little")
    document = json.loads(json.loads(content[8 : 8 + length])["__metadata__"][_WEIGHTS])
    document.pop("sha256")
    return document, safetensors.torch.load(content)


def signed(document: Any, tensors: dict[str, torch.Tensor]) -> bytes:
    """Return a file with a right checksum, as somebody makes who knows the format."""
    try:
        text = json.dumps({**document, "sha256": checksum(document, tensors)})
    except (TypeError, ValueError):
        text = json.dumps(document)
    return safetensors.torch.save(tensors, {_WEIGHTS: text})


def signed_state(structure: Any, tensors: dict[str, torch.Tensor]) -> bytes:
    """Return a state with a right checksum."""
    text = structure if isinstance(structure, bytes) else json.dumps(structure).encode()
    own = {**tensors, "structure": torch.frombuffer(bytearray(text or b" "), dtype=torch.uint8)}
    return safetensors.torch.save(own, {"prunekit_state": f"2 {checksum(None, own)}"})


def encoded(value: Any) -> Any:
    """Return an object as it stands in a document."""
    return StateWriter("prunekit/x").encode(value, "", 0)


def named(name: str) -> Any:
    """Return what stands for a class or function."""
    return {"kind": "named", "name": name}


def made(name: str, **params: Any) -> Any:
    """Return what stands for an object that is made."""
    return {"kind": "object", "name": name, "params": {"kind": "dict", "items": list(params.items())}}


def _deep(depth: int, kind: str = "list") -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind == "list" else {"dict": [["a", value]]}
    return value


_EMPTY = {"kind": "dict", "items": []}

VALUES: list[Any] = [
    *(None, True, False, 0, -1, 1, 2, 2**31, 2**63, 2**64 + 1, 10**30, -(10**30), 10**9, 0.5, 1e308, float("nan")),
    *(float("inf"), "", "a", "a" * 1000, "\0", "\ud800", "../../../tmp/prunekit_hostile", "/etc/passwd", "{}", "2 x"),
    *("os.system", "builtins.eval", f"{CANARY}.Bomb", "torch.load", "numpy.load", "int8", "cuda:0", "meta", "float32"),
    *([], {}, [[]], [0, 0], [10**9, 10**9], [-1], {"a": 1}, _deep(70), _deep(40, "dict"), [0] * 1000),
    *({"float": "nan"}, {"float": "x"}, {"tuple": 3}, {"tuple": [1]}, {"dict": [[1, 2, 3]]}, {"dict": [[[1], 2]]}),
    *({"number": 1}, {"pickle": "gASVAAAAAAAAAAA="}, {"tensor": "0", "order": None, "complex": False}),
    {"tensor": "prunekit/0", "order": None, "complex": False},
    {"tensor": "prunekit/0", "order": [3, 2, 1, 0], "complex": True},
    {"array": "prunekit/0", "dtype": "<f8", "shape": [10**9, 10**9]},
    {"array": "prunekit/0", "dtype": "|O", "shape": [1]},
    {"array": "prunekit/0", "dtype": "<M8[ns]", "shape": [-1]},
    {"array": "0", "dtype": "|V3", "shape": []},
    encoded(named("os.system")),
    encoded(named(f"{CANARY}.Bomb")),
    encoded(named("torch.nn.modules.loss.MSELoss")),
    encoded(named("builtins.print")),
    encoded(made(f"{CANARY}.Bomb")),
    encoded(made("subprocess.Popen", args="true")),
    encoded(made("torch.nn.modules.loss.MSELoss", reduction=3)),
    encoded(made("skorch.callbacks.lr_scheduler.LRScheduler", policy="sys")),
    encoded(made("skorch.callbacks.scoring.EpochScoring", scoring=named("builtins.print"))),
    encoded(made("torch.utils.data.dataloader.DataLoader", dataset=[1, 2], num_workers=10**6)),
    encoded(made("prunekit.pruner.TaylorPruner", estimator=None)),
    encoded({"kind": "partial", "function": named("builtins.print"), "args": [1], "params": _EMPTY}),
    encoded({"kind": "partial", "function": 3, "args": 3, "params": 3}),
    encoded({"kind": "frame", "columns": [], "index": 10**12, "index_name": None, "attrs": _EMPTY}),
    encoded({"kind": "frame", "columns": [["a", "category", [1]]], "index": -1, "index_name": [], "attrs": 3}),
    encoded({"kind": "array", "dtype": "U", "shape": [3], "items": ["a" * 5000, "", "a"]}),
    encoded({"kind": "array", "dtype": "O", "shape": [10**9, 0], "items": []}),
    encoded({"kind": "set", "items": [[1]]}),
    encoded({"kind": "slice", "items": [1, 2, 3, 4]}),
    encoded({"kind": "dtype", "name": "nn"}),
    encoded({"kind": "device", "name": "cuda:99"}),
    encoded({"kind": "random", "state": ["MT19937", 1]}),
    encoded({"kind": "omitted", "text": "x" * 1000}),
    encoded({"kind": "net", "name": "os.path", "module": "os", "is_class": True, "params": _EMPTY}),
    encoded({"kind": "object", "name": 3, "params": 3}),
    encoded({"tensor": "float32", "shape": [2**20, 2**20]}),
    encoded({"tensor": "float32", "shape": [2**11, 2**11]}),
    encoded({"args": [], "kwargs": {}}),
]
"""What is put into documents in the place of what was there."""

SNIPPETS = [
    *("&a [1]", "*a", "<<: *a", "!!python/object/apply:os.system ['true']", "!!python/name:os.system", "!!binary aGk="),
    *("!!set {a}", "!!timestamp 2020-01-01", "? [a, b]\n: c", "---\n", "...\n", "%YAML 9.9\n---\n", "%TAG ! x\n"),
    *("\t", "\0", "\ufeff", "\u2028", "\x85", "\ud7ff", "'", '"', "{", "}", "[", "]", ": ", "- ", "#", "|\n", ">\n"),
    *("9" * 5000, "0x" + "f" * 5000, "0o" + "7" * 5000, "1e999", ".nan", "-.inf", "1_000", "012", "0b1", "1:30", "~"),
    *("[" * 30, "{a: " * 30, "- " * 30, "a: " * 30, "? " * 30, "name: tiny\n", "seed: {}\n", "a" * 2000 + ": 1\n"),
    *("\nnull: 1", "\n[]: 1", "\ntrue: 1", "\n3: 1", "\n? |\n  a\n: b", "../../etc/passwd", "${HOME}"),
    *("!<!> x", "!a!b c"),
]
"""What is put into YAML files."""


def _places(tree: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _places(value, (*at, key))
    elif isinstance(tree, list):
        for place, value in enumerate(tree):
            yield from _places(value, (*at, place))


def _any_value(rng: random.Random) -> Any:
    return copy.deepcopy(rng.choice(VALUES))


def _mutated_tree(tree: Any, rng: random.Random) -> Any:
    """Return a document in which something is something else."""
    root = [json.loads(json.dumps(tree))]
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        places = [at for at in _places(root) if at]
        at = rng.choice(places)
        holder: Any = root
        for key in at[:-1]:
            holder = holder[key]
        key = at[-1]
        action = rng.randrange(8)
        if action <= 3 or len(at) == 1:
            holder[key] = _any_value(rng)
        elif action == 4:
            del holder[key]
        elif action == 5:
            holder[key] = [holder[key], holder[key]]
        elif action == 6:
            other: Any = root
            for step in rng.choice(places):
                other = other[step] if not isinstance(other, (dict, list)) or _has(other, step) else other
            holder[key] = json.loads(json.dumps(other))
        elif isinstance(holder, dict):
            holder[str(rng.choice(VALUES))[:60]] = holder.pop(key)
        else:
            holder.insert(key, _any_value(rng))
    return root[0]


def _has(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else isinstance(key, int) and key < len(holder)


def _mutated_bytes(content: bytes, rng: random.Random) -> bytes:
    """Return a file in which some bytes are others."""
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 8])):
        if not changed:
            break
        place = rng.randrange(len(changed))
        length = rng.choice([1, 1, 4, 64, 1000])
        action = rng.randrange(7)
        if action <= 1:
            changed[place] ^= 1 << rng.randrange(8)
        elif action == 2:
            changed[place : place + length] = bytes(len(changed[place : place + length]))
        elif action == 3:
            del changed[place : place + length]
        elif action == 4:
            changed[place:place] = changed[place : place + length]
        elif action == 5:
            changed[place:place] = rng.choice(SNIPPETS).encode("utf-8", "surrogatepass")
        else:
            changed[place:] = b""
    return bytes(changed)


def _mutated_header(content: bytes, rng: random.Random) -> bytes:
    """Return a file of safetensors whose header says something else, with its length as it should be."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    metadata = header.pop("__metadata__", {})
    changed = _mutated_tree(header, rng)
    if isinstance(changed, dict):
        changed = {"__metadata__": metadata if rng.random() < 0.8 else rng.choice(VALUES), **changed}
    text = json.dumps(changed).encode("utf-8", "surrogatepass")
    text += b" " * (-len(text) % 8)
    size = len(text) if rng.random() < 0.9 else rng.choice([0, 2**40, 2**63 - 1, 2**64 - 1])
    return size.to_bytes(8, "little") + text + content[8 + length :]


def _mutated_tensors(tensors: dict[str, torch.Tensor], rng: random.Random) -> dict[str, torch.Tensor]:
    changed = dict(tensors)
    name = rng.choice(sorted(changed))
    tensor = changed.pop(name)
    action = rng.randrange(6)
    if action == 0:
        changed[rng.choice(["../../tmp/x", "", "prunekit/", "a" * 500, "\0", "__metadata__x"])] = tensor
    elif action == 1:
        changed[name] = tensor.reshape(-1)
    elif action == 2:
        changed[name] = tensor.to(rng.choice([torch.float64, torch.int8, torch.bool, torch.float16, torch.complex64]))
    elif action == 3:
        changed[name] = torch.full_like(tensor, rng.choice([0, 1, 127]))
    elif action == 4:
        changed[name] = tensor[:0] if tensor.dim() else tensor
    return changed


def _mutated_archive(content: bytes, rng: random.Random) -> bytes:
    document, tensors = opened(content)
    if rng.random() < 0.2:
        tensors = _mutated_tensors(tensors, rng)
    else:
        document = _mutated_tree(document, rng)
    return signed(document, tensors)


def _mutated_state(content: bytes, rng: random.Random) -> bytes:
    tensors = safetensors.torch.load(content)
    structure = json.loads(tensors.pop("structure").numpy().tobytes())
    if rng.random() < 0.2 and tensors:
        return signed_state(structure, _mutated_tensors(tensors, rng))
    return signed_state(_mutated_tree(structure, rng), tensors)


def _mutated_text(content: bytes, rng: random.Random) -> bytes:
    text = content.decode()
    for _ in range(rng.choice([1, 1, 2, 4])):
        place = rng.randrange(len(text) + 1)
        lines = text.splitlines(keepends=True)
        action = rng.randrange(5)
        if action <= 1:
            text = text[:place] + rng.choice(SNIPPETS) + text[place:]
        elif action == 2 and lines:
            number = rng.randrange(len(lines))
            key = lines[number].partition(":")[0]
            lines[number] = f"{key}: {rng.choice([*SNIPPETS, *(repr(one)[:300] for one in VALUES)])}\n"
            text = "".join(lines)
        elif action == 3 and lines:
            text = "".join([*lines, rng.choice(lines) * rng.choice([1, 1, 1, 300])])
        else:
            rng.shuffle(lines)
            text = "".join(lines)
    return text.encode("utf-8", "surrogatepass")


def mutated(name: str, content: bytes, rng: random.Random) -> bytes:
    """
    Return a hostile file.

    Parameters
    ----------
    name : str
        Seed that the content is of.
    content : bytes
        A file that is right.
    rng : Random
        Decides.

    Returns
    -------
    bytes
        Another file.
    """
    how = rng.random()
    if how < 0.2:
        return _mutated_bytes(content, rng)
    if name in ("module", "net", "pruner"):
        return _mutated_header(content, rng) if how < 0.35 else _mutated_archive(content, rng)
    if name in ("state", "run"):
        return _mutated_header(content, rng) if how < 0.35 else _mutated_state(content, rng)
    if name == "plan":
        return json.dumps(_mutated_tree(json.loads(content), rng)).encode("utf-8", "surrogatepass")
    return _mutated_text(content, rng)


# ---------------------------------------------------------------- judging


class ViolationError(AssertionError):
    """A file did what no file may do."""


def hide_canary(folder: Path) -> Path:
    """
    Put a module where imports find it, which writes a file as soon as it is imported.

    Parameters
    ----------
    folder : Path
        An empty folder; it comes onto ``sys.path``.

    Returns
    -------
    Path
        The file that must not appear.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a file may ask for it as any net may, and torch then imports parts of itself
        torch.compile(torch.nn.Identity())
    trace = folder / "was_imported"
    (folder / f"{CANARY}.py").write_text(f"open({str(trace)!r}, 'w').close()\nclass Bomb:\n    pass\n")
    sys.path.insert(0, str(folder))
    return trace


def judge(target: str, content: bytes, folder: Path) -> str:
    """
    Read a file, and see that nothing happens but reading.

    Parameters
    ----------
    target : str
        Of `TARGETS`.
    content : bytes
        The file.
    folder : Path
        An empty folder, for the file.

    Returns
    -------
    str
        Class of the error; "right" where there was none.

    Raises
    ------
    ViolationError
        If something else happened.
    """
    path = folder / "hostile.yaml"
    path.write_bytes(content)
    modules, cwd = set(sys.modules), sorted(Path.cwd().iterdir())
    before, start = _peak_bytes(), time.perf_counter()
    outcome = "right"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            TARGETS[target].read(path)
        except PrunekitError as exc:
            outcome = type(exc).__name__
            if not str(exc) or len(str(exc)) > 20_000 + 2 * len(content):
                raise ViolationError(f"a message of {len(str(exc))} characters") from exc
        except Exception as exc:
            if not TARGETS[target].trains:
                raise ViolationError(f"{type(exc).__name__} came through: {str(exc)[:300]}") from exc
            outcome = f"{type(exc).__name__} in training"
    seconds, more = time.perf_counter() - start, _peak_bytes() - before
    if seconds > SECONDS:
        raise ViolationError(f"it took {seconds:.1f} s")
    if more > allowed_bytes(len(content)):
        raise ViolationError(f"it took {more / 2**20:.0f} MiB for {len(content)} bytes")
    known = {name.partition(".")[0] for name in modules}
    foreign = sorted(name for name in set(sys.modules) - modules if name.partition(".")[0] not in known)
    if foreign:
        raise ViolationError(f"{foreign[:5]} were imported")
    if [one.name for one in folder.iterdir()] != [path.name] or sorted(Path.cwd().iterdir()) != cwd:
        raise ViolationError("a file was written")
    return outcome


def allowed_bytes(size: int) -> int:
    """Return how much memory reading a file of a size may take: what reading any takes, and a multiple of the file."""
    return 2**27 + 64 * size


def _peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
