"""
Tables and reports with pandas
==============================

All that prunekit has to say about a network is a data frame first: before pruning, after it, and both compared. The
figures draw the same numbers.
"""

# %%
# Before pruning
# --------------
# ``analyze`` takes a net, a module, a pruner or a file, and example inputs. The net does not have to be trained: sizes
# and costs are those of its shapes.
import tempfile
from pathlib import Path

import torch
from _networks import DigitsNet
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from skorch import NeuralNetClassifier
from torch import nn

import prunekit
from prunekit import ConfusionChangeDisplay, HistoryDisplay, ImportanceDisplay, TaylorPruner

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
layers = prunekit.analyze(net, X)
print(layers.dtypes)

# %%
# It is a plain data frame, so questions are pandas' own. Where are the multiply-adds?
costs = layers[layers["macs"] > 0].set_index("name")
(costs["macs"] / costs["macs"].sum()).sort_values(ascending=False).round(3).to_frame("share of multiply-adds")

# %%
# The totals of the network, and the units of the columns, are in ``attrs``.
print(layers.attrs["totals"]["params"])
print(*layers.attrs["units"].items(), sep="\n")

# %%
# ``level="module"`` sums over the modules of the tree; the first row is the whole network. It is most useful for deep
# networks, where a row for each layer is too much.
prunekit.analyze(net, X, level="module")[["name", "type", "depth", "num_layers", "num_learnables", "macs"]]

# %%
# How much could go
# -----------------
# ``analyze_compression`` removes everything that may go and says what is left. Where filters stay, ``blocked_by`` says
# why and ``advice`` what to change, if anything can be changed.
potential = prunekit.analyze_compression(net, X)
print(f"largest target: {potential.attrs['totals']['params']['reduction']:.3f} of the parameters")
columns = ["name", "num_filters", "num_removable", "max_learnables_reduction", "blocked_by", "advice"]
prunekit.style_table(potential[columns])

# %%
# After pruning
# -------------
# The same table, of the pruner. ``style_table`` formats it for a notebook: bars behind the reductions, separators in
# large numbers. ``.data`` of the result is the plain table, ``.to_html()`` the text for a page of your own.
pruner = TaylorPruner(net, target_reduction=0.9, control=True, random_state=0).fit(X_train, y_train)
table = pruner.analyze()
columns = ["name", "num_filters", "num_learnables", "learnables_reduction", "macs", "macs_reduction"]
prunekit.style_table(table.loc[table["num_learnables"] > 0, columns])

# %%
# What happened
# -------------
# ``history_`` has a row for each iteration.
pruner.history_[["iteration", "phase", "reduction", "num_pruned", "train_loss", "score_before", "score"]].round(3)

# %%
# The same drawn. The first removals cost hardly anything. Later ones do, since there is less left that does not matter,
# and the epoch after each of them brings most of it back. Iterations take less time as the network gets smaller. Only
# the first one has a scoring pass worth mentioning: later scores come along with the fine-tuning.
display = HistoryDisplay.from_estimator(pruner)

# %%
# Every unit stands here where the criterion put it: those that are left by the last estimate, the removed ones by the
# estimate that removed them. Estimates of different steps are not on one scale, so a removed unit may stand to the
# right of one that is left.
display = ImportanceDisplay.from_estimator(pruner)

# %%
# Compared with the dense network
# -------------------------------
# ``control=True`` has trained the dense network for as long. That is the one to compare with: otherwise some of the
# difference is the longer training. Columns ``*_low`` and ``*_high`` are the ends of an interval.
dense = pruner.control_estimator_
comparison = prunekit.compare(dense, pruner, X_test, y_test)
prunekit.style_table(comparison)

# %%
# One accuracy for ten classes hides much. Which digits are taken for which other ones, and what has changed by pruning?
# Blue in the third panel is better, orange and framed is worse. A few more mistakes in one class and a few fewer in
# another one is what two trainings of the same network give as well.
display = ConfusionChangeDisplay.from_estimators(dense, pruner, X_test, y_test)

# %%
# The same by class, with the intervals that keep one from reading too much into it.
prunekit.compare(dense, pruner, X_test, y_test, level="class").round(3)

# %%
# One file
# --------
# ``report`` puts it together in one HTML file that needs no network connection and nothing beside it: summary, graph of
# the layers, tables, plots, history.
with tempfile.TemporaryDirectory() as folder:
    file = prunekit.report(pruner, Path(folder) / "digits.html", X, title="Digits")
    print(f"{file.name}, {file.stat().st_size / 1000:.0f} kB")

# %%
# Tables go wherever pandas takes them: ``to_csv``, ``to_html``, ``to_latex``. Here is a line for a paper.
row = comparison.loc[["params", "macs", "accuracy"], ["dense", "compact"]].stack().to_frame("digits").T
row.round(3)
