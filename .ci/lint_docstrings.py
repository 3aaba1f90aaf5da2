"""Check the docstrings of everything public with numpydoc, by the settings in pyproject.toml.

``numpydoc lint`` reads source files: it knows neither what is public nor the parameters of a dataclass. This asks the
imported objects: all that a public module names in ``__all__``, and the public methods and properties of its classes.
"""

import importlib
import inspect
import pkgutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from numpydoc.validate import ERROR_MSGS, validate

import prunekit

# The lower floors serve the package, not users: there a sentence may do instead of sections.
INTERNAL = ("prunekit.tracing.", "prunekit.surgery.", "prunekit.cost.")
BRIEF = ("PR01", "RT01")


def public_modules() -> Iterator[ModuleType]:
    """Yield the package and every module of it without an underscore in its path."""
    yield prunekit
    for info in pkgutil.walk_packages(prunekit.__path__, "prunekit."):
        if "._" not in info.name:
            yield importlib.import_module(info.name)


def public_names() -> Iterator[str]:
    """Yield dotted names of functions, classes and what the classes define, each once."""
    seen = set()
    for module in public_modules():
        for name in getattr(module, "__all__", ()):
            item = getattr(module, name)
            if id(item) in seen or getattr(item, "_is_protocol", False):  # nobody constructs a protocol
                continue
            seen.add(id(item))
            if inspect.isclass(item) or inspect.isfunction(item):
                yield f"{module.__name__}.{name}"
            if inspect.isclass(item):
                for member, value in vars(item).items():
                    if member == "model_post_init":  # pydantic adds it to a model with private attributes
                        continue
                    if not member.startswith("_") and (inspect.isroutine(value) or isinstance(value, property)):
                        yield f"{module.__name__}.{name}.{member}"


def main() -> int:
    """Print every finding; return 1 if there is one."""
    settings = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())
    checks = set(settings["tool"]["numpydoc_validation"]["checks"])
    wanted = set(ERROR_MSGS) - checks
    names = sorted(public_names())
    findings = [
        f"{name}: {code} {text}"
        for name in names
        for code, text in validate(name)["errors"]
        if code in wanted and not (code in BRIEF and name.startswith(INTERNAL))
    ]
    sys.stdout.writelines(f"{finding}\n" for finding in findings)
    sys.stdout.write(f"{len(names)} docstrings checked, {len(findings)} findings.\n")
    return int(bool(findings))


if __name__ == "__main__":
    sys.exit(main())
