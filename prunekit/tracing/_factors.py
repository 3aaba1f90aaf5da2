"""Label factors: integer tensors that say which unit each position of a tensor belongs to.

A factor has as many dimensions as the tensor that it describes and size 1 along every dimension that it does not
describe. It is *tracked* along the others.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

Factors = tuple[Tensor, ...]


def tracked(factor: Tensor) -> tuple[int, ...]:
    """Return the dimensions that a factor describes."""
    return tuple([dim for dim, size in enumerate(factor.shape) if size > 1])


def shrink(factor: Tensor) -> Tensor:
    """Return the factor with size 1 along every dimension where its labels do not change."""
    labels = factor.numpy()
    origin = (0,) * labels.ndim
    for dim, stride in enumerate(labels.strides):
        if stride == 0 and labels.shape[dim] > 1:  # was expanded; before any comparison touches every position
            labels = labels[_first_along(dim)]
    for dim, size in enumerate(labels.shape):
        if size == 1 or labels[origin] != labels[(*origin[:dim], size - 1, *origin[dim + 1 :])]:
            continue
        first = labels[_first_along(dim)]
        if (labels == first).all():
            labels = first
    return factor if labels.shape == factor.shape else torch.from_numpy(labels)


def _first_along(dim: int) -> tuple[slice, ...]:
    return (*(slice(None) for _ in range(dim)), slice(0, 1))


def reshape(factor: Tensor, old: Sequence[int], new: Sequence[int]) -> Tensor:
    """
    Return the factor of a tensor that is reshaped.

    Parameters
    ----------
    factor : Tensor
        Factor of the tensor.
    old, new : sequence of int
        Shape of the tensor before and after.

    Returns
    -------
    Tensor
        Factor for the new shape. Only dimensions that are merged or split with one that it describes are written out.
    """
    if 0 in old:
        return factor.expand(old).reshape(new)
    before: list[int] = []
    after: list[int] = []
    i = j = 0
    while i < len(old) or j < len(new):
        first, second = i, j
        left = right = 1
        while left != right or (i == first and j == second):
            if (left <= right and i < len(old)) or j == len(new):
                left *= old[i]
                i += 1
            else:
                right *= new[j]
                j += 1
        described = any(factor.size(dim) > 1 for dim in range(first, i))
        before += old[first:i] if described else [1] * (i - first)
        after += new[second:j] if described else [1] * (j - second)
    return factor.expand(before).reshape(after)


def along(factor: Tensor, dim: int, ndim: int) -> Tensor:
    """Return one-dimensional labels shaped to lie along ``dim`` of a tensor with ``ndim`` dimensions."""
    if ndim == factor.dim() == 1:
        return factor
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
