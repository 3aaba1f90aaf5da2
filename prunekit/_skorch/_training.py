"""Training through skorch's own loop, with everything that users have hung into it."""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from skorch import NeuralNet
from skorch.dataset import get_len, unpack_data
from skorch.history import History
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from prunekit._random import rng_state, set_rng_state
from prunekit._skorch._batches import BatchStream
from prunekit._skorch._callbacks import numbers_of, set_numbers_
from prunekit._skorch._data import FixedSplit
from prunekit._skorch._distillation import Distillation, distilled
from prunekit._skorch._distributed import accelerate_optimizers_, data_parallel, processes_of
from prunekit._skorch._epochs import EpochKeeper, Place, followed
from prunekit._skorch._nets import bare_module, device_of, optimizers_of
from prunekit._skorch._optimizers import load_optimizer_
from prunekit._skorch._rates import Rates
from prunekit._skorch._watches import InterruptWatch, LossWatch, Scoring, loss_scale_of, scaler_of
from prunekit._validation import is_builtin
from prunekit.exceptions import PrunekitError, TrainingError
from prunekit.network import PrunableNetwork
from prunekit.tracing import named_tensors


@dataclass(frozen=True, slots=True)
class Budget:
    """
    How long a phase of training is.

    Parameters
    ----------
    epochs : int
        Passes over the training data.
    batches : int or None
        Mini-batches, in place of epochs; they go on in the training data where the last ones ended.
    """

    epochs: int
    batches: int | None = None

    def __bool__(self) -> bool:
        """Tell whether there is any training."""
        return bool(self.epochs if self.batches is None else self.batches)


@dataclass(frozen=True, slots=True)
class Phase:
    """
    What one phase of scoring or training took and gave.

    Parameters
    ----------
    loss : float
        Mean loss over the samples of the phase; NaN without samples.
    seconds_scoring : float
        Time for the importance scores alone.
    seconds_training : float
        Time for everything else, skorch's own validation at the end of an epoch included.
    """

    loss: float = math.nan
    seconds_scoring: float = 0.0
    seconds_training: float = 0.0


def _tell_nobody(net: NeuralNet, done: int) -> None:
    """Show nothing."""


def train(
    net: NeuralNet,
    X: Any,
    y: Any,
    fit_params: Mapping[str, Any],
    interrupts: InterruptWatch,
    place: Place | None = None,
    tell: Callable[[NeuralNet, int], None] = _tell_nobody,
) -> Phase:
    """
    Fit a net, or go on with a fit that was left, and stop at the first loss that is not finite.

    Parameters
    ----------
    net : NeuralNet
        A copy of the user's net, not initialised.
    X, y : object
        The data, as skorch takes them.
    fit_params : dict
        More arguments of ``net.fit``.
    interrupts : InterruptWatch
        Knows whether skorch has swallowed Ctrl-C.
    place : Place, default=None
        Where the training is kept after epochs, if everything that it depends on is known.
    tell : callable
        Is called with the net and the number of epochs that are done, when the training begins and after each epoch.

    Returns
    -------
    Phase
        Loss of the last epoch and time, that before a training was left included.

    Raises
    ------
    TrainingError
        If the loss is not finite.
    KeyboardInterrupt
        If Ctrl-C was pressed.
    """
    own = net.callbacks
    if own != "disable":
        net.callbacks = [("prunekit", LossWatch("the training before pruning")), *(own or [])]
    start = time.perf_counter()
    keeper = EpochKeeper(net, place)
    with data_parallel(net), _steps_told_of(net, "the training before pruning"), followed(net, keeper, tell):
        net.fit(X, y, **fit_params)
    net.callbacks = own  # a copy of the net has no use for the watch
    interrupts.check()
    return Phase(_mean_loss(net.history[-1:]), seconds_training=keeper.seconds + time.perf_counter() - start)


def trained_state(net: NeuralNet, phase: Phase) -> dict[str, Any]:
    """
    Return what a training gave, to go on from there in another process.

    Parameters
    ----------
    net : NeuralNet
        The trained net.
    phase : Phase
        Its training.

    Returns
    -------
    dict
        Tensors of the network and of the loss, history and random states.
    """
    parts = (bare_module(net), net.criterion_)
    return {
        "tensors": [
            {name: one.detach() for name, one in named_tensors(part).items()} if isinstance(part, nn.Module) else {}
            for part in parts
        ],
        "history": [dict(row) for row in net.history],
        "loss": phase.loss,
        "seconds": phase.seconds_training,
        "rng": rng_state(device_of(net)),
    }


def load_trained_(net: NeuralNet, state: Mapping[str, Any]) -> Phase:
    """
    Give an initialised net what a training gave, and the random states of that moment.

    Parameters
    ----------
    net : NeuralNet
        A net that is not trained.
    state : Mapping
        What `trained_state` returned.

    Returns
    -------
    Phase
        The training.
    """
    with torch.no_grad():
        for part, tensors in zip((bare_module(net), net.criterion_), state["tensors"], strict=True):
            for name, tensor in named_tensors(part).items() if tensors else ():
                tensor.copy_(tensors[name])
    net.history_ = History(state["history"])
    set_rng_state(state["rng"], device_of(net))
    return Phase(state["loss"], seconds_training=state["seconds"])


class FineTuner:
    """
    Train a network with a net's own loop, and score it if it is to be pruned.

    The optimizer, its momentum and the position in the training data live on from phase to phase. A phase is what
    ``partial_fit`` is for skorch: callbacks see it begin and end, and may end it early.

    Parameters
    ----------
    net : NeuralNet
        Initialised net around ``network.module``; it is changed.
    network : PrunableNetwork or None
        The masked network. None: it is trained as it is.
    split : FixedSplit
        What to train and to validate on.
    X, y : object
        The data as given to ``fit``, for the callbacks.
    fit_params : dict
        More arguments of ``fit``, which go to the network's ``forward``.
    rates : Rates
        Sets the learning rates.
    interrupts : InterruptWatch
        Tells Ctrl-C from the end of a phase.
    distillation : Distillation, default=None
        What is added to the loss of the training, not of scoring passes.

    Attributes
    ----------
    watch : LossWatch
        Sees each mini-batch.
    """

    def __init__(
        self,
        net: NeuralNet,
        network: PrunableNetwork | None,
        split: FixedSplit,
        X: Any,
        y: Any,
        fit_params: Mapping[str, Any],
        rates: Rates,
        interrupts: InterruptWatch,
        distillation: Distillation | None = None,
    ) -> None:
        self.net = net
        self._network = network
        self._split = split
        self._data = {"X": X, "y": y}
        self._fit_params = fit_params
        self._rates = rates
        self._interrupts = interrupts
        self._distillation = distillation
        self.watch = LossWatch() if network is None else Scoring(network)
        if network is not None:
            network.processes = processes_of(net)
        self._batches = BatchStream(self._pass, device_of(net))
        # First of all, so that the gradients are scored before a callback clips them.
        net.callbacks_[:0] = [("prunekit", self.watch), ("prunekit_rates", rates)]
        rates.adopt(net)
        if not hasattr(net, "classes_inferred_"):
            net.check_data(X, y)  # a net that was initialised and given weights has seen no classes yet

    def score(self, num_batches: int | None = None) -> Phase:
        """
        Score without changing the network, batch norm and dropout layers in eval mode.

        Parameters
        ----------
        num_batches : int, optional
            Number of mini-batches. None: one pass over the training data.

        Returns
        -------
        Phase
            Loss and time.
        """
        start = time.perf_counter()
        buffers = [(buffer, buffer.clone()) for buffer in bare_module(self.net).buffers()]
        total, num_samples = 0.0, 0
        try:
            for batch in self._next_batches(num_batches):
                self._zero_grad()
                with data_parallel(self.net), self._with_running_statistics(), _steps_told_of(self.net, _SCORING):
                    loss = self.net.train_step_single(batch, **self._fit_params)["loss"].item()
                if not math.isfinite(loss):
                    raise TrainingError(
                        f"The loss is {loss} while the importance of the filters is estimated. "
                        "Look for weights of the network or values in X and y that are not finite."
                    )
                self._update_score()
                size = get_len(unpack_data(batch)[0])
                total, num_samples = total + loss * size, num_samples + size
                self.watch.on_batch()
        finally:
            self._zero_grad()
            with torch.no_grad():
                for buffer, value in buffers:  # batch norm's running statistics
                    buffer.copy_(value)
        seconds = time.perf_counter() - start
        return Phase(loss=total / num_samples if num_samples else math.nan, seconds_scoring=seconds)

    def train(self, budget: Budget, span: tuple[float, float], stage: str) -> Phase:
        """
        Train for a while, and score at the same time.

        Parameters
        ----------
        budget : Budget
            For how long.
        span : tuple of float
            Where in the run, from 0 to 1, that begins and ends; for the learning rate.
        stage : str
            What is being trained, for error messages.

        Returns
        -------
        Phase
            Loss and times.
        """
        start = time.perf_counter()
        length = self.count_batches(budget)
        self.watch.begin(length, stage)
        self._rates.begin(self.net, length, span)
        first = len(self.net.history)
        self.net.notify("on_train_begin", **self._data)
        try:
            with (
                data_parallel(self.net),
                distilled(self.net, self._distillation, self._fit_params),
                _steps_told_of(self.net, stage),
            ):
                self._run_epochs(budget)
        except KeyboardInterrupt:  # Ctrl-C, or a callback such as EarlyStopping
            self._interrupts.check()
        self.watch.end()
        self.net.notify("on_train_end", **self._data)
        seconds = time.perf_counter() - start
        return Phase(_mean_loss(self.net.history[first:]), self.watch.seconds, seconds - self.watch.seconds)

    def count_batches(self, budget: Budget) -> int:
        """
        Return the number of mini-batches of a phase.

        Parameters
        ----------
        budget : Budget
            The phase.

        Returns
        -------
        int
            0 if it is not known.
        """
        if budget.batches is not None:
            return budget.batches
        try:
            return budget.epochs * len(self._pass())  # type: ignore[arg-type]
        except TypeError:
            return 0

    def rates_in(self, span: tuple[float, float]) -> tuple[float, float]:
        """
        Return what the learning rates of a phase depend on.

        Parameters
        ----------
        span : tuple of float
            Where in the run, from 0 to 1, it begins and ends.

        Returns
        -------
        tuple of float
            Equal for phases with equal learning rates.
        """
        return self._rates.span_of(span)

    def cut(self) -> None:
        """Cut off what is masked; momentum and the like are sliced along."""
        assert self._network is not None
        self._network.cut(*optimizers_of(self.net))

    def forget_momentum(self) -> None:
        """Start the optimizer anew, after weights were put back."""
        self.net._initialize_optimizer()
        accelerate_optimizers_(self.net)
        self._rates.adopt(self.net)

    def state_dict(self) -> dict[str, Any]:
        """
        Return everything that the next phase depends on, but for the network and the random states.

        Returns
        -------
        dict
            State of optimizers, history, what callbacks keep in attributes that end in ``_`` if it is a number or a
            string, place in the training data, loss scale.
        """
        scaler = scaler_of(self.net)
        return {
            "optimizers": [optimizer.state_dict() for optimizer in optimizers_of(self.net)],
            "history": [dict(row) for row in self.net.history],
            "callbacks": {name: numbers_of(callback) for name, callback in self.net.callbacks_},
            "batches": self._batches.state_dict(),
            "scaler": None if scaler is None else scaler.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """
        Go on where another tuner was; the network has the weights and shapes of that time.

        Parameters
        ----------
        state : Mapping
            What `state_dict` returned.
        """
        self.forget_momentum()  # the parameters may be others now
        for optimizer, own in zip(optimizers_of(self.net), state["optimizers"], strict=True):
            load_optimizer_(optimizer, own)
        self.net.history_ = History(state["history"])
        for name, callback in self.net.callbacks_:
            set_numbers_(callback, state["callbacks"].get(name, {}))
        self._batches.load_state_dict(state["batches"])
        scaler = scaler_of(self.net)
        if scaler is not None and state["scaler"] is not None:
            scaler.load_state_dict(state["scaler"])

    def _update_score(self) -> None:
        """Score the last mini-batch; lower the loss scale if it left nothing finite, as a step would."""
        assert self._network is not None
        before = self._network.num_scored
        scale = loss_scale_of(self.net)
        self._network.update_score(loss_scale=scale)
        if self._network.num_scored == before:
            scaler = scaler_of(self.net)
            scaler.update(scale * scaler.get_backoff_factor())

    @contextmanager
    def _with_running_statistics(self) -> Iterator[None]:
        """
        Run training steps with the running statistics of batch norm and without dropout layers.

        The loss is then that of the network in use, and does not depend on what else is in the mini-batch. All other
        parts stay in training mode, in which a network may return something else that its loss needs.
        """
        net = self.net
        set_training = net._set_training

        def set_most(training: bool = True) -> None:
            set_training(training)
            for part in bare_module(net).modules():
                if isinstance(part, _BatchNorm | _DropoutNd):
                    part.training = False

        net._set_training = set_most
        try:
            yield
        finally:
            del net._set_training

    def _zero_grad(self) -> None:
        """Forget the gradients of the network, also of frozen parameters, and of a loss with parameters."""
        bare_module(self.net).zero_grad()
        self.net._zero_grad_optimizer()

    def _run_epochs(self, budget: Budget) -> None:
        """Run what ``NeuralNet.fit_loop`` runs, with the split and the iterators kept."""
        net, split, params = self.net, self._split, self._fit_params
        data = {"dataset_train": split.train, "dataset_valid": split.valid}
        valid = None if split.valid is None else net.get_iterator(split.valid, training=False)
        for _ in range(1 if budget.batches is not None else budget.epochs):
            net.notify("on_epoch_begin", **data)
            batches = self._next_batches(budget.batches)
            net.run_single_epoch(batches, training=True, prefix="train", step_fn=net.train_step, **params)
            net.run_single_epoch(valid, training=False, prefix="valid", step_fn=net.validation_step, **params)
            net.notify("on_epoch_end", **data)

    def _next_batches(self, num_batches: int | None) -> Iterable[Any]:
        """Return the training data's next mini-batches, or all of them."""
        return self._pass() if num_batches is None else self._batches.take(num_batches)

    def _pass(self) -> Iterable[Any]:
        batches: Iterable[Any] = self.net.get_iterator(self._split.train, training=True)
        return batches


_SCORING = "the estimation of the importance"


@contextmanager
def _steps_told_of(net: NeuralNet, stage: str) -> Iterator[None]:
    """Say of errors that the network, its loss and autograd raise where that was; callbacks and data are outside."""
    step = net.train_step_single

    def told(batch: Any, **fit_params: Any) -> Any:
        try:
            return step(batch, **fit_params)
        except PrunekitError:
            raise
        except Exception as exc:
            if not is_builtin(exc):
                raise
            advice = (
                " Batch normalisation cannot be trained on a single sample: set iterator_train__drop_last=True, or "
                "another batch_size."
                if "Expected more than 1 value per channel" in str(exc)
                else ""
            )
            raise TrainingError(
                f"A mini-batch raised {type(exc).__name__} in {stage}, in the forward pass, the loss or the backward "
                f"pass: {str(exc).rstrip('.')}.{advice}"
            ) from exc

    own = vars(net).get("train_step_single")
    net.train_step_single = told
    try:
        yield
    finally:
        if own is None:
            del net.train_step_single
        else:
            net.train_step_single = own


def _mean_loss(epochs: Iterable[Mapping[str, Any]]) -> float:
    """Average the training loss over all samples of some epochs of a history."""
    losses = [
        (batch["train_loss"], batch["train_batch_size"])
        for epoch in epochs
        for batch in epoch["batches"]
        if "train_loss" in batch
    ]
    num_samples = sum(size for _, size in losses)
    return sum(loss * size for loss, size in losses) / num_samples if num_samples else math.nan
