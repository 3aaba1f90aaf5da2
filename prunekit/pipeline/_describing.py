"""From an estimator to what a pipeline file says of it."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from skorch import NeuralNet
from skorch.callbacks import Callback, InputShapeSetter, LRScheduler
from skorch.dataset import ValidSplit

from prunekit.exceptions import ParameterError
from prunekit.pipeline._catalogue import describe_step
from prunekit.pipeline._fitted import innermost, learner_of, model_of, net_of, unfrozen
from prunekit.pipeline._imports import Imports
from prunekit.pipeline._own_code import named_parameters, unwrapped
from prunekit.pipeline._own_options import can_be_said
from prunekit.pipeline._pruning import PruneSection
from prunekit.pipeline._samples import Task
from prunekit.pipeline._scoring import scorer_name
from prunekit.pipeline._searching import PARAMS, SEARCHES, describe_folds
from prunekit.pipeline._steps import EXPORTERS, NET, PATH, PRUNER
from prunekit.pipeline._training import ESTIMATORS, SEEDED, network_of
from prunekit.pipeline._weights import with_weights
from prunekit.pipeline.registry import REGISTRY
from prunekit.pruner import TaylorPruner
from prunekit.search import TaylorPrunerCV, smallest_within

_FROM_THE_DATA = ("input_shape", "num_classes")
_NET_NAMES = {kind: name for kinds in (ESTIMATORS, SEEDED) for name, kind in kinds.items()}
_RULE = type(smallest_within())


def describe(estimator: Any, own: Imports | None = None) -> dict[str, Any]:
    """
    Return the sections of a pipeline file for an estimator; what a file cannot say is found by `check_same`.

    Parameters
    ----------
    estimator : TaylorPruner, Pipeline or search
        Fitted or not.
    own : Imports, optional
        Modules of the user's own, whose classes can be named, too.

    Returns
    -------
    dict
        Plain values.

    Raises
    ------
    ParameterError
        If it is something else, or has a part that no file can name.
    """
    model = model_of(estimator)
    net = net_of(estimator)
    content: dict[str, Any] = {"seed": _seed_of(estimator)}
    if net is not None:
        content["net"] = _net_section(net, own or Imports())
    if isinstance(model, Pipeline):
        content["steps"] = {name: _unseeded(_step(step), content["seed"]) for name, step in model.steps}
    elif type(model) is TaylorPruner and net is not None:
        content["prune"] = _pruner_section(model)
    else:
        inner = getattr(model, "estimator", None)
        got = type(model).__name__ + (f" of {type(inner).__name__}" if inner is not None else "")
        raise ParameterError(
            "The 'estimator' parameter of dump_pipeline must be a TaylorPruner of a skorch net, a Pipeline, or a "
            f"search of scikit-learn over one of them. Got {got} instead."
        )
    content["compute"] = {"n_jobs": _jobs(estimator)}
    if net is not None:
        content["compute"]["device"] = unfrozen(net).device
    if model is not estimator:
        task: Task = "regression" if _is_regression(model) else "classification"
        content["search"] = _search_section(estimator, task)
    return content


def from_the_data(estimator: Any) -> tuple[Any, Any]:
    """
    Return what the net of an estimator was told of the data.

    Parameters
    ----------
    estimator : TaylorPruner, Pipeline or search
        As `describe` takes it.

    Returns
    -------
    input_shape, num_classes : object
        None where there is no net.
    """
    net = net_of(estimator)
    params = {} if net is None else unfrozen(net).get_params(deep=False)
    shape, number = (params.get(f"module__{key}") for key in _FROM_THE_DATA)
    return shape, number


def check_same(given: Any, written: Any) -> None:
    """
    Refuse an estimator with parameters that a file does not hold.

    Parameters
    ----------
    given : estimator
        What is to be written.
    written : estimator
        What the file says.

    Raises
    ------
    ParameterError
        If they are not equal; it names the first parameter.
    """
    owners = {TaylorPruner: "the pruner", **dict.fromkeys(SEARCHES.values(), "the search")}
    owner = "the net" if isinstance(given, NeuralNet) else owners.get(type(given), f"{type(given).__name__}")
    if type(given) is not type(written):
        raise ParameterError(
            f"The estimator must be one that a pipeline file can say, {type(written).__name__} here. "
            f"Got {type(given).__name__} instead."
        )
    mine, theirs = (_parameters(one) for one in (given, written))
    for key in sorted(mine.keys() | theirs.keys()):
        one, other = mine.get(key), theirs.get(key)
        pairs = list(_nested(one, other))
        for inner, other_inner in pairs:
            check_same(inner, other_inner)
        if not pairs and _plain(one) != _plain(other):
            raise ParameterError(
                f"The '{key}' parameter of {owner} cannot be written to a pipeline file. "
                f"It must be {other!r}. Got {one!r} instead."
            )


def _parameters(estimator: Any) -> dict[str, Any]:
    if isinstance(estimator, FrozenEstimator):
        return {"estimator": estimator.estimator}
    parameters: dict[str, Any] = estimator.get_params(deep=False)
    return {key: value for key, value in parameters.items() if key != "_params_to_validate"}


def _nested(one: Any, other: Any) -> Iterator[tuple[Any, Any]]:
    """Yield estimators within a parameter, pair by pair."""
    if isinstance(one, BaseEstimator | NeuralNet) and isinstance(other, BaseEstimator | NeuralNet):
        yield one, other
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        named = [
            (a, b)
            for a, b in zip(one, other, strict=True)
            if isinstance(a, tuple) and isinstance(b, tuple) and a[0] == b[0] and isinstance(a[1], BaseEstimator)
        ]
        if len(named) == len(one):
            yield from ((a[1], b[1]) for a, b in named)


def _plain(value: Any) -> Any:
    """Return a value in a form in which equal ones compare as equal."""
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, Callback):
        return type(value), {key: _plain(one) for key, one in value.get_params().items()}
    if isinstance(value, ValidSplit | _RULE) or type(value).__module__.startswith("sklearn.model_selection"):
        return type(value), {key: _plain(one) for key, one in vars(value).items()}
    if isinstance(value, BaseEstimator):
        return type(value), _plain(value.get_params())
    return unwrapped(value)


def _jobs(estimator: Any) -> int | None:
    """Return how many fits at once a search or TaylorPrunerCV does."""
    learner = learner_of(estimator)
    several = [estimator] if model_of(estimator) is not estimator else []
    several += [learner] if isinstance(learner, TaylorPrunerCV) else []
    return next((one.n_jobs for one in several if one.n_jobs is not None), None)


def _seed_of(estimator: Any) -> Any:
    seed = getattr(innermost(estimator), "random_state", None)
    return 0 if seed is None else seed


def _is_regression(model: Any) -> bool:
    return getattr(model, "_estimator_type", None) == "regressor" or (
        model.__sklearn_tags__().estimator_type == "regressor"
    )


def _step(step: Any) -> Any:
    """Return what a file says of a step."""
    if isinstance(step, TaylorPruner):
        return {"name": PRUNER, **_pruner_section(step)}
    if isinstance(step, TaylorPrunerCV):
        options = {key: getattr(step, key) for key in ("reductions", "scoring", "tolerance")}
        reductions = options["reductions"]
        options["reductions"] = reductions if isinstance(reductions, int) else list(reductions)
        task: Task = "regression" if _is_regression(step) else "classification"
        return {
            "name": PATH,
            **options,
            "cv": describe_folds(step.cv, task),
            "estimator": _pruner_section(step._pruner),
        }
    if isinstance(step, NeuralNet):
        return {"name": NET}
    for name, kind in EXPORTERS.items():
        if type(step) is kind:
            fields = REGISTRY["step"][name].options.model_fields
            return {"name": name, **{key: getattr(step, key) for key in fields}, "path": str(step.path)}
    return describe_step(step)


def _unseeded(said: Any, seed: Any) -> Any:
    """Leave out random states that a file gives by its seed."""
    if isinstance(said, list):
        return [_unseeded(one, seed) for one in said]
    if not isinstance(said, dict):
        return said
    is_step = "name" in said
    return {
        key: _unseeded(value, seed)
        for key, value in said.items()
        if not (is_step and key == "random_state" and value == seed)
    }


def _pruner_section(pruner: TaylorPruner) -> dict[str, Any]:
    return {key: getattr(pruner, key) for key in PruneSection.model_fields}


def _search_section(search: Any, task: Task) -> dict[str, Any]:
    """Return what a file says of a search."""
    name = type(search).__name__
    fields = REGISTRY["search"][name].options.model_fields
    options = {key: getattr(search, key) for key in fields}
    grid = options[PARAMS[name]]
    if not isinstance(grid, Mapping):
        raise ParameterError(
            f"The '{PARAMS[name]}' parameter of the search must be one mapping to be written. Got {grid!r} instead."
        )
    options[PARAMS[name]] = {key: [_value(value) for value in values] for key, values in grid.items()}
    options["cv"] = describe_folds(options["cv"], task)
    scoring = options["scoring"]
    options["scoring"] = (
        {key: scorer_name(one) for key, one in scoring.items()}
        if isinstance(scoring, Mapping)
        else scorer_name(scoring)
    )
    if "refit" in options:
        refit = options["refit"]
        rule = {key.lstrip("_"): value for key, value in vars(refit).items()} if isinstance(refit, _RULE) else None
        options["refit"] = {"name": "smallest_within", **rule} if rule else refit
    return {"name": name, **options}


def _value(value: Any) -> Any:
    if isinstance(value, BaseEstimator):
        return describe_step(value)
    return [_value(one) for one in value] if isinstance(value, tuple) else value


def _net_section(net: Any, imports: Imports) -> dict[str, Any]:
    """Return what a file says of a net."""
    frozen, net = isinstance(net, FrozenEstimator), unfrozen(net)
    if type(net) not in _NET_NAMES:
        raise ParameterError(
            f"The net must be a {' or '.join(ESTIMATORS)} to be written. Got {type(net).__name__} instead."
        )
    parameters = net.get_params(deep=False)
    own = network_of(parameters)
    split = net.train_split
    if not isinstance(split, ValidSplit) or not isinstance(split.cv, float):
        raise ParameterError(
            "The 'train_split' parameter of the net must be a ValidSplit of a fraction to be written. "
            f"Got {split!r} instead."
        )
    section: dict[str, Any] = {
        "estimator": _NET_NAMES[type(net)],
        **{key: _chosen(key, own, imports) for key in ("module", "criterion", "optimizer")},
        **{key: parameters[key] for key in ("lr", "max_epochs", "batch_size")},
        "validation_size": split.cv,
        "callbacks": [],
        "frozen": frozen,
    }
    if parameters["module"] is with_weights:
        exclude = list(parameters["module__weights_exclude"])
        section["pretrained"] = {"file": parameters["module__weights_file"], "exclude": exclude}
    for _, callback in net.callbacks or ():
        if isinstance(callback, InputShapeSetter):
            continue
        if isinstance(callback, LRScheduler):
            section["scheduler"] = {"name": _name_of("scheduler", callback.policy, imports), **callback.kwargs}
        else:
            name = _name_of("callback", type(callback), imports)
            section["callbacks"].append({"name": name, **_options_of_callback(name, callback, imports)})
    return section


def _options_of_callback(name: str, callback: Any, imports: Imports) -> dict[str, Any]:
    """Return the attributes of a callback that a file gives as options, but for those that no file can say."""
    entry = REGISTRY["callback"].get(name) or imports.entry("callback", name)
    fields = {} if entry is None else entry.options.model_fields
    given = {key: getattr(callback, key) for key in fields}
    return {key: value for key, value in given.items() if name in REGISTRY["callback"] or can_be_said(value)}


def _chosen(kind: str, parameters: Mapping[str, Any], imports: Imports) -> dict[str, Any]:
    """Return the name and options of the module, criterion or optimizer."""
    options = {
        key.removeprefix(f"{kind}__"): list(value) if isinstance(value, tuple) else value
        for key, value in parameters.items()
        if key.startswith(f"{kind}__")
    }
    told = named_parameters(parameters[kind], **dict.fromkeys(_FROM_THE_DATA)) if kind == "module" else {}
    named = {key: value for key, value in options.items() if key not in told}
    return {"name": _name_of(kind, parameters[kind], imports), **named}


def _name_of(kind: str, target: Any, imports: Imports) -> str:
    """Return the name of a class in the registry, or below what the file imports."""
    for name, entry in REGISTRY[kind].items():
        registered = entry.target.func if isinstance(entry.target, partial) else entry.target
        if registered is target:
            return name
    dotted_name = imports.name_of(kind, unwrapped(target))
    if dotted_name is not None:
        return dotted_name
    got = getattr(target, "__name__", repr(target))
    raise ParameterError(
        f"The {kind} must be one that a pipeline file can name ({', '.join(REGISTRY[kind])}). Got {got} instead."
    )
