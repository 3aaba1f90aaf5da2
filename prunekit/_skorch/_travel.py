"""
Nets on their way to other processes.

A fitted skorch net keeps its torch parts as bytes that only name their classes, whatever pickles the net. Where a class
is of ``__main__``, a script or a notebook, other processes do not have it, and whoever loads the net there fails before
anything can be said. `TravellingNets` lets the net arrive in part and tell.
"""

import pickle
import warnings
from typing import Any

from sklearn.base import BaseEstimator, clone
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNet
from torch import nn

from prunekit.exceptions import StateError


class MissingNet(BaseEstimator):
    """
    Stand in for a fitted net that could not be loaded.

    Parameters
    ----------
    classes : str
        What this process does not have.
    """

    def __init__(self, classes: str) -> None:
        self.classes = classes


class TravellingNets:
    """
    Base of estimators that hold nets in their attributes.

    Where the classes of a fitted net are missing when the estimator is loaded, a net as a parameter arrives unfitted,
    one in `FrozenEstimator` as a `MissingNet`, and the estimator is unfitted if its result is missing.
    """

    def __getstate__(self) -> dict[str, Any]:
        """Pack the nets."""
        state: dict[str, Any] = super().__getstate__()  # type: ignore[assignment]
        return {name: _packed(value, is_kept=not name.endswith("_")) for name, value in state.items()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Leave out what did not arrive."""
        lost = {name: value for name, value in state.items() if name.endswith("_") and isinstance(value, MissingNet)}
        super().__setstate__({name: value for name, value in state.items() if name not in lost})  # type: ignore[misc]
        if lost:
            classes = next(iter(lost.values())).classes
            warnings.warn(
                f"A fitted {type(self).__name__} was loaded without its network, since this process has no {classes}. "
                f"{WHERE_TO}",
                UserWarning,
                stacklevel=2,
            )


WHERE_TO = "Put the class in a file of its own, such as nets.py, and import it from there."


class _Parcel:
    """
    What is pickled of a fitted net whose classes are of ``__main__``.

    Parameters
    ----------
    net : NeuralNet
        The net.
    classes : str
        Their names.
    is_kept : bool
        Whether an unfitted copy is of use if the net does not arrive.
    """

    def __init__(self, net: NeuralNet, classes: str, is_kept: bool) -> None:
        self._net = net
        self._classes = classes
        self._is_kept = is_kept

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the fitted net apart, so that a failure to load it can be caught."""
        try:
            content = pickle.dumps(self._net)
        except (pickle.PicklingError, AttributeError) as exc:
            raise StateError(
                f"A fitted net can go to another process only if that can load it. Got one of {self._classes}, which "
                f"this process has not imported itself. {WHERE_TO}"
            ) from exc
        return _unpacked, (content, self._classes, clone(self._net) if self._is_kept else None)


def _unpacked(content: bytes, classes: str, unfitted: NeuralNet | None) -> Any:
    """Return the net, or what there is of it."""
    try:
        return pickle.loads(content)
    except AttributeError:  # there is no such class in this process's __main__
        return MissingNet(classes) if unfitted is None else unfitted


def _packed(value: Any, is_kept: bool) -> Any:
    if isinstance(value, FrozenEstimator):
        inner = _packed(value.estimator, is_kept=False)
        return value if inner is value.estimator else FrozenEstimator(inner)
    if not isinstance(value, NeuralNet) or not value.initialized_:
        return value
    classes = _classes_of_main(value)
    return _Parcel(value, classes, is_kept) if classes else value


def _classes_of_main(net: NeuralNet) -> str:
    """Name the classes of ``__main__`` in the torch parts of a net."""
    parts = [getattr(net, f"{name}_", None) for name in (*net._modules, *net._criteria, *net._optimizers)]
    kinds = {type(one) for part in parts for one in (part.modules() if isinstance(part, nn.Module) else [part])}
    return ", ".join(sorted(f"__main__.{kind.__qualname__}" for kind in kinds if kind.__module__ == "__main__"))
