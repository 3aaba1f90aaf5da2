"""
Export and serve
================

A pruned network is an ordinary, smaller module, so what exports modules exports it too. Here it leaves Python's classes
behind: as a program of ``torch.export``, and as ONNX where that is installed.
"""

# %%
# A pruned network
# ----------------
import importlib.util
import shutil
import statistics
import tempfile
import time
import warnings
from pathlib import Path

import pandas as pd
import torch
from _networks import DigitsNet
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from skorch import NeuralNetClassifier
from torch import nn

import prunekit
from prunekit import TaylorPruner

torch.manual_seed(0)
X, y = load_digits(return_X_y=True)
X = (X / 16).astype("float32").reshape(-1, 1, 8, 8)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
net = NeuralNetClassifier(
    DigitsNet,
    criterion=nn.CrossEntropyLoss,
    lr=0.05,
    batch_size=32,
    max_epochs=8,
    iterator_train__shuffle=True,
    verbose=0,
)
pruner = TaylorPruner(net, target_reduction=0.8, control=True, random_state=0).fit(X_train, y_train)
networks = {"dense": pruner.control_estimator_.module_, "pruned": pruner.transform().module_}

# %%
# Within Python: weights and plan
# -------------------------------
# As long as the class of the network is at hand, ``prunekit.save`` is enough. The file holds the weights and what was
# removed. ``prunekit.load`` makes the small network from the dense class and the file. Loading the weights into the
# dense class as PyTorch does it would fail, since their shapes are smaller.
folder = Path(tempfile.mkdtemp())
inputs = torch.from_numpy(X_test)
prunekit.save(pruner, folder / "pruned.safetensors")
again = prunekit.load(folder / "pruned.safetensors", DigitsNet()).eval()
with torch.no_grad():
    difference = (again(inputs) - networks["pruned"].eval()(inputs)).abs().max()
print(f"largest difference after loading: {difference:.1e}")

# %%
# Without the class: torch.export
# -------------------------------
# ``torch.export`` records what the network computes. The program holds operations and weights, and needs neither the
# class nor prunekit nor skorch to run, only PyTorch.
#
# Two things to watch. Call ``eval()`` first, or batch norm is exported in training mode. And say which dimensions may
# vary: without ``dynamic_shapes`` the program takes batches of the one size that it was exported with.
batch = torch.export.Dim("batch", min=1, max=4096)
for name, module in networks.items():
    program = torch.export.export(module.eval(), (inputs[:2],), dynamic_shapes=({0: batch},))
    torch.export.save(program, folder / f"{name}.pt2")

# %%
# Serve
# -----
# This is all that the other end has to do: load the program, give it arrays, take the largest logit. The outputs are
# those of the module, for a batch of another size than the one that was exported.
served = torch.export.load(folder / "pruned.pt2").module()
with torch.no_grad():
    logits = served(inputs)
    difference = (logits - networks["pruned"](inputs)).abs().max()
print(f"{len(inputs)} images served, accuracy {(logits.argmax(1).numpy() == y_test).mean():.3f}")
print(f"largest difference from the module: {difference:.1e}")

# %%
# ONNX, if it is there
# --------------------
# ``torch.onnx.export`` needs ``onnx`` and ``onnxscript``, and to run the file ``onnxruntime``. prunekit does not depend
# on them.
missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
if missing:
    print(f"not exported to ONNX, since these are not installed: {', '.join(missing)}")
else:
    import onnxruntime

    file = folder / "pruned.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch 2.13 warns of its own code here
        torch.onnx.export(
            networks["pruned"], (inputs[:2],), file, dynamo=True, dynamic_shapes=({0: batch},), verbose=False
        )
    session = onnxruntime.InferenceSession(file)
    (logits,) = session.run(None, {session.get_inputs()[0].name: X_test})
    with torch.no_grad():
        difference = (torch.from_numpy(logits) - networks["pruned"](inputs)).abs().max()
    print(f"ONNX, largest difference from the module: {difference:.1e}")

# %%
# What it is worth
# ----------------
# Both programs, each loaded from its file and run on all test images. The milliseconds are the median of 20 runs, here
# and now. A .pt2 file holds the program beside the weights, a part of the same size for both. So the files differ by
# less than the numbers of parameters do.
rows = {}
for name, module in networks.items():
    served = torch.export.load(folder / f"{name}.pt2").module()
    seconds = []
    with torch.no_grad():
        for _ in range(20):
            start = time.perf_counter()
            logits = served(inputs)
            seconds.append(time.perf_counter() - start)
    rows[name] = {
        "parameters": sum(parameter.numel() for parameter in module.parameters()),
        ".pt2, kB": (folder / f"{name}.pt2").stat().st_size / 1000,
        f"ms for {len(inputs)} images": 1000 * statistics.median(seconds),
        "test accuracy": (logits.argmax(1).numpy() == y_test).mean(),
    }
shutil.rmtree(folder)
pd.DataFrame(rows).T.round(3)
