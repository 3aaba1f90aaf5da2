"""
The pruning loop beside its rivals: accuracy, time, speed of the result, overhead, memory, kills.

Run ``python -m benchmarks.loop --part accuracy``; see ``benchmarks/README.md``. All numbers are of one thread.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNetClassifier
from torch import nn

from benchmarks import importance_nets
from benchmarks.importance_nets import CACHE, Images, Recipe, Trained, resnet20, trained
from benchmarks.loop_rivals import Budget, accuracy, from_scratch, layout_of, macs_of, torch_pruning
from benchmarks.zoo import describe_part
from benchmarks.zoo_models import LISTS
from prunekit import PrunableNetwork, TaylorPruner
from prunekit._loop.history import peak_memory_bytes
from prunekit.importance import Random
from prunekit.schedules import CubicSchedule

RESULTS = Path(__file__).parent / "results"
SEEDS = (0, 1, 2)
TARGETS = {2: 0.5, 4: 0.75, 8: 0.875}
PEAK_LR = 0.1
"""Of the dense training, and of the training from scratch."""
LR = 0.02
"""Of the fine-tuning, where it falls to zero; for the arms that are not prunekit's, 0.05 did as well."""
CONSTANT_LR = 0.01
"""Of the fine-tuning where it stays, as in Torch-Pruning's examples; 0.05 was worse."""
_PACKAGES = ("torch", "torch-pruning", "scikit-learn", "skorch", "numpy")


def _vgg(*stages: tuple[int, int]) -> nn.Module:
    """Return stages of so many channels and layers, with the image halved after each of the first three."""
    layers: list[nn.Module] = []
    n_in = 1
    for number, (width, depth) in enumerate(stages):
        for _ in range(depth):
            layers += [nn.Conv2d(n_in, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            n_in = width
        if number < 3:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(n_in, 10))


def vgg16() -> nn.Module:
    """Return VGG-16 (Simonyan and Zisserman 2015) with batch norm, a quarter of its channels and one linear layer."""
    return _vgg((16, 2), (32, 2), (64, 3), (128, 3), (128, 3))


NETS: dict[str, Callable[[], nn.Module]] = {"vgg16": vgg16, "fashion-resnet20": partial(resnet20, 1)}
importance_nets.RECIPES |= {
    name: Recipe(build, importance_nets._fashion_images, epochs=2, lr=0.1) for name, build in NETS.items()
}


@dataclass
class Run:
    """One pruning run; seconds are those of scoring, training and pruning together, without tests."""

    net: str
    seed: int
    times: int
    arm: str
    accuracy: float
    dense_accuracy: float
    reduction_macs: float
    seconds: float
    seconds_scoring: float
    batches: int


def skorch_net(net: str, case: Trained, batch_size: int, **params: Any) -> NeuralNetClassifier:
    """Return a fitted net around a copy of a trained network."""
    made = NeuralNetClassifier(
        NETS[net],
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.9,
        optimizer__nesterov=True,
        optimizer__weight_decay=5e-4,
        lr=LR,
        batch_size=batch_size,
        iterator_train__shuffle=True,
        train_split=None,
        verbose=0,
        callbacks="disable",
        **params,
    ).initialize()
    made.module_.load_state_dict(case.module.state_dict())
    made.module_.to(memory_format=layout_of(case.module))
    return made


def pruner_of(net: str, case: Trained, target: float, budget: Budget, seed: int, **params: Any) -> TaylorPruner:
    """Return the pruner of the benchmark: defaults, but for what all arms have in common."""
    common: dict[str, Any] = {
        "target_reduction": target,
        "reduction_of": "macs",
        "step": CubicSchedule(budget.steps),
        "finetune_batches": budget.step_batches,
        "final_batches": budget.final_batches,
        "score_batches": 20,
        "random_state": seed,
    }
    return TaylorPruner(FrozenEstimator(skorch_net(net, case, budget.batch_size)), **common | params)


DISTILLED = {"distill": 0.7, "distill_temperature": 4.0}
RANDOM = {"criterion": Random, "per": None}
OWN_ARMS: dict[str, dict[str, Any]] = {
    "prunekit": {},
    "prunekit distilled": DISTILLED,
    "prunekit masked": {"compaction": "end"},
    "prunekit taylor2": {"criterion": "taylor2"},
    "random": RANDOM,
    "random distilled": RANDOM | DISTILLED,
}
RIVAL_ARMS: dict[str, dict[str, Any]] = {
    "torch-pruning local": {"lr": CONSTANT_LR, "ours": False, "is_global": False},
    "torch-pruning global": {"lr": CONSTANT_LR, "ours": False, "is_global": True},
    "torch-pruning local, our course": {"lr": LR, "ours": True, "is_global": False},
}
_TIMES_OF = {"prunekit masked": (4,), "prunekit taylor2": (4, 8)}
"""Arms that are run for some sizes only."""
ARMS = (*OWN_ARMS, *RIVAL_ARMS, "scratch")


def case_of(net: str, seed: int, cache: Path) -> Trained:
    """Return a trained network in the memory format that it is trained on in."""
    case = trained(net, seed, cache)
    if net == "fashion-resnet20":
        # In channels_last, the backward pass of 1x1 convolutions with a stride and few channels, such as pruned ones,
        # writes out of bounds in PyTorch 2.13 on a CPU.
        case.module.to(memory_format=torch.contiguous_format)
    return case


def accuracy_runs(net: str, seed: int, times: int, arms: list[str], budget: Budget, cache: Path) -> None:
    """Run the arms for one net, seed and target; each row is written as soon as it is there."""
    case = case_of(net, seed, cache)
    target = TARGETS[times]
    example = case.train.x[:2]
    whole = macs_of(case.module, example)
    dense = accuracy(case.module, case.test)
    x = case.train.x
    smallest: nn.Module | None = None
    for arm in arms:
        batches, scoring = budget.batches, 0.0
        if arm in OWN_ARMS:
            params = dict(OWN_ARMS[arm])
            if callable(params.get("criterion")):
                params["criterion"] = params["criterion"](seed)
            pruner = pruner_of(net, case, target, budget, seed, **params)
            start = time.perf_counter()
            pruner.fit(x, case.train.y)
            seconds = time.perf_counter() - start
            module = pruner.estimator_.module_
            batches = pruner.n_iterations_ * budget.step_batches + budget.final_batches
            scoring = float(pruner.history_["seconds_scoring"].sum())
            if arm == "prunekit":
                smallest = module
        elif arm in RIVAL_ARMS:
            module, seconds, scoring = torch_pruning(case.module, case.train, target, budget, seed, **RIVAL_ARMS[arm])
        else:
            if smallest is None:
                continue
            module, seconds = from_scratch(smallest, case.train, budget, seed, PEAK_LR)
        reduction = 1.0 - macs_of(module, example) / whole
        row = Run(net, seed, times, arm, accuracy(module, case.test), dense, reduction, seconds, scoring, batches)
        print(row, flush=True)
        write("accuracy", [row], ("net", "seed", "times", "arm"))


# -- overhead ---------------------------------------------------------------------------------------------------------


@dataclass
class Overhead:
    """Share of a run that is neither forward, backward, optimizer step nor validation."""

    net: str
    criterion: str
    batches: int
    seconds: float
    seconds_steps: float
    overhead: float


class TimedNet(NeuralNetClassifier):
    """Adds up the time of forward, backward and optimizer steps, without what callbacks do in between."""

    seconds = 0.0
    _depth = 0

    def train_step(self, batch: Any, **fit_params: Any) -> Any:
        """Time a training step."""
        with self._clock(1):
            return super().train_step(batch, **fit_params)

    def train_step_single(self, batch: Any, **fit_params: Any) -> Any:
        """Time forward and backward of a scoring pass, which has no optimizer step."""
        with self._clock(1):
            return super().train_step_single(batch, **fit_params)

    def notify(self, method_name: str, **cb_kwargs: Any) -> Any:
        """Take out what callbacks do within a step."""
        with self._clock(-1):
            return super().notify(method_name, **cb_kwargs)

    @contextmanager
    def _clock(self, sign: int) -> Iterator[None]:
        """Add or take out the time of a block, unless a block around it does so."""
        depth, start = TimedNet._depth, time.perf_counter()
        counts = depth == (0 if sign > 0 else 1)
        TimedNet._depth += sign if counts else 0
        try:
            yield
        finally:
            TimedNet._depth = depth
            TimedNet.seconds += sign * (time.perf_counter() - start) if counts else 0.0


def overhead(net: str, criterion: str, budget: Budget, cache: Path) -> None:
    """Measure one run."""
    case = case_of(net, 0, cache)
    pruner = pruner_of(net, case, 0.75, budget, 0, criterion=criterion)
    pruner.estimator.estimator.__class__ = TimedNet
    TimedNet.seconds = 0.0
    start = time.perf_counter()
    pruner.fit(case.train.x, case.train.y)
    seconds = time.perf_counter() - start
    row = Overhead(net, criterion, budget.batches, seconds, TimedNet.seconds, 1.0 - TimedNet.seconds / seconds)
    print(row, flush=True)
    write("overhead", [row], ("net", "criterion", "batches"))


# -- speed of the result ----------------------------------------------------------------------------------------------


@dataclass
class Latency:
    """Dense against compacted network; a ratio of 1 means that time falls as the multiply-adds do."""

    net: str
    target: str
    round_to: int
    batch_size: int
    runtime: str
    dense_ms: float
    compact_ms: float
    times_macs: float
    times_latency: float
    ratio: float


def wide_vgg() -> nn.Module:
    """Return a network of more channels, as they are where latency matters."""
    return _vgg((64, 2), (128, 2), (256, 2))


def wide_resnet() -> nn.Module:
    """Return a residual network of more channels."""
    blocks = [importance_nets._Residual(n_in, width) for n_in, width in pairwise([64, 64, 64, 128, 128, 256, 256])]
    return nn.Sequential(
        *(nn.Conv2d(1, 64, 3, padding=1, bias=False), nn.BatchNorm2d(64), nn.ReLU(), *blocks),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10)),
    )


def _of_zoo(name: str) -> Callable[[], nn.Module]:
    build = LISTS["torchvision"][name]
    return lambda: build()[0]


_TIMES = {1: 60, 32: 15}
"""Forward passes that are timed, by batch size."""
WIDE: dict[str, Callable[[], nn.Module]] = {"wide vgg": wide_vgg, "wide resnet": wide_resnet}
TIMED = WIDE | {name: _of_zoo(name) for name in ("resnet18", "vgg16_bn")}


def _pictures(net: str, cache: Path) -> Images:
    if net in WIDE:
        return importance_nets._fashion_images(cache)[0].part(0, 2048)
    torch.manual_seed(1)
    return Images(torch.randn(64, 3, 224, 224), torch.arange(64) % 10)


def latency(net: str, round_to: int | None, of: str, cache: Path) -> None:
    """Prune a network, hardly trained since time does not see it, and time the result."""
    images = _pictures(net, cache)
    torch.manual_seed(0)
    dense = NeuralNetClassifier(
        TIMED[net], criterion=nn.CrossEntropyLoss, lr=0.01, batch_size=16, train_split=None, verbose=0, max_epochs=1
    ).initialize()
    target = 0.75 if of == "macs" else 0.5
    pruner = TaylorPruner(
        FrozenEstimator(dense),
        target_reduction=target,
        reduction_of=of,  # type: ignore[arg-type]
        step="one_shot" if of == "macs" else 0.25,
        finetune_batches=2,
        final_epochs=0,
        score_batches=4,
        round_to=round_to,
        random_state=0,
    ).fit(images.x, images.y)
    _timed(net, of, round_to or 1, dense.module_, pruner.estimator_.module_, images.x)


def half_as_wide(net: str, cache: Path) -> None:
    """Time a network with half of the channels of each layer: what no choice of channels is to be held against."""
    x = _pictures(net, cache).x
    torch.manual_seed(0)
    dense = TIMED[net]()
    network = PrunableNetwork(dense, x[:2], criterion="magnitude", max_layer_reduction=0.5)
    network.prune_to(network.max_reduction("macs"), "macs")
    _timed(net, "half of each layer", 1, dense, network.compact(), x)


def _timed(net: str, target: str, round_to: int, dense: nn.Module, compact: nn.Module, x: torch.Tensor) -> None:
    """Time two networks, and write rows."""
    modules = {"dense": dense.eval(), "compact": compact.eval()}
    times_macs = macs_of(dense, x[:2]) / macs_of(compact, x[:2])
    for size, repeats in _TIMES.items():
        for runtime, calls in (("eager", _eager), ("onnxruntime", _onnx)):
            found = _in_turns(calls(modules, x[:size]), repeats)
            times = float((found["dense"] / found["compact"]).median())
            milliseconds = (float(found[name].median()) for name in modules)
            row = Latency(net, target, round_to, size, runtime, *milliseconds, times_macs, times, times / times_macs)
            print(row, flush=True)
            write("latency", [row], ("net", "target", "round_to", "batch_size", "runtime"))


def _in_turns(calls: dict[str, Callable[[], Any]], repeats: int) -> pd.DataFrame:
    """Return the milliseconds of calls that take turns, so that a slow moment of the machine hits them all."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    with torch.inference_mode():
        for _ in range(5 + repeats):
            for name, call in calls.items():
                start = time.perf_counter()
                call()
                times[name].append(1e3 * (time.perf_counter() - start))
    return pd.DataFrame(times).iloc[5:]


def _eager(modules: dict[str, nn.Module], x: torch.Tensor) -> dict[str, Callable[[], Any]]:
    return {name: partial(module, x) for name, module in modules.items()}


def _onnx(modules: dict[str, nn.Module], x: torch.Tensor) -> dict[str, Callable[[], Any]]:
    """Return calls of networks in ONNX Runtime."""
    import onnxruntime  # type: ignore[import-untyped, import-not-found]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    calls = {}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, module in modules.items():
            path = Path(folder) / f"{name}.onnx"
            torch.onnx.export(module, (x,), path, dynamo=True, verbose=False)
            session = onnxruntime.InferenceSession(str(path), options)
            calls[name] = partial(session.run, None, {session.get_inputs()[0].name: x.numpy()})
    return calls


# -- memory -----------------------------------------------------------------------------------------------------------


@dataclass
class Memory:
    """Peak memory of a process that trains, and of one that prunes, less what it had before it began."""

    net: str
    batch_size: int
    allocator: str
    before_mb: float
    training_mb: float
    pruning_mb: float
    ratio: float


_ALLOCATORS = {"as it is": {}, "nothing kept": {"MALLOC_MMAP_THRESHOLD_": "65536"}}
"""Of glibc, which else keeps memory that was given back, and finds less use for it the more sizes there are."""


def memory(net: str, batch_size: int, allocator: str) -> None:
    """Measure both in processes of their own."""
    found = {}
    for what in ("training", "pruning"):
        command = [sys.executable, "-m", "benchmarks.loop", "--one-memory", net, what, str(batch_size)]
        environment = os.environ | _ALLOCATORS[allocator]
        output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
        found[what] = [float(number) for number in output.split()[-2:]]
    (before, training), (_, pruning) = found["training"], found["pruning"]
    row = Memory(net, batch_size, allocator, before, training, pruning, pruning / training)
    print(row, flush=True)
    write("memory", [row], ("net", "batch_size", "allocator"))


def one_memory(net: str, what: str, batch_size: int) -> None:
    """Train, or prune, on noise, and print the megabytes before and those that came on top."""
    torch.manual_seed(0)
    x, y = torch.randn(4 * batch_size, 1, 28, 28), torch.arange(4 * batch_size) % 10
    dense = NeuralNetClassifier(
        WIDE[net],
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.9,
        lr=0.01,
        batch_size=batch_size,
        train_split=None,
        verbose=0,
        max_epochs=1,
    ).initialize()
    before = _peak_mb()
    if what == "training":
        dense.partial_fit(x, y)
    else:
        TaylorPruner(
            FrozenEstimator(dense),
            target_reduction=0.75,
            reduction_of="macs",
            step=CubicSchedule(4),
            finetune_batches=2,
            final_epochs=1,
            score_batches=2,
            random_state=0,
        ).fit(x, y)
    print(before, _peak_mb() - before)


def _peak_mb() -> float:
    return peak_memory_bytes(torch.device("cpu")) / 2**20


# -- kills ------------------------------------------------------------------------------------------------------------


@dataclass
class Kills:
    """Runs that were killed and gone on with, against one that was not."""

    net: str
    kills: int
    seconds_whole: float
    equal_plan: bool
    equal_weights: bool


def kills(number: int, cache: Path) -> None:
    """Kill a run at random moments, again and again, and let it come to its end."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run(_kill_command(Path(folder), "whole", cache), check=True)
        seconds = time.perf_counter() - start
        generator, killed = np.random.default_rng(0), 0
        while killed < number:
            process = subprocess.Popen(_kill_command(Path(folder), "killed", cache))
            # at least one checkpoint further, on average; the imports take some seconds
            moment = 6.0 + generator.uniform(0.0, 0.1 * seconds)
            try:
                process.wait(moment)
            except subprocess.TimeoutExpired:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                killed += 1
                continue
            break
        subprocess.run(_kill_command(Path(folder), "killed", cache), check=True)
        whole, resumed = (torch.load(Path(folder) / f"{name}.pt", weights_only=True) for name in ("whole", "killed"))
        plans = [(Path(folder) / f"{name}.json").read_text(encoding="utf-8") for name in ("whole", "killed")]
    equal = whole.keys() == resumed.keys() and all(torch.equal(whole[name], resumed[name]) for name in whole)
    row = Kills("vgg16", killed, seconds, plans[0] == plans[1], equal)
    print(row, flush=True)
    write("kills", [row], ("net",))


def _kill_command(folder: Path, name: str, cache: Path) -> list[str]:
    return [sys.executable, "-m", "benchmarks.loop", "--one-kill", str(folder), name, "--cache", str(cache)]


def one_kill(folder: Path, name: str, cache: Path) -> None:
    """Run to the end, from a checkpoint if there is one, and write weights and plan."""
    case = case_of("vgg16", 0, cache)
    pruner = pruner_of("vgg16", case, 0.75, Budget(24, 8, 40), 0, checkpoint=folder / f"checkpoint-{name}")
    pruner.fit(case.train.x[:4096], case.train.y[:4096])
    torch.save(pruner.estimator_.module_.state_dict(), folder / f"{name}.pt")
    (folder / f"{name}.json").write_text(pruner.plan_.to_json(), encoding="utf-8")


# -- files ------------------------------------------------------------------------------------------------------------


def write(part: str, rows: list[Any], keys: tuple[str, ...]) -> None:
    """Put rows in the place of those with the same keys."""
    path = RESULTS / f"loop_{part}.csv"
    table = pd.DataFrame([asdict(row) for row in rows], columns=[field.name for field in fields(rows[0])])
    if path.exists():
        table = pd.concat([pd.read_csv(path), table])
    table = table.drop_duplicates(list(keys), keep="last").sort_values(list(keys), kind="stable")
    part_file = path.with_suffix(f".{os.getpid()}")
    table.to_csv(part_file, index=False, float_format="%.6g")
    part_file.replace(path)
    describe_part(RESULTS / "loop.json", part, _PACKAGES)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--net", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--seed", nargs="+", type=int, default=list(SEEDS))
    parser.add_argument("--times", nargs="+", type=int, choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--arm", nargs="+", choices=ARMS)
    parser.add_argument("--steps", type=int, default=Budget.steps)
    parser.add_argument("--step-batches", type=int, default=Budget.step_batches)
    parser.add_argument("--final-batches", type=int, default=Budget.final_batches)
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--render", action="store_true", help="only write the tables again")
    parser.add_argument("--one-memory", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--one-kill", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    budget = Budget(options.steps, options.step_batches, options.final_batches)
    if options.one_memory:
        net, what, batch_size = options.one_memory
        one_memory(net, what, int(batch_size))
        return
    if options.one_kill:
        one_kill(Path(options.one_kill[0]), options.one_kill[1], options.cache)
        return
    for part in () if options.render else options.part:
        PARTS[part](options, budget)
    from benchmarks.loop_tables import rendered

    (RESULTS / "loop.md").write_text(rendered(RESULTS), encoding="utf-8")


def _accuracy(options: argparse.Namespace, budget: Budget) -> None:
    for seed in options.seed:
        for net in options.net:
            for times in options.times:
                arms = options.arm or [arm for arm in ARMS if times in _TIMES_OF.get(arm, TARGETS)]
                accuracy_runs(net, seed, times, arms, budget, options.cache)


def _overhead(options: argparse.Namespace, budget: Budget) -> None:
    for net in options.net:
        for criterion in ("taylor", "taylor2"):
            overhead(net, criterion, budget, options.cache)


def _latency(options: argparse.Namespace, budget: Budget) -> None:
    for net in TIMED:
        for round_to in (8, None):
            latency(net, round_to, "macs", options.cache)
        latency(net, 8, "latency", options.cache)
        half_as_wide(net, options.cache)


def _memory(options: argparse.Namespace, budget: Budget) -> None:
    for net in WIDE:
        for batch_size in (32, 128):
            for allocator in _ALLOCATORS:
                memory(net, batch_size, allocator)


def _kills(options: argparse.Namespace, budget: Budget) -> None:
    kills(20, options.cache)


PARTS = {"accuracy": _accuracy, "overhead": _overhead, "latency": _latency, "memory": _memory, "kills": _kills}

if __name__ == "__main__":
    main()
