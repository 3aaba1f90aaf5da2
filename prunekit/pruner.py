"""Prune a skorch net as a scikit-learn estimator."""

import copy
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
import sklearn
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, MetaEstimatorMixin, is_regressor
from sklearn.frozen import FrozenEstimator
from sklearn.utils import Tags, TransformerTags, get_tags
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from skorch import NeuralNet, NeuralNetBinaryClassifier

from prunekit import _skorch
from prunekit._documentation import DocumentedMixin
from prunekit._loop import (
    Checkpoint,
    Control,
    HeldOut,
    LoopResult,
    LoopSettings,
    PruningLoop,
    SharedCheckpoint,
    Sharing,
    TrainingProgress,
    Visits,
)
from prunekit._random import preserve_rng, seeded_rng
from prunekit._skorch import FineTuner
from prunekit._validation import check_integer
from prunekit.cost import RESOURCES, Quantity
from prunekit.exceptions import ParameterError, TargetError
from prunekit.io import fingerprint, open_store
from prunekit.network import PrunableNetwork
from prunekit.schedules import Schedule
from prunekit.surgery import Norms
from prunekit.tracing import copy_module, map_network

__all__ = ["TaylorPruner"]

_OWNER = "TaylorPruner"
_NUM_VERIFIED = 32
"""Number of real samples on which the masked and the compacted network are compared."""
_NUM_BLOCKERS = 3
"""Number of layers that are named where a target cannot be reached."""
_NEARLY_EMPTY = 0.03
"""Fraction of its filters below which a layer is told of."""


def _net_has(method: str) -> Callable[["TaylorPruner"], bool]:
    """Return a check whether the net has a method; used together with `available_if`."""

    def check(pruner: "TaylorPruner") -> bool:
        if method == "score" and pruner.scoring is not None:
            return True
        net = pruner._net
        # Every skorch net inherits predict_proba; only what a classifier or a plain net returns there makes sense.
        return hasattr(net, method) and not (method == "predict_proba" and is_regressor(net))

    return check


class TaylorPruner(_skorch.TravellingNets, DocumentedMixin, MetaEstimatorMixin, BaseEstimator):
    r"""
    Prune a skorch net: the same network with fewer filters, physically smaller, fine-tuned.

    `fit` trains a clone of the net, then repeats: estimate by a first-order Taylor expansion how much the loss would
    change without each unit, remove the least important units, train a little more, validate. It ends when
    ``target_reduction`` is reached, or when a threshold on the validation score can no longer be held; then the last
    network that held it is restored. Ctrl-C ends it as well, once the first training is over, with the network of the
    last whole iteration. `transform` returns the result: a fitted skorch net with smaller layers.

    Parameters
    ----------
    estimator : NeuralNet or FrozenEstimator
        The skorch net. It is never changed: a clone is trained and then pruned. `FrozenEstimator` around a fitted net
        means to start from its weights, which are copied. A net whose ``module`` is an instance keeps the weights of
        the instance when it is cloned, in cross-validation as well, and gives a warning.
    target_reduction : float, default=0.5
        Fraction of ``reduction_of`` to remove, in [0, 1). With 0 the net is trained only, as a control in a grid.
    reduction_of : {"params", "macs", "filters", "memory", "latency"}, default="params"
        What the target counts: parameters, multiply-adds, filters, bytes of weights and activations, or the time of a
        forward pass, which is measured after every step on the device of the net. Time is never twice the same, so two
        fits may then differ in spite of ``random_state``.
    step : float, {"linear", "cubic", "geometric", "one_shot", "milestones"}, Schedule or callable, default="cubic"
        Largest reduction per iteration, or a schedule of `prunekit.schedules`, by name or as an object, or a function
        of the number of iterations done, the reduction reached and the target, which returns the reduction to aim at.
        ``"cubic"`` makes 10 steps, large ones first, so that most of the training is that of a small network.
    criterion : str or Criterion, default="taylor"
        How the importance of a unit is estimated: a name of ``prunekit.importance.CRITERIA`` or an object.
    score_batches : int, default=None
        Number of mini-batches of the scoring pass before the first step, and before every step if there is no
        fine-tuning. None: one pass over the training data. Later scores come with the fine-tuning and cost no pass.
    finetune_epochs : int, default=1
        Epochs of training after each step.
    finetune_batches : int, default=None
        Mini-batches of training after each step, instead of ``finetune_epochs``. They go on in the training data where
        those of the step before ended.
    final_epochs : int, default=3
        Epochs of training after the last step.
    final_batches : int, default=None
        Mini-batches of training after the last step, instead of ``final_epochs``.
    lr_policy : {"linear", "cosine", "anneal", "constant", "restart"}, default="linear"
        What the learning rate does after the first step. ``"linear"``, ``"cosine"``: it falls to zero, over all steps
        and the training after the last one; a line is what Li et al. 2020 [4]_ found best for a limited training.
        ``"anneal"``: it stays while there are steps, and falls in half a cosine in the training after the last one.
        ``"constant"``: it stays. ``"restart"``: learning-rate schedules among the callbacks of the net begin anew after
        every step; with the other policies they act in the training before pruning only.
    finetune_lr : float, default=None
        Learning rate to start with after the first step. None: the ``lr`` of the net.
    distill : float, default=0.0
        Share in [0, 1] of the training loss after each step that is the distance from the outputs of the network before
        pruning; the rest is the loss of the net. For classifiers with cross entropy it is the Kullback-Leibler
        divergence of Hinton et al. 2015 [3]_, otherwise the mean squared difference.
    distill_temperature : float, default=2.0
        What logits are divided by for it.
    min_score : float, default=None
        Lowest validation score of the result. A network below it is never returned.
    max_score_drop : float, default=None
        Largest difference between the validation score of the trained network before pruning and of the result.
    recovery_rounds : int, default=1
        How often the fine-tuning after a step is repeated if the step broke a threshold.
    step_halvings : int, default=2
        If that does not help either, the step is taken back and tried again with half its size: how often. After the
        last time the network before the step is the result.
    compaction : {"step", "end"}, default="step"
        When the network becomes physically smaller. ``"step"``: after every step, so that the rest of the run costs
        what the small network costs; momentum and the like are sliced along. ``"end"``: until the end removed filters
        are simulated by zeros. Both give the same result up to rounding, and but for dropout, which draws fewer
        random numbers for fewer channels.
    control : bool, default=False
        Whether to train the network before pruning for as long as the pruned one, without pruning, so that what the
        longer training gives is not credited to pruning: see ``control_score_``.
    store_baseline : bool, default=False
        Whether to keep the network as it was before pruning, for comparisons: see ``baseline_estimator_``. It takes the
        memory of that network, and changes no number.
    checkpoint : str or Path, default=None
        Folder in which the run is kept after every iteration, and the training before pruning after epochs, at most
        every five seconds. If it ends before its time, whatever the reason, `fit` with the same parameters and data
        goes on from there, with the same result; a fit that ended is not repeated. Of callbacks the numbers and strings
        in attributes that end in ``_`` are kept, see Notes. Fits with other parameters or data have subfolders of their
        own.
    memory : str, Path or joblib.Memory, default=None
        Folder in which fits share what they have in common: the training before pruning is done once for all fits with
        the same net, data and seed, and of the iterations those that begin in the same way, see Notes. Results are
        those of separate fits. Processes wait for each other where they need the same, also on several machines if
        the folder is on all of them. Files are numbers, no pickles; ``memory.clear()`` of a `joblib.Memory` removes
        them.
    scoring : str or callable, default=None
        Scikit-learn scorer for validation and `score`; greater is better. None: the ``score`` method of the net.
    include, exclude : str or sequence of str, default=None
        Patterns of layer names that may be pruned, or may not.
    round_to : int, default=None
        Keep the filters of each layer a multiple of this number.
    min_channels : int, default=1
        Smallest number of filters that a layer keeps.
    max_layer_reduction : float, default=None
        Largest fraction of its filters that a layer loses.
    norms : {"freeze", "subset"}, default="freeze"
        Whether channels that a layer normalises over together, such as a transformer's residual stream, stay, or may be
        removed; `LayerNorm` and its like then normalise over the channels that are left. The scores do not foresee what
        that changes for these.
    per : {"target", "params", "macs", "filters", "memory", "latency"} or None, default="target"
        What the importance of a unit is divided by before units are compared: what its removal alone would save now of
        that resource, ``"latency"`` of the time of a forward pass, according to a table of measured layers. Importances
        below zero are not divided. ``"target"``: the resource that ``reduction_of`` counts. None compares importances
        as they are.
    macs_regularization : float, default=0.0
        Importance that a unit loses for each million of multiply-adds that its removal alone would save: lambda of
        Molchanov et al. 2017, section 2.3, where it is 0.001.
    score_momentum : float, default=0.0
        Weight of the importances before the last removal in those after it, in [0, 1); Molchanov et al. 2019 take
        0.9.
    reset_scores : bool, default=True
        Whether scoring starts anew after a removal, as in both papers. If not, all mini-batches count alike.
    latency_batch_size : int, default=1
        Number of samples of a forward pass whose time is measured, where latency is asked for. What helps a batch of
        one may not help a batch of 32.
    random_state : int, RandomState instance or None, default=None
        Seed of weights, batches and dropout. With a seed two fits give the same plan and the same weights, and the
        global random states are afterwards as they were before. None: the global states of PyTorch, NumPy and Python.
    verbose : int, default=0
        With 1, a progress bar shows the epochs of the training before pruning and what they gave on the validation
        data, and another one iterations, mini-batches, reduction, score and the time that is left. Where the standard
        error is no terminal, and in worker processes, it is a line for each training and iteration and one every half
        minute: records of the logger ``"prunekit"`` if logging is set up for its level INFO. With 0, nothing is shown.
        The training before pruning prints what the net's own ``verbose`` asks for, and then has no bar; the fine-tuning
        prints nothing.

    Attributes
    ----------
    estimator_ : NeuralNet
        The pruned net, fitted. Its ``module`` is the smaller network and no ``module__`` parameters are left, so that
        ``clone``, ``fit`` and pickle keep it small. ``train_split``, callbacks and the rest are the user's.
    history_ : DataFrame
        One row for the network before pruning (phase "dense"), for each iteration ("prune"), for each repetition of its
        fine-tuning because of a threshold ("recover"), and for the training at the end ("final"), with the columns
        ``iteration``, ``phase``, ``target`` (the aim of the step), ``reduction``, ``reduction_params``,
        ``reduction_macs``, ``reduction_filters``, ``reduction_memory``, ``reduction_latency`` (NaN unless the target
        is of latency), ``num_prunables`` (units that are left), ``num_pruned`` (units removed in this iteration),
        ``train_loss``, ``score_before`` and ``score`` (on the
        validation data, before and after the fine-tuning), ``held`` (whether the thresholds held),
        ``seconds_scoring``, ``seconds_training``, ``seconds_validation`` and ``peak_memory_bytes`` (most that was taken
        so far: by PyTorch on a CUDA device, else the largest resident set of the process).
    baseline_score_ : float
        Validation score before pruning, NaN without validation data or scorer.
    baseline_estimator_ : NeuralNet
        With ``store_baseline=True``: the network before pruning, a fitted net, after its training or with the weights
        of `FrozenEstimator`. It shares nothing with ``estimator_``, and is pickled with the pruner; `save` leaves it
        out.
    reduction_ : float
        Reached reduction of ``reduction_of``.
    reductions_ : dict of str to float
        Reached reductions of "params", "macs", "filters" and "memory".
    stop_reason_ : str
        "target_reduction", "min_score", "max_score_drop", "nothing_left_to_prune" or "interrupted".
    n_iterations_ : int
        Number of iterations, those that broke a threshold included.
    n_prunables_ : int
        Number of units that are left.
    support_ : ndarray of shape (n_units,), dtype=bool
        Which units are left.
    ranking_ : ndarray of shape (n_units,), dtype=int
        1 for the units that are left; the higher, the earlier a unit was removed.
    importances_ : ndarray of shape (n_units,)
        Last estimate of the importance of each unit; of a removed one, the estimate that removed it. NaN if a unit was
        never scored. Estimates of different iterations are not on one scale.
    unit_layers_ : ndarray of shape (n_units,), dtype=str
        Name of the layer of each unit; a unit with filters of several layers counts for the first of them.
    control_score_ : float
        With ``control=True``: validation score of the network before pruning after the same training.
    control_estimator_ : NeuralNet
        With ``control=True``: that network, a fitted net.
    plan_ : PruningPlan
        What was removed from which parameter.
    classes_ : ndarray of shape (n_classes,)
        Labels of the classes, of classifiers only.
    n_features_in_ : int
        Number of features, if `fit` was given a table: an array of two dimensions, a list of rows or a data frame.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the features, if it was a data frame whose columns all have strings as names.

    See Also
    --------
    prunekit.PrunableNetwork : The network to prune in a training loop of one's own.

    Notes
    -----
    With the default criterion [2]_, the importance of a unit :math:`u` is the squared first-order estimate

    .. math:: I_u = \operatorname{mean}_b S_{b,u}^2, \qquad
        S_{b,u} = \sum_{w \in C_u} w \, \partial L_b / \partial w

    where :math:`L_b` is the loss of mini-batch :math:`b` and :math:`C_u` are the weights that read the channels of the
    unit: removing it is exactly setting them to zero. Importances are divided by what the removal of the unit saves of
    the target's resource (``per``).

    Where a network is fine-tuned after every step, this is as good as ``"taylor2"`` or better. ``"taylor2"`` predicts
    the loss right after a removal better and knows what units do together: take it for large steps with little or no
    fine-tuning. ``"taylor_activation"`` is the criterion of [1]_.

    The scoring pass runs with the running statistics of batch norm and without dropout layers. Of a longer fine-tuning
    about 2048 examples are scored, or 64 mini-batches if the criterion looks at no single examples.

    Everything runs in skorch's own training loop: callbacks, samplers, gradient scaling and the device work as in the
    net. Each fine-tuning is to callbacks what a ``partial_fit`` is; callbacks that stop a training early stop the
    fine-tuning of that iteration. Callbacks that prepare a network, save or
    load weights, or show progress (`InputShapeSetter`, `LoadInitState`, `Checkpoint`, `TrainEndCheckpoint`,
    `ProgressBar`) act in the training before pruning only, and with ``compile=True`` only that training and the result
    are compiled. The validation data of the net's
    ``train_split`` are set apart once and never trained on.

    With ``memory`` two fits share their first iterations as long as these remove the same units and train with the same
    learning rates. So a fit with a larger target goes on from the last step of one with a smaller target, if neither
    the steps nor the learning rate depend on the target: with ``step="milestones"`` and the ``lr_policy`` ``"anneal"``,
    ``"constant"`` or ``"restart"``. Other parameters, such as ``criterion``, have to be equal; ``final_epochs`` and
    thresholds need not. With other policies, and without a ``random_state``, no iterations are kept. The training
    before pruning is shared without a ``random_state``, too: candidates of a search then begin with the same network.

    With ``checkpoint`` the training before pruning goes on after its last epoch that was kept, if a state holds all
    that it depends on: weights, loss, optimizers, learning-rate schedules, history, random states, and what skorch's
    callbacks know. If anything else changes while it trains, such as other attributes of a callback, a module or a data
    set, or a generator of random numbers that a sampler has, it begins anew; so do nets that have a training loop of
    their own, are compiled or have an accelerator, `Checkpoint` with ``load_best``, and data loaders with
    ``persistent_workers``. What a global variable or a file holds is not seen.

    A net with skorch's `AccelerateMixin` is trained and pruned by all processes that `torchrun` has started. Each takes
    its share of every mini-batch; gradients and what the criterion sees are those of all, so that the result is that of
    one process with mini-batches of the sum of their sizes, up to rounding, dropout and batch norm. All processes call
    `fit`, and methods that predict, with the same data. Where a net has its module class in ``__main__``, other
    processes, as those of a search with ``n_jobs``, get it without its weights.

    Floating-point arrays are cast to the precision of the network, in `fit` and afterwards. Nets with several modules
    are not supported.

    Tables are checked as scikit-learn's estimators check them: numbers, all finite, the same features in `predict` as
    in `fit`; sparse ones are refused. The network gets a data frame as one array, unless its columns are the arguments
    of ``forward``, as skorch has it. Integers in a table are cast if the network does not take them. Tensors, images,
    dicts and data sets go to skorch as they are.

    Labels of a classifier may be strings, or numbers that are no positions of outputs. The net then learns their
    positions in ``classes_``, and so does the net that `transform` returns predict positions:
    ``pruner.classes_[small.predict(X)]`` are the labels. `predict`, `score` and scorers have the labels. Labels from 0
    to the number of outputs, those of a data set, tensors, and arrays of several dimensions are taken as they are, and
    integers by a frozen net, which was trained with them; strings have to be as many as the classes that it knows.
    Where a regressor gives one value in a column and ``y`` is no column, or the other way round, ``y`` gets the
    other shape, since losses would compare each value with each.

    ``sample_weight`` given to `fit` is for networks whose ``forward`` has an argument of that name. The net gets it as
    a part of ``X``, mini-batch by mini-batch, and its ``get_loss`` decides what it means; the samples of ``X_val`` and
    of `predict` have none. For other networks it is refused.

    References
    ----------
    .. [1] P. Molchanov, S. Tyree, T. Karras, T. Aila, J. Kautz, "Pruning convolutional neural networks for resource
       efficient inference", ICLR 2017.
    .. [2] P. Molchanov, A. Mallya, S. Tyree, I. Frosio, J. Kautz, "Importance estimation for neural network pruning",
       CVPR 2019.
    .. [3] G. Hinton, O. Vinyals, J. Dean, "Distilling the knowledge in a neural network", arXiv:1503.02531.
    .. [4] M. Li, E. Yumer, D. Ramanan, "Budgeted training: rethinking deep neural network training under resource
       constraints", ICLR 2020, arXiv:1905.04753.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from skorch import NeuralNetClassifier
    >>> from torch import nn
    >>> from prunekit import TaylorPruner
    >>> X, y = make_classification(n_samples=500, random_state=0)
    >>> class Perceptron(nn.Module):
    ...     def __init__(self, num_hidden=64):
    ...         super().__init__()
    ...         self.hidden = nn.Linear(20, num_hidden)
    ...         self.output = nn.Linear(num_hidden, 2)
    ...
    ...     def forward(self, x):
    ...         return self.output(self.hidden(x).relu())
    >>> net = NeuralNetClassifier(Perceptron, criterion=nn.CrossEntropyLoss, lr=0.1, verbose=0)
    >>> pruner = TaylorPruner(net, target_reduction=0.75, step=0.25, random_state=0).fit(X, y)
    >>> small = pruner.transform()
    >>> small.module_.hidden
    Linear(in_features=20, out_features=15, bias=True)
    >>> pruner.stop_reason_
    'target_reduction'
    """

    def __init__(
        self,
        estimator: NeuralNet | FrozenEstimator,
        *,
        target_reduction: float = 0.5,
        reduction_of: Quantity = "params",
        step: float | str | Schedule | Callable[[int, float, float], float] = "cubic",
        criterion: Any = "taylor",
        score_batches: int | None = None,
        finetune_epochs: int = 1,
        finetune_batches: int | None = None,
        final_epochs: int = 3,
        final_batches: int | None = None,
        lr_policy: _skorch.RatePolicy = "linear",
        finetune_lr: float | None = None,
        distill: float = 0.0,
        distill_temperature: float = 2.0,
        min_score: float | None = None,
        max_score_drop: float | None = None,
        recovery_rounds: int = 1,
        step_halvings: int = 2,
        compaction: Literal["step", "end"] = "step",
        control: bool = False,
        store_baseline: bool = False,
        checkpoint: str | Path | None = None,
        memory: Any = None,
        scoring: str | Callable[..., float] | None = None,
        include: str | Sequence[str] | None = None,
        exclude: str | Sequence[str] | None = None,
        round_to: int | None = None,
        min_channels: int = 1,
        max_layer_reduction: float | None = None,
        norms: Norms = "freeze",
        per: str | None = "target",
        macs_regularization: float = 0.0,
        score_momentum: float = 0.0,
        reset_scores: bool = True,
        latency_batch_size: int = 1,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.target_reduction = target_reduction
        self.reduction_of = reduction_of
        self.step = step
        self.criterion = criterion
        self.score_batches = score_batches
        self.finetune_epochs = finetune_epochs
        self.finetune_batches = finetune_batches
        self.final_epochs = final_epochs
        self.final_batches = final_batches
        self.lr_policy = lr_policy
        self.finetune_lr = finetune_lr
        self.distill = distill
        self.distill_temperature = distill_temperature
        self.min_score = min_score
        self.max_score_drop = max_score_drop
        self.recovery_rounds = recovery_rounds
        self.step_halvings = step_halvings
        self.compaction = compaction
        self.control = control
        self.store_baseline = store_baseline
        self.checkpoint = checkpoint
        self.memory = memory
        self.scoring = scoring
        self.include = include
        self.exclude = exclude
        self.round_to = round_to
        self.min_channels = min_channels
        self.max_layer_reduction = max_layer_reduction
        self.norms = norms
        self.per = per
        self.macs_regularization = macs_regularization
        self.score_momentum = score_momentum
        self.reset_scores = reset_scores
        self.latency_batch_size = latency_batch_size
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None, X_val: Any = None, y_val: Any = None, **fit_params: Any) -> Self:
        """
        Train a clone of the net, prune it and fine-tune it.

        Parameters
        ----------
        X : array, data frame, list of rows, tensor, dict of those, or Dataset
            Training data, as skorch takes them.
        y : array, list or tensor, default=None
            Targets; labels of any kind for a classifier. None if ``X`` is a Dataset that holds them.
        X_val, y_val : object, default=None
            Data to validate on, like ``X`` and ``y``; all of ``X`` is then trained on. None: what the ``train_split``
            of the net sets apart.
        **fit_params : dict
            Passed on to the ``fit`` of the net, which hands them to ``forward``; ``sample_weight`` is split into
            mini-batches first. With metadata routing enabled, they are routed.

        Returns
        -------
        self : TaylorPruner
            The fitted estimator.

        Raises
        ------
        ParameterError
            If the value of a parameter is wrong, or a threshold is given without validation data.
        ParameterTypeError
            If a parameter has the wrong type, such as an ``estimator`` that is no skorch net.
        InputError
            If the data do not fit the network or its loss.
        NothingToPruneError
            If no filter of the network can be removed.
        TargetError
            If the target cannot be reached.
        TrainingError
            If a loss or a gradient is not finite.
        """
        return self._fit_and_score(X, y, X_val, y_val, fit_params, None)

    def _fit_and_score(
        self, X: Any, y: Any, X_val: Any, y_val: Any, fit_params: dict[str, Any], held_out: HeldOut | None
    ) -> Self:
        """Fit, and score the networks on the way on data that are held out."""
        settings = LoopSettings.checked(self.get_params(deep=False), _OWNER)
        if X_val is None and y_val is not None:
            raise ParameterError(f"The 'X_val' parameter of {_OWNER}.fit must be given with 'y_val'. Got None instead.")
        valid = None if X_val is None else (X_val, y_val)
        net, frozen = _skorch.check_net(self.estimator, _OWNER)
        if not _skorch.processes_of(net).is_first:
            settings = replace(settings, verbose=0)  # one tells for all
        if not frozen and isinstance(net.module, torch.nn.Module):
            warnings.warn(
                "The 'module' of the net is an instance: training starts from its weights, also in every fold of a "
                f"cross-validation. Pass the class, or {_OWNER}(FrozenEstimator(net)) to prune a net with its weights.",
                UserWarning,
                stacklevel=3,
            )
        routed = process_routing(self, "fit", **fit_params).estimator.fit if _is_routing_enabled() else fit_params
        device = None if net.device is None else torch.device(net.device)
        store = open_store(self.memory, _OWNER)
        if store is not None and _skorch.processes_of(net).count > 1:
            raise ParameterError(
                f"The 'memory' parameter of {_OWNER} must be None where several processes train one net. "
                f"Got {self.memory!r} instead. Share a folder between fits of one process each, or use checkpoint."
            )
        checkpoint = self._open_checkpoint((X, y, X_val, y_val, fit_params), held_out)
        seed = _skorch.shared_seed(net, self._draw_seed())
        if checkpoint is not None:
            seed = checkpoint.begin(seed, device)
        sharing = None if store is None else Sharing(store, seed, (X, y, X_val, y_val, fit_params))
        with _skorch.InterruptWatch() as interrupts, seeded_rng(seed, device):
            self._fit(X, y, valid, routed, settings, net, frozen, interrupts, checkpoint, sharing, held_out)
        return self

    def _fit(
        self,
        X: Any,
        y: Any,
        valid: tuple[Any, Any] | None,
        fit_params: dict[str, Any],
        settings: LoopSettings,
        net: NeuralNet,
        frozen: bool,
        interrupts: _skorch.InterruptWatch,
        checkpoint: Checkpoint | None,
        sharing: Sharing | None,
        held_out: HeldOut | None,
    ) -> None:
        """Check everything on a copy that is not trained, train, prune, and set the fitted attributes."""
        data = _skorch.prepare(self, net, X, y, valid, fit_params, frozen=frozen)
        start, X, y, fit_params = data.net, data.X, data.y, data.fit_params
        split = _skorch.split_once(start, X, y, fit_params, data.valid)
        validation = _skorch.make_validation(start, split.valid, self.scoring, _OWNER, data.targets)
        self._check_thresholds(split, validation)
        visits = None
        if held_out is not None:
            test = start.get_dataset(*data.more(self, held_out.X, held_out.y, strict=False))
            judge = _skorch.make_validation(start, test, held_out.scoring, _OWNER, data.targets)
            visits = None if judge is None else Visits(held_out, judge)
        example = _skorch.check_samples(start, split.train)
        network = self._make_network(start, example)
        self._check_target(network, settings)

        dense = _skorch.Phase()
        if not frozen:
            del network  # a copy of the network, while it trains

            def train() -> tuple[NeuralNet, _skorch.Phase]:
                copied = _skorch.copy_net(net, train_split=split)
                place = None if checkpoint is None else checkpoint.place("training")
                with TrainingProgress(copied, bool(settings.verbose)) as shown:
                    return copied, _skorch.train(copied, X, y, fit_params, interrupts, place, shown.tell)

            trained = None if checkpoint is None else checkpoint.read("dense")
            if trained is not None and checkpoint is not None:
                with checkpoint.place("dense").checked():
                    dense = _skorch.load_trained_(start, trained)
            else:
                start, dense = train() if sharing is None else sharing.train_once(net, start, train)
                if checkpoint is not None:
                    checkpoint.write("dense", _skorch.trained_state(start, dense))
            if checkpoint is not None:
                checkpoint.remove("training")  # it led to "dense"
            network = self._make_network(start, example)

        baseline = self._make_baseline(net, start) if self.store_baseline else None
        before = _skorch.copy_fitted(start) if self.distill or self.control else None
        distillation = (
            _skorch.Distillation(before, self.distill, self.distill_temperature)
            if before is not None and self.distill
            else None
        )

        def make_tuner(module: torch.nn.Module, pruned: PrunableNetwork | None, trained: NeuralNet) -> FineTuner:
            schedules = self.lr_policy == "restart"
            tuned = _skorch.make_tuned(net, module, trained=trained, train_split=split, schedules=schedules)
            rates = _skorch.Rates(self.lr_policy, self.finetune_lr)
            return FineTuner(tuned, pruned, split, X, y, fit_params, rates, interrupts, distillation)

        tuner = make_tuner(network.module, network, start)
        control = None
        if self.control and before is not None:
            dense_net = before
            control = Control(
                lambda: make_tuner(copy_module(_skorch.bare_module(dense_net)), None, dense_net),
                validation,
                _skorch.device_of(tuner.net),
            )
        path = None if sharing is None else sharing.path(self.get_params(deep=False), start)
        del start
        masked = tuner.net
        loop = PruningLoop(network, tuner, validation, settings, _OWNER, checkpoint, control, path, visits)
        result = loop.run(dense)

        if result.stop_reason == "nothing_left_to_prune":
            warnings.warn(
                f"Pruning ended at a reduction of {network.reduction(settings.resource):.4g} of {settings.resource}, "
                f"below the target of {settings.target:.4g}: the constraints let no further unit go.",
                UserWarning,
                stacklevel=4,
            )
        if result.stop_reason == "interrupted":
            warnings.warn(
                f"Pruning was interrupted at a reduction of {network.reduction(settings.resource):.4g} of "
                f"{settings.resource}, below the target of {settings.target:.4g}: the result is the network of the "
                "last whole iteration.",
                UserWarning,
                stacklevel=4,
            )
        real = _skorch.take_samples(masked, split.train if split.valid is None else split.valid, _NUM_VERIFIED)[0]
        network.verify(_skorch.as_example(real))
        self.estimator_ = _skorch.rebuild(net, network.compact(verify=False), trained=masked)
        self._inputs, self._targets = data.inputs, data.targets
        self.history_ = result.history
        self.baseline_score_ = result.baseline_score
        self.reduction_ = network.reduction(settings.resource)
        self.reductions_ = {name: network.reduction(name) for name in RESOURCES}
        self.stop_reason_ = result.stop_reason
        self.n_iterations_ = result.n_iterations
        self.n_prunables_ = network.num_prunables
        self.support_ = network.support
        self.ranking_ = result.ranking
        self.importances_ = result.importances
        self.unit_layers_ = network.unit_layers
        self.plan_ = network.plan
        self._layer_table = network.analyze()
        self._network_map = map_network(network.graph, network.module)
        self._keep_baseline(baseline)
        if self.control:
            self._keep_control(net, result)
        self._warn_of_bottlenecks()

    def transform(self, X: Any = None) -> NeuralNet:
        """
        Return the pruned net; the network, not data, is what a pruner makes.

        Parameters
        ----------
        X : object, default=None
            Checked as by `predict` if it is given, and not used.

        Returns
        -------
        NeuralNet
            ``estimator_``, a fitted net.
        """
        check_is_fitted(self)
        self._check(X)
        return self.estimator_

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> NeuralNet:
        """
        Fit and return the pruned net.

        Parameters
        ----------
        X, y : object
            As in `fit`.
        **fit_params : dict
            As in `fit`.

        Returns
        -------
        NeuralNet
            ``estimator_``, a fitted net.
        """
        return self.fit(X, y, **fit_params).transform()

    def analyze(self) -> pd.DataFrame:
        """
        Return the layer table: what each layer has lost, what it costs, and what blocks the rest.

        Returns
        -------
        DataFrame
            One row per layer, as `PrunableNetwork.analyze` describes it.
        """
        check_is_fitted(self)
        return self._layer_table.copy()

    @available_if(_net_has("predict"))  # type: ignore[untyped-decorator]
    def predict(self, X: Any) -> NDArray[Any]:
        """
        Predict with the pruned net.

        Parameters
        ----------
        X : array, tensor, dict of those, or Dataset
            The samples.

        Returns
        -------
        ndarray of shape (n_samples, ...)
            Class labels, of ``classes_``, or values.
        """
        check_is_fitted(self)
        predicted: NDArray[Any] = self.estimator_.predict(self._check(X))
        return self._targets.decode(predicted)

    @available_if(_net_has("predict_proba"))  # type: ignore[untyped-decorator]
    def predict_proba(self, X: Any) -> NDArray[Any]:
        """
        Predict the probabilities of classes with the pruned net.

        Parameters
        ----------
        X : array, tensor, dict of those, or Dataset
            The samples.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            Probabilities, in the order of ``classes_``.
        """
        check_is_fitted(self)
        predicted: NDArray[Any] = self.estimator_.predict_proba(self._check(X))
        return predicted

    @available_if(_net_has("score"))  # type: ignore[untyped-decorator]
    def score(self, X: Any, y: Any = None) -> float:
        """
        Score the pruned net with ``scoring``, or with the net's own ``score``.

        Parameters
        ----------
        X : array, tensor, dict of those, or Dataset
            The samples.
        y : array or tensor, default=None
            Their targets.

        Returns
        -------
        float
            The score; greater is better.
        """
        check_is_fitted(self)
        return self._targets.score(self.estimator_, self.scoring, self._check(X), y)

    @property
    def classes_(self) -> NDArray[Any]:
        """Labels of the classes, of classifiers only."""
        net = self.estimator_
        labels: NDArray[Any] = self._targets.view(net).classes_
        return labels

    def get_metadata_routing(self) -> MetadataRouter:
        """
        Return how metadata are routed: from `fit` to the net's ``fit``, and ``X_val`` and ``y_val`` to `fit` itself.

        Returns
        -------
        MetadataRouter
            The routing.
        """
        return (
            MetadataRouter(owner=type(self).__name__)
            .add_self_request(self)
            .add(estimator=self._net, method_mapping=MethodMapping().add(caller="fit", callee="fit"))
        )

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimator_")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        net_tags = get_tags(self._net)
        tags.estimator_type = net_tags.estimator_type
        for name in ("classifier_tags", "regressor_tags", "target_tags", "input_tags"):
            setattr(tags, name, copy.deepcopy(getattr(net_tags, name)))
        if tags.classifier_tags is not None and isinstance(self._net, NeuralNetBinaryClassifier):
            tags.classifier_tags.multi_class = False
        # `transform` exists but gives a network, not arrays, hence no TransformerMixin.
        tags.transformer_tags = TransformerTags(preserves_dtype=[])
        tags.non_deterministic = self.random_state is None
        return tags

    @property
    def _net(self) -> Any:
        """The pruned net, before `fit` the user's own."""
        net = getattr(self, "estimator_", self.estimator)
        while isinstance(net, FrozenEstimator):
            net = net.estimator
        return net

    def _check(self, X: Any) -> Any:
        """Return samples as the pruned net takes them."""
        dtype = _skorch.float_dtype(_skorch.bare_module(self.estimator_))
        return _skorch.cast_floats(self._inputs.check(self, X), dtype)

    def _draw_seed(self) -> int | None:
        """Return the seed of this fit."""
        if self.random_state is None:
            return None
        if isinstance(self.random_state, np.random.RandomState):
            return int(self.random_state.randint(2**31 - 1))
        return check_integer("random_state", self.random_state, _OWNER, 0)

    def _open_checkpoint(self, data: tuple[Any, ...], held_out: HeldOut | None = None) -> Checkpoint | None:
        """Return where this very fit is kept, and what it gives on data that are held out."""
        if self.checkpoint is None:
            return None
        params = self.get_params(deep=False)
        for name in ("checkpoint", "memory", "store_baseline", "verbose"):  # none of which changes a number
            del params[name]
        if isinstance(self.random_state, np.random.RandomState):
            params["random_state"] = "RandomState"  # which goes on from fit to fit
        visits = () if held_out is None else held_out.conditions
        folder = Path(self.checkpoint) / fingerprint(params, data, *visits)
        return SharedCheckpoint(folder, _skorch.processes_of(self._net))

    def _make_baseline(self, net: NeuralNet, start: NeuralNet) -> NeuralNet:
        """Return the trained net in the form that the pruned one will have; random states stay as they are."""
        with preserve_rng(_skorch.device_of(start)):
            return _skorch.rebuild(net, _skorch.bare_module(start), trained=start)

    def _keep_baseline(self, baseline: NeuralNet | None) -> None:
        """Set the attribute, or remove that of a fit before."""
        if baseline is not None:
            self.baseline_estimator_ = baseline
        elif hasattr(self, "baseline_estimator_"):
            del self.baseline_estimator_

    def _keep_control(self, net: NeuralNet, result: LoopResult) -> None:
        """Set the attributes of the control run."""
        for name in ("control_score_", "control_estimator_"):
            if hasattr(self, name):
                delattr(self, name)
        if result.control is None:
            warnings.warn(
                "There is no control run, since the fit was interrupted before its end. Fit again to have one; with "
                "the same checkpoint the fit goes on where it was.",
                UserWarning,
                stacklevel=5,
            )
            return
        self.control_score_ = result.control.score
        trained = result.control.net
        self.control_estimator_ = _skorch.rebuild(net, _skorch.bare_module(trained), trained=trained)

    def _warn_of_bottlenecks(self) -> None:
        """Warn of layers that lost nearly all of their filters, as a bad estimate may take them."""
        table = self._layer_table
        whole = table["num_filters"] + table["num_pruned_filters"]
        narrow = table[table["num_filters"] < _NEARLY_EMPTY * whole]
        if len(narrow):
            names = ", ".join(f"'{row['name']}' ({row['num_filters']} filters)" for _, row in narrow.iterrows())
            warnings.warn(
                f"Nearly nothing is left of {names}. If the score suffers, set min_channels or max_layer_reduction, or "
                "exclude such layers.",
                UserWarning,
                stacklevel=5,
            )

    def _check_thresholds(self, split: _skorch.FixedSplit, validation: _skorch.Validation | None) -> None:
        """Refuse a threshold that nothing can be measured against."""
        for name in ("min_score", "max_score_drop"):
            value = getattr(self, name)
            if value is None or validation is not None:
                continue
            if split.valid is None:
                lack, advice = "validation data", "Give fit X_val and y_val, or the net a train_split"
            else:
                lack, advice = "a score method", "Pass scoring"
            raise ParameterError(
                f"The '{name}' parameter of {_OWNER} must be None for a net without {lack}. Got {value!r} instead. "
                f"{advice}, or leave the threshold out."
            )

    def _check_target(self, network: PrunableNetwork, settings: LoopSettings) -> None:
        """Refuse a target that cannot be reached."""
        largest = network.max_reduction(settings.resource)
        if largest < settings.target:
            shown = math.floor(1000 * largest) / 1000
            raise TargetError(
                f"The 'target_reduction' parameter of {_OWNER} must be at most {shown:g} of {settings.resource} for "
                f"this network and these constraints. Got {self.target_reduction!r} instead. {self._blockers(network)}"
                "Lower the target; the 'blocked_by' column of prunekit.analyze(net, X) has all that cannot be removed."
            )

    def _blockers(self, network: PrunableNetwork) -> str:
        """Say which layers keep most of a network from being removed, and which constraints are set."""
        table = network.analyze().sort_values("num_learnables", ascending=False, kind="stable")
        blocked = table[table["blocked_by"] != ""].head(_NUM_BLOCKERS)
        reasons = [f"'{name}' ({reason})" for name, reason in zip(blocked["name"], blocked["blocked_by"], strict=True)]
        defaults = {"min_channels": 1, "round_to": None, "max_layer_reduction": None}
        limits = [f"{name}={getattr(self, name)!r}" for name, value in defaults.items() if getattr(self, name) != value]
        said = [f"Blocked are {', '.join(reasons)}. "] if reasons else []
        said += [f"Constraints are {', '.join(limits)}. "] if limits else []
        return "".join(said)

    def _make_network(self, net: NeuralNet, example: Any) -> PrunableNetwork:
        return PrunableNetwork(
            _skorch.bare_module(net),
            example,
            criterion=self.criterion,
            include=self.include,
            exclude=self.exclude,
            min_channels=self.min_channels,
            round_to=self.round_to,
            max_layer_reduction=self.max_layer_reduction,
            norms=self.norms,
            per=self.reduction_of if self.per == "target" else self.per,
            macs_regularization=self.macs_regularization,
            score_momentum=self.score_momentum,
            reset_scores=self.reset_scores,
            latency_batch_size=self.latency_batch_size,
        )


def _is_routing_enabled() -> bool:
    enabled: bool = sklearn.get_config()["enable_metadata_routing"]
    return enabled
