from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from indexer.calibration.base import Levels
from indexer.catalog.category import Category
from indexer.catalog.collections import read_images
from indexer.catalog.commits import find_category
from indexer.catalog.schema import inspections_collection
from indexer.records.drift_window import DriftWindow, Inspected, line_number, read_window
from indexer.store.base import VectorStore
from indexer.update.levels import change_levels
from indexer.update.removal import remove_images

LINES = inspections_collection("grid", "compact")


@pytest.fixture
def grid(learnt: VectorStore, monkeypatch: pytest.MonkeyPatch) -> Category:
    """A category whose windows hold five images."""
    monkeypatch.setattr("indexer.records.drift_window.WINDOW", 5)
    return find_category(learnt, "grid")


def inspected(score: float) -> Inspected:
    return Inspected("00" * 32, 1, score, 0.25, "ok", np.array([100, 3.5], np.float32))


def scores(category: Category) -> list[float]:
    return [float(line["score"]) for line in read_window(category)]


def test_nothing_is_known_before_the_first_image(grid: Category) -> None:
    assert read_window(grid) == []
    DriftWindow(grid)
    assert read_window(grid) == []


def test_line_says_what_was_recorded(grid: Category) -> None:
    DriftWindow(grid).record(inspected(1.5))
    (found,) = read_window(grid)
    line = dict(found)
    assert line.pop("at") >= grid.entry.built_at
    assert line == {
        "number": 0,
        "revision": 1,
        "score": 1.5,
        "p_value": 0.25,
        "verdict": "ok",
        "brightness": 100.0,
        "sharpness": 3.5,
    }


@pytest.mark.parametrize("images", [1, 4, 5, 6, 10, 12])
def test_window_has_its_own_images_oldest_first_and_the_store_no_more_than_one_windows(
    grid: Category, images: int
) -> None:
    window = DriftWindow(grid)
    for number in range(images):
        window.record(inspected(float(number)))
    first = (images - 1) // 5 * 5
    assert scores(grid) == list(range(first, images))
    assert grid.store.count(LINES) == min(images, 5)


def test_window_opened_again_goes_on_where_the_last_one_stopped(grid: Category) -> None:
    for score in (1.0, 2.0, 3.0):
        DriftWindow(grid).record(inspected(score))
    assert scores(grid) == [1, 2, 3]
    assert [line_number(line) for line in read_window(grid)] == [0, 1, 2]


def test_images_of_another_revision_are_not_of_this_window(grid: Category) -> None:
    DriftWindow(grid).record(inspected(1.0))
    after = change_levels(grid, Levels(0.6, 0.7))
    assert scores(after) == []
    DriftWindow(after).record(replace(inspected(2.0), revision=2))
    assert (scores(after), scores(grid)) == ([2.0], [1.0])


def test_image_of_the_library_is_no_new_part_until_it_leaves(grid: Category) -> None:
    image = next(i for i in read_images(grid).values() if i.split == "bank")
    of_library = replace(inspected(1.0), sha256=image.sha256)
    window = DriftWindow(grid)
    window.record(of_library)
    window.record(inspected(2.0))
    assert scores(grid) == [2.0]
    after = remove_images([image.image_id], category=grid).category
    window.record(replace(of_library, revision=after.entry.revision))
    assert scores(after) == [1.0]


def test_threads_that_share_a_window_lose_no_line(
    learnt: VectorStore,
) -> None:
    category = find_category(learnt, "grid")
    window = DriftWindow(category)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(window.record, [inspected(float(score)) for score in range(100)]))
    lines = read_window(category)
    assert [line_number(line) for line in lines] == list(range(100))
    assert sorted(scores(category)) == list(range(100))
