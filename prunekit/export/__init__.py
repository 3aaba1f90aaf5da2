"""Files for other runtimes: exported, run again and compared before they are in their place."""

from prunekit.export._executorch import export_executorch
from prunekit.export._onnx import export_onnx
from prunekit.export._program import export_program
from prunekit.export._report import ExportReport
from prunekit.export._steps import OnnxExporter, ProgramExporter

__all__ = [
    "ExportReport",
    "OnnxExporter",
    "ProgramExporter",
    "export_executorch",
    "export_onnx",
    "export_program",
]
