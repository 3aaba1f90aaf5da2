"""What a report says, from what it is made, and what it never lets through."""

import copy
import json
import pickle
import re
from html.parser import HTMLParser

import joblib
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.frozen import FrozenEstimator
from skorch import NeuralNetClassifier
from torch import nn

from prunekit import PrunableNetwork, TaylorPruner, TaylorPrunerCV, analyze, report
from prunekit.exceptions import FileAccessError, InputError, ParameterTypeError, TrainingError
from prunekit.reporting._page import _SCRIPTS
from tests.nets_skorch import make_classifier, make_table
from tests.report.nets import Blocked, digits, fitted_pruner, make_deep

EVIL = "<script>alert('x')</script>\"&'</script>"
IMAGE = torch.zeros(1, 3, 8, 8)
NUM_SCRIPTS = 1 + len(_SCRIPTS)  # the data, and the scripts of the page


class Page(HTMLParser):
    """Tags with their attributes, and the text of the page."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.texts, self._inside = [], [], ""
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self._inside = tag
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data):
        if self._inside not in ("script", "style"):
            self.texts.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.texts)).strip()

    @property
    def data(self):
        return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', self.source, re.S)[1])

    def of(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def test_fitted_pruner(tmp_path):
    pruner = fitted_pruner()
    path = report(pruner, tmp_path / "report.html", digits()[0], title="Digits")
    page = Page(path)
    totals = pruner.analyze().attrs["totals"]
    assert path == tmp_path / "report.html"
    assert page.text.startswith("Digits · prunekit report Skip to the content Digits")
    assert f"−{100 * totals['params']['reduction']:.1f} %" in page.text
    assert f"{pruner.baseline_score_:.4f} before" in page.text
    assert "Stop reason target reached" in page.text
    assert len(page.of("tr")) == len(pruner.analyze()) + len(pruner.history_) + len(pruner.plan_.kept) + 3
    data = page.data
    assert data["pruned"] is True
    assert [row["name"] for row in data["rows"]] == pruner.analyze()["name"].to_list()
    assert {node[0] for node in data["nodes"]} == {"input", "layer", "output"}
    assert "FrozenEstimator" in page.text, "the parameters of the pruner"
    assert {"threshold", "target", "path"} <= {attributes.get("class") for attributes in page.of("line")} | {
        attributes.get("class") for attributes in page.of("polyline")
    }


def test_pruner_knows_its_graph_without_inputs(tmp_path):
    pruner = fitted_pruner()
    kept, traced = (Page(report(pruner, tmp_path / "report.html", X)).data for X in (None, digits()[0]))
    assert kept == traced


def test_graph_travels_with_the_pruner(tmp_path):
    pruner = fitted_pruner()
    joblib.dump(pruner, tmp_path / "pruner.joblib")
    loaded = [pickle.loads(pickle.dumps(pruner)), joblib.load(tmp_path / "pruner.joblib"), copy.deepcopy(pruner)]
    data = Page(report(pruner, tmp_path / "report.html")).data
    assert [Page(report(one, tmp_path / "report.html")).data == data for one in loaded] == [True] * 3
    assert not hasattr(clone(pruner), "_network_map"), "a clone is not fitted"
    assert len(pickle.dumps(pruner._network_map)) < 2_000


def test_graph_of_a_fit_that_went_on_from_a_checkpoint(tmp_path, dense):
    X, y = make_table()
    pruner = TaylorPruner(
        FrozenEstimator(dense), step=0.1, target_reduction=0.3, checkpoint=tmp_path / "run", random_state=0
    )
    pages = [Page(report(clone(pruner).fit(X, y), tmp_path / f"{number}.html")).data for number in range(2)]
    assert {node[0] for node in pages[0]["nodes"]} == {"input", "layer", "output"}
    assert pages[0] == pages[1]


def test_pruner_of_a_table(tmp_path, dense):
    X, y = make_table()
    pruner = TaylorPruner(FrozenEstimator(dense), step="one_shot", target_reduction=0.3, random_state=0).fit(X, y)
    frame = pd.DataFrame(X, columns=[f"feature {number}" for number in range(X.shape[1])])
    pages = [Page(report(pruner, tmp_path / "report.html", example)).data for example in (None, X, frame)]
    assert "nodes" in pages[0]
    assert pages[0] == pages[1] == pages[2]


def test_search_stands_for_its_best_pruner(tmp_path, dense):
    X, y = make_table()
    pruner = TaylorPruner(FrozenEstimator(dense), step="one_shot", target_reduction=0.4, final_epochs=0, random_state=0)
    search = TaylorPrunerCV(pruner, reductions=2, cv=2, tolerance=1.0).fit(X, y)
    pages = [Page(report(one, tmp_path / "report.html")) for one in (search, search.best_estimator_)]
    assert pages[0].data == pages[1].data
    assert pages[0].data["pruned"] is True
    assert "nodes" in pages[0].data


def test_network_in_a_training_loop(tmp_path):
    network = PrunableNetwork(make_deep(2), IMAGE)
    torch.manual_seed(0)
    network(torch.randn(4, 3, 8, 8)).square().sum().backward()
    network.update_score()
    page = Page(report(network, tmp_path / "scored.html"))
    assert "Importance of the units of each layer (taylor2)" in page.text
    assert page.data["pruned"] is False
    network.update_prunables(5)
    page = Page(report(network, tmp_path / "pruned.html"))
    assert page.data["pruned"] is True
    assert f"Units removed 5 of {len(network.support)}" in page.text


def test_scores_that_are_not_finite_are_left_out(tmp_path):
    network = PrunableNetwork(make_deep(2).double(), IMAGE.double(), criterion="taylor")
    (network(torch.randn(4, 3, 8, 8, dtype=torch.float64)).sum() * 1e200).backward()
    network.update_score()
    with pytest.raises(TrainingError):
        network.importances  # noqa: B018
    page = Page(report(network, tmp_path / "report.html"))
    assert "Importances left out, since some are not finite" in page.text
    assert "Importance of the units" not in page.text
    assert [row["name"] for row in page.data["rows"]] == analyze(network)["name"].to_list()


def test_network_before_pruning(tmp_path):
    module = make_deep(1)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    page = Page(report(module, tmp_path / "report.html", np.zeros((1, 3, 8, 8))))
    largest = PrunableNetwork(module, IMAGE).max_reduction("params")
    assert f"Largest reduction of parameters {100 * largest:.1f} %" in page.text
    assert module.training
    assert all(tensor.equal(before[name]) for name, tensor in module.state_dict().items())


def test_nothing_to_prune(tmp_path):
    page = Page(report(Blocked(), tmp_path / "report.html", IMAGE))
    assert "Can be pruned nothing" in page.text
    assert "group norm with one group normalises over all channels together" in page.text
    assert [row["prunable"] for row in page.data["rows"]] == [0, 0, 0]


def test_skorch_net_and_unfitted_pruner(tmp_path, dense):
    X, _ = make_table()
    names = [
        [row["name"] for row in Page(report(net, tmp_path / "a.html", X)).data["rows"]]
        for net in (dense, FrozenEstimator(dense), TaylorPruner(FrozenEstimator(dense)), dense.module_)
    ]
    assert names[0]
    assert names == [names[0]] * 4


def test_coupled_layers_reach_the_page(tmp_path):
    data = Page(report(make_deep(2), tmp_path / "report.html", IMAGE)).data
    names = [data["names"][number] for number in data["sets"][data["together"]["0"]]]
    assert names == ["0", "1.conv2", "2.conv2"]
    assert data["together"]["0"] == data["together"]["2.conv2"], "one set for all its layers"
    assert data["types"]["1"] == "Block"


def test_everything_of_the_user_is_escaped(tmp_path):
    module = nn.Sequential()
    module.add_module(EVIL.replace(".", ""), nn.Conv2d(3, 4, 3))
    module.add_module("last", type(EVIL, (nn.Conv2d,), {})(4, 2, 1))
    path = tmp_path / "report.html"
    page = Page(report(module, path, IMAGE, title=EVIL))
    assert page.source.count("<script") == NUM_SCRIPTS
    assert page.source.count("</script>") == NUM_SCRIPTS
    assert page.data["rows"][0]["name"] == EVIL
    assert EVIL in "".join(page.texts)
    network = PrunableNetwork(module, IMAGE, criterion="magnitude")
    network.prune_to(0.2)
    page = Page(report(network, path))
    assert page.source.count("<script") == NUM_SCRIPTS
    assert [attributes for _, attributes in page.tags if any(name.startswith("on") for name in attributes)] == []


def test_evil_names_do_nothing_in_a_browser(tmp_path, show):
    module = nn.Sequential()
    module.add_module(EVIL, nn.Conv2d(3, 4, 3))
    module.add_module("last", nn.Conv2d(4, 2, 1))
    page = show(report(module, tmp_path / "report.html", IMAGE))
    page.find_element("css selector", "#layers-table button.link").click()
    assert page.find_element("css selector", "#details h3").text == EVIL
    assert len(page.find_elements("css selector", "script")) == NUM_SCRIPTS


def test_nothing_outside_is_named(tmp_path):
    page = Page(report(fitted_pruner(), tmp_path / "report.html", digits()[0]))
    links = [attributes.get("href", "") for _, attributes in page.tags] + [
        attributes.get("src", "") for _, attributes in page.tags
    ]
    assert [link for link in links if link and not link.startswith(("#", "data:"))] == []
    (policy,) = [one["content"] for one in page.of("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in policy.partition("style-src")[0]
    assert "Copyright (c) 2012-2014 Chris Pettitt" in page.text


def test_old_file_is_replaced_and_folders_are_made(tmp_path):
    path = tmp_path / "new" / "folder" / "report.html"
    report(Blocked(), path, IMAGE)
    path.write_text("old")
    report(Blocked(), str(path), IMAGE)
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert list(path.parent.iterdir()) == [path]


def test_path_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(FileAccessError, match=r"'.*file' cannot be made: (File exists|Not a directory)\."):
        report(Blocked(), tmp_path / "file" / "report.html", IMAGE)
    with pytest.raises(FileAccessError, match="it is a folder"):
        report(Blocked(), tmp_path, IMAGE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]


@pytest.mark.parametrize("network", [object(), "net", 3, nn.Linear, make_classifier()])
def test_something_else_than_a_network(tmp_path, network):
    with pytest.raises(ParameterTypeError, match=r"must be a .*\. Got \w+"):
        report(network, tmp_path / "report.html", IMAGE)


def test_example_inputs_are_missing_or_of_another_type(tmp_path):
    with pytest.raises(ParameterTypeError, match="must hold example inputs for a network that was not pruned"):
        report(Blocked(), tmp_path / "report.html")
    with pytest.raises(ParameterTypeError, match=r"a tuple or mapping of those\. Got str without numbers instead"):
        report(Blocked(), tmp_path / "report.html", "image.png")
    with pytest.raises(InputError, match="does not run on the example inputs"):
        report(Blocked(), tmp_path / "report.html", torch.zeros(1, 5, 8, 8))
    assert not (tmp_path / "report.html").exists()


def test_several_inputs(tmp_path):
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(3, 4)

        def forward(self, first, second):
            return self.a(first) * self.b(second)

    array = np.zeros((2, 3))
    by_place = Page(report(Two(), tmp_path / "a.html", (array, torch.zeros(2, 3)))).data
    by_name = Page(report(Two(), tmp_path / "b.html", {"second": array, "first": [[0.0, 0.0, 0.0]] * 2})).data
    assert by_place["edges"] == by_name["edges"]
    assert ["operation", "", "mul", 1] in by_place["nodes"]


def test_unfitted_net_inside_of_a_pruner(tmp_path):
    pruner = TaylorPruner(NeuralNetClassifier(Blocked))
    with pytest.raises(ParameterTypeError, match=r"call initialize\(\) or fit\(\) first"):
        report(pruner, tmp_path / "report.html", IMAGE)
