"""Taylor pruning for PyTorch networks, as scikit-learn estimators over skorch nets."""

from importlib.metadata import PackageNotFoundError, version

from prunekit import exceptions
from prunekit.analysis import CorrelationDisplay, ImportanceDisplay, PruningPathDisplay, analyze
from prunekit.io import load, save
from prunekit.network import PrunableNetwork
from prunekit.pruner import TaylorPruner
from prunekit.reporting import report
from prunekit.search import TaylorPrunerCV

try:
    __version__ = version("prunekit")
except PackageNotFoundError:  # a source tree that is not installed
    __version__ = "0+unknown"

__all__ = [
    "CorrelationDisplay",
    "ImportanceDisplay",
    "PrunableNetwork",
    "PruningPathDisplay",
    "TaylorPruner",
    "TaylorPrunerCV",
    "analyze",
    "exceptions",
    "load",
    "report",
    "save",
]
