"""The page in a browser: what a reader clicks, and what the page must not do."""

import numpy as np
import pytest
import torch
from torch import nn

from prunekit import PrunableNetwork, analyze, report
from tests.report.nets import Blocked, Whole, digits, fitted_pruner, make_deep
from tests.torchvision_shim import torchvision_models

NODE = "#graph [data-id]"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A report on a pruned and on a deep network."""
    folder = tmp_path_factory.mktemp("reports")
    pruner = fitted_pruner()
    report(pruner, folder / "digits.html", digits()[0], title="Digits")
    report(make_deep(125), folder / "deep.html", torch.zeros(1, 3, 8, 8))
    report(Blocked(), folder / "blocked.html", torch.zeros(1, 3, 8, 8))
    report(Whole(), folder / "whole.html", torch.zeros(1, 3, 8, 8))
    network = PrunableNetwork(make_deep(2), torch.zeros(1, 3, 8, 8), criterion="magnitude")
    network.prune_to(0.4)
    report(network, folder / "residual.html")
    return folder


def search(page, text):
    box = page.find_element("id", "search")
    box.clear()
    box.send_keys(text + "\n")


def details(page):
    return page.find_element("id", "details").text


def node_of(page, name):
    return page.find_element("css selector", f'{NODE}[aria-label^="{name},"]')


def classes_of(page, kind):
    return {
        element.get_attribute("aria-label").partition(",")[0]
        for element in page.find_elements("css selector", f"{NODE}.{kind}")
    }


def first_cells(page, table="layers-table"):
    return [cell.text for cell in page.find_elements("css selector", f"#{table} tbody tr:not([hidden]) th")]


def test_search_selects_a_layer_and_shows_its_numbers(pages, show):
    page = show(pages / "digits.html")
    search(page, "stages.1.1")
    row = fitted_pruner().analyze().set_index("name").loc["stages.1.1"]
    text = details(page)
    before = row["num_filters"] + row["num_pruned_filters"]
    assert text.startswith("stages.1.1\n")
    assert f"Filters\n{row['num_filters']} / {before}" in text
    assert f"Parameters\n{row['num_learnables']:,}" in text
    assert f"MACs\n{row['macs']:,}" in text
    assert classes_of(page, "selected") == {"stages.1.1"}
    assert page.find_element("css selector", "#layers-table tr.selected th").text == "stages.1.1"


def test_search_without_a_match_says_so(pages, show):
    page = show(pages / "digits.html")
    search(page, "nowhere")
    assert details(page) == "No layer's name or type contains “nowhere”."


def test_click_shows_what_is_coupled(pages, show):
    page = show(pages / "residual.html")
    node_of(page, "1.conv2").click()
    assert classes_of(page, "selected") == {"1.conv2"}
    assert classes_of(page, "together") == {"0", "2.conv2"}
    assert classes_of(page, "along") == {"1.conv1", "2.conv1", "5"}
    assert "Filters in the same units\n0\n2.conv2" in details(page)
    assert "Reads from\n1.act\nFeeds\nadd in 1" in details(page)


def test_blocked_layers_tell_why(pages, show):
    page = show(pages / "blocked.html")
    assert classes_of(page, "blocked") == {"conv", "last"}
    node_of(page, "conv").click()
    assert "⊘ Blocked by: group norm with one group normalises over all channels together" in details(page)
    assert "0 % prunable" in node_of(page, "conv").text


def test_collapse_and_expand_a_module(pages, show):
    page = show(pages / "residual.html")
    group = node_of(page, "1")
    assert group.get_attribute("aria-expanded") == "true"
    group.find_element("css selector", ".toggle").click()
    assert node_of(page, "1").get_attribute("aria-expanded") == "false"
    assert not page.find_elements("css selector", f'{NODE}[aria-label^="1.conv1,"]')
    search(page, "1.conv1")  # opens it again
    assert node_of(page, "1").get_attribute("aria-expanded") == "true"
    assert classes_of(page, "selected") == {"1.conv1"}
    page.find_element("id", "collapse-all").click()
    assert classes_of(page, "selected") == {"1"}, "the closed module stands for the layer in it"
    page.find_element("id", "expand-all").click()
    assert len(page.find_elements("css selector", NODE + ".node")) == 16


def test_network_and_container_with_parameters_of_their_own(pages, show):
    page = show(pages / "whole.html")
    table = analyze(Whole(), torch.zeros(1, 3, 8, 8)).set_index("name")
    assert [element.text for element in page.find_elements("css selector", "#layers-table button.link")] == [
        "first", "body.inner", "body", "Whole (the network itself)",
    ]  # fmt: skip
    page.find_element("css selector", "#layers-table tr[data-row='3'] button.link").click()
    text = details(page)
    assert text.startswith("the network\nType\nWhole\nLayers\n4\n")
    assert text.partition("Of its own")[2].startswith("\nType\nWhole\n")
    assert f"Filters\n2\nPrunable\n0\nParameters\n{table.loc['Whole', 'num_learnables']}\nMACs\n1,024" in text
    assert "⊘ Blocked by: network output" in text
    assert classes_of(page, "selected") == {"the network"}
    assert page.find_element("css selector", "#layers-table tr.selected th").text == "Whole (the network itself)"
    search(page, "body")
    text = details(page)
    assert text.partition("Of its own")[2].startswith("\nType\nPositions\nOutput\n8×8×8\nFilters\n–\n")
    assert f"Parameters\n{table.loc['body', 'num_learnables']}\n" in text.partition("Of its own")[2]
    node_of(page, "first").click()
    assert classes_of(page, "along") == {"the network", "body", "body.inner"}
    assert "body.inner\n" in details(page)
    search(page, "whole")
    assert classes_of(page, "selected") == {"the network"}
    page.find_element("id", "collapse-all").click()
    assert {element.text for element in page.find_elements("css selector", NODE)} >= {"input", "output"}
    assert node_of(page, "the network").get_attribute("aria-expanded") == "true"
    assert "did not run" not in page.find_element("id", "graph").text


def test_network_that_is_one_layer(tmp_path, show):
    page = show(report(nn.Conv2d(3, 4, 1), tmp_path / "net.html", torch.zeros(1, 3, 8, 8)))
    page.find_element("css selector", "#layers-table button.link").click()
    assert "Parameters\n16\n" in details(page)
    assert classes_of(page, "selected") == {"the network"}
    assert len(page.find_elements("css selector", NODE)) == 3


def test_module_of_the_name_of_the_network(tmp_path, show):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.Net = nn.Conv2d(3, 4, 1)
            self.scale = nn.Parameter(torch.ones(1))

        def forward(self, x):
            return self.Net(x) * self.scale

    page = show(report(Net(), tmp_path / "net.html", torch.zeros(1, 3, 8, 8)))
    for number, name in ((0, "Net"), (1, "the network")):
        page.find_element("css selector", f"#layers-table tr[data-row='{number}'] button.link").click()
        assert classes_of(page, "selected") == {name}


def test_table_sorts(pages, show):
    page = show(pages / "digits.html")
    names = first_cells(page)
    table = fitted_pruner().analyze()
    heading = page.find_element("xpath", "//*[@id='layers-table']//th[.//button[contains(., 'Parameters')]]")
    button = heading.find_element("css selector", "button")
    button.click()
    assert heading.get_attribute("aria-sort") == "descending"
    by_size = table.sort_values("num_learnables", ascending=False, kind="stable")["name"]
    assert first_cells(page) == by_size.to_list()
    button.send_keys("\n")  # from the keyboard
    assert heading.get_attribute("aria-sort") == "ascending"
    assert first_cells(page) == table.sort_values("num_learnables", kind="stable")["name"].to_list()
    page.find_element("css selector", "#layers-table thead button").click()
    assert heading.get_attribute("aria-sort") is None
    assert first_cells(page) == sorted(names)
    button.click()
    button.click()
    button.click()  # the third click brings the order of execution back
    assert heading.get_attribute("aria-sort") is None
    assert first_cells(page) == names


def test_table_filters(pages, show):
    page = show(pages / "digits.html")
    page.find_element("id", "filter").send_keys("conv2d")
    table = fitted_pruner().analyze()
    assert first_cells(page) == table[table["type"] == "Conv2d"]["name"].to_list()
    assert page.find_element("id", "filter-count").text == f"2 of {len(table)} layers"
    page.find_element("id", "filter").clear()
    page.find_element("id", "filter").send_keys("s")
    page.find_element("id", "with-parameters").click()
    shown = table[(table["num_learnables"] > 0)]["name"].to_list()
    assert set(first_cells(page)) <= set(shown)


def test_name_in_the_table_selects_in_the_graph(pages, show):
    page = show(pages / "residual.html")
    button = page.find_element("css selector", "#layers-table tr[data-row='2'] button.link")
    name = button.text
    button.click()
    assert details(page).startswith(f"{name}\n")
    assert classes_of(page, "selected") == {name}


def test_dark_and_light(pages, show):
    page = show(pages / "digits.html")
    button = page.find_element("id", "theme")

    def lightness():
        colour = page.execute_script("return getComputedStyle(document.body).backgroundColor")
        return sum(map(int, colour.removeprefix("rgb(").removesuffix(")").split(",")))

    before, pressed = lightness(), button.get_attribute("aria-pressed")
    button.click()
    assert button.get_attribute("aria-pressed") != pressed
    assert {before > 382, lightness() > 382} == {True, False}
    button.click()
    assert lightness() == before


def test_keyboard(pages, show):
    page = show(pages / "residual.html")
    search(page, "1.conv1")

    def press(key):
        page.switch_to.active_element.send_keys(key)
        return page.switch_to.active_element.get_attribute("aria-label").partition(",")[0]

    page.execute_script("document.querySelector('#graph [tabindex=\"0\"]').focus()")
    assert press("\ue015") == "1.norm1"  # down
    assert press("\ue013") == "1.conv1"  # up
    press("\ue015")
    press("\n")
    assert details(page).startswith("1.norm1\n")
    assert press("\ue012") == "1"  # left closes the module
    assert page.switch_to.active_element.get_attribute("aria-expanded") == "false"
    assert press("\ue014") == "1"
    assert page.switch_to.active_element.get_attribute("aria-expanded") == "true"
    assert len(page.find_elements("css selector", '#graph [tabindex="0"]')) == 1


def test_zoom(pages, show):
    page = show(pages / "deep.html")
    width = page.find_element("css selector", "#graph svg").size["width"]
    page.find_element("id", "zoom-in").click()
    assert page.find_element("css selector", "#graph svg").size["width"] == pytest.approx(1.25 * width, abs=2)
    page.find_element("id", "zoom-fit").click()
    graph = page.find_element("id", "graph")
    assert page.find_element("css selector", "#graph svg").size["height"] <= graph.size["height"]
    page.find_element("id", "zoom-reset").click()
    assert page.find_element("css selector", "#graph svg").size["width"] == pytest.approx(width, abs=2)


def test_deep_network_opens_in_part_and_whole(pages, show):
    page = show(pages / "deep.html")
    begun = len(page.find_elements("css selector", NODE))
    search(page, "100.conv2")
    assert classes_of(page, "selected") == {"100.conv2"}
    page.find_element("id", "expand-all").click()
    assert len(page.find_elements("css selector", NODE)) >= 504 + 125 > begun
    x, y, width, height = np.array(
        page.execute_script("""
            return [...document.querySelectorAll('#graph .node > .box')]
              .map((box) => box.getBBox()).map((box) => [box.x, box.y, box.width, box.height])""")
    ).T
    apart_across = (x[:, None] + width[:, None] <= x) | (x + width <= x[:, None])
    apart_down = (y[:, None] + height[:, None] <= y) | (y + height <= y[:, None])
    assert (apart_across | apart_down | np.eye(x.size, dtype=bool)).all(), "boxes lie on each other"


@pytest.mark.parametrize("width", [1400, 800])
def test_every_reason_is_in_sight(pages, show, width):
    page = show(pages / "blocked.html")
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
    )
    try:
        right = page.execute_script("""
            return [...document.querySelectorAll('#layers-table td:last-child')]
                .map((cell) => cell.getBoundingClientRect().right)""")
        reasons = [cell.text for cell in page.find_elements("css selector", "#layers-table td:last-child")]
    finally:
        page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert max(right) <= width
    assert [bool(reason) for reason in reasons] == [True, False, True]


def test_names_beside_bars_are_cut_at_the_front_and_not_turned_around(pages, show):
    page = show(pages / "deep.html")
    name = page.find_elements("css selector", ".bars .name bdi")[1]
    assert name.text == "1.conv1"
    assert name.value_of_css_property("direction") == "ltr"


def test_landmarks_and_names(pages, show):
    page = show(pages / "digits.html")
    unnamed = page.execute_script("""
        const named = (e) => e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length || e.title;
        return [...document.querySelectorAll('button, input, a, section, aside, nav, [role=region], [role=img]')]
            .filter((e) => !named(e) && !e.getAttribute('aria-labelledby')).map((e) => e.outerHTML)""")
    assert unnamed == []
    assert [len(page.find_elements("css selector", tag)) for tag in ("header", "nav", "main", "aside", "h1")] == [1] * 5
    assert page.find_element("id", "details").get_attribute("aria-live") == "polite"
    headings = page.find_elements("css selector", "#layers-table thead th")
    assert all(heading.get_attribute("scope") == "col" for heading in headings)
    ids = page.execute_script("return [...document.querySelectorAll('[id]')].map((e) => e.id)")
    assert len(ids) == len(set(ids))
    targets = page.execute_script("return [...document.querySelectorAll('a[href^=\"#\"]')].map((a) => a.hash.slice(1))")
    assert set(targets) <= set(ids)


@pytest.mark.parametrize("name", ["resnet50", "vit_b_16"])
def test_torchvision(name, tmp_path, show):
    module = getattr(torchvision_models(), name)()
    path = report(module, tmp_path / "net.html", torch.zeros(1, 3, 224, 224))
    assert path.stat().st_size < 1_000_000
    page = show(path)
    layer = {"resnet50": "layer3.4.conv2", "vit_b_16": "encoder.layers.encoder_layer_7.mlp.0"}[name]
    search(page, layer)
    assert details(page).startswith(f"{layer}\n")
    page.find_element("id", "expand-all").click()
    assert classes_of(page, "selected") == {layer}
    assert "did not run" not in page.find_element("id", "graph").text
    overflowing = page.execute_script("""
        return [...document.querySelectorAll('#graph .node')].filter((node) => {
          const box = node.querySelector('.box').getBBox();
          return [...node.querySelectorAll('text')].some((text) => {
            const own = text.getBBox();
            return own.x < box.x || own.x + own.width > box.x + box.width + 1;
          });
        }).map((node) => node.textContent)""")
    assert overflowing == []
    wide = page.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0
