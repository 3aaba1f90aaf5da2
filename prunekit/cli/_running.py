"""The command `run`, and how it tells how far it is."""

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from tqdm import tqdm

from prunekit import __version__
from prunekit._words import STOP_REASONS, percent_text
from prunekit.cli._options import AsJson, Assignments, PipelineFile, Quiet
from prunekit.cli._output import command_output
from prunekit.pipeline import Experiment, Listener, RunResult, Split, load_experiment, run_experiment
from prunekit.pipeline.tables import comparison_table, frozen_note, layer_table
from prunekit.pruner import TaylorPruner


def run(
    file: PipelineFile,
    assignments: Assignments = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Output folder; runs/NAME if not given.", show_default=False),
    ] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """
    Train, prune and compare as FILE says, and write what comes out.

    Example: [bold]prunekit run pipelines/digits.yaml --out runs/first[/bold]
    """
    with command_output(as_json, quiet) as output:
        experiment = load_experiment(file, assignments or ())
        folder = out or Path("runs", experiment.name)
        if not output.is_for_people:
            result = run_experiment(experiment, folder)
            if as_json:
                output.data(_document(result))
            return
        output.show(Text(f"prunekit {__version__} · {file}", style="bold"))
        with closing(_TerminalListener(output.console, experiment)) as listener:
            result = run_experiment(experiment, folder, listener)
        _print_result(output.console, result)


def _document(result: RunResult) -> dict[str, Any]:
    """Return what is printed of a run as JSON."""
    return {
        "folder": result.folder,
        "files": result.files,
        "reduction": result.reduction,
        "stop_reason": result.stop_reason,
        "metrics": json.loads((result.folder / "metrics.json").read_text(encoding="utf-8")),
    }


class _TerminalListener(Listener):
    """Tells how far a run is: lines on the console, progress bars on the standard error if that is a terminal."""

    def __init__(self, console: Console, experiment: Experiment) -> None:
        super().__init__(verbose=int(sys.stderr.isatty()))
        self._console = console
        self._experiment = experiment
        self._bar: tqdm[Any] | None = None
        self._num_epochs, self._accuracy = 0, float("nan")
        self._watched = "accuracy" if experiment.net.task == "classification" else "loss"

    def on_data(self, split: Split) -> None:
        shape = "×".join(map(str, split.input_shape))
        self._say(
            "data",
            f"{self._experiment.data.source.name}, {len(split.y_train):,} training and {len(split.y_test):,} test "
            f"samples of {shape}, {_outputs_text(split)}",
        )
        if self._experiment.search is None:
            self._start_bar(self._experiment.net.max_epochs)

    def _start_bar(self, num_epochs: int) -> None:
        self._bar = tqdm(
            total=num_epochs,
            desc="Training",
            bar_format="{desc}: {n}/{total} epochs|{bar}| [{elapsed}<{remaining}{postfix}]",
            disable=not self.verbose,
            leave=False,
        )

    def on_epoch(self, epoch: int, accuracy: float) -> None:
        self._num_epochs, self._accuracy = epoch, accuracy
        if self._bar is not None:
            self._bar.set_postfix({self._watched: f"{accuracy:.4f}"}, refresh=False)
            self._bar.update()

    def on_search(self, num_candidates: int, best: dict[str, Any], score: float) -> None:
        words = ", ".join(f"{name} = {value}" for name, value in best.items())
        self._say("tune", f"{num_candidates} candidates, best {words}, mean score {score:.4f}")
        self._start_bar(int(best.get("estimator__max_epochs", self._experiment.net.max_epochs)))

    def on_prune(self) -> None:
        net = self._experiment.net
        self.close()
        value = percent_text(self._accuracy, 2) if net.task == "classification" else f"{self._accuracy:.4f}"
        self._say(
            "train",
            f"{net.module.name}, {self._num_epochs} epochs, validation {self._watched} {value}",
        )

    def on_measure(self, pruner: TaylorPruner) -> None:
        prune = self._experiment.prune
        self._say(
            "prune",
            f"{pruner.n_iterations_} iterations, {percent_text(pruner.reduction_)} of {prune.reduction_of} removed, "
            f"{STOP_REASONS[pruner.stop_reason_]}",
        )

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

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
    console.print(layer_table(result.layers))
    if note := frozen_note(result.layers):
        console.print(note, end="\n\n")
    console.print(comparison_table(result.comparison))
    console.print(Text(f"Written to {result.folder}", style="bold cyan"))
    files = Table.grid(padding=(0, 2, 0, 0))
    for name, what in result.files.items():
        files.add_row(f" {name}", Text(what, style="dim"))
    console.print(files)
