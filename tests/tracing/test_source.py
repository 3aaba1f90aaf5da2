"""Whose code a file is."""

from pathlib import Path

import pytest
import torch
from torch import nn

import prunekit
from prunekit.tracing._source import _own_name
from tests.torchvision_shim import torchvision_models

TORCH, PRUNEKIT = Path(torch.__file__).parent, Path(prunekit.__file__).parent


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (TORCH / "nn" / "functional.py", ""),
        (PRUNEKIT / "tracing" / "_tracer.py", ""),
        (TORCH.parent / "torchvision" / "models" / "resnet.py", "resnet.py"),
        (TORCH.with_name("torch_geometric") / "conv.py", "conv.py"),
        (PRUNEKIT.with_name("prunekit_models") / "net.py", "net.py"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.name,
)
def test_libraries_that_are_called_alike(path: Path, name: str) -> None:
    assert _own_name(str(path)) == name


def test_reasons_name_lines_of_torchvision() -> None:
    network = torchvision_models().swin_t(num_classes=2)
    assert isinstance(network, nn.Module)
    table = prunekit.analyze(network, torch.randn(1, 3, 64, 64)).set_index("name")
    assert "(swin_transformer.py:" in table.loc["features.1.0.attn.qkv", "blocked_by"]
