"""The parameters of a step that a pipeline file can give, and those that it never can.

A file is data: whoever runs one that they were given must not run code by it, nor read or write files. So of what
scikit-learn's estimators take, the following is out of reach of a file; `LEFT_OUT` holds what goes by name.

- ``memory``: joblib writes a cache there and unpickles what it finds in it.
- ``importance_getter``: a path of attributes that is followed with `operator.attrgetter`.
- Callables (``func``, ``callback``, ``metric`` and ``kernel`` as functions, …): no value of a file is one. Where
  scikit-learn's default is a function, `_NAMED` has a closed list of names.
- Free texts and mappings, unless `_REVIEWED` has the parameter: ``verbose_feature_names_out`` as a text is a format
  string, which reads attributes; ``solver_options`` and ``kw_args`` go on to code that scikit-learn does not check.
  ``metric_params`` and ``kernel_params`` are keyword arguments of distances and kernels, which are looked up in closed
  lists and call only what they were given as a callable.
- Whatever only an object can be: random states, arrays, kernels of Gaussian processes, splitters.
- Parameters that scikit-learn has deprecated.

A name with a double underscore is refused where steps are named, so that none reaches into another.
"""

import inspect
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from numbers import Integral, Real
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, Field, PlainValidator, WithJsonSchema, create_model

from prunekit.pipeline._constraints import holds, sayable
from prunekit.pipeline._forms import ByClass, Constrained, Form, Named, Steps, Typed, invalid
from prunekit.pipeline._plain import is_same
from prunekit.pipeline._scoring import known_scorer
from prunekit.pipeline._section import Section
from prunekit.pipeline._step_lists import StepList

LEFT_OUT = {
    "covariance_estimator": "is no transformer and no predictor",
    "importance_getter": "is a path of attributes",
    "memory": "is a folder whose files are unpickled",
}
"""Parameters that no file can give, of any class, and why."""

_REVIEWED = {
    *("class_weight", "constant", "fun_args", "kernel_params", "metric_params", "monotonic_cst", "outlier_label"),
    *("scoring", "threshold", "transformer_weights"),
}
"""Parameters that take free texts or mappings of which it was looked at what happens to them."""

_UNCHECKED: dict[str, list[Any]] = {
    "fill_value": [Real, str, None],
    "n_jobs": [Integral, None],
    "transformer_weights": [dict, None],
    "verbose": ["boolean"],
    "verbose_feature_names_out": ["boolean"],
}
"""Constraints on parameters for which scikit-learn has none."""

_STEP_LISTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "transformer_list": (("transform",), ("drop", "passthrough")),
    "transformers": (("transform",), ("drop", "passthrough")),
    "estimators": (("fit", "predict"), ("drop",)),
}
"""Lists of named steps: what each must have, and the words that may stand instead."""

_DTYPES = {"float64": np.float64, "float32": np.float32, "int64": np.int64, "int32": np.int32}
_POOLING = {"mean": np.mean, "median": np.median, "max": np.max, "min": np.min}


@dataclass(frozen=True)
class Parameter:
    """
    A parameter of a step.

    Parameters
    ----------
    form : Form
        How a file writes it.
    default : object
        Its default as a file writes it; `inspect.Parameter.empty` if it is required.
    """

    form: Form
    default: Any

    @property
    def is_required(self) -> bool:
        """
        Whether a file must give it.

        Returns
        -------
        bool
            True without a default.
        """
        return self.default is inspect.Parameter.empty

    def is_default(self, value: Any) -> bool:
        """
        Return whether a value is the default.

        Parameters
        ----------
        value : object
            As a file writes it.

        Returns
        -------
        bool
            False for required parameters.
        """
        return not self.is_required and is_same(value, self.default)


def parameters_of(target: type, steps: Steps, forms: Mapping[str, Form]) -> dict[str, Parameter]:
    """
    Return what a file can give of the parameters of a class.

    Parameters
    ----------
    target : type
        The class.
    steps : Steps
        What knows the steps that values may be.
    forms : mapping of str to Form
        Forms of parameters of classes that are not scikit-learn's.

    Returns
    -------
    dict
        Parameter by name, in the order of the signature.
    """
    found = {}
    for name, parameter in inspect.signature(target).parameters.items():
        if name in LEFT_OUT or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.default == "deprecated":
            continue
        form = forms.get(name) or _form(target, name, parameter.default, steps)
        if form is None:
            continue
        if parameter.default is parameter.empty or not _is_allowed(target, name, parameter.default):
            found[name] = Parameter(form, parameter.empty)
            continue
        with suppress(ValueError):  # a default that no file can say: nor its alternatives
            found[name] = Parameter(form, form.said(parameter.default))
    return found


def _is_allowed(target: type, name: str, default: Any) -> bool:
    """Return whether scikit-learn takes its own default: where it does not, the parameter is required after all."""
    constraints = getattr(target, "_parameter_constraints", {}).get(name, "no_validation")
    return constraints == "no_validation" or holds(default, constraints)


def _form(target: type, name: str, default: Any, steps: Steps) -> Form | None:
    """Return how a file writes a parameter of scikit-learn's, or None where it cannot."""
    constraints = getattr(target, "_parameter_constraints", {}).get(name, "no_validation")
    if name == "n_jobs":
        return Typed(Annotated[int | None, PlainValidator(_check_jobs), WithJsonSchema(_JOBS_SCHEMA)])
    if name in _STEP_LISTS:
        methods, words = _STEP_LISTS[name]
        taken = tuple(inspect.signature(target).parameters)
        return StepList(methods, words, steps, taken, columns=name == "transformers")
    if name in _named():
        return _named_form(name, constraints, default)
    if constraints == "no_validation":
        constraints = _UNCHECKED.get(name, [])
    sayables = sayable(constraints, name in _REVIEWED or constraints is _UNCHECKED.get(name))
    if all(one.constraint is None for one in sayables):
        return None  # what could be said is that there is nothing
    if name == "class_weight":
        return ByClass(sayables, default, steps)
    form = Constrained(sayables, default, steps)
    if name == "scoring" and any(one.constraint is str for one in sayables):
        return Typed(Annotated[form.annotation, AfterValidator(lambda value: _check_scoring(value, default))])
    return form


@cache
def _named() -> dict[str, dict[str, Any]]:
    """Return the objects that a file says by name, by parameter."""
    from sklearn import feature_selection  # takes a while, and most files name no step

    scores = ("f_classif", "f_regression", "chi2", "mutual_info_classif", "mutual_info_regression", "r_regression")
    return {
        "dtype": dict(_DTYPES),
        "pooling_func": dict(_POOLING),
        "score_func": {name: getattr(feature_selection, name) for name in scores},
    }


def _named_form(name: str, constraints: Any, default: Any) -> Named:
    objects = _named()[name]
    if name == "dtype" and constraints != "no_validation":
        objects = {key: value for key, value in objects.items() if _is_option(value, constraints)}
    return Named(objects, optional=default is None)


def _is_option(value: Any, constraints: Any) -> bool:
    return any(value in getattr(constraint, "options", ()) for constraint in constraints)


_JOBS_SCHEMA = {"anyOf": [{"const": -1}, {"type": "integer", "minimum": 1}, {"type": "null"}]}


def _check_jobs(value: Any) -> Any:
    if value is None or (type(value) is int and (value == -1 or value >= 1)):
        return value
    raise invalid("-1, an integer of at least 1 or null")


def _check_scoring(value: Any, default: Any) -> Any:
    return value if value is None or value == default else known_scorer(value)


def model_of(name: str, parameters: Mapping[str, Parameter]) -> type[Section]:
    """
    Return the model of the options of a step.

    Parameters
    ----------
    name : str
        Name of the step.
    parameters : mapping of str to Parameter
        What a file can give.

    Returns
    -------
    type of Section
        A closed model whose fields hold plain values.
    """
    fields: dict[str, Any] = {key: (one.form.annotation, _field(one)) for key, one in parameters.items()}
    with warnings.catch_warnings():
        # `copy` and `validate` are methods of a model that it has kept from pydantic 1, and that nobody calls.
        warnings.filterwarnings("ignore", "Field name .* shadows an attribute", UserWarning)
        return create_model(f"{name}Options", __base__=Section, __doc__=f"Options of `{name}`.", **fields)


def _field(parameter: Parameter) -> Any:
    if parameter.is_required:
        return Field()
    in_json = isinstance(parameter.default, float) and not np.isfinite(parameter.default)
    return Field(parameter.default, json_schema_extra=_without_default if in_json else None)


def _without_default(schema: dict[str, Any]) -> None:
    """Take out a default for which JSON has no word."""
    schema.pop("default", None)
