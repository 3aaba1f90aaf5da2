"""Criteria: which unit goes first."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prunekit._validation import check_choice
from prunekit.exceptions import ParameterError, ParameterTypeError
from prunekit.importance._gates import Watch
from prunekit.importance._normalization import NORMALIZATIONS, Normalization
from prunekit.importance._observation import Observation, wide_type
from prunekit.importance._sketch import Sketch, kept_correlation
from prunekit.importance.functional import removal_estimate, squared_taylor

FloatArray = NDArray[np.float64]
Moments = Literal["auto", "example", "mini-batch"]
MOMENTS: tuple[Moments, ...] = ("auto", "example", "mini-batch")


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
    watch_needed : bool
        Whether networks where that cannot be seen are refused; if not, `Observation.has_gates` is False for them.
    measure : str
        What the importance is, in words for the axis of a plot; by default its name stands there.

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
    watch_needed: bool = True
    measure: ClassVar[str] = ""

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

    def state_dict(self) -> dict[str, Any]:
        """
        Return what was observed, for `load_state_dict` of an equal criterion.

        Returns
        -------
        dict
            All attributes: numbers, strings, arrays and tensors, in containers, and of objects that have one their own
            ``state_dict``. Random generators are told by their state. A subclass that keeps anything else overrides
            both methods.
        """
        return {name: _saved(value) for name, value in vars(self).items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """
        Go on where an equal criterion was.

        Parameters
        ----------
        state : Mapping of str to object
            What `state_dict` returned.

        Raises
        ------
        ParameterError
            If a name in it is one of a method.
        """
        hidden = [name for name in state if name not in vars(self) and hasattr(type(self), name)]
        if hidden:
            raise ParameterError(f"The state of a criterion must not hide what its class has. Got {hidden} instead.")
        self.reset()
        for name, value in state.items():
            setattr(self, name, _loaded(value, vars(self).get(name)))

    def together(self) -> "Together | None":
        """
        Return what it costs to remove several units.

        Returns
        -------
        Together or None
            By this the network chooses units one after the other, each with those in mind that were chosen before.
            None, the default, if nothing is known of sets of units: they are then taken in the order of `importance`.
        """
        return None


def _saved(value: Any) -> Any:
    if isinstance(value, torch.Generator):
        return value.get_state()
    return value.state_dict() if hasattr(value, "state_dict") else value


def _loaded(value: Any, present: Any) -> Any:
    """Return a value, or the object that is there with this state."""
    if isinstance(present, torch.Generator):
        present.set_state(value)
        return present
    if hasattr(present, "load_state_dict"):
        present.load_state_dict(value)
        return present
    return value


@dataclass(frozen=True, slots=True, eq=False)
class Together:
    """
    What it costs to remove several units at once.

    Parameters
    ----------
    alone : ndarray of float, shape (n_units,)
        Cost of each unit.
    factor : ndarray of float, shape (n_rows, n_units)
        What each pair i, j adds: ``factor[:, i] @ factor[:, j]``.
    """

    alone: FloatArray
    factor: NDArray[np.float32]


class _MeanCriterion(Criterion):
    """Average of one tensor over mini-batches, or over examples if it has a row for each."""

    def reset(self) -> None:
        """Forget everything that was observed."""
        self._total: Tensor | None = None
        self._count = 0

    def observe(self, observation: Observation) -> None:
        """Add the values of one mini-batch."""
        values = torch.atleast_2d(self._value(observation))
        total = values.sum(0, dtype=wide_type(values))
        self._total = total if self._total is None else self._total + total
        self._count += len(values)

    def importance(self) -> FloatArray:
        """Return the average."""
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
    measure = "mean square of the estimated change of the loss"

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
    measure = "mean size of the estimated change of the loss"

    def _value(self, observation: Observation) -> Tensor:
        return observation.taylor_sums.abs()


class Taylor2(Criterion):
    r"""
    Signed second-order estimate of the change of the loss, for one unit and for several together.

    Parameters
    ----------
    moments : {"auto", "example", "mini-batch"}, default="auto"
        Where the curvature comes from: the gradient of each example with respect to the unit's gate, or the sums of
        first-order terms over mini-batches, for which the gradients of the parameters suffice. Examples are more exact,
        above all in training mode behind batch norm, and cost a little more, since activations are watched.
        ``"auto"`` takes mini-batches where single examples cannot be seen (recurrent layers, weights that the model's
        code computes, networks that mix examples).
    normalization : {"l1", "l2", "mean", "max", "rank"}, default=None
        As for all criteria. With it, units are taken one by one.

    Notes
    -----
    With :math:`g_n` the derivative of the loss of example :math:`n` with respect to a factor on the channels of the
    unit, the second-order Taylor expansion of the loss at the factor zero is
    :math:`-\overline{g_n} + \frac12 \overline{g_n^2}`, where the mean square of the first derivatives (the empirical
    Fisher information, as in Theis et al. 2018 [1]_) stands for the second derivative. For a set of units
    :math:`g_n` is their sum, so that units :math:`u` and :math:`v` which are removed together add
    :math:`\overline{g_{n,u} g_{n,v}}`. Units are therefore chosen one after the other, each with those in mind that
    were chosen before, by :math:`\frac12 \overline{g_n^2}` and these products, which are shrunk as far as their noise
    demands (Schäfer and Strimmer 2005 [3]_). The first-order term is left out there: see `together`.

    Over mini-batches of :math:`B` independent examples the covariance of the means of :math:`g_n` is that of
    :math:`g_n` divided by :math:`B`.

    Products of pairs are kept as a sketch of at most 1024 rows: with more examples, or mini-batches, rows are added up
    with random signs (Charikar et al. 2002 [2]_).

    References
    ----------
    .. [1] L. Theis, I. Korshunova, A. Tejani, F. Huszár, "Faster gaze prediction with dense networks and Fisher
       pruning", arXiv:1801.05787, equations 5 to 7.
    .. [2] M. Charikar, K. Chen, M. Farach-Colton, "Finding frequent items in data streams", ICALP 2002.
    .. [3] J. Schäfer, K. Strimmer, "A shrinkage approach to large-scale covariance matrix estimation and implications
       for functional genomics", Statistical Applications in Genetics and Molecular Biology 4(1), 2005.
    """

    name = "taylor2"
    measure = "estimated change of the loss"

    def __init__(self, moments: Moments = "auto", normalization: Normalization | None = None) -> None:
        self.moments = check_choice("moments", moments, type(self).__name__, MOMENTS)
        self.watch = "nothing" if moments == "mini-batch" else "gates"
        self.watch_needed = moments == "example"
        super().__init__(normalization)

    def reset(self) -> None:
        """Forget everything that was observed."""
        self._count = 0
        self._examples = 0
        self._total: Tensor | None = None
        self._squares: Tensor | None = None
        self._sketch: Sketch | None = None
        self._single = False
        self._rows: list[Tensor] = []
        self._n_pending = 0

    def observe(self, observation: Observation) -> None:
        """
        Take in one mini-batch.

        Parameters
        ----------
        observation : Observation
            Sums over units of one mini-batch.
        """
        single = observation.has_gates if self.moments == "auto" else self.moments == "example"
        if single != self._single:
            self.reset()
            self._single = single
        values = observation.gates if single else observation.taylor_sums.unsqueeze(0)
        self._rows.append(values)
        self._n_pending += values.numel()
        self._count += len(values)
        self._examples += len(values) if single else observation.batch_size
        if self._n_pending > _PENDING:
            self._take_in()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """
        Go on where an equal criterion was.

        Parameters
        ----------
        state : Mapping of str to object
            What `state_dict` returned.
        """
        sketch = state["_sketch"]
        super().load_state_dict(state)
        self._sketch = None if sketch is None else Sketch.from_state(sketch)

    def _take_in(self) -> None:
        """Add up the rows that were only kept so far; many at once take less time than each by itself."""
        if not self._rows:
            return
        values = torch.cat(self._rows)
        self._rows, self._n_pending = [], 0
        if self._sketch is None:
            self._sketch = Sketch(values.size(1), values.device)
        self._sketch.add(values)
        wide = values.to(wide_type(values))
        total, squares = wide.sum(0), wide.square().sum(0)
        self._total = total if self._total is None else self._total + total
        self._squares = squares if self._squares is None else self._squares + squares

    def importance(self) -> FloatArray:
        """
        Return the estimate; of one mini-batch the variance is unknown, and the curvature is left out.

        Returns
        -------
        ndarray of float, shape (n_units,)
            Estimated change of the loss when the unit alone is removed.
        """
        return removal_estimate(*self._moments(), 1.0).double().cpu().numpy()

    def together(self) -> Together:
        """
        Return what it costs to remove several units, by the second-order term.

        Returns
        -------
        Together
            The first-order term is left out. Its gains do not add up, for no loss sinks below its minimum, and of a
            unit of little curvature its sampling error is larger than the curvature, so that it would order many such
            units by noise.
        """
        _, second = self._moments()
        assert self._sketch is not None
        assert self._total is not None
        alone = (0.5 * second).double().cpu().numpy()
        if self._single:
            rows = self._sketch.rows(None) / np.float32(self._count**0.5)
        else:
            factor = self._examples / self._count / max(self._count - 1, 1)
            rows = self._sketch.rows(self._total / self._count) * np.float32(factor**0.5)
        return Together(alone, rows * np.float32(kept_correlation(rows) ** 0.5))

    def _moments(self) -> tuple[Tensor, Tensor]:
        """Return the mean of the derivatives by the gates, and what stands for the mean second derivative."""
        self._take_in()
        assert self._total is not None
        assert self._squares is not None
        mean, second = self._total / self._count, self._squares / self._count
        if not self._single:
            variance = (second - mean.square()).clamp(min=0) * (self._count / max(self._count - 1, 1))
            second = variance * (self._examples / self._count)
        return mean, second


_PENDING = 1 << 19
"""Numbers that are kept before they are added up."""


class TaylorActivation(_MeanCriterion):
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
    measure = "mean size of the estimated change of the loss"
    watch = "gates"

    def __init__(self, normalization: Normalization | None = "l2") -> None:
        super().__init__(normalization)

    def _value(self, observation: Observation) -> Tensor:
        return observation.mean_gates.abs()


class TaylorPerExample(_MeanCriterion):
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
    measure = "mean size of the estimated change of the loss"
    watch = "gates"

    def _value(self, observation: Observation) -> Tensor:
        return observation.gates.abs()


class Fisher(_MeanCriterion):
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
    measure = "estimated change of the loss"
    watch = "gates"

    def _value(self, observation: Observation) -> Tensor:
        return 0.5 * observation.gates.to(wide_type(observation.gates)).square()


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
"""All criteria by the names under which they can be asked for."""


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
