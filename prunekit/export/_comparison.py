"""What a file returns beside what the network returns."""

from dataclasses import dataclass

from torch import Tensor

from prunekit.exceptions import VerificationError
from prunekit.export._subject import Subject, fixed_batch
from prunekit.surgery import evaluate, relative_difference, rounding_of, tolerance_for
from prunekit.tracing import duplicate_inputs, named_outputs

_MOST_ROUNDING = 1e-3
"""Where rounding changes more than that, a difference tells nothing, and none above the tolerance is allowed."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """
    A network and how exactly a file has to return the same.

    Parameters
    ----------
    subject : Subject
        The network with its outputs.
    rtol : float
        Largest difference allowed, relative to the largest output.
    runtime : str
        Name of what ran the file, for the messages.
    owner : str
        Function that asks, for the messages.
    """

    subject: Subject
    rtol: float
    runtime: str
    owner: str

    def largest_difference(self, got: list[list[Tensor]]) -> float:
        """
        Return the largest difference of all batches and outputs.

        Parameters
        ----------
        got : list of list of Tensor
            Outputs of the file for each batch of the subject.

        Returns
        -------
        float
            Relative to the largest output.

        Raises
        ------
        VerificationError
            If it is larger than allowed.
        """
        worst = 0.0
        for number, (expected, found) in enumerate(zip(self.subject.outputs, got, strict=True)):
            if len(expected) != len(found):
                raise VerificationError(
                    f"{type(self.subject.module).__name__} returns {len(expected)} tensors, but {len(found)} when the "
                    f"file is run by {self.runtime}. Nothing was written."
                )
            for name, one, other in zip(self.subject.output_names, expected, found, strict=True):
                difference = relative_difference(one.cpu(), other.cpu())
                if not difference <= tolerance_for(one, self.rtol) and not difference <= self._rounding(number):
                    raise VerificationError(self._told(number, name, one, other, difference))
                worst = max(worst, difference)
        return worst

    def _rounding(self, number: int) -> float:
        """Return the difference that rounding explains: a network that magnifies it does so in every runtime."""
        module, inputs = self.subject.module, self.subject.batches[number]
        rounding = rounding_of(module, inputs, named_outputs(evaluate(module, duplicate_inputs(inputs))))
        return 16 * rounding if rounding < _MOST_ROUNDING else 0.0

    def _told(self, number: int, name: str, one: Tensor, other: Tensor, difference: float) -> str:
        """Return the message for an output that differs."""
        kind = type(self.subject.module).__name__
        where = f" for {self.subject.sizes[number]} examples" if self.subject.sizes else ""
        if one.shape != other.shape:
            return (
                f"The file must return in '{name}' what {kind} returns{where}. Got the shape {tuple(other.shape)} by "
                f"{self.runtime}, and {tuple(one.shape)} from the network: its code does something else there than for "
                f"the batch that was captured. Nothing was written; {fixed_batch(self.owner)} exports it for batches "
                "like 'X' only."
            )
        return (
            f"The file must return what {kind} returns, to {self.rtol:g} of the largest output. Got a difference of "
            f"{difference:.3g} in '{name}'{where} by {self.runtime} instead. Nothing was written."
        )
