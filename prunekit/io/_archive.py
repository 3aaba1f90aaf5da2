"""The file of `save`: weights under their own names, and a document in the metadata that says what they belong to."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from prunekit._files import check_readable, checked_path, write_atomically
from prunekit.exceptions import ParameterTypeError, PlanError, PrunekitError
from prunekit.io._state import BROKEN, StateReader, StateWriter, checksum
from prunekit.surgery import PruningPlan

PROTOCOL = 2
"""Version of the file that `write_archive` writes; older ones are read as well."""

_KEY = "prunekit"
"""The one entry of the metadata; with several their order in the file would change from save to save."""

_EXTRA = "prunekit/"
"""What the names of tensors begin with that are no weights."""


@dataclass(frozen=True, slots=True)
class Archive:
    """
    What a file of `save` holds.

    Parameters
    ----------
    module : str
        Module and qualified name of the network's class, to tell people; nothing is imported by it.
    plan : PruningPlan
        What was removed.
    tensors : dict of str to Tensor
        Parameters and buffers on the CPU; a shared one once. Empty where only the document was read.
    shared : dict of str to str
        Further names of shared tensors, and the name under which each stands in `tensors`.
    parts : dict of str to object
        Nests of numbers, strings, arrays and tensors: ``probe``, ``net``, ``pruner``. Empty where only the document
        was read.
    versions : dict of str to str
        Packages that wrote the file.
    """

    module: str
    plan: PruningPlan
    tensors: dict[str, Tensor] = field(default_factory=dict)
    shared: dict[str, str] = field(default_factory=dict)
    parts: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def write_archive(path: str | Path, archive: Archive) -> Path:
    """
    Write a file, in the place of the one before once it is whole and on the disk.

    Parameters
    ----------
    path : str or Path
        The file.
    archive : Archive
        What to write.

    Returns
    -------
    Path
        The file. Equal archives give equal files.

    Raises
    ------
    ParameterTypeError
        If there is something in it that the format does not know. Nothing is written then.
    FileAccessError
        If the file cannot be written.
    """
    target = checked_path(path)
    odd = next((name for name in archive.tensors if name.startswith(_EXTRA)), None)
    if odd is not None:
        raise ParameterTypeError(
            f"The tensors of the network must have names that do not begin with '{_EXTRA}'. Got '{odd}' instead."
        )
    writer = StateWriter(_EXTRA)
    document = {
        "protocol": PROTOCOL,
        "module": archive.module,
        "versions": archive.versions,
        "plan": archive.plan.to_document(),
        "shared": archive.shared,
        "parts": {name: writer.encode(part, name, 0) for name, part in archive.parts.items()},
    }
    tensors = archive.tensors | writer.tensors
    signed = json.dumps({**document, "sha256": checksum(document, tensors)})
    try:
        content = safetensors.torch.save(tensors, {_KEY: signed})
    except KeyError as exc:
        raise ParameterTypeError(
            f"The tensors of the network must have data types that safetensors can hold. Got {exc} instead."
        ) from exc
    write_atomically(target, content)
    return target


def read_archive(path: str | Path, *, document_only: bool = False) -> Archive:
    """
    Read a file of this version or an older one; nothing in it is executed.

    Parameters
    ----------
    path : str or Path
        What `write_archive` wrote.
    document_only : bool, default=False
        Whether to leave out everything but the plan and the names, which is fast. Checksums are not compared then.

    Returns
    -------
    Archive
        What is in it.

    Raises
    ------
    FileAccessError
        If there is no such file, or it cannot be read.
    PlanError
        If it is not whole, or was not written by `write_archive` of this version or an older one.
    """
    check_readable(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(_KEY)
            names = [] if document_only else list(file.keys())
            tensors = {name: file.get_tensor(name) for name in names}
    except (safetensors.SafetensorError, OSError, ValueError, RuntimeError, AttributeError, TypeError) as exc:
        # The last four: data types and shapes that torch does not know.
        raise PlanError(f"'{path}' is no whole safetensors file: {exc}") from exc
    document = _document(text, path)
    if document["protocol"] == 1:
        return Archive(str(document.get("module")), PruningPlan.from_json(str(document.get("plan"))), tensors)
    with understood(path):
        found = Archive(
            module=str(document["module"]),
            plan=PruningPlan.from_document(document["plan"]),
            shared={name: str(stored) for name, stored in document["shared"].items()},
            versions={name: str(version) for name, version in document["versions"].items()},
        )
        if document_only:
            return found
        if document.pop("sha256") != checksum(document, tensors):
            raise PlanError(
                f"'{path}' is damaged: its checksum is not that of its content. Take another copy of the file."
            )
        reader = StateReader(tensors)
        parts = {name: reader.decode(part, 0) for name, part in document["parts"].items()}
    weights = {name: tensor for name, tensor in tensors.items() if not name.startswith(_EXTRA)}
    return Archive(found.module, found.plan, weights, found.shared, parts, found.versions)


@contextmanager
def understood(path: str | Path, keep: type[PrunekitError] = PrunekitError) -> Iterator[None]:
    """
    Tell of a document that says something impossible, whatever that makes the block raise.

    Parameters
    ----------
    path : str or Path
        File that the document is in.
    keep : type of PrunekitError, default=PrunekitError
        Errors that say by themselves what is wrong.

    Yields
    ------
    None
        Control to the block.

    Raises
    ------
    PlanError
        If the block raised what is in `BROKEN` and no error to keep.
    """
    try:
        yield
    except keep:
        raise
    except BROKEN as exc:
        raise PlanError(f"'{path}' has a broken document: {type(exc).__name__}: {exc}") from exc


def package_versions() -> dict[str, str]:
    """
    Return what a file says of the packages that wrote it.

    Returns
    -------
    dict of str to str
        Versions by name, without those that are not installed as packages.
    """
    found = {"torch": str(torch.__version__)}
    with suppress(metadata.PackageNotFoundError):  # a source tree
        found["prunekit"] = metadata.version("prunekit")
    return found


def _document(text: str | None, path: str | Path) -> dict[str, Any]:
    try:
        document = json.loads(text or "null")
    except (ValueError, RecursionError) as exc:
        raise PlanError(f"'{path}' has broken metadata: {exc}") from exc
    protocol = document.get("protocol") if isinstance(document, dict) else None
    if type(protocol) is not int or not 1 <= protocol <= PROTOCOL:
        newer = "Update prunekit." if type(protocol) is int and protocol > PROTOCOL else "It is something else."
        raise PlanError(
            f"'{path}' must be a file that prunekit.save wrote with protocol {PROTOCOL} or below. "
            f"Got protocol {protocol!r} instead. {newer}"
        )
    return dict(document)
