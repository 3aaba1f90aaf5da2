"""Data sources and their division."""

import pickle
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from prunekit.exceptions import InputError
from prunekit.pipeline._data import load_split
from prunekit.pipeline._sources import load_digits, load_npz
from prunekit.pipeline.schema import DataSection
from tests.pipeline.images import write_cifar10, write_idx


@pytest.fixture
def npz(tmp_path):
    """Return a function that writes arrays to a file and reads them by the source."""

    def read(X, y):
        np.savez(tmp_path / "data.npz", X=X, y=y)
        samples = load_npz(tmp_path / "data.npz", "X", "y")
        return samples.X, samples.y

    return read


def test_digits():
    X, y = load_digits().X, load_digits().y
    assert X.shape == (1797, 1, 8, 8)
    assert X.dtype == np.float32
    assert (X.min(), X.max()) == (0, 1)
    assert sorted(set(y)) == list(range(10))


@pytest.mark.parametrize(
    ("stored", "read"),
    [
        (np.uint8, np.float32),
        (np.float16, np.float32),
        (np.float32, np.float32),
        (np.int64, np.float64),
        (np.float64, np.float64),
        (np.longdouble, np.float64),
    ],
)
def test_npz_keeps_what_it_can(npz, stored, read):
    X, y = npz(np.ones((6, 3), dtype=stored), np.arange(6, dtype=np.int8) % 2)
    assert (X.dtype, y.dtype) == (read, np.int64)
    assert X.shape == (6, 3)


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        (np.zeros(4), np.arange(4) % 2, "The array 'X' of .* must hold real numbers in at least 2 dimensions, "
         r"\(samples, \*shape\). Got float64 of shape \(4,\) instead."),
        (np.full((4, 2), "a"), np.arange(4) % 2, r"real numbers .* Got <U1 of shape \(4, 2\) instead."),
        (np.zeros((4, 2), complex), np.arange(4) % 2, "real numbers .* Got complex128"),
        (np.full((4, 2), np.nan), np.arange(4) % 2, "The array 'X' of .* must be finite. Got NaN or infinity instead."),
        (np.zeros((4, 2)), np.arange(3), "The array 'y' of .* must hold one class number for each of the 4 samples. "
         r"Got int64 of shape \(3,\) instead."),
        (np.zeros((4, 2)), np.zeros(4), r"one class number .* Got float64 of shape \(4,\) instead."),
        (np.zeros((4, 2)), np.array([1, 2, 1, 2]), "must hold the classes 0, 1, … without gaps, at least two. "
         "Got 1, 2 instead."),
        (np.zeros((4, 2)), np.zeros(4, int), "at least two. Got 0 instead."),
        (np.array([[None, 1]] * 4), np.arange(4) % 2,
         "must hold readable arrays of numbers. ValueError: Object arrays"),
    ],
)  # fmt: skip
def test_npz_that_holds_something_else(npz, X, y, message):
    with pytest.raises(InputError, match=message):
        npz(X, y)


def test_split_is_seeded_and_stratified():
    section = DataSection.model_validate({"source": "digits", "test_size": 0.25})
    first, again, other = (load_split(section, seed) for seed in (0, 0, 1))
    assert np.array_equal(first.X_test, again.X_test)
    assert not np.array_equal(first.y_test, other.y_test)
    assert len(first.y_test) == 450
    assert np.bincount(first.y_test).min() >= 43
    assert (first.input_shape, first.num_classes) == ((1, 8, 8), 10)


def test_too_few_samples(tmp_path):
    np.savez(tmp_path / "data.npz", X=np.zeros((3, 2)), y=np.array([0, 1, 0]))
    source = {"name": "npz", "path": "data.npz"}
    section = DataSection.model_validate({"source": source}, context={"folder": tmp_path})
    with pytest.raises(InputError, match="The 'test_size' key of data must leave samples of every class on both sides"):
        load_split(section, 0)


def split_of(folder, seed=0, task="classification", **data):
    """Return the division of what a file in a folder says."""
    section = DataSection.model_validate(data, context={"folder": folder})
    return load_split(section, seed, task)


@pytest.mark.parametrize(
    ("name", "task", "shape", "num_classes"),
    [
        ("iris", "classification", (4,), 3),
        ("wine", "classification", (13,), 3),
        ("breast_cancer", "classification", (30,), 2),
        ("diabetes", "regression", (10,), 1),
    ],
)
def test_tables_of_scikit_learn(tmp_path, name, task, shape, num_classes):
    split = split_of(tmp_path, task=task, source=name)
    assert (split.input_shape, split.num_classes, split.task) == (shape, num_classes, task)
    assert split.X_train.dtype == np.float32
    assert split.y_train.dtype == (np.int64 if task == "classification" else np.float32)
    assert len(split.y_test) == pytest.approx((len(split.y_train) + len(split.y_test)) / 4, abs=1)


class TestOptions:
    """What is done with the samples of any source."""

    def test_sample_is_stratified_and_seeded(self, tmp_path):
        first, again, other = (split_of(tmp_path, seed, source="digits", sample=400) for seed in (0, 0, 1))
        assert len(first.y_train) == 300
        assert len(first.y_test) == 100
        assert np.bincount(np.concatenate([first.y_train, first.y_test])).min() >= 38
        assert np.array_equal(first.X_train, again.X_train)
        assert not np.array_equal(first.X_train, other.X_train)

    def test_sample_of_more_is_all(self, tmp_path):
        split = split_of(tmp_path, source="iris", sample=10_000)
        assert len(split.y_train) + len(split.y_test) == 150

    def test_sample_without_a_class(self, tmp_path):
        with pytest.raises(InputError, match=r"The 'sample' key of data must leave .* every class\. Got 5 of 1797"):
            split_of(tmp_path, source="digits", sample=5)

    def test_reshape(self, tmp_path):
        assert split_of(tmp_path, source="digits", reshape=[8, 8]).input_shape == (8, 8)
        with pytest.raises(InputError, match=r"'reshape' key of data must keep .* 64 in shape \(1, 8, 8\)\. Got \[7\]"):
            split_of(tmp_path, source="digits", reshape=[7])

    def test_dtype_keeps_what_float32_would_lose(self, tmp_path):
        X = 1e6 + np.arange(80).reshape(40, 2) / 1000
        np.savez(tmp_path / "data.npz", X=X, y=np.arange(40) / 3)
        source = {"name": "npz", "path": "data.npz"}
        plain, double = (
            split_of(tmp_path, task="regression", source=source, scale="standard", target_scale="standard", dtype=dtype)
            for dtype in ("float32", "float64")
        )
        assert plain.X_train.dtype == plain.y_train.dtype == plain.X_test.dtype == plain.y_test.dtype == np.float32
        assert double.X_train.dtype == double.y_train.dtype == double.X_test.dtype == double.y_test.dtype == np.float64
        assert len(np.unique(plain.X_train)) < len(np.unique(double.X_train)) == 60
        assert double.X_train.std(axis=0) == pytest.approx([1, 1], rel=1e-6)

    def test_numbers_too_large_for_float32(self, tmp_path):
        arrays = {"X": np.full((8, 2), 1e300), "y": np.arange(8) % 2}
        np.savez(tmp_path / "data.npz", **arrays)
        source = {"name": "npz", "path": "data.npz"}
        message = r"The samples must be at most 3.4e\+38 to fit into float32. Got 1e\+300 instead; .* 'dtype: float64'"
        with pytest.raises(InputError, match=message):
            split_of(tmp_path, source=source)
        assert split_of(tmp_path, source=source, dtype="float64").X_train.max() == 1e300
        np.savez(tmp_path / "data.npz", X=arrays["X"] / 1e300, y=arrays["X"][:, 0])
        with pytest.raises(InputError, match="The targets must be at most"):
            split_of(tmp_path, task="regression", source=source)

    def test_resize_keeps_what_is_linear(self, tmp_path):
        rows, columns = np.meshgrid(np.arange(6.0), np.arange(5.0), indexing="ij")
        np.savez(tmp_path / "data.npz", X=np.stack([[rows + 10 * columns]] * 8), y=np.arange(8) % 2)
        split = split_of(tmp_path, source={"name": "npz", "path": "data.npz"}, resize=[12, 20], dtype="float64")
        assert split.input_shape == (1, 12, 20)
        inner = split.X_test[0, 0, 1:-1, 2:-2]
        assert np.allclose(np.diff(inner, axis=0), 0.5)
        assert np.allclose(np.diff(inner, axis=1), 2.5)

    def test_smaller_images_are_means(self, tmp_path):
        X = np.random.default_rng(0).random((600, 3, 8, 8))
        np.savez(tmp_path / "data.npz", X=X, y=np.arange(600) % 2)
        source = {"name": "npz", "path": "data.npz"}
        whole, small = (split_of(tmp_path, source=source, resize=size) for size in (None, [1, 1]))
        # The mean of a pixel's surroundings is weighted by a triangle, which reaches over the edge of the images.
        assert small.X_train.shape == (450, 3, 1, 1)
        assert small.X_train.std() < whole.X_train.std() / 6
        assert split_of(tmp_path, source=source, resize=[8, 8]).X_train.tobytes() == whole.X_train.tobytes()

    def test_grey_images_in_colour(self, tmp_path):
        grey, colour = (split_of(tmp_path, source="digits", channels=number) for number in (1, 3))
        assert colour.input_shape == (3, 8, 8)
        assert np.array_equal(colour.X_train, np.concatenate([grey.X_train] * 3, axis=1))
        both = split_of(tmp_path, source="digits", channels=3, resize=[16, 16], sample=200)
        assert both.X_test.shape == (50, 3, 16, 16)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"resize": [4, 4]}, r"The 'resize' key of data is for images, \(channels, height, width\). Got samples of "
             r"shape \(4,\) instead; make images of them with 'reshape', or leave it out."),
            ({"channels": 3}, r"The 'channels' key of data is for images"),
            ({"reshape": [2, 2, 1], "channels": 3}, "The 'channels' key of data must be 2, as many as the images have, "
             "for only grey images can be repeated. Got 3 instead."),
        ],
    )  # fmt: skip
    def test_no_images(self, tmp_path, options, message):
        with pytest.raises(InputError, match=message):
            split_of(tmp_path, source="iris", **options)

    def test_standard_scale_is_of_the_training_part(self, tmp_path):
        split = split_of(tmp_path, source="wine", scale="standard")
        assert np.allclose(split.X_train.mean(axis=0), 0, atol=1e-5)
        assert np.allclose(split.X_train.std(axis=0), 1, atol=1e-5)
        assert not np.allclose(split.X_test.mean(axis=0), 0, atol=1e-3)

    def test_scale_of_very_many_values(self, tmp_path):
        X = np.random.default_rng(0).normal(100, 1, size=(400_000, 2)).astype(np.float32)
        np.savez(tmp_path / "data.npz", X=X, y=np.arange(len(X)) % 2)
        split = split_of(tmp_path, source={"name": "npz", "path": "data.npz"}, scale="standard")
        assert split.X_train.dtype == np.float32
        assert np.allclose(split.X_train.mean(axis=0, dtype=np.float64), 0, atol=1e-4)
        assert np.allclose(split.X_train.std(axis=0, dtype=np.float64), 1, atol=1e-4)

    def test_images_are_scaled_by_channel(self, tmp_path):
        X = np.random.default_rng(0).normal([[[[1]], [[50]]]], 2, size=(40, 2, 3, 3))
        np.savez(tmp_path / "data.npz", X=X, y=np.arange(40) % 2)
        source = {"name": "npz", "path": "data.npz"}
        split = split_of(tmp_path, source=source, scale="minmax")
        assert split.X_train.min(axis=(0, 2, 3)) == pytest.approx([0, 0])
        assert split.X_train.max(axis=(0, 2, 3)) == pytest.approx([1, 1])

    def test_constant_features_stay_finite(self, tmp_path):
        np.savez(tmp_path / "data.npz", X=np.ones((8, 2)), y=np.arange(8) % 2)
        for scale in ("standard", "minmax"):
            split = split_of(tmp_path, source={"name": "npz", "path": "data.npz"}, scale=scale)
            assert np.array_equal(split.X_train, np.zeros_like(split.X_train))

    def test_targets_are_scaled_by_the_training_part(self, tmp_path):
        plain, scaled = (
            split_of(tmp_path, task="regression", source="diabetes", target_scale=scale) for scale in (None, "standard")
        )
        assert (plain.target_std, scaled.y_train.std()) == (1, pytest.approx(1, abs=1e-5))
        assert scaled.target_std == pytest.approx(plain.y_train.std(), rel=1e-5)
        back = scaled.y_test * scaled.target_std + plain.y_train.mean()
        assert np.allclose(back, plain.y_test, rtol=1e-3)


class TestTables:
    """Columns of files."""

    @pytest.fixture
    def table(self):
        rng = np.random.default_rng(0)
        return pd.DataFrame({"a": rng.normal(size=40), "b": range(40), "kind": ["cat", "dog"] * 20, "t": 0.5})

    def write(self, folder, table):
        table.to_csv(folder / "data.csv", index=False)
        return {"name": "csv", "path": "data.csv"}

    def test_words_are_classes_in_their_order(self, tmp_path, table):
        source = self.write(tmp_path, table) | {"target": "kind"}
        split = split_of(tmp_path, source=source)
        assert split.input_shape == (3,)
        both = np.concatenate([split.X_train, split.X_test])[:, 1] % 2
        assert np.array_equal(both, np.concatenate([split.y_train, split.y_test]))

    def test_features_and_numbers_as_classes(self, tmp_path, table):
        source = self.write(tmp_path, table.assign(kind=[3, 7] * 20)) | {"target": "kind", "features": ["b"]}
        split = split_of(tmp_path, source=source)
        assert (split.input_shape, split.num_classes) == ((1,), 2)

    def test_regression(self, tmp_path, table):
        source = self.write(tmp_path, table) | {"target": "a", "features": ["b", "t"]}
        assert split_of(tmp_path, task="regression", source=source).y_train.shape == (30,)

    def test_separator(self, tmp_path, table):
        table.to_csv(tmp_path / "data.csv", index=False, sep=";")
        source = {"name": "csv", "path": "data.csv", "target": "kind", "separator": ";"}
        assert split_of(tmp_path, source=source).input_shape == (3,)

    @pytest.mark.parametrize(
        ("change", "target", "message"),
        [
            ({"word": "x"}, "kind", "The column 'word' of .* must hold numbers. Got .* encode it, or leave it out"),
            ({"b": np.nan}, "kind", "The column 'b' of .* must have no empty cells. Fill them or remove the rows."),
            ({"kind": 0.5}, "kind", "must hold one class number for each of the 40 samples. Got float64"),
            ({"kind": "cat"}, "kind", "must hold the classes 0, 1, … without gaps, at least two. Got 0 instead."),
        ],
    )
    def test_tables_that_hold_something_else(self, tmp_path, table, change, target, message):
        source = self.write(tmp_path, table.assign(**change)) | {"target": target}
        with pytest.raises(InputError, match=message):
            split_of(tmp_path, source=source)


class TestParquet:
    """Columns of Parquet files, which have types of their own."""

    @pytest.fixture
    def table(self):
        rng = np.random.default_rng(0)
        return pd.DataFrame({"a": rng.normal(size=40), "b": range(40), "kind": ["cat", "dog"] * 20})

    def read(self, folder, table, target="kind", task="classification", dtype="float32", **options):
        table.to_parquet(folder / "data.parquet")
        source = {"name": "parquet", "path": "data.parquet", "target": target, **options}
        return split_of(folder, task=task, source=source, dtype=dtype)

    def test_words_are_classes_in_their_order(self, tmp_path, table):
        split = self.read(tmp_path, table)
        assert split.input_shape == (2,)
        assert np.array_equal(split.X_train[:, 1] % 2, split.y_train)

    def test_same_as_csv(self, tmp_path, table):
        table.to_csv(tmp_path / "data.csv", index=False)
        source = {"name": "csv", "path": "data.csv", "target": "kind"}
        ours, other = self.read(tmp_path, table), split_of(tmp_path, source=source)
        assert np.array_equal(ours.X_train, other.X_train)
        assert np.array_equal(ours.y_test, other.y_test)

    @pytest.mark.parametrize(
        "kinds",
        [
            pd.Categorical(["x", "y"] * 20, categories=["z", "y", "x"]),
            pd.Categorical([7, 30] * 20),
            pd.array(["x", "y"] * 20, dtype="string"),
            pd.array([-1, 1] * 20, dtype="Int8"),
            [False, True] * 20,
            [b"x", b"y"] * 20,
        ],
        ids=["categories", "numbers as categories", "string", "nullable", "bool", "bytes"],
    )
    def test_types_of_classes(self, tmp_path, table, kinds):
        split = self.read(tmp_path, table.assign(kind=kinds))
        assert (split.y_train.dtype, split.num_classes) == (np.int64, 2)
        assert np.array_equal(split.X_train[:, 1] % 2, split.y_train)

    @pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "float32", "Int32", "Float64", "bool", "float16"])
    def test_types_of_features(self, tmp_path, table, dtype):
        values = np.arange(40) % 2
        split = self.read(tmp_path, table.assign(a=pd.array(values, dtype=dtype)), features=["a", "b"])
        assert split.X_train.dtype == np.float32
        assert np.array_equal(split.X_train[:, 0], split.X_train[:, 1] % 2)

    def test_regression_in_float64(self, tmp_path, table):
        split = self.read(tmp_path, table, "a", "regression", "float64", features=["b"])
        assert split.y_train.dtype == np.float64
        assert set(split.y_train) < set(table["a"])

    @pytest.mark.parametrize("index", [pd.RangeIndex(5, 45), pd.Index(range(40), name="id"), ["r"] * 40])
    def test_index_is_no_feature(self, tmp_path, table, index):
        assert self.read(tmp_path, table.set_axis(index)).input_shape == (2,)

    def test_numbers_as_names(self, tmp_path, table):
        assert self.read(tmp_path, table.set_axis([0, 1, 2], axis=1), "2").input_shape == (2,)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"a": pd.array([None, 1] * 20, dtype="Int64")}, "The column 'a' of .* must have no empty cells"),
            ({"kind": ["x", None] * 20}, "The column 'kind' of .* must have no empty cells"),
            (
                {"a": pd.Categorical(["1", "2"] * 20)},
                "The column 'a' of .* must hold numbers. Got category instead",
            ),
            ({"a": pd.Timestamp(0)}, "The column 'a' of .* must hold numbers. Got datetime64"),
            ({"a": [[1], [2]] * 20}, "The column 'a' of .* must hold numbers. Got object"),
            ({"a": np.inf}, "The columns of .* must be finite"),
            ({"kind": 0.5}, "must hold one class number for each of the 40 samples. Got float64"),
        ],
    )
    def test_tables_that_hold_something_else(self, tmp_path, table, change, message):
        with pytest.raises(InputError, match=message):
            self.read(tmp_path, table.assign(**change))

    def test_names_that_stand_twice(self, tmp_path):
        column = pa.array([0, 1] * 20)
        pq.write_table(pa.table([column] * 3, names=["a", "a", "y"]), tmp_path / "data.parquet")
        with pytest.raises(InputError, match=r"The columns of .* must have different names. Got 'a' twice."):
            split_of(tmp_path, source={"name": "parquet", "path": "data.parquet", "target": "y"})

    def test_more_than_memory_holds(self, tmp_path, table, monkeypatch):
        monkeypatch.setattr("prunekit.pipeline._sources.MAX_CELLS", 100)
        with pytest.raises(InputError, match="must have at most 100 cells in the columns that are read"):
            self.read(tmp_path, table)
        assert self.read(tmp_path, table, features=["b"]).input_shape == (1,)

    @pytest.mark.parametrize("name", ["arrow.py_extension_type", "pandas.period", "pandas.interval"])
    def test_types_of_a_file_run_nothing(self, tmp_path, name):
        class Trap:
            def __reduce__(self):
                return Path.touch, (tmp_path / "sprung",)

        about = {"ARROW:extension:name": name, "ARROW:extension:metadata": pickle.dumps(Trap())}
        schema = pa.schema([pa.field("a", pa.int64(), metadata=about), pa.field("y", pa.int64())])
        pq.write_table(pa.table([list(range(40)), [0, 1] * 20], schema=schema), tmp_path / "data.parquet")
        with suppress(ValidationError):  # pandas refuses to read its own types
            split_of(tmp_path, source={"name": "parquet", "path": "data.parquet", "target": "y"})
        assert not (tmp_path / "sprung").exists()

    def test_damaged_files(self, tmp_path, table):
        table = table.assign(kind=pd.Categorical(table["kind"]), day=pd.period_range("2020", periods=40, freq="D"))
        table.to_parquet(tmp_path / "data.parquet")
        whole = (tmp_path / "data.parquet").read_bytes()
        source = {"name": "parquet", "path": "data.parquet", "target": "kind", "features": ["a"]}
        rng = np.random.default_rng(0)
        refused = 0
        for place in rng.integers(len(whole), size=300):
            content = bytearray(whole)
            content[place] = rng.integers(256)
            (tmp_path / "data.parquet").write_bytes(content)
            try:
                split_of(tmp_path, source=source)
            except (InputError, ValidationError):
                refused += 1
        assert refused > 100


class TestFolders:
    """Images in folders."""

    @pytest.mark.parametrize("pack", [False, True])
    def test_idx_keeps_its_test_part(self, tmp_path, pack):
        write_idx(tmp_path, pack=pack, n_train=30, n_test=10, shape=(6, 5))
        split = split_of(tmp_path, source={"name": "idx", "path": "."})
        assert (split.X_train.shape, split.X_test.shape) == ((30, 1, 6, 5), (10, 1, 6, 5))
        assert 0 <= split.X_train.min() < split.X_train.max() <= 1
        assert np.array_equal(split.y_test, np.arange(10) % 2)

    def test_test_part_is_thinned_out_in_proportion(self, tmp_path):
        write_idx(tmp_path)
        split = split_of(tmp_path, source={"name": "idx", "path": "."}, sample=20)
        assert (len(split.y_train), len(split.y_test)) == (15, 5)

    def test_test_size_divides_anew(self, tmp_path):
        write_idx(tmp_path)
        split = split_of(tmp_path, source={"name": "idx", "path": "."}, test_size=0.5)
        assert (len(split.y_train), len(split.y_test)) == (40, 40)

    @pytest.mark.parametrize("pack", [False, True])
    @pytest.mark.parametrize(
        "change",
        [
            lambda content: b"",
            lambda content: content[:7],
            lambda content: content[:-1],
            lambda content: content + b"x",
            lambda content: b"\0\0\7\3" + content[4:],
            lambda content: content[:4] + b"\xff" * 12 + content[16:],
        ],
        ids=["empty", "header", "short", "long", "magic", "huge"],
    )
    def test_damaged_idx(self, tmp_path, pack, change):
        def damage(name, content):
            return change(content) if name.startswith("train-images") else content

        write_idx(tmp_path, pack=pack, change=damage)
        with pytest.raises(InputError, match=r"The file .*train-images-idx3-ubyte(.gz)? must be .* idx format"):
            split_of(tmp_path, source={"name": "idx", "path": "."})

    def test_no_gzip(self, tmp_path):
        write_idx(tmp_path)
        (tmp_path / "t10k-labels-idx1-ubyte").rename(tmp_path / "t10k-labels-idx1-ubyte.gz")
        with pytest.raises(InputError, match=r"must be readable in the idx format\. BadGzipFile"):
            split_of(tmp_path, source={"name": "idx", "path": "."})

    def test_cifar10(self, tmp_path):
        pixels = write_cifar10(tmp_path, 4)
        split = split_of(tmp_path, source={"name": "cifar10", "path": "."})
        assert np.allclose(split.X_train[4:8] * 255, pixels["data_batch_2"])
        assert np.allclose(split.X_test * 255, pixels["test_batch"])
        (tmp_path / "test_lables.json").write_text('[0, 1, "x"]')
        with pytest.raises(InputError, match=r"test_lables\.json must be a list of class numbers"):
            split_of(tmp_path, source={"name": "cifar10", "path": "."})
        (tmp_path / "test_batch.png").write_text("no image")
        with pytest.raises(InputError, match=r"test_batch.png must be an image. UnidentifiedImageError"):
            split_of(tmp_path, source={"name": "cifar10", "path": "."})

    @pytest.mark.parametrize(("color", "channels"), [(True, 3), (False, 1)])
    def test_image_folder(self, tmp_path, color, channels):
        image = pytest.importorskip("PIL.Image")
        for folder, grey in (("b", 255), ("a", 0)):
            (tmp_path / folder).mkdir()
            for number in range(6):
                image.new("RGB", (10 + number, 12), (grey,) * 3).save(tmp_path / folder / f"{number}.png")
            (tmp_path / folder / "notes.txt").touch()
        source = {"name": "image_folder", "path": ".", "size": [4, 5], "color": color}
        split = split_of(tmp_path, source=source)
        assert split.input_shape == (channels, 4, 5)
        assert np.array_equal(split.X_train.reshape(len(split.y_train), -1).mean(axis=1), split.y_train)

    @pytest.mark.parametrize("source", ["idx", "cifar10", "image_folder"])
    def test_empty_folder(self, tmp_path, source):
        options = {"size": [4, 4]} if source == "image_folder" else {}
        with pytest.raises(ValidationError):
            split_of(tmp_path, source={"name": source, "path": ".", **options})
