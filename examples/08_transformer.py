"""
A vision transformer: heads and hidden units
============================================

In a transformer two kinds of things can go without touching the rest: whole heads of an attention, and hidden units of
the layers between. Both are pruned here together.
"""

# %%
# The data and the network
# ------------------------
# An image of 8 x 8 pixels is cut into 16 patches, and each is a token. Two of PyTorch's own ``TransformerEncoderLayer``
# follow, each with four heads and 96 hidden units.
import pandas as pd
import torch
from _networks import VisionTransformer
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from skorch import NeuralNetClassifier
from torch import nn

from prunekit import LayerReductionDisplay, TaylorPruner, analyze, analyze_compression, compare, style_table

torch.manual_seed(0)
X, y = load_digits(return_X_y=True)
X = (X / 16).astype("float32").reshape(-1, 1, 8, 8)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
net = NeuralNetClassifier(
    VisionTransformer,
    criterion=nn.CrossEntropyLoss,
    optimizer=torch.optim.AdamW,
    lr=0.003,
    batch_size=32,
    max_epochs=12,
    iterator_train__shuffle=True,
    verbose=0,
)

# %%
# What can go
# -----------
# A look before any training. A head is one unit: its queries, keys, values and its part of the output projection go
# together. The residual stream, which all layers read and add to, is normalised by layer norms over all its channels,
# so it stays. (``norms="subset"`` would let it be pruned as well.)
#
# The largest possible reduction is in the totals. A target beyond it is refused before any training.
potential = analyze_compression(net, X)
print(f"at most {potential.attrs['totals']['params']['reduction']:.1%} of the parameters can be removed")
potential[["name", "type", "num_filters", "num_removable", "max_learnables_reduction", "blocked_by"]]

# %%
# Units
# -----
# A table of units says what each would save by itself. A head has many more parameters than a hidden unit, so its
# importance is divided by them before the two are compared (``per="target"``, the default).
units = analyze(net, X, level="unit")
units.groupby("layer", sort=False).agg(
    units=("unit", "size"), filters_each=("num_filters", "first"), params_each=("params_saved", "first")
)

# %%
# Prune
# -----
# ``fit`` is the same as for convolutions. There are two epochs after every step, since transformers take more training
# than small convolutional networks do. ``control=True`` trains the dense network for as long, without pruning. And
# ``min_channels=4`` keeps four hidden units in every layer, whatever their importances say: estimates are good for
# small changes, and to take nearly all of a layer is not one.
pruner = TaylorPruner(net, target_reduction=0.6, min_channels=4, finetune_epochs=2, control=True, random_state=0)
pruner.fit(X_train, y_train)
small = pruner.transform()
for layer in small.module_.encoder.layers:
    print(type(layer.self_attn).__name__, layer.linear1)

# %%
# A layer that has lost heads has an attention of another class than before. The code of ``nn.MultiheadAttention`` fixes
# its width to that of the residual stream. A ``CompactMultiheadAttention`` has the same parameters, for fewer heads of
# the same size.
#
# In the figure, the filters of an attention are the rows of its queries, keys and values: 24 for each head.
display = LayerReductionDisplay.from_estimator(pruner)

# %%
# In heads and hidden units. Nobody said how many of which should go, or in which layer: that came out of the comparison
# of all units with one another. The first layer keeps much more than the second.
table = pruner.analyze()
pd.DataFrame(
    {
        "heads of 4": (table["num_filters"][table["type"].str.contains("Multihead")] // 24).to_list(),
        "hidden units of 96": table["num_filters"][table["name"].str.endswith("linear1")].to_list(),
    },
    index=["encoder layer 0", "encoder layer 1"],
)

# %%
# Is it as good?
# --------------
# Against the dense network that was trained as long, on the test images. The interval of the change in accuracy tells
# how much these images can decide.
columns = ["unit", "dense", "compact", "reduction", "change", "change_low", "change_high"]
style_table(compare(pruner.control_estimator_, pruner, X_test, y_test, batch_sizes=[32])[columns])
