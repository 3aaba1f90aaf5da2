"""From what a file says to an unfitted estimator of scikit-learn."""

from collections.abc import Iterator, Mapping
from typing import Any

from sklearn.base import BaseEstimator, clone
from sklearn.pipeline import Pipeline

from prunekit.exceptions import InputError
from prunekit.pipeline._data import Split
from prunekit.pipeline._searching import PARAMS, make_search, parameter_paths
from prunekit.pipeline._steps import EXPORTERS, NET, OF_NET, build_pruner, make_step
from prunekit.pipeline._training import build_net, sample_shape
from prunekit.pipeline.registry import Chosen
from prunekit.pipeline.schema import Experiment


def estimator_for(experiment: Experiment, data: Split, *, exporters: bool = True) -> Any:
    """
    Return what a file says as an unfitted estimator, for the data that it says.

    Parameters
    ----------
    experiment : Experiment
        What the file says.
    data : Split
        The data; what steps before the net make of the training part tells its shape.
    exporters : bool, default=True
        Whether exporters are among the steps.

    Returns
    -------
    TaylorPruner, Pipeline or search
        Unfitted.

    Raises
    ------
    InputError
        If the data do not fit a step.
    """
    return estimator_of(experiment, _shape_for_net(experiment, data), data.num_classes, exporters=exporters)


def estimator_of(experiment: Experiment, input_shape: Any, num_outputs: Any, *, exporters: bool = True) -> Any:
    """
    Return what a file says as an unfitted estimator.

    Parameters
    ----------
    experiment : Experiment
        What the file says.
    input_shape : tuple of int
        Shape of one sample as the net sees it.
    num_outputs : int
        Number of classes, or of targets.
    exporters : bool, default=True
        Whether exporters are among the steps.

    Returns
    -------
    TaylorPruner, Pipeline or search
        Unfitted.
    """
    builder = _Builder(experiment, input_shape, num_outputs, exporters)
    estimator = builder.model()
    chosen = experiment.search
    if chosen is None:
        return estimator
    return make_search(
        chosen.name,
        chosen.options,
        builder.candidates(),
        estimator,
        task=experiment.task,
        seed=experiment.seed,
        n_jobs=experiment.compute.n_jobs,
    )


def exporters_of(experiment: Experiment) -> Iterator[tuple[str, Any]]:
    """
    Yield the exporters among the steps.

    Parameters
    ----------
    experiment : Experiment
        What the file says.

    Yields
    ------
    name : str
        Name of the step.
    exporter : OnnxExporter or ProgramExporter
        Unfitted.
    """
    for name, step in (experiment.steps or {}).items():
        if step.name in EXPORTERS:
            yield name, EXPORTERS[step.name](**step.options.model_dump())


class _Builder:
    """Builds the estimator of an experiment."""

    def __init__(self, experiment: Experiment, input_shape: Any, num_outputs: Any, exporters: bool) -> None:
        self._experiment = experiment
        self._shape, self._num_outputs = input_shape, num_outputs
        self._exporters = exporters

    def model(self) -> Any:
        """Return the pruner or pipeline."""
        experiment = self._experiment
        if experiment.steps is None:
            return build_pruner(experiment.prune, self._net(), experiment.seed)  # type: ignore[arg-type]
        steps = [
            (name, self._step(step))
            for name, step in experiment.steps.items()
            if self._exporters or step.name not in EXPORTERS
        ]
        return Pipeline(steps)

    def candidates(self) -> dict[str, list[Any]]:
        """Return the candidates of the search as the estimator takes them, in the order of the file."""
        search = self._experiment.search
        if search is None:
            return {}
        paths = parameter_paths(self._experiment.resolved())
        grid = getattr(search.options, PARAMS[search.name])
        return {name: [self._value(paths[name], value) for value in values] for name, values in grid.items()}

    def _value(self, path: tuple[str, ...], value: Any) -> Any:
        """Return a value of a parameter as the estimator takes it: a tuple in place of a list, for example."""
        section, name, *keys = path
        steps = self._experiment.steps or {}
        if section != "steps" or steps[name].name in OF_NET:
            return value
        found = self._step(self._experiment.part_with(path, value))
        for key in keys:
            found = getattr(found, key)
        return found

    def _step(self, step: Chosen) -> BaseEstimator:
        experiment = self._experiment
        net = self._net(seeded=step.name == NET) if step.name in OF_NET else None
        options = {"task": experiment.task, "seed": experiment.seed, "n_jobs": experiment.compute.n_jobs}
        return make_step(step.name, step.options, net, **options)  # type: ignore[arg-type]

    def _net(self, *, seeded: bool = False) -> Any:
        experiment = self._experiment
        if experiment.net is None:
            return None
        return build_net(
            experiment.net,
            self._shape,
            self._num_outputs,
            experiment.seed,
            device=experiment.compute.device,
            follows_steps=bool(_before_net(experiment)),
            seeded=seeded,
            dtype=experiment.data.dtype,
        )


def _before_net(experiment: Experiment) -> Mapping[str, Chosen]:
    """Return the steps before the one that is about the net."""
    steps = experiment.steps or {}
    names = list(steps)
    at = next((index for index, name in enumerate(names) if steps[name].name in OF_NET), 0)
    return {name: steps[name] for name in names[:at]}


def _shape_for_net(experiment: Experiment, data: Split) -> tuple[int, ...]:
    """Return the shape that the net sees first; where a search changes it, ``fit`` tells the net."""
    before = _before_net(experiment)
    if not before:
        return data.input_shape
    options: dict[str, Any] = {"task": experiment.task, "seed": experiment.seed, "n_jobs": None}
    X = data.X_train
    for name, step in before.items():
        transformer = clone(make_step(step.name, step.options, None, **options))
        try:
            X = transformer.fit_transform(X, data.y_train)
        except (ValueError, TypeError) as exc:
            raise InputError(
                f"The step '{name}' ({step.name}) must be able to work with samples of shape {sample_shape(X)}. Got an "
                f"error of it instead: {exc}"
            ) from exc
    return sample_shape(X)
