"""What the zoo knows of a network before it is traced."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tests.nets import randomise


def image(channels: int = 3, size: int = 8, batch: int = 2, seed: int = 1) -> Tensor:
    """Return random images."""
    return torch.randn(batch, channels, size, size, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Case:
    """
    A network and what has to come out of it.

    Parameters
    ----------
    name : str
        Name of the test.
    build : callable
        Returns the network.
    units : int
        Number of prunable units, worked out by hand.
    blocked : dict of str to str
        Part of the reason that the table has to give for a layer, by the layer's name.
    inputs : callable
        Returns example inputs.
    trains : bool
        Whether a training step can be compared; not where training draws random numbers for each channel.
    short : str
        Why fewer units are found today, if they are. What is found has to be right nevertheless.
    """

    name: str
    build: Callable[[], nn.Module]
    units: int
    blocked: dict[str, str] = field(default_factory=dict)
    inputs: Callable[[], Any] = image
    trains: bool = True
    short: str = ""

    def __str__(self) -> str:
        return self.name

    def make(self) -> tuple[nn.Module, Any]:
        """Return the network with the weights of a trained one, and inputs; the same ones every time."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return randomise(self.build()), self.inputs()
