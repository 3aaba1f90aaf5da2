"""Whatever is in a file: an error of the package or a result, and nothing else happens."""

import importlib
import json
import os
import random
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import hostile

OUTCOMES = json.loads((hostile.CORPUS / "outcomes.json").read_text(encoding="utf-8"))
QUICK = [name for name in hostile.TARGETS if name != "fit"]


@pytest.fixture(scope="module")
def canary(tmp_path_factory):
    """A module that must not be imported."""
    folder = tmp_path_factory.mktemp("hidden")
    trace = hostile.hide_canary(folder)
    yield trace
    sys.path.remove(str(folder))
    assert not trace.exists()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


@pytest.mark.parametrize("target", hostile.TARGETS)
def test_what_is_right_is_read(target, canary, folder):
    for name in hostile.TARGETS[target].seeds:
        assert hostile.judge(target, hostile.seed(name), folder) == "right"


def test_the_corpus_is_whole():
    found = {str(path.relative_to(hostile.CORPUS)) for path in hostile.CORPUS.rglob("*") if path.is_file()}
    assert found == {*OUTCOMES, "outcomes.json"}
    assert sum((hostile.CORPUS / name).stat().st_size for name in found) < 200_000


@pytest.mark.parametrize("name", OUTCOMES)
def test_the_corpus(name, canary, folder):
    content = (hostile.CORPUS / name).read_bytes()
    assert hostile.judge(Path(name).parent.name, content, folder) == OUTCOMES[name]


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda path: {}["a"], "KeyError came through"),
        (lambda path: path.with_name("more").write_text(""), "a file was written"),
        (lambda path: b"x" * (2**28 + int(hostile._peak_bytes())), "MiB for 1 bytes"),
        (lambda path: importlib.import_module("this"), r"\['this'\] were imported"),
    ],
    ids=["an error", "a file", "memory", "an import"],
)
def test_the_judge_sees(monkeypatch, capsys, folder, read, message):
    monkeypatch.delitem(sys.modules, "this", raising=False)
    monkeypatch.setitem(hostile.TARGETS, "bad", hostile.Target(read, ()))
    with pytest.raises(hostile.ViolationError, match=message):
        hostile.judge("bad", b"x", folder)


@pytest.mark.parametrize("target", QUICK)
@given(rng=st.randoms(use_true_random=False))
def test_files_that_are_changed(tmp_path_factory, canary, target, rng):
    folder = tmp_path_factory.getbasetemp() / f"hostile_{target}"
    folder.mkdir(exist_ok=True)
    name = rng.choice(hostile.TARGETS[target].seeds)
    hostile.judge(target, hostile.mutated(name, hostile.seed(name), rng), folder)
    assert not canary.exists()


@pytest.mark.slow
@given(rng=st.randoms(use_true_random=False))
@settings(max_examples=20)
def test_fits_that_go_on_from_a_file_that_is_changed(tmp_path_factory, canary, rng):
    folder = tmp_path_factory.getbasetemp() / "hostile_fit"
    folder.mkdir(exist_ok=True)
    hostile.judge("fit", hostile.mutated("run", hostile.seed("run"), rng), folder)
    assert not canary.exists()


@pytest.mark.slow
@pytest.mark.skipif(os.environ.get("HYPOTHESIS_PROFILE") != "nightly", reason="in the nightly profile only")
def test_ten_minutes(folder, canary):
    seed = random.randrange(2**32)
    rng, end = random.Random(seed), time.monotonic() + 60 * float(os.environ.get("PRUNEKIT_FUZZ_MINUTES", "10"))
    while time.monotonic() < end:
        target = rng.choice(QUICK)
        name = rng.choice(hostile.TARGETS[target].seeds)
        try:
            hostile.judge(target, hostile.mutated(name, hostile.seed(name), rng), folder)
        except hostile.ViolationError as exc:
            raise AssertionError(f"with the seed {seed}") from exc
    assert not canary.exists()


_BOMBS = """
    import json, os, resource, sys
    from pathlib import Path

    import torch

    from tests import hostile

    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    document, tensors = hostile.opened(hostile.seed("module"))
    net, net_tensors = hostile.opened(hostile.seed("net"))
    large = torch.zeros(1_000_000, dtype=torch.uint8)
    often = [{"array": "prunekit/9", "dtype": "|u1", "shape": [1_000_000]}] * 20_000
    strings = {"kind": "array", "dtype": "U", "shape": [20_001], "items": ["a" * 100_000, *[""] * 20_000]}
    net["parts"]["net"]["dict"].append(["attributes", hostile.encoded({"odd_": strings})])
    starts = (b"[", b"- ", b"? ", b"{", b"a: ", b"&a ", b"'")
    bombs = [
        ("load", hostile.signed({**document, "parts": {"a": often}}, {**tensors, "prunekit/9": large})),
        ("load", hostile.signed({**document, "parts": {"a": [[]] * 1_000_000}}, tensors)),
        ("load_net", hostile.signed(net, net_tensors)),
        ("read_state", hostile.signed_state(b"[" + b"[]," * 2_000_000 + b"[]]", {})),
        ("read_state", hostile.signed_state(b"[" + b"0," * 3_000_000 + b"0]", {})),
        ("from_json", b"[" + b"[]," * 2_000_000 + b"[]]"),
        *(("load_experiment", (start * 260_000)[: 256 * 1024]) for start in starts),
        ("load_experiment", b"".join(b"k%d: 1\\n" % number for number in range(25_000))),
        ("load_experiment", b"prune:\\n  include: [" + b"[1], " * 50_000 + b"1]\\n"),
    ]
    for target in hostile.TARGETS.values():  # what is taken once
        for name in target.seeds:
            folder.joinpath("warm").write_bytes(hostile.seed(name))
            target.read(folder / "warm")
    folder.joinpath("warm").unlink()
    now = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (now + 3 * 2**30, resource.RLIM_INFINITY))
    for target, content in bombs:
        print(target, len(content), hostile.judge(target, content, folder), flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is measured as Linux tells it")
def test_small_files_do_not_become_large(folder, tmp_path):
    script = tmp_path / "bombs.py"
    script.write_text(textwrap.dedent(_BOMBS))
    done = subprocess.run(
        [sys.executable, str(script), str(folder)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert len(done.stdout.splitlines()) == 15
