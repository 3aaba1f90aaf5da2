"""Series in the formats of the UCR and UEA archives."""

import numpy as np
import pytest
from pydantic import ValidationError

from prunekit.exceptions import InputError
from prunekit.pipeline._data import load_split
from prunekit.pipeline._series import load_ucr
from prunekit.pipeline.schema import DataSection
from tests.pipeline.series import write_ts, write_ucr


def series(num_samples=12, channels=1, length=5, seed=0):
    """Return series, and labels 1 and -1 in turn."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(num_samples, channels, length)), ["1", "-1"] * (num_samples // 2)


def split_of(folder, task="classification", dataset="Noise", path=".", **data):
    """Return the division of what a file in a folder says."""
    source = {"name": "ucr", "path": path, "dataset": dataset}
    return load_split(DataSection.model_validate({"source": source, **data}, context={"folder": folder}), 0, task)


@pytest.mark.parametrize(("suffix", "mark"), [("tsv", "\t"), ("txt", "  "), ("txt", ",")])
def test_lines_that_begin_with_the_label(tmp_path, suffix, mark):
    X, labels = series()
    write_ucr(tmp_path, "Noise", X[:8], labels[:8], X[8:], labels[8:], suffix, mark)
    split = split_of(tmp_path, dtype="float64")
    assert np.array_equal(split.X_train, X[:8])
    assert np.array_equal(split.X_test, X[8:])
    assert np.array_equal(split.y_test, [1, 0, 1, 0])


@pytest.mark.parametrize("channels", [1, 3])
def test_ts(tmp_path, channels):
    X, labels = series(channels=channels)
    write_ts(tmp_path, "Noise", X[:8], labels[:8], X[8:], labels[8:])
    split = split_of(tmp_path, dtype="float64")
    assert (split.input_shape, split.num_classes) == ((channels, 5), 2)
    assert np.array_equal(split.X_train, X[:8])
    assert np.array_equal(split.X_test, X[8:])
    assert np.array_equal(split.y_train, [1, 0] * 4)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["10", "9", "9.0", "1e1"], [1, 0, 0, 1]),
        (["walking", "a run", "a run", "walking"], [1, 0, 0, 1]),
        (["x", "10", "10", "x"], [1, 0, 0, 1]),
    ],
    ids=["numbers", "words", "both"],
)
@pytest.mark.parametrize("write", [write_ts, write_ucr])
def test_labels_become_classes(tmp_path, labels, classes, write):
    X, _ = series(4)
    write(tmp_path, "Noise", X, labels, X[:2], labels[:2])
    samples = load_ucr(tmp_path, "Noise")
    assert (samples.y.tolist(), samples.num_test) == (classes + classes[:2], 2)


def test_regression(tmp_path):
    X, _ = series(6)
    labels = ["0.5", "1", "-2e3", "4", "5", "6"]
    write_ts(tmp_path, "Noise", X[:4], labels[:4], X[4:], labels[4:], about="@targetlabel true")
    split = split_of(tmp_path, "regression")
    assert (split.y_train.ravel().tolist(), split.y_test.ravel().tolist()) == ([0.5, 1, -2000, 4], [5, 6])


def test_folder_of_its_own(tmp_path):
    X, labels = series()
    for name in ("Noise", "Other"):
        (tmp_path / "archive" / name).mkdir(parents=True)
        write_ucr(tmp_path / "archive" / name, name, X, labels, X, labels)
    assert split_of(tmp_path, path="archive").X_test.shape == X.shape
    with pytest.raises(ValidationError):
        split_of(tmp_path, path="archive", dataset="archive/Noise")


def test_test_size_divides_anew_and_sample_thins_out(tmp_path):
    X, labels = series(40)
    write_ucr(tmp_path, "Noise", X[:20], labels[:20], X[20:], labels[20:])
    assert len(split_of(tmp_path, test_size=0.2).y_test) == 8
    assert len(split_of(tmp_path, sample=20).y_test) == 10


def test_comments_and_empty_lines(tmp_path):
    X, labels = series()
    write_ts(tmp_path, "Noise", X, labels, X, labels)
    path = tmp_path / "Noise_TEST.ts"
    text = path.read_text()
    path.write_text("\ufeff# begins so\n\n" + text.replace("@data\n", "@data\n\n# within\n") + "\n\n", encoding="utf-8")
    assert np.array_equal(split_of(tmp_path, dtype="float64").X_test, X)


def replaced(old, new):
    """Return a function that replaces the first place of a text."""
    return lambda text: text.replace(old, new, 1)


LENGTHS = "must be a series of {}, for all must have equal lengths. Got {} instead; make them equal first."
MISSING = (
    "must have no missing values, by which series of unequal length are filled up, too. Got {} of them instead; fill "
    "them first."
)
BROKEN = [
    ("tsv", lambda text: "", "The file FILE must hold at least one series."),
    ("tsv", replaced("1\t0\t", "1\t"), "Line 2 of FILE " + LENGTHS.format("1 x 2 values", "1 x 3 values")),
    ("tsv", replaced("-1\t0\t2", "-1\t0\tx2"), "Line 2 of FILE must hold numbers. Got 'x2' instead."),
    ("tsv", replaced("-1\t0\t2", "-1\tNaN\tnan"), "Line 2 of FILE " + MISSING.format(2)),
    ("tsv", replaced("-1\t0\t2\t3", "-1"), "Line 2 of FILE " + LENGTHS.format("1 x 3 values", "1 x 0 values")),
    ("tsv", replaced("1\t0\t2\t3", "1"), "Line 1 of FILE " + LENGTHS.format("values", "1 x 0 values")),
    ("tsv", replaced("-1\t0\t2", "-1\tinf\t2"),
     "The series of 'Noise' in DIR must be finite. Got NaN or infinity instead."),
    ("ts", lambda text: "", "The file FILE must have a line '@data' before the series."),
    ("ts", replaced("@data", ""), "The file FILE must have a line '@data' before the series."),
    ("ts", replaced("@timestamps false", "@timeStamps True"),
     "The series in FILE must have no time stamps. Give their values alone, at equal distances."),
    ("ts", replaced("@classlabel true", "@classlabel false"),
     "The series in FILE must have labels, and the header say so: '@classLabel true …'."),
    ("ts", replaced("0,2,3:0,2,3:1", "0,2,3:1"),
     "Line 5 of FILE " + LENGTHS.format("1 x 3 values", "2 x 3 values")),
    ("ts", replaced("0,2,3:0,2,3:-1", "0,2,3:0,2:-1"),
     "Line 5 of FILE " + LENGTHS.format("2 x 3 values", "3 and 2 values")),
    ("ts", replaced("0,2,3:0,2,3:-1", "0,2,3:0,?,3:-1"), "Line 5 of FILE " + MISSING.format(1)),
    ("ts", replaced("0,2,3:0,2,3:-1", "0,2,3"), "Line 5 of FILE " + LENGTHS.format("2 x 3 values", "0 values")),
]  # fmt: skip


@pytest.mark.parametrize(("suffix", "change", "expected"), BROKEN, ids=range(len(BROKEN)))
def test_broken_files(tmp_path, suffix, change, expected):
    X = np.broadcast_to([0, 2, 3], (4, 1 if suffix == "tsv" else 2, 3))
    (write_ucr if suffix == "tsv" else write_ts)(tmp_path, "Noise", X, ["1", "-1"] * 2, X, ["1", "-1"] * 2)
    path = tmp_path / f"Noise_TRAIN.{suffix}"
    path.write_text(change(path.read_text()))
    with pytest.raises(InputError) as caught:
        load_ucr(tmp_path, "Noise")
    assert str(caught.value).replace(str(path), "FILE").replace(str(tmp_path), "DIR") == expected


def test_parts_that_do_not_fit_each_other(tmp_path):
    X, labels = series()

    def refused(y, X_test, y_test, task="classification"):
        write_ucr(tmp_path, "Noise", X, y, X_test, y_test)
        with pytest.raises(InputError) as caught:
            load_ucr(tmp_path, "Noise", task)
        return str(caught.value).replace(f"{tmp_path}/", "")

    assert refused(labels, X[..., :4], labels) == (
        "The series in Noise_TEST.tsv must have the shape of those in Noise_TRAIN.tsv, (1, 5). Got (1, 4) instead."
    )
    assert refused(labels, X, ["1", "2"] * 6) == (
        "The labels in Noise_TEST.tsv must be in Noise_TRAIN.tsv, too. Got '2' instead."
    )
    assert "must hold the classes 0, 1, … without gaps, at least two." in refused(["x"] * 12, X, ["x"] * 12)
    assert "must hold real numbers for each" in refused(["x"] * 12, X, ["x"] * 12, "regression")


def test_bytes_that_are_no_text_and_too_many(tmp_path, monkeypatch):
    X, labels = series()
    write_ucr(tmp_path, "Noise", X, labels, X, labels)
    content = (tmp_path / "Noise_TEST.tsv").read_bytes()
    (tmp_path / "Noise_TEST.tsv").write_bytes(b"\xff\xfe" + content)
    with pytest.raises(InputError, match=r"The file .*Noise_TEST.tsv must be readable text. UnicodeDecodeError"):
        load_ucr(tmp_path, "Noise")
    monkeypatch.setattr("prunekit.pipeline._series.MAX_BYTES", 1000)
    with pytest.raises(InputError, match=r"The file .*Noise_TRAIN.tsv must have at most 1,000 bytes. Got 1,"):
        load_ucr(tmp_path, "Noise")
