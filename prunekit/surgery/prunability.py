"""Whether a network can be pruned at all: its proven units, and what blocks the rest."""

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import torch
from torch import nn

from prunekit.exceptions import ParameterError, ParameterTypeError
from prunekit.surgery.attributes import Repair
from prunekit.surgery.formulas import written_out_norms
from prunekit.surgery.norms import Norms, frozen_norms
from prunekit.surgery.probe import prove
from prunekit.tracing import Inputs, Reason, UnitGraph, trace

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Patterns = str | Iterable[str] | None


def prove_units(
    module: nn.Module,
    inputs: Inputs,
    include: Patterns = None,
    exclude: Patterns = None,
    norms: Norms = "freeze",
) -> tuple[UnitGraph, tuple[Repair, ...]]:
    """
    Return the units of a network that may be removed and stood the probe.

    Parameters
    ----------
    module : Module
        The network; it is not touched.
    inputs : Inputs
        Example inputs.
    include, exclude : str or iterable of str, default=None
        Patterns of layer names.
    norms : {"freeze", "subset"}, default="freeze"
        Whether channels that a layer normalises over together stay, or may be removed.

    Returns
    -------
    tuple of UnitGraph and tuple of Repair
        Units, and the attributes to set when they are removed.
    """
    with _without_collection(), torch.inference_mode(False):  # in which composite operations would not be told apart
        return _prove_units(module, inputs, include, exclude, norms)


def _prove_units(
    module: nn.Module, inputs: Inputs, include: Patterns, exclude: Patterns, norms: Norms
) -> tuple[UnitGraph, tuple[Repair, ...]]:
    graph = UnitGraph(trace(module, inputs, written_out_norms(module)))
    blocked: list[tuple[NDArray[np.int64], Reason]] = frozen_norms(module, graph, norms)
    for name, given in (("include", include), ("exclude", exclude)):
        patterns = _patterns(name, given)
        if patterns is None:
            continue
        _check_patterns(name, patterns, graph)
        reason = Reason("excluded by the user" if name == "exclude" else "not included by the user")
        matching = {layer for layer in graph.layers if any(fnmatchcase(layer, pattern) for pattern in patterns)}
        hit = set(graph.layers) - matching if name == "include" else matching
        blocked += [(graph.filters_of(layer), reason) for layer in graph.layers if layer in hit]
    return prove(module, graph.with_blocked(blocked) if blocked else graph)


@contextmanager
def _without_collection() -> Iterator[None]:
    """Pause Python's collector, which would search the many objects of a trace again and again: they all stay."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def check_module(module: object) -> nn.Module:
    """
    Return the module itself, unwrapped where it was compiled.

    Parameters
    ----------
    module : object
        What the user gave.

    Returns
    -------
    Module
        The network.

    Raises
    ------
    ParameterTypeError
        If it is no module, or holds a compiled TorchScript one.
    """
    module = getattr(module, "_orig_mod", module)
    if isinstance(module, type) or not isinstance(module, nn.Module):
        raise ParameterTypeError(
            "The 'module' parameter of PrunableNetwork must be a torch.nn.Module. "
            f"Got {module.__name__ if isinstance(module, type) else type(module).__name__}"
            f"{' itself, not an instance of it,' if isinstance(module, type) else ''} instead."
        )
    for path, part in module.named_modules():
        if isinstance(part, torch.jit.ScriptModule):
            raise ParameterTypeError(
                "The 'module' parameter of PrunableNetwork must be a torch.nn.Module in Python. Got a TorchScript "
                f"module instead{f' in {path!r}' if path else ''}: prune the original and script the result."
            )
    return module


def _patterns(name: str, value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    patterns = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Iterable) else (value,)
    if not all(isinstance(pattern, str) for pattern in patterns):
        raise ParameterTypeError(
            f"The '{name}' parameter must be a pattern of layer names, such as 'features.*', or a list of those. "
            f"Got {value!r} instead."
        )
    return patterns


def _check_patterns(name: str, patterns: tuple[str, ...], graph: UnitGraph) -> None:
    layers = graph.layers
    for pattern in patterns:
        if not any(fnmatchcase(layer, pattern) for layer in layers):
            near = get_close_matches(pattern, layers, n=3, cutoff=0.4) or layers[:3]
            raise ParameterError(
                f"The '{name}' parameter must hold patterns of layers that make channels. Got {pattern!r}, "
                f"which matches none; did you mean {', '.join(map(repr, near))}?"
            )


def what_blocks(module: nn.Module, graph: UnitGraph) -> str:
    """
    Return what keeps a network without a prunable unit from being pruned.

    Parameters
    ----------
    module : Module
        The network.
    graph : UnitGraph
        Its units, all frozen.

    Returns
    -------
    str
        A sentence and one line for every layer and reason.
    """
    lines = []
    for unit in graph.units:
        layer = ", ".join(dict.fromkeys(name.rpartition(".")[0] or name for name, _ in unit.filters))
        line = f"  {layer}: {unit.reason}"
        if line not in lines:
            lines.append(line)
    listed = "\n".join(lines) if lines else "  it has no layer that makes channels from its inputs"
    return f"{type(module).__name__} has no filter that can be removed. What blocks its layers:\n{listed}"
