"""Displays: the importance of units, drawn. They alone need matplotlib, and only when they draw."""

from prunekit.analysis._displays._correlation import CorrelationDisplay
from prunekit.analysis._displays._importance import ImportanceDisplay

__all__ = ["CorrelationDisplay", "ImportanceDisplay"]
