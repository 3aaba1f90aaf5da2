"""Parameters of a pruner, as a section of a pipeline file."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag
from pydantic_core import PydanticCustomError

from prunekit.importance import CRITERIA
from prunekit.pipeline._scoring import Scorer
from prunekit.pipeline._section import BRANCHES, UNKNOWN_NAME, OpenFraction, PositiveInt, Section

_NUMBER, _NAME, *_ = BRANCHES


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
    scoring, min_score, max_score_drop, recovery_rounds, step_halvings : optional
        Thresholds on the validation score, accuracy if ``scoring`` names nothing else, and what to do when one is
        broken.
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
    scoring: Scorer | None = None
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
