"""Multiply-adds of one operation: a product over its sizes."""

from collections.abc import Callable

from torch import Tensor

from prunekit.tracing import OperationRecord

ShapeOf = Callable[[Tensor], tuple[int, ...]]


def _convolution(record: OperationRecord, shape: ShapeOf) -> tuple[int, ...]:
    """Every position of the output, or of the input when transposed, meets one kernel of the weight."""
    weight = shape(record.arguments["weight"])
    positions = shape(record.arguments["input"] if record.arguments["transposed"] else record.outputs[0])
    return (*positions, *weight[1:])


def _matmul(left: str) -> Callable[[OperationRecord, ShapeOf], tuple[int, ...]]:
    def sizes(record: OperationRecord, shape: ShapeOf) -> tuple[int, ...]:
        return (*shape(record.outputs[0]), shape(record.arguments[left])[-1])

    return sizes


def _attention(record: OperationRecord, shape: ShapeOf) -> tuple[int, ...]:
    """Scores and weighted sums: batch x heads x queries x keys x the widths of both."""
    query, key, value = (shape(record.arguments[name]) for name in ("query", "key", "value"))
    return (*query[:-1], key[-2], query[-1] + value[-1])


_CONTRACTIONS: dict[str, Callable[[OperationRecord, ShapeOf], tuple[int, ...]]] = {
    "convolution": _convolution,
    "mm": _matmul("self"),
    "bmm": _matmul("self"),
    "mv": _matmul("self"),
    "addmm": _matmul("mat1"),
    "addmv": _matmul("mat"),
    "baddbmm": _matmul("batch1"),
    "linear": _matmul("input"),
    "scaled_dot_product_attention": _attention,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_flash_attention": _attention,
    "_scaled_dot_product_efficient_attention": _attention,
    "_scaled_dot_product_cudnn_attention": _attention,
    "_scaled_dot_product_fused_attention_overrideable": _attention,
}


def contracted_shape(record: OperationRecord, shape: ShapeOf) -> tuple[int, ...]:
    """
    Return sizes whose product is the number of multiply-adds of an operation.

    Parameters
    ----------
    record : OperationRecord
        Operation of a run.
    shape : callable
        Shape of a tensor.

    Returns
    -------
    tuple of int
        Empty for an operation that is neither convolution nor matrix product.
    """
    sizes = _CONTRACTIONS.get(record.name.split(".")[1])
    return sizes(record, shape) if sizes else ()
