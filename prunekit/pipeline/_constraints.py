"""What a pipeline file can say where scikit-learn has a constraint on a parameter.

scikit-learn keeps with every class what its parameters may be: intervals, choices, types, callables. A file holds plain
values only, so each constraint is narrowed here to the plain values that can meet it; those that none can (callables,
arrays, random states) are dropped. Whether a value meets what is left is decided by scikit-learn itself.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from types import NoneType
from typing import Any

from sklearn.base import BaseEstimator, ClusterMixin

Schema = dict[str, Any]


@dataclass(frozen=True)
class Sayable:
    """
    The plain values that can meet a constraint.

    Parameters
    ----------
    words : tuple of str
        What they are, after "must be", one for each alternative.
    types : tuple of type
        Their types, exactly: true is no integer. `BaseEstimator` stands for any step.
    schemas : list of dict, optional
        JSON Schemas, of which one holds for each; empty where JSON has no such value.
    constraint : object, default=None
        scikit-learn's own, which decides.
    choices : tuple of str, default=()
        The words among them, where there is a closed list.
    """

    words: tuple[str, ...]
    types: tuple[type, ...]
    schemas: list[Schema] = field(default_factory=list)
    constraint: Any = None
    choices: tuple[str, ...] = ()


STEP_SCHEMAS: list[Schema] = [
    {"type": "string"},
    {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
]
"""A step, whose own options are checked when the file is read."""

_NULL: Schema = {"type": "null"}
_PLAIN: dict[Any, tuple[tuple[str, ...], tuple[type, ...], list[Schema]]] = {
    None: (("null",), (NoneType,), [_NULL]),
    "boolean": (("true or false",), (bool,), [{"type": "boolean"}]),
    bool: (("true or false",), (bool,), [{"type": "boolean"}]),
    "verbose": (
        ("true or false", "an integer of at least 0"),
        (bool, int),
        [{"type": "boolean"}, {"type": "integer", "minimum": 0}],
    ),
    "random_state": (
        ("an integer in [0, 4294967295]", "null"),
        (int, NoneType),
        [{"type": "integer", "minimum": 0, "maximum": 2**32 - 1}, _NULL],
    ),
    "cv_object": (
        ("an integer of at least 2", "null"),
        (int, NoneType),
        [{"type": "integer", "minimum": 2}, _NULL],
    ),
    "array-like": (("a list",), (list, tuple), [{"type": "array"}]),
    list: (("a list",), (list,), [{"type": "array"}]),
    tuple: (("a list",), (tuple,), [{"type": "array"}]),
    dict: (("a mapping",), (dict,), [{"type": "object"}]),
    str: (("a text",), (str,), [{"type": "string"}]),
    Integral: (("an integer",), (int,), [{"type": "integer"}]),
    Real: (("a number",), (int, float), [{"type": "number"}]),
    float: (("a number",), (float,), [{"type": "number"}]),
    "nan": ((".nan",), (float,), []),
    ClusterMixin: (("a step that clusters",), (BaseEstimator,), STEP_SCHEMAS),
}
"""Constraints that scikit-learn writes as words and types."""


def sayable(constraints: Sequence[Any], reviewed: bool) -> list[Sayable]:
    """
    Return what a file can say of a parameter.

    Parameters
    ----------
    constraints : sequence
        scikit-learn's, of which one must hold.
    reviewed : bool
        Whether free texts and mappings are allowed: what happens to those of the parameter was looked at.

    Returns
    -------
    list of Sayable
        One for each constraint that a plain value can meet and that scikit-learn tells of.
    """
    found = [_sayable(constraint) for constraint in constraints]
    return [one for one in found if one and (reviewed or one.constraint not in (str, dict))]


def _sayable(constraint: Any) -> Sayable | None:
    if constraint is None or isinstance(constraint, str | type):
        if constraint not in _PLAIN:
            return None
        words, types, schemas = _PLAIN[constraint]
        return Sayable(words, types, schemas, constraint)
    # The classes of these are private to scikit-learn; their names have been the same since 1.2.
    describe = _DESCRIBED.get(type(constraint).__name__)
    return describe(constraint) if describe else None


def _interval(constraint: Any) -> Sayable:
    low, high = constraint.left, constraint.right
    closed_left, closed_right = constraint.closed in ("left", "both"), constraint.closed in ("right", "both")
    schema: Schema = {"type": "integer" if constraint.type is Integral else "number"}
    if low is not None and math.isfinite(low):
        schema["minimum" if closed_left else "exclusiveMinimum"] = low
    if high is not None and math.isfinite(high):
        schema["maximum" if closed_right else "exclusiveMaximum"] = high
    noun, types = _NUMBERS[getattr(constraint.type, "__name__", "")]
    limits = _limits(schema, "[" if closed_left else "(", "]" if closed_right else ")")
    return Sayable((noun + limits,), types, [schema], constraint)


_NUMBERS: dict[str, tuple[str, tuple[type, ...]]] = {
    "Integral": ("an integer", (int,)),
    "Real": ("a number", (int, float)),
    "RealNotInt": ("a number with a decimal point", (float,)),
}


def _limits(schema: Schema, left: str, right: str) -> str:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if low is None and high is None:
        return ""
    if high is None:
        return f" of at least {low:.12g}" if left == "[" else f" greater than {low:.12g}"
    if low is None:
        return f" of at most {high:.12g}" if right == "]" else f" less than {high:.12g}"
    return f" in {left}{low:.12g}, {high:.12g}{right}"


def _options(constraint: Any) -> Sayable | None:
    """Tell of choices, without those that scikit-learn has deprecated."""
    choices = sorted(constraint.options - constraint.deprecated, key=str)
    plain = [choice for choice in choices if isinstance(choice, str | int | float)]
    if not plain:
        return None
    in_json = [choice for choice in plain if not isinstance(choice, float) or math.isfinite(choice)]
    texts = tuple(choice for choice in plain if isinstance(choice, str))
    types = tuple({type(choice) for choice in plain})
    return Sayable(tuple(map(_word, plain)), types, [{"enum": in_json}] if in_json else [], constraint, texts)


def _word(choice: str | float) -> str:
    if isinstance(choice, bool):
        return "true" if choice else "false"
    if isinstance(choice, float) and not math.isfinite(choice):
        return f"{choice:f}".replace("inf", ".inf")
    return repr(choice)


def _missing_values(constraint: Any) -> Sayable:
    others = () if constraint.numeric_only else (str, NoneType)
    types: list[Schema] = [{"type": "number"}, *({"type": word} for word in ("string", "null")[: len(others)])]
    words = ("a number", ".nan") if constraint.numeric_only else ("a number", ".nan", "a text", "null")
    return Sayable(words, (int, float, *others), types, constraint)


def _methods(constraint: Any) -> Sayable | None:
    """Tell of objects with methods, if they are steps."""
    if not {"fit", "fit_transform", "transform"} & set(constraint.methods):
        return None
    return Sayable((step_words(constraint.methods),), (BaseEstimator,), STEP_SCHEMAS, constraint)


_DESCRIBED: dict[str, Callable[[Any], Sayable | None]] = {
    "Interval": _interval,
    "Options": _options,
    "StrOptions": _options,
    "MissingValues": _missing_values,
    "HasMethods": _methods,
}


def step_words(methods: Sequence[str]) -> str:
    """
    Return what a message calls a step that must have some methods.

    Parameters
    ----------
    methods : sequence of str
        Their names.

    Returns
    -------
    str
        For example ``a step with 'fit' and 'predict'``.
    """
    return f"a step with {' and '.join(repr(method) for method in methods)}"


def meets(value: Any, sayables: Sequence[Sayable]) -> bool:
    """
    Return whether scikit-learn takes a value.

    Parameters
    ----------
    value : object
        The value as the estimator would get it.
    sayables : sequence of Sayable
        What can be said of the parameter.

    Returns
    -------
    bool
        Whether one of the constraints whose values have this type holds.
    """
    fitting = [one.constraint for one in sayables if _has_type(value, one.types)]
    return bool(fitting) and holds(value, fitting)


def holds(value: Any, constraints: Sequence[Any]) -> bool:
    """
    Return whether one of scikit-learn's constraints holds.

    Parameters
    ----------
    value : object
        The value as the estimator would get it.
    constraints : sequence
        At least one.

    Returns
    -------
    bool
        As scikit-learn itself decides.
    """
    try:
        _Probe(value, constraints)._validate_params()
    except ValueError:
        return False
    return True


def _has_type(value: Any, types: tuple[type, ...]) -> bool:
    return type(value) in types or (BaseEstimator in types and isinstance(value, BaseEstimator))


class _Probe(BaseEstimator):
    """An estimator with one parameter, which scikit-learn checks as it checks those of its own."""

    def __init__(self, value: Any, constraints: Sequence[Any]) -> None:
        self.value = value
        self.constraints = constraints

    @property
    def _parameter_constraints(self) -> dict[str, Sequence[Any]]:
        return {"value": self.constraints, "constraints": "no_validation"}


def words_of(sayables: Sequence[Sayable]) -> str:
    """
    Return what a parameter must be, for a message.

    Parameters
    ----------
    sayables : sequence of Sayable
        At least one.

    Returns
    -------
    str
        Goes after "must be".
    """
    return joined([word for one in sayables for word in one.words])


def joined(words: Sequence[str]) -> str:
    """
    Return alternatives as a part of a sentence.

    Parameters
    ----------
    words : sequence of str
        At least one.

    Returns
    -------
    str
        With an "or" before the last, which is null where that is one of them.
    """
    *first, last = sorted(dict.fromkeys(words), key="null".__eq__)
    return f"{', '.join(first)} or {last}" if first else last


def schema_of(sayables: Sequence[Sayable]) -> Schema:
    """
    Return the JSON Schema of a parameter.

    Parameters
    ----------
    sayables : sequence of Sayable
        What can be said of it.

    Returns
    -------
    dict
        Empty, so that anything holds, where JSON has no words for it.
    """
    schemas: list[Schema] = []
    for schema in (schema for one in sayables for schema in one.schemas):
        if schema not in schemas:
            schemas.append(schema)
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas} if schemas else {}
