"""What an experiment found, as plain data; printing and writing it is done elsewhere."""

from dataclasses import dataclass

import numpy as np
import torch
from skorch import NeuralNetClassifier

from prunekit.cost import measure_latency_ms
from prunekit.pipeline._data import Split


@dataclass(frozen=True)
class Measurement:
    """
    What was measured on one network.

    Parameters
    ----------
    num_correct : int
        Test samples that are classified rightly.
    test_accuracy : float
        The same as a fraction of all test samples.
    params, macs, filters : int
        Size and work of the network; `macs` for one sample.
    file_bytes : int
        Size of the saved network on disk.
    latency_ms : dict of int to float
        Median time of a forward pass by batch size.
    """

    num_correct: int
    test_accuracy: float
    params: int
    macs: int
    filters: int
    file_bytes: int
    latency_ms: dict[int, float]


@dataclass(frozen=True)
class Comparison:
    """
    The dense and the pruned network side by side, measured on the same data at the same time.

    Parameters
    ----------
    dense, pruned : Measurement
        Before and after.
    num_test : int
        Number of test samples.
    num_threads : int
        Threads that torch computed with.
    """

    dense: Measurement
    pruned: Measurement
    num_test: int
    num_threads: int


def count_correct(net: NeuralNetClassifier, split: Split) -> int:
    """
    Count the test samples that a net classifies rightly.

    Parameters
    ----------
    net : NeuralNetClassifier
        A trained net.
    split : Split
        The data.

    Returns
    -------
    int
        Their number.
    """
    return int(np.sum(net.predict(split.X_test) == split.y_test))


def measure_latencies(
    nets: dict[str, NeuralNetClassifier], split: Split, batch_sizes: list[int]
) -> dict[str, dict[int, float]]:
    """
    Measure forward passes of several nets in turns.

    Parameters
    ----------
    nets : dict of str to NeuralNetClassifier
        Trained nets by name.
    split : Split
        The data; batches are taken from the test part, repeated if it is too small.
    batch_sizes : list of int
        Sizes of the batches.

    Returns
    -------
    dict of str to dict of int to float
        For each net the median milliseconds by batch size.
    """
    modules = {name: net.module_ for name, net in nets.items()}
    device = next(iter(nets.values())).device
    medians_ms: dict[str, dict[int, float]] = {name: {} for name in nets}
    for size in batch_sizes:
        batch = torch.as_tensor(np.resize(split.X_test, (size, *split.input_shape)), device=device)
        for name, median_ms in measure_latency_ms(modules, (batch,))["median_ms"].items():
            medians_ms[str(name)][size] = float(median_ms)
    return medians_ms
