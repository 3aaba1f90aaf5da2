"""What a user gives to a fit, as a net takes it."""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_consistent_length
from skorch import NeuralNet

from prunekit._random import preserve_rng
from prunekit._skorch._data import cast_floats, take_samples
from prunekit._skorch._inputs import WEIGHTS, Inputs, add_weights, floats, reads_columns
from prunekit._skorch._labels import fit_to, read_targets
from prunekit._skorch._nets import bare_module, copy_fitted, device_of, float_dtype, make_probe
from prunekit._skorch._targets import Targets
from prunekit.exceptions import InputError, ParameterTypeError


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """
    A net that is not trained yet, or is where pruning starts, and the data as it takes them.

    Parameters
    ----------
    net : NeuralNet
        An initialised copy of the user's net.
    X, y : object
        The data.
    valid : tuple of (X, y) or None
        Data to validate on.
    fit_params : dict
        More arguments of ``net.fit``.
    inputs : Inputs
        How the samples became those of the net.
    targets : Targets
        How the targets did.
    """

    net: NeuralNet
    X: Any
    y: Any
    valid: tuple[Any, Any] | None
    fit_params: dict[str, Any]
    inputs: Inputs
    targets: Targets

    def more(self, owner: BaseEstimator, X: Any, y: Any, *, strict: bool = True) -> tuple[Any, Any]:
        """
        Bring further data into the form that the net takes.

        Parameters
        ----------
        owner : BaseEstimator
            Estimator that is fitted.
        X, y : object
            The data, as the user has them.
        strict : bool, default=True
            Whether labels that are not known are refused; if not, nothing that is predicted equals them.

        Returns
        -------
        tuple of (X, y)
            The data.
        """
        y, _ = read_targets(self.net, X, y, frozen=False, table=hasattr(owner, "n_features_in_"))
        dtype = float_dtype(bare_module(self.net))
        X = self.inputs.check(owner, X)
        return cast_floats(X, dtype), cast_floats(self.targets.encode(y, strict=strict), dtype)


def prepare(
    owner: BaseEstimator,
    net: NeuralNet,
    X: Any,
    y: Any,
    valid: tuple[Any, Any] | None,
    fit_params: Mapping[str, Any],
    *,
    frozen: bool,
) -> Prepared:
    """
    Check the data of a fit, and bring them into the form that the net takes.

    Parameters
    ----------
    owner : BaseEstimator
        Estimator that is fitted; learns number and names of the features.
    net : NeuralNet
        The user's net; it stays as it is.
    X, y : object
        The data.
    valid : tuple of (X, y) or None
        Data to validate on.
    fit_params : Mapping
        More arguments of ``fit``.
    frozen : bool
        Whether the weights of the net are where pruning starts.

    Returns
    -------
    Prepared
        The net and the data.

    Raises
    ------
    InputError
        If the data cannot be brought into that form.
    ParameterTypeError
        If `X` is nothing that has samples by number.
    """
    _check_kind(X, f"{type(owner).__name__}.fit")
    inputs = Inputs(columns=reads_columns(net, X))
    samples = inputs.check(owner, X, reset=True)
    table = hasattr(owner, "n_features_in_")
    y, targets = read_targets(net, X, y, frozen=frozen, table=table)
    if table and y is not None:
        _check_lengths(samples, y)
    params = dict(fit_params)
    weights = params.pop(WEIGHTS, None)
    if weights is not None:
        samples = add_weights(net, samples, weights, type(owner).__name__)

    start = copy_fitted(net) if frozen else make_probe(net, samples, targets.encode(y))
    outputs = None
    if table or isinstance(y, np.ndarray):
        outputs = _outputs_of(start, samples)
        if table and _holds_integers(samples):
            # Only a network knows whether its integers are numbers of words or just numbers.
            if outputs is None:
                samples = floats(samples)
                outputs = _outputs_of(start, samples)
            else:
                inputs = replace(inputs, integers=True)
    targets = fit_to(start, y, targets, outputs, frozen=frozen)
    dtype = float_dtype(bare_module(start))
    y = cast_floats(targets.encode(y), dtype)
    prepared = Prepared(start, cast_floats(samples, dtype), y, None, params, inputs, targets)
    return prepared if valid is None else replace(prepared, valid=prepared.more(owner, *valid))


def _check_kind(X: Any, owner: str) -> None:
    """Refuse what has no samples by number."""
    if X is not None and not isinstance(X, str | bytes | Iterator):
        return
    once = " An iterator can be gone through only once: pass numpy.array(list(X))." if isinstance(X, Iterator) else ""
    raise ParameterTypeError(
        f"The 'X' parameter of {owner} must be an array, a data frame, a tensor, a dict of those, or a Dataset. Got "
        f"{type(X).__name__} instead.{once}"
    )


def _check_lengths(X: Any, y: Any) -> None:
    """Refuse targets of another number than the samples."""
    try:
        check_consistent_length(next(iter(X.values())) if isinstance(X, Mapping) else X, y)
    except (TypeError, ValueError) as exc:
        raise InputError(str(exc)) from exc


def _holds_integers(X: Any) -> bool:
    """Return whether an array, or one of several, is of integers."""
    arrays = X.values() if isinstance(X, Mapping) else [X]
    return any(isinstance(array, np.ndarray) and array.dtype.kind in "iub" for array in arrays)


def _outputs_of(net: NeuralNet, X: Any) -> Any:
    """Return the outputs of a network for two samples, None if it takes them not."""
    X = cast_floats(X, float_dtype(bare_module(net)))
    with preserve_rng(device_of(net)), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the training will warn
        net._set_training(False)
        try:
            outputs = net.infer(take_samples(net, net.get_dataset(X, None), 2)[0])
        except Exception:  # whatever it is, it is told of once the data are as they will be
            return None
    return outputs[0] if isinstance(outputs, tuple) else outputs
