"""Displays: the importance of units and the path of a pruner, drawn. They alone need matplotlib, to draw."""

from prunekit.analysis._displays._correlation import CorrelationDisplay
from prunekit.analysis._displays._importance import ImportanceDisplay
from prunekit.analysis._displays._path import PruningPathDisplay

__all__ = ["CorrelationDisplay", "ImportanceDisplay", "PruningPathDisplay"]
