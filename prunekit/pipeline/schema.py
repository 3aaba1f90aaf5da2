"""The sections of a pipeline file, as pydantic models."""

from math import prod
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Discriminator, Field, Tag, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from prunekit.importance import CRITERIA
from prunekit.pipeline._imports import Imports
from prunekit.pipeline._samples import Task
from prunekit.pipeline._searching import PARAMS, key_path_of, searchable, with_parameters
from prunekit.pipeline._section import BRANCHES, UNKNOWN_NAME, Section, errors_at, key_error
from prunekit.pipeline.registry import REGISTRY, Chosen, Registered

__all__ = ["ComputeSection", "DataSection", "Experiment", "NetSection", "OutputsSection", "PruneSection"]

MAX_CANDIDATES = 1000

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
    test_size : float, default=None
        Fraction of the samples that only the final comparison sees. None: the test part that the source comes with,
        0.25 where it has none.
    sample : int, default=None
        Number of samples that are used, drawn by the seed; None: all. A test part that the source comes with is thinned
        out in proportion.
    reshape : list of int, default=None
        Shape of one sample, as in ``[1, 28, 28]``; None: as the source gives it.
    scale : {"standard", "minmax"}, default=None
        Whether each feature of a table, each channel of images and series, is brought to mean 0 and standard deviation
        1, or to 0 to 1, by what the training part holds.
    target_scale : {"standard"}, default=None
        The same for what a regression predicts. Errors are told in the units of the data anyway.
    """

    source: Annotated[Chosen, Registered("source")]
    test_size: OpenFraction | None = None
    sample: Annotated[int, Field(ge=2)] | None = None
    reshape: Annotated[list[PositiveInt], Field(min_length=1, max_length=4)] | None = None
    scale: Literal["standard", "minmax"] | None = None
    target_scale: Literal["standard"] | None = None


class NetSection(Section):
    """
    The dense network and how it is trained: a skorch net.

    Parameters
    ----------
    estimator : {"NeuralNetClassifier", "NeuralNetRegressor"}, default="NeuralNetClassifier"
        Class of the skorch net.
    module : str or mapping
        Name of a network of the zoo, with its options.
    criterion : str or mapping, optional
        Name of a loss, with its options; ``CrossEntropyLoss`` for classifiers and ``MSELoss`` for regressors if it is
        not given.
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
    scheduler : str or mapping, default=None
        Name of a schedule of the learning rate, with its options, for the training of the dense net; fine-tuning has
        that of ``prune``.
    callbacks : list of str or mapping, optional
        Names of callbacks, with their options.
    """

    estimator: Literal["NeuralNetClassifier", "NeuralNetRegressor"] = "NeuralNetClassifier"

    module: Annotated[Chosen, Registered("module")]
    criterion: Annotated[Chosen, Registered("criterion")] = Field("CrossEntropyLoss", validate_default=True)
    optimizer: Annotated[Chosen, Registered("optimizer")] = Field("AdamW", validate_default=True)
    lr: float = Field(1e-3, gt=0)
    max_epochs: PositiveInt = 10
    batch_size: PositiveInt = 64
    validation_size: OpenFraction = 0.2
    scheduler: Annotated[Chosen, Registered("scheduler")] | None = None
    callbacks: list[Annotated[Chosen, Registered("callback")]] = Field(default_factory=list, max_length=20)

    @property
    def task(self) -> Task:
        """
        What is to be learnt.

        Returns
        -------
        {"classification", "regression"}
            As the estimator says.
        """
        return "regression" if self.estimator == "NeuralNetRegressor" else "classification"

    @model_validator(mode="before")
    @classmethod
    def _add_criterion(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("estimator") == "NeuralNetRegressor":
            return {"criterion": "MSELoss", **data}
        return data

    @model_validator(mode="after")
    def _check_criterion(self) -> Self:
        if self.task not in self.criterion.entry.tasks:
            fitting = [name for name, entry in REGISTRY["criterion"].items() if self.task in entry.tasks]
            raise self._wrong_task(self.criterion, ("criterion",), f"Known for it: {', '.join(fitting)}.")
        if self.optimizer.arguments.get("nesterov") and not self.optimizer.arguments.get("momentum", True):
            raise key_error("needs_momentum", ("optimizer", "nesterov"), True)
        for index, chosen in enumerate(self.callbacks):
            if chosen.name in [other.name for other in self.callbacks[:index]]:
                raise key_error("duplicate_name", ("callbacks", index), chosen.name)
        return self

    def _wrong_task(self, chosen: Chosen, key: tuple[str, ...], fix: str) -> ValidationError:
        tasks = list(chosen.entry.tasks)
        return key_error("wrong_task", key, chosen.name, tasks=tasks, estimator=self.estimator, fix=fix)


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
    imports : list of str, default=[]
        Modules of the user's own, below which names with a dot are looked up.
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
    search : mapping, optional
        A search over parameters of ``prune`` and, with ``estimator__`` before them, of ``net``.
    """

    also_known: ClassVar[tuple[str, ...]] = ("vars", "include")

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")
    seed: int = Field(0, ge=0, lt=2**32)
    imports: Imports = Imports()
    data: DataSection
    net: NetSection
    prune: PruneSection
    compute: ComputeSection = Field(default_factory=ComputeSection)
    outputs: OutputsSection = Field(default_factory=OutputsSection)
    search: Annotated[Chosen, Registered("search")] | None = None

    @model_validator(mode="after")
    def _check_task(self) -> Self:
        source = self.data.source
        if self.net.task not in source.entry.tasks:
            other = "NeuralNetRegressor" if self.net.task == "classification" else "NeuralNetClassifier"
            fix = f"Write 'estimator: {other}' under net, or name another source."
            raise self.net._wrong_task(source, ("data", "source"), fix)
        return self

    @model_validator(mode="after")
    def _check_search(self) -> Self:
        """Check every candidate by the section that it is for."""
        if self.search is None:
            return self
        key = PARAMS[self.search.name]
        grid = self.search.arguments[key]
        sections = {"net": self.net.model_dump(mode="json"), "prune": self.prune.model_dump(mode="json")}
        known = list(searchable(sections["net"], sections["prune"]))
        for name, values in grid.items():
            if name not in known:
                raise key_error(UNKNOWN_NAME, ("search", key, name), name, kind="parameter", known=known)
            for index, value in enumerate(values):
                section = key_path_of(name)[0]
                model = NetSection if section == "net" else PruneSection
                try:
                    model.model_validate(
                        with_parameters(sections, {name: value})[section], context=self.imports.context
                    )
                except ValidationError as exc:
                    raise errors_at(exc, ("search", key, name, index)) from exc
        if self.search.name == "GridSearchCV" and prod(map(len, grid.values())) > MAX_CANDIDATES:
            count = prod(map(len, grid.values()))
            raise key_error("too_many_candidates", ("search", key), count, most=MAX_CANDIDATES)
        return self

    def resolved(self) -> dict[str, Any]:
        """
        Return the whole experiment as plain values, defaults included.

        Returns
        -------
        dict
            What a pipeline file that leaves nothing out would hold.
        """
        return self.model_dump(mode="json")
