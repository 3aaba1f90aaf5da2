"""What is seen of a run while it goes on: a bar on a terminal, lines in a file, nothing at all if not asked for."""

import io
import itertools
import logging
import multiprocessing
import re
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, redirect_stderr
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import Callback, EarlyStopping
from tqdm.auto import tqdm

from prunekit import TaylorPrunerCV
from prunekit._loop import Progress, progress
from prunekit.exceptions import TrainingError
from tests.nets_skorch import Exploding, make_classifier, quick

LINE = re.compile(
    r"(Iteration \d/\d|Final training|Control run|Pruned): \d+\.\d % removed, (score|loss) \d\.?\d*, "
    r"\d+/\d+ batches, \d\d:\d\d elapsed(, about \d\d:\d\d left)?"
)


TRAINING = re.compile(
    r"(Training|Trained): (valid_acc \d\.?\d*, valid_loss \d\.\d+, |train_loss \d\.\d+, )?\d+/\d+ epochs, "
    r"\d\d:\d\d elapsed(, about \d\d:\d\d left)?"
)


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self):
        return True

    def screens(self):
        """Return what a bar showed, one after the other."""
        return [shown.strip() for shown in self.getvalue().split("\r") if shown.strip()]


@contextmanager
def on_terminal():
    """Let the standard error be a terminal; pytest puts its own there before every test, so no fixture can."""
    terminal = Terminal()
    with redirect_stderr(terminal):
        yield terminal


@pytest.fixture(autouse=True)
def _columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "100")


@pytest.fixture(autouse=True)
def _no_bar_stays_open():
    assert not tqdm._instances
    yield
    assert not tqdm._instances


OPEN = []
"""How many bars were open at the end of each mini-batch that a `Spy` saw."""


class Spy(Callback):
    def on_batch_end(self, net, **kwargs):
        OPEN.append(len(tqdm._instances))


# ---------------------------------------------------------------- quiet


def test_nothing_is_shown_unless_asked_for(dense, table, capfd, caplog):
    with caplog.at_level(logging.DEBUG, "prunekit"):
        quick(FrozenEstimator(dense), control=True, final_epochs=1).fit(*table)
        TaylorPrunerCV(quick(make_classifier()), reductions=2, cv=2, tolerance=1.0).fit(*table)

    assert capfd.readouterr() == ("", "")
    assert not caplog.records


def test_nothing_is_shown_on_a_terminal_unless_asked_for(dense, table):
    with on_terminal() as terminal:
        quick(FrozenEstimator(dense)).fit(*table)

    assert terminal.getvalue() == ""


# ---------------------------------------------------------------- in a file


def test_lines_in_a_file(dense, table, capfd):
    pruner = quick(FrozenEstimator(dense), control=True, final_epochs=1, verbose=1).fit(*table)

    out, err = capfd.readouterr()
    assert out == ""
    assert "\r" not in err
    assert "\x1b" not in err
    lines = err.splitlines()
    assert all(LINE.fullmatch(line) for line in lines)
    stages = [line.partition(":")[0] for line in lines]
    iterations = [f"Iteration {number + 1}/{pruner.n_iterations_}" for number in range(pruner.n_iterations_)]
    assert stages == [*iterations, "Final training", "Control run", "Pruned"]
    reached = [float(re.search(r"([\d.]+) % removed", line)[1]) for line in lines]
    before = [0.0, *pruner.history_["reduction"].iloc[1 : pruner.n_iterations_]]
    assert reached[: pruner.n_iterations_] == [round(100 * reduction, 1) for reduction in before]
    done, total = re.search(r"(\d+)/(\d+) batches", lines[-1]).groups()
    assert done == total


def test_logging_that_is_set_up_gets_the_lines(dense, table, caplog, capfd):
    with caplog.at_level(logging.INFO, "prunekit"):
        quick(FrozenEstimator(dense), verbose=1).fit(*table)

    assert all(LINE.fullmatch(record.getMessage()) for record in caplog.records)
    assert {(record.name, record.levelname) for record in caplog.records} == {("prunekit", "INFO")}
    assert caplog.messages[-1].startswith("Pruned: ")
    assert capfd.readouterr() == ("", "")  # told once


def test_the_loss_is_told_where_there_is_no_score(table, capfd):
    quick(make_classifier(train_split=None), verbose=1).fit(*table)

    lines = capfd.readouterr().err.splitlines()
    assert re.fullmatch(r"Trained: train_loss \d\.\d+, 3/3 epochs, \d\d:\d\d elapsed", lines[1])
    assert len(lines) > 3
    assert all(re.search(r"removed, loss \d\.\d+,", line) for line in lines[2:])


def test_a_long_stage_tells_of_itself(monkeypatch, capfd):
    clock = itertools.count(0, 10)  # seconds; it is looked at when a stage begins, at a batch, and at a line
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))

    with Progress("Pruning", shown=True) as shown:
        shown.expect(6)
        for _ in range(6):
            shown.tick()

    assert capfd.readouterr().err.splitlines() == [
        "Pruning: 3/6 batches, 00:40 elapsed, about 00:40 left",
        "Pruning: 6/6 batches, 01:20 elapsed",
    ]


def test_an_unknown_length(capfd):
    with Progress("Pruning", shown=True) as shown:
        shown.expect(0)
        shown.tick()
        shown.show("Iteration 1/2", "0.0 % removed")

    assert capfd.readouterr().err == "Iteration 1/2: 0.0 % removed, 1 batches, 00:00 elapsed\n"


def test_workers_write_lines_even_on_a_terminal(dense, table, monkeypatch):
    monkeypatch.setattr(multiprocessing, "parent_process", object)

    with on_terminal() as terminal:
        quick(FrozenEstimator(dense), verbose=1).fit(*table)

    lines = terminal.getvalue().splitlines()
    assert len(lines) == 3
    assert all(LINE.fullmatch(line) for line in lines)


def looks_on():
    """Return whether a process draws bars on a terminal."""
    with on_terminal():
        return progress._somebody_looks_on()


def test_a_worker_of_joblib_is_known():
    assert looks_on()
    assert joblib.Parallel(2)(joblib.delayed(looks_on)() for _ in range(2)) == [False, False]


def test_a_program_without_a_console():
    with redirect_stderr(None), Progress("Pruning", shown=True) as shown:
        shown.show("Iteration 1/2")
        assert sys.stderr is None


# ---------------------------------------------------------------- on a terminal


def test_a_bar_on_a_terminal(dense, table):
    with on_terminal() as terminal:
        pruner = quick(FrozenEstimator(dense), final_epochs=1, verbose=1).fit(*table)

    screens = terminal.screens()
    assert max(map(len, screens)) <= 100
    last = screens[-1]
    assert re.fullmatch(r"Pruned: 100%\|█+\| (\d+)/\1 \[\d\d:\d\d<00:00, \d+\.\d % removed, score \d\.?\d*\]", last)
    assert f"{100 * pruner.reduction_:.1f} % removed" in last
    for stage in ("Iteration 1/2: ", "Iteration 2/2: ", "Final training: "):
        assert any(shown.startswith(stage) and "/" in shown.partition("|")[2] for shown in screens)


def test_a_bar_of_unknown_length():
    with on_terminal() as terminal, Progress("Pruning", shown=True) as shown:
        shown.expect(0)
        shown.tick()
        shown.show("Iteration 1/2", "0.0 % removed")

    assert "Iteration 1/2: 1 batches [00:00, 0.0 % removed]" in terminal.screens()


def test_an_exception_closes_the_bar(table):
    pruner = quick(make_classifier(Exploding, max_epochs=1), verbose=1, finetune_epochs=3)

    with on_terminal() as terminal, pytest.raises(TrainingError, match=r"NaN|nan"):
        pruner.fit(*table)

    assert terminal.getvalue().endswith("\n")
    assert "100%" not in terminal.screens()[-1]


def test_an_exception_ends_the_lines(table, capfd):
    with pytest.raises(TrainingError, match=r"NaN|nan"):
        quick(make_classifier(Exploding, max_epochs=1), verbose=1, finetune_epochs=3).fit(*table)

    assert capfd.readouterr().err.splitlines()[-1].startswith("Broken off in Iteration 1/")


@pytest.mark.parametrize(("verbose", "bars"), [(0, 1), (1, 0)])
def test_a_net_that_prints_has_no_bar(table, verbose, bars, capsys):
    """A bar would be torn apart by what the training of the dense network prints."""
    OPEN.clear()
    net = make_classifier(callbacks=[("spy", Spy())], max_epochs=1, verbose=verbose)
    with on_terminal() as terminal:
        quick(net, verbose=1, finetune_batches=2).fit(*table)

    assert OPEN[:6] == [bars] * 6
    assert OPEN[-2:] == [1, 1]
    assert bool(capsys.readouterr().out) == bool(verbose)
    assert ("Trained" in terminal.getvalue()) == bool(bars)


def test_the_bar_of_the_training(table):
    with on_terminal() as terminal:
        pruner = quick(make_classifier(), verbose=1, store_baseline=True).fit(*table)

    last = next(shown for shown in terminal.screens() if shown.startswith("Trained: 100%"))
    row = pruner.baseline_estimator_.history[-1]
    shown = f"valid_acc {row['valid_acc']:.4g}, valid_loss {row['valid_loss']:.4g}"
    assert re.fullmatch(r"Trained: 100%\|█+\| 3/3 \[\d\d:\d\d<00:00, " + re.escape(shown) + r"\]", last)
    assert any(shown.startswith("Training: ") for shown in terminal.screens())


def test_lines_of_the_training(table, capfd):
    stopping = EarlyStopping(patience=1, threshold=10.0)
    quick(make_classifier(callbacks=[stopping], verbose=1, max_epochs=9), verbose=1).fit(*table)

    out, err = capfd.readouterr()
    first, second, *rest = err.splitlines()
    assert re.fullmatch(r"Training: 0/9 epochs, 00:00 elapsed", first)
    assert re.fullmatch(r"Trained: valid_acc \d\.?\d*, valid_loss \d\.\d+, 2/9 epochs, \d\d:\d\d elapsed.*", second)
    assert all(LINE.fullmatch(line) for line in rest)
    assert "valid_loss" in out  # the table of skorch


def test_a_training_that_breaks_off(table, capfd):
    with pytest.raises(TrainingError, match=r"NaN|nan"):
        quick(make_classifier(Exploding, max_epochs=9), verbose=1).fit(*table)

    lines = capfd.readouterr().err.splitlines()
    assert lines[0].startswith("Training: 0/9 epochs")
    assert lines[-1].startswith("Broken off in Training: valid_acc")


def test_what_was_done_before_is_counted(monkeypatch, capfd):
    clock = itertools.count(0, 10)
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))

    with Progress("Training", shown=True, unit="epochs") as shown:
        shown.skip(4)
        shown.expect(6)
        shown.note("valid_acc 0.5")
        for _ in range(6):
            shown.tick()

    assert capfd.readouterr().err.splitlines() == [
        "Training: valid_acc 0.5, 7/10 epochs, 00:40 elapsed, about 00:40 left",
        "Training: valid_acc 0.5, 10/10 epochs, 01:20 elapsed",
    ]


def test_threads(dense, table):
    together = threading.Barrier(2)

    def fit(seed):
        together.wait(60)
        return quick(FrozenEstimator(dense), verbose=1, random_state=seed).fit(*table)

    with on_terminal() as terminal, ThreadPoolExecutor(2) as pool:
        list(pool.map(fit, range(2)))

    assert terminal.getvalue().count("Pruned: 100%") >= 2


# ---------------------------------------------------------------- cross-validation


def test_folds_in_a_file(table, capfd):
    search = TaylorPrunerCV(quick(make_classifier()), reductions=2, cv=2, tolerance=1.0, verbose=1).fit(*table)

    lines = capfd.readouterr().err.splitlines()
    of_folds = [line.partition(" fits")[0] for line in lines if " fits" in line]
    best = f"All data: best {100 * search.best_reduction_:.3g} % of params"
    assert of_folds == ["Folds: 1/3", "Folds: 2/3", f"{best}, 2/3", f"{best}, 3/3"]
    assert all(LINE.fullmatch(line) or TRAINING.fullmatch(line) for line in lines if " fits" not in line)
    assert sum(line.startswith("Pruned: ") for line in lines) == 3


def test_folds_at_the_same_time_show_one_bar(table):
    with on_terminal() as terminal, joblib.parallel_config("threading"):
        search = TaylorPrunerCV(
            quick(make_classifier()), reductions=2, cv=2, tolerance=1.0, refit=False, verbose=1, n_jobs=2
        ).fit(*table)

    assert search.n_splits_ == 2
    assert "Iteration" not in terminal.getvalue()
    assert re.match(r"Folds: 100%\|█+\| 2/2 \[", terminal.screens()[-1])


def test_a_pruner_in_a_quiet_search_tells_of_itself(table, capfd):
    TaylorPrunerCV(quick(make_classifier(), verbose=1), reductions=1, cv=2, tolerance=1.0, refit=False).fit(*table)

    lines = capfd.readouterr().err.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["Training", "Trained", "Iteration 1/1", "Pruned"] * 2


def test_the_search_leaves_the_pruner_as_it_was(table, capfd):
    pruner = quick(make_classifier())
    TaylorPrunerCV(pruner, reductions=1, cv=2, tolerance=1.0, verbose=1).fit(*table)

    assert pruner.verbose == 0


def test_the_trainings_of_networks_that_are_visited_are_foretold(table, monkeypatch):
    totals, ticks = [], []
    monkeypatch.setattr(Progress, "expect", lambda self, left: totals.append(left))
    monkeypatch.setattr(Progress, "tick", lambda self: ticks.append(None))
    pruner = quick(make_classifier(), final_batches=7, finetune_batches=4, score_batches=3)
    search = TaylorPrunerCV(pruner, reductions=[0.2, 0.4], cv=[(np.arange(200), np.arange(200, 400))], refit=False)

    search.fit(*table)

    of_folds, of_epochs, of_batches, *_ = totals
    assert of_folds == 1
    assert of_epochs == 3
    assert of_batches == 3 + 2 * (4 + 4)
    assert len(ticks) == of_folds + of_epochs + of_batches


# ---------------------------------------------------------------- in a notebook


class Widget:
    max, bar_style = 1, "info"


class NotebookBar(tqdm):
    """A bar with a widget, as tqdm makes it in a notebook."""

    __module__ = "tqdm.notebook"

    def __init__(self, **params):
        super().__init__(file=io.StringIO(), **params)
        self.container = SimpleNamespace(children=[None, Widget(), None])
        BARS.append(self)


BARS = []


def test_the_widget_of_a_notebook_knows_the_total(monkeypatch):
    BARS.clear()
    monkeypatch.setattr(progress, "tqdm", NotebookBar)

    with Progress("Pruning", shown=True) as shown:
        (bar,) = BARS
        widget = bar.container.children[1]
        shown.expect(0)
        assert (widget.max, widget.bar_style) == (1, "info")
        shown.expect(6)
        assert (widget.max, widget.bar_style) == (6, "")
        shown.tick()

    assert widget.max == 1  # all that was done, although more was expected
    assert bar.leave is True
