"""Networks that begin with the weights of a file."""

import hashlib
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from prunekit.exceptions import InputError
from prunekit.pipeline._samples import ExistingFile
from prunekit.pipeline._section import Section

_MAX_NAMES = 5


class PretrainedSection(Section):
    """
    Weights that a network begins with.

    Parameters
    ----------
    file : str
        A .safetensors file with the tensors under the names of the network's parameters and buffers, such as
        ``prunekit.save`` or ``safetensors.torch.save_model`` writes.
    exclude : list of str, optional
        Patterns of names that stay as they are drawn, as in ``["head.*"]`` for another number of classes.
    """

    file: ExistingFile
    exclude: list[str] = Field(default_factory=list, max_length=100)


def with_weights(
    *,
    weights_of: Callable[..., nn.Module],
    weights_file: str,
    weights_sha256: str,
    weights_exclude: Sequence[str] = (),
    **options: Any,
) -> nn.Module:
    """
    Build a network and fill it with the tensors of a file.

    Parameters
    ----------
    weights_of : callable
        Builds the network.
    weights_file : str
        A .safetensors file.
    weights_sha256 : str
        What the file was when the net was made, so that a checkpoint knows whose weights it goes on from.
    weights_exclude : sequence of str, default=()
        Patterns of names that stay as they are.
    **options : dict
        What the network is built with.

    Returns
    -------
    Module
        The network.

    Raises
    ------
    InputError
        If the file cannot be read, is another by now, lacks a tensor, or has one of another shape.
    """
    module = weights_of(**options)
    if sha256_of(weights_file) != weights_sha256:
        raise InputError(
            f"The file of pretrained weights must stay as it was when the net was made. Got {weights_file} with "
            "another content instead. Load the pipeline file again."
        )
    try:
        stored = load_file(weights_file)
    except (OSError, SafetensorError) as exc:
        raise InputError(
            f"The 'pretrained' key of net must be a whole .safetensors file. Got {Path(weights_file)} instead: {exc}"
        ) from exc
    own = module.state_dict(keep_vars=True)
    wanted = {
        name: tensor for name, tensor in own.items() if not any(fnmatchcase(name, one) for one in weights_exclude)
    }
    # Tensors that a network has under several names stand in a file once.
    known = {id(own[name]) for name in stored if name in own}
    missing = [name for name, tensor in wanted.items() if name not in stored and id(tensor) not in known]
    others = [
        f"{name} of shape {tuple(stored[name].shape)} for {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in stored and stored[name].shape != tensor.shape
    ]
    for problem, names in (("no", missing), ("another", others)):
        if names:
            raise InputError(
                f"The file of pretrained weights must have every tensor of the network {type(module).__name__}. "
                f"Got {weights_file} with {problem} {_shortened(names)} instead. Name another file, or leave tensors "
                "as they are drawn by 'exclude'."
            )
    _fill(wanted, stored)
    return module


def sha256_of(file: str) -> str:
    """
    Return the checksum of a file.

    Parameters
    ----------
    file : str
        Its path.

    Returns
    -------
    str
        SHA-256 in hexadecimal.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    try:
        with Path(file).open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as exc:
        raise InputError(
            f"The 'pretrained' key of net must be a file that can be read. Got {file} instead: {exc}"
        ) from exc


def _fill(wanted: dict[str, Tensor], stored: dict[str, Tensor]) -> None:
    with torch.no_grad():
        for name in wanted.keys() & stored.keys():
            wanted[name].copy_(stored[name])


def _shortened(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return f"{', '.join(names[:_MAX_NAMES])}{more}"
