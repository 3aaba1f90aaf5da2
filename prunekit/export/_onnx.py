"""ONNX files, run again by ONNX Runtime."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from prunekit.exceptions import ExportError, ParameterError, ParameterTypeError
from prunekit.export._quiet import require
from prunekit.export._report import ExportReport
from prunekit.export._shipping import RTOL, Runner, ship
from prunekit.export._subject import Subject
from prunekit.tracing import Inputs, named_tensors

_LARGEST = 2**31 - 2**20
"""Bytes of weights: protobuf holds less than 2 GiB in one file."""


def export_onnx(
    network: Any,
    path: str | Path,
    X: Any = None,
    *,
    dynamic_batch: bool = True,
    opset: int | None = None,
    slim: bool = False,
    rtol: float = RTOL,
) -> ExportReport:
    """
    Write a network as an ONNX file, run that with ONNX Runtime, and compare.

    Parameters
    ----------
    network : Module, fitted skorch net, fitted TaylorPruner or TaylorPrunerCV, or PrunableNetwork
        A `PrunableNetwork` is compacted, a `TaylorPrunerCV` stands for its best pruner. The network is copied, so that
        it stays as it is; the copy computes in eval mode on the CPU.
    path : str or Path
        File to write, by custom with the suffix ``.onnx``. An old one is replaced once the new one was compared.
    X : Tensor, array, DataFrame, Dataset, tuple or Mapping, default=None
        Example inputs: a batch, positional or keyword arguments; with `dynamic_batch` the first 32 examples count.
        None: inputs are made up in the shapes that a network carries which prunekit has compacted.
    dynamic_batch : bool, default=True
        Whether the file takes batches of any size, in the first dimension of all inputs that have as many entries there
        as the first one. It is compared on as many examples as `X` holds, on one and on three. False: the file takes
        shapes like those of `X` only.
    opset : int, default=None
        Version of ONNX's operators. None: the newest that PyTorch writes by itself.
    slim : bool, default=False
        Whether onnxslim simplifies the graph, before it is run and compared.
    rtol : float, default=1e-5
        Largest difference allowed, relative to the largest output. For outputs with less than float32's precision it is
        at least 8 times their resolution, and for networks that magnify rounding 16 times what rounding changes.

    Returns
    -------
    ExportReport
        The file, its size, its names and the largest difference. Inputs have the names of the parameters of
        ``forward``, a single output is ``output``, and outputs in a dict have their own names.

    Raises
    ------
    ExportError
        If PyTorch cannot capture the network, ONNX has no such operation, ONNX Runtime does not run the file, or the
        weights are larger than 2 GiB, which one ONNX file cannot hold. No file is left, and an old one is as it was;
        this holds for all errors.
    VerificationError
        If the file returns something else than the network.
    InputError
        If the network does not run on `X`.
    MissingDependencyError
        If onnx, onnxscript, onnxruntime or, for `slim`, onnxslim is not installed.
    ParameterTypeError
        If there is no module in `network`, or inputs are missing.
    FileAccessError
        If the file cannot be written.

    See Also
    --------
    export_program : Write a file for PyTorch itself.
    export_executorch : Write a file for phones and small devices.

    Notes
    -----
    The file returns what the module returns: skorch's ``predict_proba`` puts a softmax behind that, for instance.

    Forward hooks are part of a network: they are called while it is captured, with tensors that hold no values.

    Networks in bfloat16 and most in double precision are refused, because ONNX Runtime has no operations for them on a
    CPU: convert them to float32 first.
    """
    owner = "export_onnx"
    if opset is not None and (isinstance(opset, bool) or not isinstance(opset, int)):
        raise ParameterTypeError(f"The 'opset' parameter of {owner} must be a number or None. Got {opset!r} instead.")
    if not isinstance(slim, bool):
        raise ParameterTypeError(f"The 'slim' parameter of {owner} must be True or False. Got {slim!r} instead.")
    onnx, *_ = require(("onnx", "onnxscript", "onnxruntime", *(["onnxslim"] if slim else [])), "onnx", owner)
    written: list[int] = []

    def content_of(program: ExportedProgram, subject: Subject) -> bytes:
        num_bytes = sum(tensor.numel() * tensor.element_size() for tensor in named_tensors(subject.module).values())
        if num_bytes > _LARGEST:
            raise ExportError(
                f"{type(subject.module).__name__} must have less than 2 GiB of weights to fit one ONNX file. Got "
                f"{num_bytes:,} bytes instead: export_program has no such limit."
            )
        model = _model_of(program, subject, opset)
        if slim:
            model = _slimmed(model)
        found = next(own.version for own in model.opset_import if own.domain in ("", "ai.onnx"))
        if opset is not None and found != opset:
            raise ParameterError(
                f"The 'opset' parameter of {owner} must be a version of ONNX's operators that PyTorch can write the "
                f"network in. Got {opset!r} instead, and the file would be of version {found}."
            )
        onnx.checker.check_model(model)
        written.append(found)
        return bytes(model.SerializeToString())

    report = ship(
        network,
        path,
        X,
        owner=owner,
        form="onnx",
        dynamic_batch=dynamic_batch,
        rtol=rtol,
        content_of=content_of,
        runner_of=onnx_runner,
        runtime="ONNX Runtime",
    )
    return replace(report, opset=written[0])


def _model_of(program: ExportedProgram, subject: Subject, opset: int | None) -> Any:
    exported = torch.onnx.export(
        program,
        dynamo=True,
        verbose=False,
        opset_version=opset,
        input_names=list(subject.input_names),
        output_names=list(subject.output_names),
    )
    if exported is None:
        raise RuntimeError("torch.onnx.export returned nothing")
    return exported.model_proto


def _slimmed(model: Any) -> Any:
    import onnxslim

    return onnxslim.slim(model)


def onnx_runner(path: Path) -> Runner:
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
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4  # what is an error is raised as well
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    names = [own.name for own in session.get_inputs()]

    def run(inputs: Inputs) -> list[torch.Tensor]:
        arrays = [tensor.cpu().numpy() for tensor in inputs.tensors()]
        return [torch.from_numpy(array) for array in session.run(None, dict(zip(names, arrays, strict=True)))]

    return run
