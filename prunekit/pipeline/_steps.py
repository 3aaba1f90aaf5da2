"""What can stand under ``steps``: the net, pruners, exporters, and everything of the catalogue."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag
from sklearn.base import BaseEstimator
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNet

from prunekit.export import OnnxExporter, ProgramExporter
from prunekit.pipeline._catalogue import CATALOGUE, build_step
from prunekit.pipeline._entry import Entry, NoOptions
from prunekit.pipeline._pruning import PruneSection
from prunekit.pipeline._samples import Task
from prunekit.pipeline._scoring import Scorer
from prunekit.pipeline._searching import Folds, folds_of
from prunekit.pipeline._section import BRANCHES, ONNX_NAME, PROGRAM_NAME, OpenFraction, PositiveInt, Section
from prunekit.pruner import TaylorPruner
from prunekit.search import TaylorPrunerCV

_NUMBER, _, _, _LIST = BRANCHES

NET, PRUNER, PATH, ONNX, PROGRAM = "NeuralNet", "TaylorPruner", "TaylorPrunerCV", "OnnxExporter", "ProgramExporter"
PRUNERS = (PRUNER, PATH)
OF_NET = (NET, *PRUNERS)
"""Steps that are about the net of the section ``net``."""
EXPORTERS: Mapping[str, Any] = {ONNX: OnnxExporter, PROGRAM: ProgramExporter}

Reductions = Annotated[
    Annotated[PositiveInt, Tag(_NUMBER)]
    | Annotated[list[OpenFraction], Field(min_length=1, max_length=1000), Tag(_LIST)],
    Discriminator(lambda value: _LIST if isinstance(value, list) else _NUMBER),
]


class PathSection(Section):
    """
    Parameters of `prunekit.TaylorPrunerCV`.

    Parameters
    ----------
    estimator : mapping, optional
        Parameters of the pruner.
    reductions : int or list of float, default=10
        The reductions to visit, or how many up to the target.
    cv : int or mapping, default=None
        Folds.
    scoring : str, default=None
        Name of a scorer.
    tolerance : float, default=None
        How much of the score may be lost; None: one standard error.
    """

    estimator: PruneSection = Field(default_factory=PruneSection)
    reductions: Reductions = 10
    cv: Folds | None = None
    scoring: Scorer | None = None
    tolerance: float | None = Field(None, ge=0)


class ProgramSection(Section):
    """
    Parameters of `prunekit.ProgramExporter`.

    Parameters
    ----------
    path : str
        Name of the file, within the folder of the run.
    dynamic_batch : bool, default=True
        Whether the file takes batches of any size.
    rtol : float, default=1e-5
        Largest difference allowed, relative to the largest output.
    """

    path: Annotated[str, Field(pattern=PROGRAM_NAME)]
    dynamic_batch: bool = True
    rtol: float = Field(1e-5, gt=0)


class OnnxSection(ProgramSection):
    """
    Parameters of `prunekit.OnnxExporter`.

    Parameters
    ----------
    path : str
        Name of the file, within the folder of the run.
    dynamic_batch : bool, default=True
        Whether the file takes batches of any size.
    rtol : float, default=1e-5
        Largest difference allowed, relative to the largest output.
    opset : int, default=None
        Version of ONNX's operators.
    slim : bool, default=False
        Whether onnxslim simplifies the graph.
    """

    path: Annotated[str, Field(pattern=ONNX_NAME)]
    opset: PositiveInt | None = None
    slim: bool = False


_OWN = {
    NET: Entry(NeuralNet, "the net of the section net, trained and not pruned", NoOptions),
    PRUNER: Entry(TaylorPruner, "train the net of the section net, and prune it", PruneSection),
    PATH: Entry(TaylorPrunerCV, "find by cross-validation how far it can be pruned", PathSection),
    ONNX: Entry(OnnxExporter, "write the pruned net as an ONNX file, checked", OnnxSection),
    PROGRAM: Entry(ProgramExporter, "write the pruned net as a torch.export file, checked", ProgramSection),
}


class _Steps(Mapping[str, Entry]):
    """Our own, and those of scikit-learn, which are looked at only when somebody asks."""

    def __getitem__(self, name: str) -> Entry:
        return _OWN[name] if name in _OWN else CATALOGUE[name]

    def __iter__(self) -> Iterator[str]:
        yield from _OWN
        yield from CATALOGUE

    def __len__(self) -> int:
        return len(_OWN) + len(CATALOGUE)


STEPS: Mapping[str, Entry] = _Steps()


def build_pruner(section: PruneSection, net: NeuralNet | FrozenEstimator, seed: int) -> TaylorPruner:
    """
    Return a pruner.

    Parameters
    ----------
    section : PruneSection
        Its parameters.
    net : NeuralNet or FrozenEstimator
        What is pruned.
    seed : int
        Its random state.

    Returns
    -------
    TaylorPruner
        Unfitted.
    """
    return TaylorPruner(net, **section.model_dump(), random_state=seed)


def make_step(
    name: str, options: Section, net: NeuralNet | FrozenEstimator | None, *, task: Task, seed: int, n_jobs: int | None
) -> BaseEstimator:
    """
    Return a step.

    Parameters
    ----------
    name : str
        A key of `STEPS`.
    options : Section
        What the file says.
    net : NeuralNet, FrozenEstimator or None
        The net.
    task : {"classification", "regression"}
        What is learnt.
    seed : int
        Of everything random.
    n_jobs : int or None
        How many fits at once.

    Returns
    -------
    BaseEstimator
        Unfitted.
    """
    if name == NET:
        return net
    if isinstance(options, PruneSection):
        return build_pruner(options, net, seed)
    if isinstance(options, PathSection):
        given = {key: getattr(options, key) for key in ("reductions", "scoring", "tolerance")}
        pruner = build_pruner(options.estimator, net, seed)
        return TaylorPrunerCV(pruner, **given, cv=folds_of(options.cv, task, seed), n_jobs=n_jobs)
    if name in EXPORTERS:
        return EXPORTERS[name](**options.model_dump())
    return build_step(name, options.model_dump(), seed)
