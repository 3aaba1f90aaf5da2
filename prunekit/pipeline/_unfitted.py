"""The estimator of an experiment before it is fitted, with what its data are like."""

from typing import Any

import torch
from skorch import NeuralNet
from torch import nn

from prunekit.pipeline._data import Split, load_split
from prunekit.pipeline.estimators import estimator_of
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
    return load_split(experiment.data, experiment.seed, experiment.net.task)


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
        A pruner, or a search over it.
    """
    if split is None:
        return estimator_of(experiment, None, None)
    return estimator_of(experiment, split.input_shape, split.num_classes)


def innermost(estimator: Any) -> Any:
    """
    Return the pruner that a search is over, or another estimator as it is.

    Parameters
    ----------
    estimator : estimator
        What `unfitted` returned.

    Returns
    -------
    estimator
        The pruner or net.
    """
    inner = getattr(estimator, "estimator", None)
    return estimator if inner is None or isinstance(inner, NeuralNet) else innermost(inner)


def dense_module(experiment: Experiment, split: Split) -> nn.Module:
    """
    Return the dense network of an experiment, with random weights; the random state stays as it is.

    Parameters
    ----------
    experiment : Experiment
        The experiment.
    split : Split
        Its data.

    Returns
    -------
    Module
        The network.
    """
    pruner = innermost(unfitted(experiment, split))
    with torch.random.fork_rng():
        module: nn.Module = getattr(pruner, "estimator", pruner).initialize().module_
    return module
