"""Criteria by their definitions."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prunekit import PrunableNetwork
from prunekit.exceptions import ParameterError, ParameterTypeError
from prunekit.importance import CRITERIA, Random, Taylor, Taylor2, functional, make_criterion, normalised
from prunekit.importance._sketch import Sketch, kept_correlation
from prunekit.importance.functional import removal_estimate, squared_taylor, taylor_sums, taylor_terms
from tests.nets import ResNet, dense_net, randomise


@dataclass
class Seen:
    """What a criterion sees of a mini-batch."""

    taylor_sums: Tensor
    batch_size: int = 4
    n_units: int = 3
    has_gates: bool = False

    @property
    def gates(self) -> Tensor:
        return torch.outer(torch.tensor([2.0, 0.0, -1.0, 1.0]), self.taylor_sums)

    mean_gates = gates

    @property
    def mean_activations(self) -> Tensor:
        return self.taylor_sums.abs()

    zero_fractions = mean_activations

    @property
    def filter_norms(self) -> Tensor:
        return torch.tensor([3.0, 1.0, 2.0])

    @property
    def norm_scales(self) -> Tensor:
        return torch.tensor([0.5, 2.0, 1.0])


SUMS = torch.tensor([[1.0, -2.0, 0.0], [3.0, 0.5, 0.0], [-1.0, 1.0, 0.0], [0.0, -2.0, 6.0]])


def _importance(name: str) -> np.ndarray:
    criterion = make_criterion(name, "test")
    for sums in SUMS:
        criterion.observe(Seen(sums))
    return criterion.importance()


def test_definitions() -> None:
    sums = SUMS.double().numpy()
    np.testing.assert_allclose(_importance("taylor"), (sums**2).mean(0))
    np.testing.assert_allclose(_importance("taylor_abs"), np.abs(sums).mean(0))
    np.testing.assert_allclose(_importance("taylor2"), -sums.mean(0) + 4 / 2 * sums.var(0, ddof=1), rtol=1e-6)
    np.testing.assert_allclose(_importance("magnitude"), [3, 1, 2])
    gates = np.concatenate([np.outer([2, 0, -1, 1], row) for row in sums])
    exact = Taylor2("example")
    for row in SUMS:
        exact.observe(Seen(row))
    np.testing.assert_allclose(exact.importance(), -gates.mean(0) + (gates**2).mean(0) / 2, rtol=1e-6)
    with pytest.raises(
        ParameterError, match=r"The 'moments' parameter of Taylor2 must be one of 'auto', 'example', 'mini-batch'"
    ):
        Taylor2("hour")  # type: ignore[arg-type]


def test_taylor2_of_one_mini_batch_has_no_curvature() -> None:
    criterion = make_criterion("taylor2", "test")
    criterion.observe(Seen(SUMS[0]))
    np.testing.assert_allclose(criterion.importance(), -SUMS[0].numpy())


@pytest.mark.parametrize("name", CRITERIA)
def test_reset_forgets(name: str) -> None:
    criterion = make_criterion(name, "test")
    criterion.observe(Seen(SUMS[0]))
    first = criterion.importance()
    criterion.observe(Seen(SUMS[1]))
    criterion.reset()
    criterion.observe(Seen(SUMS[0]))
    np.testing.assert_array_equal(criterion.importance(), first)


def test_random_orders_by_its_seed() -> None:
    draws = []
    for seed in (0, 0, 1):
        criterion = Random(seed)
        criterion.observe(Seen(SUMS[0]))
        draws.append(criterion.importance())
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).all()


def test_random_goes_on_after_a_removal() -> None:
    """The seed gives one sequence of removals, whatever the number of steps."""
    network = PrunableNetwork(dense_net(), torch.randn(5, 6), criterion="random")
    removed = 0
    while step := network.update_prunables(max_to_prune=3):
        removed += step
    assert removed == 13 - 2


def test_magnitude_is_the_sum_of_squares_of_the_filters() -> None:
    module = randomise(dense_net())
    network = PrunableNetwork(module, torch.randn(5, 6), criterion="magnitude")
    weights = [module[0].weight, module[2].weight]
    expected = torch.cat([weight.square().sum(1) for weight in weights]).detach().numpy()
    np.testing.assert_allclose(network.importances, expected, rtol=1e-6)


def test_names() -> None:
    assert isinstance(make_criterion("taylor", "PrunableNetwork"), Taylor)
    assert all(kind.name == name for name, kind in CRITERIA.items())
    with pytest.raises(
        ParameterError, match=r"The 'criterion' parameter of TaylorPruner must be one of 'taylor'.*'nope' ins"
    ):
        make_criterion("nope", "TaylorPruner")
    with pytest.raises(ParameterTypeError, match=r"must be a name or a Criterion object. Got int instead"):
        make_criterion(3, "PrunableNetwork")
    with pytest.raises(ParameterTypeError, match="must be a name or a Criterion object"):
        make_criterion(Taylor, "PrunableNetwork")


def test_terms() -> None:
    """First-order terms of real, complex and short numbers."""
    weight, gradient = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 3.0])
    assert taylor_terms(weight, gradient).tolist() == [1.0, -3.0]
    assert taylor_terms(torch.tensor([1 + 2j]), torch.tensor([3 - 1j])).tolist() == [1.0]
    assert taylor_terms(weight.bfloat16(), gradient.bfloat16()).dtype == torch.float32
    assert squared_taylor(torch.tensor([-3.0])).item() == 9.0
    assert removal_estimate(torch.tensor(1.0), torch.tensor(0.5), 8).item() == 1.0


@pytest.mark.parametrize("piece", [1, 7, 50, 10**6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", [(6,), (5, 4), (4, 5, 3), (1, 6, 2, 2), (6, 3, 2, 4)], ids=str)
def test_sums_of_first_order_terms_in_pieces(
    shape: tuple[int, ...], dtype: torch.dtype, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(functional, "_PIECE", piece)
    generator = torch.Generator().manual_seed(0)
    weight, gradient = (torch.randn(shape, generator=generator, dtype=torch.float32).to(dtype) for _ in range(2))
    terms = taylor_terms(weight, gradient)
    for turned in (False, True):
        if turned:
            weight, gradient, terms = (tensor.transpose(0, -1) for tensor in (weight, gradient, terms))
        for dim in range(weight.dim()):
            expected = terms.movedim(dim, 0).reshape(weight.size(dim), -1).sum(1)
            found = taylor_sums(weight, gradient, dim)
            assert found.dtype == terms.dtype
            torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("normalization", "expected"),
    [
        (None, [3.0, -4.0, 1.0, 0.0, 0.0, np.nan, 5.0]),
        ("l1", [3 / 8, -4 / 8, 1 / 8, 0.0, 0.0, np.nan, 1.0]),
        ("l2", [3 / 26**0.5, -4 / 26**0.5, 1 / 26**0.5, 0.0, 0.0, np.nan, 1.0]),
        ("mean", [9 / 8, -12 / 8, 3 / 8, 0.0, 0.0, np.nan, 1.0]),
        ("max", [3 / 4, -1.0, 1 / 4, 0.0, 0.0, np.nan, 1.0]),
        ("rank", [1.0, 1 / 3, 2 / 3, 0.75, 0.75, np.nan, 1.0]),
    ],
)
def test_normalisations(normalization: str | None, expected: list[float]) -> None:
    """Three layers: one with three units, one of zeros with a unit that is gone, and one of a single unit."""
    layers = np.array([0, 0, 0, 1, 1, 1, 4])
    given = np.array([3.0, -4.0, 1.0, 0.0, 0.0, np.nan, 5.0])
    np.testing.assert_allclose(normalised(given, layers, normalization), expected)
    np.testing.assert_array_equal(given, [3.0, -4.0, 1.0, 0.0, 0.0, np.nan, 5.0])


def test_a_network_normalises_as_its_criterion_says() -> None:
    module, x = randomise(dense_net()), torch.randn(5, 6)
    plain, normal = (PrunableNetwork(module, x, criterion=Taylor(kind)) for kind in (None, "max"))
    for network in (plain, normal):
        network(x).square().sum().backward()
        network.update_score()
    expected = plain.importances
    for layer in (slice(0, 8), slice(8, 13)):
        np.testing.assert_allclose(normal.importances[layer], expected[layer] / expected[layer].max())


def test_unknown_normalisation() -> None:
    with pytest.raises(ParameterError, match=r"The 'normalization' parameter of Taylor must be one of 'l1', .*'l3'"):
        Taylor("l3")  # type: ignore[arg-type]


def test_scales_of_normalisations() -> None:
    """A unit of the stem has the scales of its own norm, and of the two whose channels are added to it."""
    module = randomise(ResNet())
    network = PrunableNetwork(module, torch.randn(2, 3, 8, 8), criterion="bn_scale")
    own = {
        name.removesuffix(".weight"): parameter.detach().abs()
        for name, parameter in module.named_parameters()
        if isinstance(module.get_submodule(name.rpartition(".")[0]), nn.BatchNorm2d) and name.endswith("weight")
    }
    expected = np.zeros(network.support.size)
    for unit in network.units:
        if unit.index is not None:
            for part in unit.slices:
                path = part.tensor.removesuffix(".weight")
                expected[unit.index] += float(sum(own[path][i] for i in part.indices)) if path in own else 0.0
    assert (expected > 0).all()
    np.testing.assert_allclose(network.importances, expected, rtol=1e-6)


def test_units_without_a_scale() -> None:
    network = PrunableNetwork(dense_net(), torch.randn(5, 6), criterion="bn_scale")
    with pytest.raises(ParameterError, match=r"normalisation with a scale must follow.*Got 13 of 13 units without one"):
        network.importances  # noqa: B018


@pytest.mark.parametrize("moments", ["example", "mini-batch"])
def test_what_units_do_together(moments: str) -> None:
    """Products of pairs are the mean products of examples, or the covariance of mini-batches times their size."""
    criterion = Taylor2(moments)  # type: ignore[arg-type]
    random = torch.Generator().manual_seed(0)
    batches = torch.randn(50, 3, generator=random) + torch.tensor([0.0, 1.0, -1.0])
    batches[:, 1] += 2 * batches[:, 0]
    for row in batches:
        criterion.observe(Seen(row))
    together = criterion.together()
    gates = np.concatenate([Seen(row).gates.numpy() for row in batches])
    expected = gates.T @ gates / len(gates) if moments == "example" else 4 * np.cov(batches.numpy().T)
    products = together.factor.T @ together.factor
    kept = products[0, 0] / expected[0, 0]
    assert 0.8 < kept <= 1
    np.testing.assert_allclose(products, kept * expected, rtol=1e-4, atol=1e-5)
    mean = gates.mean(0) if moments == "example" else batches.mean(0).numpy()
    np.testing.assert_allclose(together.alone, np.diag(expected) / 2, rtol=1e-4)
    np.testing.assert_allclose(criterion.importance(), -mean + np.diag(expected) / 2, rtol=1e-4)


def test_products_of_noise_are_left_out() -> None:
    """By how much is known where it is known what is noise: rows of independent columns, of one repeated column."""
    random = np.random.default_rng(0)
    noise = random.normal(size=(200, 400)).astype(np.float32)
    common = random.normal(size=(200, 1)).astype(np.float32)
    assert kept_correlation(noise) < 0.05
    assert kept_correlation(noise + common) == pytest.approx(0.98, abs=0.02)
    assert 0.3 < kept_correlation(noise + 0.3 * common) < 0.8
    assert kept_correlation(common) == kept_correlation(noise[:1]) == kept_correlation(np.zeros_like(noise)) == 0


def test_a_sketch_keeps_products() -> None:
    """Of the first rows exactly, of ever more rows but for noise; the same every time."""
    rows = torch.randn(6000, 5, generator=torch.Generator().manual_seed(1)) + torch.tensor([0.0, 0.2, 0.0, 0.5, 1.0])
    mean = rows.mean(0)
    kept = []
    for _ in range(2):
        sketch = Sketch(5, rows.device)
        for part in rows.split(700):
            sketch.add(part)
        kept.append(sketch.rows(mean))
    np.testing.assert_array_equal(*kept)
    assert kept[0].shape == (1024, 5)
    np.testing.assert_allclose(kept[0].T @ kept[0] / 6000, np.cov(rows.numpy().T), atol=0.15)
    small = Sketch(5, rows.device)
    small.add(rows[:300])
    np.testing.assert_array_equal(small.rows(None), rows[:300].numpy())


def test_normalised_importances_are_taken_one_by_one() -> None:
    module, x = randomise(dense_net()), torch.randn(40, 6)
    removed = []
    for criterion in (Taylor2("example"), Taylor2("example", "rank")):
        network = PrunableNetwork(module, x[:2], criterion=criterion)
        network(x).square().sum(1).mean().backward()
        network.update_score()
        order = np.argsort(network.importances, kind="stable")
        network.update_prunables(5)
        removed.append(set(np.flatnonzero(~network.support)) == set(order[:5]))
    assert removed[1]
