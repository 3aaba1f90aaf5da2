"""Models of options, made from the signatures of the classes that take them."""

import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, create_model

from prunekit.pipeline._section import Section

_LIMITS: dict[str, dict[str, float]] = {
    "alpha": {"ge": 0},
    "beta": {"ge": 0},
    "betas": {"ge": 0, "lt": 1},
    "cooldown": {"ge": 0},
    "delta": {"gt": 0},
    "eps": {"ge": 0},
    "eta_min": {"ge": 0},
    "factor": {"gt": 0, "lt": 1},
    "gamma": {"gt": 0},
    "gradient_clip_norm_type": {"gt": 0},
    "gradient_clip_value": {"gt": 0},
    "initial_accumulator_value": {"ge": 0},
    "label_smoothing": {"ge": 0, "le": 1},
    "lambd": {"ge": 0},
    "lr_decay": {"ge": 0},
    "milestones": {"ge": 1},
    "momentum": {"ge": 0},
    "p": {"ge": 1, "le": 2},
    "patience": {"ge": 1},
    "rho": {"ge": 0, "le": 1},
    "start_factor": {"gt": 0, "le": 1},
    "step_size": {"ge": 1},
    "T_0": {"ge": 1},
    "T_max": {"ge": 1},
    "T_mult": {"ge": 1},
    "threshold": {"ge": 0},
    "total_iters": {"ge": 1},
    "weight_decay": {"ge": 0},
}
"""What the classes themselves refuse, by the names of their parameters; here it is told with a line."""

_CHOICES = {"mode": ("min", "max"), "threshold_mode": ("rel", "abs")}

_DEFAULTS: dict[type, Callable[[Any], Any]] = {type: lambda empty: ..., tuple: list}
"""How a model has a parameter's default, by its type; that of a parameter without one is a class."""


def options_of(target: Callable[..., Any], names: Sequence[str], **types: Any) -> type[Section]:
    """
    Return the model of some parameters of a class, with their own defaults.

    Parameters
    ----------
    target : callable
        The class.
    names : sequence of str
        Parameters that a file may give.
    **types : object
        Types of parameters whose default does not tell it.

    Returns
    -------
    type of Section
        A closed, strict model. Parameters that this version of the class lacks are left out.
    """
    parameters = inspect.signature(target).parameters
    fields: dict[str, Any] = {}
    for name in names:
        if name in parameters:
            default = parameters[name].default
            kind = types[name] if name in types else _type_of(parameters[name])
            fields[name] = (kind, _DEFAULTS.get(type(default), lambda value: value)(default))
    name = getattr(target, "__name__", "")
    return create_model(f"{name}Options", __base__=Section, __doc__=f"Options of `{name}`.", **fields)


def _type_of(parameter: inspect.Parameter) -> Any:
    """Return the type that a parameter's default and annotation tell."""
    default, name = parameter.default, parameter.name
    if name in _CHOICES:
        return Literal[_CHOICES[name]]
    if isinstance(default, bool):
        return bool
    limits: dict[str, Any] = dict(_LIMITS.get(name, {}))
    item = Field(**limits)
    if isinstance(default, tuple):
        return Annotated[list[Annotated[float, item]], Field(min_length=len(default), max_length=len(default))]
    is_float = isinstance(default, float) or "float" in str(parameter.annotation)
    return Annotated[float if is_float else int, item]
