"""Criteria: which unit goes first."""

import copy
from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunekit._validation import check_choice
from prunekit.exceptions import ParameterError, ParameterTypeError
from prunekit.importance._gates import Watch
from prunekit.importance._normalization import NORMALIZATIONS, Normalization
from prunekit.importance._observation import Observation
from prunekit.importance.functional import removal_estimate, squared_taylor

FloatArray = NDArray[np.float64]
Moments = Literal["mini-batch", "example"]
MOMENTS: tuple[Moments, ...] = ("mini-batch", "example")


class Criterion(ABC):
    """
    Base of all criteria: what is seen of mini-batches becomes one number a unit.

    A subclass accumulates in `observe` and answers in `importance`; the unit with the smallest importance goes first.

    Parameters
    ----------
    normalization : {"l1", "l2", "mean", "max", "rank"}, default=None
        What the importances of each layer are divided by before units of different layers are compared, see
        `normalised`. A unit of several layers counts for the first of them.

    Attributes
    ----------
    name : str
        Name under which the criterion can be asked for.
    needs_gradients : bool
        Whether `observe` looks at gradients.
    watch : {"nothing", "gates", "activations"}
        What `observe` looks at besides: the gradients of each example with respect to gates at the weights that read
        the units (`Observation.gates`, `Observation.mean_gates`), or activations (`Observation.mean_activations`,
        `Observation.zero_fractions`).

    Examples
    --------
    The importance of a filter as the largest first-order term that any mini-batch gave it:

    >>> from prunekit.importance import Criterion
    >>> class LargestTaylor(Criterion):
    ...     name = "largest_taylor"
    ...
    ...     def reset(self):
    ...         self._largest = None
    ...
    ...     def observe(self, observation):
    ...         now = observation.taylor_sums.abs()
    ...         self._largest = now if self._largest is None else self._largest.maximum(now)
    ...
    ...     def importance(self):
    ...         return self._largest.cpu().double().numpy()
    """

    name: ClassVar[str] = ""
    needs_gradients: ClassVar[bool] = True
    watch: Watch = "nothing"

    normalization: Normalization | None = None

    def __init__(self, normalization: Normalization | None = None) -> None:
        if normalization is not None:
            check_choice("normalization", normalization, type(self).__name__, NORMALIZATIONS)
        self.normalization = normalization
        self.reset()

    @abstractmethod
    def reset(self) -> None:
        """Forget everything that was observed."""

    @abstractmethod
    def observe(self, observation: Observation) -> None:
        """
        Take in one mini-batch.

        Parameters
        ----------
        observation : Observation
            Sums over units of what the backward pass left.
        """

    @abstractmethod
    def importance(self) -> FloatArray:
        """
        Return the importance of every unit.

        Returns
        -------
        ndarray of float, shape (n_units,)
            Estimated change of the loss when the unit is removed, or whatever orders units alike.
        """


class _MeanCriterion(Criterion):
    """Average of one tensor over mini-batches."""

    def reset(self) -> None:
        """Forget everything that was observed."""
        self._total: Tensor | None = None
        self._count = 0

    def observe(self, observation: Observation) -> None:
        """Add the value of one mini-batch."""
        value = self._value(observation)
        self._total = value if self._total is None else self._total + value
        self._count += 1

    def importance(self) -> FloatArray:
        """Return the average over mini-batches."""
        assert self._total is not None
        return (self._total / self._count).double().cpu().numpy()

    def _value(self, observation: Observation) -> Tensor:
        raise NotImplementedError


class Taylor(_MeanCriterion):
    """
    Mean over mini-batches of the squared first-order sum (Molchanov et al. 2019, equation 8).

    Parameters
    ----------
    normalization : {"l1", "l2", "mean", "max", "rank"}, default=None
        As for all criteria.

    References
    ----------
    .. [1] P. Molchanov, A. Mallya, S. Tyree, I. Frosio, J. Kautz, "Importance Estimation for Neural Network Pruning",
       CVPR 2019, arXiv:1906.10771.
    """

    name = "taylor"

    def _value(self, observation: Observation) -> Tensor:
        return squared_taylor(observation.taylor_sums)


class TaylorAbs(_MeanCriterion):
    """
    Mean over mini-batches of the absolute value of the first-order sum.

    Parameters
    ----------
    normalization : {"l1", "l2", "mean", "max", "rank"}, default=None
        As for all criteria.
    """

    name = "taylor_abs"

    def _value(self, observation: Observation) -> Tensor:
        return observation.taylor_sums.abs()


class Taylor2(Criterion):
    r"""
    Signed second-order estimate of the change of the loss: first-order term plus curvature.

    Parameters
    ----------
    moments : {"mini-batch", "example"}, default="mini-batch"
        Where the curvature comes from: the variance of the first-order sums over mini-batches, for which the gradients
        of the parameters suffice, or the mean square of each example's gradient with respect to the unit's gate, which
        is more exact and costs more, since activations are watched.
    normalization : {"l1", "l2", "mean", "max", "rank"}, default=None
        As for all criteria.

    Notes
    -----
    With :math:`g_n` the derivative of the loss of example :math:`n` with respect to a factor on the channels of the
    unit, the second-order Taylor expansion of the loss at the factor zero is
    :math:`-\overline{g_n} + \frac12 \overline{g_n^2}`, where the mean square of the first derivatives (the empirical
    Fisher information, as in Theis et al. 2018) stands for the second derivative. Over mini-batches of :math:`B`
    independent examples the variance of the mean of :math:`g_n` is that of :math:`g_n` divided by :math:`B`.

    References
    ----------
    .. [1] L. Theis, I. Korshunova, A. Tejani, F. Huszár, "Faster gaze prediction with dense networks and Fisher
       pruning", arXiv:1801.05787, equations 5 to 7.
    """

    name = "taylor2"

    def __init__(self, moments: Moments = "mini-batch", normalization: Normalization | None = None) -> None:
        self.moments = check_choice("moments", moments, type(self).__name__, MOMENTS)
        self.watch = "gates" if moments == "example" else "nothing"
        super().__init__(normalization)

    def reset(self) -> None:
        """Forget everything that was observed."""
        self._count = 0
        self._examples = 0
        self._mean: Tensor | None = None
        self._squares: Tensor | None = None

    def observe(self, observation: Observation) -> None:
        """
        Take in one mini-batch.

        Parameters
        ----------
        observation : Observation
            Sums over units of one mini-batch.
        """
        if self.moments == "example":
            self._update(observation.gates, 1)
        else:
            self._update(observation.taylor_sums.unsqueeze(0), observation.batch_size)

    def _update(self, values: Tensor, n_examples: int) -> None:
        """Update mean and sum of squared deviations by rows of values, each of so many examples (Chan et al. 1979)."""
        if self._mean is None or self._squares is None:
            self._mean, self._squares = torch.zeros_like(values[0]), torch.zeros_like(values[0])
        before, new = self._count, len(values)
        self._count += new
        self._examples += new * n_examples
        mean = values.mean(0)
        apart = mean - self._mean
        self._mean = self._mean + apart * (new / self._count)
        self._squares = self._squares + (values - mean).square().sum(0) + apart.square() * (before * new / self._count)

    def importance(self) -> FloatArray:
        """
        Return the estimate; with one mini-batch its moments are unknown, and the curvature is left out.

        Returns
        -------
        ndarray of float, shape (n_units,)
            Estimated change of the loss when the unit is removed.
        """
        assert self._mean is not None
        assert self._squares is not None
        variance = self._squares / max(self._count - 1, 1)
        batch_size = self._examples / self._count
        return removal_estimate(self._mean, variance, batch_size).double().cpu().numpy()


class _ExampleCriterion(Criterion):
    """Average of one value of each example."""

    watch = "gates"

    def reset(self) -> None:
        """Forget everything that was observed."""
        self._total: Tensor | None = None
        self._examples = 0

    def observe(self, observation: Observation) -> None:
        """Add the values of one mini-batch."""
        values = self._values(observation)
        total = values.sum(0)
        self._total = total if self._total is None else self._total + total
        self._examples += len(values)

    def importance(self) -> FloatArray:
        """Return the average over examples."""
        assert self._total is not None
        return (self._total / self._examples).double().cpu().numpy()

    def _values(self, observation: Observation) -> Tensor:
        raise NotImplementedError


class TaylorActivation(_ExampleCriterion):
    """
    Mean over examples of the absolute spatial mean of activation times gradient (Molchanov et al. 2017, equation 8).

    Parameters
    ----------
    normalization : {"l1", "l2", "mean", "max", "rank"} or None, default="l2"
        As for all criteria; the default is that of the paper (equation 10).

    Notes
    -----
    Activations are those that the weights behind the unit read, so that a unit may be a channel of a residual stream or
    a head; what several weights read is added.

    References
    ----------
    .. [1] P. Molchanov, S. Tyree, T. Karras, T. Aila, J. Kautz, "Pruning Convolutional Neural Networks for Resource
       Efficient Inference", ICLR 2017, arXiv:1611.06440.
    """

    name = "taylor_activation"

    def __init__(self, normalization: Normalization | None = "l2") -> None:
        super().__init__(normalization)

    def _values(self, observation: Observation) -> Tensor:
        return observation.mean_gates.abs()


class TaylorPerExample(_ExampleCriterion):
    """
    Mean over examples of the absolute first-order term, the derivative by the gate of the unit.

    Parameters
    ----------
    normalization : {"l1", "l2", "mean", "max", "rank"}, default=None
        As for all criteria.

    References
    ----------
    .. [1] P. Molchanov, A. Mallya, S. Tyree, I. Frosio, J. Kautz, "Importance Estimation for Neural Network Pruning",
       CVPR 2019, arXiv:1906.10771, section 3.2, the gate after the channel.
    """

    name = "taylor_per_example"

    def _values(self, observation: Observation) -> Tensor:
        return observation.gates.abs()


class Fisher(_ExampleCriterion):
    """
    Half of the mean over examples of the squared derivative by the gate of the unit (Theis et al. 2018, equation 7).

    Parameters
    ----------
    normalization : {"l1", "l2", "mean", "max", "rank"}, default=None
        As for all criteria.

    References
    ----------
    .. [1] L. Theis, I. Korshunova, A. Tejani, F. Huszár, "Faster gaze prediction with dense networks and Fisher
       pruning", arXiv:1801.05787.
    """

    name = "fisher"

    def _values(self, observation: Observation) -> Tensor:
        return 0.5 * observation.gates.square()


class MeanActivation(_MeanCriterion):
    """
    Mean absolute activation (Molchanov et al. 2017, section 2.2); a baseline that sees no labels.

    Parameters
    ----------
    normalization : {"l1", "l2", "mean", "max", "rank"}, default=None
        As for all criteria.

    Notes
    -----
    Behind a ReLU it is the paper's mean activation. Activations are those that the weights behind the unit read in the
    last forward pass.
    """

    name = "mean_activation"
    needs_gradients = False
    watch = "activations"

    def _value(self, observation: Observation) -> Tensor:
        return observation.mean_activations


class APoZ(_MeanCriterion):
    """
    One minus the average percentage of zeros of the activations (Hu et al. 2016); a baseline that sees no labels.

    Parameters
    ----------
    normalization : {"l1", "l2", "mean", "max", "rank"}, default=None
        As for all criteria.

    References
    ----------
    .. [1] H. Hu, R. Peng, Y.-W. Tai, C.-K. Tang, "Network Trimming: A Data-Driven Neuron Pruning Approach towards
       Efficient Deep Architectures", arXiv:1607.03250, equation 1.
    """

    name = "apoz"
    needs_gradients = False
    watch = "activations"

    def _value(self, observation: Observation) -> Tensor:
        return 1.0 - observation.zero_fractions


class Magnitude(_MeanCriterion):
    """
    Sum of the squares of the weights of a unit's filters; a baseline that sees no data.

    Parameters
    ----------
    normalization : {"l1", "l2", "mean", "max", "rank"}, default=None
        As for all criteria.
    """

    name = "magnitude"
    needs_gradients = False

    def _value(self, observation: Observation) -> Tensor:
        return observation.filter_norms


class BNScale(_MeanCriterion):
    """
    Sum of the absolute scales of the normalisations behind a unit (Liu et al. 2017); a baseline that sees no data.

    Every unit that may be removed needs such a scale.

    Parameters
    ----------
    normalization : {"l1", "l2", "mean", "max", "rank"}, default=None
        As for all criteria.

    References
    ----------
    .. [1] Z. Liu, J. Li, Z. Shen, G. Huang, S. Yan, C. Zhang, "Learning Efficient Convolutional Networks through
       Network Slimming", ICCV 2017, arXiv:1708.06519.
    """

    name = "bn_scale"
    needs_gradients = False

    def _value(self, observation: Observation) -> Tensor:
        return observation.norm_scales


class Random(_MeanCriterion):
    """
    Random order; the control that every comparison needs.

    Parameters
    ----------
    seed : int, default=0
        Seed of the order.
    normalization : {"l1", "l2", "mean", "max", "rank"}, default=None
        As for all criteria.
    """

    name = "random"
    needs_gradients = False

    def __init__(self, seed: int = 0, normalization: Normalization | None = None) -> None:
        self.seed = seed
        super().__init__(normalization)

    def reset(self) -> None:
        """Forget everything that was observed; the order stays."""
        super().reset()
        self._generator = torch.Generator().manual_seed(self.seed)

    def _value(self, observation: Observation) -> Tensor:
        return torch.rand(observation.n_units, generator=self._generator)


CRITERIA: dict[str, type[Criterion]] = {
    kind.name: kind
    for kind in (
        Taylor,
        Taylor2,
        TaylorAbs,
        TaylorActivation,
        TaylorPerExample,
        Fisher,
        Magnitude,
        BNScale,
        MeanActivation,
        APoZ,
        Random,
    )
}


def make_criterion(criterion: object, owner: str) -> Criterion:
    """
    Return a criterion from a name or an object.

    Parameters
    ----------
    criterion : str or Criterion
        What the user gave.
    owner : str
        Class that the parameter belongs to, for the message.

    Returns
    -------
    Criterion
        Ready to observe; a copy of what the user gave.

    Raises
    ------
    ParameterError
        If there is no criterion of that name.
    ParameterTypeError
        If it is neither a name nor a criterion.
    """
    if isinstance(criterion, str):
        if criterion not in CRITERIA:
            known = ", ".join(repr(name) for name in CRITERIA)
            raise ParameterError(
                f"The 'criterion' parameter of {owner} must be one of {known}. Got {criterion!r} instead."
            )
        return CRITERIA[criterion]()
    if isinstance(criterion, Criterion):
        own = copy.deepcopy(criterion)
        own.reset()
        return own
    raise ParameterTypeError(
        f"The 'criterion' parameter of {owner} must be a name or a Criterion object. "
        f"Got {type(criterion).__name__} instead."
    )
