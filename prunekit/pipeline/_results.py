"""What an experiment found, as plain data; printing and writing it is done elsewhere."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from sklearn.metrics import mean_squared_error, r2_score
from skorch import NeuralNet, NeuralNetClassifier

from prunekit.cost import measure_latency_ms
from prunekit.pipeline._data import Split


@dataclass(frozen=True)
class Measurement:
    """
    What was measured on one network.

    Parameters
    ----------
    num_correct : int or None
        Test samples that are classified rightly; None in a regression.
    test_accuracy : float or None
        The same as a fraction of all test samples.
    params, macs, filters : int
        Size and work of the network; `macs` for one sample.
    file_bytes : int
        Size of the saved network on disk.
    latency_ms : dict of int to float
        Median time of a forward pass by batch size.
    r2, mse : float or None, default=None
        Coefficient of determination and mean squared error on the test samples, in the units of the data; None in a
        classification.
    """

    num_correct: int | None
    test_accuracy: float | None
    params: int
    macs: int
    filters: int
    file_bytes: int
    latency_ms: dict[int, float]
    r2: float | None = None
    mse: float | None = None

    def written(self) -> dict[str, Any]:
        """
        Return what is written of it.

        Returns
        -------
        dict
            Without what is of the other task.
        """
        return {key: value for key, value in asdict(self).items() if value is not None}


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


def scores_of(net: NeuralNet, split: Split) -> dict[str, Any]:
    """
    Score a net on the test samples.

    Parameters
    ----------
    net : NeuralNet
        A trained net.
    split : Split
        The data.

    Returns
    -------
    dict
        Arguments of `Measurement`.
    """
    if split.task == "classification":
        num_correct = count_correct(net, split)
        return {"num_correct": num_correct, "test_accuracy": num_correct / len(split.y_test)}
    predicted = np.asarray(net.predict(split.X_test), dtype=np.float64).reshape(split.y_test.shape)
    scores = {
        "r2": float(r2_score(split.y_test, predicted)),
        "mse": float(mean_squared_error(split.y_test, predicted)) * split.target_std**2,
    }
    return {"num_correct": None, "test_accuracy": None, **scores}


def measure_latencies(nets: dict[str, NeuralNet], split: Split, batch_sizes: list[int]) -> dict[str, dict[int, float]]:
    """
    Measure forward passes of several nets in turns.

    Parameters
    ----------
    nets : dict of str to NeuralNet
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
