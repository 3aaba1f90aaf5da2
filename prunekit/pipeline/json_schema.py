"""Pipeline files as JSON Schema, for editors that complete and check YAML."""

from typing import Any

from prunekit.pipeline.schema import Experiment

__all__ = ["experiment_schema"]

_REFERENCE = {"$ref": "#/$defs/Reference"}
_DEFINITIONS = {
    "Reference": {
        "type": "string",
        "pattern": r"^\$\{[A-Za-z_][A-Za-z0-9_]*\}$",
        "description": "A variable, defined under the key 'vars'.",
    },
}
_OF_FILES = {
    "vars": {
        "type": "object",
        "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$"},
        "description": "Values by name; ${name} stands for one anywhere in the file.",
    },
    "include": {
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        "description": "Files below the folder of this one whose keys count where this one does not give them.",
    },
}


_EITHER = {"anyOf": [{"required": ["net", "prune"]}, {"required": ["steps"]}]}


def experiment_schema() -> dict[str, Any]:
    """
    Return what a pipeline file may hold, as JSON Schema.

    Returns
    -------
    dict
        A schema of draft 2020-12. Wherever a value may stand, ``${name}`` may; keys that an included file can give are
        required only in files without ``include``.

    Notes
    -----
    Editors ask it while a file is written. `load_experiment` checks more: that files are there, that names in ``vars``
    exist, what depends on other keys.
    """
    schema = Experiment.model_json_schema()
    definitions = schema.pop("$defs")
    required = {**_take_required(schema, definitions), **_EITHER}
    for section in (schema, *definitions.values()):
        _allow_references(section)
    schema["properties"].update(_OF_FILES)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "if": {"not": {"required": ["include"]}},
        "then": required,
        "$defs": {**definitions, **_DEFINITIONS},
    }


def _take_required(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """Take the required keys out of the sections, and return a schema that requires them."""
    result: dict[str, Any] = {}
    if "required" in schema:
        result["required"] = schema.pop("required")
    within = {}
    for key, value in schema.get("properties", {}).items():
        section = definitions.get(_referred(value))
        if section and (inner := _take_required(section, definitions)):
            within[key] = inner
    if within:
        result["properties"] = within
    return result


def _referred(schema: dict[str, Any]) -> str:
    """Return the name of the definition that a key refers to, which may be left out as well."""
    forms = [schema, *schema.get("anyOf", ())]
    return next((form["$ref"].rpartition("/")[2] for form in forms if "$ref" in form), "")


def _allow_references(schema: Any) -> None:
    """Let a variable stand for every value of a mapping and every item of a list that is no free text."""
    if isinstance(schema, list):
        for item in schema:
            _allow_references(item)
    if not isinstance(schema, dict):
        return
    for value in schema.values():
        _allow_references(value)
    for key, value in schema.get("properties", {}).items():
        schema["properties"][key] = _or_reference(value)
    if isinstance(schema.get("items"), dict):
        schema["items"] = _or_reference(schema["items"])


def _or_reference(schema: dict[str, Any]) -> dict[str, Any]:
    if "const" in schema or schema == {"type": "string"}:
        return schema
    keys: tuple[str, ...] = ("title", "description", "default")
    about = {key: schema.pop(key) for key in keys if key in schema}
    return {**about, "anyOf": [schema, _REFERENCE]}
