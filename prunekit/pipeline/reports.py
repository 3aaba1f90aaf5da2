"""A report on a run, from the folder that it wrote."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError

from prunekit.exceptions import ParameterError, PipelineFileError, PrunekitError
from prunekit.io import load
from prunekit.pipeline._unfitted import data_of, dense_module, example_of, unfitted
from prunekit.pipeline.loading import load_experiment
from prunekit.pipeline.schema import Experiment
from prunekit.reporting import content_of_run, write_report
from prunekit.tracing import Inputs, NetworkMap, UnitGraph, map_network, trace

__all__ = ["report_run"]


def report_run(
    folder: str | Path, path: str | Path | None = None, title: str | None = None, trust: Sequence[str] = ()
) -> Path:
    """
    Write an HTML report on a run.

    Parameters
    ----------
    folder : str or Path
        Folder that `run_experiment` wrote.
    path : str or Path, default=None
        File to write; ``report.html`` in the folder if it is not given.
    title : str, default=None
        Heading; the name of the experiment if it is not given.
    trust : sequence of str, default=()
        Packages whose code may run, as for `load_experiment`. The report on a network of the user's own code comes
        without its graph where that is not trusted.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ParameterError
        If it is no folder of a run, a file in it is broken, or the report cannot be written.

    Notes
    -----
    The layer table, history, accuracies, latencies, plan and versions are read from the folder. The graph is that of
    the network that ``experiment.yaml`` names, with the weights of ``pruned.safetensors``; where the data,
    which tell the shape of a sample, are no longer there, the report comes without it. No file holds the importances
    of the units.
    """
    where = Path(folder)
    if not where.is_dir():
        raise ParameterError(f"The folder of a report must be one that 'prunekit run' wrote. Got {where} instead.")
    experiment, network, why = None, None, "The folder holds no experiment.yaml that could be read."
    try:
        experiment = load_experiment(where / "experiment.yaml", trust=trust)
        if experiment.search is not None:
            experiment = load_experiment(where / "best.yaml", trust=trust)
        network = _rebuild(experiment, where)
    except (PrunekitError, OSError, SafetensorError) as exc:
        if not isinstance(exc, PipelineFileError):
            why = f"The network could not be built again: {exc}"
    section = None if experiment is None else experiment.pruner
    settings = {} if section is None else section.model_dump(mode="json")
    content = content_of_run(where, network, settings, why)
    if title is not None:
        content = replace(content, title=title)
    return write_report(content, where / "report.html" if path is None else path)


def _rebuild(experiment: Experiment, folder: Path) -> NetworkMap:
    """Return the connections of the pruned network."""
    split = data_of(experiment)
    estimator = unfitted(experiment, split)
    pruned = load(folder / "pruned.safetensors", dense_module(estimator))
    example = example_of(estimator, split)
    return map_network(UnitGraph(trace(pruned, Inputs.of(example))), pruned)
