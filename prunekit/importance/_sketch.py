"""Products of many columns from few rows."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_ROWS = 1024
_ENTRIES = 1 << 26
"""Largest number of rows, and of entries of all of them."""


class Sketch:
    """
    Keep few rows whose products of columns are, but for noise, those of all rows that were added.

    Parameters
    ----------
    n_columns : int
        Length of the rows.
    device : torch.device
        Where they are.

    Notes
    -----
    The first rows are kept as they are. Later ones are added to them with random signs, which cancel in the mean:
    the products of two columns have a relative error of about one by the root of the number of rows.
    """

    def __init__(self, n_columns: int, device: torch.device) -> None:
        self._capacity = max(1, min(_ROWS, _ENTRIES // max(n_columns, 1)))
        self._rows = torch.zeros(0, n_columns, device=device)
        self._signs = torch.zeros(0, device=device)
        self._count = 0
        self._generator = torch.Generator().manual_seed(0)

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """
        Return a sketch that goes on where another was.

        Parameters
        ----------
        state : Mapping
            What its `state_dict` returned.

        Returns
        -------
        Sketch
            An equal one.
        """
        sketch = cls(state["rows"].size(1), state["rows"].device)
        sketch._rows, sketch._signs, sketch._count = state["rows"].clone(), state["signs"].clone(), state["count"]
        sketch._generator.set_state(state["generator"])
        return sketch

    def state_dict(self) -> dict[str, Any]:
        """Return everything that was added, and how it will go on."""
        return {
            "rows": self._rows,
            "signs": self._signs,
            "count": self._count,
            "generator": self._generator.get_state(),
        }

    def add(self, rows: Tensor) -> None:
        """
        Add rows.

        Parameters
        ----------
        rows : Tensor, shape (n_rows, n_columns)
            What to add.
        """
        rows = rows.to(self._rows)
        first, self._count = self._count, self._count + len(rows)
        if len(self._rows) < min(self._count, self._capacity):
            self._grow()
        room = max(0, min(len(rows), self._capacity - first))
        self._rows[first : first + room] = rows[:room]
        self._signs[first : first + room] = 1.0
        if room < len(rows):
            where = torch.arange(first + room, self._count, device=rows.device) % self._capacity
            signs = torch.randint(2, where.shape, generator=self._generator).to(rows) * 2 - 1
            self._rows.index_add_(0, where, rows[room:] * signs[:, None])
            self._signs.index_add_(0, where, signs)

    def _grow(self) -> None:
        """Make room, twice as much as there was, for the rows so far."""
        size = min(max(self._count, 2 * len(self._rows)), self._capacity)
        more = size - len(self._rows)
        self._rows = torch.cat([self._rows, self._rows.new_zeros(more, self._rows.size(1))])
        self._signs = torch.cat([self._signs, self._signs.new_zeros(more)])

    def rows(self, mean: Tensor | None) -> NDArray[np.float32]:
        """
        Return the rows.

        Parameters
        ----------
        mean : Tensor, shape (n_columns,), or None
            What is subtracted from every row that was added.

        Returns
        -------
        ndarray of float, shape (at most 1024, n_columns)
            The rows.
        """
        found = self._rows[: self._count]
        if mean is not None:
            found = found - torch.outer(self._signs[: self._count], mean.to(found))
        return found.cpu().numpy().copy()


def kept_correlation(rows: NDArray[np.float32]) -> float:
    """
    Return by how much correlations of columns are to be shrunk because of the noise of few rows.

    Parameters
    ----------
    rows : ndarray of float, shape (n_rows, n_columns)
        Each an independent sample.

    Returns
    -------
    float
        Between 0, noise alone, and 1: one minus the variance of the products of all pairs of columns of unit length, as
        it shows between rows, in relation to their squares (Schäfer and Strimmer 2005, equation 8).
    """
    lengths = np.linalg.norm(rows, axis=0)
    used = rows[:, lengths > 0] / lengths[lengths > 0]
    n_rows, n_columns = used.shape
    if n_rows < 2 or n_columns < 2:
        return 0.0
    products = used @ used.T  # of rows
    squares = float(np.square(products, dtype=np.float64).sum())
    off_diagonal = squares - n_columns
    noise = float(np.square(np.diag(products), dtype=np.float64).sum()) - squares / n_rows
    return float(np.clip(1.0 - noise / off_diagonal, 0.0, 1.0)) if off_diagonal > 0 else 0.0
