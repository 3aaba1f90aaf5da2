"""The command `run`, and how it tells how far it is."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from prunekit import __version__
from prunekit._words import STOP_REASONS, percent_text
from prunekit.cli._options import AsJson, Assignments, PipelineFile, Quiet, Trusted, importing_from_here
from prunekit.cli._output import Output, command_output, tell
from prunekit.pipeline import (
    Experiment,
    Fitted,
    Listener,
    RunResult,
    Split,
    is_finished,
    load_experiment,
    run_experiment,
)
from prunekit.pipeline._run_folders import METRICS, read_json, read_marker
from prunekit.pipeline.tables import comparison_table, frozen_note, layer_table


def run(
    file: PipelineFile,
    assignments: Assignments = None,
    trust: Trusted = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Output folder; runs/NAME if not given.", show_default=False),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run that was ended; one that is finished stays as it is.")
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """
    Train, prune and compare as FILE says, and write what comes out.

    Example: [bold]prunekit run pipelines/digits.yaml --out runs/first[/bold]
    """
    with command_output(as_json, quiet) as output, importing_from_here(trust):
        experiment = load_experiment(file, assignments or (), trust or ())
        folder = out or Path("runs", experiment.name)
        if resume and is_finished(experiment, folder):
            output.line(f"Finished already: {folder}")
            if as_json:
                output.data({"folder": folder, **_results(folder)})
            return
        output.show(Text(f"prunekit {__version__} · {file}", style="bold"))
        listener = _TerminalListener(output.console, experiment) if output.is_for_people else Listener()
        try:
            result = run_experiment(experiment, folder, listener, resume=resume)
        except KeyboardInterrupt:
            if not as_json:
                tell("To go on", "bold yellow", "give the same command with --resume.")
            raise
        if as_json:
            output.data({"folder": folder, **_results(folder)})
        _print_result(output, result)


def _results(folder: Path) -> dict[str, Any]:
    """Return what is printed of a run as JSON."""
    metrics = read_json(folder / METRICS)
    return {
        "files": read_marker(folder)["files"],
        "reduction": metrics.get("reduction"),
        "stop_reason": metrics.get("stop_reason"),
        "metrics": metrics,
    }


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
        if trained is not None and net is not None and not net.frozen:
            self._say("train", f"{net.module.name}, {_epochs_text(trained.history)}")
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


def _epochs_text(history: Any) -> str:
    """Tell how long a net was trained, and what it reached on the validation samples."""
    last = history[-1] if len(history) else {}
    text = f"{len(history)} epochs"
    if "valid_acc" in last:
        return f"{text}, validation accuracy {percent_text(last['valid_acc'], 2)}"
    return f"{text}, validation loss {last['valid_loss']:.4f}" if "valid_loss" in last else text


def _outputs_text(split: Split) -> str:
    """Tell how many classes or targets there are."""
    word = "class" if split.task == "classification" else "target"
    plural = "" if split.num_classes == 1 else "es" if word == "class" else "s"
    return f"{split.num_classes} {word}{plural}"


def _print_result(output: Output, result: RunResult) -> None:
    """Print the tables and where the files are."""
    if not output.is_for_people:
        return
    console = output.console
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
