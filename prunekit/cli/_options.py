"""Arguments and options that several commands have, and what the shell completes for them."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from prunekit.pipeline._run_folders import is_run
from prunekit.pipeline.listing import KINDS

_MOST = 200
"""More candidates help nobody, and a shell that waits for them does harm."""


def complete_pipeline_file(incomplete: str) -> list[str]:
    """Return pipeline files that begin so; none: the shell goes on with its own completion of paths."""
    return _paths(incomplete, lambda path: path.suffix in (".yaml", ".yml") and path.is_file())


def complete_run(incomplete: str) -> list[str]:
    """Return folders of runs that begin so."""
    return _paths(incomplete, is_run)


def complete_target(incomplete: str) -> list[str]:
    """Return what `analyze` takes and begins so."""
    return complete_pipeline_file(incomplete) + complete_run(incomplete)


def complete_kind(incomplete: str) -> list[str]:
    """Return kinds of names that begin so."""
    return [kind for kind in KINDS if kind.startswith(incomplete)]


def _paths(incomplete: str, is_wanted: Callable[[Path], bool]) -> list[str]:
    """Return what is wanted in the folder that is being typed and one below, as the user would type it."""
    folder, _, _ = incomplete.rpartition("/")
    prefix = incomplete[: len(folder) + 1] if "/" in incomplete else ""
    begin = incomplete[len(prefix) :]
    above = Path(prefix or ".")
    try:
        near = sorted(path for path in above.glob(f"{_literal(begin)}*") if _is_shown(path, begin))[:_MOST]
        below = [path for one in near if one.is_dir() for path in sorted(one.glob("*"))[:_MOST] if _is_shown(path, "")]
        found = [path for path in (*near, *below) if is_wanted(path)]
    except OSError:
        return []
    return [prefix + path.relative_to(above).as_posix() for path in found[:_MOST]]


def _literal(text: str) -> str:
    """Return a pattern that matches a text as it stands."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)


def _is_shown(path: Path, begin: str) -> bool:
    return not path.name.startswith(".") or begin.startswith(".")


PipelineFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", help="Pipeline file (YAML).", show_default=False, autocompletion=complete_pipeline_file
    ),
]
RunFolder = Annotated[
    Path, typer.Argument(metavar="DIR", help="Folder of a run.", show_default=False, autocompletion=complete_run)
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Overrule a key of FILE, as in prune.target_reduction=0.7; can be given several times.",
        show_default=False,
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="Print one JSON document and nothing else, also of what goes wrong.")
]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Print errors and warnings only; with --json, JSON is printed all the same."),
]
Trusted = Annotated[
    list[str] | None,
    typer.Option(
        "--trust",
        metavar="PACKAGE",
        help="Package or module of your own that FILE may import; its code runs with your rights. "
        "Can be given several times.",
        show_default=False,
    ),
]


@contextmanager
def importing_from_here(trust: list[str] | None) -> Iterator[None]:
    """Let a trusted module lie in the current folder, where it can stand for none that is installed."""
    here = str(Path.cwd())
    added = bool(trust) and here not in sys.path
    if added:
        sys.path.append(here)  # worker processes of joblib start with the same path
    try:
        yield
    finally:
        if added:
            sys.path.remove(here)
