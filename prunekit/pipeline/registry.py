"""The closed list of names that a pipeline file may use.

A file never imports anything: what it names is looked up here, and its options are checked against the entry's own
model before anything is built.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any

import torch
from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic_core import PydanticCustomError, core_schema

from prunekit.pipeline import nets
from prunekit.pipeline._section import UNKNOWN_NAME, Section, key_error
from prunekit.pipeline._sources import NpzOptions, load_digits, load_npz

__all__ = ["REGISTRY", "Chosen", "Entry", "Registered"]


@dataclass(frozen=True)
class Entry:
    """
    Something that a file can name.

    Parameters
    ----------
    target : callable
        Class or function that the name stands for.
    summary : str
        One line for people.
    options : type of Section
        Model of the arguments that a file may give.
    """

    target: Callable[..., Any]
    summary: str
    options: type[Section]


class NoOptions(Section):
    """No options."""


class ConvNetOptions(Section):
    """Options of `ConvNet`."""

    widths: list[Annotated[int, Field(ge=1)]] = Field([32, 64, 128], min_length=1)
    depth: int = Field(2, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)


class ResNetOptions(Section):
    """Options of `ResNet`."""

    widths: list[Annotated[int, Field(ge=1)]] = Field([16, 32, 64], min_length=1)
    depth: int = Field(1, ge=1)


class MobileNetOptions(Section):
    """Options of `MobileNet`."""

    widths: list[Annotated[int, Field(ge=1)]] = Field([16, 32, 64], min_length=1)


class MLPOptions(Section):
    """Options of `MLP`."""

    widths: list[Annotated[int, Field(ge=1)]] = Field([256, 128], min_length=1)
    dropout: float = Field(0.0, ge=0, lt=1)


class CrossEntropyOptions(Section):
    """Options of `torch.nn.CrossEntropyLoss`."""

    label_smoothing: float = Field(0.0, ge=0, le=1)


class SGDOptions(Section):
    """Options of `torch.optim.SGD`."""

    momentum: float = Field(0.0, ge=0, lt=1)
    weight_decay: float = Field(0.0, ge=0)
    nesterov: bool = False


class AdamOptions(Section):
    """Options of `torch.optim.Adam`."""

    betas: list[Annotated[float, Field(ge=0, lt=1)]] = Field([0.9, 0.999], min_length=2, max_length=2)
    eps: float = Field(1e-8, gt=0)
    weight_decay: float = Field(0.0, ge=0)


class AdamWOptions(AdamOptions):
    """Options of `torch.optim.AdamW`."""

    weight_decay: float = Field(1e-2, ge=0)


REGISTRY: Mapping[str, Mapping[str, Entry]] = MappingProxyType(
    {
        "source": {
            "digits": Entry(load_digits, "scikit-learn's 1797 handwritten digits, 8x8 pixels, 10 classes", NoOptions),
            "npz": Entry(load_npz, "two arrays of a .npz file: samples and class numbers", NpzOptions),
        },
        "module": {
            "ConvNet": Entry(nets.ConvNet, "stack of 3x3 convolutions with batch norm", ConvNetOptions),
            "ResNet": Entry(nets.ResNet, "residual network of basic blocks", ResNetOptions),
            "MobileNet": Entry(nets.MobileNet, "depthwise-separable convolutions", MobileNetOptions),
            "MLP": Entry(nets.MLP, "linear layers with batch norm", MLPOptions),
        },
        "criterion": {
            "CrossEntropyLoss": Entry(torch.nn.CrossEntropyLoss, "cross entropy of the logits", CrossEntropyOptions),
        },
        "optimizer": {
            "SGD": Entry(torch.optim.SGD, "stochastic gradient descent", SGDOptions),
            "Adam": Entry(torch.optim.Adam, "Adam", AdamOptions),
            "AdamW": Entry(torch.optim.AdamW, "Adam with decoupled weight decay", AdamWOptions),
        },
    }
)


@dataclass(frozen=True)
class Chosen:
    """
    A registered name with the options that a file gives it.

    Parameters
    ----------
    name : str
        The name.
    entry : Entry
        What the name stands for.
    options : Section
        The checked options.
    """

    name: str
    entry: Entry
    options: Section

    @property
    def arguments(self) -> dict[str, Any]:
        """
        Options as keyword arguments.

        Returns
        -------
        dict
            Argument by name, defaults included.
        """
        return self.options.model_dump()


@dataclass(frozen=True)
class Registered:
    """
    Marks the annotation of a field that names something registered, as in ``Annotated[Chosen, Registered("module")]``.

    Parameters
    ----------
    kind : str
        A key of `REGISTRY`.
    """

    kind: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """
        Tell pydantic how the field is read and written.

        Parameters
        ----------
        source : object
            The annotated type; always `Chosen`.
        handler : callable
            Makes the schema of other types; not used.

        Returns
        -------
        dict
            Schema of a field that is read by `_choose` and written as a mapping.
        """
        return core_schema.with_info_plain_validator_function(
            self._choose, serialization=core_schema.plain_serializer_function_ser_schema(_dump)
        )

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """
        Return the JSON Schema of the field: a name, or a mapping of a name and its options.

        Parameters
        ----------
        schema : dict
            What `__get_pydantic_core_schema__` returned; not used.
        handler : callable
            Makes JSON Schemas of others; not used.

        Returns
        -------
        dict
            The schema.
        """
        return {"anyOf": [one for name, entry in REGISTRY[self.kind].items() for one in _json_schemas(name, entry)]}

    def _choose(self, value: object, info: ValidationInfo) -> Chosen:
        """Look up ``value``, a name or a mapping of a name and its options."""
        entries = REGISTRY[self.kind]
        if isinstance(value, str):
            value = {"name": value}
        if not isinstance(value, dict):
            raise PydanticCustomError("name_or_mapping", "must be a name", {"kind": self.kind})
        options = dict(value)
        if "name" not in options:
            raise key_error("missing", "name", value)
        name = options.pop("name")
        if not isinstance(name, str) or name not in entries:
            raise key_error(UNKNOWN_NAME, "name", name, kind=self.kind, known=list(entries))
        entry = entries[name]
        return Chosen(name, entry, entry.options.model_validate(options, context=info.context))


def _dump(chosen: Chosen) -> dict[str, Any]:
    return {"name": chosen.name, **chosen.options.model_dump(mode="json")}


def _json_schemas(name: str, entry: Entry) -> Iterator[dict[str, Any]]:
    """Yield the short form, where no option is required, and the mapping."""
    options = entry.options.model_json_schema()
    about = {"title": name, "description": entry.summary}
    required = options.get("required", [])
    if not required:
        yield {**about, "const": name}
    yield {
        **about,
        "type": "object",
        "properties": {"name": {"const": name}, **options.get("properties", {})},
        "required": ["name", *required],
        "additionalProperties": False,
    }
