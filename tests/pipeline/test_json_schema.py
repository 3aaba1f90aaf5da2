"""The JSON Schema accepts what is loaded, and refuses what an editor should mark."""

from pathlib import Path

import pytest

from prunekit.pipeline import load_experiment
from prunekit.pipeline._yaml import read_document
from prunekit.pipeline.json_schema import experiment_schema

jsonschema = pytest.importorskip("jsonschema")
FILES = sorted((Path(__file__).parents[2] / "pipelines").glob("*.yaml"))
SHORT = {
    "name": "x",
    "data": {"source": "digits"},
    "net": {"module": "MLP", "optimizer": {"name": "SGD", "momentum": 0.9}},
    "prune": {},
}


@pytest.fixture(scope="module")
def validator():
    """Return what validates by the schema."""
    schema = experiment_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def changed(key_path, value):
    """Return SHORT with one value changed, or a key removed."""
    first, *rest = key_path.split(".")
    result = dict(SHORT)
    inner = result
    for key in [first, *rest][:-1]:
        inner[key] = dict(inner.get(key, {}))
        inner = inner[key]
    last = [first, *rest][-1]
    if value is ...:
        inner.pop(last)
    else:
        inner[last] = value
    return result


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_of_the_repository(validator, path):
    validator.validate(read_document(path).content)
    validator.validate(load_experiment(path).resolved())


@pytest.mark.parametrize(
    ("key_path", "value"),
    [
        ("vars", {"a": [1]}), ("include", "a.yaml"), ("include", ["a.yaml"]), ("net.lr", "${lr}"),
        ("net.module", "${module}"), ("net.module", {"name": "MLP", "widths": ["${w}", 8]}), ("prune.step", 0.1),
        ("prune.step", "cubic"), ("prune.criterion", "taylor2"), ("data.source", {"name": "npz", "path": "x.npz"}),
    ],
)  # fmt: skip
def test_accepted(validator, key_path, value):
    validator.validate(changed(key_path, value))


@pytest.mark.parametrize(
    ("key_path", "value"),
    [
        ("net.module", ...), ("net", ...), ("name", ...), ("colour", 1), ("net.epochs", 1), ("net.lr", "fast"),
        ("net.lr", 0), ("net.module", "MPL"), ("net.module", {"name": "MLP", "depth": 2}), ("prune.step", "cubik"),
        ("prune.criterion", "tailor"), ("data.source", "npz"), ("vars", {"2a": 1}), ("include", 3),
    ],
)  # fmt: skip
def test_refused(validator, key_path, value):
    assert not validator.is_valid(changed(key_path, value))


def test_what_an_included_file_gives_is_not_required(validator):
    validator.validate({"include": "shared.yaml", "prune": {"target_reduction": 0.3}})
