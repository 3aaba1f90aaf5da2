"""The sections of a pipeline file, as pydantic models."""

from math import prod
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PrivateAttr, TypeAdapter, ValidationError, ValidationInfo, model_validator
from sklearn.base import ClassifierMixin, RegressorMixin

from prunekit.pipeline._compute import ComputeSection, Device
from prunekit.pipeline._imports import Imports
from prunekit.pipeline._pruning import PruneSection
from prunekit.pipeline._samples import Task
from prunekit.pipeline._searching import PARAMS, parameter_paths, with_parameters
from prunekit.pipeline._section import (
    FILE_NAME,
    STEP_NAME,
    UNKNOWN_NAME,
    OpenFraction,
    PositiveInt,
    Section,
    errors_at,
    key_error,
)
from prunekit.pipeline._steps import EXPORTERS, OF_NET, ONNX, PROGRAM, PRUNERS, PathSection, ProgramSection
from prunekit.pipeline._weights import PretrainedSection
from prunekit.pipeline.registry import REGISTRY, Chosen, Registered

__all__ = ["ComputeSection", "DataSection", "Experiment", "NetSection", "OutputsSection", "PruneSection"]

MAX_CANDIDATES = 1000


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
    channels : int, default=None
        Number of channels of images; the one of grey images is repeated, for networks that were trained in colour.
    resize : list of int, default=None
        Height and width that images are scaled to, by linear interpolation in both directions.
    dtype : {"float32", "float64"}, default="float32"
        What the network computes in, and its data with it.
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
    channels: Annotated[int, Field(ge=1, le=1024)] | None = None
    resize: Annotated[list[Annotated[int, Field(ge=1, le=4096)]], Field(min_length=2, max_length=2)] | None = None
    dtype: Literal["float32", "float64"] = "float32"
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
    device : str, default=None
        Where the net is trained; None: where ``compute`` says.
    pretrained : mapping, default=None
        Weights to begin with.
    frozen : bool, default=False
        Whether pruning starts from the pretrained weights as they are, without training before.
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
    device: Device | None = None
    pretrained: PretrainedSection | None = None
    frozen: bool = False

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
        if self.frozen and self.pretrained is None:
            raise key_error("needs_weights", "frozen", True)
        for index, chosen in enumerate(self.callbacks):
            if chosen.name in [other.name for other in self.callbacks[:index]]:
                raise key_error("duplicate_name", ("callbacks", index), chosen.name)
        return self

    def _wrong_task(self, chosen: Chosen, key: tuple[str, ...], fix: str) -> ValidationError:
        tasks = list(chosen.entry.tasks)
        return key_error("wrong_task", key, chosen.name, tasks=tasks, estimator=self.estimator, fix=fix)


class OutputsSection(Section):
    """
    What is measured and written at the end, besides what every run writes.

    Parameters
    ----------
    latency_batch_sizes : list of int, default=[1, 32]
        Batches whose forward pass is timed.
    parquet : bool, default=False
        Whether all tables are written as parquet files too; the history is in any case.
    report : bool, default=True
        Whether an HTML report is written.
    plots : list of str, optional
        Pictures to draw: ``path``, ``layers``, ``history``, ``importances``, ``confusion``.
    plot_format : {"png", "svg", "pdf"}, default="png"
        Their format.
    nets : bool, default=True
        Whether the nets are saved.
    onnx, program : bool, default=False
        Whether the pruned net is exported for ONNX Runtime, by ``torch.export``.
    """

    latency_batch_sizes: list[PositiveInt] = Field([1, 32], min_length=1)
    parquet: bool = False
    report: bool = True
    plots: list[Literal["path", "layers", "history", "importances", "confusion"]] = Field(default_factory=list)
    plot_format: Literal["png", "svg", "pdf"] = "png"
    nets: bool = True
    onnx: bool = False
    program: bool = False


StepName = Annotated[str, Field(pattern=STEP_NAME, max_length=50)]
Steps = Annotated[dict[StepName, Annotated[Chosen, Registered("step")]], Field(min_length=1, max_length=50)]


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
        The dense network; only steps without it need none.
    prune : PruneSection
        How it is pruned. ``steps`` can stand in its place.
    steps : dict of str to (str or mapping)
        The steps of a pipeline by their names, in order: transformers, then the net, a pruner or another estimator,
        then exporters.
    search : mapping, optional
        A search over parameters of the estimator that these sections give.
    compute : ComputeSection, optional
        What is computed with.
    outputs : OutputsSection, optional
        What is measured and written.
    """

    also_known: ClassVar[tuple[str, ...]] = ("vars", "include")

    name: str = Field(pattern=FILE_NAME)
    seed: int = Field(0, ge=0, lt=2**32)
    imports: Imports = Imports()
    data: DataSection
    net: NetSection | None = None
    prune: PruneSection | None = None
    steps: Steps | None = None
    search: Annotated[Chosen, Registered("search")] | None = None
    compute: ComputeSection = Field(default_factory=ComputeSection)
    outputs: OutputsSection = Field(default_factory=OutputsSection)

    _origin: "_Origin" = PrivateAttr(default_factory=lambda: _Origin())

    @property
    def file(self) -> Path | None:
        """
        File that the experiment was read from.

        Returns
        -------
        Path or None
            None for an experiment that was made in Python.
        """
        return self._origin.context.get("file")

    def changed(self, **sections: Any) -> "Experiment":
        """
        Return the experiment with other sections, checked as those of the file are.

        Parameters
        ----------
        **sections : object
            Plain values, None for a section that is left out.

        Returns
        -------
        Experiment
            A new one.
        """
        return Experiment.model_validate({**self.resolved(), **sections}, context=self._origin.context)

    @property
    def task(self) -> Task:
        """
        What is to be learnt.

        Returns
        -------
        {"classification", "regression"}
            As the net says, or the estimator among the steps.
        """
        if self.net is not None:
            return self.net.task
        tasks = self._last_step[1].entry.tasks
        return next((task for task in tasks if task in self.data.source.entry.tasks), tasks[0])

    @property
    def pruner(self) -> PruneSection | None:
        """
        Parameters of the pruner, wherever the file has them.

        Returns
        -------
        PruneSection or None
            None if nothing is pruned.
        """
        if self.steps is None:
            return self.prune
        options = self._last_step[1].options
        section = options.estimator if isinstance(options, PathSection) else options
        return section if isinstance(section, PruneSection) else None

    @property
    def _prunes(self) -> bool:
        return self.steps is None or self._last_step[1].name in PRUNERS

    @property
    def _last_step(self) -> tuple[str, Chosen]:
        """The step that learns: the last one but for exporters."""
        steps = list((self.steps or {}).items())
        return next((one for one in reversed(steps) if one[1].name not in EXPORTERS), steps[-1])

    @model_validator(mode="after")
    def _note_origin(self, info: ValidationInfo) -> Self:
        self._origin = _Origin(info.context or {})
        return self

    @model_validator(mode="after")
    def _check_parts(self) -> Self:
        """Check that there is what is needed, and nothing that nobody would look at."""
        if self.prune is not None and self.steps is not None:
            raise key_error("prune_and_steps", "steps", None)
        if self.prune is None and self.steps is None:
            raise key_error("missing", "prune", None)
        needs_net = self.steps is None or any(step.name in OF_NET for step in self.steps.values())
        if needs_net and self.net is None:
            raise key_error("missing", "net", None)
        if self.net is not None and not needs_net:
            raise key_error("net_without_step", "net", None, known=list(OF_NET))
        if self.net is not None and self.net.frozen and not self._prunes:
            raise key_error("frozen_without_pruner", ("net", "frozen"), True)
        return self

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        """Check that the steps can follow each other."""
        names = list(self.steps or {})
        last = self._last_step[0] if self.steps else ""
        for name, step in (self.steps or {}).items():
            at = ("steps", name)
            if name in _OF_PIPELINES:
                raise key_error("reserved_name", at, name)
            if names.index(name) < names.index(last):
                if step.name in OF_NET or step.name in EXPORTERS or not hasattr(step.entry.target, "transform"):
                    raise key_error("not_a_transformer", at, step.name)
            elif step.name in EXPORTERS and not self._prunes:
                raise key_error("nothing_to_export", at, step.name, known=list(PRUNERS))
            elif step.name in EXPORTERS and self.search is not None:
                raise key_error("export_of_candidates", at, step.name, key=_OUTPUTS[step.name])
        if self.steps and self._last_step[1].name not in OF_NET and not _predicts(self._last_step[1]):
            raise key_error("nothing_learns", ("steps", last), self._last_step[1].name)
        return self

    @model_validator(mode="after")
    def _check_outputs(self) -> Self:
        """Check that there is what the outputs are about."""
        outputs = self.outputs
        for index, name in enumerate(outputs.plots):
            at = ("outputs", "plots", index)
            if not self._prunes:
                raise key_error("plots_of_nothing", at[:2], name)
            if name in outputs.plots[:index]:
                raise key_error("duplicate_name", at, name)
            if name == "confusion" and self.task == "regression":
                raise key_error("no_classes", at, name)
        for key in ("onnx", "program"):
            if getattr(outputs, key) and self.net is None:
                raise key_error("no_net", ("outputs", key), True)
        wanted = {"pruned.onnx": outputs.onnx, "pruned.pt2": outputs.program}
        taken = {file for file, is_wanted in wanted.items() if is_wanted}
        for step, chosen in (self.steps or {}).items():
            if isinstance(chosen.options, ProgramSection):
                if chosen.options.path in taken:
                    raise key_error("same_file", ("steps", step, "path"), chosen.options.path)
                taken.add(chosen.options.path)
        return self

    @model_validator(mode="after")
    def _check_task(self) -> Self:
        source = self.data.source
        if self.task in source.entry.tasks:
            return self
        if self.net is None:
            step = self._last_step[1]
            context = {"tasks": list(source.entry.tasks), "estimator": step.name}
            raise key_error("wrong_task", ("data", "source"), source.name, **context, fix="Name another source.")
        other = "NeuralNetRegressor" if self.net.task == "classification" else "NeuralNetClassifier"
        fix = f"Write 'estimator: {other}' under net, or name another source."
        raise self.net._wrong_task(source, ("data", "source"), fix)

    @model_validator(mode="after")
    def _check_drop(self) -> Self:
        """Refuse a drop in points: an accuracy lies between 0 and 1, so that such a threshold would never hold."""
        section = self.pruner
        if section is None or self.task == "regression" or section.scoring is not None:
            return self
        if section.max_score_drop is not None and section.max_score_drop >= 1:
            at: tuple[str, ...] = ("prune",)
            if self.steps is not None:
                name, step = self._last_step
                at = ("steps", name, "estimator") if isinstance(step.options, PathSection) else ("steps", name)
            raise key_error("drop_in_points", (*at, "max_score_drop"), f"{section.max_score_drop:g}")
        return self

    @model_validator(mode="after")
    def _check_search(self) -> Self:
        """Check every candidate by the section that it is for."""
        if self.search is None:
            return self
        key = PARAMS[self.search.name]
        grid = self.search.arguments[key]
        content = self.model_dump(mode="json", exclude={"search"})
        paths = parameter_paths(content)
        resource = self.search.arguments.get("resource", "n_samples")
        if resource != "n_samples" and (resource not in paths or resource in grid):
            known = ["n_samples", *(name for name in paths if name not in grid)]
            raise key_error(UNKNOWN_NAME, ("search", "resource"), resource, kind="parameter", known=known)
        for name, values in grid.items():
            if name not in paths:
                raise key_error(UNKNOWN_NAME, ("search", key, name), name, kind="parameter", known=list(paths))
            for index, value in enumerate(values):
                try:
                    self.part_with(paths[name], value)
                except ValidationError as exc:
                    raise errors_at(exc, ("search", key, name, index)) from exc
        count = prod(map(len, grid.values()))
        if "n_iter" not in self.search.arguments and count > MAX_CANDIDATES:
            raise key_error("too_many_candidates", ("search", key), count, most=MAX_CANDIDATES)
        return self

    def part_with(self, path: tuple[str, ...], value: Any) -> Any:
        """
        Return the section, or the step, that a parameter stands in with another value of it.

        Parameters
        ----------
        path : tuple of str
            Where the parameter stands, as `parameter_paths` has it.
        value : object
            The value, as a file says it.

        Returns
        -------
        NetSection, PruneSection or Chosen
            Checked as that of the file is; a `ValidationError` tells what is wrong with it.
        """
        section, name, *_ = path
        content = self.model_dump(mode="json", include={section})
        changed = with_parameters(content, {"": path}, {"": value})[section]
        if section == "steps":
            return _STEP.validate_python(changed[name], context=self._origin.context)
        model = NetSection if section == "net" else PruneSection
        return model.model_validate(changed, context=self._origin.context)

    def resolved(self) -> dict[str, Any]:
        """
        Return the whole experiment as plain values, defaults included.

        Returns
        -------
        dict
            What a pipeline file that leaves nothing out would hold.
        """
        content = self.model_dump(mode="json")
        # Of the two ways to say it, one is there.
        return {key: value for key, value in content.items() if key not in _EITHER or value is not None}


class _Origin:
    """Where an experiment came from, which is no part of what it says: all are equal."""

    def __init__(self, context: dict[str, Any] | None = None) -> None:
        self.context = context or {}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Origin)

    __hash__ = None  # type: ignore[assignment]


_EITHER = ("net", "prune", "steps")
_OUTPUTS = {ONNX: "onnx", PROGRAM: "program"}
_OF_PIPELINES = ("steps", "memory", "verbose", "transform_input")
_STEP: TypeAdapter[Chosen] = TypeAdapter(Annotated[Chosen, Registered("step")])


def _predicts(step: Chosen) -> bool:
    """Tell whether an estimator of scikit-learn learns targets."""
    return issubclass(step.entry.target, (ClassifierMixin, RegressorMixin))  # type: ignore[arg-type]
