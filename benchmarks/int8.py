"""
Prune, then quantize to 8-bit integers: size, speed and accuracy.

Run ``python -m benchmarks.int8``; see ``benchmarks/README.md`` and ``docs/export.md``. All numbers are of one thread.
"""

import argparse
import copy
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass, fields
from functools import partial
from io import StringIO
from logging import WARNING, disable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
import torch
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from benchmarks.importance_nets import CACHE, Images
from benchmarks.loop import NETS, case_of, pruner_of
from benchmarks.loop_rivals import Budget, macs_of
from benchmarks.zoo import describe_part
from prunekit import export_onnx

RESULTS = Path(__file__).parent / "results"
SIZES = {1: 1000, 32: 200}
"""Batch sizes, and how often each is timed."""
ARMS = {"pruned": None, "pruned to multiples of 16 channels": 16}
"""Pruned networks by ``round_to``; 16 numbers are what an instruction of AVX-512 takes."""
NUM_CALIBRATION = 512
"""Held-out training images whose activations give the ranges; a few hundred are customary."""
_PACKAGES = ("torch", "onnx", "onnxruntime", "skorch", "scikit-learn", "numpy")


class Batches(CalibrationDataReader):  # type: ignore[misc]
    """
    Feeds data to ONNX Runtime's calibration.

    Parameters
    ----------
    name : str
        Name of the input.
    batches : iterable of ndarray
        What it gets.
    """

    def __init__(self, name: str, batches: Iterable[NDArray[Any]]) -> None:
        self.batches = ({name: batch} for batch in batches)

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        """Return the next batch, None at the end."""
        return next(self.batches, None)


def quantize(source: Path, target: Path, batches: Iterable[NDArray[Any]]) -> Path:
    """
    Write the 8-bit version of an ONNX file.

    Parameters
    ----------
    source, target : Path
        Files; the network has one input.
    batches : iterable of ndarray
        Data like those that the network will get, from whose activations the ranges are taken.

    Returns
    -------
    Path
        `target`.
    """
    prepared = target.with_suffix(".prepared.onnx")
    name = onnxruntime.InferenceSession(str(source), providers=["CPUExecutionProvider"]).get_inputs()[0].name
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        disable(WARNING)
        try:
            quant_pre_process(source, prepared, skip_symbolic_shape=True)  # batch norm goes into the convolutions
            quantize_static(
                prepared,
                target,
                Batches(name, batches),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                weight_type=QuantType.QInt8,
                activation_type=QuantType.QUInt8,  # u8 x s8 is what processors multiply in one instruction
                calibrate_method=CalibrationMethod.MinMax,
            )
        finally:
            disable(0)
    prepared.unlink()
    return target


@dataclass
class Row:
    """
    One of the networks.

    Parameters
    ----------
    net, seed : str, int
        Where it is from.
    network : str
        Which it is.
    macs : int
        Multiply-adds for one image.
    file_bytes : int
        Size of the ONNX file.
    accuracy : float
        On the test images, by ONNX Runtime.
    ms_1, ms_32 : float
        Median milliseconds for batches of 1 and 32.
    times_faster_1, times_faster_32 : float
        Median of the ratio to the dense float network in the same turn.
    """

    net: str
    seed: int
    network: str
    macs: int
    file_bytes: int
    accuracy: float
    ms_1: float
    times_faster_1: float
    ms_32: float
    times_faster_32: float


def session_of(path: Path) -> onnxruntime.InferenceSession:
    """Return a session of one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def call_of(session: onnxruntime.InferenceSession, batch: NDArray[Any]) -> Callable[[], Any]:
    """Return what runs a session."""
    return partial(session.run, None, {session.get_inputs()[0].name: batch})


def accuracy_of(session: onnxruntime.InferenceSession, images: Images) -> float:
    """Return the share of images that are classified right."""
    found = [call_of(session, batch.numpy())()[0].argmax(1) for batch in images.x.split(500)]
    return float((np.concatenate(found) == images.y.numpy()).mean())


def in_turns(calls: dict[str, Callable[[], Any]], repeats: int) -> pd.DataFrame:
    """Return the milliseconds of calls that take turns, so that a slow moment of the machine hits them all."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(10 + repeats):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(1e3 * (time.perf_counter() - start))
    return pd.DataFrame(times).iloc[10:]


def measure(net: str, seed: int, target: float, cache: Path) -> list[Row]:
    """Prune a trained network, and quantize all."""
    case = case_of(net, seed, cache)
    modules = {"dense": copy.deepcopy(case.module).to(memory_format=torch.contiguous_format)}
    for name, round_to in ARMS.items():
        pruner = pruner_of(net, case, target, Budget(), seed, round_to=round_to).fit(case.train.x, case.train.y)
        modules[name] = pruner.estimator_.module_
    calibration = case.held_out.x[:NUM_CALIBRATION].numpy()
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for name, module in modules.items():
            paths[f"{name}, float32"] = export_onnx(module, Path(folder) / f"{len(paths)}.onnx", case.test.x[:8]).path
        for name in modules:
            source, quantized = paths[f"{name}, float32"], Path(folder) / f"{len(paths)}.int8.onnx"
            paths[f"{name}, int8"] = quantize(source, quantized, np.split(calibration, NUM_CALIBRATION // 32))
        sessions = {name: session_of(path) for name, path in paths.items()}
        sizes = {name: path.stat().st_size for name, path in paths.items()}
    times = {
        size: in_turns({name: call_of(one, case.test.x[:size].numpy()) for name, one in sessions.items()}, repeats)
        for size, repeats in SIZES.items()
    }
    rows = []
    for name, session in sessions.items():
        columns: dict[str, float] = {}
        for size, table in times.items():
            columns[f"ms_{size}"] = float(table[name].median())
            columns[f"times_faster_{size}"] = float((table["dense, float32"] / table[name]).median())
        macs = macs_of(modules[name.partition(",")[0]], case.test.x[:1])
        rows.append(Row(net, seed, name, macs, sizes[name], accuracy_of(session, case.test), **columns))
        print(rows[-1], flush=True)
    return rows


def write(rows: list[Row]) -> None:
    """Put rows in the place of those before."""
    target = RESULTS / "int8.csv"
    table = pd.DataFrame([asdict(row) for row in rows], columns=[field.name for field in fields(Row)])
    if target.exists():
        table = pd.concat([pd.read_csv(target), table]).drop_duplicates(["net", "seed", "network"], keep="last")
    table.to_csv(target, index=False, float_format="%.5g")
    describe_part(RESULTS / "int8.json", ", ".join(dict.fromkeys(row.net for row in rows)), _PACKAGES)


def rendered() -> str:
    """Return the tables in Markdown."""
    table = pd.read_csv(RESULTS / "int8.csv")
    text = [
        "# Prune, then quantize\n\nWritten by `python -m benchmarks.int8`; `int8.json` says on which "
        "machine.\nFashion-MNIST, ONNX Runtime, one thread of the CPU, the networks in turns. Accuracy is on "
        "10,000 test images, mean over seeds, and standard deviation where there are several.\n"
    ]
    head = ["network", "macs", "file, kB", "test accuracy, %", "batch 1, ms", "times", "batch 32, ms", "times"]
    for net, own in table.groupby("net", sort=False):
        lines = [head, ["---"] * len(head)]
        for name, rows in own.groupby("network", sort=False):
            spread = f" ± {100 * rows['accuracy'].std():.2f}" if len(rows) > 1 else ""
            mean = rows.mean(numeric_only=True)
            lines.append(
                [
                    str(name),
                    f"{mean['macs'] / 1e6:.2f} M",
                    f"{mean['file_bytes'] / 1e3:.0f}",
                    f"{100 * mean['accuracy']:.2f}{spread}",
                    *(f"{mean[f'{column}_{size}']:.3g}" for size in SIZES for column in ("ms", "times_faster")),
                ]
            )
        seeds = own["seed"].nunique()
        table_text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        text.append(f"## {net}, {seeds} {'seed' if seeds == 1 else 'seeds'}\n\n{table_text}\n")
    return "\n".join(text)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--net", nargs="+", choices=NETS, default=["vgg16"])
    parser.add_argument("--seed", nargs="+", type=int, default=[0])
    parser.add_argument("--target", type=float, default=0.75, help="fraction of multiply-adds to remove")
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--render", action="store_true", help="only write the tables again")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for net in () if options.render else options.net:
        for seed in options.seed:
            write(measure(net, seed, options.target, options.cache))
    (RESULTS / "int8.md").write_text(rendered(), encoding="utf-8")


if __name__ == "__main__":
    main()
