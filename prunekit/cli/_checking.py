"""Commands on pipeline files that run nothing: validate, show, list, schema."""

import json
from dataclasses import asdict
from itertools import groupby
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.table import Table
from rich.text import Text

from prunekit.cli._diagram import diagram_tree
from prunekit.cli._options import (
    AsJson,
    Assignments,
    PipelineFile,
    Quiet,
    Trusted,
    complete_kind,
    importing_from_here,
)
from prunekit.cli._output import EXIT_USAGE, Output, command_output, problem_record, write_text
from prunekit.exceptions import PipelineFileError, PrunekitError
from prunekit.pipeline import Experiment, Split, load_experiment
from prunekit.pipeline._unfitted import data_of, unfitted
from prunekit.pipeline.diagrams import diagram_html, diagram_of
from prunekit.pipeline.json_schema import experiment_schema
from prunekit.pipeline.listing import KINDS, Named, registered_names


def validate(
    file: PipelineFile,
    assignments: Assignments = None,
    trust: Trusted = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """
    Check FILE without running it; every problem is told with its line.

    Example: [bold]prunekit validate pipelines/digits.yaml[/bold]
    """
    with command_output(as_json, quiet) as output, importing_from_here(trust):
        try:
            load_experiment(file, assignments or (), trust or ())
        except PipelineFileError as exc:
            if not as_json:
                raise
            output.data({"valid": False, "problems": [problem_record(problem, file) for problem in exc.problems]})
            raise typer.Exit(EXIT_USAGE) from exc
        output.data({"valid": True, "problems": []})
        output.line(f"{file}: valid.")


def show(
    file: PipelineFile,
    assignments: Assignments = None,
    trust: Trusted = None,
    diagram: Annotated[
        bool, typer.Option("--diagram/--no-diagram", help="Begin with the estimator, as comments of the file.")
    ] = True,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", help="Write scikit-learn's diagram of the estimator.", show_default=False
        ),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """
    Print FILE with its includes, variables and all defaults written out, and the estimator that it describes.

    Example: [bold]prunekit show pipelines/digits.yaml --set prune.target_reduction=0.7 --html digits.html[/bold]
    """
    with command_output(as_json, quiet) as output, importing_from_here(trust):
        experiment = load_experiment(file, assignments or (), trust or ())
        resolved = experiment.resolved()
        output.data(resolved)
        if html is not None:
            split, _ = _data_if_there(experiment)
            write_text(html, diagram_html(unfitted(experiment, split), experiment.name))
        if output.is_for_people:
            if diagram:
                _show_diagram(output, experiment)
            output.line(yaml.safe_dump(resolved, sort_keys=False, allow_unicode=True), newline=False)


def list_names(
    kind: Annotated[
        str | None,
        typer.Argument(
            metavar="[KIND]",
            help=f"Of which kind: {', '.join(KINDS)}.",
            show_default=False,
            autocompletion=complete_kind,
        ),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """
    List the names that a file may use, with a line and the options of each; those with * must be given.

    Example: [bold]prunekit list optimizer[/bold]
    """
    with command_output(as_json, quiet) as output:
        names = registered_names(kind)
        output.data([asdict(named) for named in names])
        if output.is_for_people:
            _show_names(output.console, names)


def schema(
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="File to write.", show_default=False)
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """
    Print what a file may hold as JSON Schema, by which editors complete and check it.

    Example: [bold]prunekit schema --out prunekit.schema.json[/bold]
    """
    with command_output(as_json, quiet) as output:
        text = f"{json.dumps(experiment_schema(), indent=2, ensure_ascii=False)}\n"
        if out is not None:
            write_text(out, text)
            output.written(out)
        elif as_json or output.is_for_people:
            typer.echo(text, nl=False)


def _show_diagram(output: Output, experiment: Experiment) -> None:
    """Print the estimator as comments, so that what is printed stays a pipeline file."""
    split, problem = _data_if_there(experiment)
    tree = diagram_tree(diagram_of(unfitted(experiment, split)))
    comment = Text("# ", style="dim")
    if problem:
        lines = problem.splitlines()
        output.console.print(comment + Text(f"The shape of a sample is not known: {lines[0]}"), soft_wrap=True)
    for line in tree:
        output.console.print(comment + line, soft_wrap=True)
    output.line("")


def _data_if_there(experiment: Experiment) -> tuple[Split | None, str]:
    """Return the data, or None and why they cannot be loaded."""
    try:
        return data_of(experiment), ""
    except (PrunekitError, OSError) as exc:
        return None, str(exc)


def _show_names(console: Console, names: list[Named]) -> None:
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
