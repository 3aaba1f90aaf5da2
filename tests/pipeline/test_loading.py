"""Every kind of broken file gets a message that names the line, the key and what to do."""

import os
import pickle
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prunekit.exceptions import PipelineFileError, PrunekitError
from prunekit.pipeline import Problem, load_experiment
from prunekit.pipeline._yaml import MAX_BYTES, MAX_DEPTH, read_document
from prunekit.pipeline.registry import REGISTRY

VALID = """\
name: tiny
seed: 3
data:
  source: digits
  test_size: 0.5
net:
  module: {name: ConvNet, widths: [8, 16]}
  optimizer: AdamW
  lr: 1e-3
  max_epochs: 2
prune:
  target_reduction: 0.6
"""


OPTIMIZERS = f"Known: {', '.join(REGISTRY['optimizer'])}."


@pytest.fixture
def write(tmp_path: Path):
    """Return a function that writes a pipeline file, from text or as VALID with one part replaced."""

    def write(text: str = VALID, *replacement: str) -> Path:
        if replacement:
            old, new = replacement
            assert text.count(old) == 1
            text = text.replace(old, new)
        path = tmp_path / "broken.yaml"
        path.write_bytes(text.encode())
        return path

    return write


def message(path: Path) -> str:
    """Return the message of a broken file without its path."""
    with pytest.raises(PipelineFileError) as caught:
        load_experiment(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    return text.removeprefix(f"{path}: ")


def test_valid_file(write):
    experiment = load_experiment(write())
    assert experiment.net.module.name == "ConvNet"
    assert experiment.net.module.arguments == {"widths": [8, 16], "depth": 2, "dropout": 0.0}
    assert experiment.net.lr == 0.001
    assert experiment.prune.model_dump(exclude_unset=True) == {"target_reduction": 0.6}
    assert experiment.outputs.latency_batch_sizes == [1, 32]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        # keys
        ("target_reduction", "target_reductoin",
         "line 12, prune.target_reductoin: unknown key. Did you mean 'target_reduction'?"),
        ("prune:", "prun:",
         "line 11, prun: unknown key. Did you mean 'prune'?"),
        ("seed: 3", "colour: 3",
         "line 2, colour: unknown key. Known: name, seed, imports, data, net, prune, steps, search, compute, outputs, "
         "vars, include."),
        ("max_epochs: 2", "epochs: 2",
         "line 10, net.epochs: unknown key. Did you mean 'max_epochs'?"),
        ("widths", "width", "line 7, net.module.width: unknown key. Did you mean 'widths'?"),
        ("name: tiny\n", "", "line 1, name: the key 'name' is missing. Add it."),
        ("  module: {name: ConvNet, widths: [8, 16]}\n", "",
         "line 6, net.module: the key 'module' is missing. Add it."),
        ("name: ConvNet, ", "", "line 7, net.module.name: the key 'name' is missing. Add it."),
        ("seed: 3", "name: again",
         "line 2, name: the key is given twice, first on line 1. Keep one of them."),
        ("  lr: 1e-3\n", "  lr: 1e-3\n  lr: 1e-2\n",
         "line 10, net.lr: the key is given twice, first on line 9. Keep one of them."),
        ("seed: 3", "3: 3", "line 2: a key must be a word. Got 3 instead."),
        ("seed: 3", "[a]: 3", "line 2: a key must be a word. Got a list or mapping instead."),
        ("seed: 3", "<<: {seed: 3}",
         "line 2, <<: unknown key. Known: name, seed, imports, data, net, prune, steps, search, compute, outputs, "
         "vars, include."),
        # names
        ("ConvNet", "ConvNets",
         "line 7, net.module.name: there is no module named 'ConvNets'. Did you mean 'ConvNet'?"),
        ("AdamW", "adamw", "line 8, net.optimizer: there is no optimizer named 'adamw'. Did you mean 'AdamW'?"),
        ("AdamW", "Lion",
         f"line 8, net.optimizer: there is no optimizer named 'Lion'. {OPTIMIZERS}"),
        ("AdamW", "torch.optim.SGD",
         "line 8, net.optimizer: 'torch.optim.SGD' is below no module that the file imports. Did you mean 'SGD'?"),
        ("AdamW", "3",
         "line 8, net.optimizer: must be the name of a registered optimizer, or a mapping with the key 'name' and its "
         "options. Got 3 instead."),
        ("AdamW", "{name: [SGD]}",
         "line 8, net.optimizer.name: there is no optimizer named ['SGD']. Did you mean 'SGD'?"),
        ("source: digits", "source: digit",
         "line 4, data.source: there is no source named 'digit'. Did you mean 'digits'?"),
        ("name: tiny", "name: ../../etc",
         "line 1, name: must be letters, digits, '.', '_' and '-', beginning with a letter or digit, for it names a "
         "file or folder. Got '../../etc' instead."),
        ("0.6", "0.6\n  criterion: tailor",
         "line 13, prune.criterion: there is no criterion named 'tailor'. Did you mean 'taylor'?"),
        # types
        ("seed: 3", "seed: three", "line 2, seed: must be an integer. Got 'three' instead."),
        ("seed: 3", "seed: 3.5", "line 2, seed: must be an integer. Got 3.5 instead."),
        ("seed: 3", "seed: true", "line 2, seed: must be an integer. Got true instead."),
        ("seed: 3", "seed:", "line 2, seed: must be an integer. Got nothing instead."),
        ("seed: 3", "seed: {a: 1}", "line 2, seed: must be an integer. Got a mapping instead."),
        ("0.5", "'0.5'", "line 5, data.test_size: must be a number. Got '0.5' instead."),
        ("name: tiny", "name: 5", "line 1, name: must be a text. Got 5 instead."),
        ("AdamW", "{name: SGD, nesterov: yes}",
         "line 8, net.optimizer.nesterov: must be true or false. Got 'yes' instead."),
        ("[8, 16]", "8", "line 7, net.module.widths: must be a list. Got 8 instead."),
        ("[8, 16]", "[8, 1.5]", "line 7, net.module.widths[1]: must be an integer. Got 1.5 instead."),
        ("  target_reduction: 0.6", "  - 0.6",
         "line 11, prune: must be a mapping of keys to values. Got [0.6] instead."),
        # ranges
        ("seed: 3", "seed: -1", "line 2, seed: must be at least 0. Got -1 instead."),
        ("seed: 3", "seed: 4294967296", "line 2, seed: must be less than 4294967296. Got 4294967296 instead."),
        ("1e-3", "0", "line 9, net.lr: must be greater than 0. Got 0 instead."),
        ("1e-3", ".nan", "line 9, net.lr: must be a finite number. Got nan instead."),
        ("1e-3", ".inf", "line 9, net.lr: must be a finite number. Got inf instead."),
        ("0.6", "1.5", "line 12, prune.target_reduction: must be less than 1. Got 1.5 instead."),
        ("0.6", "0.6\n  step: 2", "line 13, prune.step: must be at most 1. Got 2 instead."),
        ("0.6", "0.6\n  step: [0.1]", "line 13, prune.step: must be a number. Got [0.1] instead."),
        ("0.6", "0.6\n  step: cubik",
         "line 13, prune.step: must be 'linear', 'cubic', 'geometric', 'one_shot' or 'milestones'. Got 'cubik' "
         "instead. Did you mean 'cubic'?"),
        ("0.6", "0.6\n  reduction_of: param",
         "line 13, prune.reduction_of: must be 'params', 'macs', 'filters', 'memory' or 'latency'. "
         "Got 'param' instead. Did you mean 'params'?"),
        ("0.6", "0.6\n  reduction_of: 3",
         "line 13, prune.reduction_of: must be 'params', 'macs', 'filters', 'memory' or 'latency'. Got 3 instead."),
        ("[8, 16]", "[]", "line 7, net.module.widths: must be a list of at least 1. Got [] instead."),
        ("AdamW", "{name: Adam, betas: [0.9, 0.99, 0.999]}",
         "line 8, net.optimizer.betas: must be a list of at most 2. Got [0.9, 0.99, 0.999] instead."),
        ("seed: 3", "seed: " + "9" * 5000,
         "line 2, seed: must be a number of ordinary size. "
         f"Got '{'9' * 27}...{'9' * 28}' instead."),
        # YAML
        ("seed: 3", "seed: [3",
         "line 3: is not valid YAML: while parsing a flow sequence begun on line 2, expected ',' or ']', but got ':'."),
        ("  source", "\tsource",
         "line 4: is not valid YAML: while scanning for the next token, found character '\\t' that cannot start any "
         "token. Indent with blanks."),
        ("seed: 3", "seed: 'three", "line 13: is not valid YAML: while scanning a quoted scalar begun on line 2, found "
         "unexpected end of stream."),
        ("seed: 3", "seed: @3",
         "line 2: is not valid YAML: while scanning for the next token, found character '@' that cannot start any "
         "token."),
        ("seed: 3", "seed: \x00", "is not valid YAML: unacceptable character #x0000: special characters are not "
         "allowed in \"<unicode string>\", position 17."),
        ("seed: 3", "---\nseed: 3", "line 2: must be a single document. Got a second one after '---'."),
        # what is refused
        ("seed: 3", "seed: &s 3", "line 2: anchors (&) and aliases (*) are not allowed. Write the value out."),
        ("seed: 3", "seed: !!python/object/apply:os.system [id]",
         "line 2: tags are not allowed. Got 'tag:yaml.org,2002:python/object/apply:os.system'; write a plain value."),
        ("seed: 3", "seed: !!int 3",
         "line 2: tags are not allowed. Got 'tag:yaml.org,2002:int'; write a plain value."),
        ("seed: 3", "seed: !x 3", "line 2: tags are not allowed. Got '!x'; write a plain value."),
        ("seed: 3", "seed: " + "[" * 10_000, f"line 2: must be nested at most {MAX_DEPTH} levels deep."),
    ],
)  # fmt: skip
def test_message(write, old, new, expected):
    assert message(write(VALID, old, new)) == expected


def test_all_problems_at_once(write):
    text = VALID.replace("seed: 3", "seed: x").replace("ConvNet", "ConvNot").replace("0.6", "6")
    assert message(write(text)) == (
        "3 problems.\n"
        "  line 2, seed: must be an integer. Got 'x' instead.\n"
        "  line 7, net.module.name: there is no module named 'ConvNot'. Did you mean 'ConvNet'?\n"
        "  line 12, prune.target_reduction: must be less than 1. Got 6 instead."
    )


def test_long_lists_of_problems_are_cut(write):
    text = VALID + "".join(f"extra{index}: 1\n" for index in range(50))
    lines = message(write(text)).splitlines()
    assert lines[0] == "50 problems."
    assert lines[-1] == "  … and 30 more"
    assert len(lines) == 22


def test_problems_are_data_as_well(write):
    text = VALID + "".join(f"extra{index}: 1\n" for index in range(50))
    with pytest.raises(PipelineFileError) as raised:
        load_experiment(write(text))
    for error in (raised.value, pickle.loads(pickle.dumps(raised.value))):
        assert len(error.problems) == 50
        first = error.problems[0]
        assert first == Problem(13, "extra0", first.message)
        assert first.message.startswith("unknown key. ")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "must hold a mapping with the keys data, net and prune. Got an empty file instead."),
        (b"# only a comment\n", "must hold a mapping with the keys data, net and prune. Got an empty file instead."),
        (b"- a\n- b\n", "must hold a mapping with the keys data, net and prune. Got a list instead."),
        (b"digits\n", "must hold a mapping with the keys data, net and prune. Got a single value instead."),
        (b"name: a\nseed: \xff\n", "line 2: must be UTF-8 text. Got the byte 0xff."),
        (b"a" * (MAX_BYTES + 1), "must be at most 256 KiB; a pipeline file describes data, it does not hold them."),
    ],
    ids=["empty", "comment", "list", "scalar", "latin-1", "large"],
)
def test_what_is_no_pipeline_file(tmp_path, content, expected):
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)
    assert message(path) == expected


def test_alias_bomb_is_refused_before_it_grows(write):
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]" for old, new in zip("abcdefgh", "bcdefghi", strict=True)]
    text = message(write("\n".join(lines)))
    assert text.splitlines()[1] == "  line 1: anchors (&) and aliases (*) are not allowed. Write the value out."


def test_missing_file_names_its_neighbours(write, tmp_path):
    write()
    assert message(tmp_path / "digit.yaml") == f"there is no such file; the folder holds {tmp_path / 'broken.yaml'}."
    assert message(tmp_path / "no" / "digit.yaml") == f"there is no such file, and no folder {tmp_path / 'no'}."


def test_folder_is_no_file(tmp_path):
    assert message(tmp_path) == "cannot be read: Is a directory."


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_unreadable_file(write):
    path = write()
    path.chmod(0)
    assert message(path) == "cannot be read: Permission denied."


class TestNpz:
    """The source that reads a file."""

    SOURCE = "{name: npz, path: data.npz}"

    def test_path_is_relative_to_the_file(self, write, tmp_path, monkeypatch):
        np.savez(tmp_path / "data.npz", X=np.zeros((4, 1, 8, 8)), y=np.arange(4))
        monkeypatch.chdir("/")
        experiment = load_experiment(write(VALID, "digits", self.SOURCE))
        assert experiment.data.source.arguments == {"path": tmp_path / "data.npz", "X": "X", "y": "y"}

    def test_no_such_file(self, write, tmp_path):
        expected = (
            f"line 4, data.source.path: there is no file {tmp_path / 'data.npz'}. "
            "Give a path relative to the pipeline file."
        )
        assert message(write(VALID, "digits", self.SOURCE)) == expected

    def test_no_npz(self, write, tmp_path):
        (tmp_path / "data.npz").write_text("no arrays")
        expected = "line 4, data.source.path: must be a .npz file as numpy.savez writes it. Got "
        assert message(write(VALID, "digits", self.SOURCE)).startswith(expected)

    def test_single_array(self, write, tmp_path):
        with (tmp_path / "data.npz").open("wb") as stream:
            np.save(stream, np.zeros(3))
        expected = "line 4, data.source.path: must be a .npz file as numpy.savez writes it. Got "
        assert message(write(VALID, "digits", self.SOURCE)).startswith(expected)

    def test_no_such_array(self, write, tmp_path):
        np.savez(tmp_path / "data.npz", images=np.zeros((4, 1, 8, 8)), y=np.arange(4))
        path = write(VALID, "digits", "{name: npz, path: data.npz, X: image}")
        assert message(path) == "line 4, data.source.X: there is no array named 'image'. Did you mean 'images'?"

    def test_path_must_be_text(self, write):
        path = write(VALID, "digits", "{name: npz, path: 5}")
        assert message(path) == "line 4, data.source.path: must be a text. Got 5 instead."

    def test_missing_path(self, write):
        assert message(write(VALID, "digits", "npz")) == "line 4, data.source.path: the key 'path' is missing. Add it."


def test_error_is_builtin_and_own(write):
    with pytest.raises(ValueError, match="unknown key") as caught:
        load_experiment(write(VALID, "seed", "sead"))
    assert isinstance(caught.value, PrunekitError)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        ("-.5", -0.5),
        ("10", 10),
        ("010", 10),
        ("0x10", 16),
        ("0o10", 8),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        ("yes", "yes"),
        ("no", "no"),
        ("True", True),
        ("false", False),
        ("~", None),
        ("null", None),
        ("'1'", "1"),
        ('"null"', "null"),
        ("-.inf", float("-inf")),
        ("", None),
    ],
)
def test_plain_words_follow_yaml_1_2(tmp_path, text, value):
    path = tmp_path / "words.yaml"
    path.write_text(f"key: {text}\n")
    got = read_document(path).content["key"]
    assert got == value
    assert type(got) is type(value)


def test_lines_of_nested_values(tmp_path):
    path = tmp_path / "lines.yaml"
    path.write_text(
        textwrap.dedent("""\
        a:
          b:
            - 1
            - c: 2
        """)
    )
    document = read_document(path)
    assert document.content == {"a": {"b": [1, {"c": 2}]}}
    assert document.line(("a", "b")) == 2
    assert document.line(("a", "b", 1, "c")) == 4
    assert document.line(("a", "b", 7)) == 2
    assert document.line(("z",)) == 1


def test_byte_order_mark(write):
    assert load_experiment(write("\ufeff" + VALID)).name == "tiny"


@st.composite
def damaged(draw):
    """Draw VALID with a few parts of it replaced by something else."""
    text = VALID
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 20)))
        piece = draw(st.sampled_from(PIECES) | st.text(max_size=5))
        text = text[:start] + piece + text[end:]
    return text


PIECES = [
    "&a",
    "*a",
    "!!python/name:os.system",
    "<<: ",
    "[",
    "]",
    "{",
    "}",
    "- ",
    "? ",
    "|",
    ">",
    "---",
    "...",
    "%YAML 1.1",
    "${",
    "${a}",
    "vars: {a: 1}",
    "vars: {a: '${a}'}",
    "include: damaged.yaml",
]
PIECES += [": ", "\n", "\n  ", "\t", "'", '"', "#", "null", "0x", "1e999", ".nan", "-0", "\x00", "\u2028", "\ud7ff"]


@given(damaged())
@settings(max_examples=300, deadline=None)
def test_damaged_files_give_the_packages_error_only(tmp_path_factory, text):
    path = tmp_path_factory.getbasetemp() / "damaged.yaml"
    path.write_bytes(text.encode())
    try:
        load_experiment(path)
    except PipelineFileError as exc:
        assert str(exc).startswith(f"{path}: ")  # noqa: PT017  either outcome is right


@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_bytes_are_no_pipeline_file(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "bytes.yaml"
    path.write_bytes(content)
    with pytest.raises(PipelineFileError):
        load_experiment(path)
