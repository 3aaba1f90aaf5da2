"""`compare`: a dense and a compacted network side by side."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import pandas as pd

from prunekit._random import preserve_rng
from prunekit._validation import check_choice, check_integer, check_interval
from prunekit.analysis._examples import as_tensors
from prunekit.analysis._measures import class_table, costs_rows, label_rows, latency_rows, value_rows
from prunekit.analysis._predictions import TASKS, Contender, Task, predictions
from prunekit.exceptions import ParameterError, ParameterTypeError
from prunekit.tracing import Inputs, device_of, same_buffers

_OWNER = "compare"
_NUM_EXAMPLES = 64
COLUMNS = (
    "unit",
    "dense",
    "compact",
    "change",
    "reduction",
    "dense_low",
    "dense_high",
    "compact_low",
    "compact_high",
    "change_low",
    "change_high",
)


def compare(
    dense: Any,
    compact: Any,
    X: Any,
    y: Any = None,
    *,
    level: Literal["network", "class"] = "network",
    task: Task | None = None,
    batch_sizes: Sequence[int] = (1, 32),
    repeats: int = 30,
    confidence: float = 0.95,
    random_state: int = 0,
) -> pd.DataFrame:
    """
    Measure two networks on the same data and return what changed.

    Parameters
    ----------
    dense, compact : Module, fitted skorch net, fitted TaylorPruner or TaylorPrunerCV, or PrunableNetwork
        The networks, before and after; of a pruner its pruned net, of a `PrunableNetwork` the compacted network. Both
        take the same inputs and predict the same labels. They are not changed.
    X : array, Tensor, DataFrame, Dataset, tuple or Mapping
        Samples that neither was trained on, as the networks take them.
    y : array-like of shape (n_samples,) or (n_samples, n_outputs), default=None
        Their targets. Without them, nothing is scored.
    level : {"network", "class"}, default="network"
        Whether a row is a measure of the networks, or a class with its recall; for classes `y` is needed.
    task : {"classification", "regression"}, default=None
        What predictions are. None: what the estimators say; of modules what `y` says, floating numbers being values and
        everything else labels. Modules without `y` are not asked for predictions.
    batch_sizes : sequence of int, default=(1, 32)
        Numbers of samples of the forward passes that are timed; samples are repeated if `X` has fewer.
    repeats : int, default=30
        Number of timed passes of each network and batch size, in turns.
    confidence : float, default=0.95
        Of the intervals.
    random_state : int, default=0
        Seed of the bootstrap.

    Returns
    -------
    DataFrame
        ``level="network"``: a row a measure, by which it is indexed; ``unit`` (str) is its unit of measure, all other
        columns are float64. ``dense`` and ``compact`` are the values, ``change`` the second minus the first,
        ``reduction`` what went as a fraction, NaN for scores. ``*_low`` and ``*_high`` are quartiles for latencies,
        ends of a confidence interval for scores, and NaN for what is exact. ``level="class"``: a row a class of `y` or
        of the predictions, sorted, with the columns below.

    Raises
    ------
    ParameterTypeError
        If there is no network that can run in `dense` or `compact`, or a parameter has the wrong type.
    ParameterError
        If the value of a parameter is out of range, or classes are asked for where there are none.
    InputError
        If a network does not run on the samples, predicts NaN, or predictions and targets do not fit.

    See Also
    --------
    ComparisonDisplay : The table as a plot.
    style_table : The table for the eye.

    Notes
    -----
    Rows of ``level="network"``:

    ========================= ======================================================================================
    measure                   meaning
    ========================= ======================================================================================
    ``params``                number of parameters; a shared one counts once
    ``macs``                  multiply-adds of convolutions and matrix products for one sample
    ``file_bytes``            bytes of all parameters and buffers as a safetensors file, without a pruning plan
    ``peak_activation_bytes`` bytes of the tensors that are alive at the same time at the worst moment of an inference
                              on one sample, inputs and outputs included, weights excluded. Computed from a trace: a
                              tensor lives from its making to its last use; what kernels take for themselves and what
                              the allocator rounds up are not in it
    ``latency_ms_batch_<n>``  median time of a forward pass on n samples, as eager code in eval mode without gradients,
                              on the networks' device and with torch's present number of threads; the networks take
                              turns, quartiles are the spread
    ``accuracy``              fraction of samples whose label is right, with Wilson's interval; the interval of the
                              change is that of Newcombe for paired samples
    ``r2``                    R², averaged over outputs, with percentiles of 2,000 bootstrap resamples, which are the
                              same for both networks
    ``agreement``             fraction of samples with the same label from both, with Wilson's interval; for regression
                              R² of the compacted network's predictions as estimates of the dense one's
    ========================= ======================================================================================

    The intervals tell what other samples of the same kind would give, not what another training would.

    Columns of ``level="class"``: ``num_samples`` of the class, ``dense_predicted`` and ``compact_predicted``, how often
    the class was predicted (all int64), ``dense_recall`` and ``compact_recall``, their ``change`` with its interval
    ``change_low`` and ``change_high``, and ``agreement``, the fraction of the class's samples with the same label from
    both (all float64; NaN for a class without samples).

    Not handled: labels of single pixels or tokens, and more than one label for a sample.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from prunekit import compare
    >>> dense, compact = (nn.Sequential(nn.Linear(8, n), nn.ReLU(), nn.Linear(n, 2)) for n in (40, 10))
    >>> table = compare(dense, compact, torch.randn(50, 8), task="classification")
    >>> table.loc[["params", "macs"], ["dense", "compact", "reduction"]]
             dense  compact  reduction
    measure
    params   442.0    112.0   0.746606
    macs     400.0    100.0   0.750000
    """
    check_choice("level", level, _OWNER, ("network", "class"))
    if task is not None:
        check_choice("task", task, _OWNER, TASKS)
    check_interval("confidence", confidence, _OWNER, 0, 1, "neither")
    seed = check_integer("random_state", random_state, _OWNER, 0)
    given: Any = batch_sizes
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ParameterTypeError(
            f"The 'batch_sizes' parameter of {_OWNER} must be a list of integers. Got {batch_sizes!r} instead."
        )
    sizes = [check_integer("batch_sizes", size, _OWNER, 1) for size in batch_sizes]
    check_integer("repeats", repeats, _OWNER, 1)
    if X is None:
        raise ParameterTypeError(f"The 'X' parameter of {_OWNER} must hold samples. Got None instead.")
    pair = Contender.of(dense, "dense", _OWNER), Contender.of(compact, "compact", _OWNER)
    modules = [one.module for one in pair]
    # Data loaders and networks may draw random numbers, and networks may count.
    with preserve_rng(device_of(modules[0])), same_buffers(modules[0]), same_buffers(modules[1]):
        return _compared(pair, X, y, level, task, sizes, repeats, confidence, seed)


def _compared(
    pair: tuple[Contender, Contender],
    X: Any,
    y: Any,
    level: str,
    task: Task | None,
    sizes: list[int],
    repeats: int,
    confidence: float,
    seed: int,
) -> pd.DataFrame:
    examples = Inputs.of(as_tensors(X, pair[0].module, _NUM_EXAMPLES))  # which tells whether there are any
    found = predictions(*pair, X, y, task, _OWNER)
    if level == "class":
        if found is None or found[0] != "classification" or found[3] is None:
            raise ParameterError(
                "The 'level' parameter of compare can be 'class' for classifiers with 'y' only. "
                f"Got {'no task' if found is None else found[0]} {'without' if y is None else 'with'} y instead."
            )
        return class_table(found[1], found[2], found[3], confidence)
    rows = {**costs_rows(pair, examples), **latency_rows(pair, examples, sizes, repeats)}
    if found is not None:
        score = label_rows if found[0] == "classification" else value_rows
        rows |= score(found[1], found[2], found[3], confidence, seed)
    table = pd.DataFrame.from_dict(rows, orient="index", columns=list(COLUMNS)).rename_axis("measure")
    return table.astype({name: "str" if name == "unit" else "float64" for name in COLUMNS})
