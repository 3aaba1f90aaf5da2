"""Many fits, fits in threads, and processes that end in the midst: quick versions of `benchmarks/soak.py`."""

import random
import signal
import tempfile
from pathlib import Path

import pytest

from tests import soak

linux = pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts what Linux tells of a process")


@pytest.fixture
def _temporary(tmp_path, monkeypatch):
    """A folder for temporary files that nobody else uses."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))


@linux
@pytest.mark.slow
@pytest.mark.usefixtures("_temporary")
def test_fits_leave_nothing(tmp_path):
    found = soak.run_fits(6 * len(soak.KINDS), tmp_path)
    first, last = found[1], found[-1]
    for name in ("files", "threads", "global_hooks", "temporary"):  # torch has a folder of its own there
        assert getattr(last, name) == getattr(first, name), name
    assert last.modules <= first.modules
    assert last.tensors <= first.tensors
    assert soak.slope_kib(found) < 500  # some rounds only; what remains of a network is larger
    assert not list(tmp_path.rglob("*.part"))


def test_fits_in_threads_give_the_same():
    assert soak.fit_in_threads(4, 1) == (4, 4)


@linux
def test_a_full_disk(tmp_path):
    try:
        with soak.small_disk(tmp_path / "disk", 256) as disk:
            assert soak.fill_disk(disk) == {"refused": True, "whole": True, "clean": True, "resumed": True}
    except OSError as exc:
        if "disk" in str(exc) and not isinstance(exc, PermissionError):
            raise
        pytest.skip(f"no file system can be made: {exc}")


# Between the opening of a file and the block that closes it, Ctrl-C leaves that to Python, which warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_ctrl_c_while_saving(tmp_path):
    found = soak.interrupt_saving(tmp_path / "net.safetensors", 5, random.Random(0))
    assert found == {"ended": 5, "whole": 5, "left": 0}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM", "SIGINT"])
def test_processes_that_end_while_saving(tmp_path, how):
    found = soak.end_saving(tmp_path / "net.safetensors", 3, signal.Signals[how], random.Random(0))
    assert found["whole"] == found["ended"] == 3
    assert how != "SIGINT" or found["left"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT"])
def test_processes_that_end_while_fitting(tmp_path, how):
    ended, same = soak.end_fitting(tmp_path / "runs", 2, signal.Signals[how], random.Random(1))
    assert ended >= 1
    assert same
