"""Search for the right size: cross-validation along a pruning path, scorers of size, a rule to choose by both."""

from prunekit.search._cv import TaylorPrunerCV
from prunekit.search._scorers import (
    ReductionScorer,
    TradeoffScorer,
    macs_scorer,
    reduction_scorer,
    smallest_within,
    tradeoff_scorer,
)

__all__ = [
    "ReductionScorer",
    "TaylorPrunerCV",
    "TradeoffScorer",
    "macs_scorer",
    "reduction_scorer",
    "smallest_within",
    "tradeoff_scorer",
]
