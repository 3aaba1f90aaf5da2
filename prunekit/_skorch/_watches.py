"""What is hung into skorch's loop: Ctrl-C, losses that are not finite, importance scores."""

import math
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from skorch import NeuralNet
from skorch.callbacks import Callback
from skorch.dataset import get_len, unpack_data

from prunekit.exceptions import TrainingError
from prunekit.network import PrunableNetwork

if TYPE_CHECKING:
    from collections.abc import Callable

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
    stage : str, default=""
        What is being trained, for the message.

    Attributes
    ----------
    on_batch : callable
        Is called after each mini-batch of training.
    seconds : float
        Time that importance scores took in the last training.
    """

    def __init__(self, stage: str = "") -> None:
        self.stage = stage
        self.seconds = 0.0
        self.on_batch: Callable[[], None] = lambda: None

    def begin(self, num_batches: int, stage: str) -> None:
        """
        Begin a training.

        Parameters
        ----------
        num_batches : int
            Its length, 0 if it is not known.
        stage : str
            What is being trained, for the message.
        """
        self.seconds, self.stage = 0.0, stage

    def end(self) -> None:
        """End a training."""

    def on_batch_end(self, net: NeuralNet, batch: Any = None, training: bool = False, **kwargs: Any) -> None:
        """Check the loss that skorch has just recorded."""
        if not training:
            return
        loss = net.history[-1]["batches"][-1]["train_loss"]
        if not math.isfinite(loss):
            raise TrainingError(
                f"The loss is {loss} {where_in(net)} of {self.stage}. "
                "Lower the learning rate, or look for values in X and y that are not finite."
            )
        self.on_batch()


class Scoring(LossWatch):
    """
    Accumulate importance scores during a training, from the gradients that it computes anyway.

    Parameters
    ----------
    network : PrunableNetwork
        The masked network that is being trained.
    """

    def __init__(self, network: PrunableNetwork) -> None:
        super().__init__()
        self.network = network
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
        super().begin(num_batches, stage)
        self._length, self._count = num_batches, 0

    def end(self) -> None:
        """End a training; whatever comes next is watched."""
        self.network.scoring = True

    def on_batch_begin(self, net: NeuralNet, batch: Any = None, training: bool = False, **kwargs: Any) -> None:
        """Decide whether the batch is scored."""
        if not training:
            return
        if self._count == 0:
            size = self.network.processes.count * get_len(unpack_data(batch)[0])
            self._every = score_every(self.network, self._length, size)
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
            self.network.update_score(loss_scale=loss_scale_of(net))
        except TrainingError as exc:
            raise TrainingError(f"{exc} It happened {where_in(net)} of {self.stage}.") from exc
        self.seconds += time.perf_counter() - start


def scaler_of(net: NeuralNet) -> Any:
    """Return what scales the losses of a net of skorch's `AccelerateMixin` in half precision, None of all others."""
    return getattr(getattr(net, "accelerator", None), "scaler", None)


def loss_scale_of(net: NeuralNet) -> float:
    """Return what the losses of a net are multiplied by before their backward pass."""
    scaler = scaler_of(net)
    return 1.0 if scaler is None else float(scaler.get_scale())


def where_in(net: NeuralNet) -> str:
    """Name the current batch and epoch."""
    return f"in batch {len(net.history[-1]['batches'])} of epoch {net.history[-1]['epoch']}"
