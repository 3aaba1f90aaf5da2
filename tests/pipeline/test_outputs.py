"""The output folder is written whole or not at all, and nothing of the user's is lost."""

import json

import pandas as pd
import pytest

from prunekit.exceptions import ParameterError
from prunekit.pipeline._outputs import OutputFolder


def write_run(path, content=1):
    """Write a folder as a run does, with little in it."""
    with OutputFolder(path) as output:
        output.write_json("metrics.json", {"content": content}, "numbers")
        output.write_json("run.json", {"prunekit_run": 1}, "marker")


def break_run(path):
    """Write a part of a folder and fail."""
    with OutputFolder(path) as output:
        output.write_json("metrics.json", {"content": 2}, "numbers")
        raise RuntimeError("boom")


def test_folder_appears_at_the_end(tmp_path):
    with OutputFolder(tmp_path / "a" / "b") as output:
        output.write_json("run.json", {"prunekit_run": 1}, "marker")
        assert not output.path.exists()
    assert [path.name for path in output.path.iterdir()] in (["run.json", "run.log"], ["run.log", "run.json"])
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    assert output.files == {"run.log": "the log", "run.json": "marker"}


def test_exception_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError, match="boom"):
        break_run(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_exception_keeps_the_earlier_run(tmp_path):
    write_run(tmp_path / "run", content=1)
    with pytest.raises(RuntimeError, match="boom"):
        break_run(tmp_path / "run")
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == {"content": 1}


def test_run_replaces_its_own_files_only(tmp_path):
    write_run(tmp_path / "run", content=1)
    (tmp_path / "run" / "notes.txt").write_text("mine")
    write_run(tmp_path / "run", content=2)
    assert json.loads((tmp_path / "run" / "metrics.json").read_text()) == {"content": 2}
    assert (tmp_path / "run" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", "no json", None], ids=["empty", "no marker", "list", "text", "absent"]
)
def test_other_folders_are_refused(tmp_path, content):
    (tmp_path / "thesis.tex").write_text("mine")
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(ParameterError) as caught, OutputFolder(tmp_path):
        pass
    assert str(caught.value) == (
        f"The output folder must be new, empty or that of an earlier run. Got {tmp_path}, which is something else, "
        "instead. Give another folder with --out."
    )


def test_file_is_no_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ParameterError, match="must be new, empty or that of an earlier run"):
        OutputFolder(tmp_path / "file").__enter__()
    with pytest.raises(ParameterError, match=r"must be in a folder that can be written.* Not a directory"):
        OutputFolder(tmp_path / "file" / "run").__enter__()


@pytest.mark.parametrize("here", [".", "../here"])
def test_empty_folder_is_taken(tmp_path, monkeypatch, here):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    write_run(here)
    assert (tmp_path / "here" / "run.json").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def test_table_keeps_a_named_index(tmp_path):
    with OutputFolder(tmp_path / "run") as output:
        output.write_table("plain", pd.DataFrame({"a": [1, 2]}), "plain")
        output.write_table("named", pd.DataFrame({"a": [1]}, index=pd.Index(["x"], name="key")), "named")
    assert (tmp_path / "run" / "plain.csv").read_text() == "a\n1\n2\n"
    assert (tmp_path / "run" / "named.csv").read_text() == "key,a\nx,1\n"
