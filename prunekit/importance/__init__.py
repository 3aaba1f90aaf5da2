"""Importance: criteria that estimate the change of the loss when a unit is removed."""

from prunekit.importance._criteria import (
    CRITERIA,
    APoZ,
    BNScale,
    Criterion,
    Fisher,
    Magnitude,
    MeanActivation,
    Random,
    Taylor,
    Taylor2,
    TaylorAbs,
    TaylorActivation,
    TaylorPerExample,
    Together,
    make_criterion,
)
from prunekit.importance._gates import Gates
from prunekit.importance._gradients import Gradients
from prunekit.importance._normalization import NORMALIZATIONS, Normalization, normalised
from prunekit.importance._observation import Observation, UnitSums
from prunekit.importance._oracle import oracle

__all__ = [
    "CRITERIA",
    "NORMALIZATIONS",
    "APoZ",
    "BNScale",
    "Criterion",
    "Fisher",
    "Gates",
    "Gradients",
    "Magnitude",
    "MeanActivation",
    "Normalization",
    "Observation",
    "Random",
    "Taylor",
    "Taylor2",
    "TaylorAbs",
    "TaylorActivation",
    "TaylorPerExample",
    "Together",
    "UnitSums",
    "make_criterion",
    "normalised",
    "oracle",
]
