"""What to say of imports and dotted names that are wrong."""

import sys
from collections.abc import Callable
from typing import Any

from prunekit.pipeline._problems import either, near_match, shown
from prunekit.pipeline._section import UNKNOWN_NAME


def _no_such_name(ctx: dict[str, Any]) -> str:
    near = f" {near_match(ctx['part'], ctx['known'])}" if ctx["known"] else ""
    return f"'{ctx['owner']}' has no public {ctx['kind']} named '{ctx['part']}'.{near}"


def _wrong_kind(ctx: dict[str, Any]) -> str:
    fitting = f" '{ctx['owner']}' has {', '.join(ctx['known'])}." if ctx["known"] else ""
    return f"must be {ctx['wanted']}. {shown(ctx['got'])} is {ctx['found']} instead.{fitting}"


def _untrusted(ctx: dict[str, Any]) -> str:
    trusted = f" Trusted so far: {', '.join(ctx['trusted'])}." if ctx["trusted"] else ""
    return (
        f"the package '{ctx['package']}' is not trusted, so nothing was imported. Add --trust {ctx['package']} if you "
        f"trust its code; it runs with your rights.{trusted}"
    )


def _not_imported(ctx: dict[str, Any]) -> str:
    module = ctx["got"].rpartition(".")[0]
    fix = (
        f"Add 'imports: [{module}]' at the top of the file, and --trust {module.partition('.')[0]} if you trust its "
        "code; it runs with your rights."
    )
    if module.partition(".")[0] in sys.stdlib_module_names:
        fix = "Name something of a package of your own."
    if ctx["near"]:
        fix = f"Did you mean {either(ctx['near'])}?"
    return f"{shown(ctx['got'])} is below no module that the file imports. {fix}"


def _defined_elsewhere(ctx: dict[str, Any]) -> str:
    package = ctx["definer"].partition(".")[0]
    fix = "Name something that your package defines."
    if package not in sys.stdlib_module_names and package != "None":
        fix = f"Add --trust {package} if you trust its code; it runs with your rights."
    return f"'{ctx['at']}' is not of a trusted package, but of {ctx['definer']}. {fix}"


SENTENCES: dict[str, Callable[[dict[str, Any]], str]] = {
    "no_module_name": lambda ctx: (
        "must be the name of a module, such as mylab.nets, of which no part begins with '_'. "
        f"Got {shown(ctx['got'])} instead."
    ),
    "standard_library": lambda ctx: (
        f"'{ctx['package']}' is of Python's standard library, which has nothing that a pipeline file can use. "
        "Remove it, or rename the module if it is yours."
    ),
    "untrusted": _untrusted,
    "no_module": lambda ctx: (
        f"there is no module {shown(ctx['got'])}, neither installed nor in the current folder."
        + (f" {near_match(ctx['got'], ctx['known'])}" if ctx["known"] else "")
    ),
    "import_failed": lambda ctx: f"{shown(ctx['got'])} cannot be imported, for it raised {ctx['raised']}.",
    "not_imported": _not_imported,
    "private_name": lambda ctx: (
        f"must be a public name, of which no part begins with '_' or a digit. Got {shown(ctx['got'])} instead."
    ),
    "defined_elsewhere": _defined_elsewhere,
    "no_such_name": _no_such_name,
    "wrong_kind": _wrong_kind,
    "cannot_be_given": lambda ctx: f"{shown(ctx['got'])} cannot be used: {ctx['why']}.",
}
"""What to say of each type of error."""

NAME_ERRORS = frozenset(
    (
        *(UNKNOWN_NAME, "not_imported", "private_name", "no_such_name"),
        *("defined_elsewhere", "wrong_kind", "cannot_be_given"),
    )
)
"""Errors about the name of a mapping, which may also stand there by itself."""
