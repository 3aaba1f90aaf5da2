"""What two networks predict for the same samples."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import is_classifier, is_regressor
from torch import nn

from prunekit.analysis._examples import as_tensors, is_net, is_pruner, unfrozen
from prunekit.exceptions import InputError, ParameterTypeError, PrunekitError
from prunekit.network import PrunableNetwork
from prunekit.surgery import check_module, evaluate
from prunekit.tracing import Inputs, named_outputs

Task = Literal["classification", "regression"]
TASKS: tuple[Task, ...] = ("classification", "regression")
_BATCH = 256


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """
    One of the networks that are compared.

    Parameters
    ----------
    module : Module
        The network.
    estimator : object or None
        What predicts with it, if there is something other than the network itself.
    """

    module: nn.Module
    estimator: Any = None

    @classmethod
    def of(cls, network: Any, name: str, owner: str) -> "Contender":
        """
        Return what is to be compared of what the user gave.

        Raises
        ------
        ParameterTypeError
            If there is no network that can run in it.
        """
        network = unfrozen(network)
        if isinstance(network, PrunableNetwork):
            return cls(network.compact())
        if isinstance(network, nn.Module):
            return cls(check_module(network))
        net = network
        if is_pruner(network) and (hasattr(network, "estimator_") or hasattr(network, "best_estimator_")):
            net = network.transform()
        if is_net(net) and hasattr(net, "module_"):
            return cls(check_module(net.module_), network)
        got = f"the class {network.__name__}" if isinstance(network, type) else type(network).__name__
        unfitted = is_net(network) or is_pruner(network)
        raise ParameterTypeError(
            f"The '{name}' parameter of {owner} must be a torch module, a fitted skorch net, a fitted TaylorPruner or "
            f"a PrunableNetwork. Got {got} {'that is not fitted ' if unfitted else ''}instead."
        )

    @property
    def task(self) -> Task | None:
        """What the estimator says of itself, None where it does not."""
        if self.estimator is None:
            return None
        if is_classifier(self.estimator):
            return "classification"
        return "regression" if is_regressor(self.estimator) else None

    def predict(self, X: Any) -> NDArray[Any]:
        """Return predictions, or outputs of a network alone, shape (n_samples, ...)."""
        if self.estimator is not None:
            return _array(self.estimator.predict(_cast(X, self.module)))
        outputs = []
        for batch in _batches(Inputs.of(as_tensors(X, self.module))):
            first = next(iter(named_outputs(evaluate(self.module, batch)).values()))
            outputs.append(first.detach().cpu())
        joined: NDArray[Any] = torch.cat(outputs).float().numpy()
        return joined

    def checked_predict(self, X: Any, name: str, owner: str) -> NDArray[Any]:
        """
        Return predictions of which none is NaN.

        Raises
        ------
        InputError
            If the network does not run on the samples, or returns NaN.
        """
        try:
            found = self.predict(X)
        except PrunekitError:
            raise
        except Exception as exc:  # of the user's network or estimator
            raise InputError(
                f"The 'X' parameter of {owner} must hold samples that '{name}' predicts for. Got {type(X).__name__}, "
                f"with which that raises {type(exc).__name__}: {exc} instead."
            ) from exc
        broken = np.isnan(found).reshape(len(found), -1).any(axis=1) if found.dtype.kind in "fc" else np.zeros(0)
        if broken.any():
            raise InputError(
                f"The predictions of '{name}' must be numbers. Got NaN for {int(broken.sum())} of {len(found)} samples "
                "instead. Look for NaN in X and in the weights of the network."
            )
        return found


def predictions(
    dense: Contender, compact: Contender, X: Any, y: Any, task: Task | None, owner: str
) -> tuple[Task, NDArray[Any], NDArray[Any], NDArray[Any] | None] | None:
    """
    Return what both predict, and the targets.

    Returns
    -------
    tuple of str, ndarray, ndarray and ndarray or None, or None
        Task; labels of shape (n_samples,), or values of shape (n_samples, n_outputs), of both; targets likewise. None
        for networks of which nothing tells what their outputs are.

    Raises
    ------
    InputError
        If predictions and targets do not fit each other.
    """
    task = task or dense.task or compact.task
    targets = None if y is None else _array(y)
    if task is None and targets is not None:
        task = "regression" if targets.dtype.kind == "f" else "classification"
    if task is None:
        return None
    shaped = _labels if task == "classification" else _values
    before, after = (
        shaped(one.checked_predict(X, name, owner), owner) for name, one in (("dense", dense), ("compact", compact))
    )
    if targets is not None:
        if targets.dtype.kind == "f" and not np.isfinite(targets).all():
            raise InputError(f"The 'y' parameter of {owner} must be finite. Got NaN or infinity in it instead.")
        targets = targets if task == "classification" else _values(targets, owner)
    for name, got in (("compact", after), ("y", targets)):
        if got is not None and (got.shape != before.shape or (got.dtype.kind in "US") != (before.dtype.kind in "US")):
            raise InputError(
                f"The '{name}' parameter of {owner} must fit the predictions of 'dense', which have shape "
                f"{before.shape} and type {before.dtype}. Got {got.shape} and {got.dtype} instead."
            )
    return task, before, after, targets


def _labels(outputs: NDArray[Any], owner: str) -> NDArray[Any]:
    """Return labels of shape (n_samples,), the largest output's number where there are outputs."""
    if outputs.ndim == 1 and outputs.dtype.kind != "f":
        return outputs
    if outputs.ndim == 2 and outputs.shape[1] >= 2:
        labels: NDArray[Any] = outputs.argmax(axis=1)
        return labels
    raise InputError(
        f"The networks of {owner} must predict one label for each sample, or have one output for each of two or more "
        f"classes. Got predictions of shape {outputs.shape} and type {outputs.dtype} instead. Wrap a network with one "
        'output in NeuralNetBinaryClassifier, or pass task="regression".'
    )


def _values(values: NDArray[Any], owner: str) -> NDArray[np.float64]:
    try:
        numbers = values.astype(np.float64)
    except (TypeError, ValueError) as exc:
        raise InputError(
            f"The 'y' parameter of {owner} must hold numbers for task=\"regression\". Got {values.dtype} instead."
        ) from exc
    return numbers.reshape(len(numbers), -1)


def _array(y: Any) -> NDArray[Any]:
    found = np.asarray(y.detach().cpu() if isinstance(y, torch.Tensor) else y)
    return found.astype(str) if found.dtype.kind == "O" and all(isinstance(one, str) for one in found.flat) else found


def _cast(X: Any, module: nn.Module) -> Any:
    """Return floating arrays in the data type of the network, which skorch does not cast."""
    if isinstance(X, Mapping):
        return type(X)(**{name: _cast(value, module) for name, value in X.items()})
    parameter = next(module.parameters(), torch.empty(0))
    if not isinstance(X, np.ndarray) or X.dtype.kind != "f" or not parameter.is_floating_point():
        return X
    wanted = str(parameter.dtype).removeprefix("torch.")
    return X.astype(wanted) if wanted in ("float16", "float32", "float64") else X


def _batches(inputs: Inputs) -> Iterator[Inputs]:
    size = inputs.n_examples() or 1
    for start in range(0, size, _BATCH):
        piece = slice(start, start + _BATCH)
        yield inputs.map(lambda tensor, own=piece: tensor[own] if tensor.dim() and tensor.size(0) == size else tensor)
