"""Tensors of one constant value: they have no channels of their own and adopt those of what they meet."""

from prunekit.tracing._call import Call
from prunekit.tracing._factors import along
from prunekit.tracing.rules._registry import rule


@rule(
    "zeros", "ones", "full", "empty", "new_zeros", "new_ones", "new_full", "new_empty", "empty_strided", "scalar_tensor"
)
def constant(call: Call) -> None:
    """Give every dimension fresh labels; the probe proves that the code makes it in the compacted size."""
    out = call.out
    call.set(out, [along(call.fresh(size), dim, out.dim()) for dim, size in enumerate(out.shape) if size > 1])
