"""Run a checked experiment: fit, compare, write."""

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import pandas as pd
import torch
import yaml
from numpy.typing import NDArray

from prunekit._random import rng_state, set_rng_state
from prunekit.analysis import analyze
from prunekit.exceptions import ParameterError
from prunekit.pipeline._artifacts import (
    REPORT,
    check_packages,
    write_exports,
    write_plots,
    write_run_report,
)
from prunekit.pipeline._building import estimator_for
from prunekit.pipeline._compute import computing
from prunekit.pipeline._data import Split, load_split
from prunekit.pipeline._fitted import ESTIMATOR, PRUNED, Fitted, innermost, learner_of
from prunekit.pipeline._log import git_revision, logging_to
from prunekit.pipeline._outputs import OutputFolder
from prunekit.pipeline._results import Comparison, Measurement, measure_latencies, scores_of
from prunekit.pipeline._run_folders import EXPERIMENT, read_marker
from prunekit.pipeline._searching import PARAMS, best_score, parameter_paths, results_table, with_parameters
from prunekit.pipeline.schema import Experiment
from prunekit.pruner import TaylorPruner

__all__ = ["Listener", "RunResult", "is_finished", "run_experiment"]


class Listener:
    """
    Hears how far a run is; this one does nothing and is the base of those that show something.

    Parameters
    ----------
    verbose : int, default=0
        Passed on to `TaylorPruner`, which shows a progress bar of its own.
    """

    def __init__(self, verbose: int = 0) -> None:
        self.verbose = verbose

    def on_data(self, split: Split) -> None:
        """
        Hear that the data are there.

        Parameters
        ----------
        split : Split
            The data.
        """

    def on_search(self, num_candidates: int, best: dict[str, Any], score: float) -> None:
        """
        Hear that the search is done and the best candidate is about to be trained on all training data.

        Parameters
        ----------
        num_candidates : int
            How many there were.
        best : dict
            Parameters of the best by name.
        score : float
            Its mean score over the folds.
        """

    def on_fitted(self, fitted: Fitted) -> None:
        """
        Hear that everything is fitted, and that what came out is being measured.

        Parameters
        ----------
        fitted : Fitted
            The fitted estimator and its parts.
        """


@dataclass(frozen=True)
class RunResult:
    """
    What came out of a run.

    Parameters
    ----------
    folder : Path
        Where everything is written.
    files : dict of str to str
        Names of the files in the folder and what they hold.
    comparison : Comparison
        The dense and the pruned net side by side, or what else was fitted.
    layers : DataFrame or None
        The layer table of the net; None where there is no net.
    history : DataFrame or None
        A row per iteration of pruning; None where nothing is pruned.
    reduction : float or None
        Fraction removed, of what the file's ``reduction_of`` names.
    stop_reason : str or None
        Why pruning ended.
    """

    folder: Path
    files: dict[str, str]
    comparison: Comparison
    layers: pd.DataFrame | None = None
    history: pd.DataFrame | None = None
    reduction: float | None = None
    stop_reason: str | None = None


def run_experiment(
    experiment: Experiment, folder: str | Path, listener: Listener | None = None, *, resume: bool = False
) -> RunResult:
    """
    Run an experiment and write what comes out.

    What is fitted is the estimator that `load_pipeline` returns, so that the numbers are those of its ``fit``. The
    random state and the number of threads of the process are as before when the run is over.

    Parameters
    ----------
    experiment : Experiment
        As `load_experiment` returns it.
    folder : str or Path
        Where to write. The folder of an earlier run is replaced, after the run; any other folder must be empty.
    listener : Listener, optional
        Hears how far the run is.
    resume : bool, default=False
        Whether to go on with a run into this folder that was killed; if there is none, the run begins anew.

    Returns
    -------
    RunResult
        The numbers and where the files are.

    Raises
    ------
    ParameterError
        If ``folder`` holds something else than an earlier run, or an unfinished one that is not to go on, or if a
        package or a device is missing.
    InputError
        If the data do not fit the network.
    NothingToPruneError
        If no filter of the network can be removed.
    TargetError
        If the target cannot be reached. Up to here nothing is trained yet.
    TrainingError
        If the loss is not finite.

    Notes
    -----
    What a killed run goes on from are epochs of the training before pruning and steps of pruning, of every fit of a
    search; it ends with the same numbers as one that was not killed.
    """
    listener = listener or Listener()
    check_packages(experiment)
    with ExitStack() as stack:
        # Not as a block that holds the random state: fits in threads would wait for it.
        stack.callback(set_rng_state, rng_state())
        output = stack.enter_context(OutputFolder(folder, resume=resume))
        log = stack.enter_context(logging_to(output.log))
        stack.enter_context(computing(experiment.compute))
        log.info("%s of '%s', %s", "resumed run" if output.is_resumed else "run", experiment.name, experiment.file)
        split = load_split(experiment.data, experiment.seed, experiment.task)
        log.info("data: %d training and %d test samples", len(split.y_train), len(split.y_test))
        listener.on_data(split)
        estimator = estimator_for(experiment, split, exporters=False)
        _equip(estimator, experiment, output, listener.verbose)
        with _ending_at_once():
            estimator.fit(split.X_train, split.y_train)
        best, search_facts = experiment, dict[str, Any]()
        if experiment.search is not None:
            best, search_facts = _note_search(estimator, experiment, output, listener)
            log.info("search: %s", search_facts)
        fitted = Fitted.of(estimator)
        listener.on_fitted(fitted)
        result = _write(fitted, best, experiment, split, output, search_facts)
        log.info("finished: %s", result.comparison.written())
    return result


class _Ended(BaseException):
    """Ctrl-C, where skorch's ``fit`` and the pruner's would take ``KeyboardInterrupt`` for the end of a phase."""


@contextmanager
def _ending_at_once() -> Iterator[None]:
    """Let Ctrl-C end a fit where it is, from where the run can go on, rather than with what is there so far."""

    def end(signum: int, frame: FrameType | None) -> None:
        raise _Ended

    is_main = threading.current_thread() is threading.main_thread()
    previous = signal.getsignal(signal.SIGINT) if is_main else None
    if not callable(previous):
        yield
        return
    signal.signal(signal.SIGINT, end)
    try:
        yield
    except _Ended:
        raise KeyboardInterrupt from None
    finally:
        signal.signal(signal.SIGINT, previous)


def is_finished(experiment: Experiment, folder: str | Path) -> bool:
    """
    Tell whether a folder has the finished run of an experiment.

    Parameters
    ----------
    experiment : Experiment
        The experiment.
    folder : str or Path
        The folder.

    Returns
    -------
    bool
        Whether there is nothing to do.
    """
    path = Path(folder)
    try:
        read_marker(path)
        written = yaml.safe_load((path / EXPERIMENT).read_text(encoding="utf-8"))
    except (ParameterError, OSError, ValueError, yaml.YAMLError):
        return False
    return bool(written == experiment.resolved())


def _equip(estimator: Any, experiment: Experiment, output: OutputFolder, verbose: int) -> None:
    """Let the pruner keep what a run needs; none of it changes what comes out."""
    pruner, learner = innermost(estimator), learner_of(estimator)
    shown = 0 if experiment.search is not None else verbose
    if isinstance(pruner, TaylorPruner):
        pruner.set_params(
            checkpoint=str(output.state / "fits"),
            memory=str(output.state / "memory") if experiment.compute.memory else None,
            store_baseline=True,
            verbose=shown,
        )
    if learner is not pruner:  # TaylorPrunerCV
        learner.set_params(verbose=shown)


def _note_search(
    search: Any, experiment: Experiment, output: OutputFolder, listener: Listener
) -> tuple[Experiment, dict[str, Any]]:
    """Write the candidates, and return the experiment with the best and what is said of it."""
    table, score = results_table(search), best_score(search)
    best = _said(search, experiment)
    listener.on_search(len(table), best, score)
    output.write_table("search", table, "a row per candidate of the search, the best first", _formats(experiment))
    content = experiment.resolved()
    changed = with_parameters(content, parameter_paths(content), best)
    alone = experiment.changed(**{**changed, "search": None})
    output.write_experiment(alone, "best.yaml", "the experiment with the best parameters, without the search")
    return alone, {"best_params": best, "best_score": score}


def _said(search: Any, experiment: Experiment) -> dict[str, Any]:
    """Return the parameters of the best candidate as the file says them."""
    if experiment.search is None:
        return {}
    key = PARAMS[experiment.search.name]
    given, built = getattr(experiment.search.options, key), getattr(search, key)
    said = dict(search.best_params_)  # the resource of a halving search is as it is
    for name, values in given.items():
        pairs = zip(values, built[name], strict=True)
        said[name] = next(value for value, other in pairs if other is search.best_params_[name])
    return said


def _write(
    fitted: Fitted,
    best: Experiment,
    asked_for: Experiment,
    split: Split,
    output: OutputFolder,
    facts: dict[str, Any],
) -> RunResult:
    """Measure and write; what was asked for may be a search that the experiment is the best of."""
    pruner, outputs = fitted.pruner, asked_for.outputs
    formats = _formats(asked_for)
    X_test = fitted.seen_by_last(split.X_test)
    layers = _layers(fitted, X_test)
    comparison = _compare(fitted, X_test, split, layers, output, asked_for)
    if layers is not None:
        output.write_table("layers", layers, "the layer table of the net", formats)
    if pruner is not None:
        facts = {"reduction": pruner.reduction_, "stop_reason": pruner.stop_reason_, **facts}
        output.write_table("history", pruner.history_, "a row per iteration of pruning", ("csv", "parquet"))
    if fitted.path is not None:
        output.write_table("path", pd.DataFrame(fitted.path.cv_results_), "a row per reduction, by folds", formats)
        facts |= {"best_reduction": fitted.path.best_reduction_, "best_score": fitted.path.best_score_}
    output.write_json("metrics.json", {**facts, **comparison.written()}, "what was measured on the test data")
    write_plots(output, best, fitted, split)
    write_exports(output, best, fitted, split)
    output.write_experiment(asked_for)
    wants_report = outputs.report and bool(fitted.nets)
    if wants_report:
        output.new(REPORT, "the report: one HTML file")
    output.write_marker(asked_for, {"git": git_revision(asked_for.file), "threads": torch.get_num_threads()})
    if wants_report:
        write_run_report(output, fitted, best, split)
    return RunResult(
        folder=output.path,
        files=output.files,
        comparison=comparison,
        layers=layers,
        history=None if pruner is None else pruner.history_,
        reduction=None if pruner is None else pruner.reduction_,
        stop_reason=None if pruner is None else pruner.stop_reason_,
    )


def _formats(experiment: Experiment) -> tuple[str, ...]:
    return ("csv", "parquet") if experiment.outputs.parquet else ("csv",)


def _layers(fitted: Fitted, X: NDArray[Any]) -> pd.DataFrame | None:
    """Return the layer table of the net."""
    if fitted.pruner is not None:
        return fitted.pruner.analyze()
    return analyze(fitted.last, X[:2]) if fitted.nets else None


def _compare(
    fitted: Fitted,
    X_test: NDArray[Any],
    split: Split,
    layers: pd.DataFrame | None,
    output: OutputFolder,
    experiment: Experiment,
) -> Comparison:
    """Measure everything on the test part, which nothing has seen so far, and save the nets."""
    if layers is None:
        measured = {ESTIMATOR: Measurement(**scores_of(fitted.last, X_test, split))}
        return Comparison(measured, len(split.y_test), torch.get_num_threads())
    latencies = measure_latencies(fitted.nets, X_test, experiment.outputs.latency_batch_sizes)
    totals = layers.attrs["totals"]
    measured = {}
    for name, net in fitted.nets.items():
        when = "after" if name == PRUNED else "before"
        measured[name] = Measurement(
            **scores_of(net, X_test, split),
            **{key: totals[key][when] for key in ("params", "macs", "filters")},
            file_bytes=output.save_net(f"{name}.safetensors", net, _WHAT[name], keep=experiment.outputs.nets),
            latency_ms=latencies[name],
        )
    return Comparison(measured, len(split.y_test), torch.get_num_threads())


_WHAT = {"dense": "the dense net", "pruned": "the pruned net with its plan", "net": "the net"}
