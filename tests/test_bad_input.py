"""
What users give by mistake: a table of cases.

Each bad case raises an error of the package that is one of Python's as well and says what, where, what was got and what
to do; each case that looks bad but is not gives the right result. Whatever happens, the user's objects, the random
states and the files are as they were, and nothing is left lying about.
"""

import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from prunekit import PrunableNetwork, analyze, compare, load, load_net, load_pruner, report, save, untrusted_names
from prunekit.exceptions import (
    FileAccessError,
    FileMissingError,
    FilePermissionError,
    InputError,
    NothingToPruneError,
    ParameterError,
    ParameterTypeError,
    PlanError,
    PrunekitError,
    StateError,
    TrainingError,
    UntrustedError,
)
from prunekit.io import read_plan, write_state
from prunekit.surgery import PruningPlan
from tests import bad_world
from tests.bad_world import (
    SAMPLE,
    Broken,
    Counting,
    DetachedLoss,
    Endless,
    InfLoss,
    InPlace,
    Late,
    Locked,
    NanGradient,
    NanLoss,
    Nothing,
    PairLoss,
    Silent,
    Sparse,
    World,
    as_nobody,
    flipped,
    full_disk,
    hooked,
    poisoned,
    raise_boom,
)
from tests.nets_skorch import ConvNet, Perceptron, TwoInputs, assert_same, make_classifier, quick


@dataclass(frozen=True)
class Case:
    """
    Something that a user does.

    Parameters
    ----------
    name : str
        What is tried with what.
    do : callable
        Does it, given the world and what `given` returned.
    error, builtin : type
        What is raised, and what else catches it.
    message : str
        Expression that the message matches.
    given : callable, default=None
        Makes what the user has before; it is noted as the user's own.
    writes : bool, default=False
        Whether new files are right.
    """

    name: str
    do: Callable[..., Any]
    error: type[PrunekitError]
    builtin: type[Exception]
    message: str
    given: Callable[[World], Any] | None = None
    writes: bool = False


ABC = np.array(["a", "b"])
QUICK = {"repeats": 1, "batch_sizes": (1,)}
WRONG = torch.zeros(2, 7)


def _read_only(world, action):
    with as_nobody(world.folder):
        return action()


def _report_read_only(world):
    # What a report imports late is imported here: nobody may be not allowed to read the packages.
    report(world.module, world.folder / "first", SAMPLE).unlink()
    return _read_only(world, lambda: report(world.module, world.folder / "a", SAMPLE))


def _full(action):
    with full_disk():
        return action()


def _unreadable(path, action):
    with as_nobody(path):
        return action(path)


def _foreign_checkpoint(world):
    """The files of the run of another network, in the place of this one's."""
    with tempfile.TemporaryDirectory() as folder:
        quick(world.frozen(Perceptron(20)), checkpoint=folder).fit(world.X, world.y)
        files = {path.name: path.read_bytes() for path in Path(folder).rglob("*.safetensors")}
    return world.checkpoint(change=lambda own: {name: files[Path(name).name] for name in own})


def _checkpoint_with(state):
    def make(world):
        for path in world.checkpoint().rglob("loop.safetensors"):
            write_state(path, state)
        return world.folder

    return make


def _memory_with(state):
    def make(world):
        world.fit(net=make_classifier(), memory=world.folder)
        for path in world.folder.rglob("*.safetensors"):
            write_state(path, state)
        return world.folder

    return make


def _loop(change):
    """Change the newest file of a checkpoint."""
    return lambda w: w.checkpoint(
        change=lambda files: {name: change(own) if "loop" in name else own for name, own in files.items()}
    )


def _swap(files):
    first, second = sorted(files)
    return {first: files[second], second: files[first]}


# fmt: off
DATA = [
    Case("7 columns", lambda w: w.fit(w.X[:, :7]), InputError, ValueError,
         r"X does not fit the network: Perceptron.forward raised .* for a batch of float32 of shape \(2, 7\)"),
    Case("images for a table", lambda w, X: w.fit(X), InputError, ValueError, r"of shape \(2, 3, 4, 4\)",
         given=lambda w: np.zeros((400, 3, 4, 4), np.float32)),
    Case("one dimension", lambda w: w.fit(w.X[:, 0]), InputError, ValueError, r"a batch of float32 of shape \(2,\)"),
    Case("complex numbers", lambda w, X: w.fit(X), InputError, ValueError,
         r"complex64 .*cast the data first, such as X.astype\('float32'\)", given=lambda w: w.X * 1j),
    Case("no rows", lambda w: w.fit(w.X[:0], w.y[:0]), InputError, ValueError, r"0 sample\(s\).*minimum of 1"),
    Case("no images", lambda w, own: w.fit(own[0][:0], own[1][:0], net=make_classifier(ConvNet)), InputError,
         ValueError, "cannot be made into data.*0 sample", given=lambda w: list(w.images())),
    Case("an empty tensor", lambda w: w.fit(torch.zeros(0, 20), w.y[:0]), InputError, ValueError, "0 sample"),
    Case("an empty data set", lambda w, net: quick(net).fit(Nothing(), None), InputError, ValueError,
         "X must hold at least one sample. Got a Nothing without any", given=lambda w: w.frozen(train_split=None)),
    Case("a data set that raises", lambda w, net: quick(net).fit(Broken(), None), InputError, ValueError,
         "cannot be turned into tensors: KeyError: 'no sample 0'", given=lambda w: w.frozen(train_split=None)),
    Case("fewer samples than folds", lambda w: w.fit(w.X[:3], w.y[:3]), InputError, ValueError,
         r"n_splits=4 .*n_samples=3\. .*enough for the train_split of NeuralNetClassifier; with train_split=None"),
    Case("one sample and batch norm", lambda w, net: w.fit(w.X[:1], w.y[:1], net=net), TrainingError, RuntimeError,
         r"raised ValueError in iteration 1, .*more than 1 value per channel.*iterator_train__drop_last=True",
         given=lambda w: w.frozen(train_split=None)),
    Case("NaN in a table", lambda w, X: w.fit(X), InputError, ValueError, "Input X contains NaN",
         given=lambda w: np.where(w.X > 2, np.nan, w.X)),
    Case("NaN in a tensor", lambda w, X: w.fit(X), TrainingError, RuntimeError, "The loss is nan while the importance",
         given=lambda w: torch.tensor(np.where(w.X > 2, np.nan, w.X))),
    Case("infinity in images", lambda w, own: w.fit(np.where(own[0] > 0.9, np.inf, own[0]), own[1],
                                                   net=make_classifier(ConvNet)),
         TrainingError, RuntimeError, "loss is nan in batch 1 of epoch 1 of the training before pruning.*not finite",
         given=lambda w: list(w.images())),
    Case("NaN in values", lambda w, net: w.fit(y=np.full(400, np.nan), net=net), InputError, ValueError,
         "Input y contains NaN. The 'y' parameter", given=lambda w: w.regressor()),
    Case("words as values", lambda w, net: w.fit(y=ABC[w.y], net=net), InputError, ValueError,
         "cannot be turned into tensors.*encode strings", given=lambda w: w.regressor()),
    Case("targets of three dimensions", lambda w: w.fit(y=np.zeros((400, 2, 2))), InputError, ValueError,
         "X, y cannot be made into data"),
    Case("fewer targets than tensors", lambda w: w.fit(torch.tensor(w.X), w.y[:7]), InputError, ValueError,
         "inconsistent lengths. They must have the same number of samples"),
    Case("named inputs of two lengths", lambda w, X: w.fit(X, net=make_classifier(TwoInputs)), InputError, ValueError,
         "consistent lengths", given=lambda w: {"first": w.X[:, :10], "second": w.X[:7, 10:]}),
    Case("rows of two lengths", lambda w: w.fit([[1.0] * 20, [1.0] * 19], [0, 1]), InputError, ValueError,
         "inhomogeneous shape"),
    Case("a generator", lambda w: w.fit(row for row in w.X), ParameterTypeError, TypeError,
         r"'X' parameter of TaylorPruner.fit must be an array.* Got generator .*pass numpy.array\(list\(X\)\)"),
    Case("an iterator", lambda w: w.fit(iter(w.X)), ParameterTypeError, TypeError, "Got iterator instead. .*only once"),
    Case("a generator of targets", lambda w: w.fit(y=(one for one in w.y)), InputError, ValueError, "got .*generator"),
    Case("None", lambda w: quick(make_classifier()).fit(None, w.y), ParameterTypeError, TypeError, "Got NoneType"),
    Case("the name of a file", lambda w: w.fit("data.csv"), ParameterTypeError, TypeError, "Got str instead"),
    Case("other columns to validate on", lambda w: w.fit(X_val=w.X[:, :3], y_val=w.y), InputError, ValueError,
         "X has 3 features, but TaylorPruner is expecting 20"),
    Case("nothing to validate on", lambda w: w.fit(X_val=w.X[:0], y_val=w.y[:0]), InputError, ValueError, "0 sample"),
    Case("fewer targets to validate on", lambda w: w.fit(X_val=w.X, y_val=w.y[:3]), InputError, ValueError,
         "inconsistent lengths"),
    Case("targets alone to validate on", lambda w: w.fit(y_val=w.y), ParameterError, ValueError,
         "'X_val' parameter of TaylorPruner.fit must be given with 'y_val'. Got None"),
    Case("weights that nothing takes", lambda w: w.fit(fit_params={"sample_weight": w.y}), InputError, ValueError,
         "'sample_weight' parameter .* must be None for a network whose forward has no argument of this name"),
    Case("a parameter of fit that nothing takes", lambda w: w.fit(fit_params={"no_such": w.y}), ParameterTypeError,
         TypeError, "X, y and 'no_such' cannot be made into data.*unexpected keyword argument 'no_such'"),
]

NETS = [
    Case("no CUDA", lambda w: w.fit(net=make_classifier(device="cuda")), ParameterError, ValueError,
         "'device' parameter of NeuralNetClassifier must be a device that is there.* Got 'cuda', .*Set device='cpu'"),
    Case("a device that does not exist", lambda w: w.fit(net=make_classifier(device="abacus")), ParameterError,
         ValueError, "Got 'abacus', with which torch raises RuntimeError"),
    Case("a device that does not compute", lambda w: w.fit(net=make_classifier(device="meta")), ParameterError,
         ValueError, "must be a device that is there and computes. Got 'meta' instead"),
    Case("batch_size=0", lambda w: w.fit(net=make_classifier(batch_size=0)), ParameterError, ValueError,
         "must be such that it can make mini-batches. Got batch_size=0"),
    Case("batch_size='many'", lambda w: w.fit(net=make_classifier(batch_size="many")), ParameterError, ValueError,
         "Got batch_size='many'"),
    Case("lr=-1", lambda w: w.fit(net=make_classifier(lr=-1)), ParameterError, ValueError,
         r"'estimator' parameter must be a net that can be initialised. .*Invalid learning rate: -1 .*clone\(net\)"),
    Case("lr='fast'", lambda w: w.fit(net=make_classifier(lr="fast")), ParameterTypeError, TypeError,
         "can be initialised. Got NeuralNetClassifier, with which that raises TypeError"),
    Case("lr=nan", lambda w: w.fit(net=make_classifier(lr=np.nan)), TrainingError, RuntimeError,
         "loss is nan in batch 2 of epoch 1 .*Lower the learning rate"),
    Case("an unknown parameter of the module", lambda w: w.fit(net=make_classifier(module__no_such=3)),
         ParameterTypeError, TypeError, "unexpected keyword argument 'no_such'"),
    Case("an unknown parameter of the optimizer", lambda w: w.fit(net=make_classifier(optimizer__no_such=3)),
         ParameterTypeError, TypeError, "unexpected keyword argument 'no_such'"),
    Case("a module that cannot be made", lambda w: w.fit(net=make_classifier(module__num_hidden=-4)), ParameterError,
         ValueError, "raises RuntimeError: Trying to create tensor with negative dimension"),
    Case("a layer of width 0", lambda w: w.fit(net=make_classifier(module__num_hidden=0)), InputError, ValueError,
         "X does not fit the network"),
    Case("NaN in weights", lambda w, net: w.fit(net=net), TrainingError, RuntimeError,
         "loss is nan while .*Look for weights of the network",
         given=lambda w: w.frozen(change=lambda net: poisoned(net.module_))),
    Case("infinity in weights", lambda w, net: w.fit(net=net), TrainingError, RuntimeError, "loss is nan",
         given=lambda w: w.frozen(change=lambda net: poisoned(net.module_, torch.inf, "output"))),
    Case("a loss of NaN", lambda w, net: w.fit(net=net), TrainingError, RuntimeError, "The loss is nan while",
         given=lambda w: w.frozen(criterion=NanLoss)),
    Case("a loss of infinity", lambda w, net: w.fit(net=net), TrainingError, RuntimeError, "The loss is inf while",
         given=lambda w: w.frozen(criterion=InfLoss)),
    Case("a loss for each sample", lambda w, net: w.fit(net=net), ParameterError, ValueError,
         r"must be one number .*Got a tensor of shape \(2,\) instead. .*criterion__reduction='mean'",
         given=lambda w: w.frozen(criterion__reduction="none")),
    Case("a detached loss", lambda w, net: w.fit(net=net), ParameterError, ValueError,
         r"loss of NeuralNetClassifier \(DetachedLoss\) must .*Got one without gradient instead",
         given=lambda w: w.frozen(criterion=DetachedLoss)),
    Case("two losses", lambda w, net: w.fit(net=net), ParameterTypeError, TypeError, "must be one number.* Got tuple",
         given=lambda w: w.frozen(criterion=PairLoss)),
    Case("gradients of NaN", lambda w, net: w.fit(net=net), TrainingError, RuntimeError,
         "Scoring needs finite gradients. Got NaN or infinity in the gradient of 'output.weight'",
         given=lambda w: w.frozen(NanGradient())),
    Case("a hook that raises", lambda w, net: w.fit(net=net), InputError, ValueError,
         "Perceptron.forward raised RuntimeError for .*: boom",
         given=lambda w: w.frozen(change=lambda net: hooked(net.module_))),
    Case("a hook that raises in the backward pass", lambda w, net: w.fit(net=net), TrainingError, RuntimeError,
         "A mini-batch raised RuntimeError in the estimation of the importance, .*: boom",
         given=lambda w: w.frozen(change=lambda net: hooked(net.module_, backward=True))),
    Case("a network that raises in the end", lambda w, net: w.fit(net=net), TrainingError, RuntimeError,
         "A mini-batch raised ZeroDivisionError in .*: late", given=lambda w: w.frozen(Late())),
    Case("a network that cannot be copied", lambda w, net: w.fit(net=net), ParameterTypeError, TypeError,
         "must be one that copy.deepcopy copies.* Got Locked, .*cannot pickle.*__getstate__",
         given=lambda w: w.frozen(Locked())),
    Case("a class whose networks cannot be copied", lambda w: w.fit(net=make_classifier(Locked)), ParameterTypeError,
         TypeError, "Got Locked, with which that raises TypeError"),
]

NETWORK = [
    Case("a module that is none", lambda w: w.network("net"), ParameterTypeError, TypeError, "Got str instead"),
    Case("a class", lambda w: w.network(Perceptron), ParameterTypeError, TypeError, "Got Perceptron itself, not an"),
    Case("a scripted module", lambda w, net: w.network(net), ParameterTypeError, TypeError, "Got a TorchScript module",
         given=lambda w: torch.jit.trace(nn.Linear(20, 4), SAMPLE)),
    Case("no example", lambda w: w.network(X=None), InputError, ValueError, "must be a tensor, a tuple.* Got NoneType"),
    Case("an array as example", lambda w: w.network(X=w.X[:2]), InputError, ValueError, "Got ndarray instead"),
    Case("a generator as example", lambda w: w.network(X=(x for x in SAMPLE)), InputError, ValueError, "Got generator"),
    Case("7 columns as example", lambda w: w.network(X=WRONG), InputError, ValueError,
         r"Perceptron does not run on the example inputs.* Got \(2, 7\) float32 instead"),
    Case("a batch of nothing", lambda w: w.network(X=torch.zeros(0, 20)), InputError, ValueError,
         r"must hold at least one sample. Got tensors of shape \(0, 20\)"),
    Case("an unknown argument", lambda w: w.network(X={"y": SAMPLE}), InputError, ValueError, "argument 'y'"),
    Case("too many arguments", lambda w: w.network(X=(SAMPLE, SAMPLE)), InputError, ValueError, "3 were given"),
    Case("network: a hook that raises", lambda w, net: w.network(net), InputError, ValueError, "instead: boom",
         given=lambda w: hooked(Perceptron())),
    Case("endless recursion", lambda w, net: w.network(net), InputError, ValueError, "maximum recursion depth",
         given=lambda w: Endless()),
    Case("a forward that returns nothing", lambda w, net: w.network(net), NothingToPruneError, ValueError,
         "no filter that can be removed", given=lambda w: Silent()),
    Case("network: cannot be copied", lambda w, net: w.network(net), ParameterTypeError, TypeError, "Got Locked",
         given=lambda w: Locked()),
    Case("integers for a network of floats", lambda w, net: net.compact(), InputError, ValueError,
         r"Got \(2, 20\) int64 instead", given=lambda w: _pruned(w, X=torch.ones(2, 20, dtype=torch.int64))),
    Case("score: NaN in weights", lambda w, net: w.scored(net), TrainingError, RuntimeError,
         "needs finite .*Got NaN or infinity", given=lambda w: poisoned(Perceptron(dropout=0.0))),
    Case("magnitude: NaN in weights", lambda w, net: w.network(net, criterion="magnitude").update_prunables(),
         TrainingError, RuntimeError, "'magnitude' must give finite importances. Got nan for a filter of 'hidden'",
         given=lambda w: poisoned(Perceptron())),
    Case("score: a loss of NaN", lambda w, net: w.scored(net, loss=lambda out: out.sum() * torch.nan), TrainingError,
         RuntimeError, "needs finite .*Got NaN or infinity", given=lambda w: Perceptron(dropout=0.0)),
    Case("score: a loss of infinity", lambda w, net: w.scored(net, loss=lambda out: out.sum() * torch.inf),
         TrainingError, RuntimeError, "needs finite .*Got NaN", given=lambda w: Perceptron(dropout=0.0)),
    Case("no backward pass", lambda w: w.network().update_score(), TrainingError, RuntimeError,
         r"needs gradients and found none. Call loss.backward\(\) before it"),
    Case("no score", lambda w: w.network().update_prunables(), TrainingError, RuntimeError,
         "There is no importance yet. Run a forward and a backward pass"),
    Case("update_score(batch_size=0)", lambda w, net: net.update_score(batch_size=0), ParameterError, ValueError,
         "'batch_size' parameter of update_score must be an integer of at least 1. Got 0",
         given=lambda w: w.scored(Perceptron(dropout=0.0))),
    Case("prune_to(nan)", lambda w: w.network(criterion="magnitude").prune_to(np.nan), ParameterError, ValueError,
         r"'reduction' parameter of prune_to must be a number in \[0, 1\). Got nan"),
    Case("prune_to(0.5, 'flops')", lambda w: w.network().prune_to(0.5, of="flops"), ParameterError, ValueError,
         "must be one of 'params', .*Got 'flops'"),
    Case("verify on 7 columns", lambda w: w.network().verify(WRONG), InputError, ValueError, r"Got \(2, 7\)"),
    Case("verify on nothing", lambda w: w.network().verify(torch.zeros(0, 20)), InputError, ValueError, "one sample"),
    Case("verify(rtol=-1)", lambda w: w.network().verify(rtol=-1), ParameterError, ValueError, "'rtol' .*Got -1"),
    Case("verify(rtol='low')", lambda w: w.network().verify(rtol="low"), ParameterTypeError, TypeError, "Got 'low'"),
    Case("without a unit that is not there", lambda w: w.network().without([99]).__enter__(), ParameterError,
         ValueError, r"from 0 to 31. Got \[99\]"),
    Case("without a name", lambda w: w.network().without(["a"]).__enter__(), ParameterTypeError, TypeError,
         r"'units' parameter of without must hold integers. Got \['a'\]"),
    Case("restore what is no snapshot", lambda w: w.network().restore(None), ParameterTypeError, TypeError,
         r"must be what snapshot\(\) returned. Got NoneType"),
    Case("restore another network", lambda w, net: w.network().restore(net.snapshot()), ParameterError, ValueError,
         "must be a snapshot of this network", given=lambda w: _pruned(w, ConvNet(), torch.zeros(2, 1, 8, 8))),
    Case("a state that is not whole", lambda w: w.network().set_state({}), ParameterError, ValueError,
         r"must be what get_state\(\) returned. Got one without \['removed'"),
]


def _pruned(world, module=None, X=SAMPLE):
    network = world.network(module, X, criterion="random")
    network.update_prunables(3)
    return network


LOOKING = [
    Case("analyze a file that is not there", lambda w, net: analyze(w.folder / "no", SAMPLE, module=net),
         FileMissingError, FileNotFoundError, "no' cannot be read: No such file", given=lambda w: Perceptron()),
    Case("analyze a torn file", lambda w, own: analyze(own[0], SAMPLE, module=own[1]), PlanError, ValueError,
         "is no whole safetensors file",
         given=lambda w: [w.file(change=lambda content: content[:200]), Perceptron()]),
    Case("analyze without inputs", lambda w: analyze(w.module), ParameterTypeError, TypeError,
         "'X' parameter of analyze must hold example inputs. Got None"),
    Case("analyze a file of another network", lambda w, own: analyze(own[0], torch.zeros(2, 1, 8, 8), module=own[1]),
         PlanError, ValueError, "no parameter or buffer 'hidden.weight'", given=lambda w: [w.file(), ConvNet()]),
    Case("analyze 7 columns", lambda w: analyze(w.net, w.X[:, :7]), InputError, ValueError, r"Got \(2, 7\) float32"),
    Case("analyze no rows", lambda w: analyze(w.net, w.X[:0]), InputError, ValueError, "at least one sample"),
    Case("analyze words", lambda w: analyze(w.module, np.full((2, 20), "a")), InputError, ValueError,
         "must be arrays of numbers. Got <U1 instead; encode"),
    Case("analyze objects", lambda w: analyze(w.module, np.full((2, 20), None)), InputError, ValueError, "Got object"),
    Case("analyze a number", lambda w: analyze(w.module, np.array(3.0)), InputError, ValueError, r"Got \(\) float"),
    Case("analyze an iterator", lambda w: analyze(w.module, iter(w.X)), ParameterTypeError, TypeError,
         "Got iterator without numbers instead"),
    Case("analyze an empty data set", lambda w: analyze(w.module, Nothing()), InputError, ValueError,
         "must have a length, at least one sample.* Got Nothing, which raises IndexError"),
    Case("analyze nothing", lambda w: analyze(None, SAMPLE), ParameterTypeError, TypeError, "Got NoneType instead"),
    Case("analyze pixels", lambda w: analyze(w.module, SAMPLE, level="pixel"), ParameterError, ValueError,
         "must be one of 'layer', 'unit', 'module'. Got 'pixel'"),
    Case("analyze a net for CUDA", lambda w: analyze(make_classifier(device="cuda"), w.X), ParameterError, ValueError,
         "must be a net that can be initialized.*CUDA"),
    Case("compare on no rows", lambda w, net: compare(w.module, net, w.X[:0], w.y[:0], **QUICK), InputError, ValueError,
         "at least one sample", given=lambda w: Perceptron(8)),
    Case("compare nets on no rows", lambda w: compare(w.net, w.net, w.X[:0], w.y[:0], **QUICK), InputError, ValueError,
         "at least one sample"),
    Case("compare on 7 columns", lambda w: compare(w.net, w.net, w.X[:, :7], w.y, **QUICK), InputError, ValueError,
         "samples that 'dense' predicts for. Got ndarray, with which that raises RuntimeError: mat1"),
    Case("compare with fewer targets", lambda w: compare(w.net, w.net, w.X, w.y[:7], **QUICK), InputError, ValueError,
         r"'y' parameter of compare must fit the predictions.* Got \(7,\)"),
    Case("compare with words", lambda w: compare(w.net, w.net, w.X, ABC[w.y], **QUICK), InputError, ValueError, "<U1"),
    Case("compare on NaN", lambda w, X: compare(w.module, w.module, X, w.y, **QUICK), InputError, ValueError,
         r"predictions of 'dense' must be numbers. Got NaN for \d+ of 400 samples",
         given=lambda w: np.where(w.X > 2, np.nan, w.X)),
    Case("compare with values of NaN", lambda w, y: compare(w.module, w.module, w.X, y, **QUICK), InputError,
         ValueError, "'y' parameter of compare must be finite. Got NaN", given=lambda w: np.full((400, 2), np.nan)),
    Case("compare networks of other inputs", lambda w, net: compare(w.module, net, w.X, **QUICK), InputError,
         ValueError, "ConvNet does not run", given=lambda w: ConvNet()),
    Case("compare a network that raises", lambda w, net: compare(net, net, w.X, w.y, **QUICK), InputError, ValueError,
         "RuntimeError: boom", given=lambda w: hooked(Perceptron())),
    Case("compare(batch_sizes=3)", lambda w: compare(w.net, w.net, w.X, batch_sizes=3), ParameterTypeError, TypeError,
         "'batch_sizes' parameter of compare must be a list of integers. Got 3"),
    Case("compare(repeats=0)", lambda w: compare(w.net, w.net, w.X, repeats=0), ParameterError, ValueError, "Got 0"),
    Case("report into a read-only folder", _report_read_only, FilePermissionError, PermissionError,
         "a' cannot be written: Permission denied"),
    Case("report onto a full disk", lambda w: _full(lambda: report(w.module, w.folder / "a", SAMPLE)), FileAccessError,
         OSError, "a' cannot be written: No space left on device"),
    Case("report into a file", lambda w, path: report(w.module, path / "a", SAMPLE), FileAccessError, OSError,
         "cannot be made", given=lambda w: w.file()),
    Case("report to a number", lambda w: report(w.module, 3, SAMPLE), ParameterTypeError, TypeError, "Got 3 instead"),
    Case("report on words", lambda w: report(w.module, w.folder / "a", np.full((2, 20), "a")), InputError, ValueError,
         "must be arrays of numbers"),
    Case("report on no rows", lambda w: report(w.module, w.folder / "a", w.X[:0]), InputError, ValueError,
         "one sample"),
]

SAVING = [
    Case("save nothing", lambda w: save(None, w.folder / "a"), ParameterTypeError, TypeError, "Got NoneType instead"),
    Case("save a class", lambda w: save(Perceptron, w.folder / "a"), ParameterTypeError, TypeError, "the class Perc"),
    Case("save a net that is not fitted", lambda w: save(make_classifier(), w.folder / "a"), ParameterTypeError,
         TypeError, "Got NeuralNetClassifier that is not fitted"),
    Case("save to nowhere", lambda w: save(w.module, None), ParameterTypeError, TypeError, "'path' .*Got None instead"),
    Case("save to a name with a zero", lambda w: save(w.module, "a\0b"), ParameterError, ValueError, "zero byte"),
    Case("save to a folder", lambda w: save(w.module, w.folder), FileAccessError, OSError, "it is a folder"),
    Case("save to a long name", lambda w: save(w.module, w.folder / ("a" * 300)), FileAccessError, OSError, "too long"),
    Case("save to a read-only folder", lambda w, _: _read_only(w, lambda: save(w.module, w.folder / "net.safetensors")),
         FilePermissionError, PermissionError, "cannot be written: Permission denied", given=lambda w: w.file()),
    Case("save to a full disk", lambda w, _: _full(lambda: save(w.module, w.folder / "net.safetensors")),
         FileAccessError, OSError, "cannot be written: No space left on device", given=lambda w: w.file()),
    Case("save with a word for a plan", lambda w: save(w.module, w.folder / "a", "plan"), ParameterTypeError, TypeError,
         "'plan' parameter of save must be a PruningPlan or None. Got str"),
    Case("save with another network's plan", lambda w, plan: save(w.module, w.folder / "a", plan), PlanError,
         ValueError, r"keeps 23 indices along dimension 0 of 'hidden.weight'. Got a network with shape \(32, 20\)",
         given=lambda w: read_plan(w.file())),
    Case("save with 7 columns", lambda w: save(w.module, w.folder / "a", X=WRONG), ParameterError, ValueError,
         "'X' parameter of save must hold inputs with which the network can be compared"),
    Case("save with no rows", lambda w: save(w.module, w.folder / "a", X=w.X[:0]), InputError, ValueError,
         "one sample"),
    Case("save with a hook that raises", lambda w, net: save(net, w.folder / "a", X=SAMPLE), ParameterError, ValueError,
         "RuntimeError: boom", given=lambda w: hooked(Perceptron())),
    Case("save without values", lambda w, net: save(net, w.folder / "a"), ParameterTypeError, TypeError,
         "must be dense and have values. Got 'hidden.weight' on the meta device",
         given=lambda w: Perceptron().to("meta")),
    Case("save a sparse table", lambda w, net: save(net, w.folder / "a"), ParameterTypeError, TypeError,
         "must be dense.* Got 'table' of the layout torch.sparse_coo", given=lambda w: Sparse()),
]

LOADING = [
    Case("load what is not there", lambda w: load(w.folder / "no", Perceptron), FileMissingError, FileNotFoundError,
         "no' cannot be read: No such file"),
    Case("load a folder", lambda w: load(w.folder, Perceptron), FileAccessError, OSError, "cannot be read: Is a dir"),
    Case("load a device", lambda w: load("/dev/null", Perceptron), FileAccessError, OSError, "it is no regular file"),
    Case("load a number", lambda w: load(3, Perceptron), ParameterTypeError, TypeError, "'path' .*Got 3 instead"),
    Case("load without permission", lambda w, path: _unreadable(path, lambda path: load(path, Perceptron)),
         FilePermissionError, PermissionError, "cannot be read: Permission denied", given=lambda w: w.file()),
    Case("load nothing", lambda w, path: load(path, Perceptron), PlanError, ValueError, "is no whole safetensors file",
         given=lambda w: w.file(change=lambda content: b"")),
    Case("load a torn file", lambda w, path: load(path, Perceptron), PlanError, ValueError, "no whole safetensors file",
         given=lambda w: w.file(change=lambda content: content[:-5])),
    Case("load a file with more", lambda w, path: load(path, Perceptron), PlanError, ValueError, "no whole safetensors",
         given=lambda w: w.file(change=lambda content: content + b"x")),
    Case("load a changed bit", lambda w, path: load(path, Perceptron), PlanError, ValueError,
         "is damaged: its checksum is not that of its content. Take another copy",
         given=lambda w: w.file(change=flipped(-3))),
    Case("load another network", lambda w, path: load(path, ConvNet), PlanError, ValueError,
         "The plan does not fit the network: it has no parameter or buffer 'hidden.weight'", given=lambda w: w.file()),
    Case("load another width", lambda w, path: load(path, lambda: Perceptron(8)), PlanError, ValueError,
         r"must have size 32, but 'hidden.weight' has shape \(8, 20\)", given=lambda w: w.file()),
    Case("load other outputs", lambda w, path: load(path, lambda: Perceptron(num_outputs=3)), PlanError, ValueError,
         r"'output.weight' must be \(3, 23\) torch.float32. Got \(2, 23\)", given=lambda w: w.file()),
    Case("load into doubles", lambda w, path: load(path, lambda: Perceptron().double()), PlanError, ValueError,
         "must be .* torch.float64. Got .* torch.float32", given=lambda w: w.file()),
    Case("load into no memory", lambda w, path: load(path, lambda: Perceptron().to("meta")), ParameterError, ValueError,
         "must be a network whose tensors have memory. .*to_empty", given=lambda w: w.file()),
    Case("load into a number", lambda w, path: load(path, 3), ParameterTypeError, TypeError, "Got int instead",
         given=lambda w: w.file()),
    Case("load with what raises", lambda w, path: load(path, raise_boom), ParameterTypeError, TypeError,
         "raises RuntimeError: boom instead. Arguments can be given with functools.partial", given=lambda w: w.file()),
    Case("load what cannot be copied", lambda w, path: load(path, Locked), ParameterTypeError, TypeError, "Got Locked",
         given=lambda w: w.file()),
    Case("load_net of a module", lambda w, path: load_net(path, Perceptron), PlanError, ValueError,
         "Got one of a module instead; prunekit.load reads it", given=lambda w: w.file()),
    Case("load_net without a class", lambda w, path: load_net(path), UntrustedError, ValueError,
         "'tests.nets_skorch.Perceptron', which is not trusted", given=lambda w: w.file("pruner")),
    Case("load_net onto CUDA", lambda w, path: load_net(path, Perceptron, device="cuda"), ParameterError, ValueError,
         "cannot be made: .*CUDA.* Pass what is missing or other to load_net", given=lambda w: w.file("pruner")),
    Case("load_net onto an abacus", lambda w, path: load_net(path, Perceptron, device="abacus"), ParameterError,
         ValueError, "cannot be made: .*abacus", given=lambda w: w.file("pruner")),
    Case("load_net with an unknown parameter", lambda w, path: load_net(path, Perceptron, no_such=1), ParameterError,
         ValueError, "no_such", given=lambda w: w.file("pruner")),
    Case("load_net of another network", lambda w, path: load_net(path, ConvNet), PlanError, ValueError, "hidden.weight",
         given=lambda w: w.file("pruner")),
    Case("load_net of a changed bit", lambda w, path: load_net(path, Perceptron), PlanError, ValueError, "is damaged",
         given=lambda w: w.file("pruner", flipped(-3))),
    Case("load_pruner of a module", lambda w, path: load_pruner(path, Perceptron), PlanError, ValueError,
         "must be a file that was saved of a pruner", given=lambda w: w.file()),
    Case("load_pruner of a torn file", lambda w, path: load_pruner(path, Perceptron), PlanError, ValueError, "no whole",
         given=lambda w: w.file("pruner", lambda content: content[: len(content) // 2])),
    Case("load_pruner of another network", lambda w, path: load_pruner(path, ConvNet), PlanError, ValueError,
         "hidden.weight", given=lambda w: w.file("pruner")),
    Case("untrusted_names of a folder", lambda w: untrusted_names(w.folder), FileAccessError, OSError,
         "Is a directory"),
]

PLANS = [
    Case(f"a plan of {shown}", lambda w, text=text: PruningPlan.from_json(text), PlanError, ValueError, message)
    for shown, text, message in [
        ("None", None, "The text is no pruning plan: TypeError"),
        ("nothing", "", "The text is no pruning plan: JSONDecodeError"),
        ("bytes that are no text", b"\xff", "UnicodeDecodeError"),
        ("a list", "[]", r"it must be an object. Got \[\]"),
        ("no protocol", "{}", "its 'protocol' must be a number. Got None"),
        ("a later protocol", '{"protocol": 3}', "has protocol 3, this version of prunekit reads 2 and below. Update"),
        ("no layers", '{"protocol": 1}', "its 'kept' must be an object. Got None"),
        ("a long number", '{"protocol": ' + "9" * 5000 + "}", "Exceeds the limit"),
        ("many brackets", "[" * 10**5, "RecursionError"),
        ("fractions", '{"protocol": 2, "kept": {"a": {"0": {"size": 3, "indices": [1e3]}}}}', "Got 1000.0 instead"),
    ]
]

RUNS = [
    Case("a checkpoint that is torn", lambda w, folder: w.fit(checkpoint=folder), StateError, ValueError,
         r"loop.safetensors' is no whole safetensors file.* Remove the file to begin anew",
         given=_loop(lambda content: content[:-9])),
    Case("a checkpoint that is empty", lambda w, folder: w.fit(checkpoint=folder), StateError, ValueError, "no whole",
         given=_loop(lambda content: b"")),
    Case("a checkpoint with a changed bit", lambda w, folder: w.fit(checkpoint=folder), StateError, ValueError,
         "is damaged: its checksum is not that of its content", given=_loop(flipped(-3000))),
    Case("a checkpoint whose files changed places", lambda w, folder: w.fit(checkpoint=folder), StateError, ValueError,
         "must be the file 'start' of this run. Got one of another run, or of another name",
         given=lambda w: w.checkpoint(change=_swap)),
    Case("a checkpoint of another network", lambda w, folder: w.fit(checkpoint=folder), StateError, ValueError,
         "must be the file 'start' of this run", given=_foreign_checkpoint),
    Case("a network for a checkpoint", lambda w, folder: w.fit(checkpoint=folder), StateError, ValueError,
         "must be a state that prunekit wrote .*Got protocol None",
         given=lambda w: w.checkpoint(change=lambda files: dict.fromkeys(files, bad_world._saved("module")))),
    Case("a checkpoint of a later version", lambda w, folder: w.fit(checkpoint=folder), StateError, ValueError,
         r"\(format 1\). Got format 2 instead", given=_checkpoint_with({"version": 2, "state": {}})),
    Case("a checkpoint of nothing", lambda w, folder: w.fit(checkpoint=folder), StateError, ValueError,
         "with which it cannot go on instead: KeyError", given=_checkpoint_with({"version": 1, "state": {}})),
    Case("a checkpoint of a list", lambda w, folder: w.fit(checkpoint=folder), StateError, ValueError,
         "with which it cannot go on instead: TypeError", given=_checkpoint_with({"version": 1, "state": [1]})),
    Case("a file for the folder of a checkpoint", lambda w, path: w.fit(checkpoint=path), FileAccessError, OSError,
         "Not a directory", given=lambda w: w.file()),
    Case("a checkpoint in a read-only folder", lambda w: _read_only(w, lambda: w.fit(checkpoint=w.folder)),
         FilePermissionError, PermissionError, "cannot be made: Permission denied"),
    Case("a checkpoint on a full disk", lambda w: _full(lambda: w.fit(checkpoint=w.folder)), FileAccessError, OSError,
         "start.safetensors' cannot be written: No space left"),
    Case("checkpoint=3", lambda w: w.fit(checkpoint=3), ParameterTypeError, TypeError, "path of a folder or None"),
    Case("memory=3", lambda w: w.fit(memory=3), ParameterTypeError, TypeError, "path of a folder, a joblib.Memory"),
    Case("a file for the folder of a memory", lambda w, path: w.fit(net=make_classifier(), memory=path),
         FileAccessError, OSError, "cannot be made", given=lambda w: w.file()),
    Case("a memory in a read-only folder",
         lambda w: _read_only(w, lambda: w.fit(net=make_classifier(), memory=w.folder)),
         FilePermissionError, PermissionError, "cannot be made: Permission denied"),
    Case("a memory on a full disk", lambda w: _full(lambda: w.fit(net=make_classifier(), memory=w.folder)),
         FileAccessError, OSError, "cannot be written: No space left", writes=True),
    Case("a memory of nothing", lambda w, folder: w.fit(net=make_classifier(), memory=folder), StateError, ValueError,
         "another cannot go on instead: KeyError.*Remove the file", given=_memory_with({"version": 1, "state": {}})),
    Case("a memory of a number", lambda w, folder: w.fit(net=make_classifier(), memory=folder), StateError, ValueError,
         "another cannot go on instead: TypeError", given=_memory_with({"version": 1, "state": 3})),
]
# fmt: on

CASES = [*DATA, *NETS, *NETWORK, *LOOKING, *SAVING, *LOADING, *PLANS, *RUNS]


@pytest.fixture
def world(monkeypatch):
    """A user's objects, whose folder others than the superuser can reach."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        root.chmod(0o755)
        for part in ("files", "temporary"):
            (root / part).mkdir()
        (root / "files").chmod(0o777)
        monkeypatch.setattr(tempfile, "tempdir", str(root / "temporary"))
        yield World(root / "files", root / "temporary")


def _hold(world, thing):
    """Note what a case begins with as the user's own."""
    if isinstance(thing, (np.ndarray, torch.Tensor, nn.Module, dict)) and not isinstance(thing, PrunableNetwork):
        world.own(thing)
    return thing


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.filterwarnings("ignore")
def test_bad_input(world, case):
    given = () if case.given is None else (_hold(world, case.given(world)),)
    before = world.snapshot()

    with pytest.raises(case.error, match=f"(?s){case.message}") as caught:
        case.do(world, *given)

    assert isinstance(caught.value, case.builtin)
    assert isinstance(caught.value, PrunekitError)
    assert world.changed(before, new_files=case.writes) is None


def test_names_of_cases_are_told_apart():
    assert len({case.name for case in CASES}) == len(CASES) >= 60


# ---------------------------------------------------------------- what is right all the same


def _fits_alike(world, X, like=None, **params):
    """Two fits that must end at the same network."""
    one, other = world.fit(X, **params), world.fit(world.X if like is None else like, **params)
    assert_same(dict(one.estimator_.module_.state_dict()), dict(other.estimator_.module_.state_dict()))
    np.testing.assert_array_equal(one.predict(X[:20]), other.predict(X[:20]))


def _one_class(world):
    pruner = world.fit(y=np.zeros(400, np.int64))
    assert set(pruner.predict(world.X)) == {0}
    assert pruner.reduction_ >= 0.5


def _frozen_everything(world):
    net = world.frozen(change=lambda net: net.module_.requires_grad_(False))
    dense = {name: value.clone() for name, value in net.estimator.module_.named_parameters()}
    small = world.fit(net=net).estimator_.module_
    assert not any(parameter.requires_grad for parameter in small.parameters())
    kept = [int((dense["hidden.weight"] == row).all(1).nonzero()[0]) for row in small.hidden.weight]
    assert torch.equal(small.hidden.bias, dense["hidden.bias"][kept])
    assert torch.equal(small.output.weight, dense["output.weight"][:, kept])


def _dropout_in_train_mode(world):
    module = world.own(Perceptron(dropout=0.5).train())
    network = world.scored(module)
    network.update_prunables(5)
    assert network.verify(SAMPLE) < 1e-5
    small = network.compact()
    assert small.training
    assert network.module.training
    torch.testing.assert_close(small.eval()(SAMPLE), network.predict(SAMPLE))


def _input_in_place(world):
    """The masked and the compacted network see the same numbers, though each writes into them."""
    module, X = world.own(InPlace()), world.own(SAMPLE.clone())
    network = world.network(module, X, criterion="random")
    network.update_prunables(4)
    assert network.verify(X) < 1e-5
    small = network.compact()
    torch.testing.assert_close(small.eval()(X.clone()), network.predict(X))
    back = load(save(small, world.folder / "net.safetensors", X=X), InPlace)
    torch.testing.assert_close(back.eval()(X.clone()), network.predict(X))
    compare(module, small, X, task="classification", **QUICK)
    analyze(module, X)


def _counting(world):
    module = world.own(Counting())
    network = world.network(module, criterion="random")
    network.update_prunables(4)
    small = network.compact()
    assert network.module.seen == 0
    compare(module, small, world.X, world.y, **QUICK)
    back = load(save(small, world.folder / "net.safetensors"), Counting)
    assert back.seen == small.seen == 0


def _float16_network(world):
    module = world.own(Perceptron().half())
    network = world.network(module, SAMPLE.half(), criterion="magnitude")
    network.update_prunables(6)
    small = network.compact()
    back = load(save(small, world.folder / "net.safetensors"), lambda: Perceptron().half())
    assert back.hidden.weight.dtype == torch.float16
    assert torch.equal(back.hidden.weight, small.hidden.weight)


def _nan_in_a_file(world):
    module = world.own(poisoned(Perceptron()))
    back = load(save(module, world.folder / "net.safetensors", X=SAMPLE), Perceptron)
    assert back.hidden.weight.isnan().sum() == 1


def _scattered_weights(world):
    module = Perceptron()
    module.hidden.weight = nn.Parameter(torch.randn(20, 64).t()[::2])
    world.own(module)
    back = load(save(module, world.folder / "net.safetensors", X=SAMPLE), Perceptron)
    assert torch.equal(back.hidden.weight, module.hidden.weight)


def _checkpoint_without_its_end(world):
    whole = world.fit()
    folder = world.checkpoint(change=lambda files: {name: own for name, own in files.items() if "loop" not in name})
    assert_same(
        dict(world.fit(checkpoint=folder).estimator_.module_.state_dict()), dict(whole.estimator_.module_.state_dict())
    )


def _damaged_memory(world, change):
    whole = world.fit(net=make_classifier(), lr_policy="constant")
    world.fit(net=make_classifier(), lr_policy="constant", memory=world.folder)
    files = sorted(world.folder.rglob("*.safetensors"))
    assert len(files) > 3
    contents = [path.read_bytes() for path in files]
    for path, content in zip(files, change(contents), strict=True):
        path.write_bytes(content)
    again = world.fit(net=make_classifier(), lr_policy="constant", memory=world.folder)
    assert_same(dict(again.estimator_.module_.state_dict()), dict(whole.estimator_.module_.state_dict()))


WORKS = {
    "float16 data": lambda w: _fits_alike(w, w.X.astype(np.float16), w.X.astype(np.float16).astype(np.float32)),
    "float64 data": lambda w: _fits_alike(w, w.X.astype(np.float64)),
    "columns in Fortran's order": lambda w: _fits_alike(w, np.asfortranarray(w.X)),
    "arrays with gaps": lambda w: _fits_alike(w, np.repeat(w.X, 2, axis=1)[:, ::2]),
    "arrays from the end": lambda w: _fits_alike(w, w.X[::-1].copy()[::-1]),
    "read-only arrays": lambda w: _fits_alike(w, _read_only_array(w.X)),
    "one class": _one_class,
    "frozen everything": _frozen_everything,
    "dropout in train mode": _dropout_in_train_mode,
    "a forward that writes into its input": _input_in_place,
    "a forward that counts in a buffer": _counting,
    "a network of float16": _float16_network,
    "NaN in a file": _nan_in_a_file,
    "weights that lie scattered": _scattered_weights,
    "a checkpoint that has only begun": _checkpoint_without_its_end,
    "a memory with changed bits": lambda w: _damaged_memory(w, lambda own: [flipped(-200)(one) for one in own]),
    "a memory that is torn": lambda w: _damaged_memory(w, lambda own: [one[:-9] for one in own]),
    "a memory whose files changed places": lambda w: _damaged_memory(w, lambda own: [*own[1:], own[0]]),
}


def _read_only_array(X):
    copied = X.copy()
    copied.flags.writeable = False
    return copied


@pytest.mark.parametrize("name", WORKS)
def test_what_is_right_all_the_same(world, name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        WORKS[name](world)
    assert world.changed(world.snapshot()) is None
    assert not list(world.folder.rglob("*.part"))
    assert not list(world.temporary.iterdir())
