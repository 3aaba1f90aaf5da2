"""What a pruner's thresholds come to."""


def lowest_allowed(baseline: float, min_score: float | None, max_score_drop: float | None) -> float | None:
    """
    Return the lowest score that a pruner allowed.

    Parameters
    ----------
    baseline : float
        Score before pruning.
    min_score, max_score_drop : float or None
        Parameters of the pruner.

    Returns
    -------
    float or None
        None without a threshold.
    """
    floors = [] if min_score is None else [float(min_score)]
    if max_score_drop is not None:
        floors.append(float(baseline - max_score_drop))
    return max(floors, default=None)
