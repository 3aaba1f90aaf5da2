"""How a pipeline file writes the parameters of a step: plain values there, scikit-learn's values here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError
from sklearn.base import BaseEstimator

from prunekit.pipeline._constraints import Sayable, Schema, meets, schema_of, step_words, words_of
from prunekit.pipeline._section import key_error

INVALID_PARAMETER = "invalid_parameter"

STEP_SCHEMA: Schema = {
    "anyOf": [
        {"type": "string"},
        {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]},
    ]
}


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
        """
        The type.

        Returns
        -------
        type
            As given.
        """
        return self.type

    def built(self, value: Any, seed: int) -> Any:
        """
        Return the value, a list as a tuple.

        Parameters
        ----------
        value : object
            As the file says it.
        seed : int
            Not used.

        Returns
        -------
        object
            For the estimator.
        """
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
        """
        Anything, checked by the constraints.

        Returns
        -------
        type
            For the field of a model.
        """
        schema = schema_of(self.sayables) or (STEP_SCHEMA if self._choices == () and not self._others else {})
        return Annotated[Any, PlainValidator(self._check), WithJsonSchema(schema)]

    @property
    def _choices(self) -> tuple[str, ...]:
        return tuple(choice for one in self.sayables for choice in one.choices)

    @property
    def _others(self) -> list[Sayable]:
        return [one for one in self.sayables if BaseEstimator not in one.types]

    @property
    def _takes_steps(self) -> bool:
        return len(self._others) < len(self.sayables)

    def built(self, value: Any, seed: int) -> Any:
        """
        Return the value that the estimator gets: steps built, lists as tuples where only those will do.

        Parameters
        ----------
        value : object
            As the file says it, checked.
        seed : int
            For steps.

        Returns
        -------
        object
            For the estimator.
        """
        if self._takes_steps and isinstance(value, Mapping):
            return self.steps.build(value, seed)
        if isinstance(value, list) and (isinstance(self.default, tuple) or not meets(value, self.sayables)):
            return tuple(value)
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
            Plain values, steps described.
        """
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
        """
        Return the weights by class number.

        Parameters
        ----------
        value : object
            As the file says it, checked.
        seed : int
            Not used.

        Returns
        -------
        object
            For the estimator.
        """
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
        """
        One of the names.

        Returns
        -------
        type
            For the field of a model.
        """
        names = [*self.objects, *([None] if self.optional else [])]
        return Annotated[Any, PlainValidator(self._check), WithJsonSchema({"enum": names})]

    def built(self, value: Any, seed: int) -> Any:
        """
        Return the object.

        Parameters
        ----------
        value : str or None
            Its name.
        seed : int
            Not used.

        Returns
        -------
        object
            For the estimator.
        """
        return None if value is None else self.objects[value]

    def said(self, value: Any) -> Any:
        """
        Return the name of an object.

        Parameters
        ----------
        value : object
            Of an estimator.

        Returns
        -------
        str or None
            The name.

        Raises
        ------
        ValueError
            If it has none here.
        """
        if value is None:
            return None
        for name, known in self.objects.items():
            if value is known or value == name:
                return name
        raise ValueError(f"{value!r} has no name in a file")

    def _check(self, value: Any) -> Any:
        if (value is None and self.optional) or (isinstance(value, str) and value in self.objects):
            return value
        words = [Sayable(repr(name), ()) for name in self.objects]
        raise invalid(words_of([*words, *([Sayable("null", ())] if self.optional else [])]), list(self.objects))


@dataclass(frozen=True)
class StepList(Form):
    """
    Lists of names and steps, as those of a `FeatureUnion`.

    Parameters
    ----------
    methods : tuple of str
        What each step must have.
    words : tuple of str
        What may stand instead of a step.
    steps : Steps
        What knows the steps.
    taken : tuple of str, default=()
        Names that are the estimator's own parameters.
    columns : bool, default=False
        Whether each has the columns that it is for as a third item.
    """

    methods: tuple[str, ...]
    words: tuple[str, ...]
    steps: Steps = field(repr=False)
    taken: tuple[str, ...] = ()
    columns: bool = False

    @property
    def annotation(self) -> Any:
        """
        A list of pairs, or triples.

        Returns
        -------
        type
            For the field of a model.
        """
        name = Annotated[str, BeforeValidator(self._check_name)]
        step = Annotated[Any, PlainValidator(self._check_step), WithJsonSchema(STEP_SCHEMA)]
        columns = Annotated[Any, PlainValidator(_check_columns), WithJsonSchema(_COLUMNS_SCHEMA)]
        items: Any = tuple[name, step, columns] if self.columns else tuple[name, step]
        item = Annotated[items, BeforeValidator(self._check_item)]
        return Annotated[list[item], Field(min_length=1), AfterValidator(_check_unique)]

    def built(self, value: Any, seed: int) -> Any:
        """
        Return the list with its steps built.

        Parameters
        ----------
        value : list
            As the file says it, checked.
        seed : int
            For the steps.

        Returns
        -------
        list of tuple
            For the estimator.
        """
        return [
            (name, step if isinstance(step, str) else self.steps.build(step, seed), *rest)
            for name, step, *rest in value
        ]

    def said(self, value: Any) -> Any:
        """
        Return the list with its steps described.

        Parameters
        ----------
        value : list of tuple
            Of an estimator.

        Returns
        -------
        list of list
            Plain values.
        """
        return [
            [name, self.steps.describe(step) if isinstance(step, BaseEstimator) else plain(step), *map(plain, rest)]
            for name, step, *rest in value
        ]

    def _check_item(self, value: Any) -> Any:
        size = 3 if self.columns else 2
        if not isinstance(value, list | tuple) or len(value) != size:
            raise invalid("a list of a name, a step and columns" if self.columns else "a list of a name and a step")
        return tuple(value)

    def _check_name(self, value: Any) -> Any:
        if not isinstance(value, str) or not value or "__" in value:
            raise invalid("a text without '__'")
        if value in self.taken:
            raise invalid(f"another name than those of options ({', '.join(self.taken)})")
        return value

    def _check_step(self, value: Any) -> Any:
        if isinstance(value, str) and value in self.words:
            return value
        chosen = self.steps.choose(value)
        built = self.steps.build(chosen, 0)
        if not all(hasattr(built, method) for method in self.methods):
            raise invalid(words_of([Sayable(word, ()) for word in (step_words(self.methods), *map(repr, self.words))]))
        return chosen


_COLUMN: Schema = {"type": "integer"}
_COLUMNS_SCHEMA: Schema = {"anyOf": [_COLUMN, {"type": "array", "items": {"type": ["integer", "boolean"]}}]}


def _check_columns(value: Any) -> Any:
    columns = value if isinstance(value, list) else [value]
    if {type(column) for column in columns} not in ({int}, {bool}, set()) or type(value) is bool:
        raise invalid("a column number, or a list of column numbers or of true and false")
    return value


def _check_unique(value: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    names = [name for name, *_ in value]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise key_error("duplicate_name", (index, 0), name)
    return value


def plain(value: Any) -> Any:
    """
    Return a value of an estimator as YAML can write it.

    Parameters
    ----------
    value : object
        Numbers, texts, lists, tuples, arrays, mappings.

    Returns
    -------
    object
        Plain values: tuples and arrays are lists, keys are texts.

    Raises
    ------
    ValueError
        If there is anything else in it.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    raise ValueError(f"{value!r} cannot be written as a plain value")


def is_same(value: Any, other: Any) -> bool:
    """
    Return whether two plain values are the same, of the same type.

    Parameters
    ----------
    value, other : object
        Plain values; the second may hold tuples.

    Returns
    -------
    bool
        True and 1, 1 and 1.0 differ; not-a-number is the same as itself.
    """
    try:
        return repr(plain(value)) == repr(plain(other))
    except ValueError:
        return False
