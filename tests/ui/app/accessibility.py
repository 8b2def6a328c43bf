"""Looks for what keeps people with poor sight, a keyboard or a screen reader out of a page."""

from __future__ import annotations

from pathlib import Path

from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.ui.app.driving import Browser

PAGES = ("", "batch", "library", "calibration", "reports", "system")
_CHECK = Path(__file__).with_suffix(".js").read_text(encoding="utf-8")
_AT_ONCE = """
const still = new CSSStyleSheet();
still.replaceSync('* { transition: none !important; animation: none !important }');
const add = (root) => {
  root.adoptedStyleSheets = [...root.adoptedStyleSheets, still];
  for (const each of root.querySelectorAll('*')) if (each.shadowRoot) add(each.shadowRoot);
};
add(document);
"""
_STEP = """
const looks = (element) => {
  const found = [];
  for (let up = element, steps = 0; up && steps < 4; up = up.parentElement, steps += 1) {
    const s = getComputedStyle(up);
    found.push(s.outlineStyle === 'none' ? '' : s.outlineWidth + s.outlineColor, s.boxShadow,
               s.borderColor, s.backgroundColor);
  }
  return found.join(';');
};
const left = window.stopLeft;
let now = document.activeElement;
while (now?.shadowRoot?.activeElement) now = now.shadowRoot.activeElement;
window.stopLeft = now && now !== document.body ? { element: now, focused: looks(now) } : null;
if (!left || looks(left.element) !== left.focused) return null;
const name = left.element.getAttribute('aria-label') || left.element.textContent;
return left.element.tagName + ' ' + name.trim().slice(0, 60);
"""


def show(browser: Browser, path: str) -> None:
    """Open a page and wait until it stands still."""
    browser.open(path)
    browser.wait("title", lambda: browser.driver.find_element(By.TAG_NAME, "h1").text)
    browser.settled()


def faults(browser: Browser) -> list[str]:
    """A line for each fault of the page shown; none in a good one."""
    found: list[str] = browser.driver.execute_script(_CHECK)
    return found


def stops_without_focus(browser: Browser, stops: int) -> list[str]:
    """Of the first places that Tab leads to, those that look the same with and without focus."""
    unseen = []
    browser.driver.execute_script(_AT_ONCE)
    for _ in range(stops):
        ActionChains(browser.driver).send_keys(Keys.TAB).perform()
        if same := browser.driver.execute_script(_STEP):
            unseen.append(str(same))
    return unseen
