"""The public function."""

from pathlib import Path
from typing import Any

from prunekit.reporting._page import write_report
from prunekit.reporting._sources import collect_content


def report(network: Any, path: str | Path = "report.html", X: Any = None, *, title: str | None = None) -> Path:
    """
    Write an HTML report on a network to one file that needs nothing else.

    Parameters
    ----------
    network : Module, initialized skorch net, PrunableNetwork or TaylorPruner
        What to report on; it is not changed. Of a fitted `TaylorPruner` the report says what pruning did, of a network
        that was not pruned what could be. A fitted `TaylorPrunerCV` stands for its best pruner.
    path : str or Path, default="report.html"
        File to write; an old one is replaced once the new one is whole. Missing folders are made.
    X : array, Tensor, DataFrame, Dataset, list, tuple or Mapping, default=None
        Example inputs, as `prunekit.analyze` takes them: a batch, positional arguments or keyword arguments, which are
        cast and moved as the network needs them. Values do not matter, shapes do. A `PrunableNetwork` has its own, and
        a fitted pruner knows its graph from the data that it was fitted on.
    title : str, default=None
        Heading; the name of the network's class if it is not given.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ParameterTypeError
        If `network` is none of these, or if example inputs are missing or of another type.
    FileAccessError
        If the file cannot be written.
    InputError
        If the network does not run on the example inputs.

    See Also
    --------
    prunekit.analyze : The layer table alone, as a data frame.

    Notes
    -----
    The page holds the summary, the graph of the network, the layer table, plots, the history, the plan and the versions
    of all packages. It makes no request, forbids itself any by its content security policy, and shows names and reasons
    as text, whatever they hold. The layers are laid out by dagre, a copy of which is part of the file.

    Edges are those of one run in eval mode. Operations between layers, such as a flatten, are part of an edge unless
    they bring data of several layers together.

    Examples
    --------
    >>> import tempfile, torch
    >>> from torch import nn
    >>> from prunekit import report
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = report(net, f"{folder}/net.html", torch.randn(1, 3, 8, 8))
    ...     file.name, file.stat().st_size < 200_000
    ('net.html', True)
    """
    return write_report(collect_content(network, X, title), path)
