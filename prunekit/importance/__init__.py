"""Importance: criteria that estimate the change of the loss when a unit is removed."""

from prunekit.importance._criteria import (
    CRITERIA,
    BNScale,
    Criterion,
    Magnitude,
    Random,
    Taylor,
    Taylor2,
    TaylorAbs,
    make_criterion,
)
from prunekit.importance._gradients import Gradients
from prunekit.importance._normalization import NORMALIZATIONS, Normalization, normalised
from prunekit.importance._observation import Observation, UnitSums
from prunekit.importance._oracle import oracle

__all__ = [
    "CRITERIA",
    "NORMALIZATIONS",
    "BNScale",
    "Criterion",
    "Gradients",
    "Magnitude",
    "Normalization",
    "Observation",
    "Random",
    "Taylor",
    "Taylor2",
    "TaylorAbs",
    "UnitSums",
    "make_criterion",
    "normalised",
    "oracle",
]
