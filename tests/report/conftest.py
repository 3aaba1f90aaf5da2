"""A headless Chromium for the tests of the page."""

import json
import shutil

import pytest


@pytest.fixture(scope="session")
def browser():
    """A driver of Chromium with its logs; tests are skipped where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    chromedriver = shutil.which("chromedriver")
    if chromium is None or chromedriver is None:
        pytest.skip("chromium or chromedriver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    arguments = ("headless=new", "no-sandbox", "disable-dev-shm-usage", "window-size=1440,1000")
    for argument in (*arguments, "force-prefers-reduced-motion"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    yield driver
    driver.quit()


@pytest.fixture
def show(browser):
    """Return a function that opens a file; whatever the page does, it must say and ask for nothing."""
    opened = []

    def open_page(path):
        opened.append(path.as_uri())
        browser.get(opened[-1])
        return browser

    for kind in ("browser", "performance"):
        browser.get_log(kind)
    yield open_page
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    # The links of a page to its own sections change the address behind the hash only.
    assert {url.partition("#")[0] for url in asked if not url.startswith("data:")} <= set(opened)
