"""Series in the formats of the UCR and UEA archives: text, each part of a data set in a file of its own."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from prunekit.exceptions import InputError
from prunekit.pipeline._samples import ExistingFolder, Samples, Task, as_samples, as_targets
from prunekit.pipeline._section import UNKNOWN_NAME, Section, key_error

MAX_BYTES = 2**31

_TRAIN, _TEST = "_TRAIN", "_TEST"
_LACKING = "NAME_TRAIN and NAME_TEST in .ts, .tsv or .txt"

_Row = tuple[int, str, list[list[str]]]
"""Number of the line, label, and the values of each channel."""


def load_ucr(path: Path, dataset: str, task: Task = "classification") -> Samples:
    """
    Return a data set of the UCR or UEA archive, or another in one of their formats.

    Parameters
    ----------
    path : Path
        Folder of ``NAME_TRAIN`` and ``NAME_TEST``, in ``.ts``, ``.tsv`` or ``.txt``, or of a folder ``NAME`` with them.
    dataset : str
        The name.
    task : {"classification", "regression"}, default="classification"
        What is to be learnt.

    Returns
    -------
    Samples
        Series of shape (channels, length) and what stands for each as label: classes are numbered in the order of the
        labels as numbers, or as words where one is none. The series of the test file are the last.

    Raises
    ------
    InputError
        If a file is damaged or too large, or its series have missing values or unequal lengths.
    """
    files = _files_of(path, dataset)
    if files is None:
        raise InputError(f"The folder {path} must hold the data set '{dataset}'. It is there no longer.")
    (X_train, labels), (X_test, test_labels) = (_read(file) for file in files)
    if X_train.shape[1:] != X_test.shape[1:]:
        raise InputError(
            f"The series in {files[1]} must have the shape of those in {files[0].name}, {X_train.shape[1:]}. "
            f"Got {X_test.shape[1:]} instead."
        )
    X = as_samples(np.concatenate([X_train, X_test]), f"The series of '{dataset}' in {path}")
    y = _TARGETS[task]([*labels, *test_labels])
    unseen = np.setdiff1d(y[len(labels) :], y[: len(labels)])
    if task == "classification" and len(unseen):
        label = test_labels[y[len(labels) :].tolist().index(unseen[0])]
        raise InputError(f"The labels in {files[1]} must be in {files[0].name}, too. Got '{label}' instead.")
    what = f"The labels of '{dataset}' in {path}"
    return Samples(X, as_targets(y, len(X), task, what), len(X_test))


def _numbers(labels: list[str]) -> NDArray[Any]:
    """Return labels as numbers, as they are if one is none."""
    try:
        return np.array(labels, dtype=np.float64)
    except ValueError:
        return np.array(labels)


def _classes(labels: list[str]) -> NDArray[Any]:
    return np.unique(_numbers(labels), return_inverse=True)[1]


_TARGETS: dict[Task, Callable[[list[str]], NDArray[Any]]] = {"classification": _classes, "regression": _numbers}


def _read(path: Path) -> tuple[NDArray[np.float64], list[str]]:
    """Return the series of a file, (samples, channels, length), and their labels."""
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise InputError(f"The file {path} must have at most {MAX_BYTES:,} bytes. Got {size:,} instead.")
    try:
        with path.open(encoding="utf-8-sig") as lines:
            numbered = ((number, line.strip()) for number, line in enumerate(lines, 1))
            rows = _FORMATS[path.suffix](path, ((number, line) for number, line in numbered if line))
            series, labels = _collected(path, rows)
    except (OSError, UnicodeError) as exc:
        raise InputError(f"The file {path} must be readable text. {type(exc).__name__}: {exc}") from exc
    return series, labels


def _collected(path: Path, rows: Iterable[_Row]) -> tuple[NDArray[np.float64], list[str]]:
    series: list[NDArray[np.float64]] = []
    labels: list[str] = []
    for number, label, channels in rows:
        where = f"Line {number} of {path}"
        lengths = [len(channel) for channel in channels]
        shape = series[0].shape if series else (len(lengths), lengths[0] if lengths else 0)
        if lengths != [shape[1]] * shape[0] or not shape[1]:
            raise InputError(
                f"{where} must be a series of {_size([shape[1]] * shape[0]) if shape[1] else 'values'}, for all must "
                f"have equal lengths. Got {_size(lengths)} instead; make them equal first."
            )
        values = _values(channels, where)
        series.append(values)
        labels.append(label)
    if not series:
        raise InputError(f"The file {path} must hold at least one series.")
    return np.stack(series), labels


def _size(lengths: list[int]) -> str:
    """Describe the channels of a series by their lengths."""
    same = len(set(lengths)) == 1
    return f"{len(lengths)} x {lengths[0]} values" if same else f"{' and '.join(map(str, lengths[:5])) or 0} values"


def _values(channels: list[list[str]], where: str) -> NDArray[np.float64]:
    try:
        values = np.array([["nan" if value == "?" else value for value in channel] for channel in channels], np.float64)
    except ValueError:
        wrong = next(value for value in chain(*channels) if not _is_number(value))
        raise InputError(f"{where} must hold numbers. Got {wrong[:40]!r} instead.") from None
    if np.isnan(values).any():
        raise InputError(
            f"{where} must have no missing values, by which series of unequal length are filled up, too. "
            f"Got {int(np.isnan(values).sum())} of them instead; fill them first."
        )
    return values


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return text == "?"
    return True


def _tsv_rows(path: Path, lines: Iterable[tuple[int, str]]) -> Iterator[_Row]:
    """Yield series of one channel, each a line that begins with the label."""
    for number, line in lines:
        separator = next((mark for mark in ("\t", ",") if mark in line), None)  # None: any blanks
        label, *values = line.split(separator)
        yield number, label.strip(), [values]


def _ts_rows(path: Path, lines: Iterable[tuple[int, str]]) -> Iterator[_Row]:
    """Yield series of some channels, with colons between them and before the label."""
    stream = iter(lines)
    header = {}
    for _, line in stream:
        key, *values = line.lower().split(maxsplit=1)
        header[key] = values[0] if values else ""
        if key == "@data":
            break
    else:
        raise InputError(f"The file {path} must have a line '@data' before the series.")
    if header.get("@timestamps", "false") != "false":
        raise InputError(f"The series in {path} must have no time stamps. Give their values alone, at equal distances.")
    if not any(header.get(key, "").startswith("true") for key in ("@classlabel", "@targetlabel")):
        raise InputError(f"The series in {path} must have labels, and the header say so: '@classLabel true …'.")
    for number, line in stream:
        if not line.startswith(("#", "%")):
            *channels, label = line.split(":")
            yield number, label.strip(), [channel.split(",") for channel in channels]


_FORMATS: dict[str, Callable[[Path, Iterable[tuple[int, str]]], Iterator[_Row]]] = {
    ".ts": _ts_rows,
    ".tsv": _tsv_rows,
    ".txt": _tsv_rows,
}


def _files_of(folder: Path, dataset: str) -> tuple[Path, Path] | None:
    """Return the two files of a data set."""
    for place in (folder, folder / dataset):
        for suffix in _FORMATS:
            files = place / f"{dataset}{_TRAIN}{suffix}", place / f"{dataset}{_TEST}{suffix}"
            if all(file.is_file() for file in files):
                return files
    return None


def _datasets_of(folder: Path) -> list[str]:
    """Return the names of all data sets in a folder."""
    files = chain(folder.glob(f"*{_TRAIN}.*"), folder.glob(f"*/*{_TRAIN}.*"))
    names = {file.stem.removesuffix(_TRAIN) for file in files}
    return sorted(name for name in names if _files_of(folder, name) is not None)


class UcrOptions(Section):
    """Options of the source ``ucr``."""

    path: ExistingFolder
    dataset: str = Field(min_length=1, max_length=100)

    @model_validator(mode="after")
    def _check_files(self) -> Self:
        known = _datasets_of(self.path)
        if not known:
            raise key_error(
                "lacks_file", "path", str(self.path), lacking="NAME_TRAIN and NAME_TEST in .ts, .tsv or .txt"
            )
        if self.dataset not in known:
            raise key_error(UNKNOWN_NAME, "dataset", self.dataset, kind="data set", known=known)
        return self
