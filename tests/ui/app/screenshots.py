"""Pictures of every page, light and dark, for the README: ``make screenshots``."""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path

from PIL import Image
from selenium.webdriver.common.by import By

from tests.ui.app.driving import Browser, browsing, serving
from ui.cli.demo import run_demo

_ENVIRONMENT = {"VECSPECT_STORE": "demo_out/store"}


def main(out: Path) -> None:
    """Make the demo, use its app, and write the pictures into ``out``."""
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="vecspect-") as name:
        folder = Path(name)
        run_demo(folder / "demo_out", lambda stage, done, total: None)
        with serving(folder, _ENVIRONMENT) as address:
            for theme in ("light", "dark"):
                with browsing(address, width=1280, height=1100) as browser:
                    browser.theme(theme)
                    _pages(browser, folder, out, theme)


def _pages(browser: Browser, folder: Path, out: Path, theme: str) -> None:
    data = folder / "demo_out" / "data" / "grid" / "test"
    broken = min((data / "contamination").glob("*.png"))
    browser.open(f"/?category=grid&image={broken}")
    browser.see("Similar defects")
    browser.inside(".photo")
    _save(browser, out / f"inspect-{theme}.jpg")
    _batch(browser, data)
    _save(browser, out / f"batch-{theme}.jpg")
    browser.open("/library?category=grid")
    browser.see("page 1 of")
    browser.inside(".card img")
    _save(browser, out / f"library-{theme}.jpg")
    browser.open("/calibration?category=grid")
    browser.see("Does it still hold?")
    if "Estimate with synthetic defects" in browser.text():
        browser.click("Estimate with synthetic defects")
    browser.see("synthetic defects each")
    if "Dismiss" in browser.text():
        browser.click("Dismiss")
        browser.gone("Dismiss")
    _save(browser, out / f"calibration-{theme}.jpg")
    browser.open("/reports")
    browser.see("Normal images with the highest scores")
    _save(browser, out / f"reports-{theme}.jpg")
    browser.open("/system")
    browser.see("Backbones")
    _save(browser, out / f"system-{theme}.jpg")


def _batch(browser: Browser, data: Path) -> None:
    browser.open("/batch?category=grid")
    browser.see("New batch")
    if "Select a row" not in browser.text():
        browser.wait("fold", lambda: _unfold(browser))
        field = browser.driver.find_element(By.CSS_SELECTOR, "input[type=file]")
        field.send_keys("\n".join(str(path) for path in sorted(data.glob("*/*.png"))))
        browser.click("Score 44 images")
    browser.see("Select a row")
    browser.gone("about")


def _unfold(browser: Browser) -> bool:
    browser.driver.find_element(By.TAG_NAME, "summary").click()
    return True


def _save(browser: Browser, file: Path) -> None:
    browser.settled()
    with Image.open(io.BytesIO(browser.driver.get_screenshot_as_png())) as picture:
        picture.convert("RGB").save(file, "JPEG", quality=80, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
