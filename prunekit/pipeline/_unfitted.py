"""The estimator of an experiment before it is fitted, with what its data are like."""

from typing import Any

import torch
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNet

from prunekit.exceptions import ParameterError
from prunekit.pipeline._building import estimator_for, estimator_of
from prunekit.pipeline._data import Split, load_split
from prunekit.pipeline._fitted import pruners_of
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


def innermost(estimator: Any) -> Any:
    """
    Return what decides on the network of an estimator.

    Parameters
    ----------
    estimator : estimator
        What `unfitted` returned.

    Returns
    -------
    TaylorPruner or NeuralNet
        The pruner within it, else the net.

    Raises
    ------
    ParameterError
        If there is no network.
    """
    parts = [estimator, *estimator.get_params(deep=True).values()]
    found = next(pruners_of(estimator), None) or next((one for one in parts if isinstance(one, NeuralNet)), None)
    if found is None:
        raise ParameterError(
            f"The experiment must have a net. Got {type(estimator).__name__} of estimators without one instead."
        )
    return found


def dense_net(experiment: Experiment, split: Split) -> tuple[NeuralNet, torch.Tensor]:
    """
    Return the dense net of an experiment before any training; the random state stays as it is.

    Parameters
    ----------
    experiment : Experiment
        The experiment.
    split : Split
        Its data.

    Returns
    -------
    net : NeuralNet
        The net, initialised, on the CPU.
    example : Tensor of shape (2, ``*input_shape``)
        Zeros in the shape of its samples.
    """
    inner = innermost(estimator_for(experiment, split, exporters=False))
    net = getattr(inner, "estimator", inner)
    net = net.estimator if isinstance(net, FrozenEstimator) else net
    with torch.random.fork_rng():
        net.set_params(device="cpu").initialize()
    shape = net.get_params(deep=False).get("module__input_shape", split.input_shape)
    return net, torch.zeros(2, *shape, dtype=next(net.module_.parameters()).dtype)
