"""What targets tell of themselves, and what a network tells of the targets that it takes."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import is_classifier, is_regressor
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.multiclass import check_classification_targets
from skorch import NeuralNet, NeuralNetBinaryClassifier
from skorch.utils import is_dataset

from prunekit._skorch._targets import Targets, is_array
from prunekit.exceptions import InputError


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
    if (
        y is None
        and table
        and (is_classifier(net) or is_regressor(net))
        and net.iterator_train is torch.utils.data.DataLoader
    ):
        raise InputError(
            f"The 'y' parameter of {owner}.fit must be an array: a {type(net).__name__} requires y to be passed, but "
            "the target y is None. Pass targets, or a Dataset as X that holds them."
        )
    if is_dataset(X) or not is_array(y):
        return y, Targets()
    try:
        return _check(net, np.asarray(y), frozen, table)
    except ValueError as exc:
        raise exc if isinstance(exc, InputError) else InputError(str(exc)) from exc


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
