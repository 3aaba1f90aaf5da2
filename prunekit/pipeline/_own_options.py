"""Models of options of the user's own code, made from signatures alone."""

import inspect
import warnings
from collections.abc import Callable, Sequence
from enum import Enum
from math import isfinite
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, Union, get_args, get_origin

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    SerializationInfo,
    TypeAdapter,
    ValidationError,
    create_model,
    model_serializer,
    model_validator,
)
from pydantic_core import to_jsonable_python
from torch import nn

from prunekit.pipeline._samples import FilePath
from prunekit.pipeline._section import UNKNOWN_KEY, Section, key_error


class NoModelError(Exception):
    """A signature that no options of a file can satisfy; the message says why."""


class OwnOptions(Section):
    """Options of something of the user's, whose defaults may be more than a file can say."""

    model_config = ConfigDict(protected_namespaces=())

    reserved: ClassVar[frozenset[str]] = frozenset()
    """Parameters that the run gives; also those of an open model."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_reserved(cls, data: Any) -> Any:
        for name in cls.reserved.intersection(data if isinstance(data, dict) else ()):
            raise key_error(UNKNOWN_KEY, name, data[name], known=list(cls.model_fields))
        return data

    @model_serializer(mode="plain")
    def _write(self, info: SerializationInfo) -> dict[str, Any]:
        """Leave out defaults that no file can say; what is called has them anyway."""
        given = {**self.__dict__, **(self.model_extra or {})}
        said = {name: value for name, value in given.items() if value is not _UNSAID}
        if info.mode == "python":
            return said
        written: dict[str, Any] = to_jsonable_python(said, inf_nan_mode="constants")
        return written


_UNSAID: Any = Enum("Unsaid", ["UNSAID"]).UNSAID  # type: ignore[attr-defined]
"""Default of an option whose own default no file can say. An enum's member stays the same object when it is copied."""


def options_by_signature(
    target: Callable[..., Any], from_the_run: Sequence[str] = (), num_positional: int = 0, required: Sequence[str] = ()
) -> type[Section]:
    """
    Return the model of all that a file may give to a class or function of the user's.

    Parameters
    ----------
    target : callable
        The class or function.
    from_the_run : sequence of str, default=()
        Parameters that the run gives where the signature has them.
    num_positional : int, default=0
        How many parameters the run gives by position.
    required : sequence of str, default=()
        Parameters that the run gives always.

    Returns
    -------
    type of Section
        A closed model, open only if the signature is. Types are checked where plain annotations tell them.

    Raises
    ------
    NoModelError
        If the signature cannot be read, or it needs something that no file can give.
    """
    parameters = _parameters(target)[num_positional:]
    is_open = any(one.kind is one.VAR_KEYWORD for one in parameters)
    by_name = {one.name: one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)}
    missing = [name for name in required if name not in by_name and not is_open]
    if missing:
        raise NoModelError(f"its signature must have '{missing[0]}', which the run gives")
    reserved = {*required, *(name for name in from_the_run if name in by_name)}
    fields: dict[str, Any] = {}
    for one in parameters:
        can_be_given = one.name in by_name and not one.name.startswith("_") and one.name not in _TAKEN
        if one.name not in reserved and can_be_given:
            fields[one.name] = _field(one)
        elif one.name not in reserved and one.default is one.empty and one.kind not in _VARIADIC:
            raise NoModelError(f"no file can give its parameter '{one.name}', which has no default")

    model = _model(getattr(target, "__name__", ""), _OpenOptions if is_open else OwnOptions, fields)
    model.reserved = frozenset(reserved)
    return model


def _model(name: str, base: type[OwnOptions], fields: dict[str, Any]) -> type[OwnOptions]:
    with warnings.catch_warnings():  # no method of the model is called by the name of an option
        warnings.filterwarnings("ignore", message="Field name .* shadows an attribute")
        return create_model(f"{name}Options", __base__=base, __doc__=f"Options of `{name}`.", **fields)


class _OpenOptions(OwnOptions):
    """Options of something that takes any."""

    model_config = ConfigDict(extra="allow")


_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
_TAKEN = frozenset(("name", *(name for name in dir(BaseModel) if name.startswith("model_"))))
"""Names of parameters that no option can have: the key of the file, and what the models need themselves."""


def _parameters(target: Callable[..., Any]) -> list[inspect.Parameter]:
    """Return the parameters of a callable."""
    if isinstance(target, type) and getattr(target, "__init__", None) is nn.Module.__init__:
        return []  # it takes *args and **kwargs, only to refuse them
    try:
        return list(inspect.signature(target).parameters.values())
    except Exception as exc:  # also what deferred annotations raise
        raise NoModelError(f"its signature cannot be read ({type(exc).__name__}: {exc})") from exc


def _field(parameter: inspect.Parameter) -> tuple[Any, Any]:
    """Return the type and the default of an option."""
    default = parameter.default
    kind = _plain(parameter.annotation)
    if default is parameter.empty:
        return kind, ...
    if isinstance(default, tuple):
        kind = _TUPLE
    elif default is None:
        kind = kind | None if kind is not Any else Any
    elif not isinstance(default, Path) and not _fits(kind, default):
        kind = Any
    return kind, default if can_be_said(default) else _UNSAID


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


_TUPLE = Annotated[Any, BeforeValidator(_as_tuple)]
_PLAIN: dict[Any, Any] = {kind: kind for kind in (int, float, bool, str, list, dict)}
_PLAIN |= {tuple: _TUPLE, Path: FilePath, None: None, type(None): None}
_BY_TEXT = {"None" if kind is None else kind.__name__: plain for kind, plain in _PLAIN.items()}
"""Annotations as text, which is never evaluated."""


def _plain(annotation: Any) -> Any:
    """Return the type that an annotation tells, as far as it is plain."""
    if isinstance(annotation, str):
        parts = [_BY_TEXT.get(part.strip(), Any) for part in annotation.split("|")]
        return _either(parts)
    origin = get_origin(annotation)
    if origin in (Union, UnionType):
        return _either([_plain(one) for one in get_args(annotation)])
    if origin is Literal:
        return annotation
    if origin is list:
        return list[_plain(get_args(annotation)[0])]  # type: ignore[misc]
    if origin in (dict, tuple):
        return _PLAIN[origin]
    try:
        return _PLAIN.get(annotation, Any)
    except TypeError:  # not hashable
        return Any


def _either(kinds: Sequence[Any]) -> Any:
    """Return one type of several, with or without nothing; of a real choice YAML may give anything."""
    real = [kind for kind in kinds if kind is not None]
    if float in real:
        real = [kind for kind in real if kind is not int]
    if len(real) != 1 or real[0] is Any:
        return Any
    return real[0] if len(real) == len(kinds) or None not in kinds else real[0] | None


def _fits(kind: Any, default: Any) -> bool:
    try:
        TypeAdapter(kind).validate_python(default, strict=True)
    except ValidationError:
        return False
    return True


def can_be_said(value: Any) -> bool:
    """
    Tell whether YAML has a value.

    Parameters
    ----------
    value : object
        Any.

    Returns
    -------
    bool
        Whether a file can say it.
    """
    if type(value) in (list, tuple):
        return all(map(can_be_said, value))
    if type(value) is dict:
        return all(type(key) is str and can_be_said(item) for key, item in value.items())
    return value is None or type(value) in (bool, int, str) or (type(value) is float and isfinite(value))
