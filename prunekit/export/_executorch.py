"""ExecuTorch programs for phones and small devices, run again by its runtime on this machine."""

from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from prunekit.exceptions import ParameterError, ParameterTypeError
from prunekit.export._quiet import require
from prunekit.export._report import ExportReport
from prunekit.export._shipping import RTOL, Runner, ship
from prunekit.export._subject import Subject
from prunekit.tracing import Inputs

_MODULES = ("executorch.exir", "executorch.backends.xnnpack.partition.xnnpack_partitioner", "executorch.runtime")


def export_executorch(
    network: Any, path: str | Path, X: Any = None, *, max_batch: int | None = None, rtol: float = RTOL
) -> ExportReport:
    """
    Write a network as a program of ExecuTorch for the CPUs of phones (XNNPACK), run that here, and compare.

    Parameters
    ----------
    network : Module, fitted skorch net, fitted TaylorPruner or TaylorPrunerCV, or PrunableNetwork
        As for `export_onnx`.
    path : str or Path
        File to write, by custom with the suffix ``.pte``. An old one is replaced once the new one was compared.
    X : Tensor, array, DataFrame, Dataset, tuple or Mapping, default=None
        Example inputs, as for `export_onnx`.
    max_batch : int, default=None
        Largest batch that the program takes, 2 or more; memory for it is laid out in advance. None: the program takes
        batches of as many examples as `X` has only.
    rtol : float, default=1e-5
        Largest difference allowed, as for `export_onnx`.

    Returns
    -------
    ExportReport
        The file, its size, its names and the largest difference.

    Raises
    ------
    ExportError
        If PyTorch cannot capture the network, ExecuTorch has no such operation, or does not run the program. No file is
        left, and an old one is as it was; this holds for all errors.
    VerificationError
        If the program returns something else than the network.
    InputError
        If the network does not run on `X`.
    MissingDependencyError
        If executorch is not installed.
    ParameterError, ParameterTypeError
        If a parameter is wrong, there is no module in `network`, or inputs are missing.
    FileAccessError
        If the file cannot be written.

    See Also
    --------
    export_onnx : Write a file for other runtimes.

    Notes
    -----
    Operations that XNNPACK does not have run in ExecuTorch's portable kernels, which are slow. ExecuTorch's compiled
    parts write notes on the machine to the terminal.
    """
    owner = "export_executorch"
    if max_batch is not None and (isinstance(max_batch, bool) or not isinstance(max_batch, int)):
        raise ParameterTypeError(
            f"The 'max_batch' parameter of {owner} must be a number or None. Got {max_batch!r} instead."
        )
    if max_batch is not None and max_batch < 2:
        raise ParameterError(
            f"The 'max_batch' parameter of {owner} must be 2 or more, or None for batches like 'X' only. "
            f"Got {max_batch} instead."
        )
    exir, xnnpack, runtime = require(_MODULES, "executorch", owner)

    def content_of(program: ExportedProgram, subject: Subject) -> bytes:
        lowered = exir.to_edge_transform_and_lower(program, partitioner=[xnnpack.XnnpackPartitioner()])
        return bytes(lowered.to_executorch().buffer)

    def runner_of(path: Path) -> Runner:
        program = runtime.Runtime.get().load_program(str(path))
        method = program.load_method("forward")

        def run(inputs: Inputs) -> list[torch.Tensor]:
            alive = program, method  # a method of a program that is gone crashes
            given = [tensor.contiguous() for tensor in inputs.tensors()]
            return [tensor.clone() for tensor in alive[1].execute(given)]  # the next call writes into the same memory

        return run

    return ship(
        network,
        path,
        X,
        owner=owner,
        form="executorch",
        dynamic_batch=max_batch is not None,
        rtol=rtol,
        content_of=content_of,
        runner_of=runner_of,
        runtime="ExecuTorch",
        max_batch=max_batch,
    )
