"""Tables and displays of a network: what it costs, what could be pruned, what blocks the rest, what matters."""

from prunekit.analysis._analyze import analyze
from prunekit.analysis._displays import CorrelationDisplay, ImportanceDisplay

__all__ = ["CorrelationDisplay", "ImportanceDisplay", "analyze"]
