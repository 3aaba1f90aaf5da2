"""What became of what the rows of a history tell of."""

from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Outcome = Literal["held", "recovered", "taken back"]

_ROUNDING = 1e-9


def taken_back(history: pd.DataFrame, reached: float) -> NDArray[np.bool_]:
    """
    Return which rows are not on the way to the result.

    Parameters
    ----------
    history : DataFrame
        As ``TaylorPruner.history_``.
    reached : float
        Reduction of the parameters of the result, whatever the target counts: unlike measured times, it only grows
        from step to step unless something is undone.

    Returns
    -------
    ndarray of bool, shape (n_rows,)
        An iteration counts by its last row: a threshold that its first row broke may hold after a repeated fine-tuning.
        The final training has the number of the iteration before. After an interruption, rows that held can be undone
        as well.
    """
    held = history.groupby(["iteration", history["phase"] == "final"])["held"].transform("last").to_numpy(dtype=bool)
    reduction = history["reduction_params"].to_numpy(dtype=np.float64)
    after = np.minimum.accumulate(np.append(reduction, reached)[::-1])[-2::-1]  # the smallest one that follows
    undone: NDArray[np.bool_] = ~held | (after < reduction - _ROUNDING)
    return undone


def outcomes(history: pd.DataFrame, reached: float) -> tuple[Outcome, ...]:
    """
    Return a word for each row.

    Parameters
    ----------
    history : DataFrame
        As ``TaylorPruner.history_``.
    reached : float
        Reduction of the parameters of the result.

    Returns
    -------
    tuple of {"held", "recovered", "taken back"}
        ``"recovered"`` for a row that broke a threshold which held after a repeated fine-tuning.
    """
    held = history["held"].to_numpy(dtype=bool)
    return tuple(
        "taken back" if is_undone else "held" if holds else "recovered"
        for is_undone, holds in zip(taken_back(history, reached), held, strict=True)
    )
