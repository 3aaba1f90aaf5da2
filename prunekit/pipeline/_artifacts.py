"""What an experiment asks to be drawn, exported and reported at the end."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from prunekit.analysis import (
    ConfusionChangeDisplay,
    HistoryDisplay,
    ImportanceDisplay,
    LayerReductionDisplay,
    PruningPathDisplay,
)
from prunekit.exceptions import MissingDependencyError, ParameterError
from prunekit.export import export_onnx, export_program
from prunekit.export._quiet import require
from prunekit.pipeline._building import exporters_of
from prunekit.pipeline._data import Split
from prunekit.pipeline._fitted import DENSE, NET, PRUNED, Fitted
from prunekit.pipeline._outputs import OutputFolder
from prunekit.pipeline._steps import ONNX
from prunekit.pipeline.schema import Experiment
from prunekit.reporting import collect_content, content_of_run, report, write_report

_NUM_EXAMPLES = 8
_DPI = 150

_PLOTS: dict[str, tuple[str, Callable[..., Any]]] = {
    "path": ("score against size, iteration by iteration", PruningPathDisplay.from_estimator),
    "layers": ("what each layer has lost", LayerReductionDisplay.from_estimator),
    "history": ("loss, score, size and time, iteration by iteration", HistoryDisplay.from_estimator),
    "importances": ("the importances of all units", ImportanceDisplay.from_estimator),
}


def check_packages(experiment: Experiment) -> None:
    """
    Check that the packages are there which outputs need, before anything is computed.

    Parameters
    ----------
    experiment : Experiment
        The experiment.

    Raises
    ------
    ParameterError
        If one is missing.
    """
    outputs = experiment.outputs
    wanted: list[tuple[str, tuple[str, ...], str]] = []
    if outputs.plots:
        wanted.append(("plots", ("matplotlib",), "plot"))
    steps = (experiment.steps or {}).values()
    if outputs.onnx or any(step.name == ONNX for step in steps):
        wanted.append(("onnx", ("onnx", "onnxscript", "onnxruntime"), "onnx"))
    for key, names, extra in wanted:
        try:
            require(names, extra, f"outputs.{key}")
        except MissingDependencyError as exc:
            raise ParameterError(str(exc)) from exc


def write_plots(output: OutputFolder, experiment: Experiment, fitted: Fitted, split: Split) -> None:
    """
    Draw the plots that the experiment asks for.

    Parameters
    ----------
    output : OutputFolder
        Where they go.
    experiment : Experiment
        Names the plots.
    fitted : Fitted
        What is drawn.
    split : Split
        The test samples, of which confusions are drawn.
    """
    if not experiment.outputs.plots:
        return
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    for name in experiment.outputs.plots:
        # The size is that of the displays' own figures; without pyplot, which belongs to the user.
        figure = Figure(figsize=_SIZES.get(name, (8, 5)), layout="constrained")
        FigureCanvasAgg(figure)
        if name == "confusion":
            what = "confusions of classes before and after"
            X = fitted.seen_by_last(split.X_test)
            axes = figure.subplots(1, 3)
            nets = fitted.nets
            ConfusionChangeDisplay.from_estimators(nets[DENSE], nets[PRUNED], X, split.y_test, ax=axes)
        else:
            what, draw = _PLOTS[name]
            axes = figure.subplots(2, 2).ravel() if name == "history" else figure.add_subplot()
            draw(fitted.path if name == "path" and fitted.path else fitted.pruner, ax=axes)
        form = experiment.outputs.plot_format
        # Neither dates nor random names, so that the same experiment gives the same file.
        with rc_context({"svg.hashsalt": experiment.name}):
            path = output.new(f"{name}.{form}", f"plot: {what}")
            metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(form)
            figure.savefig(path, dpi=_DPI, metadata=metadata)


_SIZES = {"confusion": (15, 5), "history": (12, 9)}


def write_exports(output: OutputFolder, experiment: Experiment, fitted: Fitted, split: Split) -> None:
    """
    Export the pruned net, as the outputs say and by the exporters among the steps.

    Parameters
    ----------
    output : OutputFolder
        Where the files go.
    experiment : Experiment
        Says what is exported.
    fitted : Fitted
        Has the net.
    split : Split
        Its test samples are what the exported files are run on.
    """
    X = _examples(fitted, split)
    outputs = experiment.outputs
    net = fitted.nets.get(PRUNED, fitted.nets.get(NET))
    if outputs.onnx:
        export_onnx(net, output.new(f"{_subject(fitted)}.onnx", "the net for ONNX Runtime, checked"), X)
    if outputs.program:
        export_program(net, output.new(f"{_subject(fitted)}.pt2", "the net as a torch.export program, checked"), X)
    for name, exporter in exporters_of(experiment):
        path = output.new(str(exporter.path), f"what the step '{name}' exports, checked")
        exporter.set_params(path=path, example_inputs=X).fit(net)


def write_run_report(output: OutputFolder, fitted: Fitted, experiment: Experiment, split: Split) -> None:
    """
    Write an HTML report on the run, whose other files are there.

    Parameters
    ----------
    output : OutputFolder
        Where it goes.
    fitted : Fitted
        What it is about.
    experiment : Experiment
        Its title and settings.
    split : Split
        For the shape of a sample.
    """
    path = output.staging / REPORT
    if fitted.pruner is None:
        report(fitted.nets[NET], path, _examples(fitted, split), title=experiment.name)
        return
    section = experiment.pruner
    settings = {} if section is None else section.model_dump(mode="json")
    own = collect_content(fitted.pruner, None, experiment.name)
    content = content_of_run(output.staging, own.network, settings)
    subject = content.subject.replace(str(output.staging), str(output.path))  # where the files will be
    write_report(replace(content, importances=own.importances, subject=subject), path)


REPORT = "report.html"


def _subject(fitted: Fitted) -> str:
    return PRUNED if PRUNED in fitted.nets else NET


def _examples(fitted: Fitted, split: Split) -> torch.Tensor:
    return torch.as_tensor(np.ascontiguousarray(fitted.seen_by_last(split.X_test[:_NUM_EXAMPLES])))
