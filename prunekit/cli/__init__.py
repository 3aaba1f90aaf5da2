"""The ``prunekit`` command."""

from typing import Annotated

import typer

from prunekit import __version__
from prunekit.cli import _checking, _results, _running

__all__ = ["app"]

_EPILOG = (
    "Exit codes: 0 success, 1 something failed while it ran, 2 a wrong file, folder or argument, 130 Ctrl-C. "
    "With --json, what goes wrong is printed as JSON, too."
)

app = typer.Typer(
    help="Make trained PyTorch networks smaller by Taylor pruning.",
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"prunekit {__version__}")
        raise typer.Exit


@app.callback()
def _prunekit(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None: ...


for _name, _command in (
    ("run", _running.run),
    ("validate", _checking.validate),
    ("show", _checking.show),
    ("analyze", _results.analyze),
    ("compare", _results.compare),
    ("report", _results.report),
    ("list", _checking.list_names),
    ("schema", _checking.schema),
):
    app.command(_name)(_command)
