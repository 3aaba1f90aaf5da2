"""How a pipeline file writes the parameters of a step: plain values there, scikit-learn's values here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError
from sklearn.base import BaseEstimator

from prunekit.pipeline._constraints import Sayable, joined, meets, schema_of, words_of
from prunekit.pipeline._plain import is_same, plain

INVALID_PARAMETER = "invalid_parameter"


class Steps(Protocol):
    """What knows the steps that a file can name."""

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
            The name and all options.
        """

    def build(self, chosen: Mapping[str, Any], seed: int) -> BaseEstimator:
        """
        Build a checked step.

        Parameters
        ----------
        chosen : mapping
            Its name and options.
        seed : int
            For whatever is random in it.

        Returns
        -------
        BaseEstimator
            A new one.
        """

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
        """


def invalid(wanted: str, known: Sequence[str] = ()) -> PydanticCustomError:
    """
    Return the error about a value that is none of those wanted.

    Parameters
    ----------
    wanted : str
        Goes after "must be".
    known : sequence of str, default=()
        Words that could stand here.

    Returns
    -------
    PydanticCustomError
        To be raised in a validator.
    """
    return PydanticCustomError(INVALID_PARAMETER, "must be {wanted}", {"wanted": wanted, "known": list(known)})


class Form:
    """How a file writes the values of one parameter."""

    @property
    def annotation(self) -> Any:
        """
        Type by which pydantic checks what a file says.

        Returns
        -------
        type
            For the field of a model.
        """
        raise NotImplementedError

    def built(self, value: Any, seed: int) -> Any:
        """
        Return the value that the estimator gets.

        Parameters
        ----------
        value : object
            As the file says it, checked.
        seed : int
            For whatever is random in it.

        Returns
        -------
        object
            For the estimator.
        """
        return value

    def said(self, value: Any) -> Any:
        """
        Return the value that a file says.

        Parameters
        ----------
        value : object
            Of an estimator.

        Returns
        -------
        object
            Plain values.

        Raises
        ------
        ValueError
            If no plain values stand for it.
        """
        return plain(value)


@dataclass(frozen=True)
class Typed(Form):
    """
    Values that pydantic checks alone.

    Parameters
    ----------
    type : type
        Their type.
    as_tuple : bool, default=False
        Whether the estimator has a tuple where the file has a list.
    """

    type: Any
    as_tuple: bool = False

    @property
    def annotation(self) -> Any:
        """The type."""
        return self.type

    def built(self, value: Any, seed: int) -> Any:
        """Return the value, a list as a tuple."""
        return tuple(value) if self.as_tuple else value


@dataclass(frozen=True)
class Constrained(Form):
    """
    Values that scikit-learn checks.

    Parameters
    ----------
    sayables : sequence of Sayable
        What can be said.
    default : object
        scikit-learn's default, which is always allowed.
    steps : Steps
        What knows the steps that a value may be.
    """

    sayables: Sequence[Sayable]
    default: Any
    steps: Steps = field(repr=False)

    @property
    def annotation(self) -> Any:
        """Anything, checked by the constraints."""
        return Annotated[Any, PlainValidator(self._check), WithJsonSchema(schema_of(self.sayables))]

    @property
    def _choices(self) -> tuple[str, ...]:
        return tuple(choice for one in self.sayables for choice in one.choices)

    @property
    def _takes_steps(self) -> bool:
        return any(BaseEstimator in one.types for one in self.sayables)

    def built(self, value: Any, seed: int) -> Any:
        """Return the value that the estimator gets: steps built, lists as tuples where only those will do."""
        if self._takes_steps and isinstance(value, Mapping):
            return self.steps.build(value, seed)
        if isinstance(value, list) and (isinstance(self.default, tuple) or not meets(value, self.sayables)):
            return tuple(value)
        return value

    def said(self, value: Any) -> Any:
        """Return the value that a file says."""
        if self._takes_steps and isinstance(value, BaseEstimator):
            return self.steps.describe(value)
        return plain(value)

    def _check(self, value: Any) -> Any:
        if is_same(value, self.default):
            return value
        is_name = isinstance(value, str) and value not in self._choices
        if self._takes_steps and (is_name or isinstance(value, dict)):
            value = self.steps.choose(value)
        if not meets(self.built(value, 0), self.sayables):
            raise invalid(words_of(self.sayables), self._choices)
        return value


class ByClass(Constrained):
    """Weights of classes: the keys of a file are words, those of the estimator numbers."""

    def built(self, value: Any, seed: int) -> Any:
        """Return the weights by class number."""
        if isinstance(value, Mapping):
            return {int(key) if key.isdecimal() else key: weight for key, weight in value.items()}
        return super().built(value, seed)


@dataclass(frozen=True)
class Named(Form):
    """
    Objects that a file says by name.

    Parameters
    ----------
    objects : mapping of str to object
        Object by name.
    optional : bool
        Whether it may be None.
    """

    objects: Mapping[str, Any]
    optional: bool

    @property
    def annotation(self) -> Any:
        """One of the names."""
        names = [*self.objects, *([None] if self.optional else [])]
        return Annotated[Any, PlainValidator(self._check), WithJsonSchema({"enum": names})]

    def built(self, value: Any, seed: int) -> Any:
        """Return the object."""
        return None if value is None else self.objects[value]

    def said(self, value: Any) -> Any:
        """Return the name of an object."""
        if value is None:
            return None
        for name, known in self.objects.items():
            if value is known or value == name:
                return name
        raise ValueError(f"{value!r} has no name in a file")

    def _check(self, value: Any) -> Any:
        if (value is None and self.optional) or (isinstance(value, str) and value in self.objects):
            return value
        raise invalid(joined([*map(repr, self.objects), *(["null"] if self.optional else [])]), list(self.objects))
