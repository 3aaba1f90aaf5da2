"""What an experiment found, as plain data; printing and writing it is done elsewhere."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import mean_squared_error, r2_score
from skorch import NeuralNet

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
    params, macs, filters : int or None
        Size and work of the network; `macs` for one sample. None of an estimator that is no network.
    file_bytes : int or None
        Size of the saved network on disk.
    latency_ms : dict of int to float or None
        Median time of a forward pass by batch size.
    r2, mse : float or None, default=None
        Coefficient of determination and mean squared error on the test samples, in the units of the data; None in a
        classification.
    """

    num_correct: int | None
    test_accuracy: float | None
    params: int | None = None
    macs: int | None = None
    filters: int | None = None
    file_bytes: int | None = None
    latency_ms: dict[int, float] | None = None
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
    What an experiment made, measured on the same data at the same time.

    Parameters
    ----------
    measured : dict of str to Measurement
        ``dense`` and ``pruned`` side by side; ``net`` alone, or ``estimator``, where nothing is pruned.
    num_test : int
        Number of test samples.
    num_threads : int
        Threads that torch computed with.
    """

    measured: dict[str, Measurement]
    num_test: int
    num_threads: int

    @property
    def dense(self) -> Measurement:
        """
        The net before pruning.

        Returns
        -------
        Measurement
            What was measured.
        """
        return self.measured["dense"]

    @property
    def pruned(self) -> Measurement:
        """
        The net after pruning.

        Returns
        -------
        Measurement
            What was measured.
        """
        return self.measured["pruned"]

    def written(self) -> dict[str, Any]:
        """
        Return what is written of it.

        Returns
        -------
        dict
            Plain values.
        """
        return {
            **{name: measurement.written() for name, measurement in self.measured.items()},
            "num_test": self.num_test,
            "num_threads": self.num_threads,
        }


def scores_of(predictor: Any, X: Any, split: Split) -> dict[str, Any]:
    """
    Score a net or another estimator on the test samples.

    Parameters
    ----------
    predictor : NeuralNet or estimator
        Fitted.
    X : ndarray
        The test samples as it takes them.
    split : Split
        The data, for their targets.

    Returns
    -------
    dict
        Arguments of `Measurement`.
    """
    predicted = predictor.predict(X)
    if split.task == "classification":
        num_correct = int(np.sum(predicted == split.y_test))
        return {"num_correct": num_correct, "test_accuracy": num_correct / len(split.y_test)}
    values = np.asarray(predicted, dtype=np.float64).reshape(split.y_test.shape)
    scores = {
        "r2": float(r2_score(split.y_test, values)),
        "mse": float(mean_squared_error(split.y_test, values)) * split.target_std**2,
    }
    return {"num_correct": None, "test_accuracy": None, **scores}


def measure_latencies(
    nets: Mapping[str, NeuralNet], X: NDArray[Any], batch_sizes: list[int]
) -> dict[str, dict[int, float]]:
    """
    Measure forward passes of several nets in turns.

    Parameters
    ----------
    nets : mapping of str to NeuralNet
        Trained nets by name.
    X : ndarray
        Samples; they are repeated for batches that are larger.
    batch_sizes : list of int
        Sizes of the batches.

    Returns
    -------
    dict of str to dict of int to float
        For each net the median milliseconds by batch size.
    """
    modules = {name: net.module_ for name, net in nets.items()}
    parameter = next(next(iter(modules.values())).parameters())
    medians_ms: dict[str, dict[int, float]] = {name: {} for name in nets}
    for size in batch_sizes:
        repeated = np.resize(X, (size, *X.shape[1:]))
        batch = torch.as_tensor(repeated, device=parameter.device, dtype=parameter.dtype)
        for name, median_ms in measure_latency_ms(modules, (batch,))["median_ms"].items():
            medians_ms[str(name)][size] = float(median_ms)
    return medians_ms
