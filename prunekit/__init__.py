"""Taylor pruning for PyTorch networks, as scikit-learn estimators over skorch nets."""

from importlib.metadata import PackageNotFoundError, version

from prunekit import exceptions
from prunekit.analysis import (
    ComparisonDisplay,
    ConfusionChangeDisplay,
    CorrelationDisplay,
    HistoryDisplay,
    ImportanceDisplay,
    LayerReductionDisplay,
    PruningPathDisplay,
    analyze,
    analyze_compression,
    compare,
    style_table,
)
from prunekit.export import ExportReport, OnnxExporter, ProgramExporter, export_executorch, export_onnx, export_program
from prunekit.io import load
from prunekit.network import PrunableNetwork
from prunekit.persistence import load_net, load_pruner, save, untrusted_names
from prunekit.pruner import TaylorPruner
from prunekit.reporting import report
from prunekit.search import TaylorPrunerCV
from prunekit.surgery import PruningPlan

try:
    __version__ = version("prunekit")
except PackageNotFoundError:  # a source tree that is not installed
    __version__ = "0+unknown"

__all__ = [
    "ComparisonDisplay",
    "ConfusionChangeDisplay",
    "CorrelationDisplay",
    "ExportReport",
    "HistoryDisplay",
    "ImportanceDisplay",
    "LayerReductionDisplay",
    "OnnxExporter",
    "ProgramExporter",
    "PrunableNetwork",
    "PruningPathDisplay",
    "PruningPlan",
    "TaylorPruner",
    "TaylorPrunerCV",
    "analyze",
    "analyze_compression",
    "compare",
    "exceptions",
    "export_executorch",
    "export_onnx",
    "export_program",
    "load",
    "load_net",
    "load_pruner",
    "report",
    "save",
    "style_table",
    "untrusted_names",
]
