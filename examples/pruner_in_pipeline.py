"""Scale, then prune: `TaylorPruner` as the last step of a scikit-learn pipeline, compared with the dense net.

The dense net is a pipeline of the same form, so both are trained, scored and searched alike.
"""

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from torch import nn

from prunekit import TaylorPruner
from prunekit.pipeline.nets import MLP

torch.manual_seed(0)
X, y = load_digits(return_X_y=True)  # 64 pixels a sample
X_train, X_test, y_train, y_test = train_test_split(X.astype("float32"), y, stratify=y, random_state=0)

net = NeuralNetClassifier(
    MLP,
    module__input_shape=(64,),
    module__num_classes=10,
    criterion=nn.CrossEntropyLoss,
    optimizer__momentum=0.9,
    lr=0.01,
    max_epochs=20,
    iterator_train__shuffle=True,
    verbose=0,
)
pruner = TaylorPruner(net, target_reduction=0.7, step=0.1, finetune_epochs=3, random_state=0)

dense = make_pipeline(StandardScaler(), net).fit(X_train, y_train)
pruned = make_pipeline(StandardScaler(), pruner).fit(X_train, y_train)

print(f"dense:  {dense.score(X_test, y_test):.3f} on {len(y_test)} test images")
print(f"pruned: {pruned.score(X_test, y_test):.3f}, {pruned[-1].reduction_:.0%} of the parameters removed")
print(pruned[-1].history_[["phase", "reduction", "score"]].round(3).to_string(index=False))
print(pruned[-1].analyze()[["name", "num_filters", "num_pruned_filters", "num_learnables", "blocked_by"]].to_string())
