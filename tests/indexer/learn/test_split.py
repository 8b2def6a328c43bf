"""Who calibrates: a share that is exact, by places that depend on nothing but each image itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from indexer.catalog.commits import find_entry
from indexer.data.image_records import ImageRecord
from indexer.learn.split import plan, roles_of_joining
from indexer.store.base import VectorStore

HOLDOUT = 0.2


@pytest.fixture
def records(tmp_path: Path) -> list[ImageRecord]:
    """240 files; a plan looks at nothing but their bytes."""
    for number in range(240):
        (tmp_path / f"{number:03}.png").write_text(f"image {number}")
    return [ImageRecord(path, "normal", "", "train", None) for path in sorted(tmp_path.iterdir())]


def calibrating(records: Sequence[ImageRecord], seed: int = 0) -> set[str]:
    items, _, _ = plan(records, HOLDOUT, seed, lambda done, total: None)
    return {item.sha256 for item in items if item.role == "calibration"}


def hashes(records: Sequence[ImageRecord]) -> list[str]:
    return [item.sha256 for item in plan(records, HOLDOUT, 0, lambda done, total: None)[0]]


@pytest.mark.parametrize("count", [2, 3, 7, 8, 100, 240])
def test_share_is_exact_whatever_the_number(records: list[ImageRecord], count: int) -> None:
    assert len(calibrating(records[:count])) == max(1, round(HOLDOUT * count))


def test_order_does_not_matter_and_the_seed_does(records: list[ImageRecord]) -> None:
    found = calibrating(records)
    assert calibrating(records[::-1]) == found
    assert calibrating(records, seed=1) != found


def test_without_an_image_the_others_keep_their_roles_but_for_one_at_the_margin(
    records: list[ImageRecord],
) -> None:
    whole = calibrating(records)
    for gone in range(0, 240, 20):
        rest = calibrating([*records[:gone], *records[gone + 1 :]])
        assert len(whole ^ rest) <= 2


def test_half_planned_and_half_joining_calibrate_nearly_those_of_all_planned(
    records: list[ImageRecord], learnt: VectorStore
) -> None:
    half = calibrating(records[:120])
    counts = {"bank_images": 120 - len(half), "calibration_images": len(half)}
    entry = replace(find_entry(learnt, "grid"), counts=counts)
    roles = roles_of_joining(entry, hashes(records[120:]))
    joined = {sha256 for sha256, role in roles.items() if role == "calibration"}
    whole = calibrating(records)
    assert len(half) + len(joined) == len(whole) == 48
    assert len((half | joined) & whole) > 0.8 * len(whole)


def test_a_category_that_lost_its_calibration_images_takes_no_more_than_there_are(
    records: list[ImageRecord], learnt: VectorStore
) -> None:
    entry = find_entry(learnt, "grid")
    few = replace(entry, counts={"bank_images": 100, "calibration_images": 1})
    many = replace(entry, counts={"bank_images": 10, "calibration_images": 90})
    some = hashes(records[:4])
    assert set(roles_of_joining(few, some).values()) == {"calibration"}
    assert set(roles_of_joining(many, some).values()) == {"bank"}
    alone = replace(few, layout="leave-one-out")
    assert set(roles_of_joining(alone, some).values()) == {"bank"}
