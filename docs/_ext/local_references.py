"""
Names and files that the sources name in their own way.

In docstrings a name stands between single backticks. Where it is documented it becomes a link, otherwise it is shown as
code. Roles that say what they mean, as ``{py:class}`` on a page, are checked by sphinx as everywhere.
"""

import inspect
import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer
from sphinx.roles import XRefRole

PACKAGE = "prunekit"

RESULTS = "benchmarks/results"
"""What benchmarks wrote: Markdown beside the documentation, which becomes pages of the site."""


class NameRole(XRefRole):
    """A name between single backticks."""

    def process_link(
        self, env: BuildEnvironment, refnode: nodes.Element, has_explicit_title: bool, title: str, target: str
    ) -> tuple[str, str]:
        refnode["refdomain"], refnode["reftype"] = "py", "obj"
        refnode["py:module"] = env.ref_context.get("py:module")
        refnode["py:class"] = env.ref_context.get("py:class")
        refnode["refspecific"] = True
        refnode["name_role"] = True
        return title, target.removesuffix("()")


def keep_as_code(app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: nodes.Element) -> Any:
    """Show a name as code if nothing is documented by it."""
    return contnode if node.get("name_role") else None


def find_attribute_docs(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Take the docstring below a constant from the private module that defines it."""
    if what != "data":
        return
    package, _, attribute = name.rpartition(".")
    modules = [module for module in sys.modules if module == package or module.startswith(f"{package}._")]
    for module in modules:
        docs = ModuleAnalyzer.for_module(module).find_attr_docs()
        if ("", attribute) in docs:
            lines[:] = docs["", attribute]
            return


def skip_foreign(app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what other packages give to a class: `torch.nn.Module` alone has fifty methods."""
    function = inspect.unwrap(getattr(obj, "fget", getattr(obj, "fn", obj)))
    return (
        True
        if inspect.isroutine(function) and not str(getattr(function, "__module__", None)).startswith(PACKAGE)
        else None
    )


def copy_results(app: Sphinx) -> None:
    """Take the tables of the benchmarks into the site."""
    pages = Path(app.srcdir) / "results"
    pages.mkdir(exist_ok=True)
    for file in sorted((Path(app.srcdir).parent / RESULTS).glob("*.md")):
        (pages / file.name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")


def link_results(app: Sphinx, docname: str, source: list[str]) -> None:
    """Let links to these tables, which hold in the repository, lead to their pages."""
    source[0] = re.sub(rf"\]\((?:\.\./)+{RESULTS}/", "](/results/", source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_role("name", NameRole(innernodeclass=nodes.literal))
    app.connect("missing-reference", keep_as_code)
    app.connect("builder-inited", copy_results)
    app.connect("source-read", link_results)
    app.connect("autodoc-skip-member", skip_foreign)
    app.connect("autodoc-process-docstring", find_attribute_docs)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
