"""The estimator of an experiment before it is fitted, with what its data are like."""

from typing import Any

import torch
from skorch import NeuralNet
from torch import nn

from prunekit.exceptions import ParameterError
from prunekit.pipeline._building import estimator_for, estimator_of
from prunekit.pipeline._data import Split, load_split
from prunekit.pipeline._fitted import net_of, unfrozen
from prunekit.pipeline.schema import Experiment


def data_of(experiment: Experiment) -> Split:
    """
    Load the data of an experiment, divided as a run divides them.

    Parameters
    ----------
    experiment : Experiment
        The experiment.

    Returns
    -------
    Split
        The data.
    """
    return load_split(experiment.data, experiment.seed, experiment.task)


def unfitted(experiment: Experiment, split: Split | None) -> Any:
    """
    Return the estimator that an experiment describes.

    Parameters
    ----------
    experiment : Experiment
        The experiment.
    split : Split or None
        Its data. None: an estimator that does not know the shape of a sample, and cannot be fitted.

    Returns
    -------
    estimator
        A pruner, a pipeline, or a search over it.
    """
    if split is not None:
        return estimator_for(experiment, split)
    if experiment.net is not None and experiment.net.frozen:  # weights go into networks of a known shape only
        net = {**experiment.resolved()["net"], "frozen": False, "pretrained": None}
        experiment = experiment.changed(net=net)
    return estimator_of(experiment, None, None)


def example_of(estimator: Any, split: Split) -> torch.Tensor:
    """
    Return inputs of the network of an estimator; values do not matter.

    Parameters
    ----------
    estimator : estimator
        What `unfitted` returned.
    split : Split
        The data.

    Returns
    -------
    Tensor of shape (2, ``*input_shape``)
        Zeros in the shape and type of the samples that the network sees.

    Raises
    ------
    ParameterError
        If there is no network.
    """
    shape = _net_of(estimator).get_params(deep=False).get("module__input_shape", split.input_shape)
    return torch.zeros(2, *shape, dtype=torch.as_tensor(split.X_train[:1]).dtype)


def dense_module(estimator: Any) -> nn.Module:
    """
    Return the dense network of an estimator before any training; the random state stays as it is.

    Parameters
    ----------
    estimator : estimator
        What `unfitted` returned; its net is initialised, on the CPU.

    Returns
    -------
    Module
        The network.

    Raises
    ------
    ParameterError
        If there is none.
    """
    with torch.random.fork_rng():
        module: nn.Module = _net_of(estimator).set_params(device="cpu").initialize().module_
    return module


def _net_of(estimator: Any) -> NeuralNet:
    net: NeuralNet | None = unfrozen(net_of(estimator))
    if net is None:
        raise ParameterError(
            f"The experiment must have a net. Got {type(estimator).__name__} of estimators without one instead."
        )
    return net
