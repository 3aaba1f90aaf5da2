"""An unfitted estimator as people look at it: what it is made of, and the parameters that are no defaults."""

import html
import inspect
from dataclasses import dataclass, field
from reprlib import Repr
from typing import Any

from sklearn.utils import estimator_html_repr

__all__ = ["Part", "diagram_html", "diagram_of"]

_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60
_SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxdict = 8
_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font-family: system-ui, sans-serif; margin: 2rem; }}
h1 {{ font-size: 1.3rem; }}
</style>
</head>
<body>
<h1>{title}</h1>
{diagram}
</body>
</html>
"""


@dataclass
class Part:
    """
    An estimator, or something that it is made of.

    Parameters
    ----------
    role : str
        Name of the parameter that holds it; empty for the whole.
    kind : str
        Its class; empty for parameters that a callback or iterator gets whatever it is.
    parameters : dict of str to str
        Parameters that are no defaults, as text.
    parts : list of Part
        What it is made of.
    """

    role: str
    kind: str
    parameters: dict[str, str] = field(default_factory=dict)
    parts: list["Part"] = field(default_factory=list)


def diagram_of(estimator: Any, role: str = "") -> Part:
    """
    Return what an estimator is made of.

    Parameters
    ----------
    estimator : estimator
        Any of scikit-learn, skorch or prunekit; fitted or not, what counts are its parameters.
    role : str, default=""
        Name of the parameter that holds it.

    Returns
    -------
    Part
        The estimator. Parameters with double underscores belong to the part before them, as in skorch.
    """
    part = Part(role, type(estimator).__name__)
    defaults = _defaults(type(estimator))
    groups: dict[str, dict[str, Any]] = {}
    parameters = {name: value for name, value in _parameters(estimator).items() if not name.startswith("_")}
    for name in [name for name in parameters if "__" in name]:
        group, _, option = name.partition("__")
        groups.setdefault(group, {})[option] = parameters.pop(name)
    for name, value in parameters.items():
        if name in groups:
            continue
        if _is_part(value):
            part.parts.append(diagram_of(value, name))
        elif _are_parts(value):
            part.parts.append(Part(name, "", parts=[diagram_of(item, str(key)) for key, item in value]))
        elif name not in defaults or not _same(value, defaults[name]):
            part.parameters[name] = _shown(value)
    for name, options in groups.items():
        if own := _group(name, parameters.get(name), options):
            part.parts.append(own)
    return part


def _group(name: str, value: Any, options: dict[str, Any]) -> Part | None:
    """Return a part that is given as a class, or as a list, with the options that it is made with."""
    items = [diagram_of(item, str(key)) for key, item in value] if _are_parts(value) else []
    kind = value.__name__ if inspect.isclass(value) else ""
    defaults = _defaults(value) if inspect.isclass(value) else {}
    changed = {key: _shown(option) for key, option in options.items() if not _is_default(option, key, defaults)}
    return Part(name, kind, changed, items) if kind or items or changed else None


def diagram_html(estimator: Any, title: str) -> str:
    """
    Return scikit-learn's diagram of an estimator as a page that needs no network.

    Parameters
    ----------
    estimator : estimator
        Any estimator.
    title : str
        Heading.

    Returns
    -------
    str
        The page.
    """
    return _PAGE.format(title=html.escape(title), diagram=estimator_html_repr(estimator))


def _parameters(owner: Any) -> dict[str, Any]:
    if hasattr(owner, "get_params"):
        found: dict[str, Any] = owner.get_params(deep=False)
        return found
    return {name: getattr(owner, name) for name in _names(type(owner)) if hasattr(owner, name)}


def _names(kind: type) -> list[str]:
    return [name for name in _signature(kind) if name not in ("self", "args", "kwargs")]


def _signature(kind: type) -> dict[str, inspect.Parameter]:
    """Return the parameters of a class and of those it derives from, for many hand on what they do not name."""
    found: dict[str, inspect.Parameter] = {}
    for base in reversed(kind.__mro__[:-1]):
        if "__init__" in vars(base):
            found |= inspect.signature(base.__init__).parameters  # type: ignore[misc]
    return found


def _defaults(kind: type) -> dict[str, Any]:
    return {name: one.default for name, one in _signature(kind).items() if one.default is not inspect.Parameter.empty}


def _is_part(value: Any) -> bool:
    """Tell whether something has parameters of its own and is no plain value."""
    if inspect.isclass(value) or inspect.isroutine(value):
        return False
    return hasattr(value, "get_params") or type(value).__module__.partition(".")[0] in ("sklearn", "skorch", "prunekit")


def _are_parts(value: Any) -> bool:
    """Tell whether something is a list of names with parts, such as the steps of a pipeline."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, tuple) and len(item) == 2 and _is_part(item[1]) for item in value)
    )


def _is_default(value: Any, name: str, defaults: dict[str, Any]) -> bool:
    return name in defaults and _same(value, defaults[name])


def _same(value: Any, default: Any) -> bool:
    if isinstance(value, (list, tuple)) and isinstance(default, (list, tuple)):
        return list(value) == list(default)
    return bool(value is default or (type(value) in _PLAIN and value == default))


_PLAIN = (bool, int, float, str)


def _shown(value: Any) -> str:
    """Return a value on one short line; of classes and functions the name."""
    if inspect.isclass(value) or inspect.isroutine(value):
        return value.__name__
    return " ".join(_SHORT.repr(value).split())
