"""The mathematics of the criteria as pure functions of tensors."""

import torch
from torch import Tensor


def taylor_terms(weight: Tensor, gradient: Tensor) -> Tensor:
    r"""
    Return the first-order terms of the change of the loss when weights are set to zero, with the sign reversed.

    Parameters
    ----------
    weight : Tensor
        Parameter, real or complex.
    gradient : Tensor
        Gradient of the loss with respect to it, same shape.

    Returns
    -------
    Tensor
        ``Re(conj(gradient) * weight)``, real, at least float32, same shape.

    Notes
    -----
    To first order setting a weight :math:`w` to zero changes the loss by :math:`-\\Re(\\bar g w)`, where :math:`g` is
    the gradient in PyTorch's convention for complex numbers; for real numbers this is :math:`-g w`.
    """
    if weight.is_complex():
        return (gradient.conj() * weight).real
    if weight.dtype in (torch.float16, torch.bfloat16):
        return gradient.float() * weight.float()
    return gradient * weight


def taylor_sums(weight: Tensor, gradient: Tensor, dim: int) -> Tensor:
    """
    Return the sums of the first-order terms over all dimensions of a weight but one.

    Parameters
    ----------
    weight : Tensor
        Parameter, real or complex.
    gradient : Tensor
        Gradient of the loss with respect to it, same shape.
    dim : int
        Dimension that stays, such as that of the channels that a convolution reads.

    Returns
    -------
    Tensor, shape (weight.size(dim),)
        Sums of `taylor_terms`, at least float32.

    Notes
    -----
    On the CPU a large weight is taken in pieces that fit the processor's cache, which needs no memory for the terms and
    a fraction of the time.
    """
    rows = weight.size(0) if weight.dim() else 0
    if weight.device.type != "cpu" or weight.numel() <= _PIECE or rows == 1:
        return sum_but(taylor_terms(weight, gradient), dim)
    step = max(1, _PIECE * rows // weight.numel())
    pieces = zip(weight.split(step), gradient.split(step), strict=True)
    if dim == 0:
        return torch.cat([sum_but(taylor_terms(one, other), 0) for one, other in pieces])
    total = torch.zeros((), dtype=torch.float32)
    for one, other in pieces:
        total = total + taylor_terms(one, other).sum(0)
    return sum_but(total, dim - 1)


_PIECE = 1 << 16
"""Number of weights whose terms fit a processor's cache."""


def sum_but(values: Tensor, dim: int) -> Tensor:
    """
    Return the sums over all dimensions but one.

    Parameters
    ----------
    values : Tensor
        Any numbers.
    dim : int
        Dimension that stays.

    Returns
    -------
    Tensor, shape (values.size(dim),)
        The sums.
    """
    if dim > 0:  # one after the other, which is faster than all at once
        return sum_but(values.sum(0), dim - 1)
    return values.flatten(1).sum(1) if values.dim() > 1 else values


def squared_taylor(sums: Tensor) -> Tensor:
    """
    Return the square of the first-order sum of each unit.

    Parameters
    ----------
    sums : Tensor, shape (n_units,)
        Sum of the first-order terms over the slices of each unit, for one mini-batch.

    Returns
    -------
    Tensor, shape (n_units,)
        Equation 8 of Molchanov et al. 2019, to be averaged over mini-batches.
    """
    return sums.square()


def removal_estimate(mean: Tensor, variance: Tensor, batch_size: float) -> Tensor:
    """
    Return the signed second-order estimate of the change of the loss when units are removed.

    Parameters
    ----------
    mean : Tensor, shape (n_units,)
        Mean over mini-batches of the first-order sums.
    variance : Tensor, shape (n_units,)
        Variance over mini-batches of the same.
    batch_size : float
        Examples in a mini-batch.

    Returns
    -------
    Tensor, shape (n_units,)
        ``-mean + batch_size / 2 * variance``.

    Notes
    -----
    The curvature is the empirical Fisher information: half of the mean square of per-example sums, whose variance is
    ``batch_size`` times that of sums over mini-batches of independent examples.
    """
    return -mean + 0.5 * batch_size * variance
