"""What a search costs: separate fits, shared trainings, shared paths, and one path a fold; one process and two."""

import argparse
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import torch
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from skorch.dataset import ValidSplit
from torch import nn

from benchmarks import importance_nets
from benchmarks.importance_nets import CACHE
from benchmarks.zoo import RESULTS, describe_part
from prunekit import TaylorPruner, TaylorPrunerCV
from prunekit.pipeline.nets import ConvNet
from prunekit.schedules import CubicSchedule, GeometricSchedule, LinearSchedule, MilestoneSchedule

_PACKAGES = ("torch", "scikit-learn", "skorch", "joblib", "dask")
_FOLDS = StratifiedKFold(3, shuffle=True, random_state=0)
_TARGETS = [0.2, 0.4, 0.6, 0.8]
_COUNTS = "PRUNEKIT_BENCHMARK_COUNTS"
"""Environment variable with the file in which all processes count."""

OF_TARGET = {
    "step": [CubicSchedule(8), LinearSchedule(0.1), GeometricSchedule(8)],
    "target_reduction": _TARGETS,
}
"""Each target has a course of its own, so that the training before pruning is all that fits can share."""
MILESTONES = {
    "step": [MilestoneSchedule(0.05), MilestoneSchedule(0.1), MilestoneSchedule(0.2)],
    "target_reduction": _TARGETS,
}
"""The course to a target leads over those to smaller ones."""


@dataclass
class Search:
    """A search, what it took, and whether it found what separate fits find."""

    part: str
    way: str
    backend: str
    processes: int
    candidates: int
    fits: int
    trainings: int
    training_steps: int
    pruning_steps: int
    seconds: float
    times_less: float
    equal: bool


class Count(Callback):
    """Counts trainings and training steps in a file, from all processes."""

    def on_train_begin(self, net: NeuralNetClassifier, **kwargs: Any) -> None:
        """Note what is trained."""
        self._is_dense = net.train_split is not None and isinstance(net.module, type)
        self._note("training" if self._is_dense else "tuning", 1)
        self._steps = 0

    def on_batch_end(self, net: NeuralNetClassifier, training: bool = False, **kwargs: Any) -> None:
        """Count."""
        self._steps += training

    def on_train_end(self, net: NeuralNetClassifier, **kwargs: Any) -> None:
        """Note how long it was."""
        self._note("training_steps" if self._is_dense else "pruning_steps", self._steps)

    @staticmethod
    def _note(what: str, number: int) -> None:
        file = os.open(os.environ[_COUNTS], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(file, f"{what} {number}\n".encode())
        finally:
            os.close(file)


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count what all processes do meanwhile."""
    counts: Counter[str] = Counter()
    path = Path(os.environ[_COUNTS])
    path.write_text("")
    yield counts
    for line in path.read_text().splitlines():
        what, number = line.split()
        counts[what] += int(number)


def make_pruner(**params: Any) -> TaylorPruner:
    """Return a pruner of a small convolutional network."""
    net = NeuralNetClassifier(
        ConvNet,
        module__input_shape=(1, 28, 28),
        module__num_classes=10,
        module__widths=[16, 32],
        module__depth=1,
        criterion=nn.CrossEntropyLoss,
        optimizer__momentum=0.9,
        lr=0.02,
        max_epochs=8,
        batch_size=64,
        iterator_train__shuffle=True,
        train_split=ValidSplit(5, stratified=True),
        callbacks=[("count", Count())],
        verbose=0,
    )
    params = {"reduction_of": "macs", "final_epochs": 2, "random_state": 0} | params
    return TaylorPruner(net, **params)


@dataclass(frozen=True)
class Data:
    """Images with labels."""

    x: np.ndarray
    y: np.ndarray


def _data(cache: Path, num_images: int) -> Data:
    images = importance_nets.RECIPES["lenet"].images(cache)[0].part(0, num_images)
    return Data(images.x.numpy(), images.y.numpy())


def grid(part: str, way: str, table: dict[str, list[Any]], data: Data, expected: Any = None, **params: Any) -> Any:
    """Run a grid search and write what it took; return its scores and seconds."""
    backend, processes = params.pop("backend", "none"), params.pop("processes", 1)
    search = GridSearchCV(make_pruner(**params), table, cv=_FOLDS, refit=False, n_jobs=processes)
    start = time.perf_counter()
    with counted() as counts, _engine(backend, processes):
        search.fit(data.x, data.y)
    seconds = time.perf_counter() - start
    scores = np.array([search.cv_results_[f"split{number}_test_score"] for number in range(3)])
    candidates = scores.shape[1]
    row = Search(
        part,
        way,
        backend,
        processes,
        candidates,
        scores.size,
        counts["training"],
        counts["training_steps"],
        counts["pruning_steps"],
        seconds,
        1.0 if expected is None else expected[1] / seconds,
        expected is None or bool(np.array_equal(scores, expected[0])),
    )
    print(row, flush=True)
    _write(row)
    return scores, seconds


def ways(data: Data) -> None:
    """Compare what fits share."""
    alone = grid("ways", "separate fits", OF_TARGET, data)
    with tempfile.TemporaryDirectory() as folder:
        grid("ways", "memory: trainings", OF_TARGET, data, alone, memory=folder)
    milestones = grid("ways", "separate fits, milestones", MILESTONES, data, lr_policy="anneal")
    with tempfile.TemporaryDirectory() as folder:
        grid("ways", "memory: trainings and paths", MILESTONES, data, milestones, lr_policy="anneal", memory=folder)
    ten = {"target_reduction": [round(0.08 * number, 2) for number in range(1, 11)], "step": [MilestoneSchedule(0.08)]}
    points = grid("ways", "separate fits, 10 targets", ten, data, lr_policy="anneal")
    with tempfile.TemporaryDirectory() as folder:
        grid("ways", "memory, 10 targets", ten, data, points, lr_policy="anneal", memory=folder)
    one = grid("ways", "one target", {"target_reduction": [0.8]}, data, step=MilestoneSchedule(0.08))
    path(data, one[1], points[1])


def path(data: Data, one: float, grid_seconds: float) -> None:
    """Walk one path a fold, and compare it with one fit a fold."""
    search = TaylorPrunerCV(make_pruner(target_reduction=0.8), reductions=10, cv=_FOLDS, refit=False)
    start = time.perf_counter()
    with counted() as counts:
        search.fit(data.x, data.y)
    seconds = time.perf_counter() - start
    steps = counts["training_steps"], counts["pruning_steps"]
    row = Search(
        "ways", "TaylorPrunerCV, 10 reductions", "none", 1, 10, 3, counts["training"], *steps, seconds,
        grid_seconds / seconds, True,
    )  # fmt: skip
    print(row, "over one fit a fold:", seconds / one, flush=True)
    _write(row)


def processes(data: Data) -> None:
    """Compare one process and two, by loky and by dask."""
    expected = grid("processes", "separate fits", MILESTONES, data, **_one_thread("none", 1))
    with _all_threads():
        grid("processes", "separate fits, all threads", MILESTONES, data, expected, **_one_thread("none", 1))
    for backend, number in (("loky", 1), ("loky", 2), ("dask", 2), ("dask, its allocator settings", 2)):
        grid("processes", "separate fits", MILESTONES, data, expected, **_one_thread(backend, number))
    for backend, number in (("none", 1), ("loky", 2), ("dask", 2)):
        with tempfile.TemporaryDirectory() as folder:
            grid("processes", "memory", MILESTONES, data, expected, memory=folder, **_one_thread(backend, number))


@contextmanager
def _all_threads() -> Iterator[None]:
    """Compute with as many threads as the machine has cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count() or 1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _one_thread(backend: str, number: int) -> dict[str, Any]:
    return {"backend": backend, "processes": number, "lr_policy": "anneal"}


def _engine(backend: str, number: int) -> Any:
    """Return a context in which `joblib` runs on a backend."""
    if backend == "none":
        return nullcontext()
    if backend == "loky":
        return joblib.parallel_config("loky", n_jobs=number, inner_max_num_threads=1)
    return _dask(number, {} if backend == "dask, its allocator settings" else KEEP_MEMORY)


KEEP_MEMORY = {
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": 2**30,
    "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": 2**25,
}
"""Dask has its workers give freed memory back to the system at once, so that every tensor is new pages."""


@contextmanager
def _dask(number: int, settings: dict[str, int]) -> Iterator[None]:
    import dask
    from distributed import Client, LocalCluster

    with (
        dask.config.set(settings),
        LocalCluster(n_workers=number, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
        joblib.parallel_config("dask", n_jobs=number),
    ):
        client.run(torch.set_num_threads, 1)
        yield


def _write(row: Search) -> None:
    """Put a row in the place of the one before."""
    target = RESULTS / "search.csv"
    table = pd.DataFrame([asdict(row)], columns=[field.name for field in fields(row)])
    keys = ["part", "way", "backend", "processes"]
    if target.exists():
        table = pd.concat([pd.read_csv(target), table]).drop_duplicates(keys, keep="last")
    table.to_csv(target, index=False, float_format="%.5g")
    describe_part(RESULTS / "search.json", row.part, _PACKAGES)


def rendered() -> str:
    """Return the tables in Markdown."""
    table = pd.read_csv(RESULTS / "search.csv")
    text = ["# Searches\n\nWritten by `python -m benchmarks.search`; machine and versions are in `search.json`.\n"]
    titles = {
        "ways": "What fits share: 3 folds, one thread",
        "processes": "One process and two, of one thread each if nothing else is said: 3 schedules, 4 targets, 3 folds",
    }
    for part, own in table.groupby("part", sort=False):
        shown = own.drop(columns=["part", *(["backend", "processes"] if part == "ways" else [])])
        rows = [[_shown(value) for value in row] for row in shown.to_numpy()]
        lines = [list(shown.columns), ["---"] * shown.shape[1], *rows]
        text.append(f"## {titles[str(part)]}\n\n" + "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n")
    return "\n".join(text)


def _shown(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


PARTS: dict[str, Callable[[Data], None]] = {"ways": ways, "processes": processes}


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--cache", type=Path, default=CACHE)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--render", action="store_true", help="only write the tables again")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ[_COUNTS] = str(Path(folder) / "counts")
        for part in () if options.render else options.part:
            PARTS[part](_data(options.cache, options.images))
    (RESULTS / "search.md").write_text(rendered(), encoding="utf-8")


if __name__ == "__main__":
    main()
