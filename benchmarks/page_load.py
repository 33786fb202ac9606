"""Say how large report pages are, and how long Chromium takes to load them.

    python benchmarks/page_load.py PAGE.html ...

Times are medians of several loads from a file, from the start of the navigation to the end of the
load event, scripts run and everything laid out.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path

from selenium import webdriver

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--window-size=1360,900"),
)
_TIMES = """
const load = performance.getEntriesByType("navigation")[0];
const paint = performance.getEntriesByName("first-contentful-paint")[0];
return [load.loadEventEnd, paint ? paint.startTime : -1];
"""


def main() -> None:
    """Load each page several times, and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("pages", type=Path, nargs="+")
    parser.add_argument("--times", type=int, default=9)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        service = webdriver.ChromeService(executable_path=shutil.which("chromedriver"))
        driver = webdriver.Chrome(options=options, service=service)
        print("page | kB | load, ms | first paint, ms | elements")
        print("--- | --- | --- | --- | ---")
        try:
            for page in arguments.pages:
                print(_row(driver, page, arguments.times), flush=True)
        finally:
            driver.quit()


def _row(driver: webdriver.Chrome, page: Path, times: int) -> str:
    loads: list[float] = []
    paints: list[float] = []
    for _ in range(times):
        driver.get("about:blank")
        driver.get(page.resolve().as_uri())
        load, paint = driver.execute_script(_TIMES)
        loads.append(load)
        paints.append(paint)
    count = driver.execute_script("return document.getElementsByTagName('*').length")
    return (
        f"{page.name} | {page.stat().st_size / 1000:.0f} | {statistics.median(loads):.0f} | "
        f"{statistics.median(paints):.0f} | {count}"
    )


if __name__ == "__main__":
    main()
