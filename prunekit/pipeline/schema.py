"""The sections of a pipeline file, as pydantic models."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from prunekit.importance import CRITERIA
from prunekit.pipeline._section import UNKNOWN_NAME, Section
from prunekit.pipeline.registry import Chosen, Registered

__all__ = ["DataSection", "Experiment", "NetSection", "OutputsSection", "PruneSection"]

PositiveInt = Annotated[int, Field(ge=1)]
OpenFraction = Annotated[float, Field(gt=0, lt=1)]


def _known_criterion(name: str) -> str:
    if name not in CRITERIA:
        context = {"kind": "criterion", "known": list(CRITERIA)}
        raise PydanticCustomError(UNKNOWN_NAME, "unknown criterion", context)
    return name


class DataSection(Section):
    """Where the data come from and what is kept apart for the final test."""

    source: Annotated[Chosen, Registered("source")]
    test_size: OpenFraction = 0.25


class NetSection(Section):
    """The dense network and how it is trained: a skorch classifier."""

    module: Annotated[Chosen, Registered("module")]
    criterion: Annotated[Chosen, Registered("criterion")] = Field("CrossEntropyLoss", validate_default=True)
    optimizer: Annotated[Chosen, Registered("optimizer")] = Field("AdamW", validate_default=True)
    lr: float = Field(1e-3, gt=0)
    max_epochs: PositiveInt = 10
    batch_size: PositiveInt = 64
    validation_size: OpenFraction = 0.2


class PruneSection(Section):
    """Parameters of `prunekit.TaylorPruner`, with its defaults."""

    target_reduction: OpenFraction = 0.5
    reduction_of: Literal["params", "macs", "filters", "memory"] = "params"
    step: float = Field(0.05, gt=0, le=1)
    criterion: Annotated[str, AfterValidator(_known_criterion)] = "taylor"
    score_batches: PositiveInt | None = None
    finetune_epochs: int = Field(1, ge=0)
    finetune_batches: PositiveInt | None = None
    final_epochs: int = Field(3, ge=0)
    min_score: float | None = None
    max_score_drop: float | None = Field(None, ge=0)
    include: list[str] | None = None
    exclude: list[str] | None = None
    round_to: PositiveInt | None = None
    min_channels: PositiveInt = 1
    max_layer_reduction: float | None = Field(None, gt=0, le=1)


class OutputsSection(Section):
    """What is measured at the end."""

    latency_batch_sizes: list[PositiveInt] = Field([1, 32], min_length=1)


class Experiment(Section):
    """A whole experiment: data, a net, how it is pruned, and what comes out."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    seed: int = Field(0, ge=0, lt=2**32)
    data: DataSection
    net: NetSection
    prune: PruneSection
    outputs: OutputsSection = Field(default_factory=OutputsSection)

    def resolved(self) -> dict[str, Any]:
        """
        Return the whole experiment as plain values, defaults included.

        Returns
        -------
        dict
            What a pipeline file that leaves nothing out would hold.
        """
        return self.model_dump(mode="json")
