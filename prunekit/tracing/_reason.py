"""Why a filter cannot be removed, as data."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Reason:
    """
    Why a filter is frozen.

    Parameters
    ----------
    text : str
        What happens to the filter, e.g. ``"softmax over channels"``.
    operation : str, default=""
        Name of the ATen operation, e.g. ``"aten._softmax"``; empty where no operation is to blame.
    module : str, default=""
        Dotted path of the module that ran the operation; empty for the network itself.
    location : str, default=""
        ``file:line`` in the model's own code; empty where the operation came from torch's modules alone.
    """

    text: str
    operation: str = ""
    module: str = ""
    location: str = ""

    def __str__(self) -> str:
        """Return one line that a person can act on."""
        where = f" in '{self.module}'" if self.module else ""
        line = f" ({self.location})" if self.location else ""
        return f"{self.text}{where}{line}"
