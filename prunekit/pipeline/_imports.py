"""Code of the user's own in pipeline files: what a file imports, what is trusted, and what a dotted name stands for.

Nothing is imported unless everything that the file imports is trusted by whoever runs it. A name with a dot is looked
up below what is imported, by plain access of public attributes; nothing is evaluated.
"""

import importlib
import inspect
import pkgutil
import re
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property
from types import ModuleType
from typing import Any, Self

from pydantic import ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError, ValidationInfo
from pydantic_core import InitErrorDetails, PydanticCustomError, core_schema

from prunekit.exceptions import ParameterError
from prunekit.pipeline._entry import Entry
from prunekit.pipeline._own_code import KINDS, Kind, entry_of
from prunekit.pipeline._section import Section, key_error

_PART = "[A-Za-z][A-Za-z0-9_]*"
_MODULE = re.compile(rf"{_PART}(\.{_PART})*")
_DOTTED = re.compile(r"\w+(\.\w+)+", re.ASCII)
_MAX_LENGTH = 200
_NAME_PATTERN = rf"^{_PART}(\.{_PART})+$"


class AnyOptions(Section):
    """Options of what cannot be looked at, for it is not imported."""

    model_config = ConfigDict(extra="allow")


_UNKNOWN = Entry(lambda: None, "not imported", AnyOptions)
"""Stands for all names of a file whose imports are refused; the file is refused with them."""


@dataclass(frozen=True)
class Imports:
    """
    Modules that a file imports. In a pipeline file this is a list of their names.

    Parameters
    ----------
    modules : tuple of str, default=()
        Dotted names, as they stand in the file.
    trusted : tuple of str, default=()
        Packages and modules whose code may run. A package stands for all of its modules.
    """

    modules: tuple[Any, ...] = ()
    trusted: tuple[str, ...] = ()

    @classmethod
    def of(cls, modules: object, trust: Sequence[str]) -> Self:
        """
        Return what a file imports, of which nothing is checked yet.

        Parameters
        ----------
        modules : object
            What the file says.
        trust : sequence of str
            What the caller trusts.

        Returns
        -------
        Imports
            Nothing is imported yet.

        Raises
        ------
        ParameterError
            If what is trusted are no names of packages or modules.
        """
        wrong = [trust] if isinstance(trust, str) else [name for name in trust if not _is_module_name(name)]
        if wrong:
            raise ParameterError(
                "What is trusted must be a list of names of packages or modules, such as 'mylab' or 'mylab.nets'. "
                f"Got {wrong[0]!r} instead."
            )
        return cls(tuple(modules) if isinstance(modules, list) else (), tuple(trust))

    @property
    def context(self) -> dict[str, "Imports"]:
        """
        What models of sections are validated with, so that the same names can be used.

        Returns
        -------
        dict
            For the ``context`` of ``model_validate``.
        """
        return {"imports": self}

    @cached_property
    def problems(self) -> list[tuple[int, str, dict[str, Any]]]:
        """
        What is wrong with the imports; looking at it imports them, if all of them are trusted.

        Returns
        -------
        list of tuple
            Position in the list, type of the error and what its message is made of.
        """
        refused = [(index, *problem) for index, name in enumerate(self.modules) if (problem := self._refusal(name))]
        if refused:
            return refused
        return [(index, *problem) for index, name in enumerate(self.modules) if (problem := _import(name))]

    def _refusal(self, name: object) -> tuple[str, dict[str, Any]] | None:
        """Tell why a module is not imported."""
        if not isinstance(name, str) or not _is_module_name(name):
            return "no_module_name", {}
        package = name.partition(".")[0]
        if package in sys.stdlib_module_names:
            return "standard_library", {"package": package}
        if not self._is_trusted(name):
            return "untrusted", {"package": package, "trusted": list(self.trusted)}
        return None

    def _is_trusted(self, module: object) -> bool:
        """Tell whether the code of a module may be used."""
        if not isinstance(module, str) or module.partition(".")[0] in sys.stdlib_module_names:
            return False
        return any(module == name or module.startswith(f"{name}.") for name in self.trusted)

    def entry(self, kind: str, name: str, registered: Iterable[str] = ()) -> Entry | None:
        """
        Return what a dotted name stands for.

        Parameters
        ----------
        kind : str
            A key of `KINDS`.
        name : str
            The name, as it stands in the file.
        registered : iterable of str, default=()
            Names of the registry, for messages.

        Returns
        -------
        Entry or None
            None if names of this kind have no dots, or this cannot be a dotted name.

        Raises
        ------
        ValidationError
            If the name is below no import, or what it stands for is not there, not public, not of a trusted package
            or of another kind.
        """
        if kind not in KINDS or not _DOTTED.fullmatch(name):
            return None
        if self.problems:
            return _UNKNOWN
        if not all(re.fullmatch(_PART, part) for part in name.split(".")):
            raise key_error("private_name", "name", name)
        above = [module for module in self.modules if name.startswith(f"{module}.")]
        if not above:
            meant = [one for one in registered if one == name.rpartition(".")[2]]
            raise key_error("not_imported", "name", name, near=meant or _near(name, self.modules))
        return entry_of(kind, name, self._look_up(KINDS[kind], kind, name, max(above, key=len)))

    def _look_up(self, kind: Kind, kind_name: str, name: str, module: str) -> Any:
        """Return the object of a name, by plain access of attributes."""
        owner: Any = importlib.import_module(module)
        at = module
        for part in name.removeprefix(f"{module}.").split("."):
            about = {"owner": at, "part": part, "known": list(self._fitting(owner, kind)), "kind": kind_name}
            target = getattr(owner, part, None)
            if target is None:
                raise key_error("no_such_name", "name", name, **about)
            definer = target.__name__ if isinstance(target, ModuleType) else getattr(target, "__module__", None)
            at = f"{at}.{part}"
            if not self._is_trusted(definer):
                raise key_error("defined_elsewhere", "name", name, at=at, definer=str(definer))
            above, owner = owner, target
        if not kind.fits(owner) or _needs_instance(above, part):
            raise key_error("wrong_kind", "name", name, wanted=kind.wanted, found=_what(owner), **about)
        return owner

    def _fitting(self, owner: Any, kind: Kind) -> Iterator[str]:
        """Yield the public names of a module or class that could be used."""
        for name in list(vars(owner)) if isinstance(owner, (ModuleType, type)) else ():
            target = getattr(owner, name, None)
            is_ours = re.fullmatch(_PART, name) and self._is_trusted(getattr(target, "__module__", None))
            if is_ours and kind.fits(target) and not _needs_instance(owner, name):
                yield name

    def name_of(self, kind: str, target: Any) -> str | None:
        """
        Return the name by which a file can name an object.

        Parameters
        ----------
        kind : str
            A key of `KINDS`.
        target : object
            A class or function.

        Returns
        -------
        str or None
            None if no import leads to it.
        """
        if kind not in KINDS or self.problems:
            return None
        names = [f"{getattr(target, '__module__', '')}.{getattr(target, '__qualname__', '')}"]
        for module in self.modules:
            found = vars(importlib.import_module(module)).items()
            names += [f"{module}.{key}" for key, value in found if value is target]
        for name in names:
            above = max((one for one in self.modules if name.startswith(f"{one}.")), key=len, default=None)
            try:
                if above is not None and self._look_up(KINDS[kind], kind, name, above) == target:
                    return name
            except ValidationError:
                continue
        return None

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """
        Tell pydantic how the field is read and written.

        Parameters
        ----------
        source : object
            This class.
        handler : callable
            Makes the schema of other types; not used.

        Returns
        -------
        dict
            Schema of a field that is read from a list of names and written as one.
        """
        return core_schema.with_info_plain_validator_function(
            _checked, serialization=core_schema.plain_serializer_function_ser_schema(lambda one: list(one.modules))
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """
        Return the JSON Schema of the field.

        Parameters
        ----------
        schema : dict
            What `__get_pydantic_core_schema__` returned; not used.
        handler : callable
            Makes JSON Schemas of others; not used.

        Returns
        -------
        dict
            A list of dotted names.
        """
        return {
            "type": "array",
            "items": {"type": "string", "pattern": f"^{_MODULE.pattern}$"},
            "description": "Modules of your own; names with a dot are looked up below them. Needs --trust PACKAGE.",
        }


def imports_of(context: Mapping[str, Any] | None) -> Imports:
    """
    Return the imports that a section is validated with.

    Parameters
    ----------
    context : mapping or None
        What was given to ``model_validate``.

    Returns
    -------
    Imports
        None, and nothing trusted, where nothing was given.
    """
    found = (context or {}).get("imports")
    return found if isinstance(found, Imports) else Imports()


def dotted_schemas(kind: str) -> Iterator[dict[str, Any]]:
    """
    Yield the JSON Schemas of dotted names, whose options only their code knows.

    Parameters
    ----------
    kind : str
        A key of the registry.

    Yields
    ------
    dict
        The short form and the mapping.
    """
    if kind in KINDS:
        about = {"title": "Your own", "description": f"Below a module under 'imports': {KINDS[kind].wanted}."}
        name = {"type": "string", "pattern": _NAME_PATTERN}
        yield {**about, **name}
        yield {**about, "type": "object", "properties": {"name": dict(name)}, "required": ["name"]}


def _checked(value: object, info: ValidationInfo) -> Imports:
    """Return what a file imports, imported; the trust comes with the context."""
    if isinstance(value, Imports):
        value = list(value.modules)
    if not isinstance(value, list):
        raise PydanticCustomError("list_type", "must be a list")
    imports = imports_of(info.context)
    if imports.modules != tuple(value):
        imports = Imports(tuple(value), imports.trusted)
    if imports.problems:
        errors = [
            InitErrorDetails(
                type=PydanticCustomError(error_type, "{message}", {"message": error_type, **context}),
                loc=(index,),
                input=value[index],
            )
            for index, error_type, context in imports.problems
        ]
        raise ValidationError.from_exception_data("imports", errors)
    return imports


def _near(name: str, modules: Sequence[str]) -> list[str]:
    """Return the names below imported modules that come near a name below none."""
    module, _, last = name.rpartition(".")
    near = get_close_matches(module, modules, n=1)
    return [f"{one}.{last}" for one in near if hasattr(importlib.import_module(one), last)]


def _is_module_name(name: object) -> bool:
    return isinstance(name, str) and len(name) <= _MAX_LENGTH and _MODULE.fullmatch(name) is not None


def _import(name: str) -> tuple[str, dict[str, Any]] | None:
    """Import a trusted module, or tell why it cannot be."""
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as exc:
        if exc.name and f"{name}.".startswith(f"{exc.name}."):
            return "no_module", {"known": list(_siblings(exc.name))}
        return "import_failed", {"raised": _raised(exc)}
    except (Exception, SystemExit) as exc:
        return "import_failed", {"raised": _raised(exc)}
    return None


def _siblings(name: str) -> Iterator[str]:
    """Yield the modules beside one that is not there, if the package above it was imported."""
    above = name.rpartition(".")[0]
    for info in pkgutil.iter_modules(getattr(sys.modules.get(above), "__path__", ()) if above else ()):
        if not info.name.startswith("_"):
            yield f"{above}.{info.name}"


def _raised(exc: BaseException) -> str:
    """Return what was raised in a line, and where."""
    first = (str(exc).strip().splitlines() or [""])[0]
    text = f"{type(exc).__name__}: {first}" if first else type(exc).__name__
    frames = [frame for frame in traceback.extract_tb(exc.__traceback__) if "importlib" not in frame.filename]
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if len(frames) > 1 else ""
    return f"{text if len(text) <= _MAX_LENGTH else text[: _MAX_LENGTH - 1] + '…'}{where}"


def _needs_instance(owner: Any, name: str) -> bool:
    """Tell whether a function of a class is an ordinary method."""
    return isinstance(owner, type) and inspect.isfunction(inspect.getattr_static(owner, name, None))


def _what(target: Any) -> str:
    """Return in words what an object is."""
    if isinstance(target, type):
        bases = ", ".join(base.__name__ for base in target.__bases__)
        return f"a subclass of {bases}" if bases != "object" else "a plain class"
    if isinstance(target, ModuleType):
        return "a module"
    return "a function" if inspect.isroutine(target) else f"an instance of {type(target).__name__}"
