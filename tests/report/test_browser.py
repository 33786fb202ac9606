"""The page in a real Chromium: it renders, sorts, filters, complains of nothing, asks nobody."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any, cast

import pytest

from lowbitc.cli.report.page import draw_page
from tests.report.pages import compared, hostile, simulated

webdriver: Any = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from lowbitc.cli.report.content import Content

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


class Browser:
    """Chromium, driven; selenium types little of itself."""

    def __init__(self, driver: Any) -> None:  # noqa: ANN401 - as above
        self.driver = driver

    def visit(self, content: Content, folder: Path) -> None:
        """Open a page from a file, with nothing left over from an earlier one."""
        path = folder / "page.html"
        path.write_text(draw_page(content), encoding="utf-8")
        self.log("browser")
        self.log("performance")
        self.driver.get(path.as_uri())

    def log(self, kind: str) -> list[dict[str, Any]]:
        return cast("list[dict[str, Any]]", self.driver.get_log(kind))

    def all(self, selector: str) -> list[Any]:
        return cast("list[Any]", self.driver.find_elements("css selector", selector))

    def one(self, selector: str) -> Any:  # noqa: ANN401 - as above
        (found,) = self.all(selector)
        return found

    def script(self, text: str, *arguments: object) -> object:
        return cast("object", self.driver.execute_script(text, *arguments))

    def command(self, name: str, **parameters: object) -> None:
        self.driver.execute_cdp_cmd(name, parameters)

    def active(self) -> Any:  # noqa: ANN401 - as above
        return self.driver.switch_to.active_element

    def cells(self, table: str, column: int) -> list[str]:
        rows = [row for row in self.all(f"#{table} tbody tr") if row.is_displayed()]
        return [row.find_elements("css selector", "th, td")[column].text for row in rows]


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=DRIVER)
    driver = webdriver.Chrome(options=options, service=service)
    yield Browser(driver)
    driver.quit()


@pytest.mark.parametrize("page", [simulated, compared, hostile])
def test_it_complains_of_nothing_and_asks_no_network(
    browser: Browser, tmp_path: Path, page: Callable[[], Content]
) -> None:
    browser.visit(page(), tmp_path)
    for button in browser.all("#theme, thead button"):
        button.click()
    logs = browser.log("browser")
    assert logs == []
    asked = [
        event["params"]["request"]["url"]
        for entry in browser.log("performance")
        for event in [json.loads(entry["message"])["message"]]
        if event["method"] == "Network.requestWillBeSent"
        and event["params"]["documentURL"].startswith("file:")
    ]
    assert len(asked) == 1
    assert asked[0].startswith("file:")


def test_texts_of_users_stay_texts(browser: Browser, tmp_path: Path) -> None:
    browser.visit(hostile(), tmp_path)
    assert browser.all("img") == []
    assert len(browser.all("script")) == 1
    assert "onerror" in browser.one("h1").text


def test_a_click_on_a_heading_sorts_and_says_so(browser: Browser, tmp_path: Path) -> None:
    browser.visit(compared(), tmp_path)
    ranks = [x.compared.rank for x in compared().layers if x.compared is not None]
    assert [int(text) for text in browser.cells("error", 1)] == ranks
    button = browser.all("#error thead button")[1]
    heading = button.find_element("xpath", "..")
    button.click()
    falling = [int(text) for text in browser.cells("error", 1)]
    assert heading.get_attribute("aria-sort") == "descending"
    button.click()
    rising = [int(text) for text in browser.cells("error", 1)]
    assert heading.get_attribute("aria-sort") == "ascending"
    assert falling == sorted(falling, reverse=True)
    assert rising == sorted(rising)
    assert len(browser.all("#error [aria-sort]")) == 1


def test_numbers_with_prefixes_are_sorted_by_value(browser: Browser, tmp_path: Path) -> None:
    browser.visit(simulated(), tmp_path)
    browser.all("#cost thead button")[-1].click()
    costs = {x.name: x.cost.energy_j for x in simulated().layers if x.cost is not None}
    shown = [costs[name] for name in browser.cells("cost", 0)]
    assert shown == sorted(costs.values(), reverse=True)


def test_the_filter_hides_other_rows_and_counts(browser: Browser, tmp_path: Path) -> None:
    browser.visit(compared(), tmp_path)
    field = browser.one("#filter")
    field.send_keys("qdense")
    shown = browser.cells("cost", 1)
    assert shown
    assert set(shown) == {"QDense"}
    assert "rows" in browser.one("#count").text
    field.clear()
    field.send_keys("no such layer")
    assert browser.cells("cost", 1) == []


def test_a_layer_of_the_graph_shows_its_panel_by_mouse_and_by_keyboard(
    browser: Browser, tmp_path: Path
) -> None:
    browser.visit(compared(), tmp_path)
    links = browser.all("svg.network a")
    assert len(links) >= 4
    for link, key in ((links[1], None), (links[2], "\ue007")):
        if key is None:
            link.click()
        else:
            browser.script("arguments[0].focus()", link)
            browser.active().send_keys(key)
        (panel,) = [x for x in browser.all(".layer") if x.is_displayed()]
        assert panel.get_attribute("id") == link.get_attribute("data-layer")
        assert link.get_attribute("aria-current") == "true"
        assert browser.active() == panel


def test_the_theme_can_be_turned(browser: Browser, tmp_path: Path) -> None:
    browser.visit(simulated(), tmp_path)
    ground = "return getComputedStyle(document.body).backgroundColor"
    before = browser.script(ground)
    browser.one("#theme").click()
    after = browser.script(ground)
    assert before != after
    browser.one("#theme").click()
    assert browser.script(ground) == before


@pytest.mark.parametrize("width", [360, 768, 1300])
def test_nothing_reaches_beyond_the_window(browser: Browser, tmp_path: Path, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.command("Emulation.setDeviceMetricsOverride", **size)
    browser.visit(compared(), tmp_path)
    wide = browser.script("return document.documentElement.scrollWidth")
    browser.command("Emulation.clearDeviceMetricsOverride")
    assert isinstance(wide, int)
    assert wide <= width


def test_all_layers_are_printed_on_white(browser: Browser, tmp_path: Path) -> None:
    browser.visit(compared(), tmp_path)
    browser.one("#theme").click()
    browser.command("Emulation.setEmulatedMedia", media="print")
    ground = browser.script("return getComputedStyle(document.body).backgroundColor")
    shown = [panel.is_displayed() for panel in browser.all(".layer")]
    browser.command("Emulation.setEmulatedMedia", media="")
    assert ground == "rgb(255, 255, 255)"
    assert all(shown)
    assert len(shown) == len(compared().layers)


def test_without_the_script_everything_can_be_read(browser: Browser, tmp_path: Path) -> None:
    browser.command("Emulation.setScriptExecutionDisabled", value=True)
    browser.visit(compared(), tmp_path)
    browser.command("Emulation.setScriptExecutionDisabled", value=False)
    assert all(panel.is_displayed() for panel in browser.all(".layer"))
    assert not browser.one("#filter").is_displayed()
