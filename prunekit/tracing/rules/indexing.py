"""Look-ups: embeddings make channels, indices carry labels only along dimensions that they leave alone."""

from typing import TYPE_CHECKING

from prunekit.tracing._call import Call
from prunekit.tracing._factors import along, tracked
from prunekit.tracing.rules._registry import rule
from prunekit.tracing.rules.elementwise import WITHOUT_LABELS, agree, spanned_shape

if TYPE_CHECKING:
    from torch import Tensor


@rule("embedding")
def embedding(call: Call) -> None:
    """Make channels from the columns of a table of shape (entries, channels)."""
    weight = call["weight"]
    call.freeze_all([call["indices"]], "used as an index")
    made = []
    for factor in call.factors(weight):
        if factor.size(0) > 1:
            call.freeze(factor, "entry of an embedding")
        else:
            labels = factor.reshape(-1)
            if call.is_weight(weight):
                call.mark_producer(labels)
            made.append(along(labels, call.out.dim() - 1, call.out.dim()))
    call.set(call.out, made)


@rule("_embedding_bag", "_embedding_bag_forward_only")
def embedding_bag(call: Call) -> None:
    """Make channels from the columns of a table whose entries are added up, averaged or compared."""
    embedding(call)
    call.freeze_all([tensor for tensor in call.inputs if tensor is not call["weight"]], "used as an index")


@rule("index_select")
def index_select(call: Call) -> None:
    """Keep labels along the dimensions that are not selected from."""
    source, dim = call.inputs[0], call["dim"]
    call.freeze_all([call["index"]], "used as an index")
    kept = []
    for factor in call.factors(source):
        if source.dim() and factor.size(dim % source.dim()) > 1:
            call.freeze(factor, "selected by an index")
        else:
            kept.append(factor)
    call.set(call.out, kept)


@rule("index", "_unsafe_index")
def index(call: Call) -> None:
    """Keep labels along dimensions behind one single index tensor, freeze all others."""
    source: Tensor = call.inputs[0]
    indices = list(call["indices"])
    used = [dim for dim, item in enumerate(indices) if item is not None]
    call.freeze_all([item for item in indices if item is not None], "used as an index")
    simple = len(used) == 1 and indices[used[0]].dtype.is_floating_point is False and indices[used[0]].dim() > 0
    kept = []
    for factor in call.factors(source):
        if not simple or used[0] in tracked(factor) or str(indices[used[0]].dtype) in ("torch.bool", "torch.uint8"):
            call.freeze(factor, "selected by an index")
            continue
        shape = list(factor.shape)
        shape[used[0] : used[0] + 1] = [1] * indices[used[0]].dim()
        kept.append(factor.reshape(shape))
    call.set(call.out, kept)


@rule(
    "gather",
    "scatter",
    "scatter_",
    "scatter_add",
    "scatter_add_",
    "scatter_reduce",
    "scatter_reduce_",
    "index_add",
    "index_add_",
    "index_copy",
    "index_copy_",
    "index_reduce",
    "index_reduce_",
    "index_fill",
    "index_fill_",
)
def move_along(call: Call) -> None:
    """Move positions along one dimension; in the others all tensors must lose the same positions."""
    source = call.inputs[0]
    dim = call["dim"] % max(source.dim(), 1)
    operands = [tensor for tensor in call.inputs if tensor.dim() == source.dim()]
    if source.dim() == 0 or any(_others(tensor, dim) != _others(source, dim) for tensor in operands):
        call.freeze_all(call.inputs, f"{call.name} of a part of a tensor")
        call.set(call.out, ())
        return
    call.freeze_all([tensor for tensor in call.inputs if tensor.dim() != source.dim()], "used as an index")
    factors = []
    for tensor in operands:
        mixed = [call.mix(factor, [dim], f"{call.name} along a labelled dimension") for factor in call.factors(tensor)]
        factors.append([factor for factor in mixed if factor is not None])
    shapes = [spanned_shape(tensor) for tensor in operands]
    shapes = [(*shape[:dim], 1, *shape[dim + 1 :]) for shape in shapes]
    call.set(call.out, agree(call, factors, shapes, WITHOUT_LABELS))


def _others(tensor: "Tensor", dim: int) -> tuple[int, ...]:
    return (*tensor.shape[:dim], *tensor.shape[dim + 1 :])
