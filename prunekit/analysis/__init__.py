"""Tables and displays of a network: what it costs, what could be pruned, what blocks the rest, what pruning did."""

from prunekit.analysis._analyze import analyze
from prunekit.analysis._compare import compare
from prunekit.analysis._compression import analyze_compression
from prunekit.analysis._displays import (
    ComparisonDisplay,
    ConfusionChangeDisplay,
    CorrelationDisplay,
    HistoryDisplay,
    ImportanceDisplay,
    LayerReductionDisplay,
    PruningPathDisplay,
)
from prunekit.analysis._style import style_table

__all__ = [
    "ComparisonDisplay",
    "ConfusionChangeDisplay",
    "CorrelationDisplay",
    "HistoryDisplay",
    "ImportanceDisplay",
    "LayerReductionDisplay",
    "PruningPathDisplay",
    "analyze",
    "analyze_compression",
    "compare",
    "style_table",
]
