"""`PrunableNetwork` with ``norms="subset"``: channels that are normalised together go one by one."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier
from torch import Tensor, nn

from prunekit import PrunableNetwork, TaylorPruner, load, save
from prunekit.exceptions import NothingToPruneError, ParameterError
from prunekit.surgery.formulas import written_out_norms
from tests.nets import randomise
from tests.torchvision_shim import torchvision_models
from tests.zoo.check import Given, assert_same_outputs, evaluated, loss_of, pruned, remove, run, train

Norm = Callable[[int], nn.Module]
WIDTH = 24
X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(5))


class Attention(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        mixed = (q @ k.transpose(-1, -2)).softmax(-1) @ v
        return self.proj(mixed.transpose(1, 2).reshape(b, n, -1))


class Block(nn.Module):
    def __init__(self, width: int, heads: int, norm: Norm) -> None:
        super().__init__()
        self.norm1, self.attention = norm(width), Attention(width, heads)
        self.norm2 = norm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class VisionTransformer(nn.Module):
    def __init__(self, norm: Norm = nn.LayerNorm) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.positions = nn.Parameter(torch.randn(1, 5, WIDTH))
        self.blocks = nn.Sequential(Block(WIDTH, 4, norm), Block(WIDTH, 4, norm))
        self.norm, self.head = norm(WIDTH), nn.Linear(WIDTH, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.positions
        return self.head(self.norm(self.blocks(x))[:, 0])


class ConvNeXt(nn.Module):
    def __init__(self, norm: Norm = nn.LayerNorm) -> None:
        super().__init__()
        self.stem, self.depthwise = nn.Conv2d(3, 12, 2, 2), nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.norm = norm(12)
        self.wide, self.narrow, self.head = nn.Linear(12, 24), nn.Linear(24, 12), nn.Linear(12, 3)
        self.scale = nn.Parameter(torch.randn(12))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        hidden = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        hidden = self.scale * self.narrow(nn.functional.gelu(self.wide(hidden)))
        return self.head((x + hidden.permute(0, 3, 1, 2)).mean((2, 3)))


class LayerNorm2d(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.layer_norm(x.movedim(1, -1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.movedim(-1, 1)


class WrittenRMSNorm(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain, self.variance_epsilon = nn.Parameter(torch.ones(width)), 1e-6

    def forward(self, hidden: Tensor) -> Tensor:
        wide = hidden.float()
        return self.gain * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)).to(hidden)


class OffsetRMSNorm(WrittenRMSNorm):
    def forward(self, hidden: Tensor) -> Tensor:
        wide = hidden * torch.rsqrt(hidden.square().mean(-1, keepdim=True) + self.variance_epsilon)
        return wide * (1.0 + self.gain)


class WrittenLayerNorm2d(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        normalised = centred / torch.sqrt(centred.pow(2).mean(1, keepdim=True) + 1e-6)
        return self.weight[:, None, None] * normalised + self.bias[:, None, None]


class FixedScale(nn.Module):
    """Its scale is no mean over the channels that are left."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight, self.scale = nn.Parameter(torch.ones(width)), width**0.5

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(x, dim=-1) * self.scale * self.weight


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.norm, self.head = nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        norm = self.norm
        return self.head(nn.functional.layer_norm(self.body(x), norm.normalized_shape, norm.weight, norm.bias))


def images(norm: Norm) -> nn.Module:
    """Return a convolutional network with a norm in the middle."""
    tail = (nn.Conv2d(10, 6, 1), nn.Flatten(), nn.Linear(6 * 16, 3))
    return randomise(nn.Sequential(nn.Conv2d(3, 10, 2, 2), norm(10), nn.ReLU(), *tail))


def vectors(norm: Norm) -> nn.Module:
    """Return a perceptron with a norm in the middle."""
    return randomise(nn.Sequential(nn.Linear(6, 10), norm(10), nn.ReLU(), nn.Linear(10, 3)))


NETS: dict[str, tuple[Callable[[], nn.Module], Tensor, int]] = {
    "vit": (lambda: randomise(VisionTransformer()), X, WIDTH + 2 * (2 * WIDTH)),
    "vit, rms norm": (lambda: randomise(VisionTransformer(nn.RMSNorm)), X, WIDTH + 2 * (2 * WIDTH)),
    "vit, written rms norm": (lambda: randomise(VisionTransformer(WrittenRMSNorm)), X, WIDTH + 2 * (2 * WIDTH)),
    "convnext": (lambda: randomise(ConvNeXt()), X, 12 + 24),
    "layer norm 2d": (lambda: images(LayerNorm2d), X, 10 + 6),
    "written layer norm 2d": (lambda: images(WrittenLayerNorm2d), X, 10 + 6),
    "group norm": (lambda: images(lambda width: nn.GroupNorm(1, width)), X, 10 + 6),
    "without bias": (lambda: vectors(lambda width: nn.LayerNorm(width, bias=False)), torch.randn(4, 6), 10),
    "offset rms norm": (lambda: vectors(OffsetRMSNorm), torch.randn(4, 6), 10),
}


@pytest.fixture(params=NETS)
def net(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor, int]:
    """Return a network, inputs, and the number of units besides those inside of attention."""
    make, inputs, units = NETS[request.param]
    return make(), inputs, units


def units_outside_of_attention(network: PrunableNetwork) -> int:
    """Return the number of prunable units that hold a filter outside of the queries, keys and values."""
    return sum(unit.index is not None and any("qkv" not in name for name, _ in unit.filters) for unit in network.units)


def test_every_channel_of_a_normalised_stream_is_a_unit(net: tuple[nn.Module, Tensor, int]) -> None:
    module, inputs, units = net
    assert units_outside_of_attention(PrunableNetwork(module, inputs, norms="subset")) == units


@pytest.mark.parametrize("fraction", [0.1, 0.5, 0.9])
def test_masked_equals_compacted(net: tuple[nn.Module, Tensor, int], fraction: float) -> None:
    module, inputs, _ = net
    network = pruned(module, inputs, fraction, norms="subset")
    assert network.verify() <= 1e-5
    assert network.verify(torch.randn_like(inputs) * 3) <= 1e-5
    assert_same_outputs(network, network.compact(), inputs)


def test_masked_equals_compacted_after_training(net: tuple[nn.Module, Tensor, int]) -> None:
    module, inputs, _ = net
    network = pruned(module, inputs, 0.5, norms="subset")
    small = network.compact()
    for trained in (network.module, small):
        train(trained, inputs, torch.optim.SGD(trained.parameters(), lr=0.01, momentum=0.9), steps=3)
    assert_same_outputs(network, small, inputs)
    assert network.verify() <= 1e-5


def test_gradients_of_masked_and_compacted_norm_agree() -> None:
    network = pruned(randomise(VisionTransformer()), X, 0.5, norms="subset")
    small = network.compact()
    for module in (network, small):
        loss_of([run(module, X)]).backward()
    for name in ("norm", "blocks.0.norm1"):
        masked, cut = network.module.get_submodule(name), small.get_submodule(name)
        kept = torch.tensor(next(part.indices for part in network.plan.kept if part.tensor == f"{name}.weight"))
        for own, smaller in zip(masked.parameters(), cut.parameters(), strict=True):
            torch.testing.assert_close(own.grad[kept], smaller.grad, rtol=1e-4, atol=1e-6)
            assert own.grad.count_nonzero() == smaller.grad.count_nonzero()


def test_compacted_network_has_ordinary_smaller_norms() -> None:
    network = PrunableNetwork(randomise(VisionTransformer()), X, criterion=Given(), norms="subset")
    stream = next(unit for unit in network.units if ("patches.weight", 5) in unit.filters)
    network.criterion.values = np.arange(network.num_prunables) != stream.index
    network.update_prunables(1)
    small = network.compact()
    kept = [index for index in range(WIDTH) if index != 5]
    assert type(small.norm) is nn.LayerNorm
    assert small.norm.normalized_shape == (WIDTH - 1,)
    assert len(small.norm._forward_hooks) == len(small.norm._forward_pre_hooks) == 0
    torch.testing.assert_close(small.norm.weight, network.module.norm.weight[kept], rtol=0, atol=0)
    assert {(part.tensor, part.role) for part in stream.slices} >= {
        ("norm.weight", "inner"),
        ("blocks.1.norm2.bias", "inner"),
        ("blocks.0.attention.qkv.weight", "consumer"),
        ("blocks.0.mlp.2.weight", "producer"),
    }
    again = pickle.loads(pickle.dumps(copy.deepcopy(small)))
    assert_same_outputs(network, again, X)


def test_two_channels_stay_where_one_has_no_variance() -> None:
    module = vectors(nn.LayerNorm)
    network = pruned(module, torch.randn(4, 6), 1.0, norms="subset")
    assert network.compact()[1].normalized_shape == (2,)


def test_masked_network_looks_like_the_dense_one() -> None:
    module = randomise(VisionTransformer())
    network = pruned(module, X, 0.5, norms="subset")
    network(X)
    masked = network.module
    assert masked.state_dict().keys() == module.state_dict().keys()
    assert [name for name, _ in masked.named_buffers()] == []
    for (name, own), (other, dense) in zip(masked.named_parameters(), module.named_parameters(), strict=True):
        assert (name, own.shape) == (other, dense.shape)
    assert masked.norm.normalized_shape == (WIDTH,)
    torch.testing.assert_close(masked.norm.weight, module.norm.weight, rtol=0, atol=0)


def test_error_in_a_norm_leaves_it_as_it_was() -> None:
    network = pruned(vectors(nn.LayerNorm), torch.randn(4, 6), 0.5, norms="subset")
    norm = network.module[1]
    with pytest.raises(RuntimeError):
        norm(torch.randn(4, 10).long())
    assert norm.normalized_shape == (10,)
    assert isinstance(norm.weight, nn.Parameter)
    assert norm.weight.shape == (10,)
    assert network.verify() <= 1e-5


def test_hooks_of_the_user_see_all_channels() -> None:
    module, seen = vectors(nn.LayerNorm), []
    network = pruned(module, torch.randn(4, 6), 0.5, norms="subset")
    network.module[1].register_forward_hook(lambda layer, args, output: seen.append((args[0].shape, output.shape)))
    network(torch.randn(2, 6))
    assert seen[0][1] == (2, 10)


def test_restore_takes_norms_back() -> None:
    network = pruned(randomise(VisionTransformer()), X, 0.3, norms="subset")
    state, before = network.snapshot(), evaluated(network, X)
    remove(network, 0.5, seed=1)
    assert not torch.allclose(evaluated(network, X)[0], before[0])
    network.restore(state)
    torch.testing.assert_close(evaluated(network, X)[0], before[0], rtol=0, atol=0)
    assert network.verify() <= 1e-5


def test_analysis_and_reductions() -> None:
    network = PrunableNetwork(randomise(VisionTransformer()), X, criterion=Given(), norms="subset")
    assert network.max_reduction() > PrunableNetwork(VisionTransformer(), X).max_reduction()
    remove(network, 0.5)
    table = network.analyze()
    small = network.compact()
    assert table.attrs["totals"]["params"]["after"] == sum(p.numel() for p in small.parameters())
    rows = table.set_index("name")
    assert rows.loc["norm", "num_learnables"] == sum(p.numel() for p in small.norm.parameters())
    assert rows.loc["norm", "blocked_by"] == ""


def test_save_and_load(tmp_path: Any) -> None:
    dense = randomise(VisionTransformer())
    network = pruned(dense, X, 0.5, norms="subset")
    save(network.compact(), tmp_path / "small.safetensors", network.plan)
    assert_same_outputs(network, load(tmp_path / "small.safetensors", VisionTransformer()), X)


# -- what stays frozen -------------------------------------------------------------------------------------------------


def test_by_default_the_reason_names_the_option(net: tuple[nn.Module, Tensor, int]) -> None:
    module, inputs, _ = net
    try:
        network = PrunableNetwork(module, inputs)
    except NothingToPruneError as error:
        reasons = [str(error)]
    else:
        reasons = [str(unit.reason) for unit in network.units if unit.reason is not None]
    assert any('normalises over all channels together (norms="subset" lets them be pruned)' in text for text in reasons)


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        (Functional(), "layer norm normalises over all channels together (test_network_norms.py:"),
        (vectors(lambda width: nn.LayerNorm(width, elementwise_affine=False)), "layer norm normalises over all"),
        (vectors(FixedScale), "over channels"),
    ],
    ids=["function", "without weight", "fixed scale"],
)
def test_other_norms_stay_frozen_with_a_reason(module: nn.Module, reason: str) -> None:
    with pytest.raises(NothingToPruneError) as caught:
        PrunableNetwork(module, torch.randn(4, 6), norms="subset")
    assert reason in str(caught.value)
    assert 'norms="subset"' not in str(caught.value)


def test_norm_within_each_head_leaves_heads_as_units() -> None:
    class HeadNorm(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.norm, self.head = nn.Linear(6, 12), nn.LayerNorm(3), nn.Linear(12, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.norm(self.body(x).view(len(x), -1, 3)).flatten(1))

    for norms in ("freeze", "subset"):
        network = PrunableNetwork(randomise(HeadNorm()), torch.randn(4, 6), criterion=Given(), norms=norms)
        assert network.num_prunables == 4
        remove(network, 0.5)
        assert network.verify() <= 1e-5


def test_unknown_value_is_refused() -> None:
    with pytest.raises(ParameterError, match="'norms' parameter of PrunableNetwork must be one of 'freeze', 'subset'"):
        PrunableNetwork(vectors(nn.LayerNorm), torch.randn(4, 6), norms="drop")
    pruner = TaylorPruner(NeuralNetClassifier(Functional), norms="drop")
    with pytest.raises(ParameterError, match="'norms' parameter of TaylorPruner"):
        pruner.fit(np.zeros((8, 6), np.float32), np.zeros(8, np.int64))


# -- formulas ----------------------------------------------------------------------------------------------------------


def test_formulas_are_recognised_by_their_numbers() -> None:
    class Wrong(WrittenRMSNorm):
        def forward(self, hidden: Tensor) -> Tensor:
            return super().forward(hidden).flip(-1)

    class Ranks(WrittenRMSNorm):
        def forward(self, hidden: Tensor) -> Tensor:
            return hidden if hidden.dim() == 2 else super().forward(hidden)

    norms = [WrittenRMSNorm(8), WrittenLayerNorm2d(8)]
    layers = [*norms, Wrong(8), Ranks(8), FixedScale(8), nn.PReLU(8), nn.LayerNorm(8), nn.LazyLinear(8)]
    assert written_out_norms(nn.Sequential(*layers)) == {"0": -1, "1": 1}


# -- from outside ------------------------------------------------------------------------------------------------------


class Tabular(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.norm1, self.mlp = nn.Linear(6, 16), nn.LayerNorm(16), nn.Linear(16, 16)
        self.norm2, self.head = nn.LayerNorm(16), nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        return self.head(self.norm2(x + self.mlp(self.norm1(x)).relu()))


def test_pruner_prunes_a_residual_stream() -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(64, 6)).astype(np.float32)
    labels = (features[:, 0] > 0).astype(np.int64)
    net = NeuralNetClassifier(Tabular, criterion=nn.CrossEntropyLoss, max_epochs=2, lr=0.1, verbose=0)
    pruner = TaylorPruner(net, target_reduction=0.4, step=0.2, norms="subset", random_state=0).fit(features, labels)
    small = pruner.transform().module_
    assert small.norm1.normalized_shape == small.norm2.normalized_shape == (small.body.out_features,)
    assert small.body.out_features < 16
    assert pickle.loads(pickle.dumps(pruner)).predict(features).tolist() == pruner.predict(features).tolist()


def test_torchvision_convnext() -> None:
    models = torchvision_models()
    module = models.convnext_tiny(weights=None, num_classes=4).eval()
    x = torch.randn(1, 3, 32, 32)
    network = pruned(module, x, 0.5, norms="subset")
    assert network.num_prunables > PrunableNetwork(module, x).num_prunables / 2
    assert network.verify() <= 1e-5
    assert network.compact().features[0][1].normalized_shape[0] < 96


def test_transformers_llama() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.LlamaConfig(
        hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2, vocab_size=32
    )
    module = randomise(transformers.LlamaForCausalLM(config).eval())
    network = pruned(module, {"input_ids": torch.arange(6)[None], "use_cache": False}, 0.4, norms="subset")
    assert network.compact().model.norm.weight.numel() < 16
    assert network.verify() <= 1e-5


def test_without_units_for_a_while_is_without_them_for_good(net: tuple[nn.Module, Tensor, int]) -> None:
    module, x, _ = net
    network = pruned(module, x, 0.2, norms="subset")
    units = np.flatnonzero(network.support)[::5]
    before = network.predict(x)
    with network.without(units):
        meanwhile = network.predict(x)
    assert torch.equal(network.predict(x), before)
    network.criterion.values = np.ones(network.support.size)
    network.criterion.values[units] = 0.0
    assert network.update_prunables(len(units)) == len(units)
    torch.testing.assert_close(network.predict(x), meanwhile)
    torch.testing.assert_close(network.compact()(x), meanwhile)
