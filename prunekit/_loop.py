"""The pruning loop: score, prune, fine-tune, validate, until the target or a threshold ends it."""

import itertools
import math
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from tqdm.auto import tqdm

from prunekit._skorch import FineTuner, Phase, Validation
from prunekit.cost import RESOURCES, Quantity
from prunekit.exceptions import ParameterError, TrainingError
from prunekit.network import NetworkSnapshot, PrunableNetwork
from prunekit.schedules import Schedule


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """
    What the loop is to do; checked by whoever fills it in.

    Parameters
    ----------
    target : float
        Reduction to reach.
    resource : {"params", "macs", "filters", "memory", "latency"}
        What the reduction is measured in.
    schedule : Schedule
        How fast to get there.
    max_to_prune : int or None
        Largest number of units that an iteration removes.
    score_batches : int or None
        Mini-batches of a scoring pass.
    finetune_epochs, final_epochs : int
        Epochs of training after each pruning, and at the end.
    finetune_batches : int or None
        Mini-batches of training after each pruning, instead of epochs.
    min_score, max_score_drop : float or None
        Thresholds on the validation score.
    recovery_rounds : int
        How often the training after a pruning is repeated if it broke a threshold.
    step_halvings : int
        How often a step that broke a threshold all the same is tried again with half its size.
    verbose : int
        Whether to show a progress bar.
    """

    target: float
    resource: Quantity
    schedule: Schedule
    max_to_prune: int | None
    score_batches: int | None
    finetune_epochs: int
    finetune_batches: int | None
    final_epochs: int
    min_score: float | None
    max_score_drop: float | None
    recovery_rounds: int
    step_halvings: int
    verbose: int


@dataclass(frozen=True, slots=True)
class Iteration:
    """A row of the history; the fields are described in `TaylorPruner`."""

    iteration: int
    phase: str
    target: float
    reduction: float
    reduction_params: float
    reduction_macs: float
    reduction_filters: float
    reduction_memory: float
    reduction_latency: float
    num_prunables: int
    num_pruned: int
    train_loss: float
    score: float
    held: bool
    seconds_scoring: float
    seconds_training: float
    seconds_validation: float


@dataclass(frozen=True, slots=True, eq=False)
class LoopResult:
    """What the loop leaves, besides the pruned network itself; the fields are described in `TaylorPruner`."""

    history: pd.DataFrame
    baseline_score: float
    stop_reason: str
    n_iterations: int
    ranking: NDArray[np.int64]
    importances: NDArray[np.float64]


class PruningLoop:
    """
    Prune a network step by step.

    The scores for a step are accumulated in the fine-tuning after the step before; a separate pass, which changes no
    weights, is needed only before the first step.

    Parameters
    ----------
    network : PrunableNetwork
        The masked network; it is pruned.
    tuner : FineTuner
        Trains and scores it.
    validation : Validation or None
        Measures it. None: all scores are NaN.
    settings : LoopSettings
        What to do.
    owner : str
        Class that the parameters belong to, for the messages.
    """

    def __init__(
        self,
        network: PrunableNetwork,
        tuner: FineTuner,
        validation: Validation | None,
        settings: LoopSettings,
        owner: str,
    ) -> None:
        self._network = network
        self._tuner = tuner
        self._validation = validation
        self._settings = settings
        self._owner = owner
        self._rows: list[Iteration] = []
        self._floor, self._floor_reason = -math.inf, ""
        self._removed_in = np.zeros(len(network.support), dtype=np.int64)  # 0: still there
        self._importances = np.full(len(network.support), np.nan)
        self._held: NetworkSnapshot | None = None

    def run(self, dense: Phase) -> LoopResult:
        """
        Prune until the target is reached or a threshold can no longer be held.

        Parameters
        ----------
        dense : Phase
            The training before, for the report.

        Returns
        -------
        LoopResult
            The report; the network is the last one that held the thresholds, after Ctrl-C the last one that was whole.

        Raises
        ------
        ParameterError
            If the unpruned network is already below ``min_score``, or the schedule does not advance.
        TrainingError
            If a loss, a gradient or a score that a threshold needs is not finite.
        """
        settings = self._settings
        bar = tqdm(total=100 * settings.target, unit="%", disable=not settings.verbose, bar_format=_BAR)
        with bar:
            bar.set_description(f"Pruning {settings.resource}")
            self._measure_baseline(dense)
            try:
                stop_reason = self._prune(bar)
                if self._removed_in.any() and settings.final_epochs:
                    self._finish()
            except KeyboardInterrupt:
                stop_reason = "interrupted"
                self._restore()
        steps = np.unique(self._removed_in[self._removed_in > 0])  # some iterations were taken back
        return LoopResult(
            history=pd.DataFrame([asdict(row) for row in self._rows]),
            baseline_score=self._rows[0].score,
            stop_reason=stop_reason,
            n_iterations=sum(row.phase == "prune" for row in self._rows),
            ranking=np.where(self._removed_in > 0, steps.size - np.searchsorted(steps, self._removed_in) + 1, 1),
            importances=self._importances,
        )

    @property
    def _reduction(self) -> float:
        return self._network.reduction(self._settings.resource)

    def _measure_baseline(self, dense: Phase) -> None:
        """Score the unpruned network and derive the lowest score that is allowed."""
        settings = self._settings
        score, seconds = self._validate()
        if settings.max_score_drop is not None:
            self._floor, self._floor_reason = score - settings.max_score_drop, "max_score_drop"
        if settings.min_score is not None and not settings.min_score < self._floor:
            self._floor, self._floor_reason = settings.min_score, "min_score"
        if score < self._floor:
            raise ParameterError(
                f"The 'min_score' parameter of {self._owner} must be at most the validation score of the unpruned "
                f"network, {score:.6g}. Got {settings.min_score!r} instead."
            )
        self._add_row("dense", 0, 0.0, 0, dense, score, seconds)

    def _prune(self, bar: Any) -> str:
        """Run the iterations; return why they ended."""
        network, settings = self._network, self._settings
        halvings = 0
        for iteration in itertools.count(1):
            if self._reduction >= settings.target:
                break
            self._held = network.snapshot()
            scoring = self._tuner.score(settings.score_batches) if network.num_scored == 0 else Phase()
            aim = self._next_aim(iteration - halvings, 0.5**halvings)
            num_pruned = self._remove_units(aim, iteration)
            if not num_pruned:
                return "nothing_left_to_prune"
            tuning = self._tune(f"iteration {iteration}")
            score, seconds = self._validate()
            phase = Phase(tuning.loss, scoring.seconds_scoring + tuning.seconds_scoring, tuning.seconds_training)
            self._add_row("prune", iteration, aim, num_pruned, phase, score, seconds)
            if self._floor_reason:
                score = self._recover(score, iteration, aim)
                if not score >= self._floor:
                    self._restore()
                    if num_pruned == 1 or halvings == settings.step_halvings:
                        return self._floor_reason
                    halvings += 1
                    continue
            self._keep_importances()
            self._show(bar, score)
        return "target_reduction"

    def _recover(self, score: float, iteration: int, aim: float) -> float:
        """Train on while a threshold is broken; return the last score."""
        for number in range(self._settings.recovery_rounds):
            if score >= self._floor or not (self._settings.finetune_epochs or self._settings.finetune_batches):
                break
            phase = self._tune(f"recovery {number + 1} of iteration {iteration}")
            score, seconds = self._validate()
            self._add_row("recover", iteration, aim, 0, phase, score, seconds)
        return score

    def _next_aim(self, iteration: int, share: float) -> float:
        """Ask the schedule for the next reduction, and go a share of the way."""
        settings, reached = self._settings, self._reduction
        aim = float(settings.schedule.next_reduction(iteration - 1, reached, settings.target))
        if not reached < aim <= settings.target:
            raise ParameterError(
                f"The 'step' parameter of {self._owner} must be a schedule whose next_reduction lies in "
                f"({reached:.6g}, {settings.target:.6g}]. Got {settings.schedule!r}, which returned {aim!r}, instead."
            )
        return reached + share * (aim - reached) if share < 1 else aim

    def _remove_units(self, aim: float, iteration: int) -> int:
        """Mask the least important units; the scores start anew."""
        settings = self._settings
        self._keep_importances()
        before = self._network.support.copy()
        num_pruned = self._network.prune_to(aim, of=settings.resource, max_to_prune=settings.max_to_prune)
        self._removed_in[before & ~self._network.support] = iteration
        return num_pruned

    def _keep_importances(self) -> None:
        """Note the present importance of the units that are still there."""
        if self._network.num_scored:
            current = self._network.importances
            self._importances = np.where(np.isnan(current), self._importances, current)

    def _tune(self, stage: str) -> Phase:
        settings = self._settings
        if settings.finetune_batches is not None:
            return self._tuner.train(1, settings.finetune_batches, stage)
        if settings.finetune_epochs:
            return self._tuner.train(settings.finetune_epochs, None, stage)
        return Phase()

    def _validate(self) -> tuple[float, float]:
        """Return the score and the seconds that it took."""
        if self._validation is None:
            return math.nan, 0.0
        start = time.perf_counter()
        score = self._validation.score(self._tuner.net)
        if math.isnan(score) and (self._settings.min_score is not None or self._settings.max_score_drop is not None):
            raise TrainingError(
                "The score on the validation data is nan, so that no threshold can be checked. "
                f"Look at the scorer {self._validation.scorer!r} and at the outputs of the network."
            )
        return score, time.perf_counter() - start

    def _finish(self) -> None:
        """Train what is left; go back if the training takes it below a threshold."""
        settings = self._settings
        self._held = self._network.snapshot()
        phase = self._tuner.train(settings.final_epochs, None, "the final training")
        score, seconds = self._validate()
        self._add_row("final", self._rows[-1].iteration, self._rows[-1].target, 0, phase, score, seconds)
        if self._floor_reason and not score >= self._floor:
            self._restore()
        else:
            self._keep_importances()

    def _restore(self) -> None:
        """Go back to the last network that held the thresholds."""
        if self._held is not None:
            self._network.restore(self._held)
            self._removed_in[self._network.support] = 0
            self._tuner.forget_momentum()

    def _add_row(
        self, kind: str, iteration: int, aim: float, num_pruned: int, phase: Phase, score: float, seconds: float
    ) -> None:
        reductions = {f"reduction_{name}": self._network.reduction(name) for name in RESOURCES}
        is_timed = self._settings.resource == "latency"
        reductions["reduction_latency"] = self._network.reduction("latency") if is_timed else math.nan
        self._rows.append(
            Iteration(
                iteration=iteration,
                phase=kind,
                target=aim,
                reduction=reductions[f"reduction_{self._settings.resource}"],
                **reductions,
                num_prunables=self._network.num_prunables,
                num_pruned=num_pruned,
                train_loss=phase.loss,
                score=score,
                held=not score < self._floor,
                seconds_scoring=phase.seconds_scoring,
                seconds_training=phase.seconds_training,
                seconds_validation=seconds,
            )
        )

    def _show(self, bar: Any, score: float) -> None:
        """Update the progress bar."""
        bar.n = min(100 * self._reduction, bar.total)
        bar.set_postfix(score=f"{score:.4g}", filters=self._network.num_prunables)


_BAR = "{desc}{n:.1f}/{total:.0f} {unit}|{bar}| [{elapsed}<{remaining}{postfix}]"
