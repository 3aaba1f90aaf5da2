"""
Regression on a series
======================

A network of 1-d convolutions forecasts the voltage across the membrane of a nerve cell. The cell fires about every 140
samples, and the network has to say how far it is from the next spike.
"""

# %%
# The data
# --------
# The recording is real and comes with matplotlib, as ``membrane.dat``: 12,000 values, one after the other. The cell is
# at rest at first, fires regularly until about 7,000, and irregularly after that. The regular part is used. The values
# are standardised by mean and deviation of the training part.
#
# The order matters. Neighbouring windows overlap in all but one value, so a random split would put nearly the same
# window into training and test. The split is by time instead: first training, then validation, then test, with the gap
# of a window between them.
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from _networks import SeriesNet
from matplotlib.cbook import get_sample_data
from sklearn.metrics import r2_score
from skorch import NeuralNetRegressor

from prunekit import PruningPathDisplay, TaylorPruner

torch.manual_seed(0)
recording = np.fromfile(get_sample_data("membrane.dat", asfileobj=False), np.float32)
train, validation, test = (1500, 5000), (5150, 5900), (6050, 7000)
mean, deviation = recording[slice(*train)].mean(), recording[slice(*train)].std()
series = (recording - mean) / deviation

figure, ax = plt.subplots(figsize=(8, 3), layout="constrained")
ax.plot(recording, linewidth=0.7)
for color, (name, part) in enumerate({"train": train, "validation": validation, "test": test}.items()):
    ax.axvspan(*part, color=f"C{color}", alpha=0.15, label=name)
ax.set(xlabel="Sample", ylabel="Value in the file", title="Membrane potential")
legend = ax.legend(loc="upper right")

# %%
# Windows
# -------
# A sample is a window of 96 values, as a series of one channel. The target is the value 12 steps after its end.
# Sometimes that is the tip of a spike of which the window shows nothing yet.
WINDOW, AHEAD = 96, 12


def windows(start: int, end: int) -> tuple[np.ndarray, np.ndarray]:
    """Return windows of shape (samples, 1, window), and the values to forecast, of shape (samples, 1)."""
    part = series[start:end]
    X = np.lib.stride_tricks.sliding_window_view(part[:-AHEAD], WINDOW)[:, None]  # (samples, 1, window)
    return X.copy(), part[WINDOW + AHEAD - 1 :, None].copy()


X_train, y_train = windows(*train)
X_val, y_val = windows(*validation)
X_test, y_test = windows(*test)
print(X_train.shape, X_val.shape, X_test.shape)

# %%
# Prune
# -----
# ``NeuralNetRegressor`` has R² as its score. ``train_split`` is None, since a random fifth is what must not be taken;
# ``fit`` gets the validation data. ``max_score_drop`` is in units of R². The target is the number of multiply-adds,
# which is what counts where a network runs sample after sample on a small device.
net = NeuralNetRegressor(
    SeriesNet,
    module__window=WINDOW,
    optimizer=torch.optim.Adam,
    lr=0.001,
    batch_size=64,
    max_epochs=20,
    iterator_train__shuffle=True,
    train_split=None,
    verbose=0,
)
pruner = TaylorPruner(net, target_reduction=0.8, reduction_of="macs", max_score_drop=0.05, control=True, random_state=0)
pruner.fit(X_train, y_train, X_val=X_val, y_val=y_val)
print(f"{pruner.reduction_:.1%} of the multiply-adds removed, stopped because of: {pruner.stop_reason_}")

# %%
# The path
# --------
# R² goes up and down on the way, since a spike that is forecast two samples early costs much. Do not read a rise as a
# merit of pruning: every step comes with an epoch of training, and the dense network was not at its best yet. This is
# what ``control=True`` is for. It trained the dense network for as long without pruning, and the line in the figure is
# what that gives. The price of pruning is the distance from that line, not from the first point.
display = PruningPathDisplay.from_estimator(pruner)

# %%
# What it forecasts
# -----------------
# 400 samples of the test part, each forecast from the window that ends 12 samples earlier. Both networks have the
# spikes in their places, a little too low at the tips, and it is hard to tell one network from the other.
dense = pruner.control_estimator_
shown = slice(0, 400)
figure, ax = plt.subplots(figsize=(8, 3), layout="constrained")
ax.plot(y_test[shown], color="0.6", linewidth=3, label="recorded")
ax.plot(dense.predict(X_test)[shown], linewidth=1, label="dense")
ax.plot(pruner.predict(X_test)[shown], linewidth=1, label="pruned")
ax.set(xlabel="Sample of the test part", ylabel="Standardised value", title=f"Forecast, {AHEAD} samples ahead")
legend = ax.legend(loc="upper right")

# %%
# In numbers. To forecast that nothing changes would be worse than to forecast the mean, whose R² is 0. The pruned
# network comes close to the dense one with a fifth of its multiply-adds.
forecasts = {
    "last value of the window": X_test[:, :, -1],
    "dense, trained as long": dense.predict(X_test),
    "pruned": pruner.predict(X_test),
}
macs = pruner.analyze().attrs["totals"]["macs"]
table = pd.DataFrame({"multiply-adds": [0, macs["before"], macs["after"]]}, index=list(forecasts))
table["R² on test data"] = [r2_score(y_test, forecast) for forecast in forecasts.values()]
table.round(3)
