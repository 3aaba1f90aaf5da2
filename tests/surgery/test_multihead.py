"""Attention heads: the layer that computes with fewer of them, and how networks come by it."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch import Tensor, nn

from prunekit import PrunableNetwork, load, save
from prunekit.tracing.multihead import CompactMultiheadAttention, use_compact_attention_
from tests.nets import randomise
from tests.zoo.check import Given, assert_same_outputs, pruned, train

BATCH, QUERIES, KEYS = 3, 5, 7

nested = pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")

LAYERS: dict[str, dict[str, Any]] = {
    "plain": {},
    "tokens first": {"batch_first": False},
    "without bias": {"bias": False},
    "bias_kv": {"add_bias_kv": True},
    "zero": {"add_zero_attn": True},
    "bias_kv and zero": {"add_bias_kv": True, "add_zero_attn": True, "batch_first": False},
    "other widths": {"kdim": 6, "vdim": 10},
    "other widths without bias": {"kdim": 6, "vdim": 10, "bias": False, "batch_first": False},
}

PADDING = torch.zeros(BATCH, KEYS, dtype=torch.bool)
PADDING[1, -2:] = True
CAUSAL = torch.ones(QUERIES, KEYS, dtype=torch.bool).triu(1)
OF_HEADS = torch.rand(BATCH * 4, QUERIES, KEYS, generator=torch.Generator().manual_seed(2)) < 0.3
OF_HEADS[..., 0] = False


def additive(mask: Tensor) -> Tensor:
    return torch.zeros(mask.shape).masked_fill(mask, float("-inf"))


MASKS: dict[str, dict[str, Any]] = {
    "none": {},
    "padding": {"key_padding_mask": PADDING},
    "mask": {"attn_mask": additive(CAUSAL)},
    "both": {"attn_mask": CAUSAL, "key_padding_mask": PADDING},
    "causal": {"attn_mask": CAUSAL, "is_causal": True},
    "causal and padding": {"attn_mask": CAUSAL, "is_causal": True, "key_padding_mask": PADDING},
    "of heads": {"attn_mask": OF_HEADS},
    "of heads and padding": {"attn_mask": additive(OF_HEADS), "key_padding_mask": additive(PADDING)},
}

WEIGHTS: dict[str, dict[str, bool]] = {
    "output": {"need_weights": False},
    "mean weights": {},
    "weights": {"average_attn_weights": False},
}


def both(**options: Any) -> tuple[nn.MultiheadAttention, nn.MultiheadAttention]:
    """Return torch's layer and one with the same parameters that takes its widths from them."""
    layer = randomise(nn.MultiheadAttention(8, 4, **{"batch_first": True, **options}))
    compact = copy.deepcopy(layer)
    use_compact_attention_(compact)
    assert type(compact) is CompactMultiheadAttention
    return layer, compact


def assert_same(expected: tuple[Tensor, Tensor | None], got: tuple[Tensor, Tensor | None]) -> None:
    assert (expected[1] is None) == (got[1] is None)
    for left, right in zip(expected, got, strict=True):
        if left is not None:
            torch.testing.assert_close(left, right, rtol=0.0, atol=1e-5 * left.abs().max().item())


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("masks", MASKS)
@pytest.mark.parametrize("options", LAYERS)
def test_same_as_torch(options: str, masks: str, weights: str) -> None:
    layer, compact = both(**LAYERS[options])
    given = {**MASKS[masks], **WEIGHTS[weights]}
    tensors = [
        torch.randn(BATCH, QUERIES, 8),
        torch.randn(BATCH, KEYS, layer.kdim),
        torch.randn(BATCH, KEYS, layer.vdim),
    ]
    if not layer.batch_first:
        tensors = [tensor.transpose(0, 1) for tensor in tensors]
    cases = [tensors, [tensors[0], tensors[1], tensors[1]]] if layer.kdim == layer.vdim else [tensors]
    for case in cases:
        for training in (True, False):
            assert_same(layer.train(training)(*case, **given), compact.train(training)(*case, **given))


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("masks", MASKS)
def test_same_as_torch_for_one_tensor_and_without_batch(masks: str, weights: str) -> None:
    layer, compact = both()
    layer.eval(), compact.eval()
    x = torch.randn(BATCH, QUERIES, 8)
    given = {
        name: mask[..., :QUERIES] if isinstance(mask, Tensor) else mask
        for name, mask in {**MASKS[masks], **WEIGHTS[weights]}.items()
    }
    for context in (torch.enable_grad, torch.inference_mode):  # with and without torch's fused kernel
        with context():
            assert_same(layer(x, x, x, **given), compact(x, x, x, **given))
    if (mask := given.get("attn_mask")) is not None and mask.dim() == 3:
        given["attn_mask"] = mask[4:8]
    if "key_padding_mask" in given:
        given["key_padding_mask"] = given["key_padding_mask"][1]
    assert_same(layer(x[1], x[1], x[1], **given), compact(x[1], x[1], x[1], **given))


def test_dropout_is_of_weights_and_in_training_only() -> None:
    x = torch.ones(1, 400, 8)
    for needed in (True, False):
        layer, compact = both(dropout=0.5)
        outputs = []
        for module in (layer, compact):
            torch.manual_seed(0)
            first, second = (module.train()(x, x, x, need_weights=needed)[0] for _ in range(2))
            assert not torch.equal(first, second)
            outputs.append(torch.stack([first, second]))
            module.eval()
            assert torch.equal(module(x, x, x)[0], module(x, x, x)[0])
        assert torch.allclose(outputs[0].std(2), outputs[1].std(2), rtol=0.2)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"is_causal": True}, "must be a mask where 'is_causal' is True. Got None instead"),
        (
            {"attn_mask": torch.zeros(12, 5, 4)},
            r"must have the shape \(5, 5\) or \(12, 5, 5\), for 4 heads. Got \(12, 5",
        ),
        ({"attn_mask": torch.zeros(6, 5, 5)}, r"for 4 heads. Got \(6, 5, 5\) instead"),
        ({"key_padding_mask": torch.zeros(3, 5, dtype=torch.uint8)}, "boolean or floating. Got torch.uint8 instead"),
    ],
)
def test_masks_that_do_not_fit(given: dict[str, Any], message: str) -> None:
    _, compact = both()
    x = torch.randn(3, 5, 8)
    with pytest.raises(ValueError, match=message):
        compact(x, x, x, **given)


def encoder(layers: int = 2) -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 4, 24, dropout=0.0, batch_first=True)
    return randomise(nn.TransformerEncoder(layer, layers))


def test_every_head_is_a_unit() -> None:
    layer = nn.TransformerEncoderLayer(64, 8, 128)
    network = PrunableNetwork(layer, torch.randn(5, 2, 64))

    assert network.num_prunables == 8 + 128
    table = network.analyze().set_index("name")
    assert table.loc["self_attn", ["num_filters", "num_prunable"]].tolist() == [192, 192]
    head = next(unit for unit in network.units if ("self_attn.in_proj_weight", 8) in unit.filters)
    assert {(part.tensor, part.dim): part.indices for part in head.slices} == {
        ("self_attn.in_proj_weight", 0): tuple(range(8, 16)) + tuple(range(72, 80)) + tuple(range(136, 144)),
        ("self_attn.in_proj_bias", 0): tuple(range(8, 16)) + tuple(range(72, 80)) + tuple(range(136, 144)),
        ("self_attn.out_proj.weight", 1): tuple(range(8, 16)),
    }


def test_compacted_layer_says_what_it_is() -> None:
    module = encoder()
    network = PrunableNetwork(module, torch.randn(2, 5, 16), criterion=Given())
    start = network.snapshot()
    heads = [unit.index for unit in network.units if unit.filters[0][0] == "layers.0.self_attn.in_proj_weight"]
    start.removed[heads[1:]] = True
    network.restore(start)
    small = network.compact()

    first, second = (layer.self_attn for layer in small.layers)
    assert type(first) is CompactMultiheadAttention
    assert (first.num_heads, first.head_dim, first.embed_dim, first.kdim, first.vdim) == (1, 4, 16, 16, 16)
    assert {name: tuple(tensor.shape) for name, tensor in first.state_dict().items()} == {
        "in_proj_weight": (12, 16),
        "in_proj_bias": (12,),
        "out_proj.weight": (16, 4),
        "out_proj.bias": (16,),
    }
    assert type(second) is nn.MultiheadAttention
    assert all(type(layer.self_attn) is nn.MultiheadAttention for layer in [*module.layers, *network.module.layers])


def test_width_of_the_input_may_shrink() -> None:
    class Between(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.attention, self.last = nn.Linear(3, 8), nn.MultiheadAttention(8, 4), nn.Linear(8, 2)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            return self.last(self.attention(x, x, x, need_weights=False)[0])

    network = pruned(randomise(Between()), torch.randn(5, 2, 3), 0.5)
    attention = network.compact().attention
    assert network.num_prunables == (8 + 4 + 8) // 2
    assert attention.embed_dim == attention.kdim == attention.vdim == attention.in_proj_weight.shape[1] < 8
    assert attention.out_proj.out_features < 8


@nested
@pytest.mark.parametrize("context", [torch.enable_grad, torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("padded", [False, True])
def test_fused_kernels_are_not_taken(context: Callable[[], Any], padded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    network = pruned(encoder(), torch.randn(3, 6, 16), 0.5)
    small = network.compact()
    assert all(type(layer.self_attn) is CompactMultiheadAttention for layer in small.layers)
    x, padding = torch.randn(3, 6, 16), torch.zeros(3, 6, dtype=torch.bool)
    padding[1, 4:] = padding[2, 1:] = True
    masks = {"src_key_padding_mask": padding} if padded else {}

    kernels = []
    for name in ("_transformer_encoder_layer_fwd", "_native_multi_head_attention"):
        kernel = Mock(side_effect=getattr(torch, name))
        monkeypatch.setattr(torch, name, kernel)
        kernels.append(kernel)
    with context():
        expected = network.module.eval()(x, **masks)
        taken = sum(kernel.call_count for kernel in kernels)
        assert (taken > 0) == (context is not torch.enable_grad)
        got = small.eval()(x, **masks)
    assert sum(kernel.call_count for kernel in kernels) == taken
    torch.testing.assert_close(got, expected, rtol=0.0, atol=1e-5 * expected.abs().max().item())


@nested
def test_nested_tensors() -> None:
    layer, compact = both()
    layer.eval(), compact.eval()
    with torch.no_grad():
        x = torch.nested.as_nested_tensor([torch.randn(length, 8) for length in (4, 1, 6)])
        for given in WEIGHTS.values():
            (expected, weights), (got, others) = layer(x, x, x, **given), compact(x, x, x, **given)
            assert_same((expected.to_padded_tensor(0.0), weights), (got.to_padded_tensor(0.0), others))
        with pytest.raises(ValueError, match="batch-first self-attention without masks"):
            compact(x, x, x, attn_mask=torch.zeros(6, 6))


@nested
def test_padded_sentences() -> None:
    class Sentences(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder, self.head = encoder(), nn.Linear(16, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.encoder(x, src_key_padding_mask=(x == 0.0).all(-1)).mean(1))

    x = torch.randn(4, 6, 16, generator=torch.Generator().manual_seed(0))
    x[1, 3:] = x[2, 4:] = 0.0
    network = PrunableNetwork(randomise(Sentences()), x, criterion=Given())
    assert network.num_prunables == 2 * (4 + 24)
    network.update_prunables(max_to_prune=30)
    small = network.compact()
    assert_same_outputs(network, small, x)
    for module in (network, small):
        train(module, x, torch.optim.SGD(module.parameters(), 0.01, 0.9, weight_decay=0.01), clip=1.0)
    assert_same_outputs(network, small, x)


def test_copies_and_files(tmp_path: Path) -> None:
    x = torch.randn(2, 5, 16)
    network = pruned(encoder(), x, 0.5)
    small = network.compact()
    save(network, tmp_path / "small.safetensors")
    copies = [
        copy.deepcopy(small),
        pickle.loads(pickle.dumps(small)),
        load(tmp_path / "small.safetensors", encoder()),
        torch.export.export(small.eval(), (x,)).module(),
    ]
    with torch.no_grad():
        for other in copies:
            torch.testing.assert_close(other(x), small(x))


def test_other_attention_is_left_alone() -> None:
    class Own(nn.MultiheadAttention):
        """A subclass may compute anything."""

    patched = nn.MultiheadAttention(8, 2)
    patched.forward = lambda query, key, value: (query, None)
    linear = nn.Linear(2, 2)
    for module in (Own(8, 2), patched, linear):
        kind = type(module)
        use_compact_attention_(module)
        assert type(module) is kind
