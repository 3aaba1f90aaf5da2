"""Several processes that train one network, each on its share of every mini-batch."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from prunekit.exceptions import TrainingError

_BUCKET = 1 << 24
"""Largest number of entries that travel at once."""


class Processes:
    """
    What processes of one group tell each other; a process alone only talks to itself.

    All of them must call the same methods in the same order.

    Parameters
    ----------
    group : ProcessGroup, default=None
        The group, of `torch.distributed`. None: this process alone.
    """

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        self._group = group
        self.count = 1 if group is None else dist.get_world_size(group)
        self.is_first = group is None or dist.get_rank(group) == 0

    def average(self, tensors: Sequence[Tensor | None], like: Sequence[Tensor]) -> list[Tensor | None]:
        """
        Return the mean of each tensor over the processes, to the last bit the same in all of them.

        Parameters
        ----------
        tensors : sequence of Tensor or None
            What this process has; None counts as zeros.
        like : sequence of Tensor
            For each of them a tensor of its shape and type, which tells of one that only others have.

        Returns
        -------
        list of Tensor or None
            The means; None where no process has anything.

        Raises
        ------
        TrainingError
            If one is sparse.
        """
        if self._group is None or not tensors:
            return list(tensors)
        if any(tensor is not None and tensor.layout != torch.strided for tensor in tensors):
            raise TrainingError(
                "Gradients must be dense where several processes train a network. Got a sparse one instead. Build "
                "embeddings with sparse=False."
            )
        held = torch.tensor([tensor is not None for tensor in tensors], dtype=torch.int32, device=like[0].device)
        dist.all_reduce(held, dist.ReduceOp.MAX, self._group)
        found: list[Tensor | None] = [None] * len(tensors)
        for bucket in _buckets(like, held.bool().tolist()):
            parts = [torch.zeros_like(like[i]) if (own := tensors[i]) is None else own.detach() for i in bucket]
            flat = torch.cat([part.reshape(-1) for part in parts])
            dist.all_reduce(flat, group=self._group)
            flat /= self.count
            for i, part in zip(bucket, flat.split([part.numel() for part in parts]), strict=True):
                found[i] = part.view(like[i].shape)
        return found

    def total(self, values: Tensor) -> Tensor:
        """
        Return the sum over the processes.

        Parameters
        ----------
        values : Tensor
            What this process has.

        Returns
        -------
        Tensor
            The sum; the same object for a process alone.
        """
        if self._group is None:
            return values
        values = values.clone()
        dist.all_reduce(values, group=self._group)
        return values

    def total_of(self, number: int) -> int:
        """
        Return the sum of a number over the processes.

        Parameters
        ----------
        number : int
            That of this process.

        Returns
        -------
        int
            The sum.
        """
        if self._group is None:
            return number
        return int(self.total(torch.tensor(number, device=self._device)))

    def gather(self, rows: Tensor) -> Tensor:
        """
        Return the rows of all processes, in the order of their ranks.

        Parameters
        ----------
        rows : Tensor, shape (n_rows, ...)
            Those of this process, of which others may have more or fewer.

        Returns
        -------
        Tensor, shape (n_rows of all, ...)
            All rows; the same object for a process alone.
        """
        if self._group is None:
            return rows
        counts = [torch.zeros(1, dtype=torch.int64, device=rows.device) for _ in range(self.count)]
        dist.all_gather(counts, counts[0].new_tensor([len(rows)]), self._group)
        sizes = [int(count) for count in counts]
        padded = rows.new_zeros((max(sizes), *rows.shape[1:]))
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded, self._group)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    def same(self, value: Any) -> Any:
        """
        Return what the first process has.

        Parameters
        ----------
        value : object
            What this process has; it can be pickled.

        Returns
        -------
        object
            The first one's value.
        """
        if self._group is None:
            return value
        shared = [value if self.is_first else None]
        dist.broadcast_object_list(shared, dist.get_global_rank(self._group, 0), self._group)
        return shared[0]

    def share_(self, tensors: Iterable[Tensor]) -> None:
        """
        Give tensors the values that they have in the first process.

        Parameters
        ----------
        tensors : iterable of Tensor
            The tensors.
        """
        if self._group is None:
            return
        listed = [tensor.detach() for tensor in tensors]
        for bucket in _buckets(listed, [True] * len(listed)):
            parts = [listed[i] for i in bucket]
            flat = torch.cat([part.reshape(-1) for part in parts])
            dist.broadcast(flat, dist.get_global_rank(self._group, 0), self._group)
            for part, own in zip(parts, flat.split([part.numel() for part in parts]), strict=True):
                part.copy_(own.view(part.shape))

    def every(self, value: bool) -> bool:
        """
        Tell whether something holds in every process.

        Parameters
        ----------
        value : bool
            Whether it holds in this one.

        Returns
        -------
        bool
            Whether it does in all.
        """
        if self._group is None:
            return value
        flag = torch.tensor([int(value)], dtype=torch.int32, device=self._device)
        dist.all_reduce(flag, dist.ReduceOp.MIN, self._group)
        return bool(flag)

    @property
    def _device(self) -> torch.device:
        """Where flags travel."""
        return torch.device("cuda" if dist.get_backend(self._group) == "nccl" else "cpu")


def _buckets(like: Sequence[Tensor], wanted: Sequence[bool]) -> list[list[int]]:
    """Put tensors of one type and device together, up to a size."""
    buckets: list[list[int]] = []
    open_: dict[tuple[torch.dtype, torch.device], tuple[list[int], int]] = {}
    for i, tensor in enumerate(like):
        if not wanted[i]:
            continue
        key = tensor.dtype, tensor.device
        bucket, size = open_.get(key, ([], _BUCKET))
        if size + tensor.numel() > _BUCKET:
            bucket, size = [], 0
            buckets.append(bucket)
        bucket.append(i)
        open_[key] = bucket, size + tensor.numel()
    return buckets
