"""Displays: what pruning did to a network, drawn. They alone need matplotlib, to draw."""

from prunekit.analysis._displays._confusion import ConfusionChangeDisplay
from prunekit.analysis._displays._correlation import CorrelationDisplay
from prunekit.analysis._displays._course import HistoryDisplay
from prunekit.analysis._displays._importance import ImportanceDisplay
from prunekit.analysis._displays._layers import LayerReductionDisplay
from prunekit.analysis._displays._path import PruningPathDisplay

__all__ = [
    "ConfusionChangeDisplay",
    "CorrelationDisplay",
    "HistoryDisplay",
    "ImportanceDisplay",
    "LayerReductionDisplay",
    "PruningPathDisplay",
]
