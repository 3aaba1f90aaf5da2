"""
A step of a scikit-learn pipeline
=================================

A data frame goes in, words come out, and in between a scaler and a pruned network stand in one ``Pipeline``.
"""

# %%
# The data
# --------
# 569 tumours, 30 measurements of each, and the diagnosis as a word. The measurements have very different scales, so a
# network needs them standardised.
import pandas as pd
import torch
from _networks import Perceptron
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import cross_validate, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from torch import nn

from prunekit import LayerReductionDisplay, TaylorPruner
from prunekit.search import reduction_scorer

torch.manual_seed(0)
data = load_breast_cancer(as_frame=True)
X, y = data.data, data.target_names[data.target]
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
print(X_train.iloc[:3, :4].to_string(), y_train[:3], sep="\n")

# %%
# The pipeline
# ------------
# The pruner is the last step. The scaler learns mean and variance from the training data only, in each fold of a
# cross-validation anew, which is what pipelines are for.
#
# skorch by itself takes neither this data frame nor these labels. The pruner does: it checks tables as scikit-learn's
# own estimators do, gives the network arrays of its precision, and turns words into the positions of outputs and back.
net = NeuralNetClassifier(
    Perceptron,
    module__num_features=30,
    module__num_classes=2,
    criterion=nn.CrossEntropyLoss,
    optimizer__momentum=0.9,
    lr=0.02,
    batch_size=32,
    max_epochs=20,
    iterator_train__shuffle=True,
    verbose=0,
)
pruner = TaylorPruner(net, target_reduction=0.8, random_state=0)
pipeline = Pipeline([("scale", StandardScaler()), ("prune", pruner)])
pipeline.fit(X_train, y_train)
print(f"accuracy on test data: {pipeline.score(X_test, y_test):.3f}")

# %%
# A word of warning: validation data of your own, ``pipeline.fit(..., prune__X_val=..., prune__y_val=...)``, are handed
# to the last step as they are. No pipeline of scikit-learn scales them on the way. Leave the validation to the net's
# ``train_split``, as here, which splits what the scaler has scaled.

# %%
# Words, and positions
# --------------------
# The pipeline predicts words, and the columns of ``predict_proba`` are in the order of ``classes_``. The net inside is
# still a network with two outputs. Taken out of the pipeline, it knows no scaler, and it predicts positions.
fitted = pipeline["prune"]
small = fitted.transform()
scaled = pipeline["scale"].transform(X_test).astype("float32")
print("pipeline:", pipeline.predict(X_test)[:3])
print("net:     ", small.predict(scaled)[:3])
print("again:   ", fitted.classes_[small.predict(scaled)][:3])

# %%
# The figure shows what is left of the network. The output layer keeps its two units.
display = LayerReductionDisplay.from_estimator(fitted)

# %%
# Compared with no pruning
# ------------------------
# Every parameter of every step is reached by its path, also those of the net inside of the pruner. With
# ``target_reduction=0`` the pruner trains the net and does nothing else. So the dense network is the same pipeline with
# one other number, and both are cross-validated alike.
rows = {}
for target in (0.0, 0.5, 0.8, 0.9):
    pipeline.set_params(prune__target_reduction=target, prune__estimator__max_epochs=15)
    found = cross_validate(pipeline, X, y, cv=3, scoring={"accuracy": "accuracy", "reduction": reduction_scorer})
    rows[target] = {
        "reduction": found["test_reduction"].mean(),
        "accuracy": found["test_accuracy"].mean(),
        "std over folds": found["test_accuracy"].std(),
        "seconds": found["fit_time"].sum(),
    }

# %%
# The small networks are as accurate as the dense one, as far as three folds can tell: the differences are no larger
# than the spread over the folds. On a table like this one, a network of 64 hidden units was larger than it had to be.
pd.DataFrame(rows).T.rename_axis("target_reduction").round(3)
