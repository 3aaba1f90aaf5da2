"""
Compare criteria of importance with the true change of the loss, with one-shot pruning, and by what they cost.

Three tables: the rank correlation of every criterion with the oracle, the loss that the removal of each unit alone
really adds; the accuracy after the removal of ever more units without fine-tuning; the time of a fine-tuning step with
scoring beside that of one without. Torch-Pruning's scores of the same units stand beside ours. Everything runs on one
thread. Run it from the root of the repository::

    python -m benchmarks.importance --net lenet vgg --seed 0 --part correlation curves

A criterion is a name of ``prunekit.importance.CRITERIA`` or one of `VARIANTS`. Rows of the same network, seed and
criterion are replaced, all others stay.
"""

import argparse
import copy
import csv
import hashlib
import logging
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch_pruning as tp  # type: ignore[import-untyped]
from numpy.typing import NDArray
from scipy.stats import kendalltau, spearmanr
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.importance_nets import CACHE, NETS, Images, trained
from benchmarks.zoo import RESULTS, _line, describe_part
from benchmarks.zoo_common import quiet
from benchmarks.zoo_torch_pruning import output_layers
from prunekit import PrunableNetwork
from prunekit._skorch._watches import score_every
from prunekit.exceptions import ParameterError
from prunekit.importance import CRITERIA, Criterion, Magnitude, Observation, Taylor, Taylor2, Together, oracle
from prunekit.tracing import UnitGraph

FloatArray = NDArray[np.float64]
Scores = FloatArray
"""One number a unit, shape (n_units,); NaN where there is none."""

BATCH_SIZE = 32
"""Of the mini-batches that are scored."""
ORACLE_BATCH_SIZE = 64
"""Small enough for a processor's cache."""
FRACTIONS = tuple(number / 10 for number in range(1, 9))
"""Of the units, to be removed at once."""
SEEDS = (0, 1, 2)

RIVALS: dict[str, Callable[[], Any]] = {
    "torch-pruning": tp.importance.GroupTaylorImportance,
    "torch-pruning unnormalised": partial(tp.importance.GroupTaylorImportance, normalizer=None),
    "torch-pruning multivariable": partial(tp.importance.GroupTaylorImportance, normalizer=None, multivariable=True),
}
"""Torch-Pruning's GroupTaylorImportance: its defaults, without the division by each group's mean, with signed sums."""

ORACLE = "oracle"
"""The true change itself, as one more order of the units in the curves."""


@dataclass(frozen=True)
class Budget:
    """
    How much a network is measured.

    Parameters
    ----------
    n_images : int
        Held-out training images of the oracle, which are also scored.
    n_tested : int
        Test images of the curves.
    n_units : int
        Units that the oracle removes, chosen at random from every layer alike; None for all.
    """

    n_images: int = 2048
    n_tested: int = 2000
    n_units: int | None = None


BUDGETS = {"efficientnet_lite0": Budget(512, 400, 300)}

MODES = ("eval", "train")
IMAGES = ("same", "disjoint")
"""Whether the images that are scored are the oracle's or others."""
CONDITIONS = (("eval", "same"), ("train", "same"), ("eval", "disjoint"))
"""Pairs of them that are measured."""


@dataclass
class Correlation:
    """
    How well a criterion predicts the true change of the loss.

    Parameters
    ----------
    net, seed, criterion : str, int, str
        What was measured.
    mode : str
        Mode of the network while it was scored, ``eval`` or ``train``.
    images : str
        ``same`` if the oracle saw the images that were scored, else ``disjoint``.
    n_images, n_units : int
        Images scored, and units that were compared.
    spearman, kendall : float
        Rank correlations with the signed change over all units.
    spearman_layers, kendall_layers : float
        Means over the layers of at least four units.
    spearman_abs : float
        Rank correlation with the absolute change.
    n_shared, spearman_shared, kendall_shared : int, float, float
        Units that Torch-Pruning has as well, and the correlations over them alone.
    message : str
        Why there is nothing.
    """

    net: str
    seed: int
    criterion: str
    mode: str
    images: str
    n_images: int | None = None
    n_units: int | None = None
    spearman: float | None = None
    kendall: float | None = None
    spearman_layers: float | None = None
    kendall_layers: float | None = None
    spearman_abs: float | None = None
    n_shared: int | None = None
    spearman_shared: float | None = None
    kendall_shared: float | None = None
    message: str = ""


@dataclass
class Curve:
    """
    The accuracy of a network without its least important units.

    Parameters
    ----------
    net, seed, criterion : str, int, str
        What was measured.
    fraction : float
        Of the units, that were to be removed.
    n_units, n_removed : int
        Units there were, and units removed; less than asked for where every layer is down to its last ones.
    accuracy : float
        On test images, without fine-tuning.
    message : str
        Why there is nothing.
    """

    net: str
    seed: int
    criterion: str
    fraction: float
    n_units: int | None = None
    n_removed: int | None = None
    accuracy: float | None = None
    message: str = ""


@dataclass
class Cost:
    """
    The time of a fine-tuning step with scoring.

    Parameters
    ----------
    net, seed, criterion : str, int, str
        What was measured.
    n_pairs : int
        Steps with and without, by turns.
    plain_ms, scoring_ms : float
        Medians without and with scoring.
    ratio, ratio_low, ratio_high : float
        Median and quartiles of the ratios of the pairs.
    every : int
        Of so many mini-batches `TaylorPruner` scores one in a fine-tuning of `PHASE` mini-batches.
    phase_pairs : int
        Pairs of so many steps, one of which is scored.
    phase_ratio, phase_low, phase_high : float
        Median and quartiles of their ratios.
    message : str
        Why there is nothing.
    """

    net: str
    seed: int
    criterion: str
    n_pairs: int | None = None
    plain_ms: float | None = None
    scoring_ms: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    every: int | None = None
    phase_pairs: int | None = None
    phase_ratio: float | None = None
    phase_low: float | None = None
    phase_high: float | None = None
    message: str = ""


Row = Correlation | Curve | Cost


def main() -> None:
    """Run the command line."""
    options = _parser().parse_args()
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    RESULTS.mkdir(exist_ok=True)
    if not options.render:
        for net in options.net:
            for seed in options.seed:
                _measure(net, seed, options)
    (RESULTS / "importance.md").write_text(rendered(), encoding="utf-8")


def _measure(net: str, seed: int, options: argparse.Namespace) -> None:
    case = Case(net, seed, options.cache)
    for part in options.part:
        start = time.perf_counter()
        with quiet():
            rows = list(PARTS[part](case, options))
        if rows:
            _write(part, rows)
        print(f"{net}, seed {seed}: {part} took {time.perf_counter() - start:.0f} s", flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.importance", description=__doc__.split("\n\n")[0])
    names = [*contestants(), *RIVALS, ORACLE]
    parser.add_argument("--net", nargs="+", choices=NETS, default=list(NETS), help="networks, by default all")
    parser.add_argument("--seed", nargs="+", type=int, default=list(SEEDS), help="by default 0 1 2")
    parser.add_argument("--part", nargs="+", choices=list(PARTS), default=list(PARTS), help="by default all")
    parser.add_argument("--criterion", nargs="+", choices=names, default=names, help="by default all")
    parser.add_argument("--mode", nargs="+", choices=MODES, default=list(MODES), help="of scoring; by default both")
    parser.add_argument("--images", nargs="+", choices=IMAGES, default=list(IMAGES), help="to score; by default both")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder of images, weights and oracles")
    parser.add_argument("--render", action="store_true", help="only write the tables from what was measured")
    return parser


def contestants() -> dict[str, Callable[[], Criterion]]:
    """Return what makes each criterion, by its label."""
    return {**CRITERIA, **dict(VARIANTS)}


# -- a network and its scores -----------------------------------------------------------------------------------------


class Given(Criterion):
    """Importances that are known already."""

    name = "given"
    needs_gradients = False

    def __init__(self, importances: Scores, together: Together | None = None) -> None:
        self._importances, self._together = importances, together
        super().__init__()

    def reset(self) -> None:
        """Keep the importances."""

    def observe(self, observation: Observation) -> None:
        """Look at nothing."""

    def importance(self) -> FloatArray:
        """Return what was given."""
        return self._importances

    def together(self) -> Together | None:
        """Return what was given."""
        return self._together


class OneByOne(Taylor2):
    """`Taylor2` that does not know what units do together."""

    def together(self) -> None:  # type: ignore[override]
        """Return nothing."""


class Idle(Criterion):
    """Look at gradients and do nothing with them; what two equal steps differ by."""

    name = "(no scoring)"

    def reset(self) -> None:
        """Keep nothing."""

    def observe(self, observation: Observation) -> None:
        """Do nothing."""
        self._n_units = observation.n_units

    def importance(self) -> FloatArray:
        """Return zeros."""
        return np.zeros(self._n_units)


VARIANTS: tuple[tuple[str, Callable[[], Criterion]], ...] = (
    ("taylor2 one by one", OneByOne),
    ("taylor2 mini-batch", partial(Taylor2, "mini-batch")),
    ("taylor l2", partial(Taylor, normalization="l2")),
    ("magnitude l2", partial(Magnitude, normalization="l2")),
)
"""Criteria with parameters, beside the names."""


class Case:
    """
    A trained network, its images, its oracle, and the scores that criteria gave its units.

    Parameters
    ----------
    net : str
        One of `NETS`.
    seed : int
        Of its training.
    cache : Path
        Folder of images, weights and oracles.
    """

    def __init__(self, net: str, seed: int, cache: Path) -> None:
        self.net, self.seed, self._cache = net, seed, cache
        self.budget = BUDGETS.get(net, Budget())
        found = trained(net, seed, cache)
        self.module, self.test = found.module, found.test.part(0, self.budget.n_tested)
        n_images = self.budget.n_images
        self.images = {
            "same": found.held_out.part(0, n_images),
            "disjoint": found.held_out.part(n_images, 2 * n_images),
        }
        self._scores: dict[tuple[str, str, str], Scores | str] = {}
        self._together: dict[str, Together | None] = {}

    @cached_property
    def graph(self) -> UnitGraph:
        """The units of the network."""
        return self.network("random").graph

    def network(self, criterion: str | Criterion) -> PrunableNetwork:
        """Return the network to be pruned."""
        return PrunableNetwork(self.module, self.images["same"].x[:2], criterion=criterion)

    @property
    def has_modes(self) -> bool:
        """Whether the network computes something else in training mode."""
        return any(isinstance(part, nn.modules.batchnorm._BatchNorm | nn.Dropout) for part in self.module.modules())

    @property
    def layer_of_unit(self) -> NDArray[np.int64]:
        """Number of the first layer of every unit."""
        return self.graph.first_layers

    def scores(self, label: str, mode: str = "eval", images: str = "same") -> Scores | str:
        """Return the scores of a criterion, or why there are none."""
        key = (label, mode, images)
        if key not in self._scores:
            score = partial(self._rival_scores, label) if label in RIVALS else partial(self._own_scores, label)
            try:
                self._scores[key] = score(mode, self.images[images])
            except ParameterError as error:
                self._scores[key] = str(error)
            except Exception as error:
                if label not in RIVALS:
                    raise
                self._scores[key] = f"{type(error).__name__}: {error}"
        return self._scores[key]

    def together(self, label: str) -> Together | None:
        """Return what a criterion knows of units that go together, if it was scored."""
        return self._together.get(label)

    def _own_scores(self, label: str, mode: str, images: Images) -> Scores:
        network = self.network(contestants()[label]())
        network.module.train(mode == "train")
        torch.manual_seed(self.seed)
        for x, y in images.batches(BATCH_SIZE):
            F.cross_entropy(network(x), y).backward()
            network.update_score()
            network.module.zero_grad()
        if mode == "eval" and images is self.images["same"]:
            self._together[label] = network.criterion.together()
        return network.importances

    def _rival_scores(self, label: str, mode: str, images: Images) -> Scores:
        module = copy.deepcopy(self.module)
        example = images.x[:1]
        whole = output_layers(module, example)
        graph = tp.DependencyGraph().build_dependency(module, example_inputs=example)
        groups = list(graph.get_all_groups(ignored_layers=whole))
        module.train(mode == "train").zero_grad()
        torch.manual_seed(self.seed)
        for x, y in images.batches(BATCH_SIZE):
            F.cross_entropy(module(x), y).backward()
        names = {part: name for name, part in module.named_modules()}
        score_of_filter: dict[tuple[str, int], float] = {}
        for group in groups:
            filters = [
                (names[item.dep.target.module], int(index), root)
                for item in group
                if graph.is_out_channel_pruning_fn(item.dep.handler) and item.dep.target.module in names
                for index, root in zip(item.idxs, item.root_idxs, strict=True)
            ]  # before the scores, which sort the indices in place
            scores = RIVALS[label]()(group)
            if scores is not None:
                score_of_filter |= {
                    (name, index): float(scores[root]) for name, index, root in filters if root is not None
                }
        return self._of_units(score_of_filter)

    def _of_units(self, score_of_filter: dict[tuple[str, int], float]) -> Scores:
        """Return the mean score of the filters of each unit, NaN where one has none."""
        found = np.full(self.graph.n_units, np.nan)
        for unit in self.graph.units:
            if unit.index is not None:
                filters = {(tensor.rpartition(".")[0], number) for tensor, number in unit.filters}
                found[unit.index] = np.mean([score_of_filter.get(one, np.nan) for one in filters])
        return found

    # -- the true change ----------------------------------------------------------------------------------------------

    @cached_property
    def oracle(self) -> Scores:
        """The true change of the loss for every unit that is compared, from the cache folder where it lies there."""
        images, units = self.images["same"], self._chosen_units()
        digest = hashlib.sha256()
        for tensor in (*self.module.state_dict().values(), images.x, images.y, torch.tensor(units)):
            digest.update(tensor.contiguous().numpy().tobytes())
        digest.update(repr([unit.filters for unit in self.graph.units]).encode())
        path = self._cache / "oracles" / f"{self.net}-{self.seed}-{digest.hexdigest()[:16]}.npy"
        if not path.exists():
            start = time.perf_counter()
            found = oracle(self.network("random"), images.batches(ORACLE_BATCH_SIZE), F.cross_entropy, units)
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_suffix(".part")
            with part.open("wb") as file:
                np.save(file, found)
            part.replace(path)
            seconds = time.perf_counter() - start
            print(f"{self.net}, seed {self.seed}: the oracle of {len(units)} units took {seconds:.0f} s", flush=True)
        changes: Scores = np.load(path)
        return changes

    def _chosen_units(self) -> list[int]:
        """Return the units that the oracle removes, the same share of every layer."""
        everything, wanted = self.graph.n_units, self.budget.n_units
        if wanted is None or wanted >= everything:
            return list(range(everything))
        generator = np.random.default_rng(self.seed)
        chosen: list[int] = []
        numbers = np.unique(self.layer_of_unit)
        for count, number in enumerate(numbers):
            units = np.flatnonzero(self.layer_of_unit == number)
            share = -(-(wanted - len(chosen)) // (len(numbers) - count))
            chosen += generator.permutation(units)[:share].tolist()
        return sorted(chosen)


# -- correlation ------------------------------------------------------------------------------------------------------


def correlation(case: Case, options: argparse.Namespace) -> Iterator[Correlation]:
    """Yield the correlations of every criterion with the oracle."""
    for mode, images in CONDITIONS:
        if mode not in options.mode or images not in options.images or (mode == "train" and not case.has_modes):
            continue
        rival = case.scores(next(iter(RIVALS)), mode, images)
        shared = np.zeros(case.graph.n_units, dtype=bool) if isinstance(rival, str) else np.isfinite(rival)
        for label in options.criterion:
            if label == ORACLE:
                continue
            row = Correlation(case.net, case.seed, label, mode, images, case.budget.n_images)
            scores = case.scores(label, mode, images)
            if isinstance(scores, str):
                row.message = scores
            else:
                _correlate(row, scores, case, shared)
            print(f"{case.net} {label} {mode} {images}: {_cell(row.spearman)} {row.message[:80]}", flush=True)
            yield row


def _correlate(row: Correlation, scores: Scores, case: Case, shared: NDArray[np.bool_]) -> None:
    known = np.isfinite(case.oracle) & np.isfinite(scores)
    row.n_units = int(known.sum())
    row.spearman, row.kendall = _ranks(scores, case.oracle, known)
    if row.spearman is None:
        row.message = "every unit gets the same score"
    row.spearman_abs, _ = _ranks(scores, np.abs(case.oracle), known)
    layers = [known & (case.layer_of_unit == number) for number in np.unique(case.layer_of_unit[known])]
    pairs = [_ranks(scores, case.oracle, layer) for layer in layers if layer.sum() >= 4]
    row.spearman_layers = _mean([pair[0] for pair in pairs])
    row.kendall_layers = _mean([pair[1] for pair in pairs])
    row.n_shared = int((known & shared).sum())
    row.spearman_shared, row.kendall_shared = _ranks(scores, case.oracle, known & shared)


def _ranks(scores: Scores, changes: Scores, where: NDArray[np.bool_]) -> tuple[float | None, float | None]:
    """Return Spearman's and Kendall's correlation; None where all are alike."""
    if where.sum() < 2:
        return None, None
    found = (spearmanr(scores[where], changes[where]).statistic, kendalltau(scores[where], changes[where]).statistic)
    return (None, None) if np.isnan(found).any() else (float(found[0]), float(found[1]))


def _mean(values: list[float | None]) -> float | None:
    """Return the mean, in which a criterion that gives a whole layer one number counts as not correlated there."""
    return statistics.fmean(0.0 if value is None else value for value in values) if values else None


# -- curves -----------------------------------------------------------------------------------------------------------


def curves(case: Case, options: argparse.Namespace) -> Iterator[Curve]:
    """Yield the accuracies without the units that each criterion puts last."""
    for label in options.criterion:
        if label == ORACLE and not np.isfinite(case.oracle).all():
            continue
        scores = case.oracle if label == ORACLE else case.scores(label)
        if isinstance(scores, str):
            yield from (Curve(case.net, case.seed, label, fraction, message=scores) for fraction in FRACTIONS)
            continue
        worst = np.nanmax(scores) + 1.0
        network = case.network(Given(np.where(np.isnan(scores), worst, scores), case.together(label)))
        whole = network.snapshot()
        accuracies = []
        for fraction in FRACTIONS:
            network.restore(whole)
            network.update_prunables(round(fraction * case.graph.n_units))
            row = Curve(case.net, case.seed, label, fraction, case.graph.n_units)
            row.n_removed = case.graph.n_units - network.num_prunables
            row.accuracy = _accuracy(network, case.test)
            accuracies.append(f"{row.accuracy:.3f}")
            yield row
        print(f"{case.net} {label}: {' '.join(accuracies)}", flush=True)


def _accuracy(network: PrunableNetwork, images: Images) -> float:
    right = sum(int((network.predict(x).argmax(1) == y).sum()) for x, y in images.batches(ORACLE_BATCH_SIZE))
    return right / len(images)


# -- cost -------------------------------------------------------------------------------------------------------------

COST_NETS = ("lenet", "vgg", "resnet20", "vit")
COST_BATCH_SIZE = 64
COST_SECONDS = 8.0
COST_PAIRS = (21, 201)
"""Least and largest number of pairs; in between `COST_SECONDS` decide."""
PHASE = 128
"""Mini-batches of a fine-tuning between two prunings."""
COST_PRUNED = 0.25
"""Of the units, that are masked meanwhile."""


def cost(case: Case, options: argparse.Namespace) -> Iterator[Cost]:
    """Yield the time of a fine-tuning step with each criterion; the seeds of a network differ in nothing here."""
    if case.net not in COST_NETS or case.seed != min(options.seed):
        return
    chosen: dict[str, Callable[[], Criterion]] = {Idle.name: Idle}
    chosen |= {label: make for label, make in contestants().items() if label in options.criterion}
    for label, make in chosen.items():
        row = Cost(case.net, case.seed, label)
        try:
            _time(row, case, make())
        except ParameterError as error:
            row.message = str(error)
        print(f"{case.net} {label}: {_cell(row.ratio)}, in fine-tuning {_cell(row.phase_ratio)}", flush=True)
        yield row


def _time(row: Cost, case: Case, criterion: Criterion) -> None:
    """
    Time steps with and without scoring by turns, on one masked network.

    Where the criterion watches the forward pass as well, a second network with the same masks takes the steps without.
    """
    x, y = case.images["same"].x.contiguous(), case.images["same"].y
    batches = Images(x, y).part(0, 16 * COST_BATCH_SIZE).batches(COST_BATCH_SIZE)
    module = copy.deepcopy(case.module).to(memory_format=torch.contiguous_format)
    scored = _masked(module, batches[0], criterion)
    plain = scored
    if criterion.watch != "nothing":
        plain = _masked(module, batches[0], Given(scored.support.astype(np.float64)))
    optimizers = {
        network: torch.optim.SGD(network.module.parameters(), 1e-3, momentum=0.9) for network in {scored, plain}
    }

    def step_ms(network: PrunableNetwork, with_score: bool, number: int) -> float:
        batch = batches[number % len(batches)]
        network.scoring = with_score
        start = time.perf_counter()
        F.cross_entropy(network(batch[0]), batch[1]).backward()
        if with_score:
            network.update_score()
        optimizers[network].step()
        optimizers[network].zero_grad()
        return (time.perf_counter() - start) * 1e3

    def pairs(every: int) -> tuple[list[float], list[float]]:
        """Return the times of so many steps without scoring and with one of them scored, by turns."""

        def phase_ms(network: PrunableNetwork, with_score: bool, number: int) -> float:
            return sum(step_ms(network, with_score and step == 0, number + step) for step in range(every))

        kinds = [(plain, False), (scored, True)]
        warm = min(phase_ms(*kind, 0) for _ in range(max(5 // every, 1)) for kind in kinds)
        times: dict[bool, list[float]] = {False: [], True: []}
        for number in range(int(np.clip(COST_SECONDS * 1e3 / (2 * warm), *COST_PAIRS))):
            for network, with_score in kinds if number % 2 else reversed(kinds):
                times[with_score].append(phase_ms(network, with_score, number * every))
        return times[False], times[True]

    without, with_score = pairs(1)
    row.n_pairs = len(without)
    row.plain_ms, row.scoring_ms = statistics.median(without), statistics.median(with_score)
    row.ratio_low, row.ratio, row.ratio_high = _quartiles(without, with_score)
    row.every = score_every(scored, PHASE, COST_BATCH_SIZE)
    without, with_score = pairs(row.every)
    row.phase_pairs = len(without)
    row.phase_low, row.phase_ratio, row.phase_high = _quartiles(without, with_score)


def _quartiles(without: list[float], with_score: list[float]) -> list[float]:
    return statistics.quantiles([more / less for less, more in zip(without, with_score, strict=True)], n=4)


def _masked(module: nn.Module, batch: tuple[Tensor, Tensor], criterion: Criterion) -> PrunableNetwork:
    """Return a network in training mode with some of its units masked."""
    network = PrunableNetwork(module, batch[0][:2], criterion=criterion)
    F.cross_entropy(network(batch[0]), batch[1]).backward()
    network.update_score()
    network.update_prunables(round(COST_PRUNED * network.num_prunables))
    network.module.zero_grad()
    network.module.train()
    return network


# -- results ----------------------------------------------------------------------------------------------------------

PARTS: dict[str, Callable[[Case, argparse.Namespace], Iterator[Row]]] = {
    "correlation": correlation,
    "curves": curves,
    "cost": cost,
}
_ROWS: dict[str, type[Row]] = {"correlation": Correlation, "curves": Curve, "cost": Cost}
_FILES = {"correlation": "importance.csv", "curves": "importance_curves.csv", "cost": "importance_cost.csv"}
_KEYS = ("net", "seed", "criterion", "mode", "images", "fraction")
_PACKAGES = ("torch", "torch-pruning", "numpy", "scipy")


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else " ".join(str(value).replace("|", "/").split())


def _write(part: str, rows: list[Row]) -> None:
    """Put rows in the place of those with the same keys, and write when and where they were measured."""
    path = RESULTS / _FILES[part]
    names = [field.name for field in fields(_ROWS[part])]
    keys = [name for name in names if name in _KEYS]
    written = [{name: _cell(value) for name, value in asdict(row).items()} for row in rows]
    kept: list[dict[str, str]] = []
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            kept = list(csv.DictReader(file))
    by_key = {tuple(row[key] for key in keys): row for row in (*kept, *written)}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(by_key[key] for key in sorted(by_key))
    describe_part(RESULTS / "importance.json", part, _PACKAGES)


def _read(part: str) -> pd.DataFrame:
    path = RESULTS / _FILES[part]
    if not path.exists():
        return pd.DataFrame()
    table = pd.read_csv(path, keep_default_na=False, na_values={name: [""] for name in _numeric(part)})
    listed = [*NETS, *contestants(), *RIVALS, ORACLE, Idle.name]
    order = {name: number for number, name in enumerate(listed)}
    return table.sort_values(
        ["net", "criterion", "seed"],
        key=lambda column: column if column.name == "seed" else column.map(lambda name: order.get(name, len(order))),
        kind="stable",
    )


def _numeric(part: str) -> list[str]:
    texts = {"net", "criterion", "mode", "images", "message"}
    return [field.name for field in fields(_ROWS[part]) if field.name not in texts]


def rendered() -> str:
    """Return what was measured as tables in Markdown."""
    parts = ["# Importance\n", _INTRODUCTION]
    found = _read("correlation")
    if len(found):
        usual = found[(found["mode"] == "eval") & (found["images"] == "same")]
        for column, heading in _SUMMARIES.items():
            parts.append(f"## {heading}\n\n" + _summary(usual, column))
        parts.append("## All correlations\n\n" + _details(found))
    found = _read("curves")
    if len(found):
        parts.append("## Accuracy without fine-tuning\n\n" + _CURVES)
        parts += [f"### {net}\n\n" + _summary(own, "accuracy", "fraction") for net, own in _by_net(found)]
    found = _read("cost")
    if len(found):
        names = list(found.columns)
        lines = [_line(names), _line(["---"] * len(names))]
        lines += [_line([_cell(None if pd.isna(value) else value) for value in row]) for row in found.to_numpy()]
        parts.append("## Cost of scoring\n\n" + _COST + "\n".join(lines) + "\n")
    return "\n".join(parts)


_INTRODUCTION = """\
Mean ± standard deviation over seeds. The oracle is the signed change of the loss (cross entropy, eval mode) when a unit
alone is removed, on 2,048 held-out training images; criteria score 64 mini-batches of 32 of the same images (`same`) or
of others (`disjoint`) by backward passes in eval or training mode. EfficientNet-lite0 is pretrained; for want of
labelled ImageNet its images are CIFAR-10's enlarged to 96x96, its labels are its own predictions, and the oracle
removes 300 units, chosen from all layers alike, on 512 images. Torch-Pruning's scores are GroupTaylorImportance's after
the gradients of all mini-batches were summed: with its defaults, without the division by each group's mean
(`unnormalised`), and with signed sums as well (`multivariable`). The best of a column is bold.
"""
_CURVES = """\
Units are removed at once, the least important of all layers first; every layer keeps one. The best of a column is bold,
what is within its standard deviation (or its own) in italics; `oracle` takes no part.
"""
_COST = """\
Forward pass, backward pass and a step of SGD with momentum on 64 images in training mode, with a quarter of the units
masked; medians and quartiles of paired runs. `ratio` is a step that is scored to one that is not; `phase_ratio` is what
scoring adds to a fine-tuning of 128 mini-batches, of which `TaylorPruner` scores one in `every`. `(no scoring)` is a
criterion that does nothing.

"""
_SUMMARIES = {
    "spearman": "Spearman's correlation with the true change of the loss, all units",
    "kendall": "Kendall's correlation with the true change of the loss, all units",
    "spearman_layers": "Spearman's correlation, mean over layers",
    "spearman_shared": "Spearman's correlation over the units that Torch-Pruning has as well",
}


def _by_net(table: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    return [(str(net), own) for net, own in table.groupby("net", sort=False)]


def _summary(table: pd.DataFrame, value: str, across: str = "net") -> str:
    """Return a table of one number, criteria down."""
    grouped = table.groupby(["criterion", across], sort=False)[value]
    mean, spread = grouped.mean().unstack(), grouped.std().unstack().fillna(0.0)
    columns = list(dict.fromkeys(table[across]))
    marked = {column: _marks(mean[column], spread[column], within=value == "accuracy") for column in columns}
    lines = [_line(["criterion", *columns]), _line(["---"] * (len(columns) + 1))]
    lines += [
        _line([criterion, *(marked[column][criterion] for column in columns)])
        for criterion in dict.fromkeys(table["criterion"])
        if mean.loc[criterion].notna().any()
    ]
    notes = [
        f"{net}: Torch-Pruning has {own['n_shared'].min():.0f} of {own['n_units'].max():.0f} units."
        for net, own in (_by_net(table[table["spearman"].notna()]) if value == "spearman_shared" else [])
    ]
    return "\n".join(lines) + "\n" + ("\n" + " ".join(notes) + "\n" if notes else "")


def _marks(mean: "pd.Series[float]", spread: "pd.Series[float]", within: bool) -> dict[object, str]:
    """Return the cells of a column."""
    competing = mean.drop(ORACLE, errors="ignore").dropna()
    best = competing.idxmax() if len(competing) else None
    cells: dict[object, str] = {}
    for name, value in mean.items():
        text = "" if pd.isna(value) else f"{value:.3f}"
        if text and spread[name]:
            text += f" ± {spread[name]:.3f}"
        if name == best:
            text = f"**{text}**"
        elif within and best is not None and name != ORACLE and text:
            near = value >= competing[best] - max(spread[best], spread[name])
            text = f"*{text}*" if near else text
        cells[name] = text
    return cells


def _details(table: pd.DataFrame) -> str:
    """Return all correlations, over seeds."""
    values = ["spearman", "kendall", "spearman_layers", "kendall_layers", "spearman_abs"]
    values += ["spearman_shared", "kendall_shared"]
    names = ["net", "criterion", "seeds", "n_units", "n_shared", *values, "message"]
    parts = []
    for mode, images in CONDITIONS:
        lines = [f"### {mode} mode, {images} images\n", _line(names), _line(["---"] * len(names))]
        chosen = table[(table["mode"] == mode) & (table["images"] == images)]
        for (net, criterion), own in chosen.groupby(["net", "criterion"], sort=False):
            message = str(own["message"].iloc[0])
            message = message if len(message) <= 160 else message[:157] + "..."
            counts = [own[name].max() for name in ("n_units", "n_shared")]
            cells = ["" if pd.isna(count) else int(count) for count in counts]
            cells += [_spread(own[value]) for value in values]
            lines.append(_line([net, criterion, len(own), *cells, message]))
        if len(chosen):
            parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _spread(values: "pd.Series[float]") -> str:
    if values.isna().all():
        return ""
    text = f"{values.mean():.3f}"
    return text if values.count() < 2 else f"{text} ± {values.std():.3f}"


if __name__ == "__main__":
    main()
