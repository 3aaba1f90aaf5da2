"""Run a checked experiment: train, prune, compare, write."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNet

from prunekit._random import seeded_rng
from prunekit.exceptions import TargetError
from prunekit.network import PrunableNetwork
from prunekit.pipeline._data import Split, load_split
from prunekit.pipeline._outputs import OutputFolder
from prunekit.pipeline._results import Comparison, Measurement, measure_latencies, scores_of
from prunekit.pipeline._searching import results_table, with_parameters
from prunekit.pipeline._training import make_dense, train_dense
from prunekit.pipeline.estimators import estimator_of
from prunekit.pipeline.schema import Experiment, PruneSection
from prunekit.pruner import TaylorPruner

__all__ = ["Listener", "RunResult", "run_experiment"]


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

    def on_epoch(self, epoch: int, accuracy: float) -> None:
        """
        Hear that the dense net was trained for another epoch.

        Parameters
        ----------
        epoch : int
            Number of epochs done.
        accuracy : float
            On the validation part of the training data; in a regression the loss there.
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

    def on_prune(self) -> None:
        """Hear that the dense net is trained and pruning begins."""

    def on_measure(self, pruner: TaylorPruner) -> None:
        """
        Hear that pruning is done and the two nets are being compared.

        Parameters
        ----------
        pruner : TaylorPruner
            The fitted pruner.
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
    layers : DataFrame
        The layer table of the pruned net.
    history : DataFrame
        A row per iteration of pruning.
    comparison : Comparison
        The dense and the pruned net side by side.
    reduction : float
        Fraction removed, of what the file's ``reduction_of`` names.
    stop_reason : str
        Why pruning ended.
    """

    folder: Path
    files: dict[str, str]
    layers: pd.DataFrame
    history: pd.DataFrame
    comparison: Comparison
    reduction: float
    stop_reason: str


def run_experiment(experiment: Experiment, folder: str | Path, listener: Listener | None = None) -> RunResult:
    """
    Run an experiment and write what comes out.

    The random state and the number of threads of the process are as before when the run is over.

    Parameters
    ----------
    experiment : Experiment
        As `load_experiment` returns it.
    folder : str or Path
        Where to write. The folder of an earlier run is replaced, after the run; any other folder must be empty.
    listener : Listener, optional
        Hears how far the run is.

    Returns
    -------
    RunResult
        The numbers and where the files are.

    Raises
    ------
    ParameterError
        If ``folder`` holds something else than an earlier run.
    InputError
        If the data do not fit the network.
    NothingToPruneError
        If no filter of the network can be removed.
    TargetError
        If the target cannot be reached. Up to here nothing is trained yet.
    TrainingError
        If the loss is not finite.
    """
    listener = listener or Listener()
    with OutputFolder(folder) as output, _threads(experiment.compute.threads):
        split = load_split(experiment.data, experiment.seed, experiment.net.task)
        listener.on_data(split)
        best = experiment if experiment.search is None else _search(experiment, split, output, listener)
        return _run(best, experiment, split, output, listener)


def _search(experiment: Experiment, split: Split, output: OutputFolder, listener: Listener) -> Experiment:
    """Search over parameters, and return the experiment with the best."""
    with seeded_rng(experiment.seed):
        search = estimator_of(experiment, split.input_shape, split.num_classes).set_params(refit=False)
        search.fit(split.X_train, split.y_train)
    table = results_table(search)
    listener.on_search(len(table), search.best_params_, float(search.best_score_))
    output.write_table("search.csv", table, "a row per candidate of the search, the best first")
    content = with_parameters({**experiment.resolved(), "search": None}, search.best_params_)
    best = Experiment.model_validate(content, context=experiment.imports.context)
    output.write_experiment(best, "best.yaml", "the experiment with the best parameters, without the search")
    return best


def _run(
    experiment: Experiment, asked_for: Experiment, split: Split, output: OutputFolder, listener: Listener
) -> RunResult:
    """Train, prune, compare and write; what was asked for may be a search that the experiment is the best of."""
    with seeded_rng(experiment.seed):
        dense = make_dense(experiment.net, split, experiment.seed)
        _check_target(experiment.prune, dense, split)
        train_dense(dense, split, listener.on_epoch)
        listener.on_prune()
        pruner = TaylorPruner(
            FrozenEstimator(dense),
            **experiment.prune.model_dump(exclude_unset=True),
            random_state=experiment.seed,
            verbose=listener.verbose,
        ).fit(split.X_train, split.y_train)
        listener.on_measure(pruner)
        layers = pruner.analyze()
        file_bytes = {
            "dense": output.save_net("dense.safetensors", dense, "the dense net"),
            "pruned": output.save_net("pruned.safetensors", pruner.transform(), "the pruned net with its plan"),
        }
        nets = {"dense": dense, "pruned": pruner.transform()}
        comparison = _compare(nets, split, layers.attrs["totals"], file_bytes, experiment.outputs.latency_batch_sizes)
        output.write_table("layers.csv", layers, "the layer table of the pruned net")
        output.write_table("history.csv", pruner.history_, "a row per iteration of pruning")
        outcome = {"reduction": pruner.reduction_, "stop_reason": pruner.stop_reason_}
        measured = {"dense": comparison.dense.written(), "pruned": comparison.pruned.written()}
        content = {**outcome, **asdict(comparison), **measured}
        output.write_json("metrics.json", content, "both nets measured on the test data")
        output.write_experiment(asked_for)
        output.write_marker(asked_for)
    return RunResult(
        folder=output.path,
        files=output.files,
        layers=layers,
        history=pruner.history_,
        comparison=comparison,
        reduction=pruner.reduction_,
        stop_reason=pruner.stop_reason_,
    )


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    """Let torch compute with a number of threads inside of the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _check_target(section: PruneSection, dense: NeuralNet, split: Split) -> None:
    """Refuse a target that the network cannot reach, before it is trained."""
    names = ("criterion", "include", "exclude", "min_channels", "round_to", "max_layer_reduction", "norms")
    constraints = {name: getattr(section, name) for name in (*names, "latency_batch_size")}
    example = torch.as_tensor(split.X_train[:2], device=dense.device)
    largest = PrunableNetwork(dense.module_, example, **constraints).max_reduction(section.reduction_of)
    if largest < section.target_reduction:
        raise TargetError(
            f"The 'target_reduction' key of prune must be at most {math.floor(1000 * largest) / 1000:g} of "
            f"{section.reduction_of} for this network and these constraints. Got {section.target_reduction:g} instead."
        )


def _compare(
    nets: dict[str, NeuralNet],
    split: Split,
    totals: dict[str, dict[str, Any]],
    file_bytes: dict[str, int],
    batch_sizes: list[int],
) -> Comparison:
    """Measure both nets on the test part, which nothing has seen so far."""
    latencies = measure_latencies(nets, split, batch_sizes)

    def measure(name: str, when: str) -> Measurement:
        return Measurement(
            **scores_of(nets[name], split),
            params=totals["params"][when],
            macs=totals["macs"][when],
            filters=totals["filters"][when],
            file_bytes=file_bytes[name],
            latency_ms=latencies[name],
        )

    return Comparison(
        dense=measure("dense", "before"),
        pruned=measure("pruned", "after"),
        num_test=len(split.y_test),
        num_threads=torch.get_num_threads(),
    )
