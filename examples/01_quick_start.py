"""
Quick start
===========

A network for handwritten digits is trained, six tenths of its parameters are removed, and the smaller network is
measured on images that neither training nor pruning has seen.
"""

# %%
# The data
# --------
# All seeds are fixed first: one for the weights of the network, one for the split. The digits come with scikit-learn:
# 1,797 images of 8 x 8 pixels. A quarter is put aside as test data and stays there until the end.
import torch
from _networks import DigitsNet
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from skorch import NeuralNetClassifier
from torch import nn

from prunekit import LayerReductionDisplay, PruningPathDisplay, TaylorPruner

torch.manual_seed(0)
X, y = load_digits(return_X_y=True)
X = (X / 16).astype("float32").reshape(-1, 1, 8, 8)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

# %%
# The network
# -----------
# It is an ordinary PyTorch module, wrapped by skorch so that it trains like a scikit-learn estimator. Nothing in the
# module knows of pruning. skorch sets a fifth of the training data aside by itself, its ``train_split``. On these
# images the pruner measures how good the network still is.
net = NeuralNetClassifier(
    DigitsNet,
    criterion=nn.CrossEntropyLoss,
    lr=0.05,
    max_epochs=15,
    iterator_train__shuffle=True,
    verbose=0,
)

# %%
# Prune
# -----
# ``fit`` trains a clone of the net. Then it repeats: estimate how much the loss depends on every filter, remove the
# filters on which it depends least, train one more epoch, validate. It ends at the target, or earlier if the validation
# score can no longer be kept within two points of that of the dense network.
pruner = TaylorPruner(net, target_reduction=0.6, max_score_drop=0.02, random_state=0)
pruner.fit(X_train, y_train)
print(f"{pruner.reduction_:.1%} of the parameters removed, stopped because of: {pruner.stop_reason_}")

# %%
# ``transform`` returns the result. It is a fitted skorch net around the same module with smaller layers, so it
# predicts, scores and pickles as before. There are no masks in it.
small = pruner.transform()
print(small.module_)

# %%
# The validation score has decided where pruning ends, so it is a little too good as a measure of the result. The test
# images have decided nothing. Their accuracy is the one to report.
print(f"validation: {pruner.baseline_score_:.3f} before pruning, {pruner.history_['score'].iloc[-1]:.3f} after")
print(f"test:       {small.score(X_test, y_test):.3f} after")

# %%
# The path
# --------
# The figure shows the validation score after each step, against what was removed by then. The first steps are large and
# the last ones small: that is the default schedule, ``step="cubic"``. The thin lines go down to the score right after a
# removal and up to the score after the epoch of training that follows it. There are 270 validation images, so one image
# more or less is 0.4 points: ups and downs of that size mean nothing.
display = PruningPathDisplay.from_estimator(pruner)

# %%
# The layers
# ----------
# How much a layer loses is not set by hand. All filters compete with one another by what they matter to the loss for
# each parameter that goes with them. ``linear`` has an output for every class; those stay.
display = LayerReductionDisplay.from_estimator(pruner)

# %%
# The same as a table. A layer loses parameters in two ways: its own filters go, and so do the inputs that the layer
# before no longer gives it. ``linear`` has all its outputs and fewer parameters all the same.
pruner.analyze()[["name", "type", "num_filters", "num_pruned_filters", "num_learnables", "blocked_by"]]
