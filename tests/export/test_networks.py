"""Pruned networks of every kind: what a file returns is what the network returns, for batches of any size."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prunekit import PrunableNetwork, export_onnx, export_program
from prunekit.exceptions import ExportError
from tests.export.conftest import assert_close, evaluated, rerun
from tests.nets import PlainCNN, ResNet, randomise
from tests.zoo.check import Given, remove
from tests.zoo.test_zoo import CASES

QUICK = ("mobilenet_squeeze_excite", "grouped_transposed", "text_cnn", "channel_shuffle", "attention_fused", "lstm")
SLOW = (
    *("vgg", "unet", "pixel_shuffle", "set_item", "einsum", "shared_module", "tied_autoencoder", "multihead"),
    *("encoder_layer", "decoder_layer", "gru_both_directions", "scale_by_size", "weight_standardised"),
)
REFUSED = {
    "conv3d": "no translation of the operation aten._adaptive_avg_pool3d",
    "stack_median": "no translation of the operation aten.median.dim",
    "AdaptiveMaxPool2d": "no translation of the operation aten.adaptive_max_pool2d",
}

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")


def pruned(name: str) -> tuple[nn.Module, object]:
    module, inputs = next(case for case in CASES if case.name == name).make()
    network = PrunableNetwork(module, inputs, criterion=Given())
    remove(network, 0.3)
    return network.compact(verify=False), inputs


@pytest.mark.parametrize("case", [*QUICK, *(pytest.param(case, marks=pytest.mark.slow) for case in SLOW)])
def test_pruned_networks(case, name, export, tmp_path):
    small, inputs = pruned(case)

    report = export(small, tmp_path / name, inputs)

    assert report.dynamic_batch
    first = inputs if isinstance(inputs, Tensor) else None
    for size in (2, 1, 5, 16) if first is not None else ():
        batch = torch.cat([first.flip(0)] * 8)[:size]
        assert_close(rerun(report, batch), evaluated(small, batch))
    assert_close(rerun(report, inputs), evaluated(small, inputs))
    assert report.largest_difference <= 1e-5
    assert report.file_bytes == (tmp_path / name).stat().st_size


@pytest.mark.parametrize("case", REFUSED)
def test_what_onnx_has_no_operation_for(case, tmp_path):
    small, inputs = pruned(case)
    with pytest.raises(ExportError, match=f"cannot be written as onnx: there is {REFUSED[case]}"):
        export_onnx(small, tmp_path / "net.onnx", inputs)
    assert not list(tmp_path.iterdir())
    report = export_program(small, tmp_path / "net.pt2", inputs)
    assert_close(rerun(report, inputs), evaluated(small, inputs))


# ---------------------------------------------------------------- forms of inputs and outputs


class Many(nn.Module):
    """Takes nests, keyword arguments and what is no tensor; returns the same."""

    def __init__(self, word: str | None = None) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.word = word

    def forward(self, a, more=None, *, scale=None, power=2):
        y = self.linear(a) ** power + more["shift"][0]
        y = y if scale is None else y * scale
        return {"y": y, "a": y.sum(1), "nothing": self.word, "both": (y.mean(1), [y.amax(1)])}


def arguments(size: int) -> dict[str, object]:
    """Arguments in another order than that of the parameters."""
    return {
        "scale": torch.rand(size, 3) + 1.0,
        "power": 3,
        "more": {"shift": [torch.randn(size, 3)]},
        "a": torch.randn(size, 4),
    }


def in_order(given: dict[str, object]) -> tuple[object, ...]:
    return given["a"], given["more"], given["scale"]


def test_nested_arguments_and_outputs(name, export, tmp_path):
    module = randomise(Many())

    report = export(module, tmp_path / name, arguments(4))

    assert report.input_names == ("a", "more_shift_0", "scale")
    assert report.output_names == ("y", "a_output", "both_0", "both_1_0")
    given = arguments(6)
    found = rerun(report, in_order(given) if name.endswith("onnx") else given)
    assert_close(found, evaluated(module, given))


def test_outputs_that_are_no_tensors(tmp_path):
    given = arguments(4)
    report = export_onnx(Many("word"), tmp_path / "net.onnx", given)
    assert len(rerun(report, in_order(given))) == 4
    with pytest.raises(ExportError, match=r"torch.export does not run what export_program made of Many: .*as_string"):
        export_program(Many("word"), tmp_path / "net.pt2", given)
    outputs = export_program(Many(), tmp_path / "net.pt2", given)
    assert torch.export.load(outputs.path).module()(**given).keys() == {"y", "a", "nothing", "both"}


def test_an_object_that_is_returned(tmp_path):
    small, inputs = pruned("features_out")
    report = export_onnx(small, tmp_path / "net.onnx", inputs)
    assert report.output_names == ("logits", "features")
    assert_close(rerun(report, inputs), evaluated(small, inputs))
    with pytest.raises(ExportError, match=r"cannot be captured .*Result"):
        export_program(small, tmp_path / "net.pt2", inputs)


class TwoOutputs(PlainCNN):
    def forward(self, x):
        return super().forward(x), x.mean((1, 2, 3))


def test_several_outputs(name, export, tmp_path):
    module, batch = randomise(TwoOutputs()), torch.randn(3, 3, 8, 8)
    report = export(module, tmp_path / name, batch)
    assert report.output_names == ("output_0", "output_1")
    assert_close(rerun(report, batch), evaluated(module, batch))


def test_a_tensor_without_a_batch_stays_as_it_is(name, export, tmp_path):
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(6, 2)

        def forward(self, x, mask):
            return self.linear(x * mask)

    module, mask = Masked(), torch.tensor([1.0, 0, 1, 1, 0, 1])
    report = export(module, tmp_path / name, (torch.randn(4, 6), mask))
    assert report.batch_sizes == (4, 1, 3)
    for size in (1, 9):
        batch = torch.randn(size, 6)
        assert_close(rerun(report, (batch, mask)), evaluated(module, (batch, mask)))


def test_a_fixed_dimension_as_large_as_the_batch_could_be(tmp_path):
    class Scaled(nn.Linear):
        def forward(self, x, scale):
            return super().forward(x * scale)

    module, scale = Scaled(32, 2), torch.rand(32)
    report = export_program(module, tmp_path / "net.pt2", (torch.randn(50, 32), scale))
    assert report.batch_sizes == (31, 1, 3)
    batch = torch.randn(40, 32)
    assert_close(rerun(report, (batch, scale)), evaluated(module, (batch, scale)))


# ---------------------------------------------------------------- data types


def test_half_precision(name, export, tmp_path):
    module, batch = randomise(ResNet()).half(), torch.randn(2, 3, 8, 8)
    report = export(module, tmp_path / name, batch)
    assert report.largest_difference <= 8 * torch.finfo(torch.float16).eps
    found, expected = rerun(report, batch.half()), evaluated(module, batch.half())
    assert_close(found, expected, 8e-3)


def test_double_precision(name, export, tmp_path):
    module, batch = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)).double(), torch.randn(2, 4)
    report = export(module, tmp_path / name, batch)
    assert_close(rerun(report, batch.double()), evaluated(module, batch.double()), 1e-14)


def test_bfloat16_is_for_programs_only(tmp_path):
    module, batch = PlainCNN().bfloat16(), torch.randn(2, 3, 8, 8)
    with pytest.raises(ExportError, match="ONNX Runtime does not run what export_onnx made of PlainCNN"):
        export_onnx(module, tmp_path / "net.onnx", batch)
    assert export_program(module, tmp_path / "net.pt2", batch).largest_difference == 0.0


def test_arrays_and_one_example(name, export, tmp_path):
    module = PlainCNN()
    report = export(module, tmp_path / name, np.zeros((1, 3, 8, 8)))  # float64, as arrays are
    assert report.batch_sizes == (1, 3)
    batch = torch.randn(4, 3, 8, 8)
    assert_close(rerun(report, batch), evaluated(module, batch))


def test_integers_that_are_returned(name, export, tmp_path):
    class Classes(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(11, 5)

        def forward(self, tokens):
            found = self.embedding(tokens).sum(1)
            return found.argmax(1), found

    module, tokens = Classes(), torch.randint(11, (4, 7))
    report = export(module, tmp_path / name, tokens)
    assert_close(rerun(report, tokens), evaluated(module, tokens))


def test_many_examples_are_not_all_compared(name, export, tmp_path):
    report = export(nn.Linear(4, 2), tmp_path / name, np.zeros((5000, 4), np.float32))
    assert report.batch_sizes == (32, 1, 3)
    assert "0.00" not in str(report)
    assert f"{report.file_bytes:,} bytes, input -> output, dynamic batch" in str(report)
