"""What files can name can be built, with exactly the options that it takes."""

import inspect

import pytest
import torch
from torch import nn

from prunekit import PrunableNetwork, TaylorPruner
from prunekit.pipeline._catalogue import CATALOGUE
from prunekit.pipeline.registry import REGISTRY
from prunekit.pipeline.schema import PruneSection

ENTRIES = [(kind, name) for kind, entries in REGISTRY.items() for name in entries]
FROM_THE_RUN = {
    "source": {"task"},
    "module": {"input_shape", "num_classes"},
    "optimizer": {"params", "lr"},
    "scheduler": {"optimizer"},
}
REQUIRED = {
    "milestones": [3],
    "step_size": 2,
    "gamma": 0.9,
    "T_max": 4,
    "T_0": 2,
    "scoring": "accuracy",
}


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


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, name in ENTRIES if kind != "source" and name not in CATALOGUE]
)
def test_defaults_are_those_of_the_target(kind, name):
    entry = REGISTRY[kind][name]
    theirs = defaults(entry.target)
    fields = {
        key: field
        for key, field in entry.options.model_fields.items()
        if not field.is_required() and key in theirs  # a pruner is what TaylorPrunerCV is about, here with defaults
    }
    for key, field in fields.items():
        value = field.get_default()
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
    left_out = {"control", "memory", "checkpoint", "store_baseline", "random_state", "verbose"}
    assert set(theirs) - set(ours) == left_out & set(theirs)


SHAPES = {"ConvNet1d": [(1, 8), (3, 21)]}


@pytest.mark.parametrize(
    ("name", "shape"),
    [(name, shape) for name in REGISTRY["module"] for shape in SHAPES.get(name, [(1, 8, 8), (3, 16, 12)])],
)
def test_modules_give_logits(name, shape):
    module = REGISTRY["module"][name].target(shape, 7)
    logits = module(torch.zeros(2, *shape))
    assert logits.shape == (2, 7)


def test_optimizers_take_their_options():
    for entry in REGISTRY["optimizer"].values():
        optimizer = entry.target([nn.Parameter(torch.zeros(1))], lr=0.1, **entry.options().model_dump())
        assert isinstance(optimizer, torch.optim.Optimizer)


@pytest.mark.parametrize(("kind", "name"), [one for one in ENTRIES if one[0] in ("scheduler", "callback", "criterion")])
def test_what_is_built_takes_its_options(kind, name):
    entry = REGISTRY[kind][name]
    required = {key: REQUIRED[key] for key, field in entry.options.model_fields.items() if field.is_required()}
    options = entry.options(**required).model_dump()
    if kind == "scheduler":
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
        assert isinstance(entry.target(optimizer, **options), torch.optim.lr_scheduler.LRScheduler)
    else:
        assert entry.target(**options)


@pytest.mark.parametrize(("kind", "name"), [one for one in ENTRIES if one[0] in ("optimizer", "criterion")])
def test_what_takes_numbers_takes_those_that_torch_has(kind, name):
    """Every number of the class that is no switch of its implementation can be given."""
    switches = {"foreach", "maximize", "capturable", "differentiable", "fused", "decoupled_weight_decay"}
    switches |= {"params", "lr", "weight", "size_average", "reduce", "reduction", "ignore_index"}
    entry = REGISTRY[kind][name]
    assert set(entry.options.model_fields) == set(inspect.signature(entry.target).parameters) - switches


@pytest.mark.parametrize("name", REGISTRY["module"])
def test_modules_can_be_pruned(name):
    shape = SHAPES.get(name, [(1, 8, 8)])[0]
    network = PrunableNetwork(REGISTRY["module"][name].target(shape, 3), torch.zeros(2, *shape))
    assert network.max_reduction("params") > 0.4
