"""One path of pruning on one fold, scored at every reduction."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.parallel import Parallel
from skorch.dataset import get_len
from skorch.utils import multi_indexing

from prunekit._loop import HeldOut, Iteration, LoopSettings, Progress
from prunekit._skorch import Budget, follows_course
from prunekit.cost import RESOURCES
from prunekit.pruner import TaylorPruner
from prunekit.schedules import MilestoneSchedule


@dataclass(frozen=True, slots=True, eq=False)
class FoldPath:
    """
    What one fold gave, of the network before pruning and at every reduction.

    Parameters
    ----------
    scores : ndarray of shape (n_reductions + 1,)
        Scores on the data that were held out; NaN for reductions that were not reached.
    reductions : dict of str to ndarray of shape (n_reductions + 1,)
        What was reached, of each resource.
    seconds : ndarray of shape (n_reductions + 1,)
        From the beginning of the fit to that point.
    """

    scores: NDArray[np.float64]
    reductions: dict[str, NDArray[np.float64]]
    seconds: NDArray[np.float64]

    def state_dict(self) -> dict[str, Any]:
        """Return the result as arrays."""
        return {"scores": self.scores, "reductions": self.reductions, "seconds": self.seconds}

    @classmethod
    def of_state(cls, state: Mapping[str, Any], num_reductions: int) -> "FoldPath":
        """
        Return a result that was kept.

        Parameters
        ----------
        state : Mapping
            What `state_dict` returned.
        num_reductions : int
            Number of reductions on the path.

        Returns
        -------
        FoldPath
            The same.

        Raises
        ------
        ValueError
            If it is one of another path.
        """
        columns: dict[str, NDArray[np.float64]] = {name: state["reductions"][name] for name in RESOURCES}
        for values in (state["scores"], state["seconds"], *columns.values()):
            if values.shape != (num_reductions + 1,) or values.dtype != np.float64:
                raise ValueError(f"{values.dtype} of shape {values.shape} for {num_reductions} reductions")
        return cls(state["scores"], columns, state["seconds"])


class TellingParallel(Parallel):
    """
    Tell of every task that is done, whatever the backend.

    Parameters
    ----------
    progress : Progress
        What is told.
    **params : dict
        Parameters of `joblib.Parallel`.
    """

    def __init__(self, progress: Progress, **params: Any) -> None:
        super().__init__(**params)
        self._progress = progress
        self._told = 0

    def print_progress(self) -> None:
        """Count what was done since the last call; joblib calls this in one thread at a time."""
        while self._told < self.n_completed_tasks:
            self._told += 1
            self._progress.tick()


def path_pruner(pruner: TaylorPruner, reductions: Sequence[float]) -> TaylorPruner:
    """
    Set a pruner to visit some reductions; all of its own thresholds are off.

    Parameters
    ----------
    pruner : TaylorPruner
        A clone; it is changed.
    reductions : sequence of float
        The reductions, rising.

    Returns
    -------
    TaylorPruner
        The same object.
    """
    # Each network is trained to the end before it is scored, so the learning rate does not fall on the way.
    policy = "anneal" if follows_course(pruner.lr_policy) else pruner.lr_policy
    pruner.set_params(
        target_reduction=reductions[-1],
        step=MilestoneSchedule(list(reductions)),
        lr_policy=policy,
        final_epochs=0,
        final_batches=None,
        min_score=None,
        max_score_drop=None,
        control=False,
        store_baseline=False,
    )
    return pruner


def walk(
    pruner: TaylorPruner,
    reductions: Sequence[float],
    training: Budget,
    scoring: Any,
    X: Any,
    y: Any,
    train: NDArray[np.int64],
    test: NDArray[np.int64],
    fit_params: dict[str, Any],
) -> FoldPath:
    """
    Train and prune on one part of the data, and score on the other.

    Parameters
    ----------
    pruner : TaylorPruner
        What `path_pruner` returned; it is fitted.
    reductions : sequence of float
        The reductions, rising.
    training : Budget
        Training at the end of a fit; that of all networks before they are scored is as long together.
    scoring : str, callable or None
        Scikit-learn scorer.
    X, y : object
        All data.
    train, test : ndarray of int
        The two parts.
    fit_params : dict
        More arguments of the fit.

    Returns
    -------
    FoldPath
        What was found.
    """
    X_train, X_test = (multi_indexing(X, part) for part in (train, test))
    y_train, y_test = (None if y is None else multi_indexing(y, part) for part in (train, test))
    own = {name: _of_samples(value, get_len(X), train) for name, value in fit_params.items()}
    seen = _Seen()
    held_out = HeldOut(X_test, y_test, scoring, training, len(reductions), seen.note, seen.seconds)
    LoopSettings.checked(pruner.get_params(deep=False), "TaylorPruner")
    checkpoint = pruner._open_checkpoint((X_train, y_train, None, None, own), held_out)
    if checkpoint is not None and (kept := checkpoint.read("path")) is not None:
        with checkpoint.place("path").checked():
            return FoldPath.of_state(kept, len(reductions))
    pruner._fit_and_score(X_train, y_train, None, None, own, held_out)
    path = seen.path(reductions)
    if checkpoint is not None:
        checkpoint.write("path", path.state_dict())
        for name in ("loop", "dense", "start"):  # networks, which nobody asks for any more
            checkpoint.remove(name)
    return path


class _Seen:
    """What is seen on the way: of the network before pruning, and of those after it."""

    def __init__(self) -> None:
        self._rows: list[Iteration] = []
        self._scores: list[float] = []
        self._seconds: list[float] = []
        self._start = time.perf_counter()

    def seconds(self) -> float:
        """Return the time since the beginning, that before a path was left included."""
        return time.perf_counter() - self._start

    def note(self, score: float, row: Iteration, seconds: float) -> None:
        """Note what a network gave."""
        self._scores.append(score)
        self._rows.append(row)
        self._seconds.append(seconds)
        self._start = min(self._start, time.perf_counter() - seconds)

    def path(self, reductions: Sequence[float]) -> FoldPath:
        """Return what is seen at each reduction."""
        # Where a removed unit overshot more than one reduction, one network stands for all of them.
        reached = np.array([row.reduction for row in self._rows])
        found = [0, *(int(np.argmax(reached >= wanted - 1e-9)) or -1 for wanted in reductions)]

        def at_points(values: Sequence[float]) -> NDArray[np.float64]:
            given = np.append(np.asarray(values, dtype=np.float64), math.nan)
            return given[[index if index >= 0 else len(values) for index in found]]

        columns: dict[str, NDArray[np.float64]] = {
            name: at_points([getattr(row, f"reduction_{name}") for row in self._rows]) for name in RESOURCES
        }
        return FoldPath(at_points(self._scores), columns, at_points(self._seconds))


def _of_samples(value: Any, num_samples: int, chosen: NDArray[np.int64]) -> Any:
    """Return the part of an argument of a fit that belongs to some samples, if it has one value for each of them."""
    is_given = hasattr(value, "__len__") and not isinstance(value, (str, Mapping)) and len(value) == num_samples
    return multi_indexing(value, chosen) if is_given else value
