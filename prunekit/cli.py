"""The ``prunekit`` command."""

import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from prunekit import __version__
from prunekit._words import STOP_REASONS, percent_text
from prunekit.exceptions import ParameterError, PipelineFileError, PrunekitError
from prunekit.pipeline import Experiment, Listener, RunResult, Split, is_finished, load_experiment, run_experiment
from prunekit.pipeline._fitted import Fitted
from prunekit.pipeline.json_schema import experiment_schema
from prunekit.pipeline.listing import KINDS, registered_names
from prunekit.pipeline.reports import report_run
from prunekit.pipeline.tables import comparison_table, frozen_note, layer_table

__all__ = ["app"]

EXIT_FAILED = 1
EXIT_USAGE = 2

app = typer.Typer(
    help="Make trained PyTorch networks smaller by Taylor pruning.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

PipelineFile = Annotated[Path, typer.Argument(metavar="FILE", help="Pipeline file (YAML).", show_default=False)]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Overrule a key of FILE, as in prune.target_reduction=0.7; can be given several times.",
        show_default=False,
    ),
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
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


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


@app.command()
def run(
    file: PipelineFile,
    assignments: Assignments = None,
    trust: Trusted = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Output folder; runs/NAME if not given.", show_default=False),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was killed; one that is finished stays as it is.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")] = False,
) -> None:
    """
    Train, prune and compare as FILE says, and write what comes out.

    Example: [bold]prunekit run pipelines/digits.yaml --out runs/first[/bold]
    """
    with _errors_told(), _importing_from_here(trust):
        experiment = load_experiment(file, assignments or (), trust or ())
        folder = out or Path("runs", experiment.name)
        if resume and is_finished(experiment, folder):
            if not quiet:
                typer.echo(f"Finished already: {folder}")
            return
        if quiet:
            run_experiment(experiment, folder, resume=resume)
            return
        console = Console(highlight=False)
        console.print(Text(f"prunekit {__version__} · {file}", style="bold"))
        result = run_experiment(experiment, folder, _TerminalListener(console, experiment), resume=resume)
        _print_result(console, result)


@app.command()
def validate(file: PipelineFile, assignments: Assignments = None, trust: Trusted = None) -> None:
    """
    Check FILE without running it; every problem is told with its line.

    Example: [bold]prunekit validate pipelines/digits.yaml[/bold]
    """
    with _errors_told(), _importing_from_here(trust):
        load_experiment(file, assignments or (), trust or ())
    typer.echo(f"{file}: valid.")


@app.command()
def show(file: PipelineFile, assignments: Assignments = None, trust: Trusted = None, as_json: AsJson = False) -> None:
    """
    Print FILE with its includes, variables and all defaults written out.

    Example: [bold]prunekit show pipelines/digits.yaml --set prune.target_reduction=0.7[/bold]
    """
    with _errors_told(), _importing_from_here(trust):
        resolved = load_experiment(file, assignments or (), trust or ()).resolved()
    if as_json:
        typer.echo(json.dumps(resolved, indent=2, ensure_ascii=False))
        return
    typer.echo(yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True), nl=False)


@app.command()
def schema(
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="File to write.", show_default=False)
    ] = None,
) -> None:
    """
    Print what a file may hold as JSON Schema, by which editors complete and check it.

    Example: [bold]prunekit schema --out prunekit.schema.json[/bold]
    """
    text = f"{json.dumps(experiment_schema(), indent=2, ensure_ascii=False)}\n"
    if out is None:
        typer.echo(text, nl=False)
        return
    with _errors_told():
        try:
            out.write_text(text, encoding="utf-8")
        except OSError as exc:
            raise ParameterError(f"The file {out} cannot be written: {exc.strerror}.") from exc
    typer.echo(f"Written to {out}")


@app.command("list")
def list_names(
    kind: Annotated[
        str | None,
        typer.Argument(metavar="[KIND]", help=f"Of which kind: {', '.join(KINDS)}.", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """
    List the names that a file may use, with a line and the options of each; those with * must be given.

    Example: [bold]prunekit list optimizer[/bold]
    """
    with _errors_told():
        names = registered_names(kind)
    if as_json:
        typer.echo(json.dumps([asdict(named) for named in names], indent=2, ensure_ascii=False))
        return
    console = Console(highlight=False)
    width = max(len(named.name) for named in names)
    for of_kind, of_one_kind in groupby(names, key=lambda named: named.kind):
        console.print(Text(of_kind, style="bold cyan"))
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(min_width=width + 2, no_wrap=True)
        for named in of_one_kind:
            lines = [Text(named.summary)]
            if named.options:
                lines.append(Text(", ".join(named.options), style="dim"))
            table.add_row(f"  {named.name}", Text("\n").join(lines))
        console.print(table)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of a run.", show_default=False)],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="File to write; DIR/report.html if not given.", show_default=False
        ),
    ] = None,
    title: Annotated[
        str | None,
        typer.Option("--title", help="Heading; the name of the experiment if not given.", show_default=False),
    ] = None,
    trust: Trusted = None,
) -> None:
    """
    Write an HTML report on the run in DIR: one file that needs no network.

    Example: [bold]prunekit report runs/digits --out digits.html[/bold]
    """
    with _errors_told(), _importing_from_here(trust):
        path = report_run(folder, out, title, trust or ())
    typer.echo(f"Written to {path}")


@contextmanager
def _errors_told() -> Iterator[None]:
    """Tell warnings without their place in the code, and turn the package's errors into a message and an exit code."""
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            yield
        except PrunekitError as exc:
            _tell("Error", "bold red", str(exc))
            is_usage = isinstance(exc, (PipelineFileError, ParameterError))
            raise typer.Exit(EXIT_USAGE if is_usage else EXIT_FAILED) from exc


@contextmanager
def _importing_from_here(trust: list[str] | None) -> Iterator[None]:
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


def _show_warning(message: Warning | str, *place: Any, **more: Any) -> None:
    """Stand in for `warnings.showwarning`."""
    _tell("Warning", "bold yellow", str(message))


def _tell(kind: str, style: str, text: str) -> None:
    """Print a message to the standard error."""
    Console(stderr=True, highlight=False, soft_wrap=True).print(Text.assemble((f"{kind}: ", style), text))


class _TerminalListener(Listener):
    """Tells how far a run is: lines on the console; of the fit its own bar, or lines of the log."""

    def __init__(self, console: Console, experiment: Experiment) -> None:
        super().__init__(verbose=1)
        self._console = console
        self._experiment = experiment

    def on_data(self, split: Split) -> None:
        shape = "×".join(map(str, split.input_shape))
        self._say(
            "data",
            f"{self._experiment.data.source.name}, {len(split.y_train):,} training and {len(split.y_test):,} test "
            f"samples of {shape}, {_outputs_text(split)}",
        )

    def on_search(self, num_candidates: int, best: dict[str, Any], score: float) -> None:
        words = ", ".join(f"{name} = {value}" for name, value in best.items())
        self._say("tune", f"{num_candidates} candidates, best {words}, mean score {score:.4f}")

    def on_fitted(self, fitted: Fitted) -> None:
        trained = fitted.nets.get("dense", fitted.nets.get("net"))
        net = self._experiment.net
        if trained is not None and net is not None:
            last = trained.history[-1] if len(trained.history) else {}
            watched = {"valid_acc": "accuracy", "valid_loss": "loss"}
            key = next((key for key in watched if key in last), "")
            value = percent_text(last[key], 2) if key == "valid_acc" else f"{last[key]:.4f}" if key else ""
            reached = f", validation {watched[key]} {value}" if key else ""
            self._say("train", f"{net.module.name}, {len(trained.history)} epochs{reached}")
        if fitted.pruner is not None:
            pruner = fitted.pruner
            self._say(
                "prune",
                f"{pruner.n_iterations_} iterations, {percent_text(pruner.reduction_)} of {pruner.reduction_of} "
                f"removed, {STOP_REASONS[pruner.stop_reason_]}",
            )

    def _say(self, what: str, text: str) -> None:
        line = Table.grid(padding=(0, 2, 0, 0))
        line.add_column(width=5)
        line.add_row(Text(what, style="bold cyan"), Text(text))
        self._console.print(line)


def _outputs_text(split: Split) -> str:
    """Tell how many classes or targets there are."""
    word = "class" if split.task == "classification" else "target"
    plural = "" if split.num_classes == 1 else "es" if word == "class" else "s"
    return f"{split.num_classes} {word}{plural}"


def _print_result(console: Console, result: RunResult) -> None:
    """Print the tables and where the files are."""
    console.print()
    if result.layers is not None:
        console.print(layer_table(result.layers))
        if note := frozen_note(result.layers):
            console.print(note, end="\n\n")
    console.print(comparison_table(result.comparison))
    console.print(Text(f"Written to {result.folder}", style="bold cyan"))
    files = Table.grid(padding=(0, 2, 0, 0))
    for name, what in result.files.items():
        files.add_row(f" {name}", Text(what, style="dim"))
    console.print(files)
