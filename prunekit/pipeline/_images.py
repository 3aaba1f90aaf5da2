"""Images of another size or with more channels, as networks trained on others want them."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from prunekit.exceptions import InputError

_BATCH = 512
_NUM_DIMENSIONS = 4  # (samples, channels, height, width)


def resized(X: NDArray[np.floating[Any]], size: list[int]) -> NDArray[np.floating[Any]]:
    """
    Return images of another height and width.

    Parameters
    ----------
    X : ndarray of shape (samples, channels, height, width)
        Images.
    size : list of int
        The new height and width.

    Returns
    -------
    ndarray of shape (samples, channels, ``*size``)
        Interpolated linearly in both directions. Where images become smaller, each pixel is a mean of all that it
        covers (antialiasing).

    Raises
    ------
    InputError
        If the samples are no images.
    """
    _check_images(X, "resize")
    if X.shape[2:] == tuple(size):
        return X
    result = np.empty((*X.shape[:2], *size), X.dtype)
    for start in range(0, len(X), _BATCH):
        batch = torch.from_numpy(np.ascontiguousarray(X[start : start + _BATCH]))
        result[start : start + _BATCH] = F.interpolate(batch, size, mode="bilinear", antialias=True).numpy()
    return result


def with_channels(X: NDArray[np.floating[Any]], channels: int) -> NDArray[np.floating[Any]]:
    """
    Return images with their one channel repeated.

    Parameters
    ----------
    X : ndarray of shape (samples, 1, height, width)
        Grey images; others are returned as they are if they have the wanted channels.
    channels : int
        How many.

    Returns
    -------
    ndarray of shape (samples, channels, height, width)
        The images.

    Raises
    ------
    InputError
        If the samples are no images, or have another number of channels.
    """
    _check_images(X, "channels")
    if X.shape[1] == channels:
        return X
    if X.shape[1] != 1:
        raise InputError(
            f"The 'channels' key of data must be {X.shape[1]}, as many as the images have, for only grey images can be "
            f"repeated. Got {channels} instead."
        )
    return np.repeat(X, channels, axis=1)


def _check_images(X: NDArray[np.floating[Any]], key: str) -> None:
    if X.ndim != _NUM_DIMENSIONS:
        raise InputError(
            f"The '{key}' key of data is for images, (channels, height, width). Got samples of shape {X.shape[1:]} "
            "instead; make images of them with 'reshape', or leave it out."
        )
