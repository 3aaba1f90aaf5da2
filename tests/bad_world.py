"""What the table of bad inputs is tried on: a user's objects, and whether they are as they were."""

import copy
import functools
import os
import random
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNet
from torch import nn

from prunekit import PrunableNetwork, save
from tests.nets_skorch import Perceptron, fingerprint, make_classifier, make_images, make_regressor, make_table, quick

SAMPLE = torch.linspace(-1, 1, 40).reshape(2, 20)
_HOOKS = tuple(name for name in vars(nn.Module()) if name.endswith("_hooks"))


@functools.cache
def _trained():
    torch.manual_seed(0)
    return make_classifier().fit(*make_table())


@functools.cache
def _trained_regressor():
    torch.manual_seed(0)
    X, y = make_table()
    return make_regressor().fit(X, y.astype(np.float32)[:, None])


@functools.cache
def _saved(kind):
    """Return the bytes of a file that is right."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.safetensors"
        if kind == "module":
            save(_pruned(), path)
        else:
            save(quick(FrozenEstimator(_trained())).fit(*make_table()), path)
        return path.read_bytes()


def _pruned():
    torch.manual_seed(0)
    network = PrunableNetwork(Perceptron(), SAMPLE, criterion="random")
    network.update_prunables(9)
    return network.compact()


@functools.cache
def _checkpoint(seed):
    """Return the files of a run that ended."""
    with tempfile.TemporaryDirectory() as folder:
        quick(FrozenEstimator(_trained()), checkpoint=folder, random_state=seed).fit(*make_table())
        return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*.safetensors")}


@dataclass
class World:
    """
    A user's objects; what is noted with `own` must be the same afterwards.

    Parameters
    ----------
    folder : Path
        Where the user's files are.
    temporary : Path
        Where temporary files would be.
    """

    folder: Path
    temporary: Path
    owned: list = field(default_factory=list)

    def __post_init__(self):
        X, y = make_table()
        self.X, self.y = self.own(X), self.own(y)
        self.net = self.own(copy.deepcopy(_trained()))
        self.module = self.own(self.busy(Perceptron()))

    def own(self, thing):
        """Note something that nobody but the user may change."""
        self.owned.append((thing, _state_of(thing)))
        return thing

    def busy(self, module):
        """Return a network in the middle of its owner's work: in training mode, with gradients and a hook."""
        module.train()
        module(torch.randn(4, 20)).square().mean().backward()
        module.register_forward_hook(lambda *_: None)
        return module

    # -- things to do

    def fit(self, X=None, y=None, net=None, X_val=None, y_val=None, fit_params=None, **params):
        """Fit a pruner on the table, or on something else."""
        estimator = FrozenEstimator(self.net) if net is None else net
        X, y = (self.X if X is None else X), (self.y if y is None else y)
        return quick(estimator, **params).fit(X, y, X_val=X_val, y_val=y_val, **(fit_params or {}))

    def frozen(self, module=None, change=None, **params):
        """Return a net that is fitted, around a module or with other parameters, and changed as its owner likes."""
        net = make_classifier(Perceptron if module is None else module, **params)
        net.initialize()
        if module is None:
            net.module_.load_state_dict(self.net.module_.state_dict())
        if change is not None:
            change(net)
        return FrozenEstimator(self.own(net))

    def images(self, count=80):
        X, y = make_images(count)
        return self.own(X), self.own(y)

    def regressor(self):
        return FrozenEstimator(self.own(copy.deepcopy(_trained_regressor())))

    def network(self, module=None, X=SAMPLE, **params):
        """Return a network that can be pruned."""
        return PrunableNetwork(self.module if module is None else module, X, **params)

    def scored(self, module=None, X=SAMPLE, loss=None, **params):
        """Return a network that can be pruned and was scored."""
        network = self.network(module, X, **params)
        out = network(X)
        (out.square().mean() if loss is None else loss(out)).backward()
        network.update_score()
        return network

    def file(self, kind="module", change=None, name="net.safetensors"):
        """Write a file that is right, or was until `change` got its bytes."""
        path = self.folder / name
        content = _saved(kind)
        path.write_bytes(content if change is None else change(content))
        return path

    def checkpoint(self, seed=0, change=None):
        """Write the files of a run, as they were but for what `change` did with them."""
        files = dict(_checkpoint(seed))
        if change is not None:
            files = change(files)
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return self.folder

    # -- what must not change

    def changed(self, before, new_files=False):
        """Return what is not as it was, since it was noted or the snapshot was taken; None if there is nothing."""
        now = self.snapshot()
        if new_files:
            now["files"] = {name: own for name, own in now["files"].items() if name in before["files"]}
            if left := list(self.folder.rglob("*.part")):
                return f"{left} is left"
        for number, (thing, state) in enumerate(self.owned):
            if found := same(state, _state_of(thing), f"{type(thing).__name__} {number}"):
                return found
        return same(before, now, "world")

    def snapshot(self):
        """Return everything that must be the same afterwards."""
        return {
            "files": _files_in(self.folder),
            "temporary": sorted(_files_in(self.temporary)),
            "cwd": sorted(path.name for path in Path.cwd().iterdir()),
            "random": (
                random.getstate(),
                [str(part) for part in np.random.get_state()],  # noqa: NPY002
                torch.get_rng_state().tolist(),
            ),
            "grad": torch.is_grad_enabled(),
            "dtype": torch.get_default_dtype(),
            "threads": (torch.get_num_threads(), threading.active_count()),
            "fastpath": torch.backends.mha.get_fastpath_enabled(),
        }


def _files_in(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def _bytes_of(tensor):
    if tensor is None or tensor.is_meta:
        return None
    own = tensor.detach().to_dense().cpu().contiguous().reshape(-1)
    return str(tensor.dtype), tuple(tensor.shape), own.view(torch.uint8).numpy().tobytes() if own.numel() else b""


def _state_of(thing):
    if isinstance(thing, np.ndarray):
        return thing.dtype.str, thing.shape, thing.strides, thing.flags.writeable, thing.tobytes()
    if isinstance(thing, torch.Tensor):
        return _bytes_of(thing), _bytes_of(thing.grad), thing.requires_grad, thing.stride()
    if isinstance(thing, nn.Module):
        return _state_of_module(thing)
    if isinstance(thing, NeuralNet):
        kept = fingerprint(thing)
        return _state_of_module(thing.module_), repr(kept["history"]), kept["callbacks"], kept["params"]
    if isinstance(thing, dict):
        return {key: _state_of(value) for key, value in thing.items()}
    if isinstance(thing, list):
        return [_state_of(value) for value in thing]
    return repr(thing)


def _state_of_module(module):
    return {
        name: (
            part.training,
            {hooks: [id(hook) for hook in getattr(part, hooks).values()] for hooks in _HOOKS if getattr(part, hooks)},
            {key: (id(one), _state_of(one)) for key, one in part._parameters.items() if one is not None},
            {key: (id(one), _state_of(one)) for key, one in part._buffers.items() if one is not None},
            {key: repr(one) for key, one in vars(part).items() if not key.startswith("_")},
            [bool(one._backward_hooks) for one in part._parameters.values() if one is not None],
        )
        for name, part in module.named_modules()
    }


def same(left, right, where=""):
    """Return the first difference of two snapshots, None if there is none."""
    if isinstance(left, dict) and isinstance(right, dict):
        for key in left.keys() | right.keys():
            if key not in left or key not in right:
                return f"{where}[{key!r}] is {'new' if key in right else 'gone'}"
            if found := same(left[key], right[key], f"{where}[{key!r}]"):
                return found
        return None
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)) and len(left) == len(right):
        for place, (one, other) in enumerate(zip(left, right, strict=True)):
            if found := same(one, other, f"{where}[{place}]"):
                return found
        return None
    return None if left == right else f"{where}: {str(left)[:200]} became {str(right)[:200]}"


@contextmanager
def as_nobody(*folders):
    """Make folders read-only, and take the rights of the superuser away for a while, whom no permission holds."""
    modes = [(folder, folder.stat().st_mode) for folder in folders]
    for folder, _ in modes:
        folder.chmod(0o555 if folder.is_dir() else 0)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)
        for folder, mode in modes:
            folder.chmod(mode)


@contextmanager
def full_disk():
    """Let every file find the disk full when it is brought there."""

    def refuse(descriptor):
        raise OSError(28, "No space left on device")

    with mock.patch("os.fsync", refuse):
        yield


def flipped(place):
    """Return a function that changes one bit of a file."""

    def flip(content):
        changed = bytearray(content)
        changed[place] ^= 1
        return bytes(changed)

    return flip


# ---------------------------------------------------------------- networks, losses and data that misbehave


class NanLoss(nn.CrossEntropyLoss):
    def forward(self, *args):
        return super().forward(*args) * torch.nan


class InfLoss(nn.CrossEntropyLoss):
    def forward(self, *args):
        return super().forward(*args) * torch.inf


class DetachedLoss(nn.CrossEntropyLoss):
    def forward(self, *args):
        return super().forward(*args).detach()


class PairLoss(nn.CrossEntropyLoss):
    def forward(self, *args):
        return super().forward(*args), 1


class _NanBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * torch.nan


class NanGradient(Perceptron):
    """Has gradients that are NaN, outputs that are not."""

    def forward(self, x):
        return _NanBackward.apply(super().forward(x))


class InPlace(Perceptron):
    """Writes into its input."""

    def forward(self, x):
        return super().forward(x.mul_(2.0))


class Counting(Perceptron):
    """Counts in a buffer how often it runs."""

    def __init__(self, num_hidden=32):
        super().__init__(num_hidden)
        self.register_buffer("seen", torch.zeros(1))

    def forward(self, x):
        self.seen += 1
        return super().forward(x)


class Late(Perceptron):
    """Raises after some passes."""

    def __init__(self):
        super().__init__()
        self.left = 8

    def forward(self, x):
        self.left -= 1
        if self.left < 0:
            raise ZeroDivisionError("late")
        return super().forward(x)


class Locked(Perceptron):
    """Cannot be copied."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()


class Endless(Perceptron):
    def forward(self, x):
        return self.forward(x)


class Silent(Perceptron):
    def forward(self, x):
        return None


class Sparse(Perceptron):
    def __init__(self):
        super().__init__()
        self.register_buffer("table", torch.eye(3).to_sparse())


class Broken(torch.utils.data.Dataset):
    """Raises for every sample."""

    def __len__(self):
        return 40

    def __getitem__(self, index):
        raise KeyError(f"no sample {index}")


class Nothing(torch.utils.data.Dataset):
    def __len__(self):
        return 0

    def __getitem__(self, index):
        raise IndexError(index)


def raise_boom(*args):
    raise RuntimeError("boom")


def hooked(module, backward=False):
    """Return a network with a hook that raises."""
    hang = module.hidden.register_full_backward_hook if backward else module.hidden.register_forward_hook
    hang(raise_boom)
    return module


def poisoned(module, value=torch.nan, part="hidden"):
    """Return a network with a weight that is not finite."""
    with torch.no_grad():
        getattr(module, part).weight[0, 0] = value
    return module
