"""Label factors: integer tensors that say which unit each position of a tensor belongs to.

A factor has as many dimensions as the tensor that it describes and size 1 along every dimension that it does not
describe. It is *tracked* along the others.
"""

from collections.abc import Sequence

from torch import Tensor

Factors = tuple[Tensor, ...]


def tracked(factor: Tensor) -> tuple[int, ...]:
    """Return the dimensions that a factor describes."""
    return tuple(dim for dim, size in enumerate(factor.shape) if size > 1)


def shrink(factor: Tensor) -> Tensor:
    """Return the factor with size 1 along every dimension where its labels do not change."""
    for dim, size in enumerate(factor.shape):
        if size <= 1:
            continue
        first = factor.narrow(dim, 0, 1)
        if factor.stride(dim) == 0 or bool((factor == first).all()):
            factor = first
    return factor


def along(factor: Tensor, dim: int, ndim: int) -> Tensor:
    """Return one-dimensional labels shaped to lie along ``dim`` of a tensor with ``ndim`` dimensions."""
    shape = [1] * ndim
    shape[dim] = -1
    return factor.reshape(shape)


def left_padded(factor: Tensor, ndim: int) -> Tensor:
    """Return the factor with leading dimensions of size 1, as broadcasting aligns shapes."""
    return factor.reshape((1,) * (ndim - factor.dim()) + tuple(factor.shape))


def drop_dims(factor: Tensor, dims: Sequence[int], keepdim: bool) -> Tensor:
    """Return the factor of a reduction over ``dims``, none of which it tracks."""
    if keepdim:
        return factor
    kept = [size for dim, size in enumerate(factor.shape) if dim not in dims]
    return factor.reshape(kept)
