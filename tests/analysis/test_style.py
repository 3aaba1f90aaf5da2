"""The styled tables: all values as text, the plain table untouched."""

import builtins
import re
import sys

import pandas as pd
import pytest
import torch
from torch import nn

from prunekit import PrunableNetwork, analyze, analyze_compression, compare, style_table
from prunekit.exceptions import MissingDependencyError, ParameterError, ParameterTypeError
from tests.nets import PlainCNN

SAMPLE = torch.randn(2, 3, 8, 8)


@pytest.fixture
def table():
    network = PrunableNetwork(PlainCNN(), SAMPLE, criterion="random")
    network.update_prunables(4)
    return analyze(network)


def words(styler):
    return re.sub(r"\s+", " ", re.sub(r"<style.*?</style>|<[^>]+>", " ", styler.to_html(), flags=re.DOTALL))


def test_every_reduction_stands_there_as_text_with_a_bar(table):
    styler = style_table(table)
    html = styler.to_html()

    for value in table["learnables_reduction"]:
        assert f"{100 * value:.1f} %" in html
    assert "linear-gradient" in html
    assert "rgba(0, 114, 178, 0.35)" in html


def test_large_numbers_sizes_and_shapes(table):
    big = style_table(analyze(nn.Sequential(nn.Linear(1000, 300), nn.Linear(300, 4)), torch.randn(2, 1000)))

    text = words(big)
    assert "300,300" in text
    assert "weight 300×1000, bias 300" in text
    assert "1×300" in text
    assert "1.2 MB" in text


def test_the_plain_table_stays_as_it_is(table):
    before = table.copy(deep=True)
    styler = style_table(table)
    styler.to_html()

    pd.testing.assert_frame_equal(table, before)
    assert styler.data.dtypes.to_dict() == before.dtypes.to_dict()
    assert table.attrs == before.attrs


def test_tables_of_all_kinds():
    net = PlainCNN()
    tables = [
        *(analyze(net, SAMPLE, level=level) for level in ("layer", "unit", "module")),
        *(analyze_compression(net, SAMPLE, level=level) for level in ("layer", "reason")),
        compare(net, net, SAMPLE, batch_sizes=[1], repeats=2),
        analyze(nn.Sequential(nn.Conv2d(3, 4, 1), nn.Softmax(1)), SAMPLE, level="unit"),  # has no rows
        analyze(net, SAMPLE)[["name", "macs"]].set_index("name"),
    ]
    for one in tables:
        text = words(style_table(one))
        assert all(str(name) in text for name in one.columns)
        assert "nan" not in text.lower().split()


def test_what_stands_in_angle_brackets_is_no_markup():
    table = pd.DataFrame({"name": ["<b>x</b>"], "layers": [("<i>", "y")]})

    html = style_table(table).to_html()
    assert "<b>x" not in html
    assert "<i>" not in html


def test_missing_jinja2(table, monkeypatch):
    real = builtins.__import__

    def broken(name, *args, **kwargs):
        if name.startswith("jinja2") or name == "pandas.io.formats.style":
            raise ImportError("No module named 'jinja2'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", broken)
    monkeypatch.delitem(sys.modules, "pandas.io.formats.style", raising=False)
    with pytest.raises(MissingDependencyError, match=r"style_table needs jinja2.*pip install jinja2"):
        style_table(table)


def test_errors(table):
    with pytest.raises(ParameterTypeError, match=r"must be a DataFrame, such as analyze returns. Got list"):
        style_table([1])
    with pytest.raises(ParameterError, match="no row and no column twice"):
        style_table(pd.concat([table, table]))
