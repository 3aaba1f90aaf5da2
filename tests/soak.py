"""Long and rough: many fits in a process, fits in threads, processes that are killed, disks that are full."""

import gc
import os
import random
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from skorch.callbacks import EpochScoring
from torch import nn
from torch.nn.modules import module as torch_module

from prunekit import PrunableNetwork, load_pruner, save
from prunekit.exceptions import FileAccessError
from prunekit.io import read_archive
from tests.nets_skorch import ConvNet, Perceptron, make_classifier, make_images, make_table, quick

ROOT = Path(__file__).parent.parent


# ---------------------------------------------------------------- many fits


@dataclass(frozen=True)
class Resources:
    """What a process holds."""

    resident_kib: int
    files: int
    threads: int
    modules: int
    tensors: int
    global_hooks: int
    temporary: int

    @classmethod
    def now(cls) -> "Resources":
        """Return what is held after everything that can be let go is let go."""
        gc.collect()
        held = gc.get_objects()
        hooks = (value for name, value in vars(torch_module).items() if name.startswith("_global_"))
        return cls(
            resident_kib=int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024,
            files=len(os.listdir("/proc/self/fd")),  # noqa: PTH208  what is listed is the process, not files
            threads=len(os.listdir("/proc/self/task")),  # noqa: PTH208
            modules=sum(issubclass(type(one), nn.Module) for one in held),
            tensors=sum(issubclass(type(one), torch.Tensor) for one in held),
            global_hooks=sum(len(value) for value in hooks if isinstance(value, dict)),
            temporary=len(list(Path(tempfile.gettempdir()).iterdir())),
        )


def _plain(folder: Path, number: int) -> None:
    quick(make_classifier(max_epochs=1), random_state=number).fit(*make_table(200))


def _with_checkpoint(folder: Path, number: int) -> None:
    quick(make_classifier(max_epochs=1), checkpoint=folder / "runs", random_state=number % 3).fit(*make_table(200))


def _with_memory(folder: Path, number: int) -> None:
    net = make_classifier(max_epochs=1)
    quick(net, memory=folder / "memory", lr_policy="constant", random_state=number % 3).fit(*make_table(200))


def _with_callback(folder: Path, number: int) -> None:
    net = make_classifier(max_epochs=1, callbacks=[EpochScoring("f1", lower_is_better=False)])
    quick(net, control=True, distill=0.3, criterion="fisher", random_state=number).fit(*make_table(200))


def _saved_and_loaded(folder: Path, number: int) -> None:
    pruner = quick(make_classifier(max_epochs=1), random_state=number).fit(*make_table(200))
    load_pruner(save(pruner, folder / "net.safetensors"), Perceptron)


def _images(folder: Path, number: int) -> None:
    network = PrunableNetwork(ConvNet(), torch.from_numpy(make_images(4)[0]), criterion="random")
    network.update_prunables(6)
    network.cut()
    network.compact()


def _that_fails(folder: Path, number: int) -> None:
    X, y = make_table(200)
    X = torch.tensor(X)
    X[-1] = torch.nan
    try:
        quick(make_classifier(max_epochs=1), checkpoint=folder / "failed").fit(X, y)
    except RuntimeError:
        return
    raise AssertionError("it must fail")


KINDS: tuple[Callable[[Path, int], None], ...] = (
    *(_plain, _with_checkpoint, _with_memory, _with_callback, _saved_and_loaded, _images, _that_fails),
)


def run_fits(count: int, folder: Path) -> list[Resources]:
    """
    Fit again and again.

    Parameters
    ----------
    count : int
        How often; the kinds take turns.
    folder : Path
        For checkpoints and the like.

    Returns
    -------
    list of Resources
        What is held after each round of all kinds.
    """
    found = []
    for number in range(count):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            KINDS[number % len(KINDS)](folder, number)
        if number % len(KINDS) == len(KINDS) - 1:
            found.append(Resources.now())
    return found


def slope_kib(found: list[Resources]) -> float:
    """Return by how many KiB a fit makes the process larger, over the second half of the rounds."""
    later = [one.resident_kib for one in found[len(found) // 2 :]]
    return float(np.polyfit(np.arange(len(later)), later, 1)[0]) / len(KINDS)


def fit_in_threads(num_threads: int, rounds: int) -> tuple[int, int]:
    """
    Fit at the same time, and one after the other.

    Returns
    -------
    alike, all : int
        How many fits gave the same weights both times, of how many.
    """

    def fit(seed: int) -> dict[str, torch.Tensor]:
        net = make_classifier(max_epochs=1, module__dropout=0.3)
        return dict(quick(net, random_state=seed).fit(*make_table(200)).estimator_.module_.state_dict())

    seeds = range(num_threads * rounds)
    alone = [fit(seed) for seed in seeds]
    with ThreadPoolExecutor(num_threads) as pool:
        together = list(pool.map(fit, seeds))
    same = [
        one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
        for one, other in zip(alone, together, strict=True)
    ]
    return sum(same), len(same)


# ---------------------------------------------------------------- the end of a process


_SAVER = """
    import sys
    import torch
    from prunekit import save
    from torch import nn

    torch.set_num_threads(1)
    nets = [nn.Sequential(nn.Linear(200, 800), nn.ReLU(), nn.Linear(800, 10)) for _ in range(2)]
    for number, net in enumerate(nets):
        for parameter in net.parameters():
            nn.init.constant_(parameter, number)
    save(nets[0], sys.argv[1])
    print("ready", flush=True)
    while True:
        for net in nets:
            save(net, sys.argv[1])
"""

_FITTER = """
    import sys
    import torch
    from tests.nets_skorch import make_classifier, make_table, quick

    torch.set_num_threads(1)
    print("ready", flush=True)
    net = make_classifier(max_epochs=3)
    pruner = quick(net, step=0.1, target_reduction=0.6, final_epochs=2, checkpoint=sys.argv[1]).fit(*make_table())
    print(pruner.stop_reason_, sum(p.double().sum().item() for p in pruner.estimator_.module_.parameters()))
"""


@contextmanager
def started(program: str, *arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """Start a program, wait until it is at work, and see that it ends in the end."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program), *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=_hear_ctrl_c,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n", process.stderr and process.stderr.read()
        yield process
    finally:
        process.kill()
        process.communicate()


def _hear_ctrl_c() -> None:
    """Let Ctrl-C be Ctrl-C, also where a shell has started the tests in the background, which ignores it."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def end_saving(path: Path, count: int, how: signal.Signals, rng: random.Random) -> dict[str, int]:
    """
    End processes that save without end, at random moments.

    Parameters
    ----------
    path : Path
        Where they save.
    count : int
        How many.
    how : Signals
        SIGKILL, SIGTERM or SIGINT.
    rng : Random
        Chooses the moments.

    Returns
    -------
    dict
        ``ended``; ``whole``, how often the file was then one of the two that are saved; ``left``, how often something
        was left beside it.
    """
    found = {"ended": 0, "whole": 0, "left": 0}
    for _ in range(count):
        with started(_SAVER, str(path)) as process:
            time.sleep(rng.uniform(0.0, 0.15))
            process.send_signal(how)
            process.wait(30)
        found["ended"] += 1
        found["whole"] += _is_whole(path)
        left = list(path.parent.glob(".*.part"))
        found["left"] += bool(left)
        for one in left:
            one.unlink()
    return found


def _is_whole(path: Path) -> bool:
    tensors = read_archive(path).tensors.values()
    first = next(iter(tensors)).flatten()[0]
    return bool(first in (0.0, 1.0) and all((tensor == first).all() for tensor in tensors))


def end_fitting(folder: Path, count: int, how: signal.Signals, rng: random.Random) -> tuple[int, bool]:
    """
    End processes that fit with a checkpoint, at random moments, and let the last one come to its end.

    Returns
    -------
    ended : int
        How many were ended.
    same : bool
        Whether the last one has the result of one that nobody ended.
    """
    ended = 0
    for _ in range(count):
        with started(_FITTER, str(folder)) as process:
            time.sleep(rng.uniform(0.05, 0.5))
            process.send_signal(how)
            process.wait(60)
            ended += process.returncode == -how or how == signal.SIGINT
    results = []
    for own in (folder, folder.with_name("other")):
        with started(_FITTER, str(own)) as process:
            results.append(process.communicate(timeout=120)[0])
    assert results[1].startswith("target_reduction"), results
    return ended, results[0] == results[1]


@contextmanager
def small_disk(folder: Path, size_kib: int) -> Iterator[Path]:
    """
    Give a file system of a few kibibytes.

    Raises
    ------
    OSError
        If this process may not make one.
    """
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_kib}k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as exc:
        raise OSError("there is no mount here") from exc
    if done.returncode:
        raise OSError(done.stderr.strip() or "mount failed")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def fill_disk(disk: Path) -> dict[str, bool]:
    """
    Save onto a disk that is too small for more than one network.

    Returns
    -------
    dict
        ``refused``: with an error of the package; ``whole``: the old file; ``clean``: nothing else is there;
        ``resumed``: a fit whose checkpoint found no room goes on when there is some.
    """
    net = nn.Sequential(nn.Linear(100, 300), nn.ReLU(), nn.Linear(300, 10))
    path = save(net, disk / "net.safetensors")
    before = path.read_bytes()
    refused = []
    for own in (net, nn.Linear(500, 500)):
        try:
            save(own, path)
        except FileAccessError as exc:
            refused.append(exc.errno == 28)
    whole, clean = path.read_bytes() == before, [one.name for one in disk.iterdir()] == [path.name]
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(1024)):
                pass
        except OSError:
            pass
    pruner = quick(make_classifier(max_epochs=1), checkpoint=disk / "runs")
    try:
        pruner.fit(*make_table(100))
    except FileAccessError as exc:
        refused.append(exc.errno == 28)
    filler.unlink()
    path.unlink()
    pruner.fit(*make_table(100))
    return {
        "refused": refused == [True, True, True],
        "whole": whole,
        "clean": clean,
        "resumed": pruner.reduction_ > 0.4,
    }


def interrupt_saving(path: Path, count: int, rng: random.Random) -> dict[str, int]:
    """Press Ctrl-C in this process while it saves; see `end_saving` for what is returned."""
    nets = [nn.Sequential(nn.Linear(200, 800), nn.ReLU(), nn.Linear(800, 10)) for _ in range(2)]
    for number, net in enumerate(nets):
        for parameter in net.parameters():
            nn.init.constant_(parameter, float(number))
    save(nets[0], path)
    found = {"ended": 0, "whole": 0, "left": 0}
    while found["ended"] < count:
        timer = threading.Timer(rng.uniform(0.0, 0.03), signal.raise_signal, [signal.SIGINT])
        try:
            timer.start()
            while True:
                for net in nets:
                    save(net, path)
        except KeyboardInterrupt:
            found["ended"] += 1
        timer.join()
        found["whole"] += _is_whole(path)
        found["left"] += bool(list(path.parent.glob(".*.part")))
    return found
