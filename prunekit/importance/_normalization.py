"""Importances that can be compared across layers."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

Normalization = Literal["l1", "l2", "mean", "max", "rank"]
"""How importances of different layers are made comparable, see `normalised`."""

NORMALIZATIONS: tuple[Normalization, ...] = ("l1", "l2", "mean", "max", "rank")
"""By what the importances of a layer are divided."""


def normalised(
    importances: NDArray[np.float64], layers: NDArray[np.int64], normalization: Normalization | None
) -> NDArray[np.float64]:
    """
    Return importances relative to those of the same layer.

    Parameters
    ----------
    importances : ndarray of float, shape (n_units,)
        Importance of every unit; NaN for those that are gone, which do not count.
    layers : ndarray of int, shape (n_units,)
        Number of the layer of every unit.
    normalization : {"l1", "l2", "mean", "max", "rank"} or None
        What each layer's importances are divided by: the sum, the root of the sum of squares, the mean or the largest
        of their absolute values; or "rank", by which the least important unit of a layer gets 1 / n and the most
        important of its n units 1, equal ones the mean of their ranks. None changes nothing.

    Returns
    -------
    ndarray of float, shape (n_units,)
        A layer of zeros stays zero.

    References
    ----------
    .. [1] P. Molchanov, S. Tyree, T. Karras, T. Aila, J. Kautz, "Pruning Convolutional Neural Networks for Resource
       Efficient Inference", ICLR 2017, arXiv:1611.06440: "l2", in section 2.2 on normalisation.
    """
    result = importances.copy()
    if normalization is None:
        return result
    for layer in np.unique(layers):
        own = (layers == layer) & ~np.isnan(importances)
        values = importances[own]
        if values.size:
            result[own] = _relative(values, normalization)
    return result


def _relative(values: NDArray[np.float64], normalization: Normalization) -> NDArray[np.float64]:
    if normalization == "rank":
        ranks: NDArray[np.float64] = rankdata(values) / values.size
        return ranks
    sizes = np.abs(values)
    scales = {"l1": sizes.sum(), "l2": np.sqrt(np.square(sizes).sum()), "mean": sizes.mean(), "max": sizes.max()}
    return values / scales[normalization] if scales[normalization] > 0 else values
