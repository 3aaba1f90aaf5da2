"""
Pruning a network that is trained already
=========================================

Weights come from a file more often than from a training of one's own. ``FrozenEstimator`` says so: pruning starts from
these weights, and the net that holds them stays as it is.
"""

# %%
# The data
# --------
# Digits again, in three parts this time. The weights are trained on the first part, pruning is watched on the second
# one, and the third one is for the comparison at the end.
import tempfile
from pathlib import Path

import torch
from _networks import DigitsNet
from sklearn.datasets import load_digits
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import train_test_split
from skorch import NeuralNetClassifier
from torch import nn

from prunekit import ComparisonDisplay, TaylorPruner, compare, style_table

torch.manual_seed(0)
X, y = load_digits(return_X_y=True)
X = (X / 16).astype("float32").reshape(-1, 1, 8, 8)
X_rest, X_test, y_rest, y_test = train_test_split(X, y, stratify=y, test_size=0.25, random_state=0)
X_train, X_val, y_train, y_val = train_test_split(X_rest, y_rest, stratify=y_rest, test_size=0.2, random_state=0)

# %%
# A file of weights
# -----------------
# In earnest it would be there already. Here it is made: a net is trained on the first part and its weights are saved.
settings = {
    "criterion": nn.CrossEntropyLoss,
    "lr": 0.05,
    "max_epochs": 15,
    "iterator_train__shuffle": True,
    "train_split": None,
    "classes": list(range(10)),
    "verbose": 0,
}
folder = tempfile.TemporaryDirectory()
weights = Path(folder.name) / "digits.safetensors"
NeuralNetClassifier(DigitsNet, **settings).fit(X_train, y_train).save_params(f_params=weights, use_safetensors=True)

# %%
# Load it
# -------
# Now the usual beginning: make the net, load the weights. ``classes`` tells the net its labels, which it otherwise
# learns in ``fit``, and ``fit`` is not called here.
net = NeuralNetClassifier(DigitsNet, **settings).initialize()
net.load_params(f_params=weights, use_safetensors=True)
folder.cleanup()
print(f"accuracy of the loaded net on test images: {net.score(X_test, y_test):.3f}")

# %%
# Prune it
# --------
# A plain ``TaylorPruner(net)`` would do what scikit-learn's estimators do with what they are given: clone it, without
# weights, and train anew. ``FrozenEstimator`` is scikit-learn's word for "this one is fitted, leave it so". The pruner
# copies the weights and prunes the copy. ``lr`` and the rest of the net's settings hold for the fine-tuning.
#
# Watch what pruning is validated on. The net's own ``train_split`` would take a part of the data given to ``fit``, and
# a pretrained net may have been trained on these very samples. Its score on them is then too good, and a threshold
# relative to it means little. So the validation data are given here, and ``train_split`` is None.
before = {name: tensor.clone() for name, tensor in net.module_.state_dict().items()}
pruner = TaylorPruner(
    FrozenEstimator(net), target_reduction=0.75, reduction_of="macs", max_score_drop=0.02, random_state=0
)
pruner.fit(X_train, y_train, X_val=X_val, y_val=y_val)
print(f"{pruner.reduction_:.1%} of the multiply-adds removed, stopped because of: {pruner.stop_reason_}")

# %%
# The net is as it was, every number of it. In a search or in ``cross_val_score`` this is worth a thought: a frozen net
# stays the same net in every fold. Its weights have seen the samples of all folds, and all scores come out too good.
# Searches want the plain net, as in ``04_grid_search.py``.
same = all(torch.equal(tensor, before[name]) for name, tensor in net.module_.state_dict().items())
print(f"the user's net is untouched: {same}")

# %%
# Compare
# -------
# Both networks on the same test images. The interval of the change of accuracy is that of paired samples: it is
# narrower than those of the two accuracies would suggest, since both networks were asked the same questions. Latencies
# are measured here and now, so they differ from run to run.
table = compare(net, pruner, X_test, y_test)
display = ComparisonDisplay.from_table(table)

# %%
# Accuracy is about the same, with a quarter of the multiply-adds. Latency falls by less than these: in a network so
# small, much of the time goes into calling the layers, however narrow they are, and into what is no multiplication.
# ``agreement`` is how often both networks give the same answer, right or wrong. ``style_table`` formats the table for a
# notebook.
style_table(table[["unit", "dense", "compact", "reduction", "change", "change_low", "change_high"]])
