"""Whole nets and fitted pruners in files: what comes back, and what is not let in."""

import json
import os
import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import safetensors
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNet, NeuralNetClassifier, NeuralNetRegressor
from skorch.callbacks import Callback, EarlyStopping, EpochScoring, LRScheduler
from skorch.helper import predefined_split
from torch import nn

from prunekit import (
    PrunableNetwork,
    TaylorPruner,
    TaylorPrunerCV,
    load,
    load_net,
    load_pruner,
    report,
    save,
    untrusted_names,
)
from prunekit.exceptions import ParameterError, ParameterTypeError, PlanError, UntrustedError, VerificationError
from prunekit.importance import Taylor
from prunekit.schedules import FixedCountSchedule
from tests.nets_skorch import ConvNet, Perceptron, TwoInputs, make_classifier, make_images, make_table, quick

ATTRIBUTES = (
    *("baseline_score_", "reduction_", "reductions_", "stop_reason_", "n_iterations_", "n_prunables_", "plan_"),
    *("n_features_in_",),
)
ARRAYS = ("support_", "ranking_", "importances_", "unit_layers_", "classes_")


@pytest.fixture(scope="module")
def words(table):
    """The classification problem with labels that are words."""
    return table[0], np.array(["no", "yes"])[table[1]]


@pytest.fixture(scope="module")
def pruner(words):
    net = make_classifier(
        module__num_hidden=24,
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.9,
        lr=0.02,
        callbacks=[
            ("f1", EpochScoring("f1_macro", lower_is_better=False)),
            EarlyStopping(patience=50),
            LRScheduler("StepLR", step_size=2),
        ],
        criterion__label_smoothing=0.1,
    )
    return quick(net, criterion=Taylor(normalization="l2"), step=FixedCountSchedule(4), random_state=0).fit(*words)


@pytest.fixture
def path(pruner, tmp_path):
    return save(pruner, tmp_path / "pruner.safetensors", optimizer=True)


# ---------------------------------------------------------------- pruners


def test_a_pruner_comes_back(pruner, path, words):
    back = load_pruner(path, trusted=[Perceptron])

    assert np.array_equal(back.predict_proba(words[0]), pruner.predict_proba(words[0]))
    assert back.predict(words[0]).tolist() == pruner.predict(words[0]).tolist()
    assert back.score(*words) == pruner.score(*words)
    for name in ATTRIBUTES:
        assert getattr(back, name) == getattr(pruner, name), name
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(back, name), getattr(pruner, name))
    pd.testing.assert_frame_equal(back.history_, pruner.history_)
    pd.testing.assert_frame_equal(back.analyze(), pruner.analyze())
    assert back.analyze().attrs == pruner.analyze().attrs
    assert {name for name in vars(pruner) if name not in vars(back)} == set()


def test_the_parameters_come_back(pruner, path):
    back = load_pruner(path, trusted=[Perceptron])

    before, after = (one.get_params(deep=False) for one in (pruner, back))
    assert repr(before.pop("step")) == repr(after.pop("step"))
    assert vars(before.pop("criterion")) == vars(after.pop("criterion"))
    nets = [one.pop("estimator").get_params(deep=False) for one in (before, after)]
    assert before == after
    for one in nets:
        one.pop("callbacks"), one.pop("train_split")
    assert nets[0] == nets[1]
    assert not hasattr(back.estimator, "module_")


def test_a_pruner_that_came_back_is_fitted_again(path, words):
    back = load_pruner(path, trusted=[Perceptron])

    again = clone(back).set_params(final_epochs=0).fit(*words)

    assert again.reduction_ > 0.4
    assert again.estimator_.module_.hidden.in_features == 20


def test_a_report_on_a_pruner_that_came_back(path, words, tmp_path):
    back = load_pruner(path, Perceptron)
    assert report(back, tmp_path / "report.html", words[0]).stat().st_size > 10_000


def test_what_a_search_has_chosen(words, tmp_path):
    search = TaylorPrunerCV(quick(make_classifier()), reductions=2, cv=2, tolerance=1.0).fit(*words)
    back = load_pruner(save(search, tmp_path / "search.safetensors"), Perceptron)
    assert back.predict(words[0]).tolist() == search.predict(words[0]).tolist()


@pytest.mark.parametrize("module", [Perceptron(24), lambda: Perceptron(24), partial(Perceptron, 24)])
def test_a_dense_network_in_the_place_of_the_class(pruner, path, words, module):
    back = load_pruner(path, module)
    assert np.array_equal(back.predict_proba(words[0]), pruner.predict_proba(words[0]))


def test_a_frozen_net(dense, table, tmp_path):
    pruner = quick(FrozenEstimator(dense), random_state=0).fit(*table)
    back = load_pruner(save(pruner, tmp_path / "net.safetensors"), trusted=[Perceptron])

    assert isinstance(back.estimator, FrozenEstimator)
    assert np.array_equal(back.predict_proba(table[0]), pruner.predict_proba(table[0]))


def test_an_instance_as_module_must_be_given(table, tmp_path):
    torch.manual_seed(0)
    net = make_classifier(Perceptron()).fit(*table)
    pruner = quick(FrozenEstimator(net), random_state=0).fit(*table)
    path = save(pruner, tmp_path / "net.safetensors")

    with pytest.raises(UntrustedError, match=r"Pass the class, or a dense network of it, to load_pruner"):
        load_pruner(path, trusted=[Perceptron])
    back = load_pruner(path, Perceptron())
    assert np.array_equal(back.predict_proba(table[0]), pruner.predict_proba(table[0]))


def test_named_inputs_and_images(tmp_path):
    X, y = make_table(100)
    halves = {"first": X[:, :10], "second": X[:, 10:]}
    pruner = quick(make_classifier(TwoInputs), random_state=0).fit(halves, y)
    back = load_pruner(save(pruner, tmp_path / "two.safetensors"), TwoInputs)
    assert np.array_equal(back.predict_proba(halves), pruner.predict_proba(halves))

    images, digits = make_images(200)
    pruner = quick(make_classifier(ConvNet), random_state=0).fit(images, digits)
    back = load_pruner(save(pruner, tmp_path / "images.safetensors"), ConvNet)
    assert np.array_equal(back.predict_proba(images), pruner.predict_proba(images))


def test_a_pruner_that_is_not_fitted(tmp_path):
    with pytest.raises(ParameterTypeError, match=r"must be fitted if it is a pruner. Got TaylorPruner that is not"):
        save(TaylorPruner(make_classifier()), tmp_path / "net.safetensors")
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- nets


def test_the_net_of_a_pruner(pruner, path, words):
    net, own = load_net(path, Perceptron), pruner.transform()

    assert type(net) is NeuralNetClassifier
    assert np.array_equal(net.predict_proba(words[0]), own.predict_proba(words[0]))
    assert [dict(row) for row in net.history] == [dict(row) for row in own.history]
    assert net.classes_.tolist() == own.classes_.tolist()
    assert [type(one[1] if isinstance(one, tuple) else one) for one in net.callbacks] == [
        EpochScoring,
        EarlyStopping,
        LRScheduler,
    ]
    assert net.criterion_.label_smoothing == 0.1


def test_a_net_trains_on_with_its_momentum(tmp_path):
    X, y = make_table()
    torch.manual_seed(0)
    net = make_classifier(optimizer=torch.optim.SGD, optimizer__momentum=0.9, module__dropout=0.0)
    net.fit(X, y)
    path = save(net, tmp_path / "net.safetensors", optimizer=True)
    plain = save(net, tmp_path / "plain.safetensors")

    nets = [net, load_net(path, Perceptron), load_net(plain, Perceptron)]
    for one in nets:
        torch.manual_seed(1)
        one.partial_fit(X, y)

    same, other = (
        all(torch.equal(a, b) for a, b in zip(net.module_.parameters(), one.module_.parameters(), strict=True))
        for one in nets[1:]
    )
    assert same
    assert not other
    assert len(nets[1].history) == len(net.history)


def test_a_net_is_cloned_pickled_and_saved_again(path, words, tmp_path):
    net = load_net(path, Perceptron)

    expected = net.predict_proba(words[0])
    assert np.array_equal(pickle.loads(pickle.dumps(net)).predict_proba(words[0]), expected)
    copied = clone(net).initialize()
    assert [p.shape for p in copied.module_.parameters()] == [p.shape for p in net.module_.parameters()]
    again = load_net(save(net, tmp_path / "again.safetensors"), lambda: Perceptron(24))
    assert np.array_equal(again.predict_proba(words[0]), expected)


def test_the_state_of_a_criterion(tmp_path):
    X, y = make_table(100)
    net = make_classifier(criterion__weight=torch.tensor([1.0, 3.0])).fit(X, y)
    back = load_net(save(net, tmp_path / "net.safetensors"), Perceptron)
    assert back.criterion_.weight.tolist() == [1.0, 3.0]


def test_a_regressor_without_classes(tmp_path):
    X, y = make_table(100)
    net = NeuralNetRegressor(Perceptron, module__num_outputs=1, max_epochs=1, verbose=0).fit(
        X, y.astype("float32")[:, None]
    )
    back = load_net(save(net, tmp_path / "net.safetensors"), Perceptron)
    assert np.array_equal(back.predict(X), net.predict(X))


def test_parameters_that_are_other(path):
    assert load_net(path, Perceptron, batch_size=7).batch_size == 7
    with pytest.raises(ParameterError, match=r"cannot be made: .*no_such.*Pass what is missing or other to load_net"):
        load_net(path, Perceptron, no_such=1)


def test_what_cannot_be_written_down_is_told(tmp_path):
    X, y = make_table(100)
    valid = NeuralNet(Perceptron, nn.CrossEntropyLoss).get_dataset(X, y)
    net = make_classifier(train_split=predefined_split(valid), callbacks=[("own", Silent(lambda: None))]).fit(X, y)
    path = save(net, tmp_path / "net.safetensors")

    assert path.stat().st_size < 20_000  # the data are not in it
    with pytest.warns(UserWarning, match=r"What NeuralNetClassifier had for train_split .* could not be written down"):
        back = load_net(path, Perceptron, trusted=[Silent])
    assert np.array_equal(back.predict_proba(X), net.predict_proba(X))
    assert load_net(path, Perceptron, trusted=[Silent], train_split=None).train_split is None


class Silent(Callback):
    def __init__(self, function=None):
        self.function = function


def test_an_optimizer_where_there_is_none(tmp_path):
    with pytest.raises(ParameterError, match=r"'optimizer' parameter of save must be False.*Got True with Perceptron"):
        save(Perceptron(), tmp_path / "net.safetensors", optimizer=True)


def test_the_kind_of_file(path, tmp_path):
    module = save(Perceptron(), tmp_path / "module.safetensors")
    net = save(make_classifier().fit(*make_table(50)), tmp_path / "net.safetensors")

    with pytest.raises(PlanError, match=r"must be a file that was saved of a net or a pruner. Got one of a module"):
        load_net(module, Perceptron)
    with pytest.raises(PlanError, match=r"must be a file that was saved of a pruner. Got one of a network"):
        load_pruner(net, Perceptron)
    assert isinstance(load(path, lambda: Perceptron(24)), Perceptron)


# ---------------------------------------------------------------- trust


def test_names_are_told_and_refused(path, tmp_path):
    assert untrusted_names(path) == ["tests.nets_skorch.Perceptron"]
    with pytest.raises(UntrustedError, match=r"class 'tests.nets_skorch.Perceptron', which is not trusted"):
        load_pruner(path)
    with pytest.raises(UntrustedError, match=r"class 'tests.nets_skorch.Perceptron', which is not trusted"):
        load_net(path)

    net = make_classifier(callbacks=[Silent()]).fit(*make_table(50))
    own = save(net, tmp_path / "net.safetensors")
    assert untrusted_names(own) == ["tests.nets_skorch.Perceptron", f"{Silent.__module__}.Silent"]
    with pytest.raises(UntrustedError, match=r"names '.*Silent', which is not trusted.*pass the object to load_net"):
        load_net(own, Perceptron)
    assert isinstance(load_net(own, Perceptron, trusted=[Silent]).callbacks[0], Silent)


@pytest.mark.parametrize("trusted", ["Perceptron", ["tests.nets_skorch.Perceptron"], [lambda: None], [3], 7])
def test_only_objects_are_trusted(path, trusted):
    with pytest.raises(ParameterTypeError, match="'trusted' parameter of load_net must"):
        load_net(path, Perceptron, trusted=trusted)


HOSTILE = {
    "function": {"kind": "named", "name": "os.system"},
    "object": {"kind": "object", "name": "subprocess.Popen", "params": {"kind": "dict", "items": []}},
    "partial": {
        "kind": "partial",
        "function": {"kind": "named", "name": "os.system"},
        "args": ["true"],
        "params": {"kind": "dict", "items": []},
    },
    "callback that unpickles": {
        "kind": "object",
        "name": "skorch.callbacks.training.LoadInitState",
        "params": {"kind": "dict", "items": []},
    },
    "net": {
        "kind": "net",
        "name": "os.path",
        "module": "os",
        "is_class": True,
        "params": {"kind": "dict", "items": []},
    },
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_no_name_of_the_file_is_looked_up(path, tmp_path, hostile):
    """The document is changed and signed anew, as somebody would who knows the format."""
    from prunekit.io import read_archive, write_archive

    archive = read_archive(path)
    for name, params in (("net", archive.parts["net"]["net"]["params"]), ("pruner", archive.parts["pruner"]["params"])):
        params["items"].append([("callbacks__own" if name == "net" else "scoring"), hostile])
        params["items"] = [tuple(item) for item in params["items"]]
    bad = write_archive(tmp_path / "bad.safetensors", archive)

    loaded = set(sys.modules)
    with pytest.raises(UntrustedError):
        load_net(bad, Perceptron)
    with pytest.raises(UntrustedError):
        load_pruner(bad, Perceptron)
    assert set(sys.modules) == loaded


def test_attributes_of_the_file_hide_no_method(path, tmp_path):
    from prunekit.io import read_archive, write_archive

    archive = read_archive(path)
    printing = {"kind": "named", "name": "builtins.print"}
    archive.parts["pruner"]["fitted"]["items"] += [("predict", printing), ("_check", printing), ("__class__", printing)]
    archive.parts["net"]["attributes"] |= {"predict": printing, "module_": printing, "__class__": printing}
    bad = write_archive(tmp_path / "bad.safetensors", archive)

    back = load_pruner(bad, Perceptron)

    assert not {"predict", "_check", "__class__"} & set(vars(back))
    assert isinstance(back.estimator_.module_, Perceptron)
    assert "predict" not in vars(back.estimator_)


def test_nothing_is_imported_by_a_file(path, tmp_path):
    """In a new process that has never seen the class."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\n"
        "from prunekit import load_pruner, untrusted_names\n"
        "from prunekit.exceptions import UntrustedError\n"
        f"path = {str(path)!r}\n"
        "assert untrusted_names(path) == ['tests.nets_skorch.Perceptron']\n"
        "try:\n    load_pruner(path)\nexcept UntrustedError:\n    pass\nelse:\n    raise SystemExit('was let in')\n"
        "assert 'tests.nets_skorch' not in sys.modules\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, str(script)], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------- plans that travel along


def test_a_net_knows_its_plan(pruner, words, tmp_path):
    net = pickle.loads(pickle.dumps(pruner.transform()))

    back = load(save(net.module_, tmp_path / "net.safetensors"), lambda: Perceptron(24))

    sample = torch.tensor(words[0][:5])
    assert torch.equal(back.eval()(sample), net.module_.eval()(sample))


def test_pruned_twice(tmp_path):
    torch.manual_seed(0)
    sample = torch.randn(4, 1, 8, 8)
    first = PrunableNetwork(ConvNet(), sample, criterion="random")
    first.update_prunables(5)
    once = first.compact()
    second = PrunableNetwork(once, sample, criterion="random")
    second.update_prunables(6)
    path = save(second, tmp_path / "net.safetensors")

    back = load(path, ConvNet)

    assert torch.equal(back.eval()(sample), second.compact().eval()(sample))
    third = PrunableNetwork(back, sample, criterion="random")
    third.update_prunables(4)
    last = load(save(third.compact(), path), ConvNet())
    assert torch.equal(last.eval()(sample), third.compact().eval()(sample))


def test_the_network_must_return_what_it_returned(pruner, path, words, monkeypatch):
    monkeypatch.setattr(Perceptron, "forward", lambda self, x: self.output(self.norm(self.hidden(x)).sigmoid()))

    with pytest.raises(VerificationError, match=r"must return what it returned when it was saved.*difference of \d"):
        load(path, lambda: Perceptron(24))
    load(path, lambda: Perceptron(24), verify=False)
    monkeypatch.setattr(Perceptron, "forward", lambda self: None)
    with pytest.raises(VerificationError, match=r"fits Perceptron, but the network does not run"):
        load(path, lambda: Perceptron(24))


def test_no_data_of_the_user_are_in_the_file(pruner, path, words, tmp_path):
    with safetensors.safe_open(path, "pt") as file:
        document = json.loads(file.metadata()["prunekit"])
    inputs = dict(document["parts"]["probe"]["dict"])["inputs"]
    assert "tensor" in json.dumps(inputs)
    assert json.dumps(inputs).count('"shape"') == 1

    given = save(pruner, tmp_path / "given.safetensors", X=words[0])
    assert load_pruner(given, Perceptron).reduction_ == pruner.reduction_
    with pytest.raises(ParameterError, match="'X' parameter of save must hold inputs with which the network can be"):
        save(pruner, tmp_path / "wrong.safetensors", X=words[0][:, :3])
    with pytest.raises(ParameterTypeError, match="'X' parameter of save must hold example inputs"):
        save(pruner, tmp_path / "wrong.safetensors", X="images")
    assert not (tmp_path / "wrong.safetensors").exists()
