"""Pipeline files as scikit-learn estimators, and such estimators as pipeline files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from sklearn.model_selection import KFold, StratifiedKFold
from skorch import NeuralNet
from skorch.callbacks import LRScheduler
from skorch.dataset import ValidSplit

from prunekit.exceptions import ParameterError
from prunekit.pipeline._data import Split, load_split
from prunekit.pipeline._precision import in_precision
from prunekit.pipeline._problems import dotted
from prunekit.pipeline._searching import PARAMS, SEARCHES, make_search
from prunekit.pipeline._training import ESTIMATORS, build_net
from prunekit.pipeline.loading import load_experiment
from prunekit.pipeline.registry import REGISTRY
from prunekit.pipeline.schema import DataSection, Experiment, PruneSection
from prunekit.pruner import TaylorPruner

__all__ = ["PipelineFile", "dump_pipeline", "load_pipeline"]

_FROM_THE_DATA = ("input_shape", "num_classes")


@dataclass(frozen=True)
class PipelineFile:
    """
    A pipeline file in Python.

    Parameters
    ----------
    experiment : Experiment
        What the file says.
    estimator : TaylorPruner, GridSearchCV or RandomizedSearchCV
        Unfitted: ``fit(data.X_train, data.y_train)`` trains the net and prunes it; a search does so for every
        candidate.
    data : Split
        The data, divided.
    """

    experiment: Experiment
    estimator: Any
    data: Split


def load_pipeline(path: str | Path, assignments: Sequence[str] = ()) -> PipelineFile:
    """
    Load a pipeline file as an unfitted estimator with its data.

    Parameters
    ----------
    path : str or Path
        A YAML file.
    assignments : sequence of str, default=()
        What wins over the file, each as ``"section.key=value"``.

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
    `run_experiment` trains the dense net first and keeps it for the comparison; here ``fit`` trains a clone of the net,
    as `TaylorPruner` does with any. The numbers of both are close, not equal.

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
    experiment = load_experiment(path, assignments)
    data = load_split(experiment.data, experiment.seed, experiment.net.task)
    return PipelineFile(experiment, estimator_of(experiment, data.input_shape, data.num_classes), data)


def dump_pipeline(
    estimator: Any,
    data: DataSection | Mapping[str, Any],
    *,
    name: str,
    path: str | Path | None = None,
) -> str:
    """
    Write an estimator as a pipeline file.

    Parameters
    ----------
    estimator : TaylorPruner, GridSearchCV or RandomizedSearchCV
        The pruner of a skorch net or a search over it, fitted or not; what is written are its parameters.
    data : DataSection or mapping
        The section ``data`` of the file, for no estimator holds it; that of an `Experiment` will do.
    name : str
        Name of the experiment.
    path : str or Path, default=None
        File to write; None: no file is written.

    Returns
    -------
    str
        The text of the file. `load_pipeline` makes an equal estimator of it.

    Raises
    ------
    ParameterError
        If the estimator has a parameter that no pipeline file can say, or the file cannot be written.
    """
    pruner = estimator.estimator if type(estimator) in SEARCHES.values() else estimator
    net = getattr(pruner, "estimator", None)
    if type(pruner) is not TaylorPruner or not isinstance(net, NeuralNet):
        got = type(pruner).__name__ + (f" of {type(net).__name__}" if net is not None else "")
        raise ParameterError(
            "The 'estimator' parameter of dump_pipeline must be a TaylorPruner of a skorch net, or a grid or "
            f"randomized search over one. Got {got} instead."
        )
    content = {
        "name": name,
        "seed": pruner.random_state if pruner.random_state is not None else 0,
        "data": data.model_dump(mode="json") if isinstance(data, DataSection) else dict(data),
        "net": _net_section(net),
        "prune": {key: getattr(pruner, key) for key in PruneSection.model_fields},
        "search": None if pruner is estimator else _search_section(estimator),
    }
    try:
        experiment = Experiment.model_validate(content, context={"folder": "." if path is None else Path(path).parent})
    except ValidationError as exc:
        first = exc.errors(include_url=False)[0]
        raise ParameterError(
            f"The estimator must have parameters that a pipeline file can say. Got {first['input']!r} as "
            f"{dotted(first['loc'])} instead."
        ) from exc
    shape, num_outputs = (net.get_params(deep=False).get(f"module__{key}") for key in _FROM_THE_DATA)
    _check_same(estimator, estimator_of(experiment, shape, num_outputs))
    text: str = yaml.safe_dump(experiment.resolved(), sort_keys=False, allow_unicode=True)
    if path is not None:
        try:
            Path(path).write_text(text, encoding="utf-8")
        except OSError as exc:
            raise ParameterError(f"The file {path} cannot be written: {exc.strerror}.") from exc
    return text


def estimator_of(experiment: Experiment, input_shape: Any, num_outputs: Any) -> Any:
    """Return what a file says as an unfitted estimator: a pruner, or a search over it."""
    net = build_net(experiment.net, input_shape, num_outputs, experiment.seed, dtype=experiment.data.dtype)
    pruner = TaylorPruner(net, **experiment.prune.model_dump(), random_state=experiment.seed)
    chosen = experiment.search
    if chosen is None:
        return pruner
    return make_search(chosen.name, chosen.arguments, pruner, experiment.net.task, experiment.seed)


def _search_section(search: Any) -> dict[str, Any]:
    """Return what a file says of a search; what it cannot say is found by comparing."""
    name = type(search).__name__
    options = {key: getattr(search, key) for key in REGISTRY["search"][name].options.model_fields}
    grid = options[PARAMS[name]]
    if not isinstance(grid, Mapping):
        raise ParameterError(
            f"The '{PARAMS[name]}' parameter of the search must be one mapping to be written. Got {grid!r} instead."
        )
    folds = getattr(options["cv"], "n_splits", options["cv"])
    return {"name": name, **options, PARAMS[name]: {key: list(values) for key, values in grid.items()}, "cv": folds}


def _net_section(net: NeuralNet) -> dict[str, Any]:
    """Return what a file says of a net; what it cannot say is found by comparing."""
    names = {kind: name for name, kind in ESTIMATORS.items()}
    if type(net) not in names:
        raise ParameterError(
            f"The net must be a {' or '.join(ESTIMATORS)} to be written. Got {type(net).__name__} instead."
        )
    parameters = _of_the_network(net.get_params(deep=False))
    split = net.train_split
    if not isinstance(split, ValidSplit) or not isinstance(split.cv, float):
        raise ParameterError(
            "The 'train_split' parameter of the net must be a ValidSplit of a fraction to be written. "
            f"Got {split!r} instead."
        )
    section: dict[str, Any] = {
        "estimator": names[type(net)],
        **{key: _chosen(key, parameters) for key in ("module", "criterion", "optimizer")},
        **{key: parameters[key] for key in ("lr", "max_epochs", "batch_size")},
        "validation_size": split.cv,
        "callbacks": [],
    }
    for _, callback in net.callbacks or ():
        if isinstance(callback, LRScheduler):
            section["scheduler"] = {"name": _name_of("scheduler", callback.policy), **callback.kwargs}
        else:
            name = _name_of("callback", type(callback))
            options = REGISTRY["callback"][name].options.model_fields
            section["callbacks"].append({"name": name, **{key: getattr(callback, key) for key in options}})
    return section


def _of_the_network(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of a net without its type, of which ``data`` tells."""
    if parameters["module"] is not in_precision:
        return dict(parameters)
    kept = {key: value for key, value in parameters.items() if key not in ("module__cast_of", "module__cast_to")}
    return kept | {"module": parameters.get("module__cast_of")}


def _chosen(kind: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the name and options of the module, criterion or optimizer."""
    name = _name_of(kind, parameters[kind])
    options = {
        key.removeprefix(f"{kind}__"): list(value) if isinstance(value, tuple) else value
        for key, value in parameters.items()
        if key.startswith(f"{kind}__")
    }
    return {"name": name, **{key: value for key, value in options.items() if key not in _FROM_THE_DATA}}


def _name_of(kind: str, target: Any) -> str:
    """Return the registered name of a class."""
    for name, entry in REGISTRY[kind].items():
        registered = entry.target.func if isinstance(entry.target, partial) else entry.target
        if registered is target:
            return name
    got = getattr(target, "__name__", repr(target))
    raise ParameterError(
        f"The {kind} must be one that a pipeline file can name ({', '.join(REGISTRY[kind])}). Got {got} instead."
    )


def _check_same(given: Any, written: Any) -> None:
    """Refuse an estimator with parameters that the file does not hold."""
    pairs = []
    if type(given) in SEARCHES.values():
        pairs.append(("the search", given, written))
        given, written = given.estimator, written.estimator
    pairs += [("the pruner", given, written), ("the net", given.estimator, written.estimator)]
    for owner, one, other in pairs:
        mine, theirs = (_comparable(estimator.get_params(deep=False)) for estimator in (one, other))
        for key in sorted(mine.keys() | theirs.keys()):
            if mine.get(key) != theirs.get(key):
                raise ParameterError(
                    f"The '{key}' parameter of {owner} cannot be written to a pipeline file. "
                    f"It must be {theirs.get(key)!r}. Got {mine.get(key)!r} instead."
                )


def _comparable(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters in a form in which equal ones compare as equal."""
    result = {key: value for key, value in parameters.items() if key not in ("estimator", "_params_to_validate")}
    for key in ("train_split", "cv"):
        if isinstance(result.get(key), (ValidSplit, KFold, StratifiedKFold)):
            result[key] = (type(result[key]), vars(result[key]))
    if result.get("callbacks"):
        result["callbacks"] = [(name, type(callback), callback.get_params()) for name, callback in result["callbacks"]]
    return {key: list(value) if isinstance(value, tuple) else value for key, value in result.items()}
