"""What files can name can be built, with exactly the options that it takes."""

import inspect

import pytest
import torch
from torch import nn

from prunekit import TaylorPruner
from prunekit.pipeline.registry import REGISTRY
from prunekit.pipeline.schema import PruneSection

ENTRIES = [(kind, name) for kind, entries in REGISTRY.items() for name in entries]
FROM_THE_RUN = {"module": {"input_shape", "num_classes"}, "optimizer": {"params", "lr"}}


def defaults(target):
    """Return the parameters of a callable that have a default value, with it."""
    parameters = inspect.signature(target).parameters.values()
    return {item.name: item.default for item in parameters if item.default is not inspect.Parameter.empty}


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_options_are_arguments(kind, name):
    entry = REGISTRY[kind][name]
    arguments = set(inspect.signature(entry.target).parameters)
    options = set(entry.options.model_fields)
    assert options <= arguments - FROM_THE_RUN.get(kind, set())


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, name in ENTRIES if kind != "source"])
def test_defaults_are_those_of_the_target(kind, name):
    entry = REGISTRY[kind][name]
    theirs = defaults(entry.target)
    for key, value in entry.options().model_dump().items():
        assert value == (list(theirs[key]) if isinstance(theirs[key], tuple) else theirs[key]), key


@pytest.mark.parametrize(("kind", "name"), ENTRIES)
def test_summary_is_one_line(kind, name):
    summary = REGISTRY[kind][name].summary
    assert summary
    assert "\n" not in summary


def test_prune_section_is_the_pruner():
    theirs = defaults(TaylorPruner)
    ours = PruneSection().model_dump()
    assert ours == {key: theirs[key] for key in ours}
    left_out = {"scoring", "control", "memory", "checkpoint", "random_state", "verbose"}
    assert set(theirs) - set(ours) == left_out & set(theirs)


@pytest.mark.parametrize("name", REGISTRY["module"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 16, 12)])
def test_modules_give_logits(name, shape):
    module = REGISTRY["module"][name].target(shape, 7)
    logits = module(torch.zeros(2, *shape))
    assert logits.shape == (2, 7)


def test_optimizers_take_their_options():
    for entry in REGISTRY["optimizer"].values():
        optimizer = entry.target([nn.Parameter(torch.zeros(1))], lr=0.1, **entry.options().model_dump())
        assert isinstance(optimizer, torch.optim.Optimizer)
