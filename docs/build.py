"""
Build the documentation and check what came out: ``python docs/build.py OUT``.

Warnings are errors. The process cannot reach another host while it builds. Afterwards every public name has its page,
the gallery has its figures, and no page loads anything from elsewhere.
"""

import argparse
import importlib
import re
import shutil
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from sphinx.cmd.build import build_main

DOCS = Path(__file__).parent.resolve()
EXAMPLES = DOCS.parent / "examples"
MODULES = ["prunekit"] + [
    f"prunekit.{name}" for name in ("exceptions", "importance", "pipeline", "schedules", "search")
]
MADE = ["api/generated", "api/backreferences", "auto_examples", "results"]
"""Folders that a build makes beside the sources; they are made anew."""

LOADED = {
    "script": ("src",),
    "img": ("src", "srcset"),
    "iframe": ("src", "srcdoc"),
    "source": ("src", "srcset"),
    "audio": ("src",),
    "video": ("src", "poster"),
    "embed": ("src",),
    "object": ("data",),
    "input": ("src",),
    "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"),
}
"""Elements and the attributes by which they load something."""

ELSEWHERE = re.compile(r"^\s*(?:[a-z][a-z0-9+.-]*:)?//", re.IGNORECASE)
STYLE_LOADS = re.compile(r"url\(\s*['\"]?([^)'\"]+)|@import\s+['\"]([^'\"]+)", re.IGNORECASE)
LOCAL_HOSTS = {"localhost", "127.0.0.1", "::1", ""}


class NetworkError(OSError):
    """The build asked for something of another host."""


@contextmanager
def no_network() -> Iterator[None]:
    """Refuse connections to other hosts, and the questions for their addresses."""
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def check(host: Any) -> None:
        if isinstance(host, bytes):
            host = host.decode()
        if host is not None and host not in LOCAL_HOSTS:
            raise NetworkError(f"the build asked for {host}")

    def guarded(method: Any) -> Any:
        def call(self: socket.socket, address: Any) -> Any:
            if self.family in {socket.AF_INET, socket.AF_INET6}:
                check(address[0])
            return method(self, address)

        return call

    def guarded_getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        check(host)
        return getaddrinfo(host, *args, **kwargs)

    socket.socket.connect, socket.socket.connect_ex = guarded(connect), guarded(connect_ex)  # type: ignore[method-assign]
    socket.getaddrinfo = guarded_getaddrinfo
    try:
        yield
    finally:
        socket.socket.connect, socket.socket.connect_ex = connect, connect_ex  # type: ignore[method-assign]
        socket.getaddrinfo = getaddrinfo


class Loads(HTMLParser):
    """What a page loads by itself; what a reader may follow, as links, is no matter."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self._in_style = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        names = LOADED.get(tag, ())
        if tag == "link" and not {"next", "prev", "canonical", "index", "search", "author"} & set(
            values.get("rel", "").split()
        ):
            names = ("href",)
        for name in names:
            if name == "srcdoc" and name in values:
                self.addresses += loads(values[name])
            elif name == "srcset":
                self.addresses += [part.split()[0] for part in values.get(name, "").split(",") if part.strip()]
            elif name in values:
                self.addresses.append(values[name])
        self.addresses += style_loads(values.get("style", ""))
        self._in_style = tag == "style"

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.addresses += style_loads(data)

    def handle_endtag(self, tag: str) -> None:
        self._in_style = False


def loads(page: str) -> list[str]:
    parser = Loads()
    parser.feed(page)
    return parser.addresses


def style_loads(style: str) -> list[str]:
    return [first or second for first, second in STYLE_LOADS.findall(style)]


def missing_pages(site: Path) -> list[str]:
    """Public names without a page."""
    top = importlib.import_module("prunekit")
    problems = []
    for module in map(importlib.import_module, MODULES):
        for name in module.__all__:
            full = f"prunekit.{name}" if name in top.__all__ else f"{module.__name__}.{name}"
            page = site / "api" / "generated" / f"{full}.html"
            anchors = (f'id="{full}"', f'id="module-{full}"')
            if not page.is_file() or not any(anchor in page.read_text(encoding="utf-8") for anchor in anchors):
                problems.append(f"{module.__name__}.{name} has no page {page.relative_to(site)}")
    return problems


def missing_figures(site: Path) -> list[str]:
    """Examples without a page, or without any figure, or figures that are not there."""
    if not (EXAMPLES / "README.rst").is_file():
        return []
    problems = []
    for script in sorted(EXAMPLES.glob("[0-9][0-9]_*.py")):
        page = site / "auto_examples" / f"{script.stem}.html"
        if not page.is_file():
            problems.append(f"{script.name} has no page")
            continue
        figures = [a for a in loads(page.read_text(encoding="utf-8")) if f"sphx_glr_{script.stem}_" in a]
        problems += [f"{page.name}: no {figure}" for figure in figures if not (page.parent / figure).is_file()]
        if "pyplot" in script.read_text(encoding="utf-8") or "Display" in script.read_text(encoding="utf-8"):
            problems += [] if figures else [f"{script.name} has no figure"]
    return problems


def foreign_loads(site: Path) -> list[str]:
    """Pages and styles that load something from another host."""
    problems = []
    for file in sorted(site.rglob("*")):
        if file.suffix == ".html":
            addresses = loads(file.read_text(encoding="utf-8"))
        elif file.suffix == ".css":
            addresses = style_loads(file.read_text(encoding="utf-8"))
        else:
            continue
        problems += [f"{file.relative_to(site)} loads {a}" for a in addresses if ELSEWHERE.match(a)]
    return problems


def main() -> int:
    parser = argparse.ArgumentParser(description="Build the documentation and check what came out.")
    parser.add_argument("out", type=Path, help="folder for the pages; an old one of the same name is replaced")
    out = parser.parse_args().out.resolve()
    if out.exists() and any(out.iterdir()) and not (out / "searchindex.js").is_file():
        sys.exit(f"{out} holds something else than pages of an earlier build.")
    for folder in [out, *(DOCS / name for name in MADE)]:
        shutil.rmtree(folder, ignore_errors=True)
    with no_network():
        failed = build_main(
            ["-W", "--keep-going", "-n", "-q", "-b", "html", "-d", f"{out}.doctrees", f"{DOCS}", f"{out}"]
        )
    shutil.rmtree(f"{out}.doctrees", ignore_errors=True)
    if failed:
        return failed
    problems = missing_pages(out) + missing_figures(out) + foreign_loads(out)
    print(*problems, sep="\n", file=sys.stderr)
    pages = len(list(out.rglob("*.html")))
    print(f"{pages} pages in {out}, {len(problems)} problems")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
