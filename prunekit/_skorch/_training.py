"""Training through skorch's own loop, with everything that users have hung into it."""

import itertools
import math
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, Self

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback
from skorch.dataset import get_len, unpack_data
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from prunekit._skorch._data import FixedSplit
from prunekit._skorch._nets import bare_module, param_groups
from prunekit.exceptions import TrainingError
from prunekit.network import PrunableNetwork

_SCORED_BATCHES = 64
_SCORED_EXAMPLES = 2048


def score_every(network: PrunableNetwork, num_batches: int, batch_size: int) -> int:
    """
    Return of how many mini-batches of a training one is scored.

    About 2048 examples are enough if the criterion looks at single ones, else about 64 mini-batches.

    Parameters
    ----------
    network : PrunableNetwork
        What is trained.
    num_batches : int
        Length of the training.
    batch_size : int
        Examples in a mini-batch.

    Returns
    -------
    int
        1 for a short training.
    """
    wanted = -(-_SCORED_EXAMPLES // max(batch_size, 1)) if network.sees_examples else _SCORED_BATCHES
    return max(1, num_batches // wanted)


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


class InterruptWatch:
    """
    Tell Ctrl-C from the ``KeyboardInterrupt`` that skorch's callbacks raise to stop a training early.

    skorch swallows both inside of ``fit``. While the watch is on, the handler of SIGINT notes the signal before it does
    what it did before, so that it is known afterwards which of the two it was. Signals reach the main thread only: in
    other threads there is nothing to watch.
    """

    def __init__(self) -> None:
        self.interrupted = False
        self._previous: Any = None

    def __enter__(self) -> Self:
        """Start to watch."""
        if threading.current_thread() is threading.main_thread():
            previous = signal.getsignal(signal.SIGINT)
            if callable(previous):
                self._previous = previous
                signal.signal(signal.SIGINT, self._handle)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Put the former handler back."""
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self.interrupted = True
        self._previous(signum, frame)

    def check(self) -> None:
        """Raise ``KeyboardInterrupt`` if Ctrl-C was pressed."""
        if self.interrupted:
            raise KeyboardInterrupt


class LossWatch(Callback):
    """
    Stop a training at the first loss that is not finite.

    Parameters
    ----------
    stage : str
        What is being trained, for the message.
    """

    def __init__(self, stage: str) -> None:
        self.stage = stage

    def on_batch_end(self, net: NeuralNet, batch: Any = None, training: bool = False, **kwargs: Any) -> None:
        """Check the loss that skorch has just recorded."""
        if not training:
            return
        loss = net.history[-1]["batches"][-1]["train_loss"]
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss is {loss} {_where(net)} of {self.stage}. "
                "Lower the learning rate, or look for values in X and y that are not finite."
            )


class Scoring(LossWatch):
    """
    Accumulate importance scores during a training, from the gradients that it computes anyway.

    Parameters
    ----------
    network : PrunableNetwork
        The masked network that is being trained.
    stage : str
        What is being trained, for the messages.

    """

    def __init__(self, network: PrunableNetwork, stage: str) -> None:
        super().__init__(stage)
        self.network = network
        self.seconds = 0.0
        self._length, self._every, self._count = 0, 1, 0

    def begin(self, num_batches: int, stage: str) -> None:
        """
        Begin a training, of which, if it is long, a part will be scored that is evenly spread.

        Parameters
        ----------
        num_batches : int
            Length of the training, 0 if it is not known.
        stage : str
            What is being trained, for the messages.
        """
        self.seconds, self.stage = 0.0, stage
        self._length, self._count = num_batches, 0

    def on_batch_begin(self, net: NeuralNet, batch: Any = None, training: bool = False, **kwargs: Any) -> None:
        """Decide whether the batch is scored."""
        if not training:
            return
        if self._count == 0:
            self._every = score_every(self.network, self._length, get_len(unpack_data(batch)[0]))
        self.network.scoring = self._count % self._every == 0
        self._count += 1

    def on_grad_computed(
        self, net: NeuralNet, named_parameters: Any, batch: Any = None, training: bool = False, **kwargs: Any
    ) -> None:
        """Score with the gradients of the batch, before the optimizer makes its step."""
        if not self.network.scoring:
            return
        start = time.perf_counter()
        try:
            self.network.update_score(loss_scale=_loss_scale(net))
        except TrainingError as exc:
            raise TrainingError(f"{exc} It happened {_where(net)} of {self.stage}.") from exc
        self.seconds += time.perf_counter() - start


def _scaler(net: NeuralNet) -> Any:
    """Return what scales the losses of a net of skorch's `AccelerateMixin` in half precision, None of all others."""
    return getattr(getattr(net, "accelerator", None), "scaler", None)


def _loss_scale(net: NeuralNet) -> float:
    scaler = _scaler(net)
    return 1.0 if scaler is None else float(scaler.get_scale())


def _where(net: NeuralNet) -> str:
    """Name the current batch and epoch."""
    return f"in batch {len(net.history[-1]['batches'])} of epoch {net.history[-1]['epoch']}"


def train(net: NeuralNet, X: Any, y: Any, fit_params: Mapping[str, Any], interrupts: InterruptWatch) -> Phase:
    """
    Fit a net, and stop at the first loss that is not finite.

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

    Returns
    -------
    Phase
        Loss of the last epoch and time.

    Raises
    ------
    TrainingError
        If the loss is not finite.
    KeyboardInterrupt
        If Ctrl-C was pressed.
    """
    if net.callbacks != "disable":
        net.callbacks = [("prunekit", LossWatch("the training before pruning")), *(net.callbacks or [])]
    start = time.perf_counter()
    net.fit(X, y, **fit_params)
    interrupts.check()
    return Phase(_mean_loss(net.history[-1:]), seconds_training=time.perf_counter() - start)


class FineTuner:
    """
    Train and score a masked network with a net's own loop.

    The optimizer, its momentum and the position in the training data live on from phase to phase. A phase is what
    ``partial_fit`` is for skorch: callbacks see it begin and end, and may end it early.

    Parameters
    ----------
    net : NeuralNet
        Initialised net around ``network.module``; it is changed.
    network : PrunableNetwork
        The masked network.
    split : FixedSplit
        What to train and to validate on.
    X, y : object
        The data as given to ``fit``, for the callbacks.
    fit_params : dict
        More arguments of ``fit``, which go to the network's ``forward``.
    interrupts : InterruptWatch
        Tells Ctrl-C from the end of a phase.
    """

    def __init__(
        self,
        net: NeuralNet,
        network: PrunableNetwork,
        split: FixedSplit,
        X: Any,
        y: Any,
        fit_params: Mapping[str, Any],
        interrupts: InterruptWatch,
    ) -> None:
        self.net = net
        self.network = network
        self._split = split
        self._data = {"X": X, "y": y}
        self._fit_params = fit_params
        self._interrupts = interrupts
        self._scoring = Scoring(network, "the fine-tuning")
        self._batches: Iterator[Any] | None = None
        # First of all, so that the gradients are scored before a callback clips them.
        net.callbacks_.insert(0, ("prunekit", self._scoring))
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
                with self._with_running_statistics():
                    loss = self.net.train_step_single(batch, **self._fit_params)["loss"].item()
                if not math.isfinite(loss):
                    raise TrainingError(
                        f"The loss is {loss} while the importance of the filters is estimated. "
                        "Look for weights of the network or values in X and y that are not finite."
                    )
                self._update_score()
                size = get_len(unpack_data(batch)[0])
                total, num_samples = total + loss * size, num_samples + size
        finally:
            self._zero_grad()
            with torch.no_grad():
                for buffer, value in buffers:  # batch norm's running statistics
                    buffer.copy_(value)
        seconds = time.perf_counter() - start
        return Phase(loss=total / num_samples if num_samples else math.nan, seconds_scoring=seconds)

    def train(self, epochs: int, num_batches: int | None, stage: str) -> Phase:
        """
        Train for a number of epochs, or of mini-batches, and score at the same time.

        Parameters
        ----------
        epochs : int
            Number of epochs.
        num_batches : int or None
            Number of mini-batches of an epoch, which goes on in the training data where the last one ended.
            None: each epoch is a pass over the training data.
        stage : str
            What is being trained, for error messages.

        Returns
        -------
        Phase
            Loss and times.
        """
        start = time.perf_counter()
        self._scoring.begin(self._count_batches(epochs, num_batches), stage)
        first = len(self.net.history)
        for group in param_groups(self.net):
            group["lr"] = group.get("initial_lr", group["lr"])  # where a schedule of the last phase has left it
        self.net.notify("on_train_begin", **self._data)
        try:
            self._run_epochs(epochs, num_batches)
        except KeyboardInterrupt:  # Ctrl-C, or a callback such as EarlyStopping
            self._interrupts.check()
        self.network.scoring = True
        self.net.notify("on_train_end", **self._data)
        seconds = time.perf_counter() - start
        return Phase(_mean_loss(self.net.history[first:]), self._scoring.seconds, seconds - self._scoring.seconds)

    def _update_score(self) -> None:
        """Score the last mini-batch; lower the loss scale if it left nothing finite, as a step would."""
        before = self.network.num_scored
        scale = _loss_scale(self.net)
        self.network.update_score(loss_scale=scale)
        if self.network.num_scored == before:
            scaler = _scaler(self.net)
            scaler.update(scale * scaler.get_backoff_factor())

    def forget_momentum(self) -> None:
        """Start the optimizer anew, after weights were put back."""
        self.net._initialize_optimizer()

    def _count_batches(self, epochs: int, num_batches: int | None) -> int:
        """Return the number of mini-batches of a phase, 0 if it is not known."""
        if num_batches is None:
            try:
                num_batches = len(self.net.get_iterator(self._split.train, training=True))
            except TypeError:
                return 0
        return epochs * num_batches

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

    def _run_epochs(self, epochs: int, num_batches: int | None) -> None:
        """Run what ``NeuralNet.fit_loop`` runs, with the split and the iterators kept."""
        net, split, params = self.net, self._split, self._fit_params
        data = {"dataset_train": split.train, "dataset_valid": split.valid}
        valid = None if split.valid is None else net.get_iterator(split.valid, training=False)
        for _ in range(epochs):
            net.notify("on_epoch_begin", **data)
            batches = self._next_batches(num_batches)
            net.run_single_epoch(batches, training=True, prefix="train", step_fn=net.train_step, **params)
            net.run_single_epoch(valid, training=False, prefix="valid", step_fn=net.validation_step, **params)
            net.notify("on_epoch_end", **data)

    def _next_batches(self, num_batches: int | None) -> Iterable[Any]:
        """Return the training data's next mini-batches, or all of them."""
        iterator: Iterable[Any] = self.net.get_iterator(self._split.train, training=True)
        if num_batches is None:
            return iterator
        if self._batches is None:
            self._batches = _endless(iterator)
        return itertools.islice(self._batches, num_batches)


def _endless(iterator: Iterable[Any]) -> Iterator[Any]:
    """Run through the mini-batches again and again; end if there are none."""
    for _ in itertools.count():
        empty = True
        for batch in iterator:
            empty = False
            yield batch
        if empty:
            return


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
