"""Files of ``torch.export``, run again by PyTorch."""

import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from prunekit.export._report import ExportReport
from prunekit.export._shipping import RTOL, Runner, ship
from prunekit.export._subject import Subject, tensors_in
from prunekit.tracing import Inputs, duplicate_inputs


def export_program(
    network: Any, path: str | Path, X: Any = None, *, dynamic_batch: bool = True, rtol: float = RTOL
) -> ExportReport:
    """
    Write a network as a program of ``torch.export``, load and run that, and compare.

    The file needs none of the model's Python code: ``torch.export.load(path).module()`` is the network. It is also what
    AOTInductor compiles.

    Parameters
    ----------
    network : Module, fitted skorch net, fitted TaylorPruner or TaylorPrunerCV, or PrunableNetwork
        As for `export_onnx`, but on its own device, where the program will compute as well.
    path : str or Path
        File to write, by custom with the suffix ``.pt2``. An old one is replaced once the new one was compared.
    X : Tensor, array, DataFrame, Dataset, tuple or Mapping, default=None
        Example inputs, as for `export_onnx`.
    dynamic_batch : bool, default=True
        Whether the program takes batches of any size, as for `export_onnx`.
    rtol : float, default=1e-5
        Largest difference allowed, as for `export_onnx`.

    Returns
    -------
    ExportReport
        The file, its size, its names and the largest difference. The program takes the same arguments as the network
        and returns what that returns.

    Raises
    ------
    ExportError
        If PyTorch cannot capture the network, or does not run the program. No file is left, and an old one is as it
        was; this holds for all errors.
    VerificationError
        If the program returns something else than the network.
    InputError
        If the network does not run on `X`.
    ParameterTypeError
        If there is no module in `network`, or inputs are missing.
    FileAccessError
        If the file cannot be written.

    See Also
    --------
    export_onnx : Write a file for other runtimes.

    Notes
    -----
    The program is that of eval mode, and cannot be put in training mode.
    """
    return ship(
        network,
        path,
        X,
        owner="export_program",
        form="program",
        dynamic_batch=dynamic_batch,
        rtol=rtol,
        content_of=_content_of,
        runner_of=program_runner,
        runtime="torch.export",
        device=None,
        tensors_only=False,
    )


def _content_of(program: ExportedProgram, subject: Subject) -> bytes:
    # The values of the user's examples are not to be in the file.
    program.example_inputs = None
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def program_runner(path: Path) -> Runner:
    """
    Return what runs a file.

    Parameters
    ----------
    path : Path
        The file.

    Returns
    -------
    callable
        Takes `Inputs`, returns the list of outputs.
    """
    content = path.read_bytes()
    try:
        module = torch.export.load(io.BytesIO(content)).module()
    except RuntimeError:
        _load_loudly(content)
        raise

    def run(inputs: Inputs) -> list[torch.Tensor]:
        given = duplicate_inputs(inputs)
        return tensors_in(module(*given.args, **given.kwargs))

    return run


def _load_loudly(content: bytes) -> None:
    """Raise what `torch.export.load` keeps to its log when a file cannot be loaded."""
    with suppress(ImportError):
        from torch.export.pt2_archive._package import load_pt2

        load_pt2(io.BytesIO(content))
