"""The sections of a pipeline file, as pydantic models."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from prunekit.importance import CRITERIA
from prunekit.pipeline._section import BRANCHES, UNKNOWN_NAME, Section
from prunekit.pipeline.registry import Chosen, Registered

__all__ = ["ComputeSection", "DataSection", "Experiment", "NetSection", "OutputsSection", "PruneSection"]

_NUMBER, _NAME = BRANCHES

PositiveInt = Annotated[int, Field(ge=1)]
OpenFraction = Annotated[float, Field(gt=0, lt=1)]


def _known_criterion(name: str) -> str:
    if name not in CRITERIA:
        context = {"kind": "criterion", "known": list(CRITERIA)}
        raise PydanticCustomError(UNKNOWN_NAME, "unknown criterion", context)
    return name


Step = Annotated[
    Annotated[float, Field(gt=0, le=1), Tag(_NUMBER)]
    | Annotated[Literal["linear", "cubic", "geometric", "one_shot", "milestones"], Tag(_NAME)],
    Discriminator(lambda step: _NAME if isinstance(step, str) else _NUMBER),
]


class DataSection(Section):
    """
    Where the data come from and what is kept apart for the final test.

    Parameters
    ----------
    source : str or mapping
        Name of a data source, with its options.
    test_size : float, default=0.25
        Fraction of the samples that only the final comparison sees.
    """

    source: Annotated[Chosen, Registered("source")]
    test_size: OpenFraction = 0.25


class NetSection(Section):
    """
    The dense network and how it is trained: a skorch classifier.

    Parameters
    ----------
    module : str or mapping
        Name of a network of the zoo, with its options.
    criterion : str or mapping, default="CrossEntropyLoss"
        Name of a loss, with its options.
    optimizer : str or mapping, default="AdamW"
        Name of an optimizer, with its options.
    lr : float, default=0.001
        Learning rate.
    max_epochs : int, default=10
        Epochs of training before pruning.
    batch_size : int, default=64
        Samples of a mini-batch.
    validation_size : float, default=0.2
        Fraction of the training samples that accuracy is watched on, in training and in pruning.
    """

    module: Annotated[Chosen, Registered("module")]
    criterion: Annotated[Chosen, Registered("criterion")] = Field("CrossEntropyLoss", validate_default=True)
    optimizer: Annotated[Chosen, Registered("optimizer")] = Field("AdamW", validate_default=True)
    lr: float = Field(1e-3, gt=0)
    max_epochs: PositiveInt = 10
    batch_size: PositiveInt = 64
    validation_size: OpenFraction = 0.2


class PruneSection(Section):
    """
    Parameters of `prunekit.TaylorPruner`, with its names and defaults.

    Parameters
    ----------
    target_reduction, reduction_of, step, criterion : optional
        What to remove, how much, how fast and by which score.
    score_batches, finetune_epochs, finetune_batches, final_epochs, final_batches : optional
        How long to score and to train.
    lr_policy, finetune_lr, compaction, distill, distill_temperature : optional
        How to train: learning rates, when to make the network smaller, what to learn from the one before pruning.
    min_score, max_score_drop, recovery_rounds, step_halvings : optional
        Thresholds on the validation accuracy, and what to do when one is broken.
    include, exclude, round_to, min_channels, max_layer_reduction, norms : optional
        What may be pruned.
    per, macs_regularization, score_momentum, reset_scores : optional
        By what units are compared.
    latency_batch_size : optional
        Number of samples of a forward pass whose time is measured.
    """

    target_reduction: OpenFraction = 0.5
    reduction_of: Literal["params", "macs", "filters", "memory", "latency"] = "params"
    step: Step = "cubic"
    criterion: Annotated[str, AfterValidator(_known_criterion)] = Field(
        "taylor", json_schema_extra={"enum": list(CRITERIA)}
    )
    score_batches: PositiveInt | None = None
    finetune_epochs: int = Field(1, ge=0)
    finetune_batches: PositiveInt | None = None
    final_epochs: int = Field(3, ge=0)
    final_batches: PositiveInt | None = None
    lr_policy: Literal["linear", "cosine", "anneal", "constant", "restart"] = "linear"
    finetune_lr: float | None = Field(None, gt=0)
    compaction: Literal["step", "end"] = "step"
    distill: float = Field(0.0, ge=0, le=1)
    distill_temperature: float = Field(2.0, gt=0)
    min_score: float | None = None
    max_score_drop: float | None = Field(None, ge=0)
    recovery_rounds: int = Field(1, ge=0)
    step_halvings: int = Field(2, ge=0)
    include: list[str] | None = None
    exclude: list[str] | None = None
    round_to: PositiveInt | None = None
    min_channels: PositiveInt = 1
    max_layer_reduction: float | None = Field(None, gt=0, le=1)
    norms: Literal["freeze", "subset"] = "freeze"
    per: Literal["target", "params", "macs", "filters", "memory", "latency"] | None = "target"
    macs_regularization: float = Field(0.0, ge=0)
    score_momentum: float = Field(0.0, ge=0, lt=1)
    reset_scores: bool = True
    latency_batch_size: PositiveInt = 1


class ComputeSection(Section):
    """
    What the run computes with.

    Parameters
    ----------
    threads : int, default=None
        Threads of torch. None: as many as torch takes by itself.
    """

    threads: PositiveInt | None = None


class OutputsSection(Section):
    """
    What is measured at the end.

    Parameters
    ----------
    latency_batch_sizes : list of int, default=[1, 32]
        Batches whose forward pass is timed.
    """

    latency_batch_sizes: list[PositiveInt] = Field([1, 32], min_length=1)


class Experiment(Section):
    """
    A whole experiment: data, a net, how it is pruned, and what comes out.

    Parameters
    ----------
    name : str
        Name, also of the output folder.
    seed : int, default=0
        Seed of everything random.
    data : DataSection
        The data.
    net : NetSection
        The dense network.
    prune : PruneSection
        How it is pruned.
    compute : ComputeSection, optional
        What is computed with.
    outputs : OutputsSection, optional
        What is measured.
    """

    also_known: ClassVar[tuple[str, ...]] = ("vars", "include")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    seed: int = Field(0, ge=0, lt=2**32)
    data: DataSection
    net: NetSection
    prune: PruneSection
    compute: ComputeSection = Field(default_factory=ComputeSection)
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
