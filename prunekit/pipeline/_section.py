"""What every section of a pipeline file has in common."""

from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.functional_validators import ModelWrapValidatorHandler
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

PositiveInt = Annotated[int, Field(ge=1)]
OpenFraction = Annotated[float, Field(gt=0, lt=1)]

FILE_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
ONNX_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.onnx$"
PROGRAM_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}\.pt2$"
STEP_NAME = r"^[A-Za-z](_?[A-Za-z0-9])*$"
DEVICE = r"^(auto|cpu|mps|cuda(:\d{1,3})?)$"
"""Patterns of texts."""

UNKNOWN_KEY = "unknown_key"
UNKNOWN_NAME = "unknown_name"
BRANCHES = ("<number>", "<name>", "<mapping>", "<list>")
"""What pydantic puts into the place of an error in a value that may have several forms."""


class Section(BaseModel):
    """
    A mapping of a pipeline file: closed to unknown keys, strict about types, immutable.

    Parameters
    ----------
    **data : object
        The keys of the mapping.
    """

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, arbitrary_types_allowed=True
    )

    also_known: ClassVar[tuple[str, ...]] = ()
    """Keys of the file that are gone when the section is checked; for messages only."""

    @model_validator(mode="wrap")
    @classmethod
    def _tell_known_keys(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Attach to errors over unknown keys the keys that this section knows."""
        try:
            return handler(data)
        except ValidationError as exc:
            known = [*cls.model_fields, *cls.also_known]
            errors = [_with_known_keys(error, known) for error in exc.errors(include_url=False)]
            raise ValidationError.from_exception_data(exc.title, errors) from None


def _with_known_keys(error: ErrorDetails, known: list[str]) -> InitErrorDetails:
    kind, context = error["type"], dict(error.get("ctx", {}))
    if kind == "extra_forbidden":  # of this section: those of sections within it are renamed by then
        kind, context = UNKNOWN_KEY, {"known": known}
    # The message goes in as a value, for it may hold braces.
    custom = PydanticCustomError(kind, "{message}", {**context, "message": error["msg"]})
    return InitErrorDetails(type=custom, loc=error["loc"], input=error["input"])


def errors_at(exc: ValidationError, loc: tuple[str | int, ...]) -> ValidationError:
    """
    Return the errors of another validation as errors about a value in this one.

    Parameters
    ----------
    exc : ValidationError
        What the other validation found.
    loc : tuple of str or int
        Where the value stands here.

    Returns
    -------
    ValidationError
        To be raised in a validator.
    """
    errors = [_with_known_keys({**error, "loc": loc}, []) for error in exc.errors(include_url=False)]
    return ValidationError.from_exception_data(exc.title, errors)


def key_error(error_type: str, key: str | tuple[str | int, ...], got: object, /, **context: object) -> ValidationError:
    """
    Return an error about one key of a mapping, to be raised in a validator of that mapping.

    Parameters
    ----------
    error_type : str
        Type of the error.
    key : str or tuple of str or int
        The key, or the keys that lead to it.
    got : object
        Its value.
    **context : object
        What the message is made of.

    Returns
    -------
    ValidationError
        To be raised; pydantic merges it into the errors of the sections around it.
    """
    custom = PydanticCustomError(error_type, "{message}", {"message": error_type, **context})
    loc = (key,) if isinstance(key, str) else key
    return ValidationError.from_exception_data(str(loc[-1]), [InitErrorDetails(type=custom, loc=loc, input=got)])
