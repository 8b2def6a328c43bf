"""Who calibrates: a share that is exact, by places that depend on nothing but each image itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from indexer.bank.layout import HoldOut, LeaveOneOut
from indexer.data.image_records import ImageRecord
from indexer.learn.split import build_key, split_records
from indexer.store.base import VectorStore
from tests.indexer.world import current

HOLDOUT = 0.2


@pytest.fixture
def records(tmp_path: Path) -> list[ImageRecord]:
    """240 files; a plan looks at nothing but their bytes."""
    for number in range(240):
        (tmp_path / f"{number:03}.png").write_text(f"image {number}")
    return [ImageRecord(path, "normal", "", "train", None) for path in sorted(tmp_path.iterdir())]


def calibrating(records: Sequence[ImageRecord], seed: int = 0) -> set[str]:
    split = split_records(records, HoldOut(), HOLDOUT, seed)
    return {item.sha256 for item in split.of_role("calibration")}


def hashes(records: Sequence[ImageRecord]) -> list[str]:
    return [item.sha256 for item in split_records(records, HoldOut(), HOLDOUT, 0).items]


def ungrouped(images: Sequence[str]) -> dict[str, str]:
    return {sha256: sha256 for sha256 in images}


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
    entry = replace(current(learnt).entry, counts=counts)
    roles = HoldOut().roles_of_additions(entry, ungrouped(hashes(records[120:])))
    joined = {sha256 for sha256, role in roles.items() if role == "calibration"}
    whole = calibrating(records)
    assert len(half) + len(joined) == len(whole) == 48
    assert len((half | joined) & whole) > 0.8 * len(whole)


def test_a_category_that_lost_its_calibration_images_takes_no_more_than_there_are(
    records: list[ImageRecord], learnt: VectorStore
) -> None:
    entry = current(learnt).entry
    few = replace(entry, counts={"bank_images": 100, "calibration_images": 1})
    many = replace(entry, counts={"bank_images": 10, "calibration_images": 90})
    some = ungrouped(hashes(records[:4]))
    assert set(HoldOut().roles_of_additions(few, some).values()) == {"calibration"}
    assert set(HoldOut().roles_of_additions(many, some).values()) == {"bank"}
    assert set(LeaveOneOut().roles_of_additions(few, some).values()) == {"bank"}


def test_unreadable_and_repeated_files_are_named_and_the_first_of_each_content_is_used(
    records: list[ImageRecord], tmp_path: Path
) -> None:
    copy, gone = tmp_path / "copy.png", tmp_path / "gone.png"
    copy.write_text("image 0")
    extra = [replace(records[0], path=path) for path in (copy, gone)]
    done: list[tuple[int, int]] = []
    split = split_records(
        [*records[:4], *extra], HoldOut(), HOLDOUT, 0, lambda *count: done.append(count)
    )
    assert [item.record for item in split.items] == records[:4]
    assert split.duplicates == (copy,)
    assert [(skipped.path, skipped.reason) for skipped in split.skipped] == [
        (gone, "there is no such file")
    ]
    assert done == [(number, 6) for number in range(1, 7)]


def test_test_images_have_their_own_role_and_never_calibrate(records: list[ImageRecord]) -> None:
    tests = [replace(record, split="test") for record in records[200:]]
    split = split_records([*records[:200], *tests], HoldOut(), HOLDOUT, 0)
    assert [item.record for item in split.of_role("test")] == tests
    assert {item.sha256 for item in split.of_role("calibration")} == calibrating(records[:200])


def test_group_of_an_image_is_its_content_unless_the_data_set_says_otherwise(
    records: list[ImageRecord],
) -> None:
    named = [replace(record, group=f"part {i // 2}") for i, record in enumerate(records[:40])]
    split = split_records(named, HoldOut(), HOLDOUT, 0)
    assert [item.group for item in split.items] == [f"part {i // 2}" for i in range(40)]
    groups = [{item.group for item in split.of_role(role)} for role in ("bank", "calibration")]
    assert not groups[0] & groups[1], "a group stands on both sides"
    plain = split_records(records[:4], HoldOut(), HOLDOUT, 0)
    assert [item.group for item in plain.items] == [item.sha256 for item in plain.items]


def test_build_key_tells_every_input_apart_and_does_not_depend_on_order(
    records: list[ImageRecord],
) -> None:
    def key(images: Sequence[ImageRecord], fingerprint: str = "f", seed: int = 0) -> str:
        items = split_records(images, HoldOut(), HOLDOUT, 0).items
        return build_key(items, fingerprint, {"seed": seed})

    some = records[:5]
    assert key(some) == key(some[::-1])
    others = [
        key(records[:6]),
        key([*some[:4], replace(some[4], group="a")]),
        key([*some[:4], replace(some[4], split="test")]),
        key([*some[:4], replace(some[4], split="test", label="defective", defect_type="hole")]),
        key(some, fingerprint="g"),
        key(some, seed=1),
    ]
    assert len({key(some), *others}) == 7
