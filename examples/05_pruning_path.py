"""
How far can it go? The path by cross-validation
===============================================

A grid search fits one network for each target. ``TaylorPrunerCV`` walks one path on each fold and scores the network at
every reduction on the way, for little more than the time of one fit.
"""

# %%
# The data
# --------
import pandas as pd
import torch
from _networks import DigitsNet
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from skorch import NeuralNetClassifier
from torch import nn

from prunekit import PruningPathDisplay, TaylorPruner, TaylorPrunerCV

torch.manual_seed(0)
X, y = load_digits(return_X_y=True)
X = (X / 16).astype("float32").reshape(-1, 1, 8, 8)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

# %%
# Search
# ------
# On each of four folds a clone of the net is trained and pruned along all ``reductions``. At each of them a copy is
# fine-tuned to its end and scored on the fold's test samples, which have seen neither training nor pruning. The search
# needs no ``train_split``: nothing stops early here, the whole path is walked.
net = NeuralNetClassifier(
    DigitsNet,
    module__widths=(16, 32, 32),
    criterion=nn.CrossEntropyLoss,
    batch_size=32,
    lr=0.05,
    max_epochs=8,
    iterator_train__shuffle=True,
    train_split=None,
    verbose=0,
)
search = TaylorPrunerCV(
    TaylorPruner(net, random_state=0), reductions=[0.2, 0.4, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95], cv=4, tolerance=0.01
)
search.fit(X_train, y_train)
print(f"best reduction: {search.best_reduction_}")

# %%
# The path
# --------
# The line is the mean over the folds, the band one standard error. The dashed line is the lowest score that counts as
# good as that of the dense network: here one point below it, because ``tolerance=0.01``. Without a ``tolerance`` it is
# one standard error of the dense network's score, the usual rule where nothing better is known. The best reduction is
# the largest one whose mean is above the line.
#
# For a long way the line is flat, and its small ups and downs are within the band. Then it bends sharply: there is a
# size below which these digits cannot be told apart as well.
display = PruningPathDisplay.from_estimator(search)

# %%
# The result
# ----------
# With ``refit``, the default, the net was then trained and pruned by the best reduction on all training data. The score
# of the search has chosen the reduction, so it is a little too good for it. The test data were not used so far.
small = search.transform()
print(small.module_.conv1, small.module_.conv2, small.module_.conv3, sep="\n")
print(f"accuracy on test images: {search.score(X_test, y_test):.3f}")

# %%
# Numbers of the path. ``mean_fit_time`` counts from the beginning of the path, the training of the dense network
# included: so its last row is the time of a whole path, and each further point costs what it adds to the row before.
results = pd.DataFrame(search.cv_results_)
columns = ["reduction", "mean_reduction_params", "mean_reduction_macs", "mean_test_score", "std_test_score"]
results[[*columns, "mean_fit_time"]].round(3)
