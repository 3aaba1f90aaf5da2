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
