"""Small data sets in the formats of the UCR and UEA archives."""

import numpy as np


def write_ucr(folder, name, X, y, X_test, y_test, suffix="tsv", mark="\t"):
    """Write both parts of a data set of one channel, a line per series that begins with its label."""
    for part, series, labels in (("TRAIN", X, y), ("TEST", X_test, y_test)):
        lines = [mark.join([label, *map(_text, sample[0])]) for sample, label in zip(series, labels, strict=True)]
        (folder / f"{name}_{part}.{suffix}").write_text("\n".join(lines) + "\n")


def write_ts(folder, name, X, y, X_test, y_test, about="@classlabel true 1 -1"):
    """Write both parts of a data set as sktime and aeon do."""
    for part, series, labels in (("TRAIN", X, y), ("TEST", X_test, y_test)):
        lines = ["@timestamps false", about, "@data"]
        for sample, label in zip(series, labels, strict=True):
            lines.append(":".join([*(",".join(map(_text, channel)) for channel in sample), label]))
        (folder / f"{name}_{part}.ts").write_text("\n".join(lines) + "\n")


def write_noise(folder, name="FordA", number=40):
    """Write a data set of two classes without a difference."""
    X = np.random.default_rng(0).normal(size=(number, 1, 24))
    labels = ["-1", "1"] * (number // 2)
    write_ucr(folder, name, X, labels, X, labels)


def _text(value):
    return repr(value.item())
