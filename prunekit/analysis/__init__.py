"""Tables and displays of a network: what it costs, what could be pruned, what blocks the rest, what pruning did."""

from prunekit.analysis._analyze import analyze
from prunekit.analysis._displays import (
    ConfusionChangeDisplay,
    CorrelationDisplay,
    HistoryDisplay,
    ImportanceDisplay,
    LayerReductionDisplay,
    PruningPathDisplay,
)

__all__ = [
    "ConfusionChangeDisplay",
    "CorrelationDisplay",
    "HistoryDisplay",
    "ImportanceDisplay",
    "LayerReductionDisplay",
    "PruningPathDisplay",
    "analyze",
]
