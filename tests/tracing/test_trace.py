"""Running a network once: inputs, records, what is told when it does not run."""

import inspect
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prunekit import PrunableNetwork, analyze
from prunekit.exceptions import InputError, PrunekitError
from prunekit.tracing import Inputs, duplicate_inputs, named_outputs, named_tensors, trace
from tests.nets import PlainCNN
from tests.zoo.case import image
from tests.zoo.surroundings import AuxiliaryHead, BranchOnValues, TrainingNeedsTarget


def test_inputs_in_all_their_forms() -> None:
    x, y = torch.ones(2, 3), torch.zeros(2)
    assert Inputs.of(x) == Inputs((x,))
    assert Inputs.of((x, y)).args == Inputs.of([x, y]).args == (x, y)
    assert Inputs.of({"a": x}).kwargs == {"a": x}
    assert Inputs.of(({"a": x},)).args == ({"a": x},)
    given = Inputs((x,), {"flag": True})
    assert Inputs.of(given) is given
    assert len(Inputs.of(({"a": x, "b": [y, 3]},)).tensors()) == 2


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (torch.ones(4, 2), 4),
        ((torch.ones(4, 2), torch.ones(4)), 4),
        ((torch.ones(4, 2), torch.ones(3)), None),
        ((torch.ones(4, 2), torch.tensor(1.0)), None),
        (({"a": torch.ones(7)},), 7),
    ],
)
def test_batch_size(value: Any, size: int | None) -> None:
    assert Inputs.of(value).batch_size() == size


@pytest.mark.parametrize("size", [1, 2, 5])
def test_batches_are_cut_or_repeated(size: int) -> None:
    x = torch.arange(3.0)[:, None]
    changed = Inputs.of((x, {"y": x[:, 0]})).with_batch(size)
    assert [tensor.shape[0] for tensor in changed.tensors()] == [size, size]
    assert changed.args[0][0] == x[0]


def test_duplicates_share_no_memory() -> None:
    x, options = torch.ones(2), {"key": [1]}
    copied = duplicate_inputs(Inputs((x, options), {"y": x}))
    copied.args[0].zero_()
    copied.args[1]["key"].append(2)
    assert x.tolist() == [1, 1]
    assert options == {"key": [1]}


def test_outputs_are_found_in_containers_and_objects() -> None:
    x = torch.ones(1)

    class Result:
        def __init__(self) -> None:
            self.logits, self.nothing, self.parts = x, None, {"a": x, "deep": [x, (x, 3)]}

    assert list(named_outputs(x)) == ["output"]
    assert list(named_outputs((x, [x]))) == ["output_0", "output_1_0"]
    assert list(named_outputs({"a": x, "b": "text"})) == ["a"]
    assert list(named_outputs(Result())) == ["logits", "parts.a", "parts.deep_0", "parts.deep_1_0"]
    assert named_outputs(3) == {}


def test_every_tensor_has_one_name() -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.BatchNorm1d(2, affine=False))
    module[1].weight = module[0].weight
    assert list(named_tensors(module)) == [
        "0.weight", "0.bias", "1.bias", "2.running_mean", "2.running_var", "2.num_batches_tracked",
    ]  # fmt: skip


def test_both_modes_are_run_without_memory_with_a_batch_of_two() -> None:
    found = trace(AuxiliaryHead(), Inputs.of(image(batch=5)))
    assert found.sandbox.tensors == "meta"
    assert found.batch_size == 2
    assert [run.training for run in found.runs] == [False, True]
    assert len(found.runs[1].outputs) == 2
    assert {"aux_conv.weight", "aux_head.weight"} <= {axis.tensor for axis in found.axes}


def test_records_name_module_and_line() -> None:
    found = trace(PlainCNN(), Inputs.of(image()))
    (convolution,) = [
        record for record in found.runs[0].operations
        if record.module == "conv2" and record.name == "aten.convolution.default"
    ]  # fmt: skip
    lines, start = inspect.getsourcelines(PlainCNN.forward)
    (line,) = [start + number for number, text in enumerate(lines) if "self.conv2" in text]
    assert convolution.location == f"nets.py:{line}"
    assert convolution.arguments["groups"] == 1
    assert convolution.outputs[0].shape[1:] == (6, 6, 6)


def test_values_are_computed_where_the_code_asks_for_them() -> None:
    """A branch on data cannot be taken on tensors without memory."""
    assert trace(BranchOnValues(), Inputs.of(image())).sandbox.tensors == "real"


def test_an_unbatched_input_is_a_sample_of_its_own() -> None:
    """The first dimension of an input without a batch is no batch: costs are those of one sample."""
    module = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 4))
    network = PrunableNetwork(module, torch.randn(10))
    assert network.num_prunables == 20
    assert network.analyze().macs.tolist() == [200, 0, 80]


def test_a_batch_of_one_is_enough() -> None:
    assert PrunableNetwork(PlainCNN(), image(batch=1)).num_prunables == 14


def test_training_that_cannot_be_followed() -> None:
    """What only training uses would keep its size while its inputs shrink."""
    with pytest.raises(InputError) as caught:
        PrunableNetwork(TrainingNeedsTarget(), image())
    assert "TrainingNeedsTarget does not run in training mode on the example inputs" in str(caught.value)
    assert "'aux.weight' is not used in eval mode" in str(caught.value)
    assert "training needs a target" in str(caught.value) or "training needs a target" in repr(caught.value.__cause__)


class FailsOnTrainingTwo(nn.Module):
    """Cannot train on two samples, but has no part that only training uses."""

    def __init__(self) -> None:
        super().__init__()
        self.net = PlainCNN()

    def forward(self, x: Tensor) -> Tensor:
        if self.training and len(x) < 4:
            raise ValueError("too few")
        return self.net(x)


def test_training_that_needs_more_samples_is_no_obstacle() -> None:
    assert PrunableNetwork(FailsOnTrainingTwo(), image(batch=2)).num_prunables == 14


class Warns(nn.Module):
    def __init__(self, always: bool) -> None:
        super().__init__()
        self.net, self.always = PlainCNN(), always

    def forward(self, x: Tensor) -> Tensor:
        if self.always or self.net.conv1.out_channels < 8:
            warnings.warn("few channels", stacklevel=1)
        return self.net(x)


def test_warnings_of_the_network_are_not_repeated() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        PrunableNetwork(Warns(always=True), image())
    assert not caught


def test_warnings_that_only_the_compacted_network_gives_are_told() -> None:
    with pytest.warns(UserWarning, match="The compacted network warns where the dense one did not: few channels"):
        PrunableNetwork(Warns(always=False), image())


class UnknownOperation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x * 2

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient * 2


_library = torch.library.Library("prunekit_tests", "FRAGMENT")
_library.define("twist(Tensor x) -> Tensor")
_library.impl("twist", lambda x: x.flip(1), "CompositeExplicitAutograd")


class CallsOperator(nn.Module):
    """An operation of the user's own, in C++ or registered with torch, is unknown."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.head = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 5, 1), nn.Linear(5, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.ops.prunekit_tests.twist(self.conv1(x))
        return self.head(F.relu(UnknownOperation.apply(self.conv2(x))).mean((2, 3)))


def test_unknown_operations_freeze_with_their_name() -> None:
    network = PrunableNetwork(CallsOperator(), image())
    table = network.analyze().set_index("name")
    assert network.num_prunables == 5  # a function of autograd is made of operations that are known
    assert "unknown operation prunekit_tests::twist (test_trace.py:" in table.loc["conv1", "blocked_by"]


def test_lazy_modules_are_told_apart() -> None:
    """Parameters without a shape cannot be labelled; the message says so in one line."""
    with pytest.raises(PrunekitError, match=r"(?i)uninitialized|lazy"):
        PrunableNetwork(nn.Sequential(nn.LazyConv2d(8, 3), nn.ReLU(), nn.LazyConv2d(4, 3)), image())


def test_modules_on_the_meta_device() -> None:
    """Without values there is nothing to prune, but shapes are enough for the table."""
    table = analyze(PlainCNN().to("meta"), image().to("meta"))
    assert table.num_prunable.sum() == 14


def test_a_compiled_part_is_traced_as_if_it_were_not() -> None:
    body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    whole = nn.Sequential(torch.compile(body, backend="eager"), nn.Flatten(), nn.Linear(8 * 36, 2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert PrunableNetwork(whole, torch.randn(2, 3, 8, 8)).num_prunables == 8
