"""How long the app takes to answer, in a browser: ``make page-times``.

On a library of 10,000 images and a memory bank of 20,000 patches.
"""

from __future__ import annotations

import functools
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from backbones.registry import load_backbone
from indexer.catalog.entry import LibraryImage
from indexer.data.dataset import read_dataset
from indexer.learn.build import build_index
from indexer.store.open import open_store
from indexer.synthetic.dataset import write_dataset
from tests.ui.app.driving import Browser, browsing, serving

IMAGES, TIMES, TAUGHT = 10_000, 12, 5
TRAINED = 25
"""Normal images, of which 20 of 1,024 patches become the memory bank."""
_TOLD = "[data-testid=stMarkdown] p"


def main() -> None:
    """Print a line a figure: median and largest of ``TIMES`` tries after a warm-up."""
    with tempfile.TemporaryDirectory(prefix="vecspect-") as name:
        folder = Path(name)
        _make(folder)
        with (
            serving(folder, {"VECSPECT_STORE": "store", "XDG_CACHE_HOME": str(folder)}) as address,
            browsing(address) as browser,
        ):
            for what, limit, seconds in _measured(browser, folder):
                warm = sorted(seconds[1:])
                sys.stdout.write(
                    f"{what}: median {statistics.median(warm) * 1000:.0f} ms, largest "
                    f"{warm[-1] * 1000:.0f} ms (asked: {limit} ms)\n"
                )
                sys.stdout.flush()


def _measured(browser: Browser, folder: Path) -> Iterator[tuple[str, int, list[float]]]:
    browser.open("/library?category=grid")
    browser.see(f"{IMAGES + TRAINED + 34} images, page 1 of")
    yield "a page of the gallery, first seen", 500, [_turn(browser, "Next") for _ in range(TIMES)]
    yield "a page of the gallery, seen before", 500, [_turn(browser, "Back") for _ in range(TIMES)]
    browser.open("/calibration?category=grid")
    browser.see("Reject above")
    yield "a step of the level slider", 200, [_step(browser, try_) for try_ in range(TIMES)]
    browser.open("/?category=grid")
    browser.see("Drop one or many images")
    new = sorted((folder / "new").iterdir())[:TIMES]
    yield "an image, upload to verdict", 1000, [_inspect(browser, path) for path in new]
    steps = [_teach(browser, path) for path in new[:TAUGHT]]
    names = ("what teaching would change", "teaching an image", "undoing it")
    for name, seconds in zip(names, zip(*steps, strict=True), strict=True):
        yield name, 3000, list(seconds)


def _turn(browser: Browser, button: str) -> float:
    before = browser.inside(".title + .line").text
    return _timed(
        lambda: browser.click(button),
        lambda: browser.inside(".title + .line").text != before,
        browser,
    )


def _step(browser: Browser, number: int) -> float:
    find = functools.partial(browser.driver.find_element, By.CSS_SELECTOR)
    thumb = browser.wait("slider", lambda: find("[data-testid=stSlider] input"))

    def shown() -> str:
        """What the fragment says of the levels; it is drawn anew with the chart."""
        return "".join(e.text for e in browser.driver.find_elements(By.CSS_SELECTOR, _TOLD))

    before = shown()
    # to the other end, so that another calibration image is the threshold
    key = Keys.HOME if number % 2 else Keys.END
    return _timed(lambda: thumb.send_keys(key), lambda: shown() != before, browser)


def _inspect(browser: Browser, path: Path) -> float:
    field = browser.driver.find_element(By.CSS_SELECTOR, "input[type=file]")
    return _timed(
        lambda: field.send_keys(str(path)),
        lambda: browser.holds(f"{path.stem}-", "normal parts scored this high"),
        browser,
    )


def _teach(browser: Browser, path: Path) -> tuple[float, float, float]:
    browser.open(f"/?category=grid&image={path}")
    browser.see("normal parts scored")
    browser.see("Similar defects")
    asked = _timed(
        lambda: browser.click("This is fine"), lambda: browser.holds("Its verdict"), browser
    )
    taught = _timed(lambda: _press(browser, "Teach"), lambda: bool(_undo(browser)), browser)
    undone = _timed(
        lambda: browser.click(_undo(browser)), lambda: browser.holds("is back to"), browser
    )
    return asked, taught, undone


def _press(browser: Browser, beginning: str) -> None:
    label = next(line for line in browser.text().split("\n") if line.startswith(beginning))
    browser.click(label)


def _undo(browser: Browser) -> str:
    """Label of the button that undoes; empty without one."""
    lines = browser.text().split("\n")
    return next((line for line in lines if line.startswith("Undo revision")), "")


def _timed(action: Callable[[], object], done: Callable[[], bool], browser: Browser) -> float:
    began = time.perf_counter()
    action()
    browser.wait("answer", done)
    return time.perf_counter() - began


def _make(folder: Path) -> None:
    """A learnt category, 10,000 more library images of it, and some to upload."""
    data = write_dataset(folder / "data", "grid", train=TRAINED, test_normal=10, test_defective=24)
    network = load_backbone("compact")
    with open_store(str(folder / "store")) as store:
        category = build_index(
            read_dataset(data),
            category="grid",
            backbone=network,
            store=store,
            coreset=1.0,
        ).category
        assert category.entry.counts["bank_patches"] >= 20_000
        rng = np.random.default_rng(0)
        (folder / "many").mkdir()
        points = []
        for number in range(IMAGES):
            file = folder / "many" / f"{number:05}.png"
            Image.fromarray(rng.integers(0, 255, (8, 8, 3), np.uint8)).resize((96, 96)).save(
                file, compress_level=1
            )
            image = LibraryImage(
                image_id=f"00000000-0000-0000-0000-{number:012}",
                path=str(file),
                sha256=f"{number:064}",
                label="normal",
                defect_type="",
                split="test",
                width=96,
                height=96,
                score=1.0,
                group=f"{number:064}",
            )
            embedding = rng.standard_normal(category.spec.dim, np.float32)
            points.append(category.image_point(image, embedding))
        store.upsert(category.images, points)
        store.flush(category.images)
    (folder / "new").mkdir()
    pictures = sorted((data / "train").rglob("*.png"))
    for number in range(TIMES):
        copy = folder / "new" / f"part{number:02}.png"
        copy.write_bytes(pictures[number].read_bytes() + b"\0")


if __name__ == "__main__":
    main()
