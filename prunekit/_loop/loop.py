"""Score, prune, fine-tune, validate, and again; a run can be left at any moment and gone on with."""

import math
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prunekit._loop.checkpoint import Checkpoint
from prunekit._loop.control import Control, ControlResult
from prunekit._loop.course import Course
from prunekit._loop.history import Iteration, peak_memory_bytes
from prunekit._loop.progress import Progress
from prunekit._loop.settings import LoopSettings
from prunekit._loop.sharing import SharedPath
from prunekit._loop.visits import Visits, copied
from prunekit._random import preserve_rng, rng_state, set_rng_state
from prunekit._skorch import Budget, FineTuner, Phase, Validation, device_of
from prunekit.cost import RESOURCES
from prunekit.exceptions import ParameterError, TrainingError
from prunekit.io import BROKEN
from prunekit.network import NetworkSnapshot, PrunableNetwork


@dataclass(frozen=True, slots=True, eq=False)
class LoopResult:
    """What the loop leaves, besides the pruned network itself; the fields are described in `TaylorPruner`."""

    history: pd.DataFrame
    baseline_score: float
    stop_reason: str
    n_iterations: int
    ranking: NDArray[np.int64]
    importances: NDArray[np.float64]
    control: ControlResult | None


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """A network that held the thresholds, and how far the training was."""

    network: NetworkSnapshot
    done: float
    num_phases: int


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
    checkpoint : Checkpoint, default=None
        Where the run is kept, and gone on with if it was left.
    control : Control, default=None
        The same training without pruning, to be run at the end.
    path : SharedPath, default=None
        What other fits have done already.
    visits : Visits, default=None
        How the networks on the way are scored on data of their own.
    """

    def __init__(
        self,
        network: PrunableNetwork,
        tuner: FineTuner,
        validation: Validation | None,
        settings: LoopSettings,
        owner: str,
        checkpoint: Checkpoint | None = None,
        control: Control | None = None,
        path: SharedPath | None = None,
        visits: Visits | None = None,
    ) -> None:
        self._network = network
        self._tuner = tuner
        self._validation = validation
        self._settings = settings
        self._owner = owner
        self._checkpoint = checkpoint
        self._control = control
        self._path = path or SharedPath(None, "")
        self._visits = visits
        self._course = Course(settings, tuner.count_batches)
        self._progress = Progress(f"Pruning {settings.resource}", bool(settings.verbose))
        self._floor, self._floor_reason = -math.inf, ""
        self._held: _Held | None = None
        # What a checkpoint holds, besides network and tuner:
        self._stage = "prune"
        self._stop_reason = "target_reduction"
        self._iteration = 0
        self._halvings = 0
        self._largest_step = math.inf
        self._rows: list[Iteration] = []
        self._phases: list[tuple[Budget, tuple[float, float]]] = []  # of the training that led to the network
        self._removed_in = np.zeros(len(network.support), dtype=np.int64)  # 0: still there
        self._importances = np.full(len(network.support), np.nan)
        self._controlled: ControlResult | None = None
        self._visited: list[tuple[float, int, float]] = []  # scores, rows and seconds

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
        with self._progress:
            self._tuner.watch.on_batch = self._progress.tick
            if not self._resume():
                self._measure_baseline(dense)
            try:
                self._run_stages()
            except KeyboardInterrupt:
                if self._stage in _PRUNING:
                    self._stop_reason = "interrupted"
                    self._restore()
            self._show("Pruned")
        steps = np.unique(self._removed_in[self._removed_in > 0])  # some iterations were taken back
        return LoopResult(
            history=pd.DataFrame([asdict(row) for row in self._rows]),
            baseline_score=self._rows[0].score,
            stop_reason=self._stop_reason,
            n_iterations=sum(row.phase == "prune" for row in self._rows),
            ranking=np.where(self._removed_in > 0, steps.size - np.searchsorted(steps, self._removed_in) + 1, 1),
            importances=self._importances,
            control=self._controlled,
        )

    def _run_stages(self) -> None:
        """Run what is left of the run; each stage begins with a checkpoint."""
        if self._stage == "done":
            return
        if self._stage == "prune":
            self._prune()
            self._stage = "final"
        if self._stage == "final":
            if self._removed_in.any() and self._settings.final:
                self._save()
                self._finish()
            self._stage = "control" if self._control else "done"
        if self._stage == "control" and self._control is not None:
            self._save()
            self._progress.expect(sum(self._tuner.count_batches(budget) for budget, _ in self._phases))
            self._show("Control run")
            self._controlled = self._control.run(self._phases, self._progress.tick)
            self._stage = "done"
        self._save()

    @property
    def _reduction(self) -> float:
        return self._network.reduction(self._settings.resource)

    def _measure_baseline(self, dense: Phase) -> None:
        """Score the unpruned network and derive the lowest score that is allowed."""
        score, seconds = self._validate()
        self._set_floor(score)
        if score < self._floor:
            raise ParameterError(
                f"The 'min_score' parameter of {self._owner} must be at most the validation score of the unpruned "
                f"network, {score:.6g}. Got {self._settings.min_score!r} instead."
            )
        self._add_row("dense", 0.0, 0, dense, score, seconds)
        self._visit(is_dense=True)

    def _set_floor(self, score: float) -> None:
        settings = self._settings
        if settings.max_score_drop is not None:
            self._floor, self._floor_reason = score - settings.max_score_drop, "max_score_drop"
        if settings.min_score is not None and not settings.min_score < self._floor:
            self._floor, self._floor_reason = settings.min_score, "min_score"

    def _prune(self) -> None:
        """Run the iterations; note why they ended."""
        network, settings = self._network, self._settings
        while self._reduction < settings.target:
            self._hold()
            self._save()
            self._iteration += 1
            steps = self._steps_left()
            span = self._course.next_span(steps)
            self._expect(steps)
            scoring = self._score() if network.num_scored == 0 else Phase()
            aim = self._next_aim()
            num_pruned = self._remove_units(aim)
            if not num_pruned:
                self._stop_reason = "nothing_left_to_prune"
                return
            tuned = self._tune_after(span)
            phase = Phase(tuned["loss"], scoring.seconds_scoring + tuned["scoring"], tuned["training"])
            self._add_row("prune", aim, num_pruned, phase, tuned["score"], tuned["validation"], tuned["before"])
            if self._floor_reason and not self._recover(tuned["score"], aim, span) >= self._floor:
                self._restore()
                if num_pruned == 1 or self._halvings == settings.step_halvings:
                    self._stop_reason = self._floor_reason
                    return
                self._halvings += 1
                self._largest_step = (aim - self._reduction) / 2
                continue
            self._keep_importances()
            self._visit()

    def _score(self) -> Phase:
        """Score in a pass of its own."""
        num_batches = self._settings.score_batches

        def work() -> dict[str, Any]:
            return asdict(self._tuner.score(num_batches))

        return Phase(**self._path.step(("score", num_batches), work, self._training_state, self._set_training_state))

    def _tune_after(self, span: tuple[float, float]) -> dict[str, Any]:
        """Fine-tune after a removal; return the loss, the scores before and after, and the seconds."""
        budget = self._settings.finetune

        def work() -> dict[str, Any]:
            before, seconds_before = self._validate() if budget else (math.nan, 0.0)
            phase = self._tuner.train(budget, span, f"iteration {self._iteration}") if budget else Phase()
            score, seconds = self._validate()
            return {
                "loss": phase.loss,
                "before": before,
                "score": score,
                "scoring": phase.seconds_scoring,
                "training": phase.seconds_training,
                "validation": seconds_before + seconds,
            }

        what = ("tune", self._network.support, self._tuner.rates_in(span))
        tuned = self._path.step(what, work, self._training_state, self._set_training_state)
        if budget:
            self._note_training(budget, span)
        return tuned

    @property
    def _visit_batches(self) -> int:
        """Length of the training of a network that is visited."""
        if self._visits is None:
            return 0
        held_out = self._visits.held_out
        return math.ceil(self._tuner.count_batches(held_out.training) / held_out.parts)

    def _visit(self, *, is_dense: bool = False) -> None:
        """Score the network as it is after a last training; then go on as if there had been none."""
        if self._visits is None:
            return
        length = 0 if is_dense else self._visit_batches
        before = copied(self._training_state()) if length else None
        with preserve_rng(device_of(self._tuner.net)):
            if length:
                budget = Budget(0, length)
                self._tuner.train(budget, (self._course.done, 1.0), f"the last training of iteration {self._iteration}")
            score = self._visits.validation.score(self._tuner.net)
        self._note_visit(score, len(self._rows) - 1, self._visits.held_out.seconds())
        if before is not None:
            self._set_training_state(before)

    def _note_visit(self, score: float, place: int, seconds: float) -> None:
        """Tell of a visit, and keep it."""
        if self._visits is not None:
            self._visited.append((score, place, seconds))
            self._visits.held_out.tell(score, self._rows[place], seconds)

    def _recover(self, score: float, aim: float, span: tuple[float, float]) -> float:
        """Train on while a threshold is broken; return the last score."""
        for number in range(self._settings.recovery_rounds):
            if score >= self._floor or not self._settings.finetune:
                break
            self._path.leave()
            phase = self._tune(self._settings.finetune, span, f"recovery {number + 1} of iteration {self._iteration}")
            score, seconds = self._validate()
            self._add_row("recover", aim, 0, phase, score, seconds)
        return score

    def _next_aim(self) -> float:
        """Ask the schedule for the next reduction, and go less far after steps that were taken back."""
        settings, reached = self._settings, self._reduction
        aim = float(settings.schedule.next_reduction(self._steps_done - 1, reached, settings.target))
        if not reached < aim <= settings.target:
            raise ParameterError(
                f"The 'step' parameter of {self._owner} must be a schedule whose next_reduction lies in "
                f"({reached:.6g}, {settings.target:.6g}]. Got {settings.schedule!r}, which returned {aim!r}, instead."
            )
        return min(aim, reached + self._largest_step)

    @property
    def _steps_done(self) -> int:
        """Number of iterations that were not taken back, the present one counted."""
        return self._iteration - self._halvings

    def _steps_left(self) -> int:
        pruned = int((self._removed_in > 0).sum())
        left = self._network.num_prunables
        steps = self._course.steps_left(self._steps_done - 1, self._reduction, pruned, left)
        return max(steps, math.ceil((self._settings.target - self._reduction) / self._largest_step))

    def _remove_units(self, aim: float) -> int:
        """Remove the least important units; the scores start anew."""
        settings = self._settings
        self._keep_importances()
        before = self._network.support.copy()
        num_pruned = self._network.prune_to(aim, of=settings.resource, max_to_prune=settings.max_to_prune)
        self._removed_in[before & ~self._network.support] = self._iteration
        if num_pruned and settings.cutting:
            self._tuner.cut()
        return num_pruned

    def _keep_importances(self) -> None:
        """Note the present importance of the units that are still there."""
        if self._network.num_scored:
            current = self._network.importances
            self._importances = np.where(np.isnan(current), self._importances, current)

    def _tune(self, budget: Budget, span: tuple[float, float], stage: str) -> Phase:
        if not budget:
            return Phase()
        phase = self._tuner.train(budget, span, stage)
        self._note_training(budget, span)
        return phase

    def _note_training(self, budget: Budget, span: tuple[float, float]) -> None:
        self._course.done = span[1]
        self._phases.append((budget, span))

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
        self._hold()
        self._progress.expect(self._course.batches_left(0))
        self._show("Final training")
        phase = self._tune(self._settings.final, (self._course.done, 1.0), "the final training")
        score, seconds = self._validate()
        self._add_row("final", self._rows[-1].target, 0, phase, score, seconds)
        if self._floor_reason and not score >= self._floor:
            self._restore()
        else:
            self._keep_importances()

    # -- going back, and going on -------------------------------------------------------------------------------------

    def _hold(self) -> None:
        """Keep the present network, which held the thresholds."""
        self._held = _Held(self._network.snapshot(), self._course.done, len(self._phases))

    def _restore(self) -> None:
        """Go back to the last network that held the thresholds."""
        if self._held is None:
            return
        self._path.leave()
        self._network.restore(self._held.network)
        self._course.done = self._held.done
        del self._phases[self._held.num_phases :]
        self._removed_in[self._network.support] = 0
        self._tuner.forget_momentum()

    def _save(self) -> None:
        """Write everything that the rest of the run depends on."""
        if self._checkpoint is None:
            return
        self._checkpoint.write(
            "loop",
            {
                "stage": self._stage,
                "stop_reason": self._stop_reason,
                "iteration": self._iteration,
                "halvings": self._halvings,
                "largest_step": self._largest_step,
                "done": self._course.done,
                "rows": [asdict(row) for row in self._rows],
                "phases": [(budget.epochs, budget.batches, span) for budget, span in self._phases],
                "removed_in": self._removed_in,
                "importances": self._importances,
                "control": None if self._controlled is None else self._controlled.state_dict(),
                "visited": self._visited,
                **self._training_state(),
            },
        )

    def _training_state(self) -> dict[str, Any]:
        """Return what further training and scoring depend on."""
        return {
            "network": self._network.get_state(),
            "tuner": self._tuner.state_dict(),
            "rng": rng_state(device_of(self._tuner.net)),
        }

    def _set_training_state(self, state: Mapping[str, Any]) -> None:
        self._network.set_state(state["network"])
        self._tuner.load_state_dict(state["tuner"])
        set_rng_state(state["rng"], device_of(self._tuner.net))

    def _resume(self) -> bool:
        """Go on where a run was left; tell whether there was one."""
        state = None if self._checkpoint is None else self._checkpoint.read("loop")
        if state is None or self._checkpoint is None:
            return False
        try:
            self._go_on_from(state)
        except BROKEN as exc:
            raise self._checkpoint.broken("loop", exc) from exc
        self._path.leave()  # whose beginning this process has not gone
        return True

    def _go_on_from(self, state: Mapping[str, Any]) -> None:
        """Set everything that `_save` writes."""
        _check_state(state, len(self._removed_in))
        self._stage, self._stop_reason = state["stage"], state["stop_reason"]
        self._iteration, self._halvings = state["iteration"], state["halvings"]
        self._largest_step = state["largest_step"]
        self._course.done = state["done"]
        self._rows = [Iteration(**row) for row in state["rows"]]
        self._phases = [(Budget(epochs, batches), span) for epochs, batches, span in state["phases"]]
        self._removed_in, self._importances = state["removed_in"], state["importances"]
        if state["control"] is not None and self._control is not None:
            self._controlled = self._control.load(state["control"])
        self._set_floor(self._rows[0].score)
        self._set_training_state(state)
        for score, place, seconds in state.get("visited", []):
            self._note_visit(float(score), place, float(seconds))

    # -- telling ------------------------------------------------------------------------------------------------------

    def _add_row(
        self,
        kind: str,
        aim: float,
        num_pruned: int,
        phase: Phase,
        score: float,
        seconds: float,
        score_before: float = math.nan,
    ) -> None:
        reductions = {f"reduction_{name}": self._network.reduction(name) for name in RESOURCES}
        is_timed = self._settings.resource == "latency"
        reductions["reduction_latency"] = self._network.reduction("latency") if is_timed else math.nan
        self._rows.append(
            Iteration(
                iteration=self._iteration,
                phase=kind,
                target=aim,
                reduction=reductions[f"reduction_{self._settings.resource}"],
                **reductions,
                num_prunables=self._network.num_prunables,
                num_pruned=num_pruned,
                train_loss=phase.loss,
                score_before=score_before,
                score=score,
                held=not score < self._floor,
                seconds_scoring=phase.seconds_scoring,
                seconds_training=phase.seconds_training,
                seconds_validation=seconds,
                peak_memory_bytes=peak_memory_bytes(device_of(self._tuner.net)),
            )
        )

    def _expect(self, steps: int) -> None:
        """Tell the progress what is to come."""
        scoring = 0
        if self._network.num_scored == 0:
            scoring = self._settings.score_batches or self._tuner.count_batches(Budget(1))
        self._progress.expect(scoring + self._course.batches_left(steps) + steps * self._visit_batches)
        self._show(f"Iteration {self._iteration}/{self._iteration + steps - 1}")

    def _show(self, stage: str) -> None:
        """Tell the progress what is reached."""
        last = self._rows[-1]
        measured = (("score", last.score), ("loss", last.train_loss))
        known = [f"{name} {value:.4g}" for name, value in measured if math.isfinite(value)]
        self._progress.show(stage, f"{100 * self._reduction:.1f} % removed", *known[:1])


_KINDS: dict[str, Any] = {
    "stage": str,
    "stop_reason": str,
    "iteration": int,
    "halvings": int,
    "largest_step": float,
    "done": float,
    "rows": list,
    "phases": list,
    "removed_in": np.ndarray,
    "importances": np.ndarray,
}
"""What stands in a checkpoint."""


def _check_state(state: Mapping[str, Any], size: int) -> None:
    """Refuse a state whose parts are of other kinds than those that were written."""
    for name, kind in _KINDS.items():
        if not isinstance(state[name], kind):
            raise TypeError(f"'{name}' must be {kind.__name__}, not {type(state[name]).__name__}")
    if state["stage"] not in ("prune", "final", "control", "done") or not state["rows"]:
        raise ValueError(f"'{state['stage']}' with {len(state['rows'])} rows")
    for name, kinds in (("removed_in", "i"), ("importances", "f")):
        if state[name].shape != (size,) or state[name].dtype.kind not in kinds:
            raise ValueError(f"'{name}' of {state[name].dtype} and shape {state[name].shape}")
    for row in state["rows"]:
        for name, value in row.items():
            if not isinstance(value, str if name == "phase" else int | float | np.number | np.bool_):
                raise TypeError(f"'{name}' must not be {type(value).__name__}")


_PRUNING = ("prune", "final")
"""Stages in which the network is not yet what it will be."""
