"""What the loop is to do."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from os import PathLike
from typing import Any, cast

from prunekit._skorch import RATE_POLICIES, Budget
from prunekit._validation import check_boolean, check_choice, check_integer, check_interval
from prunekit.cost import QUANTITIES, Quantity
from prunekit.exceptions import ParameterError, ParameterTypeError
from prunekit.importance import make_criterion
from prunekit.network import Comparison
from prunekit.schedules import Schedule, as_schedule, max_to_prune
from prunekit.surgery import NORMS, Constraints


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """
    What the loop is to do; checked by whoever fills it in.

    Parameters
    ----------
    target : float
        Reduction to reach.
    resource : {"params", "macs", "filters", "memory", "latency"}
        What the reduction is measured in.
    schedule : Schedule
        How fast to get there.
    max_to_prune : int or None
        Largest number of units that an iteration removes.
    score_batches : int or None
        Mini-batches of a scoring pass.
    finetune, final : Budget
        Training after each pruning, and at the end.
    cutting : bool
        Whether the network is cut after each pruning, not only at the end.
    min_score, max_score_drop : float or None
        Thresholds on the validation score.
    recovery_rounds : int
        How often the training after a pruning is repeated if it broke a threshold.
    step_halvings : int
        How often a step that broke a threshold all the same is tried again with half its size.
    verbose : int
        Whether to show how far the run is.
    """

    target: float
    resource: Quantity
    schedule: Schedule
    max_to_prune: int | None
    score_batches: int | None
    finetune: Budget
    final: Budget
    cutting: bool
    min_score: float | None
    max_score_drop: float | None
    recovery_rounds: int
    step_halvings: int
    verbose: int

    @classmethod
    def checked(cls, params: Mapping[str, Any], owner: str) -> "LoopSettings":
        """
        Return settings from the parameters of an estimator, after all that can be checked without the network is.

        Parameters
        ----------
        params : Mapping of str to object
            Parameters as `TaylorPruner` has them.
        owner : str
            Class that they belong to, for the messages.

        Returns
        -------
        LoopSettings
            The settings.

        Raises
        ------
        ParameterError
            If a value is out of range.
        ParameterTypeError
            If a value has the wrong type.
        """

        def integer(name: str, low: int) -> int:
            return check_integer(name, params[name], owner, low)

        def optional(name: str, low: int) -> int | None:
            return None if params[name] is None else integer(name, low)

        resource = cast("Quantity", check_choice("reduction_of", params["reduction_of"], owner, QUANTITIES))
        make_criterion(params["criterion"], owner)
        Constraints.checked(params["min_channels"], params["round_to"], params["max_layer_reduction"], owner)
        check_choice("norms", params["norms"], owner, NORMS)
        if params["per"] == "target":
            params = {**params, "per": params["reduction_of"]}
        Comparison.checked(**{field.name: params[field.name] for field in fields(Comparison)}, owner=owner)
        min_score, max_score_drop = params["min_score"], params["max_score_drop"]
        if min_score is not None:
            min_score = check_interval("min_score", min_score, owner, -math.inf, math.inf, closed="neither")
        if max_score_drop is not None:
            max_score_drop = check_interval("max_score_drop", max_score_drop, owner, 0.0, math.inf, closed="left")
        check_interval("distill", params["distill"], owner, 0.0, 1.0)
        check_interval("distill_temperature", params["distill_temperature"], owner, 0.0, math.inf, closed="neither")
        check_choice("lr_policy", params["lr_policy"], owner, RATE_POLICIES)
        if params["finetune_lr"] is not None:
            check_interval("finetune_lr", params["finetune_lr"], owner, 0.0, math.inf, closed="neither")
        if params["checkpoint"] is not None and not isinstance(params["checkpoint"], str | PathLike):
            raise ParameterTypeError(
                f"The 'checkpoint' parameter of {owner} must be the path of a folder or None. "
                f"Got {params['checkpoint']!r} instead."
            )
        check_boolean("store_baseline", params["store_baseline"], owner)
        check_integer("latency_batch_size", params["latency_batch_size"], owner, 1)
        schedule = as_schedule(params["step"], owner)
        limit = max_to_prune(schedule)
        if limit is not None and params["round_to"] is not None and limit < params["round_to"]:
            raise ParameterError(
                f"The 'step' parameter of {owner} must be a schedule that removes at least {params['round_to']} units "
                f"an iteration, since 'round_to' keeps multiples of that. Got {params['step']!r} instead."
            )
        return cls(
            target=check_interval("target_reduction", params["target_reduction"], owner, 0.0, 1.0, closed="left"),
            resource=resource,
            schedule=schedule,
            max_to_prune=limit,
            score_batches=optional("score_batches", 1),
            finetune=Budget(integer("finetune_epochs", 0), optional("finetune_batches", 1)),
            final=Budget(integer("final_epochs", 0), optional("final_batches", 1)),
            cutting=check_choice("compaction", params["compaction"], owner, ("step", "end")) == "step",
            min_score=min_score,
            max_score_drop=max_score_drop,
            recovery_rounds=integer("recovery_rounds", 0),
            step_halvings=integer("step_halvings", 0),
            verbose=check_integer("verbose", int(params["verbose"]), owner, 0),
        )
