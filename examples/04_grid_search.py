"""
Grid search over schedules
==========================

In how many steps should a network be pruned, and how far? A pruner is an estimator, so ``GridSearchCV`` answers, and a
shared folder keeps it from doing the same training again and again.
"""

# %%
# The data
# --------
# All searching is done on the training data. The test data judge the winner once, at the end.
import tempfile

import matplotlib.pyplot as plt
import pandas as pd
import torch
from _networks import DigitsNet
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from skorch import NeuralNetClassifier
from torch import nn

from prunekit import TaylorPruner
from prunekit.schedules import CubicSchedule
from prunekit.search import reduction_scorer, smallest_within

torch.manual_seed(0)
X, y = load_digits(return_X_y=True)
X = (X / 16).astype("float32").reshape(-1, 1, 8, 8)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

# %%
# What is searched
# ----------------
# The schedule says how the way to the target is divided into steps. ``"one_shot"`` removes everything at once,
# ``CubicSchedule(6)`` in six steps, the first ones large. After each step comes one epoch of fine-tuning, so more steps
# are more training too.
#
# All candidates begin with the same thing: training the dense network on the data of a fold. With ``memory`` this is
# done once for each fold, and every other candidate reads it from the folder. Results are those of separate fits. The
# folder holds numbers, and nothing in it is unpickled.
#
# The net is a plain one, not a frozen one: each fold must train its own, or the weights have seen the fold's test
# samples.
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
folder = tempfile.TemporaryDirectory()
pruner = TaylorPruner(net, final_epochs=2, memory=folder.name, random_state=0)
grid = {
    "step": ["one_shot", CubicSchedule(6)],
    "target_reduction": [0.5, 0.8, 0.95],
}

# %%
# Which one is best
# -----------------
# There are two scores: accuracy, and how much was removed. The best candidate by accuracy alone would most often be a
# large network that is ahead by nothing much. ``smallest_within(0.01)`` chooses the smallest network whose accuracy is
# within one point of the best. ``refit`` then prunes on all training data by its parameters.
#
# With ``n_jobs=2`` two fits would run at a time. They share the folder too, and wait for each other where they need the
# same.
search = GridSearchCV(
    pruner,
    grid,
    cv=3,
    scoring={"score": "accuracy", "reduction": reduction_scorer},
    refit=smallest_within(0.01),
)
search.fit(X_train, y_train)
folder.cleanup()
print(search.best_params_)
# With a rule for refit, scikit-learn does not know which of several scores ``search.score`` should be. The winner does.
print(f"accuracy of the winner on test data: {search.best_estimator_.score(X_test, y_test):.3f}")

# %%
# All candidates
# --------------
# ``cv_results_`` has a row for each. Seconds are those of one fit; the first fit on a fold contains the training of the
# dense network, the others find it.
results = pd.DataFrame(search.cv_results_)
results["schedule"] = [
    step if isinstance(step, str) else f"cubic, {step.n_iterations}" for step in results["param_step"]
]
columns = {
    "schedule": "schedule",
    "param_target_reduction": "target",
    "mean_test_reduction": "reduction",
    "mean_test_score": "accuracy",
    "std_test_score": "std",
    "mean_fit_time": "seconds",
}
table = results[list(columns)].rename(columns=columns)
table["chosen"] = table.index == search.best_index_

# %%
# The same as a figure, with one line a schedule and the standard deviation over the folds. Half of the parameters, and
# nearly four fifths, go at little cost, whatever the schedule. Where almost everything is to go, it matters how: the
# estimates of importance are good for a small change of the network, and after one huge step little is left to train.
# The dashed line is where ``smallest_within`` draws the limit.
figure, ax = plt.subplots(layout="constrained")
for schedule, rows in table.groupby("schedule", sort=False):
    ax.errorbar(rows["reduction"], rows["accuracy"], yerr=rows["std"], marker="o", capsize=3, label=schedule)
ax.axhline(table["accuracy"].max() - 0.01, color="0.5", linestyle="--", label="one point below the best")
ax.set(xlabel="Reduction of parameters", ylabel="Accuracy over 3 folds", title="Two schedules")
legend = ax.legend()

# %%
# Six steps take about twice as long as one, and some of what they gain is the training that comes with them.
# Differences within the spread over the folds mean nothing. To tell them apart, take more folds, or repeat them with
# other seeds.
table.round(3)
