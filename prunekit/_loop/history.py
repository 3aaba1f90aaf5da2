"""The rows of the history."""

import math
import sys
from dataclasses import dataclass

import torch


@dataclass(frozen=True, slots=True)
class Iteration:
    """A row of the history; the fields are described in `TaylorPruner`."""

    iteration: int
    phase: str
    target: float
    reduction: float
    reduction_params: float
    reduction_macs: float
    reduction_filters: float
    reduction_memory: float
    reduction_latency: float
    num_prunables: int
    num_pruned: int
    train_loss: float
    score_before: float
    score: float
    held: bool
    seconds_scoring: float
    seconds_training: float
    seconds_validation: float
    peak_memory_bytes: float


def peak_memory_bytes(device: torch.device) -> float:
    """
    Return the most memory that was taken so far.

    Parameters
    ----------
    device : torch.device
        Where the network is.

    Returns
    -------
    float
        Bytes that PyTorch has allocated on a CUDA device, else the largest resident set of the process; NaN where the
        system does not tell.
    """
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:  # Windows
        return math.nan
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak if sys.platform == "darwin" else 1024 * peak)
