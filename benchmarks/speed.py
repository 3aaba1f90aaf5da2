"""
Measure how long finding and proving all units takes, beside Torch-Pruning, with growing networks and in a large one.

Everything runs on one thread and with one sample. Run it from the root of the repository::

    python -m benchmarks.speed --part rivals growth language

Seconds of prunekit are those of ``prove_units``: tracing, units and probes. Seconds of Torch-Pruning are those of its
dependency graph and of the enumeration of all groups.
"""

import argparse
import csv
import json
import logging
import os
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any

import numpy as np
import torch
import torch_pruning as tp  # type: ignore[import-untyped]
from torch import Tensor, nn

from benchmarks import zoo_models, zoo_prunekit
from benchmarks.zoo import LIBRARIES, PACKAGES, RESULTS, _line, describe_part
from benchmarks.zoo_common import quiet
from benchmarks.zoo_torch_pruning import output_layers
from prunekit.surgery import prove_units
from prunekit.surgery.formulas import written_out_norms
from prunekit.tracing import Inputs, UnitGraph, trace

REPETITIONS = 3
SLOW_S = 20.0
"""From this many seconds on, one repetition is enough."""

_MARK = "ROW "


@dataclass
class Rival:
    """
    A network and the seconds of both libraries.

    Parameters
    ----------
    network : str
        Its name.
    prunekit_s, torch_pruning_s : float
        Medians; None where it did not end.
    ratio : float
        Ours over theirs; where theirs ran into its limit, an upper bound.
    floor : str
        What is asked of us.
    met : bool
        Whether we are that fast.
    message : str
        What is special.
    """

    network: str
    prunekit_s: float
    torch_pruning_s: float | None
    ratio: float | None
    floor: str
    met: bool
    message: str = ""


@dataclass
class Growth:
    """
    A network of some size and the seconds of one library.

    Parameters
    ----------
    network : str
        What grows.
    size : int
        Number of blocks, layers or channels.
    library : str
        Which one.
    n_operations : int
        ATen operations of a forward pass.
    n_nodes : int
        Nodes of Torch-Pruning's graph, None for prunekit.
    seconds, us_per_operation : float
        Median, and the same for each operation; None where it did not end.
    message : str
        The error, or what is special.
    """

    network: str
    size: int
    library: str
    n_operations: int | None = None
    n_nodes: int | None = None
    seconds: float | None = None
    us_per_operation: float | None = None
    message: str = ""


@dataclass
class Language:
    """
    A language model without memory.

    Parameters
    ----------
    network : str
        Its name.
    n_parameters, n_operations, n_units, n_frozen : int
        Parameters, ATen operations of a forward pass, units that may be removed, and filters that may not.
    trace_s, units_s, prove_units_s : float
        Seconds of tracing, of the unit graph over it, and of both with the probes.
    prove_units_cpu_s : float
        Processor seconds of the last, which other processes disturb less.
    start_gb, peak_gb : float
        Largest resident memory of the process before tracing and after the probes.
    met : bool
        Whether it stays below `LANGUAGE_LIMIT_S` and `LANGUAGE_LIMIT_GB`.
    frozen_by : str
        Reasons for frozen filters with their counts.
    message : str
        The error.
    """

    network: str
    n_parameters: int | None = None
    n_operations: int | None = None
    n_units: int | None = None
    n_frozen: int | None = None
    trace_s: float | None = None
    units_s: float | None = None
    prove_units_s: float | None = None
    prove_units_cpu_s: float | None = None
    start_gb: float | None = None
    peak_gb: float | None = None
    met: bool = False
    frozen_by: str = ""
    message: str = ""


def main() -> None:
    """Run the command line."""
    options = _parser().parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    if options.one:
        with quiet():
            print(_MARK + json.dumps(_ONE[options.one[0]](*options.one[1:])), flush=True)
        return
    RESULTS.mkdir(exist_ok=True)
    for part in options.part if not options.render else ():
        with quiet():
            rows = PARTS[part]()
        _write(part, rows)
    (RESULTS / "speed.md").write_text(rendered(), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description=__doc__.split("\n\n")[0])
    parser.add_argument("--part", nargs="+", choices=list(PARTS), default=list(PARTS), help="by default all")
    parser.add_argument("--render", action="store_true", help="only write the tables from what was measured")
    parser.add_argument("--one", nargs="+", help=argparse.SUPPRESS)
    return parser


# -- measuring --------------------------------------------------------------------------------------------------------


def median_s(*actions: Callable[[], Any]) -> list[float]:
    """Return the median seconds of each action; they are run by turns."""
    times: list[list[float]] = [[] for _ in actions]
    for _ in range(REPETITIONS):
        for action, taken in zip(actions, times, strict=True):
            if not taken or max(taken) <= SLOW_S:
                start = time.perf_counter()
                action()
                taken.append(time.perf_counter() - start)
    return [statistics.median(taken) for taken in times]


def _warm_up() -> None:
    zoo_prunekit.warm_up()
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))
    _torch_pruning(module, torch.randn(1, 3, 4, 4), [module[-1]])


def _prunekit(module: nn.Module, inputs: Tensor) -> UnitGraph:
    return prove_units(module, Inputs.of(inputs))[0]


def _torch_pruning(module: nn.Module, inputs: Tensor, kept_whole: list[nn.Module]) -> Any:
    graph = tp.DependencyGraph().build_dependency(module, example_inputs=inputs)
    list(graph.get_all_groups(ignored_layers=kept_whole))
    return graph


def _apart(arguments: list[str], limit: float) -> dict[str, Any]:
    """Return what a measurement in a process of its own finds, or a message where it does not end."""
    command = [sys.executable, "-m", "benchmarks.speed", "--one", *arguments]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command, cwd=RESULTS.parent.parent, env=environment, timeout=limit, capture_output=True, encoding="utf-8"
        )
    except subprocess.TimeoutExpired:
        return {"message": f"timeout: more than {limit:g} s"}
    found = [line.removeprefix(_MARK) for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if found:
        result: dict[str, Any] = json.loads(found[-1])
        return result
    return {"message": " ".join(done.stderr.strip().splitlines()[-1:]) or f"exit code {done.returncode}"}


# -- rivals -----------------------------------------------------------------------------------------------------------

RIVALS = {
    "densenet121": 0.5,
    "vgg16_bn": 0.5,
    "vit_b_16": 0.5,
    "resnest14d": 0.5,
    "resnest50d": 0.5,
    "resnet50": 1.0,
    "mobilenet_v2": 1.0,
}
"""Largest fraction of Torch-Pruning's seconds."""

RIVALS_SLOW = {"swin_t": 3.0, "maxvit_t": 3.0}
"""Largest number of our own seconds where Torch-Pruning takes minutes."""

RIVAL_LIMIT_S = 120.0


def rivals() -> list[Rival]:
    """Return the seconds of both libraries for networks of torchvision and timm."""
    _warm_up()
    rows = []
    for name, floor in RIVALS.items():
        module, inputs = _network(name)
        kept_whole = output_layers(module, inputs)
        ours, theirs = median_s(partial(_prunekit, module, inputs), partial(_torch_pruning, module, inputs, kept_whole))
        rows.append(Rival(name, ours, theirs, ours / theirs, f"ratio {floor:g}", ours / theirs <= floor))
        _tell(rows[-1])
    for name, floor in RIVALS_SLOW.items():
        (ours,) = median_s(partial(_prunekit, *_network(name)))
        other = _apart(["rival", name], RIVAL_LIMIT_S)
        theirs, message = other.get("seconds"), other.get("message", "")
        timeout = message.startswith("timeout")
        ratio = ours / theirs if theirs else ours / RIVAL_LIMIT_S if timeout else None
        rows.append(Rival(name, ours, theirs, ratio, f"{floor:g} s", ours < floor, message))
        _tell(rows[-1])
    return rows


def _one_rival(name: str) -> dict[str, Any]:
    _warm_up()
    module, inputs = _network(name)
    kept_whole = output_layers(module, inputs)
    start = time.perf_counter()
    _torch_pruning(module, inputs, kept_whole)
    return {"seconds": time.perf_counter() - start}


def _network(name: str) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(0)
    build = zoo_models.LISTS["torchvision"].get(name, partial(zoo_models._timm, name))
    module, inputs = build()
    return module.eval(), inputs[:1]


# -- growth -----------------------------------------------------------------------------------------------------------


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)
        self.conv2, self.norm2 = nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x)))))


class _Dense(nn.Module):
    def __init__(self, n_layers: int, growth: int, width: int) -> None:
        super().__init__()
        sizes = range(width, width + n_layers * growth, growth)
        self.layers = nn.ModuleList(nn.Conv2d(size, growth, 3, padding=1) for size in sizes)

    def forward(self, x: Tensor) -> Tensor:
        parts = [x]
        for layer in self.layers:
            parts.append(torch.relu(layer(torch.cat(parts, dim=1))))
        return torch.cat(parts, dim=1)


def _head(width: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10)]


def _residual(size: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), *(_Block(16) for _ in range(size)), *_head(16))


def _concatenated(size: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), _Dense(size, 8, 16), *_head(16 + 8 * size))


def _flattened(size: int) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, size, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64 * size, 10))


GROWTH: dict[str, tuple[Callable[[int], nn.Module], tuple[int, ...]]] = {
    "residual chain": (_residual, (8, 32, 128)),
    "dense concatenation": (_concatenated, (8, 16, 32)),
    "flatten": (_flattened, (16, 64, 256)),
}
"""Networks that take images of 8x8, and their sizes: blocks, layers, channels."""

GROWTH_LIMIT_S = 60.0


def growth() -> list[Growth]:
    """Return the seconds of both libraries for networks of three sizes."""
    rows = []
    for name, (_, sizes) in GROWTH.items():
        for size in sizes:
            for library in LIBRARIES:
                rows.append(Growth(name, size, library, **_apart(["growth", name, str(size), library], GROWTH_LIMIT_S)))
                _tell(rows[-1])
    return rows


def _one_growth(name: str, size: str, library: str) -> dict[str, Any]:
    torch.manual_seed(0)
    module, inputs = GROWTH[name][0](int(size)).eval(), torch.randn(1, 3, 8, 8)
    _warm_up()
    n_operations = _count_operations(trace(module, Inputs.of(inputs)))
    n_nodes = None
    if library == "prunekit":
        (seconds,) = median_s(partial(_prunekit, module, inputs))
    else:
        kept_whole = output_layers(module, inputs)
        n_nodes = len(_torch_pruning(module, inputs, kept_whole).module2node)
        (seconds,) = median_s(partial(_torch_pruning, module, inputs, kept_whole))
    return {
        "n_operations": n_operations,
        "n_nodes": n_nodes,
        "seconds": seconds,
        "us_per_operation": seconds / n_operations * 1e6,
    }


def _count_operations(traced: Any) -> int:
    return len(traced.runs[0].operations)


# -- a language model -------------------------------------------------------------------------------------------------

LLAMA_3_70B = {
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "vocab_size": 128256,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": False,
}
LANGUAGE_LIMIT_S, LANGUAGE_LIMIT_GB = 60.0, 4.0
_LANGUAGE_TIMEOUT_S = 600.0


def language() -> list[Language]:
    """Return the seconds and the memory for a language model on the meta device, in a process of its own."""
    row = Language("Llama-3 70B", **_apart(["language"], _LANGUAGE_TIMEOUT_S))
    if row.prove_units_s is not None and row.peak_gb is not None:
        row.met = row.prove_units_s <= LANGUAGE_LIMIT_S and row.peak_gb <= LANGUAGE_LIMIT_GB
    _tell(row)
    return [row]


def _one_language() -> dict[str, Any]:
    zoo_models.torchvision_models()  # which transformers imports
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.device("meta"):
        module = LlamaForCausalLM(LlamaConfig(**LLAMA_3_70B)).eval()
    zoo_prunekit.warm_up()
    ids = torch.randint(0, LLAMA_3_70B["vocab_size"], (1, 16), generator=torch.Generator().manual_seed(1))
    inputs = Inputs.of({"input_ids": ids, "use_cache": False})
    found: dict[str, Any] = {"n_parameters": sum(parameter.numel() for parameter in module.parameters())}
    found["start_gb"] = _peak_gb()

    start = time.perf_counter()
    traced = trace(module, inputs, written_out_norms(module))
    found["trace_s"] = time.perf_counter() - start
    start = time.perf_counter()
    UnitGraph(traced)
    found["units_s"] = time.perf_counter() - start
    found["n_operations"] = _count_operations(traced)
    del traced
    start, start_cpu = time.perf_counter(), time.process_time()
    graph, _ = prove_units(module, inputs)
    found["prove_units_s"] = time.perf_counter() - start
    found["prove_units_cpu_s"] = time.process_time() - start_cpu
    found["peak_gb"] = _peak_gb()

    reasons = _frozen_filters(graph)
    found["n_units"], found["n_frozen"] = graph.n_units, sum(reasons.values())
    found["frozen_by"] = "; ".join(f"{text} {count}" for text, count in reasons.most_common())
    return found


def _frozen_filters(graph: UnitGraph) -> Counter[str]:
    """Count frozen filters by reason, without an object for each of millions of units."""
    reasons: Counter[str] = Counter()
    for layer in graph.layers:
        labels = graph.filters_of(layer)
        labels = labels[graph.unit_of_label[labels] < 0]
        _, first, counts = np.unique(graph.component[labels], return_index=True, return_counts=True)
        for label, count in zip(labels[first].tolist(), counts.tolist(), strict=True):
            reason = graph.reason(label)
            text = reason.text if reason else "no reason"
            line = reason.location.rpartition("/")[2] if reason else ""
            reasons[f"{text} ({line})" if line else text] += count
    return reasons


def _peak_gb() -> float:
    scale = 1 if sys.platform == "darwin" else 1024  # kilobytes elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e9


# -- results ----------------------------------------------------------------------------------------------------------

Result = Rival | Growth | Language
PARTS: dict[str, Callable[[], list[Any]]] = {"rivals": rivals, "growth": growth, "language": language}
_ONE: dict[str, Callable[..., dict[str, Any]]] = {
    "rival": _one_rival,
    "growth": _one_growth,
    "language": _one_language,
}


def _tell(row: Result) -> None:
    print("  ".join(_cell(value) for value in asdict(row).values()), flush=True)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if value < 100 else f"{value:.0f}"
    return "" if value is None else " ".join(str(value).replace("|", "/").split())


def _write(part: str, rows: list[Result]) -> None:
    """Write the rows of a part, and when and where they were measured."""
    with (RESULTS / f"speed_{part}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(rows[0])])
        writer.writeheader()
        writer.writerows({key: _cell(value) for key, value in asdict(row).items()} for row in rows)
    describe_part(RESULTS / "speed.json", part, PACKAGES)


_HEADINGS = {
    "rivals": "Finding and proving all units, beside Torch-Pruning (seconds, medians of three, one thread)",
    "growth": "Growing networks (seconds, medians of three, one thread)",
    "language": "A large language model without memory",
}


def rendered() -> str:
    """Return what was measured as tables in Markdown."""
    parts = ["# Speed\n"]
    for part, heading in _HEADINGS.items():
        path = RESULTS / f"speed_{part}.csv"
        if path.exists():
            with path.open(newline="", encoding="utf-8") as file:
                names, *rows = csv.reader(file)
            if part == "language":  # one network: its columns stand below each other
                names, rows = (
                    ["", *(row[0] for row in rows)],
                    [list(cells) for cells in zip(names, *rows, strict=True)][1:],
                )
            lines = [_line(names), _line(["---"] * len(names)), *(_line(row) for row in rows)]
            parts.append(f"## {heading}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    main()
