"""`analyze`: a network as a table, before pruning, during it and after."""

from collections.abc import Callable
from typing import Any, Literal

import pandas as pd
from torch import nn

from prunekit._validation import check_choice
from prunekit.analysis._levels import layers_of, modules_of, units_of
from prunekit.analysis._subjects import Fitted, Traced, look_at

Level = Literal["layer", "unit", "module"]

_TABLES: dict[str, Callable[[Traced | Fitted], pd.DataFrame]] = {
    "layer": layers_of,
    "unit": units_of,
    "module": modules_of,
}


def analyze(network: Any, X: Any = None, *, level: Level = "layer", module: nn.Module | None = None) -> pd.DataFrame:
    """
    Return a network as a table: what it costs, what pruning removed, what can be removed, what blocks the rest and why.

    Parameters
    ----------
    network : Module, skorch net, PrunableNetwork, TaylorPruner, TaylorPrunerCV, str or Path
        What to look at; it is not changed. A net that is not initialized is looked at as a copy with random weights. A
        pruner that is not fitted shows its dense network with its own ``include``, ``exclude`` and ``norms``. A path is
        that of a file which `prunekit.save` wrote.
    X : array, Tensor, DataFrame, Dataset, list, tuple or Mapping, default=None
        Example inputs: a batch, positional arguments or keyword arguments, which are cast and moved as the network
        needs them. Of arrays and data sets the first two samples are taken. A `PrunableNetwork` needs none, nor does a
        fitted pruner except for ``level="unit"``.
    level : {"layer", "unit", "module"}, default="layer"
        What a row is.
    module : Module, default=None
        For a file: a dense network of the class that was pruned, as for `prunekit.load`, with any weights.

    Returns
    -------
    DataFrame
        Plain, with the columns below, always of the same data types and in the same order. ``attrs["totals"]`` holds
        ``before``, ``after`` and ``reduction`` of ``params``, ``macs``, ``filters`` and ``memory_bytes`` of the whole
        network, ``attrs["units"]`` the unit of measure of every column that is a quantity, ``attrs["level"]`` the
        level.

    Raises
    ------
    ParameterTypeError
        If there is no network in it, or if example inputs or the module of a file are missing.
    ParameterError
        If `level` is another word, `module` is given without a file, or a net cannot be initialized.
    InputError
        If the network does not run on the example inputs.
    PlanError
        If a file was not written by `prunekit.save`, or does not fit `module`.

    See Also
    --------
    analyze_compression : What could be removed at most, and what to change in the model's code for more.
    style_table : The same table for the eye.
    compare : Two networks measured side by side.

    Notes
    -----
    Sizes and counts are those of the network without what is removed; reductions are fractions of the dense network, 0
    where there was nothing. A network with nothing to prune has a table too.

    ``level="layer"``, in the order of execution, layers that did not run last:

    ======================== ========= =================================================================================
    column                   dtype     meaning
    ======================== ========= =================================================================================
    ``name``, ``type``       str       dotted path, and class; the class for both where the network itself is a layer
    ``activation_size``      object    shape of the output for one sample, a tuple; None for a layer that did not run
    ``activation_format``    str       letters of its dimensions: N batch, C channels, T or L time, D, H, W space
    ``learnable_sizes``      object    shapes of the layer's own parameters, a dict
    ``num_learnables``       int64     number of these parameters
    ``state_sizes``          object    shapes of its buffers, a dict
    ``learnables_reduction`` float64   removed fraction of its parameters
    ``num_pruned_filters``   int64     filters that were removed
    ``num_filters``          int64     filters that are left
    ``num_prunable``         int64     of these, the ones that may be removed
    ``macs``                 int64     multiply-adds for one sample
    ``macs_reduction``       float64   removed fraction of them
    ``memory_bytes``         int64     bytes of its parameters, buffers and output for one sample
    ``blocked_by``           str       why the other filters stay; empty if none does
    ======================== ========= =================================================================================

    ``level="module"``, in the order of registration, from the network itself downwards: ``name``, ``type``, ``depth``
    (int64), ``num_layers`` (int64), and of the columns above those that are sums over the layers in the module, with
    the reductions of these sums. A sum of ``memory_bytes`` is no peak: not all outputs are alive at the same time.

    ``level="unit"``, in the order of ``PrunableNetwork.units``, only those that may be removed or were:

    ======================== ========= =================================================================================
    column                   dtype     meaning
    ======================== ========= =================================================================================
    ``unit``                 int64     index in arrays over units
    ``layer``                str       first layer that has filters of it
    ``filters``              object    tuple of pairs (layer, index of the filter in the dense layer)
    ``num_filters``          int64     number of these
    ``params_saved``         int64     parameters of the dense network that go with this unit alone
    ``macs_saved``           int64     multiply-adds that do
    ``importance``           float64   as the criterion estimated it last, NaN where nothing did
    ``removed``              bool      whether it is gone
    ======================== ========= =================================================================================

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
    >>> table.attrs["totals"]["params"]["before"]
    276
    """
    make = _TABLES[check_choice("level", level, "analyze", _TABLES)]
    return make(look_at(network, X, module, "analyze"))
