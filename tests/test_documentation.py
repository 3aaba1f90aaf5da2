"""The link to the documentation in the HTML representation of estimators."""

import tomllib
from pathlib import Path

import pytest
from sklearn.linear_model import LinearRegression

import prunekit
from prunekit._documentation import DOCUMENTATION_URL
from tests.nets_skorch import make_classifier


@pytest.mark.parametrize("name", ["TaylorPruner", "TaylorPrunerCV"])
def test_an_estimator_links_to_its_page(name):
    estimator = getattr(prunekit, name)(make_classifier())
    assert estimator._get_doc_link() == f"{DOCUMENTATION_URL}api/generated/prunekit.{name}.html"


def test_other_estimators_keep_their_links():
    assert "scikit-learn.org" in LinearRegression()._get_doc_link()


def test_the_package_declares_the_same_address():
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["project"]["urls"]["Documentation"] == DOCUMENTATION_URL
