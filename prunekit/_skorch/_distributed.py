"""
Data-parallel training with Accelerate.

Of the accelerator prunekit takes the processes, the device, the precision and the shares of the data. Gradients it
averages by itself, right after the backward pass, in place of `DistributedDataParallel`: that holds on to parameters
which a cut replaces, gives frozen parameters gradients, and refuses a loss without parameters.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from skorch import NeuralNet
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from prunekit._processes import Processes
from prunekit.exceptions import ParameterError

_KNOWN = ("MULTI_CPU", "MULTI_GPU")
_SINK = "callbacks__print_log__sink"
"""Where skorch puts the accelerator's `print`."""


def processes_of(net: NeuralNet) -> Processes:
    """
    Return the processes that train a net together.

    Parameters
    ----------
    net : NeuralNet
        The net.

    Returns
    -------
    Processes
        Those of its accelerator, if it has one; else this process alone.
    """
    if getattr(getattr(net, "accelerator", None), "num_processes", 1) == 1:
        return Processes()
    return Processes(dist.group.WORLD)


def check_accelerator(net: NeuralNet, owner: str) -> None:
    """
    Refuse an accelerator with which processes could not train one network together.

    Parameters
    ----------
    net : NeuralNet
        The user's net.
    owner : str
        Class that the net was given to, for the message.

    Raises
    ------
    ParameterError
        If it splits the network itself, or the processes would get different numbers of mini-batches.
    """
    if processes_of(net).count == 1:
        return
    accelerator: Any = net.accelerator
    wanted = f"The 'estimator' parameter of {owner} must be a net whose accelerator"
    kind = str(accelerator.distributed_type.value)
    if kind not in _KNOWN:
        raise ParameterError(
            f"{wanted} gives every process the whole network, on CPUs or CUDA devices. Got the distributed type "
            f"{kind!r} instead. Start the processes with torchrun, without plug-ins such as FSDP or DeepSpeed."
        )
    if not accelerator.even_batches:
        raise ParameterError(
            f"{wanted} gives every process the same number of mini-batches. Got even_batches=False instead. Leave it "
            "out of the DataLoaderConfiguration."
        )


def own_accelerator(params: Mapping[str, Any], silent: bool) -> dict[str, Any]:
    """
    Return what a copy of a net takes in place of the net's accelerator.

    Accelerators keep everything that they ever prepared, data included, which is not to be copied with each net.

    Parameters
    ----------
    params : Mapping of str to object
        Parameters of the net.
    silent : bool
        Whether the copy prints nothing; skorch prints through an accelerator whatever ``verbose`` is.

    Returns
    -------
    dict
        An accelerator that has prepared nothing, and what depends on it; empty for nets without one.
    """
    accelerator = params.get("accelerator")
    if accelerator is None:
        return {}
    own = copy.copy(accelerator)
    for name in ("_models", "_optimizers", "_schedulers", "_dataloaders"):
        if hasattr(own, name):
            setattr(own, name, [])
    own.scaler = copy.deepcopy(getattr(accelerator, "scaler", None))
    if _SINK not in params:
        return {"accelerator": own}
    is_its_own = getattr(params[_SINK], "__self__", None) is accelerator
    return {"accelerator": own, _SINK: _say_nothing if silent else "auto" if is_its_own else params[_SINK]}


def _say_nothing(text: str) -> None:
    """Print nothing."""


def shared_seed(net: NeuralNet, seed: int | None) -> int | None:
    """
    Return the seed of a fit, the same one for all processes that take part.

    Parameters
    ----------
    net : NeuralNet
        The user's net.
    seed : int or None
        What this process would take. None stands for the global random states, of which each process has its own:
        the first one then draws a seed.

    Returns
    -------
    int or None
        The seed; None for a process alone only.
    """
    processes = processes_of(net)
    if processes.count > 1 and seed is None:
        seed = int(torch.randint(2**31 - 1, ()))
    common: int | None = processes.same(seed)
    return common


def initialize_(net: NeuralNet) -> None:
    """
    Initialise a net, unwrapped if several processes train it, with the weights of the first one.

    Parameters
    ----------
    net : NeuralNet
        A copy of the user's net.
    """
    with _unwrapped(net):
        net.initialize()


@contextmanager
def data_parallel(net: NeuralNet) -> Iterator[None]:
    """
    Let the training steps of a net be those of all processes together, for a while.

    Gradients, losses and the running statistics of batch norm are averaged, other buffers are those of the first
    process. Where a callback ends the training of one process, all end. If the net is initialised meanwhile, that is
    done as `initialize_` does it.

    Parameters
    ----------
    net : NeuralNet
        A copy of the user's net.

    Yields
    ------
    None
        Control to the block.
    """
    if processes_of(net).count == 1:
        yield
        return
    steps = _Steps(net)
    replaced: dict[str, Any] = {
        "train_step_single": steps.train,
        "validation_step": steps.validate,
        "notify": steps.notify,
    }
    vars(net).update(replaced)
    try:
        with _unwrapped(net):
            yield
    finally:
        for name in replaced:
            del vars(net)[name]


class _Steps:
    """What a net does instead of its own methods while several processes train it."""

    def __init__(self, net: NeuralNet) -> None:
        self._net = net
        self._processes = processes_of(net)
        self._train, self._validate, self._notify = net.train_step_single, net.validation_step, net.notify

    def train(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Run a training step; gradients, and whatever is recorded of them, are then those of all processes."""
        step: dict[str, Any] = self._train(batch, **fit_params)
        parts = _modules_of(self._net)
        parameters = [one for part in parts for one in part.parameters() if one.requires_grad]
        statistics, others = _buffers_of(parts)
        like = [step["loss"], *parameters, *statistics]
        given = [step["loss"], *(one.grad for one in parameters), *statistics]
        loss, *means = self._processes.average(given, like)
        step["loss"] = loss
        with torch.no_grad():
            for parameter, mean in zip(parameters, means, strict=False):
                if parameter.grad is None:
                    parameter.grad = mean
                elif mean is not None:
                    parameter.grad.copy_(mean)  # which keeps its strides
            for buffer, mean in zip(statistics, means[len(parameters) :], strict=True):
                if mean is not None:
                    buffer.copy_(mean)
        self._processes.share_(others)
        return step

    def validate(self, batch: Any, **fit_params: Any) -> dict[str, Any]:
        """Run a validation step; the loss that is recorded is that of all processes."""
        step: dict[str, Any] = self._validate(batch, **fit_params)
        step["loss"] = self._processes.average([step["loss"]], [step["loss"]])[0]
        return step

    def notify(self, method_name: str, **kwargs: Any) -> None:
        """Tell the callbacks; what stops one process after an epoch stops them all."""
        if method_name != "on_epoch_end":
            self._notify(method_name, **kwargs)
            return
        stop: KeyboardInterrupt | None = None
        try:
            self._notify(method_name, **kwargs)
        except KeyboardInterrupt as exc:  # such as EarlyStopping by a score of this process's share of the data
            stop = exc
        if not self._processes.every(stop is None):
            raise stop or KeyboardInterrupt


@contextmanager
def _unwrapped(net: NeuralNet) -> Iterator[None]:
    """Keep skorch from wrapping what it initialises in `DistributedDataParallel`."""
    if processes_of(net).count == 1:
        yield
        return
    net._initialize_accelerator = lambda: _prepare_(net)
    try:
        yield
    finally:
        del net._initialize_accelerator


def _prepare_(net: NeuralNet) -> None:
    """Do what skorch's `AccelerateMixin` does to a net, but for the wrapping."""
    accelerator: Any = net.accelerator
    parts = _modules_of(net)
    if accelerator.device_placement:
        for part in parts:
            part.to(accelerator.device)
    accelerate_optimizers_(net)
    processes_of(net).share_(tensor for part in parts for tensor in (*part.parameters(), *part.buffers()))


def accelerate_optimizers_(net: NeuralNet) -> None:
    """
    Have the accelerator of a net, if it has one, wrap new optimizers: it knows when a step is due and unscales.

    Parameters
    ----------
    net : NeuralNet
        Initialised net.
    """
    prepare = getattr(getattr(net, "accelerator", None), "prepare", None)
    if prepare is None:
        return
    with net._current_init_context("optimizer"):
        for name in net._optimizers:
            setattr(net, f"{name}_", prepare(getattr(net, f"{name}_")))


def _modules_of(net: NeuralNet) -> list[nn.Module]:
    parts = [getattr(net, f"{name}_") for name in (*net._modules, *net._criteria)]
    return [part for part in parts if isinstance(part, nn.Module)]


def _buffers_of(parts: Iterable[nn.Module]) -> tuple[list[Tensor], list[Tensor]]:
    """Return the running statistics of batch norm, and all other buffers but its counts, which are the same anyway."""
    statistics: list[Tensor] = []
    others: list[Tensor] = []
    for one in (module for part in parts for module in part.modules()):
        found = [buffer for buffer in one._buffers.values() if buffer is not None]
        if isinstance(one, _BatchNorm):
            statistics += [buffer for buffer in found if buffer.is_floating_point()]
        else:
            others += found
    return statistics, others
