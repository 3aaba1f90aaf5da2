"""From a network to a file in its place: capture, write beside, run that, compare, put in place."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.export import ExportedProgram

from prunekit._files import written_beside
from prunekit._validation import check_interval
from prunekit.exceptions import ExportError, ParameterTypeError, PrunekitError
from prunekit.export._causes import cause_of
from prunekit.export._comparison import Comparison
from prunekit.export._programs import capture
from prunekit.export._quiet import quiet
from prunekit.export._report import ExportReport
from prunekit.export._subject import Subject, module_of, take_subject
from prunekit.tracing import Inputs

Runner = Callable[[Inputs], list[Tensor]]

RTOL = 1e-5
"""Largest difference allowed, relative to the largest output."""


def ship(
    network: Any,
    path: str | Path,
    X: Any,
    *,
    owner: str,
    form: str,
    dynamic_batch: bool,
    rtol: float,
    content_of: Callable[[ExportedProgram, Subject], bytes],
    runner_of: Callable[[Path], Runner],
    runtime: str,
    device: str | None = "cpu",
    tensors_only: bool = True,
    max_batch: int | None = None,
) -> ExportReport:
    """
    Export a network, run the file again and put it in its place.

    Parameters
    ----------
    network, path, X, dynamic_batch, rtol : object
        As in `prunekit.export_onnx`.
    owner : str
        Function that asks, for the messages.
    form : str
        Name of the format.
    content_of : callable
        Returns the content of the file.
    runner_of : callable
        Takes the path of a file, returns what runs it.
    runtime : str
        Name of what runs it, for the messages.
    device : str, default="cpu"
        Where the network computes; None: where it is.
    tensors_only : bool, default=True
        Whether the format holds nothing but tensors.
    max_batch : int, default=None
        Largest batch that the file has to take.

    Returns
    -------
    ExportReport
        What was done.

    Raises
    ------
    ExportError
        If the format does not hold the network, or the file does not run.
    VerificationError
        If the file returns something else.
    """
    target = _checked(path, dynamic_batch, rtol, owner)
    module = module_of(network, owner)
    with quiet():
        subject = take_subject(module, X, owner, dynamic_batch, device, max_batch)
        name = type(subject.module).__name__
        program = capture(subject, owner, tensors_only=tensors_only, max_batch=max_batch)
        try:
            content = content_of(program, subject)
        except PrunekitError:
            raise
        except Exception as exc:
            raise ExportError(f"{name} cannot be written as {form}: {cause_of(exc)}. Nothing was written.") from exc
        del program
        with written_beside(target, content) as written:
            try:
                run = runner_of(written)
                got = [run(inputs) for inputs in subject.batches]
            except Exception as exc:
                raise ExportError(
                    f"{runtime} does not run what {owner} made of {name}: {cause_of(exc)}. Nothing was written."
                ) from exc
            worst = Comparison(subject, rtol, runtime, owner).largest_difference(got)
    return ExportReport(
        target,
        form,
        len(content),
        worst,
        subject.sizes,
        dynamic_batch,
        subject.input_names,
        subject.output_names,
    )


def _checked(path: str | Path, dynamic_batch: bool, rtol: float, owner: str) -> Path:
    if not isinstance(path, str | Path):
        raise ParameterTypeError(f"The 'path' parameter of {owner} must be a path. Got {type(path).__name__} instead.")
    if not isinstance(dynamic_batch, bool):
        raise ParameterTypeError(
            f"The 'dynamic_batch' parameter of {owner} must be True or False. Got {dynamic_batch!r} instead."
        )
    check_interval("rtol", rtol, owner, 0.0, math.inf, "left")
    return Path(path)
