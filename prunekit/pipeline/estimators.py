"""Pipeline files as scikit-learn estimators, and such estimators as pipeline files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from prunekit.exceptions import ParameterError
from prunekit.pipeline._building import estimator_for, estimator_of
from prunekit.pipeline._data import Split, load_split
from prunekit.pipeline._describing import check_same, describe, from_the_data
from prunekit.pipeline._imports import Imports
from prunekit.pipeline._problems import dotted
from prunekit.pipeline.loading import load_experiment
from prunekit.pipeline.schema import DataSection, Experiment

__all__ = ["PipelineFile", "dump_pipeline", "load_pipeline"]


@dataclass(frozen=True)
class PipelineFile:
    """
    A pipeline file in Python.

    Parameters
    ----------
    experiment : Experiment
        What the file says.
    estimator : TaylorPruner, Pipeline or search
        Unfitted: ``fit(data.X_train, data.y_train)`` trains the net and prunes it; a search does so for every
        candidate.
    data : Split
        The data, divided.
    """

    experiment: Experiment
    estimator: Any
    data: Split


def load_pipeline(path: str | Path, assignments: Sequence[str] = (), trust: Sequence[str] = ()) -> PipelineFile:
    """
    Load a pipeline file as an unfitted estimator with its data.

    Parameters
    ----------
    path : str or Path
        A YAML file.
    assignments : sequence of str, default=()
        What wins over the file, each as ``"section.key=value"``.
    trust : sequence of str, default=()
        Packages and modules of which the file may import code, as for `load_experiment`.

    Returns
    -------
    PipelineFile
        The estimator is an ordinary one of scikit-learn: it can be cloned, searched over and put into others.

    Raises
    ------
    PipelineFileError
        If anything in the file is wrong.
    InputError
        If the source holds no fitting samples and classes.

    Notes
    -----
    `run_experiment` fits this very estimator on these data, so that the numbers are the same.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> text = '''
    ... name: small
    ... data: {source: iris, scale: standard}
    ... net: {module: {name: MLP, widths: [16]}, lr: 0.05, max_epochs: 5}
    ... prune: {target_reduction: 0.5, step: one_shot, final_epochs: 1}
    ... '''
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "small.yaml")
    ...     _ = path.write_text(text)
    ...     file = load_pipeline(path)
    >>> pruner = file.estimator.fit(file.data.X_train, file.data.y_train)
    >>> pruner.reduction_ >= 0.5
    True
    """
    experiment = load_experiment(path, assignments, trust)
    data = load_split(experiment.data, experiment.seed, experiment.task)
    return PipelineFile(experiment, estimator_for(experiment, data), data)


def dump_pipeline(
    estimator: Any,
    data: DataSection | Mapping[str, Any],
    *,
    name: str,
    path: str | Path | None = None,
    imports: Sequence[str] = (),
) -> str:
    """
    Write an estimator as a pipeline file.

    Parameters
    ----------
    estimator : TaylorPruner, Pipeline or search
        A pruner of a skorch net, a pipeline of steps that a file can name, or a search of scikit-learn over one of
        them, fitted or not; what is written are its parameters.
    data : DataSection or mapping
        The section ``data`` of the file, for no estimator holds it; that of an `Experiment` will do.
    name : str
        Name of the experiment.
    path : str or Path, default=None
        File to write; None: no file is written.
    imports : sequence of str, default=()
        Modules of your own, such as ``["mylab.nets"]``, below which the file may name the classes and functions of the
        net; they are trusted here. Who reads the file has to trust them, too.

    Returns
    -------
    str
        The text of the file. `load_pipeline` makes an equal estimator of it.

    Raises
    ------
    ParameterError
        If the estimator has a parameter that no pipeline file can say, or the file cannot be written.
    """
    own = Imports.of(list(imports), [module.partition(".")[0] for module in imports])
    content = {
        "name": name,
        "imports": list(imports),
        "data": data.model_dump(mode="json") if isinstance(data, DataSection) else dict(data),
        **describe(estimator, own),
    }
    folder = Path.cwd() if path is None else Path(path).parent
    try:
        experiment = Experiment.model_validate(content, context={"folder": folder, **own.context})
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        raise ParameterError(
            f"The estimator must have parameters that a pipeline file can say. Got {first['input']!r} as "
            f"{dotted(first['loc'])} instead."
        ) from exc
    check_same(estimator, estimator_of(experiment, *from_the_data(estimator)))
    text: str = yaml.safe_dump(experiment.resolved(), sort_keys=False, allow_unicode=True)
    if path is not None:
        try:
            Path(path).write_text(text, encoding="utf-8")
        except OSError as exc:
            raise ParameterError(f"The file {path} cannot be written: {exc.strerror}.") from exc
    return text
