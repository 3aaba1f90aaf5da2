"""Tables on their way in: what scikit-learn's estimators check of them, and how a network gets them."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Number
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.base import BaseEstimator
from sklearn.utils import get_tags
from sklearn.utils.validation import check_array, validate_data
from skorch import NeuralNet
from skorch.helper import SliceDataset, SliceDict
from skorch.utils import is_pandas_ndframe

from prunekit.exceptions import InputError, ParameterTypeError

WEIGHTS = "sample_weight"


@dataclass(frozen=True, slots=True)
class Inputs:
    """
    How the samples of the user become those of a net.

    Parameters
    ----------
    columns : bool, default=False
        Whether the columns of a data frame are arguments of ``forward``, as skorch has it, and not those of one array.
    integers : bool, default=False
        Whether the network takes integers, as embeddings do. Otherwise those of a table are cast.
    """

    columns: bool = False
    integers: bool = False

    def check(self, owner: BaseEstimator, X: Any, *, reset: bool = False) -> Any:
        """
        Return a table as the net takes it, and everything that is no table as it is.

        Parameters
        ----------
        owner : BaseEstimator
            Estimator that the table was given to; knows the number and the names of the features.
        X : object
            Two-dimensional array, list of rows, data frame, or whatever else skorch takes.
        reset : bool, default=False
            Whether the owner learns them, in `fit`.

        Returns
        -------
        object
            An array, or a dict of columns.

        Raises
        ------
        InputError
            If a table has other features than before, no samples, or values that are not finite.
        ParameterTypeError
            If it holds something other than numbers.
        """
        if reset:
            for name in ("n_features_in_", "feature_names_in_"):
                vars(owner).pop(name, None)
        name = type(owner).__name__
        if sparse.issparse(X):
            raise InputError(
                f"The 'X' parameter of {name} must be dense. Got a sparse {type(X).__name__} instead. "
                "Pass X.toarray(); sparse data are not supported."
            )
        if not _is_table(X, after_table=not reset and hasattr(owner, "n_features_in_")):
            return X
        try:
            if self.columns and _has_columns(X):
                validate_data(owner, X, y="no_validation", reset=reset, skip_check_array=True)
                return SliceDict(**{column: X[column].to_numpy().reshape(-1, 1) for column in X.columns})
            finite = "allow-nan" if get_tags(owner).input_tags.allow_nan else True
            table = validate_data(owner, X, y="no_validation", reset=reset, ensure_all_finite=finite)
        except ValueError as exc:
            raise InputError(str(exc)) from exc
        except TypeError as exc:
            raise ParameterTypeError(str(exc)) from exc
        return table if reset or self.integers else floats(table)


def reads_columns(net: NeuralNet, X: Any) -> bool:
    """
    Return whether a network takes the columns of a data frame as named arguments.

    Parameters
    ----------
    net : NeuralNet
        The net, maybe not initialised.
    X : object
        What the user gave.

    Returns
    -------
    bool
        Whether every argument of ``forward`` without a default is the name of a column, and every name an argument.
    """
    if not _has_columns(X) or not all(isinstance(column, str) for column in X.columns):
        return False
    try:
        _forward_of(net).bind(**dict.fromkeys(X.columns))
    except (AttributeError, TypeError, ValueError):
        return False
    return True


def add_weights(net: NeuralNet, X: Any, weights: Any, owner: str) -> Any:
    """
    Return the samples with their weights, as a network gets them that has an argument of this name.

    Parameters
    ----------
    net : NeuralNet
        The net, maybe not initialised.
    X : array, tensor or dict of those
        The samples.
    weights : array-like of shape (n_samples,)
        Their weights.
    owner : str
        Class that was given the weights, for the message.

    Returns
    -------
    SliceDict
        Arguments of ``forward``.

    Raises
    ------
    InputError
        If the network takes no weights, or the samples are a data set.
    """
    wanted = f"The '{WEIGHTS}' parameter of {owner}.fit must be"
    try:
        names = list(_forward_of(net).parameters)
    except (AttributeError, TypeError, ValueError):
        names = []
    if WEIGHTS not in names:
        raise InputError(
            f"{wanted} None for a network whose forward has no argument of this name. Got weights instead. Add the "
            f"argument to forward and multiply the loss of each sample by X['{WEIGHTS}'] in get_loss of the net."
        )
    if not isinstance(X, (Mapping, np.ndarray, torch.Tensor)):
        raise InputError(
            f"{wanted} None where X is a {type(X).__name__}. Got weights instead. Let the data set return dicts with "
            f"an entry '{WEIGHTS}'."
        )
    try:
        column = check_array(weights, ensure_2d=False, input_name=WEIGHTS)
    except ValueError as exc:
        raise InputError(str(exc)) from exc
    num_samples = len(next(iter(X.values())) if isinstance(X, Mapping) else X)
    if column.shape != (num_samples,):
        raise InputError(f"{wanted} an array of shape ({num_samples},). Got one of shape {column.shape} instead.")
    samples = dict(X) if isinstance(X, Mapping) else {names[0]: X}
    return SliceDict(**samples, **{WEIGHTS: floats(column)})


def floats(X: Any) -> Any:
    """Return arrays of numbers, and dicts of them, with integers as floating-point numbers."""
    if isinstance(X, Mapping):
        return SliceDict(**{name: floats(value) for name, value in X.items()})
    return X.astype(np.float32) if isinstance(X, np.ndarray) and X.dtype.kind in "iub" else X


def _is_table(X: Any, *, after_table: bool) -> bool:
    """Tell tables from images, tensors, dicts, data sets and several inputs."""
    if isinstance(X, (Mapping, torch.Tensor, torch.utils.data.Dataset, SliceDataset)) or X is None:
        return False
    if _has_columns(X) or after_table:
        return True
    if isinstance(X, (list, tuple)):
        return all(isinstance(row, (Number, Sequence)) and not isinstance(row, str) for row in X)
    # Complex numbers are for networks that know them, such as those that begin with a Fourier transform.
    return hasattr(X, "__array__") and np.asarray(X).ndim == 2 and np.asarray(X).dtype.kind != "c"


def _has_columns(X: Any) -> bool:
    """Return whether something is a data frame, of pandas or of another library."""
    return (is_pandas_ndframe(X) and hasattr(X, "columns")) or hasattr(X, "__dataframe__")


def _forward_of(net: NeuralNet) -> inspect.Signature:
    """Return the signature of the network's ``forward``, without ``self``."""
    signature = inspect.signature(net.module.forward)
    if not isinstance(net.module, type):
        return signature
    return signature.replace(parameters=list(signature.parameters.values())[1:])
