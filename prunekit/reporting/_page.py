"""Fill the template and write the file."""

import base64
import hashlib
from datetime import UTC, datetime
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

from markupsafe import Markup

from prunekit._files import checked_path, write_atomically
from prunekit.reporting._content import ReportContent
from prunekit.reporting._plots import plot_importances, plot_path
from prunekit.reporting._view import history_table, layer_columns, layer_rows, make_cards, plan_rows, script_data

_SCRIPTS = ("vendor/dagre.min.js", "page.js", "layout.js", "tree.js", "picture.js", "selection.js", "graph.js")


def render(content: ReportContent) -> str:
    """
    Return the page.

    Parameters
    ----------
    content : ReportContent
        What it says.

    Returns
    -------
    str
        An HTML document. Everything in the content is escaped.
    """
    columns = layer_columns(content.is_pruned)
    rows = layer_rows(content)
    history_columns, history_rows = history_table(content)
    filters = content.table[content.table["num_filters"] + content.table["num_pruned_filters"] > 0]
    scripts = [_asset(name) for name in _SCRIPTS]
    page: str = _template().render(
        content=content,
        cards=make_cards(content),
        columns=columns,
        rows=rows,
        history_columns=history_columns,
        history_rows=history_rows,
        filters=filters.to_dict("records"),
        most_filters=max([1, *(filters["num_filters"] + filters["num_pruned_filters"])]),
        path=plot_path(content),
        importances=plot_importances(content.importances),
        plan=plan_rows(content.plan),
        data=script_data(content, columns, rows),
        style=Markup(_asset("report.css")),
        scripts=[Markup(script) for script in scripts],
        hashes=[_hash(script) for script in scripts],
        licence=_asset("vendor/dagre.LICENSE.txt").strip(),
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    return page


def write_report(content: ReportContent, path: str | Path) -> Path:
    """
    Write a report.

    Parameters
    ----------
    content : ReportContent
        What it says.
    path : str or Path
        The file; an old one is replaced once the new one is whole.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    FileAccessError
        If the file cannot be written.
    ParameterTypeError
        If it is no path.
    """
    target = checked_path(path)
    write_atomically(target, render(content).encode("utf-8", "replace"))
    return target


@lru_cache(maxsize=1)
def _template() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined  # not whenever prunekit is imported

    environment = Environment(
        loader=PackageLoader("prunekit.reporting", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment.get_template("report.html.jinja")


@lru_cache(maxsize=16)
def _asset(name: str) -> str:
    """Return a file of the package; a newline at both ends keeps it readable in the page."""
    text = (resources.files("prunekit.reporting") / "assets" / name).read_text(encoding="utf-8")
    return f"\n{text.strip()}\n"


def _hash(script: str) -> str:
    """Return what a content security policy knows a script by."""
    return base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode("ascii")
