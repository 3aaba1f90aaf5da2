"""Tables of a network: what it costs, what could be pruned, what blocks the rest."""

from prunekit.analysis._analyze import analyze

__all__ = ["analyze"]
