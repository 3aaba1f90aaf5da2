"""Displays: importances of units, path and result of a pruner, drawn. They alone need matplotlib, to draw."""

from prunekit.analysis._displays._comparison import ComparisonDisplay
from prunekit.analysis._displays._correlation import CorrelationDisplay
from prunekit.analysis._displays._importance import ImportanceDisplay
from prunekit.analysis._displays._path import PruningPathDisplay

__all__ = ["ComparisonDisplay", "CorrelationDisplay", "ImportanceDisplay", "PruningPathDisplay"]
