"""
What Torch-Pruning makes of a network of the zoo.

Torch-Pruning has no masks. What its smaller network has to compute is taken from the groups that it prunes: in a copy
of the dense network the weights that read the removed channels are zero, and a normalisation over channels, which it
prunes as well, runs over the channels that are left.
"""

import copy
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch_pruning as tp  # type: ignore[import-untyped]
from torch import Tensor, nn

from benchmarks.zoo_common import TOLERANCE, Row, calibrated, difference, informative
from benchmarks.zoo_models import Entry
from prunekit.tracing import Inputs, tensors_of

RATIO = 0.3
"""Fraction of the channels of every layer to remove."""

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_LAYERS = (nn.Linear, *_CONVOLUTIONS, *_TRANSPOSED)


def measure(entry: Entry, report: Callable[[Row], None]) -> Row:
    """Return the row of a network; `report` gets it as soon as the groups are known."""
    row = Row(entry.list, entry.name, "torch-pruning")
    module, inputs = entry.build()
    calibrated(module, inputs)
    example = dict(inputs) if isinstance(inputs, dict) else inputs
    warm = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    list(tp.DependencyGraph().build_dependency(warm, torch.randn(2, 3, 4, 4)).get_all_groups())
    try:
        kept_whole = output_layers(module, inputs)
        start = time.perf_counter()
        graph = tp.DependencyGraph().build_dependency(module, example_inputs=example)
        groups = list(graph.get_all_groups(ignored_layers=kept_whole))
        row.seconds = time.perf_counter() - start
        row.n_units = sum(len(group[0].idxs) for group in groups)
        report(row)
        _prune(row, module, inputs, kept_whole)
    except Exception as error:
        row.verdict, row.message = "crash", f"{type(error).__name__}: {error}"
    return row


def output_layers(module: nn.Module, inputs: Any) -> list[nn.Module]:
    """Return the layers whose channels reach an output with no other layer between."""
    owner = {part.weight: part for part in module.modules() if isinstance(part, _LAYERS)}
    found: list[nn.Module] = []
    given = Inputs.of(inputs)
    open_nodes = [out.grad_fn for out in tensors_of(module(*given.args, **given.kwargs)) if out.grad_fn is not None]
    seen = set(open_nodes)
    while open_nodes:
        node = open_nodes.pop()
        layers = [owner[weight] for weight in _weights(node) if weight in owner]
        found += layers
        parents = [parent for parent, _ in node.next_functions if parent is not None and parent not in seen]
        if not layers:
            open_nodes += parents
            seen.update(parents)
    return list(dict.fromkeys(found))


def _weights(node: Any) -> Iterator[Tensor]:
    """Yield the parameters that an operation of autograd's graph reads, transposed ones as well."""
    for parent, _ in node.next_functions:
        if parent is not None and parent.name().startswith(("TBackward", "TransposeBackward")):
            parent = parent.next_functions[0][0]
        if hasattr(parent, "variable"):
            yield parent.variable


def _prune(row: Row, module: nn.Module, inputs: Any, kept_whole: list[nn.Module]) -> None:
    masked = _Masked(module)
    before = run_shapes(module, inputs)
    params = sum(parameter.numel() for parameter in module.parameters())
    macs = _macs(module, inputs)
    pruner = tp.pruner.BasePruner(
        module,
        dict(inputs) if isinstance(inputs, dict) else inputs,
        importance=tp.importance.RandomImportance(),
        pruning_ratio=RATIO,
        ignored_layers=kept_whole,
    )
    n_groups = 0
    for group in pruner.step(interactive=True):
        masked.follow(pruner.DG, group)
        group.prune()
        n_groups += 1
    row.params_reduction = 1 - sum(parameter.numel() for parameter in module.parameters()) / params
    if not n_groups:
        row.verdict, row.message = "refused", "no group to prune"
        return
    if run_shapes(module, inputs) != before:
        row.verdict = "shape"
        return
    if macs:
        row.macs_reduction = 1 - _macs(module, inputs) / macs
    expected = masked.finished(module)
    row.difference = difference(expected, module, inputs)
    row.verdict = "shape" if row.difference is None else "right" if row.difference <= TOLERANCE else "wrong"
    if not informative(module, inputs):
        row.message = "the outputs are constant or not finite"


def run_shapes(module: nn.Module, inputs: Any) -> list[torch.Size]:
    """Return the shapes of what a module returns."""
    given = Inputs.of(inputs)
    with torch.no_grad():
        return [tensor.shape for tensor in tensors_of(module(*given.args, **given.kwargs))]


def _macs(module: nn.Module, inputs: Any) -> float:
    given = Inputs.of(inputs)
    totals = [0]
    hooks = [
        part.register_forward_hook(lambda layer, _, out: totals.append(out.numel() * layer.weight[0].numel()))
        for part in module.modules()
        if isinstance(part, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d)
    ]
    with torch.no_grad():
        module(*given.args, **given.kwargs)
    for hook in hooks:
        hook.remove()
    return float(sum(totals))


class _Masked:
    """The dense network with zeros for all that was pruned."""

    def __init__(self, module: nn.Module) -> None:
        self.dense = copy.deepcopy(module)
        self._kept: dict[str, list[int]] = {}
        self._norms: set[str] = set()

    def follow(self, graph: tp.DependencyGraph, group: Any) -> None:
        """Take a group that is about to be pruned."""
        for dependency, indices in group:
            target: Any = dependency.target.module
            indices = [int(index) for index in indices]
            if isinstance(target, nn.Parameter):
                self._follow_parameter(graph._param_to_name[target], target, dependency, indices)
                continue
            name = graph._module2name.get(target)
            if isinstance(target, _LAYERS) and graph.is_in_channel_pruning_fn(dependency.handler):
                if getattr(target, "groups", 1) == 1 or target.groups != target.out_channels:
                    self._zero(name, indices)
            elif isinstance(target, nn.LayerNorm | nn.GroupNorm):
                self._forget(name, self._size(name), indices)
                self._norms.add(name)

    def finished(self, pruned: nn.Module) -> nn.Module:
        """Return the network that the pruned one has to agree with."""
        for name in self._norms:
            parent, _, child = name.rpartition(".")
            norm = _OverKept(pruned.get_submodule(name), self._kept[name], self._size(name))
            setattr(self.dense.get_submodule(parent), child, norm)
        return self.dense

    def _follow_parameter(self, name: str, target: Tensor, dependency: Any, indices: list[int]) -> None:
        """Note the weight of a normalisation that Torch-Pruning does not know as a layer."""
        owner = name.rpartition(".")[0]
        if "norm" in type(self.dense.get_submodule(owner)).__name__.lower() and name.endswith(".weight"):
            self._forget(owner, self.dense.get_parameter(name).shape[-1], indices)
            self._norms.add(owner)

    def _size(self, name: str) -> int:
        norm: Any = self.dense.get_submodule(name)
        if isinstance(norm, nn.LayerNorm):
            return int(norm.normalized_shape[-1])
        return int(norm.num_channels) if isinstance(norm, nn.GroupNorm) else int(norm.weight.shape[-1])

    def _forget(self, name: str, size: int, indices: list[int]) -> list[int]:
        """Return the original numbers of indices that go, and drop them."""
        kept = self._kept.setdefault(name, list(range(size)))
        gone = [kept[index] for index in indices]
        self._kept[name] = [index for index in kept if index not in set(gone)]
        return gone

    @torch.no_grad()
    def _zero(self, name: str, indices: list[int]) -> None:
        layer: Any = self.dense.get_submodule(name)
        size = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
        gone = self._forget(name, size, indices)
        if isinstance(layer, nn.Linear):
            layer.weight[:, gone] = 0
        elif isinstance(layer, _TRANSPOSED):
            layer.weight[gone] = 0
        else:
            width, height = size // layer.groups, layer.out_channels // layer.groups
            for index in gone:
                first = index // width * height
                layer.weight[first : first + height, index % width] = 0


class _OverKept(nn.Module):
    """A pruned normalisation on the channels that are left of all, zero elsewhere."""

    kept: Tensor

    def __init__(self, norm: nn.Module, kept: list[int], size: int) -> None:
        super().__init__()
        self.norm, self.size = norm, size
        self.register_buffer("kept", torch.tensor(kept))

    def forward(self, x: Tensor) -> Tensor:
        channels_first = isinstance(self.norm, nn.GroupNorm) or x.shape[-1] != self.size
        dim = 1 if channels_first else x.dim() - 1
        return torch.zeros_like(x).index_copy(dim, self.kept, self.norm(x.index_select(dim, self.kept)))
