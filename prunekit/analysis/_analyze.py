"""The layer table of any network, before any pruning."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from prunekit.cost import CostModel, layer_table
from prunekit.exceptions import ParameterTypeError
from prunekit.network import PrunableNetwork
from prunekit.surgery import check_module, prove_units
from prunekit.tracing import Inputs


def analyze(network: Any, X: Any = None) -> pd.DataFrame:
    """
    Return the layer table of a network: what could be pruned, what blocks the rest and why.

    Parameters
    ----------
    network : Module, initialized skorch net, PrunableNetwork or fitted TaylorPruner
        What to look at; it is not changed.
    X : array, Tensor, tuple or Mapping, default=None
        Example inputs: a batch as array or tensor, positional or keyword arguments. Not needed for what was pruned.

    Returns
    -------
    DataFrame
        One row a layer with the columns of `PrunableNetwork.analyze`. A network with nothing to prune has a table too.

    Raises
    ------
    ParameterTypeError
        If it is none of these, or if example inputs are missing.
    InputError
        If the network does not run on the example inputs.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from prunekit import analyze
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.GroupNorm(1, 8), nn.Conv2d(8, 4, 1))
    >>> table = analyze(net, torch.randn(1, 3, 8, 8)).set_index("name")
    >>> table["num_prunable"].to_list()
    [0, 0, 0]
    >>> print(table["blocked_by"]["0"])
    group norm with one group normalises over all channels together (norms="subset" lets them be pruned) in '1'
    >>> print(table["blocked_by"]["2"])
    network output
    """
    if isinstance(network, PrunableNetwork) or (X is None and hasattr(network, "analyze")):
        table: pd.DataFrame = network.analyze()
        return table
    module = check_module(_module_of(network))
    if X is None:
        raise ParameterTypeError("The 'X' parameter of analyze must hold example inputs. Got None instead.")
    inputs = Inputs.of(_as_tensors(X, module))
    graph, _ = prove_units(module, inputs)
    return layer_table(module, CostModel(module, graph), np.zeros(graph.n_units, dtype=bool))


def _module_of(network: Any) -> Any:
    """Return the module of a skorch net, anything else as it is."""
    if isinstance(network, nn.Module) or not hasattr(network, "get_params_for"):
        return network
    if not hasattr(network, "module_"):
        raise ParameterTypeError(
            "The 'network' parameter of analyze must be an initialized net. "
            f"Got {type(network).__name__} without a module instead: call initialize() or fit() first."
        )
    return network.module_


def _as_tensors(X: Any, module: nn.Module) -> Any:
    """Return example inputs with arrays as tensors of the network's own data type and device."""
    if isinstance(X, dict):
        return {key: _as_tensors(value, module) for key, value in X.items()}
    if isinstance(X, tuple | list):
        return tuple(_as_tensors(value, module) for value in X)
    if not isinstance(X, np.ndarray):
        return X
    parameter = next(module.parameters(), torch.empty(0))
    tensor = torch.from_numpy(np.array(X[:2]))
    if tensor.is_floating_point() and parameter.is_floating_point():
        tensor = tensor.to(parameter.dtype)
    return tensor.to(parameter.device)
