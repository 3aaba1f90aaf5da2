"""Targets on their way into a net, and predictions on their way out."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import check_scoring
from sklearn.utils import Tags
from skorch import NeuralNet
from skorch.helper import SliceDataset

from prunekit.exceptions import InputError

_UNKNOWN = -1
"""Code of a label that the net does not know: always a wrong prediction."""


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """
    How the targets of the user become those of a net, and predictions of the net those of the user.

    Parameters
    ----------
    classes : ndarray of shape (n_classes,), optional
        Labels; a net gets their positions. None: it gets the labels as they are.
    floating : bool, default=False
        Whether a net takes floating-point numbers only.
    shape : {"row", "column"}, optional
        Shape that a net takes single targets in, ``(n_samples,)`` or ``(n_samples, 1)``, if the user's is the other.
    """

    classes: NDArray[Any] | None = None
    floating: bool = False
    shape: str | None = None

    def encode(self, y: Any, *, strict: bool = True) -> Any:
        """
        Return targets as the net takes them.

        Parameters
        ----------
        y : object
            Targets of the user.
        strict : bool, default=True
            Whether labels that are not known are refused. If not, they equal nothing that is predicted.

        Returns
        -------
        object
            An array, or what was given if nothing is to be done.

        Raises
        ------
        InputError
            If there is a label that is not among the classes.
        """
        if not is_array(y):
            return y
        if self.classes is not None:
            y = _codes(self.classes, np.ravel(np.asarray(y)), strict)
        elif self.floating or self.shape is not None:
            y = np.asarray(y)
        if self.floating and y.dtype.kind in "iub":
            y = y.astype(np.float32)
        if self.shape is None or y.ndim > 2:
            return y
        return y.reshape(-1) if self.shape == "row" else y.reshape(len(y), -1)

    def decode(self, predicted: NDArray[Any]) -> NDArray[Any]:
        """
        Return predictions as the user knows them.

        Parameters
        ----------
        predicted : ndarray
            What the net has predicted, or targets as it takes them.

        Returns
        -------
        ndarray
            Labels or values.
        """
        if self.classes is not None:
            labels: NDArray[Any] = self.classes[predicted.astype(np.int64).reshape(-1)]
            return labels
        return predicted.reshape(-1) if self.shape == "column" else predicted

    def view(self, net: NeuralNet) -> Any:
        """
        Return what scorers see of a net: the same, but for predictions.

        Parameters
        ----------
        net : NeuralNet
            A net that is fitted.

        Returns
        -------
        NeuralNet or object
            The net itself where it predicts what the user knows.
        """
        return net if self.classes is None and self.shape != "column" else _View(net, self)

    def score(self, net: NeuralNet, scoring: Any, X: Any, y: Any) -> float:
        """
        Return the score of a net on the user's data.

        Parameters
        ----------
        net : NeuralNet
            A net that is fitted.
        scoring : str, callable or None
            As scikit-learn takes it. None stands for the net's own ``score``.
        X : object
            Samples as the net takes them.
        y : object
            Targets of the user.

        Returns
        -------
        float
            The score.
        """
        if scoring is None:
            return float(net.score(X, self.encode(y, strict=False)))
        seen = self.view(net)
        return float(check_scoring(seen, scoring)(seen, X, y))


class _View:
    """A net whose predictions are those that the user knows; everything else is the net's."""

    def __init__(self, net: NeuralNet, targets: Targets) -> None:
        self._net = net
        self._targets = targets

    def __getattr__(self, name: str) -> Any:
        if name in ("_net", "_targets"):  # not there yet, in a copy that is being made
            raise AttributeError(name)
        return getattr(self._net, name)

    def __sklearn_tags__(self) -> Tags:
        return copy.deepcopy(self._net.__sklearn_tags__())

    @property
    def classes_(self) -> Any:
        return self._net.classes_ if self._targets.classes is None else self._targets.classes

    def predict(self, X: Any) -> NDArray[Any]:
        return self._targets.decode(self._net.predict(X))


def is_array(y: Any) -> bool:
    """Return whether targets are numbers or labels in an array, a list, or a column of a table."""
    if y is None or isinstance(y, (Mapping, torch.Tensor, torch.utils.data.Dataset, SliceDataset)):
        return False
    if isinstance(y, (list, tuple)):
        return not any(isinstance(part, (np.ndarray, torch.Tensor)) for part in y)
    return hasattr(y, "__array__")


def _codes(classes: NDArray[Any], y: NDArray[Any], strict: bool) -> NDArray[np.int64]:
    """Return the position of each label among the classes."""
    positions = {label: code for code, label in enumerate(classes.tolist())}
    codes = np.array([positions.get(label, _UNKNOWN) for label in y.tolist()], dtype=np.int64)
    if strict and (codes == _UNKNOWN).any():
        raise InputError(
            f"The 'y' parameter of TaylorPruner.fit must hold labels of the classes {classes.tolist()}. "
            f"Got {y[codes == _UNKNOWN][0]!r} instead."
        )
    return codes
