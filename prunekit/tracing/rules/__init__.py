"""One rule for every family of operations: what it does to labels.

``find_rule`` looks an ATen operation up: by name, else by what PyTorch itself says of it (pointwise, view). What has no
rule is unknown, and unknown means frozen.
"""

from prunekit.tracing.rules import (
    attention,
    convolution,
    elementwise,
    factories,
    indexing,
    matmul,
    movement,
    normalization,
    reduction,
    spatial,
)
from prunekit.tracing.rules._registry import Rule, find_rule, is_pointwise, takes_sizes

__all__ = [
    "Rule",
    "attention",
    "convolution",
    "elementwise",
    "factories",
    "find_rule",
    "indexing",
    "is_pointwise",
    "matmul",
    "movement",
    "normalization",
    "reduction",
    "spatial",
    "takes_sizes",
]
