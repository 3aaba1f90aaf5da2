"""Commands on what is there already: analyze, compare, report."""

from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from prunekit.cli._analysis_tables import analysis_tables
from prunekit.cli._comparison_tables import metric_tables, settings_table
from prunekit.cli._options import (
    AsJson,
    Assignments,
    Quiet,
    RunFolder,
    Trusted,
    complete_run,
    complete_target,
    importing_from_here,
)
from prunekit.cli._output import Output, command_output, tell, write_table
from prunekit.pipeline.analyzing import Level, analyze_target
from prunekit.pipeline.comparing import RunsComparison, compare_runs
from prunekit.pipeline.reports import report_run

OutTable = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FILE",
        help="Write a .csv or .json file in place of printing.",
        show_default=False,
    ),
]


def analyze(
    target: Annotated[
        Path,
        typer.Argument(
            metavar="TARGET",
            help="Pipeline file, folder of a run, or saved net (.safetensors).",
            show_default=False,
            autocompletion=complete_target,
        ),
    ],
    level: Annotated[Level, typer.Option("--level", help="What a row is; reason with --compression only.")] = "layer",
    compression: Annotated[
        bool, typer.Option("--compression", help="What could be removed at most, what blocks the rest, what to change.")
    ] = False,
    assignments: Assignments = None,
    experiment: Annotated[
        Path | None,
        typer.Option(
            "--experiment",
            metavar="FILE",
            help="For a saved net: the pipeline file whose network was pruned; that of its run if not given.",
            show_default=False,
        ),
    ] = None,
    trust: Trusted = None,
    out: OutTable = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """
    Show a network layer by layer: what it costs, what could be pruned, what blocks the rest, what pruning removed.

    Of a pipeline file it is the dense network before any training.
    Its data are loaded, for they tell the shape of a sample.

    Example: [bold]prunekit analyze pipelines/vit.yaml --compression[/bold]
    """
    with command_output(as_json, quiet) as output, importing_from_here(trust):
        table = analyze_target(
            target,
            level,
            compression=compression,
            assignments=assignments or (),
            experiment=experiment,
            trust=trust or (),
        )
        content = {"target": str(target), **table.attrs, "rows": table}
        if _wrote(output, out, table, content):
            return
        output.data(content)
        if output.is_for_people:
            output.show(*analysis_tables(table, compression, output.console.width))


def compare(
    folders: Annotated[
        list[Path],
        typer.Argument(
            metavar="DIR DIR...", help="Folders of runs, two or more.", show_default=False, autocompletion=complete_run
        ),
    ],
    out: OutTable = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """
    Show runs side by side: what differs in their experiments, and in what came out; the first is what others refer to.

    Example: [bold]prunekit compare runs/digits runs/smaller[/bold]
    """
    with command_output(as_json, quiet) as output:
        comparison = compare_runs(folders)
        if _wrote(output, out, comparison.metrics, _document(comparison)):
            return
        output.data(_document(comparison))
        if not as_json:
            for warning in comparison.warnings:
                tell("Warning", "bold yellow", warning)
        if output.is_for_people:
            output.show(*settings_table(comparison), *metric_tables(comparison, output.console.width))


def report(
    folder: RunFolder,
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
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """
    Write an HTML report on the run in DIR: one file that needs no network.

    Example: [bold]prunekit report runs/digits --out digits.html[/bold]
    """
    with command_output(as_json, quiet) as output, importing_from_here(trust):
        output.written(report_run(folder, out, title, trust or ()))


def _wrote(output: Output, out: Path | None, table: pd.DataFrame, content: Any) -> bool:
    """Write to a file if one is given, and tell whether one is."""
    if out is not None:
        write_table(out, table, content)
        output.written(out)
    return out is not None


def _document(comparison: RunsComparison) -> dict[str, Any]:
    """Return a comparison as plain values; of a setting a run has no value where it has no such key."""
    runs = comparison.settings.columns
    settings = {
        key: {run: value for run, value in zip(runs, row, strict=True) if value is not pd.NA}
        for key, row in zip(comparison.settings.index, comparison.settings.to_numpy(), strict=True)
    }
    return {
        "runs": comparison.runs.reset_index(),
        "settings": settings,
        "metrics": comparison.metrics,
        "warnings": comparison.warnings,
    }
