"""What a compacted network carries with it, so that it can be saved whenever and wherever."""

import json
from collections.abc import Mapping
from typing import Any

from torch import nn

from prunekit.exceptions import InputError, PlanError
from prunekit.surgery.plan import PruningPlan
from prunekit.tracing import Inputs, describe_inputs

_NOTE = "_prunekit"
"""Attribute with a JSON text, not with an object, so that pickles of the network need no prunekit to be read."""


def note_(module: nn.Module, plan: PruningPlan, inputs: Inputs | Mapping[str, Any] | None = None) -> None:
    """
    Let a compacted network carry its plan and the shapes of its inputs.

    Parameters
    ----------
    module : Module
        The network.
    plan : PruningPlan
        What was removed since it was dense.
    inputs : Inputs or Mapping, default=None
        Arguments of a forward pass, or their description.
    """
    try:
        description = describe_inputs(inputs) if isinstance(inputs, Inputs) else inputs
        module.__dict__[_NOTE] = json.dumps({"plan": plan.to_document(), "inputs": description})
    except (InputError, TypeError):  # objects of the user's own, and values
        note_(module, plan)


def noted_plan(module: nn.Module) -> PruningPlan:
    """
    Return what a network lost since it was dense, as far as it carries a note.

    Parameters
    ----------
    module : Module
        Any network.

    Returns
    -------
    PruningPlan
        The plan; an empty one for a network that was not compacted.

    Raises
    ------
    PlanError
        If somebody has written something else over the note.
    """
    note = _read(module)
    return PruningPlan() if note is None else PruningPlan.from_document(note["plan"])


def noted_inputs(module: nn.Module) -> dict[str, Any] | None:
    """
    Return the shapes of the inputs of a network, as far as it carries a note.

    Parameters
    ----------
    module : Module
        Any network.

    Returns
    -------
    dict or None
        What `prunekit.tracing.describe_inputs` returned.
    """
    note = _read(module)
    return None if note is None else note["inputs"]


def _read(module: nn.Module) -> dict[str, Any] | None:
    text = module.__dict__.get(_NOTE)
    if text is None:
        return None
    try:
        note = json.loads(text)
        return {"plan": note["plan"], "inputs": note["inputs"]}
    except (TypeError, ValueError, KeyError) as exc:
        raise PlanError(
            f"The attribute '{_NOTE}' of {type(module).__name__} is no longer what prunekit wrote."
        ) from exc
