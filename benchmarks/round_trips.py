"""
Round trips of pruned networks: through `save` and `load`, ONNX, and programs of ``torch.export``.

Run ``python -m benchmarks.round_trips``; see ``benchmarks/README.md``. Each network loses 30 % of its units at random.
"""

import argparse
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from benchmarks.zoo import describe_part
from benchmarks.zoo_common import calibrated, quiet
from prunekit import PrunableNetwork, export_onnx, export_program, load, save
from prunekit.exceptions import PrunekitError
from prunekit.surgery import evaluate, relative_difference
from prunekit.tracing import Inputs, duplicate_inputs, named_outputs
from tests.zoo.check import Given, remove

RESULTS = Path(__file__).parent / "results"
FRACTION = 0.3
_PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "torchvision", "timm", "transformers", "numpy")
_KEYS = ["zoo", "network"]


@dataclass
class RoundTrips:
    """
    What became of one pruned network; differences are relative to the largest output.

    Parameters
    ----------
    zoo, network : str
        The network.
    units, removed : int
        Its units, and how many of them it lost.
    saved, onnx, program : float
        Largest difference after the round trip; empty where there was none.
    onnx_batch, program_batch : str
        ``any`` where batches of one, two or more examples, and three were compared, ``fixed`` where the file takes
        batches of one size only.
    onnx_bytes : int
        Size of the file.
    onnx_seconds, program_seconds : float
        Time to write, run and compare, on one thread.
    saved_failure, onnx_failure, program_failure : str
        Why there was none, or why the batch is fixed.
    """

    zoo: str
    network: str
    units: int = 0
    removed: int = 0
    saved: float | None = None
    onnx: float | None = None
    program: float | None = None
    onnx_batch: str = ""
    program_batch: str = ""
    onnx_bytes: int | None = None
    onnx_seconds: float | None = None
    program_seconds: float | None = None
    saved_failure: str = ""
    onnx_failure: str = ""
    program_failure: str = ""


Made = tuple[nn.Module, Any]


def small() -> Iterator[tuple[str, Callable[[], Made]]]:
    """Yield the networks of the tests."""
    from tests.zoo.test_zoo import CASES

    for case in CASES:
        yield case.name, case.make


def large() -> Iterator[tuple[str, Callable[[], Made]]]:
    """Yield the large networks of the tests."""
    from benchmarks.zoo_models import LISTS
    from tests.zoo.test_large import UNITS

    def make(build: Callable[[], Made]) -> Made:
        module, inputs = build()
        return calibrated(module, inputs), inputs

    for listed, name in UNITS:
        yield f"{listed}/{name}", lambda build=LISTS[listed][name]: make(build)


ZOOS = {"small": small, "large": large}


def measure(zoo: str, name: str, make: Callable[[], Made], folder: Path) -> RoundTrips:
    """Return the row of a network."""
    row = RoundTrips(zoo, name)
    torch.manual_seed(0)
    module, inputs = make()
    network = PrunableNetwork(module.eval(), inputs, criterion=Given())
    row.units = network.num_prunables
    row.removed = remove(network, FRACTION)
    pruned = network.compact(verify=False).eval()
    given = Inputs.of(inputs)
    try:
        path = save(pruned, folder / "net.safetensors", X=None)
        back = load(path, lambda: make()[0]).eval()
        expected, found = (named_outputs(evaluate(one, duplicate_inputs(given))) for one in (pruned, back))
        row.saved = max(relative_difference(tensor, found[key]) for key, tensor in expected.items())
    except PrunekitError as error:
        row.saved_failure = _line(error)
    for form, export in (("onnx", export_onnx), ("program", export_program)):
        _export(row, form, export, pruned, given, folder)
    return row


def _export(
    row: RoundTrips, form: str, export: Callable[..., Any], pruned: nn.Module, given: Inputs, folder: Path
) -> None:
    """Export for batches of any size, and where that fails for one size."""
    for dynamic in (True, False):
        start = time.perf_counter()
        try:
            report = export(pruned, folder / f"net.{form}", given, dynamic_batch=dynamic)
        except PrunekitError as error:
            setattr(row, f"{form}_failure", _line(error))
            continue
        setattr(row, form, report.largest_difference)
        setattr(row, f"{form}_batch", "any" if dynamic else "fixed")
        setattr(row, f"{form}_seconds", time.perf_counter() - start)
        if form == "onnx":
            row.onnx_bytes = report.file_bytes
        return


def _line(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:400]


def write(row: RoundTrips) -> None:
    """Put a row in the place of the one before."""
    target = RESULTS / "round_trips.csv"
    table = pd.DataFrame([asdict(row)], columns=[field.name for field in fields(row)])
    if target.exists():
        table = pd.concat([pd.read_csv(target, keep_default_na=True), table]).drop_duplicates(_KEYS, keep="last")
    table.to_csv(target, index=False, float_format="%.3g")


_WHOSE = {
    r"there is no translation": "PyTorch's ONNX exporter",
    "cat_batch": "the network: it concatenates along the batch",
    "distances": "PyTorch: `cdist` is another algorithm beyond 25 rows",
    "multihead_without_batch": "the network: it has no batch",
    r"does not run .*(NOT_IMPLEMENTED|INVALID_GRAPH)": "ONNX Runtime: no such kernel on CPUs",
    r"as_string": "`torch.export`: it writes strings and does not read them",
    r"its code fixes the size of the batch": "the network",
    r"Could not guard on data-dependent": "the network: it branches on values",
    r"Unsupported|not a known type": "`torch.export`: objects that it does not know",
}
"""By name of the network, or what was said."""
_TIMED = ("onnx", "program")
_FORMS = {"saved": "`save`, `load`", "onnx": "ONNX", "program": "`torch.export`"}


def rendered() -> str:
    """Return the tables in Markdown."""
    table = pd.read_csv(RESULTS / "round_trips.csv")
    text = [
        "# Round trips\n\nWritten by `python -m benchmarks.round_trips`; see `round_trips.json` for the machine.\n"
        f"Each network loses {FRACTION:.0%} of its units at random, then goes through a file. ONNX Runtime and a "
        "new copy of the program, or of the network, run on the CPU; the largest difference is relative to the "
        "largest output, over batches of the size of the examples, of one and of three where the batch is dynamic.\n"
    ]
    for zoo, own in table.groupby("zoo", sort=False):
        lines = [
            ["", "networks", "right, any batch", "right, one batch size", "refused", "largest difference"],
            ["---"] * 6,
        ]
        for form, title in _FORMS.items():
            batch = own[f"{form}_batch"] if form != "saved" else own["saved"].notna().map({True: "any", False: ""})
            counts = [(batch == "any").sum(), (batch == "fixed").sum(), own[form].isna().sum()]
            lines.append([title, str(len(own)), *map(str, counts), f"{own[form].max():.2g}"])
        text.append(f"## The {zoo} zoo\n\n{_rows(lines)}\n")
        failed = [
            [
                str(row["network"]),
                _FORMS[form],
                _batch(row, form),
                _told(row[f"{form}_failure"]),
                _whose(f"{row['network']} {row[f'{form}_failure']}"),
            ]
            for _, row in own.iterrows()
            for form in _FORMS
            if isinstance(row[f"{form}_failure"], str) and row[f"{form}_failure"]
        ]
        if failed:
            text.append(_rows([["network", "file", "batch", "what was said", "whose"], ["---"] * 5, *failed]) + "\n")
        if zoo == "large":
            rows = [
                [
                    str(row["network"]),
                    f"{row['removed']:,}/{row['units']:,}",
                    *(f"{row[form]:.2g}" if row[form] == row[form] else "" for form in _FORMS),
                    *(
                        f"{row[f'{form}_seconds']:.0f}" if row[form] == row[form] else ""
                        for form in ("onnx", "program")
                    ),
                ]
                for _, row in own.iterrows()
            ]
            head = ["network", "units removed", *_FORMS.values(), "ONNX, s", "program, s"]
            text.append(_rows([head, ["---"] * len(head), *rows]) + "\n")
    return "\n".join(text)


def _whose(failure: str) -> str:
    return next((whose for pattern, whose in _WHOSE.items() if re.search(pattern, failure)), "")


def _batch(row: Any, form: str) -> str:
    return "none" if form == "saved" or pd.isna(row[f"{form}_batch"]) else str(row[f"{form}_batch"])


def _told(failure: str) -> str:
    text = re.sub(r"(Nothing was written\.|\w+\(…, dynamic_batch=False\).*)", "", failure.partition(": ")[2])
    return text.replace("|", "\\|").strip()


def _rows(lines: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--zoo", nargs="+", choices=ZOOS, default=list(ZOOS))
    parser.add_argument("--only", nargs="+", help="names of networks")
    parser.add_argument("--missing", action="store_true", help="go on after an interruption")
    parser.add_argument("--render", action="store_true", help="only write the tables again")
    options = parser.parse_args()
    torch.set_num_threads(1)
    target = RESULTS / "round_trips.csv"
    known = set(map(tuple, pd.read_csv(target)[_KEYS].to_numpy())) if options.missing and target.exists() else set()
    with tempfile.TemporaryDirectory() as folder, quiet():
        for zoo in () if options.render else options.zoo:
            for name, make in ZOOS[zoo]():
                if (options.only and name not in options.only) or (zoo, name) in known:
                    continue
                row = measure(zoo, name, make, Path(folder))
                print(row, flush=True)
                write(row)
            describe_part(RESULTS / "round_trips.json", zoo, _PACKAGES)
    (RESULTS / "round_trips.md").write_text(rendered(), encoding="utf-8")


if __name__ == "__main__":
    main()
