"""What an export did."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ExportReport:
    """
    A file that was exported, run again and compared with the network; printed, it is one line.

    Parameters
    ----------
    path : Path
        The file.
    format : {"onnx", "program", "executorch"}
        What it is.
    file_bytes : int
        Its size in bytes.
    largest_difference : float
        Largest difference between what the file and the network return, relative to the largest output.
    batch_sizes : tuple of int
        Sizes of the batches on which they were compared; empty where the inputs have no batch.
    dynamic_batch : bool
        Whether the file takes batches of other sizes than that of the examples.
    input_names, output_names : tuple of str
        Names of the tensors in the order of the network's arguments and results.
    opset : int or None
        Version of ONNX's operators, None for other formats.
    """

    path: Path
    format: str
    file_bytes: int
    largest_difference: float
    batch_sizes: tuple[int, ...]
    dynamic_batch: bool
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    opset: int | None = None

    def __str__(self) -> str:
        """Return it all in one line."""
        kind = self.format if self.opset is None else f"{self.format}, opset {self.opset}"
        sizes = ", ".join(str(size) for size in self.batch_sizes) or "none"
        return (
            f"{self.path} ({kind}): {self.file_bytes:,} bytes, {', '.join(self.input_names)} -> "
            f"{', '.join(self.output_names)}, {'dynamic batch' if self.dynamic_batch else 'fixed batch'}; "
            f"differs by {self.largest_difference:.2g} of the largest output at most (batches compared: {sizes})"
        )
