"""Confidence intervals of scores and of what they differ by."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

FloatArray = NDArray[np.float64]

_NUM_RESAMPLES = 2000
_ROWS_AT_ONCE = 2_000_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """
    A number with its confidence interval.

    Parameters
    ----------
    value, low, high : float
        The number and the ends of the interval; NaN where there is none.
    """

    value: float
    low: float = math.nan
    high: float = math.nan


def wilson(num_hits: int, num_trials: int, confidence: float) -> Estimate:
    """
    Return the interval of a proportion by Wilson (1927), which is never empty and never leaves [0, 1].

    Notes
    -----
    With p = hits / n and z the normal quantile of (1 + confidence) / 2, its ends are
    (p + z^2/2n -/+ z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n).
    """
    if not num_trials:
        return Estimate(math.nan)
    p, z = num_hits / num_trials, _quantile(confidence)
    scale = 1.0 + z * z / num_trials
    centre = (p + z * z / (2 * num_trials)) / scale
    half = z * math.sqrt(p * (1 - p) / num_trials + z * z / (4 * num_trials * num_trials)) / scale
    return Estimate(p, max(0.0, min(p, centre - half)), min(1.0, max(p, centre + half)))


def paired_difference(before: NDArray[np.bool_], after: NDArray[np.bool_], confidence: float) -> Estimate:
    """
    Return by how much a proportion changes on the same samples.

    Notes
    -----
    Method 10 of Newcombe [1]_: the Wilson intervals of both proportions, put together with the correlation phi of the
    two, which is corrected towards 0.

    References
    ----------
    .. [1] R. G. Newcombe, "Improved confidence intervals for the difference between binomial proportions based on
       paired data", Statistics in Medicine 17, 2635-2650, 1998.
    """
    size = len(before)
    if not size:
        return Estimate(math.nan)
    both, only_before = int((before & after).sum()), int((before & ~after).sum())
    only_after = int((after & ~before).sum())
    neither = size - both - only_before - only_after
    old, new = wilson(both + only_before, size, confidence), wilson(both + only_after, size, confidence)
    margins = (both + only_before) * (only_after + neither) * (both + only_after) * (only_before + neither)
    product = both * neither - only_before * only_after
    phi = (max(product - size / 2, 0.0) if product > 0 else product) / math.sqrt(margins) if margins else 0.0
    change = new.value - old.value
    low = _joined(new.value - new.low, old.high - old.value, phi)
    high = _joined(new.high - new.value, old.value - old.low, phi)
    return Estimate(change, max(-1.0, change - low), min(1.0, change + high))


def r2_estimates(
    targets: FloatArray, before: FloatArray, after: FloatArray, confidence: float, random_state: int
) -> tuple[Estimate, Estimate, Estimate]:
    """
    Return R² of two sets of predictions and their difference, with percentiles of the bootstrap.

    Parameters
    ----------
    targets, before, after : ndarray of float, shape (n_samples, n_outputs)
        True values and the predictions of both networks.
    confidence : float
        Of the intervals.
    random_state : int
        Seed of the resamples, which are the same for both networks.

    Returns
    -------
    tuple of Estimate
        Of the first, of the second, and of the second minus the first; averaged over the outputs.
    """
    size = len(targets)
    columns = np.stack([(targets - before) ** 2, (targets - after) ** 2, targets - targets.mean(axis=0)])
    ones = np.ones((1, size))
    values = _r2(ones, columns)[:, 0]
    random = np.random.default_rng(random_state)
    parts, left = [], _NUM_RESAMPLES
    while left:
        count = min(left, max(1, _ROWS_AT_ONCE // size))
        parts.append(_r2(random.multinomial(size, np.full(size, 1.0 / size), count).astype(np.float64), columns))
        left -= count
    samples = np.concatenate(parts, axis=1)
    samples = samples[:, np.isfinite(samples).all(axis=0)]
    ends = (100 * (1 - confidence) / 2, 100 * (1 + confidence) / 2)

    def estimate(value: float, drawn: FloatArray) -> Estimate:
        low, high = np.percentile(drawn, ends) if drawn.size and math.isfinite(value) else (math.nan, math.nan)
        return Estimate(float(value), float(low), float(high))

    return (
        estimate(values[0], samples[0]),
        estimate(values[1], samples[1]),
        estimate(values[1] - values[0], samples[1] - samples[0]),
    )


def _r2(weights: FloatArray, columns: FloatArray) -> FloatArray:
    """Return R² of both networks for each row of sample weights, shape (2, n_rows); NaN where targets are constant."""
    total = weights.sum(axis=1, keepdims=True)
    errors = [weights @ own for own in columns[:2]]
    centred = columns[2]
    spread = weights @ centred**2 - (weights @ centred) ** 2 / total
    spread = np.where(spread > 1e-12 * np.maximum(weights @ centred**2, 1e-300), spread, np.nan)
    return np.stack([(1.0 - own / spread).mean(axis=1) for own in errors])


def _joined(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(0.0, one * one - 2 * phi * one * other + other * other))


def _quantile(confidence: float) -> float:
    return float(ndtri((1 + confidence) / 2))
