"""The score of a net on its own validation data."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.metrics import check_scoring
from skorch import NeuralNet
from skorch.dataset import unpack_data
from skorch.utils import data_from_dataset, to_numpy

from prunekit._skorch._distributed import processes_of
from prunekit._skorch._targets import Targets
from prunekit.exceptions import ParameterError, ParameterTypeError


@dataclass(frozen=True, slots=True, eq=False)
class Validation:
    """
    Validation data and what to measure on them.

    Parameters
    ----------
    dataset : Dataset
        The validation data.
    targets : ndarray
        Their ``y``.
    scorer : callable
        Scikit-learn scorer; greater is better.
    view : callable
        Returns what the scorer is given for a net.
    """

    dataset: Any
    targets: Any
    scorer: Callable[[Any, Any, Any], float]
    view: Callable[[NeuralNet], Any]

    def score(self, net: NeuralNet) -> float:
        """Return the score of an initialised net."""
        score = self.scorer(self.view(net), self.dataset, self.targets)
        try:
            return float(processes_of(net).same(float(score)))
        except TypeError as exc:
            raise ParameterTypeError(f"The 'scoring' parameter must give one number. Got {score!r} instead.") from exc


def make_validation(
    net: NeuralNet, dataset: Any, scoring: Any, owner: str, coding: Targets | None = None
) -> Validation | None:
    """
    Return what scores a net, None if it has no validation data or nothing that scores it.

    Parameters
    ----------
    net : NeuralNet
        A copy of the user's net.
    dataset : Dataset or None
        The validation data.
    scoring : str, callable or None
        As scikit-learn takes it; None stands for the net's own ``score``.
    owner : str
        Class that the parameter belongs to, for the message.
    coding : Targets, optional
        How the targets of the user became those of the net; scorers are given the user's.

    Returns
    -------
    Validation or None
        The data with their scorer.

    Raises
    ------
    ParameterError
        If there is no such scorer, or several.
    """
    if isinstance(scoring, (list, tuple, set, dict)):
        raise ParameterTypeError(
            f"The 'scoring' parameter of {owner} must be one scorer: a name, a callable or None. "
            f"Got {scoring!r} instead."
        )
    try:
        scorer = check_scoring(net, scoring, allow_none=True)
    except ValueError as exc:
        raise ParameterError(
            f"The 'scoring' parameter of {owner} must be the name of a scikit-learn scorer, "
            f"a callable scorer(net, X, y) or None. Got {scoring!r} instead. {exc}"
        ) from exc
    if dataset is None or scorer is None:
        return None
    targets = _targets_of(net, dataset)
    if scoring is None:
        return Validation(dataset, targets, _own_score, lambda net: net)
    coding = coding or Targets()
    return Validation(dataset, coding.decode(targets), scorer, coding.view)


def _own_score(net: NeuralNet, X: Any, y: Any) -> float:
    score: float = net.score(X, y)
    return score


def _targets_of(net: NeuralNet, dataset: Any) -> Any:
    """Return the targets of a data set; it is run through once if it does not give them away."""
    try:
        targets = data_from_dataset(dataset)[1]
    except AttributeError:
        targets = None
    if targets is not None:
        return to_numpy(targets)
    # Of several processes each gets a share of the batches from its net, but all of them from the net's base class.
    begin = net.get_iterator if processes_of(net).count == 1 else partial(NeuralNet.get_iterator, net)
    batches = [unpack_data(batch)[1] for batch in begin(dataset, training=False)]
    return np.concatenate([to_numpy(torch.as_tensor(batch)) for batch in batches])
