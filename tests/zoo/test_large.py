"""A sample of the benchmark of large networks: each is pruned to half; the masked network equals the compacted one."""

import pytest

from tests.torchvision_shim import torchvision_models

torchvision_models()  # before timm and transformers, which import it
pytest.importorskip("timm", reason="timm is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from benchmarks.zoo_models import LISTS, Entry  # noqa: E402 - it needs the three
from benchmarks.zoo_prunekit import measure  # noqa: E402

pytestmark = pytest.mark.slow

UNITS: dict[tuple[str, str], int | None] = {
    ("torchvision", "resnet50"): 11_456,
    ("torchvision", "densenet121"): 10_240,
    ("torchvision", "googlenet"): 7_280 + 2 * (128 + 1_024),
    ("torchvision", "mobilenet_v3_large"): 8_696,
    ("torchvision", "shufflenet_v2_x1_0"): None,
    ("torchvision", "regnet_y_400mf"): None,
    ("torchvision", "efficientnet_b0"): 11_404,
    ("torchvision", "vit_b_16"): 12 * (12 + 3072),  # heads and neurons
    ("torchvision", "swin_t"): None,
    ("torchvision", "maxvit_t"): None,
    ("torchvision", "lraspp_mobilenet_v3_large"): 7_544,
    ("torchvision", "r3d_18"): 2_880,
    ("timm", "resnest14d"): None,
    ("timm", "mixnet_s"): None,
    ("timm", "mambaout_femto"): None,
    ("timm", "inception_next_tiny"): None,
    ("timm", "cspdarknet53"): None,
    ("timm", "mixer_s32_224"): 18_432,
    ("transformers", "bert"): None,
    ("transformers", "gpt2"): None,
    ("transformers", "llama"): None,
    ("transformers", "qwen2"): None,
    ("transformers", "t5"): None,
    ("transformers", "swin"): None,
    ("transformers", "wav2vec2"): None,
}
"""Networks with the number of their units, where it was worked out or is known from elsewhere."""


@pytest.mark.parametrize(("listed", "name"), UNITS)
def test_large_network(listed: str, name: str) -> None:
    row = measure(Entry(listed, name, LISTS[listed][name]), lambda row: None)
    assert row.verdict == "right", row.message
    assert row.n_units == (UNITS[listed, name] or row.n_units)
    assert row.params_reduction is not None
    assert row.params_reduction > 0.1
