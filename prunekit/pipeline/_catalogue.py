"""The steps that a pipeline file can name: scikit-learn's transformers and predictors, and a few of prunekit's own.

What a file can give of each one's parameters, and what it never can, is told in `_parameters`. Of the classes these are
out of reach:

- those of `sklearn.model_selection`, `Pipeline` and `FrozenEstimator`: a file has its own words for searches, steps and
  pretrained networks;
- what works on texts and mappings: ``input: filename`` of the vectorizers opens files that the data name;
- what works on targets (`LabelEncoder`) or on kernel matrices (`KernelCenterer`), changes the number of samples
  (`PatchExtractor`) or cannot transform others than those that it was fitted to (`TSNE`): no step of a pipeline;
- what has no options but arrays (`SparseCoder`);
- experimental estimators, unless scikit-learn lists them by itself, and deprecated ones.
"""

import inspect
import warnings
from collections.abc import Iterator, Mapping
from functools import cached_property
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import all_estimators

from prunekit.exceptions import ParameterError
from prunekit.pipeline import steps
from prunekit.pipeline._entry import Entry
from prunekit.pipeline._forms import Form, Typed, invalid
from prunekit.pipeline._parameters import Parameter, model_of, parameters_of
from prunekit.pipeline._plain import is_same
from prunekit.pipeline._samples import Task
from prunekit.pipeline._section import UNKNOWN_NAME, key_error

_LEFT_OUT = {
    "DictVectorizer": "works on mappings",
    "FeatureHasher": "works on mappings and texts",
    "HashingVectorizer": "works on texts, and opens files",
    "IsotonicRegression": "works on a single column",
    "KernelCenterer": "works on kernel matrices",
    "LabelBinarizer": "works on targets",
    "LabelEncoder": "works on targets",
    "MultiLabelBinarizer": "works on targets",
    "PatchExtractor": "changes the number of samples",
    "SparseCoder": "has no options but arrays",
    "TSNE": "cannot transform other samples than those that it was fitted to",
}
"""Names of scikit-learn that are no step of a pipeline over arrays of numbers, and why."""

_LEFT_OUT_MODULES = ("sklearn.model_selection.", "sklearn.pipeline.Pipeline", "sklearn.frozen.")


def _check_shape(shape: Any) -> Any:
    if shape.count(-1) > 1 or any(entry < 1 and entry != -1 for entry in shape):
        raise invalid("a list of integers of at least 1, of which one may be -1")
    return shape


_OWN: dict[str, tuple[type[BaseEstimator], dict[str, Form]]] = {
    "ChannelScaler": (steps.ChannelScaler, {"kind": Typed(Literal["standard", "minmax"])}),
    "Reshape": (
        steps.Reshape,
        {"shape": Typed(Annotated[list[int], Field(min_length=1), AfterValidator(_check_shape)], as_tuple=True)},
    ),
}
"""Steps of prunekit's own, with the forms of their parameters."""


class Catalogue(Mapping[str, Entry]):
    """
    Steps by name; nothing is looked up before somebody asks.

    It is what a nested step is checked, built and described by as well.
    """

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}
        self._parameters: dict[str, dict[str, Parameter]] = {}

    @cached_property
    def _targets(self) -> dict[str, type[BaseEstimator]]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of modules that scikit-learn is about to move
            found = dict(all_estimators(type_filter=["transformer", "classifier", "regressor", "cluster"]))
        own = {name: target for name, (target, _) in _OWN.items()}
        return dict(sorted({**{name: one for name, one in found.items() if _is_step(one)}, **own}.items()))

    def __getitem__(self, name: str) -> Entry:
        if name not in self._entries:
            target = self._targets[name]
            model = model_of(name, self.parameters(name))
            self._entries[name] = Entry(target, _summary(target), model, _tasks(target))
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets)

    def __len__(self) -> int:
        return len(self._targets)

    def __contains__(self, name: object) -> bool:
        return name in self._targets

    def parameters(self, name: str) -> Mapping[str, Parameter]:
        """
        Return what a file can give of the parameters of a step.

        Parameters
        ----------
        name : str
            Name of the step.

        Returns
        -------
        mapping
            Parameter by name.
        """
        if name not in self._parameters:
            _, forms = _OWN.get(name, (None, {}))
            self._parameters[name] = parameters_of(self._targets[name], self, forms)
        return self._parameters[name]

    def choose(self, value: Any) -> dict[str, Any]:
        """
        Check a step as a file writes it.

        Parameters
        ----------
        value : str or dict
            A name, or a mapping of a name and options.

        Returns
        -------
        dict
            The name and all options, defaults included.

        Raises
        ------
        ValidationError
            With the key of each thing that is wrong.
        """
        options = {"name": value} if isinstance(value, str) else value
        if not isinstance(options, dict):
            raise invalid("the name of a step, or a mapping of a name and options")
        options = dict(options)
        if "name" not in options:
            raise key_error("missing", "name", value)
        name = options.pop("name")
        if not isinstance(name, str) or name not in self:
            raise key_error(UNKNOWN_NAME, "name", name, kind="step", known=list(self))
        return {"name": name, **self[name].options.model_validate(options).model_dump()}

    def build(self, chosen: Mapping[str, Any], seed: int) -> BaseEstimator:
        """
        Build a checked step.

        Parameters
        ----------
        chosen : mapping
            Its name and options.
        seed : int
            What is its ``random_state`` where it has one and the options have none.

        Returns
        -------
        BaseEstimator
            A new, unfitted one.
        """
        name = chosen["name"]
        known = self.parameters(name)
        arguments = {
            key: parameter.form.built(chosen[key], seed)
            for key, parameter in known.items()
            if key in chosen and not parameter.is_default(chosen[key])
        }
        if "random_state" in known and chosen.get("random_state") is None:
            arguments["random_state"] = seed
        return self._targets[name](**arguments)

    def describe(self, estimator: BaseEstimator) -> dict[str, Any]:
        """
        Return how a file writes a step.

        Parameters
        ----------
        estimator : BaseEstimator
            The step.

        Returns
        -------
        dict
            Its name and the options that are not the defaults.

        Raises
        ------
        ParameterError
            If it, or one of its parameters, is nothing that a file can say.
        """
        name = type(estimator).__name__
        if self._targets.get(name) is not type(estimator):
            raise ParameterError(f"The step must be one that a pipeline file can name. Got {estimator!r} instead.")
        known = self.parameters(name)
        described: dict[str, Any] = {"name": name}
        for key, value in estimator.get_params(deep=False).items():
            if key not in known:
                _check_unsaid(estimator, key, value)
                continue
            said = _said(known[key], name, key, value)
            if not known[key].is_default(said):
                described[key] = said
        try:
            self.choose(described)
        except ValidationError as exc:
            first = exc.errors(include_url=False)[0]
            raise _unsayable(name, str(first["loc"][0]), first["input"]) from exc
        return described


def _is_step(target: type[BaseEstimator]) -> bool:
    path = f"{target.__module__}.{target.__qualname__}"
    # Of the class as a whole: parameters that are deprecated are told of further down.
    is_deprecated = ".. deprecated::" in (target.__doc__ or "").partition("Parameters\n")[0]
    return target.__name__ not in _LEFT_OUT and not path.startswith(_LEFT_OUT_MODULES) and not is_deprecated


def _summary(target: type) -> str:
    return (inspect.getdoc(target) or "").partition("\n")[0].rstrip(".")


def _tasks(target: type) -> tuple[Task, ...]:
    if issubclass(target, ClassifierMixin):
        return ("classification",)
    return ("regression",) if issubclass(target, RegressorMixin) else ("classification", "regression")


def _said(parameter: Parameter, name: str, key: str, value: Any) -> Any:
    try:
        return parameter.form.said(value)
    except ParameterError:
        raise  # of a step within this one, which names its own parameter
    except (TypeError, ValueError) as exc:
        raise _unsayable(name, key, value) from exc


def _check_unsaid(estimator: BaseEstimator, key: str, value: Any) -> None:
    """Refuse a value other than the default for a parameter that no file can give."""
    default = inspect.signature(type(estimator)).parameters[key].default
    if value is not default and not is_same(value, default):
        raise _unsayable(type(estimator).__name__, key, value, f" It must be {default!r}.")


def _unsayable(name: str, key: str, value: Any, wanted: str = "") -> ParameterError:
    return ParameterError(
        f"The '{key}' parameter of {name} cannot be written to a pipeline file.{wanted} Got {value!r} instead."
    )


CATALOGUE = Catalogue()
"""The steps that a file can name."""


def build_step(name: str, arguments: Mapping[str, Any], seed: int) -> BaseEstimator:
    """
    Build a step.

    Parameters
    ----------
    name : str
        A name of `CATALOGUE`.
    arguments : mapping
        Its options as a file writes them.
    seed : int
        What is the ``random_state`` of the step, and of steps within it, where the options have none.

    Returns
    -------
    BaseEstimator
        A new, unfitted estimator.

    Raises
    ------
    ValidationError
        If there is no such step or an option is wrong.
    """
    return CATALOGUE.build(CATALOGUE.choose({**arguments, "name": name}), seed)


def describe_step(estimator: BaseEstimator) -> dict[str, Any]:
    """
    Return how a file writes an estimator: the inverse of `build_step`.

    Parameters
    ----------
    estimator : BaseEstimator
        Of a class that `CATALOGUE` has; fitted or not.

    Returns
    -------
    dict
        ``name`` and the options that are not the defaults, as plain values.

    Raises
    ------
    ParameterError
        If it is of another class or has a parameter that no file can say; the message names it.
    """
    return CATALOGUE.describe(estimator)
