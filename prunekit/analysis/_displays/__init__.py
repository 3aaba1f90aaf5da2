"""Displays: importances, path, history and result of a pruner, and comparisons of networks, drawn with matplotlib."""

from prunekit.analysis._displays._comparison import ComparisonDisplay
from prunekit.analysis._displays._confusion import ConfusionChangeDisplay
from prunekit.analysis._displays._correlation import CorrelationDisplay
from prunekit.analysis._displays._course import HistoryDisplay
from prunekit.analysis._displays._importance import ImportanceDisplay
from prunekit.analysis._displays._layers import LayerReductionDisplay
from prunekit.analysis._displays._path import PruningPathDisplay

__all__ = [
    "ComparisonDisplay",
    "ConfusionChangeDisplay",
    "CorrelationDisplay",
    "HistoryDisplay",
    "ImportanceDisplay",
    "LayerReductionDisplay",
    "PruningPathDisplay",
]
