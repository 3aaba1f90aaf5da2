"""Fine-tuning that also learns from what the dense network says."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from skorch import NeuralNet
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True, slots=True, eq=False)
class Distillation:
    """
    What a net learns from another.

    Parameters
    ----------
    teacher : NeuralNet
        Initialised net of the same inputs and outputs; it runs in eval mode and is not changed.
    weight : float
        Share of the added loss, in [0, 1]; that of the net's own is the rest.
    temperature : float
        By which logits are divided, positive; for classifiers only.
    """

    teacher: NeuralNet
    weight: float
    temperature: float


@contextmanager
def distilled(net: NeuralNet, distillation: Distillation | None, fit_params: Mapping[str, Any]) -> Iterator[None]:
    """
    Add to the training loss of a net how far its outputs are from those of another, for a while.

    Parameters
    ----------
    net : NeuralNet
        The net that learns.
    distillation : Distillation or None
        From which, and how. None: nothing is added.
    fit_params : dict
        More arguments of ``forward``.

    Yields
    ------
    None
        Control to the block.

    References
    ----------
    .. [1] G. Hinton, O. Vinyals, J. Dean, "Distilling the knowledge in a neural network", arXiv:1503.02531.
    """
    if distillation is None:
        yield
        return
    teacher, weight, temperature = distillation.teacher, distillation.weight, distillation.temperature
    own_loss = net.get_loss
    teacher._set_training(False)

    def get_loss(y_pred: Any, y_true: Any, X: Any = None, *args: Any, training: bool = False, **kwargs: Any) -> Tensor:
        loss: Tensor = own_loss(y_pred, y_true, X, *args, training=training, **kwargs)
        if not training:
            return loss
        with torch.no_grad():
            wanted = teacher.infer(X, **fit_params)
        return (1.0 - weight) * loss + weight * _distance(net, _first(y_pred), _first(wanted), temperature)

    net.get_loss = get_loss
    try:
        yield
    finally:
        del net.get_loss


def _distance(net: NeuralNet, given: Tensor, wanted: Tensor, temperature: float) -> Tensor:
    """Return the mean over the examples; times the squared temperature, which keeps the size of gradients [1]."""
    criterion = net.criterion_
    if isinstance(criterion, torch.nn.NLLLoss):  # skorch's classifiers give it logarithms of what the module returns
        tiny = torch.finfo(given.dtype).eps
        given, wanted = (given + tiny).log(), (wanted + tiny).log()
    if isinstance(criterion, torch.nn.CrossEntropyLoss | torch.nn.NLLLoss):
        given, wanted = (F.log_softmax(one / temperature, 1) for one in (given, wanted))
        positions = given.numel() // given.size(1)
        return temperature**2 * F.kl_div(given, wanted, reduction="sum", log_target=True) / positions
    if isinstance(criterion, torch.nn.BCEWithLogitsLoss):
        given, wanted = given / temperature, (wanted / temperature).sigmoid()
        entropy = F.binary_cross_entropy(wanted, wanted)
        return temperature**2 * (F.binary_cross_entropy_with_logits(given, wanted) - entropy)
    return F.mse_loss(given, wanted)


def _first(outputs: Any) -> Tensor:
    """Return the output that skorch predicts with."""
    first: Tensor = outputs[0] if isinstance(outputs, tuple) else outputs
    return first
