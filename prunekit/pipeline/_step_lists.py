"""How a pipeline file writes the parameters of a step that are lists of named steps."""

from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, WithJsonSchema
from sklearn.base import BaseEstimator

from prunekit.pipeline._constraints import STEP_SCHEMAS, Schema, joined, step_words
from prunekit.pipeline._forms import Form, Steps, invalid
from prunekit.pipeline._plain import plain
from prunekit.pipeline._section import key_error


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
        """A list of pairs, or triples."""
        name = Annotated[str, BeforeValidator(self._check_name)]
        step = Annotated[Any, PlainValidator(self._check_step), WithJsonSchema({"anyOf": STEP_SCHEMAS})]
        columns = Annotated[Any, PlainValidator(_check_columns), WithJsonSchema(_COLUMNS_SCHEMA)]
        items: Any = tuple[name, step, columns] if self.columns else tuple[name, step]
        item = Annotated[items, BeforeValidator(self._check_item)]
        return Annotated[list[item], Field(min_length=1), AfterValidator(_check_unique)]

    def built(self, value: Any, seed: int) -> Any:
        """Return the list with its steps built."""
        return [
            (name, step if isinstance(step, str) else self.steps.build(step, seed), *rest)
            for name, step, *rest in value
        ]

    def said(self, value: Any) -> Any:
        """Return the list with its steps described."""
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
            raise invalid(joined([step_words(self.methods), *map(repr, self.words)]), self.words)
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
