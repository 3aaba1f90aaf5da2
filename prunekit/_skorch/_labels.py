"""Targets as users have them, and as nets take them: labels of any kind, and columns."""

import copy
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import is_classifier, is_regressor
from sklearn.exceptions import DataConversionWarning
from sklearn.metrics import check_scoring
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets
from skorch import NeuralNet, NeuralNetBinaryClassifier
from skorch.helper import SliceDataset
from skorch.utils import is_dataset

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
        if not _is_array(y):
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


def read_targets(net: NeuralNet, X: Any, y: Any, *, frozen: bool, table: bool) -> tuple[Any, Targets]:
    """
    Return the targets of a fit, checked, and how they become those of a net as far as they tell it themselves.

    Parameters
    ----------
    net : NeuralNet
        The user's net.
    X, y : object
        The data.
    frozen : bool
        Whether the net is trained, and so has codes for its labels.
    table : bool
        Whether the samples are a table, for which nets as scikit-learn's estimators have one target each.

    Returns
    -------
    y : object
        The targets, a column of labels as an array of one dimension.
    targets : Targets
        Of labels that are no numbers, their codes.

    Raises
    ------
    InputError
        If the targets are missing, not finite, no classes, or too many classes for a binary classifier.
    """
    owner = "TaylorPruner"
    if y is None and table and (is_classifier(net) or is_regressor(net)) and net.iterator_train is _LOADER:
        raise InputError(
            f"The 'y' parameter of {owner}.fit must be an array: a {type(net).__name__} requires y to be passed, but "
            "the target y is None. Pass targets, or a Dataset as X that holds them."
        )
    if is_dataset(X) or not _is_array(y):
        return y, Targets()
    try:
        return _check(net, np.asarray(y), frozen, table)
    except ValueError as exc:
        raise exc if isinstance(exc, InputError) else InputError(str(exc)) from exc


_LOADER = torch.utils.data.DataLoader


def fit_to(net: NeuralNet, y: Any, targets: Targets, outputs: Any, *, frozen: bool) -> Targets:
    """
    Return how targets become those of a net, when it is known what its network gives.

    Parameters
    ----------
    net : NeuralNet
        An initialised copy of the user's net.
    y : object
        The targets that `read_targets` returned.
    targets : Targets
        What it returned about them.
    outputs : Tensor or object
        What the network gives for some samples.
    frozen : bool
        Whether the net is trained.

    Returns
    -------
    Targets
        With codes for labels that are no positions of outputs, and the shape of the outputs for single values.
    """
    if not isinstance(y, np.ndarray) or not isinstance(outputs, torch.Tensor):
        return targets
    if is_regressor(net) and len(outputs):
        if y.ndim == 1 and outputs.ndim == 2 and outputs.shape[1] == 1:
            return replace(targets, shape="column")
        if y.ndim == 2 and y.shape[1] == 1 and outputs.ndim == 1:
            warnings.warn(
                "A column-vector y was passed when a 1d array was expected, as the network gives one value for each "
                "sample. Please change the shape of y to (n_samples,), for example using ravel().",
                DataConversionWarning,
                stacklevel=4,
            )
            return replace(targets, shape="row")
    if not is_classifier(net) or y.ndim != 1 or y.dtype.kind not in "iuf" or targets.classes is not None or frozen:
        return targets
    binary = isinstance(net, NeuralNetBinaryClassifier)
    if y.dtype.kind == "f" and not binary:
        if _takes_floats(net, outputs, y):
            return targets
        _check_classes(y)
        return replace(targets, classes=np.unique(y))
    classes = np.unique(y)
    num_outputs = 2 if outputs.ndim < 2 else outputs.shape[1]
    is_taken = set(classes.tolist()) <= {0, 1} if binary else classes[0] >= 0 and classes[-1] < num_outputs
    return targets if is_taken or len(classes) > num_outputs else replace(targets, classes=classes)


def _check(net: NeuralNet, y: NDArray[Any], frozen: bool, table: bool) -> tuple[NDArray[Any], Targets]:
    """Check an array of targets, and encode labels that no net takes."""
    if is_classifier(net) and table and y.ndim == 2 and y.shape[1] == 1:
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected. Please change the shape of y to (n_samples,), "
            "for example using ravel().",
            DataConversionWarning,
            stacklevel=4,
        )
        y = y.ravel()
    if y.dtype.kind == "c":
        raise InputError("Complex data not supported: the 'y' parameter of TaylorPruner.fit must hold real numbers.")
    if table and y.dtype.kind == "f" and not np.isfinite(y).all():
        what = "NaN" if np.isnan(y).any() else f"infinity or a value too large for {y.dtype}"
        raise InputError(f"Input y contains {what}. The 'y' parameter of TaylorPruner.fit must be finite.")
    if is_regressor(net):
        if y.dtype.kind == "O":
            y = y.astype(np.float64)
        return y, Targets(floating=y.dtype.kind in "iub")
    if not is_classifier(net) or y.ndim != 1:
        return y, Targets()
    binary = isinstance(net, NeuralNetBinaryClassifier)
    if y.dtype.kind not in "iu" and (y.dtype.kind != "f" or binary):
        _check_classes(y)
    given = getattr(net, "classes", None)
    classes = np.unique(y)
    if binary and len(classes) > 2:
        raise InputError(
            "Only binary classification is supported. The type of the target is multiclass: a "
            f"{type(net).__name__} tells two classes apart. Got {len(classes)} classes instead."
        )
    if y.dtype.kind in "iuf":
        return y, Targets(floating=binary)
    if binary and len(classes) < 2 and not (given is not None and len(given)):
        raise InputError(
            f"The 'y' parameter of TaylorPruner.fit must have two classes for a {type(net).__name__}. "
            f"Got one class, {classes.tolist()}, instead."
        )
    if given is not None and len(given):
        classes = np.asarray(given)
    known = getattr(net, "classes_", None) if frozen else None
    if known is not None and len(known) != len(classes):
        raise InputError(
            f"The 'y' parameter of TaylorPruner.fit must have the {len(known)} classes that the frozen net was trained "
            f"with. Got {len(classes)} labels instead. Pass the codes that the net was trained with."
        )
    return y, Targets(classes, floating=binary)


def _check_classes(y: NDArray[Any]) -> None:
    """Refuse targets that are no classes, such as numbers with fractions."""
    try:
        check_classification_targets(y)
    except ValueError as exc:
        raise InputError(str(exc)) from exc


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


def _is_array(y: Any) -> bool:
    """Return whether targets are numbers or labels in an array, a list, or a column of a table."""
    if y is None or isinstance(y, (Mapping, torch.Tensor, torch.utils.data.Dataset, SliceDataset)):
        return False
    if isinstance(y, (list, tuple)):
        return not any(isinstance(part, (np.ndarray, torch.Tensor)) for part in y)
    return hasattr(y, "__array__")


def _takes_floats(net: NeuralNet, outputs: torch.Tensor, y: NDArray[Any]) -> bool:
    """Return whether the loss of a classifier is one of floating-point targets."""
    if isinstance(net.criterion_, (torch.nn.CrossEntropyLoss, torch.nn.NLLLoss)):
        return False  # they may take floats, for the probabilities of a single sample
    targets = torch.as_tensor(y[: len(outputs)], dtype=outputs.dtype, device=outputs.device)
    try:
        net.get_loss(outputs, targets, training=False)
    except (RuntimeError, ValueError, TypeError):
        return False
    return True
