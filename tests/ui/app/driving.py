"""Drives the app in headless Chromium: for the tests, the screenshots and the timings."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

T = TypeVar("T")
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars",
)  # fmt: skip


class Browser:
    """A page of the app, and the waits that its updates need."""

    def __init__(self, driver: webdriver.Chrome, address: str) -> None:
        self.driver, self.address = driver, address

    def open(self, path: str) -> None:
        self.driver.get(self.address + path)

    def wait(self, what: str, condition: Callable[[], T]) -> T:
        def ask(_: object) -> T | bool:
            try:
                return condition() or False
            except Exception:
                return False

        found: T = WebDriverWait(self.driver, 30, 0.03).until(ask, f"never came: {what}")  # type: ignore[assignment]
        return found

    def text(self) -> str:
        return self.driver.find_element(By.TAG_NAME, "body").text

    def holds(self, *texts: str) -> bool:
        """Whether the page has all of these; quick, for `text` looks at each element's style."""
        script = "return arguments[0].every((t) => document.body.textContent.includes(t))"
        return bool(self.driver.execute_script(script, list(texts)))

    def see(self, text: str) -> None:
        self.wait(text, lambda: text in self.text())

    def gone(self, text: str) -> None:
        self.wait(f"end of {text}", lambda: text not in self.text())

    def settled(self) -> None:
        """Wait until the page has not changed for half a second and nothing runs."""
        last: list[object] = [b"", 0.0]

        def still() -> bool:
            script = "return document.querySelectorAll('[data-testid=stStatusWidget]').length"
            seen = self.driver.get_screenshot_as_png()
            if seen != last[0] or self.driver.execute_script(script):
                last[:] = [seen, time.monotonic()]
            return time.monotonic() - float(str(last[1])) > 0.5

        self.wait("stillness", still)

    def click(self, label: str) -> None:
        """Press the button of that label."""

        def press() -> bool:
            found = [
                b
                for b in self.driver.find_elements(By.TAG_NAME, "button")
                if b.text.split("\n")[-1].strip() == label and b.is_displayed() and b.is_enabled()
            ]
            # a bar that stays in sight may lie over the foot of the page
            self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", found[0])
            found[0].click()
            return True

        self.wait(f"button {label}", press)

    def theme(self, name: str) -> None:
        """Ask for ``light`` or ``dark``, as the settings of a computer do."""
        features = [{"name": "prefers-color-scheme", "value": name}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def requested(self) -> list[str]:
        """Every address asked for since this was last called."""
        messages = [json.loads(entry["message"])["message"] for entry in self._log()]
        kinds = {"Network.requestWillBeSent": "request", "Network.webSocketCreated": ""}
        found = [(kinds[m["method"]], m["params"]) for m in messages if m["method"] in kinds]
        return [str((params[kind] if kind else params)["url"]) for kind, params in found]

    def _log(self) -> list[dict[str, Any]]:
        log: list[dict[str, Any]] = self.driver.get_log("performance")  # type: ignore[no-untyped-call]
        return log

    def menu(self, page: str) -> None:
        """Click a page in the menu."""

        def press() -> bool:
            links = self.driver.find_elements(By.CSS_SELECTOR, "[data-testid=stTopNavLink]")
            next(link for link in links if link.text.endswith(page)).click()
            return True

        self.wait(f"menu {page}", press)

    def inside(self, css: str) -> Any:
        """The first element in any widget of ours, whose parts live in shadow roots."""
        script = """
            for (const host of document.querySelectorAll('*')) {
              const found = host.shadowRoot && host.shadowRoot.querySelector(arguments[0]);
              if (found) return found;
            }
            return null;"""
        return self.wait(css, lambda: self.driver.execute_script(script, css))


@contextlib.contextmanager
def serving(folder: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """Address of the app, served by the command in a process of its own that runs in ``folder``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from ui.cli.entry import main; main()"]
    process = subprocess.Popen(
        [*command, "ui", "--port", str(port), "--no-browser"],
        cwd=folder,
        env={**os.environ, **environment, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        _wait_for(port, process)
        yield f"http://localhost:{port}"
    finally:
        process.terminate()
        process.communicate(timeout=20)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert process.poll() is None, process.communicate()[1].decode()
        with socket.socket() as attempt:
            attempt.settimeout(1)
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    raise AssertionError("the server did not come up in 60 s")


@contextlib.contextmanager
def browsing(address: str, *, width: int = 1400, height: int = 1800) -> Iterator[Browser]:
    """A browser of its own for the app at ``address``."""
    with tempfile.TemporaryDirectory(prefix="vecspect-") as profile:
        options = Options()
        for option in (*_OPTIONS, f"--window-size={width},{height}", f"--user-data-dir={profile}"):
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
        options.binary_location = str(CHROMIUM)
        driver = webdriver.Chrome(options, Service(DRIVER))
        try:
            yield Browser(driver, address)
        finally:
            driver.quit()
