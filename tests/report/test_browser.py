"""The page in a real Chromium: it renders, sorts, filters, complains of nothing, asks nobody."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from lowbitc.cli.report.page import draw_page
from tests.report.pages import compared, hostile, simulated

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from selenium.webdriver.chrome.webdriver import WebDriver
    from selenium.webdriver.remote.webelement import WebElement

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None or DRIVER is None, reason="chromium and chromedriver are not installed"
    ),
]
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--window-size=1300,900"),
    # A page that still scrolls smoothly moves away from under the next click.
    "--force-prefers-reduced-motion",
)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebDriver]:
    from selenium.webdriver.chrome.service import Service  # noqa: PLC0415

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    held = webdriver.Chrome(options=options, service=Service(executable_path=DRIVER))
    yield held
    held.quit()


def visit(driver: WebDriver, page: str, folder: Path) -> None:
    """Open a page from a file, with nothing left over from an earlier one."""
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    for log in ("browser", "performance"):
        driver.get_log(log)  # type: ignore[no-untyped-call]
    driver.get(path.as_uri())


def found(driver: WebDriver, selector: str) -> list[WebElement]:
    return driver.find_elements("css selector", selector)


def cells(driver: WebDriver, table: str, column: int) -> list[str]:
    rows = [row for row in found(driver, f"#{table} tbody tr") if row.is_displayed()]
    return [row.find_elements("css selector", "th, td")[column].text for row in rows]


@pytest.mark.parametrize("page", [simulated, compared, hostile])
def test_it_complains_of_nothing_and_asks_no_network(
    driver: WebDriver, tmp_path: Path, page: object
) -> None:
    assert callable(page)
    visit(driver, draw_page(page()), tmp_path)
    for button in found(driver, "#theme, thead button"):
        button.click()
    logs = driver.get_log("browser")  # type: ignore[no-untyped-call]
    assert logs == []
    asked = [
        event["params"]["request"]["url"]
        for entry in driver.get_log("performance")  # type: ignore[no-untyped-call]
        for event in [json.loads(entry["message"])["message"]]
        if event["method"] == "Network.requestWillBeSent"
        and event["params"]["documentURL"].startswith("file:")
    ]
    assert len(asked) == 1
    assert asked[0].startswith("file:")


def test_texts_of_users_stay_texts(driver: WebDriver, tmp_path: Path) -> None:
    visit(driver, draw_page(hostile()), tmp_path)
    assert found(driver, "img") == []
    assert len(found(driver, "script")) == 1
    assert "onerror" in driver.find_element("css selector", "h1").text


def test_a_click_on_a_heading_sorts_and_says_so(driver: WebDriver, tmp_path: Path) -> None:
    visit(driver, draw_page(compared()), tmp_path)
    ranks = [x.compared.rank for x in compared().layers if x.compared is not None]
    assert [int(text) for text in cells(driver, "error", 1)] == ranks
    button = found(driver, "#error thead button")[1]
    heading = button.find_element("xpath", "..")
    button.click()
    falling = [int(text) for text in cells(driver, "error", 1)]
    assert heading.get_attribute("aria-sort") == "descending"
    button.click()
    rising = [int(text) for text in cells(driver, "error", 1)]
    assert heading.get_attribute("aria-sort") == "ascending"
    assert falling == sorted(falling, reverse=True)
    assert rising == sorted(rising)
    assert len(found(driver, "#error [aria-sort]")) == 1


def test_numbers_with_prefixes_are_sorted_by_value(driver: WebDriver, tmp_path: Path) -> None:
    visit(driver, draw_page(simulated()), tmp_path)
    found(driver, "#cost thead button")[-1].click()
    costs = {x.name: x.cost.energy_j for x in simulated().layers if x.cost is not None}
    shown = [costs[name] for name in cells(driver, "cost", 0)]
    assert shown == sorted(costs.values(), reverse=True)


def test_the_filter_hides_other_rows_and_counts(driver: WebDriver, tmp_path: Path) -> None:
    visit(driver, draw_page(compared()), tmp_path)
    field = driver.find_element("id", "filter")
    field.send_keys("qdense")
    shown = cells(driver, "cost", 1)
    assert shown
    assert set(shown) == {"QDense"}
    assert "rows" in driver.find_element("id", "count").text
    field.clear()
    field.send_keys("no such layer")
    assert cells(driver, "cost", 1) == []


def test_a_layer_of_the_graph_shows_its_panel_by_mouse_and_by_keyboard(
    driver: WebDriver, tmp_path: Path
) -> None:
    visit(driver, draw_page(compared()), tmp_path)
    links = found(driver, "svg.network a")
    assert len(links) >= 4
    for link, key in ((links[1], None), (links[2], "\ue007")):
        if key is None:
            link.click()
        else:
            driver.execute_script("arguments[0].focus()", link)
            driver.switch_to.active_element.send_keys(key)
        (panel,) = [x for x in found(driver, ".layer") if x.is_displayed()]
        assert panel.get_attribute("id") == link.get_attribute("data-layer")
        assert link.get_attribute("aria-current") == "true"
        assert driver.switch_to.active_element == panel


def test_the_theme_can_be_turned(driver: WebDriver, tmp_path: Path) -> None:
    visit(driver, draw_page(simulated()), tmp_path)
    ground = "return getComputedStyle(document.body).backgroundColor"
    before = driver.execute_script(ground)
    driver.find_element("id", "theme").click()
    after = driver.execute_script(ground)
    assert before != after
    driver.find_element("id", "theme").click()
    assert driver.execute_script(ground) == before


@pytest.mark.parametrize("width", [360, 768, 1300])
def test_nothing_reaches_beyond_the_window(driver: WebDriver, tmp_path: Path, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    visit(driver, draw_page(compared()), tmp_path)
    wide = driver.execute_script("return document.documentElement.scrollWidth")
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert wide <= width


def test_all_layers_are_printed_on_white(driver: WebDriver, tmp_path: Path) -> None:
    visit(driver, draw_page(compared()), tmp_path)
    driver.find_element("id", "theme").click()
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    ground = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    shown = [panel.is_displayed() for panel in found(driver, ".layer")]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert ground == "rgb(255, 255, 255)"
    assert all(shown)
    assert len(shown) == len(compared().layers)


def test_without_the_script_everything_can_be_read(driver: WebDriver, tmp_path: Path) -> None:
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    visit(driver, draw_page(compared()), tmp_path)
    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert all(panel.is_displayed() for panel in found(driver, ".layer"))
    assert not driver.find_element("id", "filter").is_displayed()
