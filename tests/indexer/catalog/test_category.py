"""A category at one revision: its names, its points, and how the next one is planned from it."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

import numpy as np
import pytest

from backbones.specs import find_spec
from indexer.catalog.category import Category, image_payload, library_image, now
from indexer.catalog.entry import attempt_id
from indexer.catalog.schema import DEFECT, FOREVER, WHOLE
from indexer.store.base import Point, VectorStore
from indexer.store.open import open_store
from tests.indexer.world import BANK, CACHED, DEFECTS, IMAGES, KEY, a_category, an_entry, an_image


@pytest.fixture
def store() -> Iterator[VectorStore]:
    with open_store(":memory:") as opened:
        yield opened


@pytest.fixture
def category(store: VectorStore) -> Category:
    return a_category(store)


def test_collections_of_a_patch_category_are_named_after_it(category: Category) -> None:
    assert category.key == KEY
    names = (category.bank, category.images, category.defects, category.cached)
    assert names == (BANK, IMAGES, DEFECTS, CACHED)
    assert set(category.collections) == set(names)


def test_category_of_whole_images_has_neither_bank_nor_defects(store: VectorStore) -> None:
    category = Category(store, an_entry(backbone="vgg16", spec=find_spec("vgg16")))
    assert not category.keeps_patches
    assert set(category.collections) == {category.images, category.cached}


def test_next_revision_names_its_parent_and_keeps_everything_else(category: Category) -> None:
    after = category.following("add", ["a"], action="added one").entry
    before = category.entry
    assert (after.revision, after.parent, after.origin) == (2, before.head, before.origin)
    assert after.attempt == attempt_id(before.head, "add", ["a"])
    assert (after.build_key, after.action) == ("", "added one")
    assert (after.counts, after.settings, after.spec) == (
        before.counts,
        before.settings,
        before.spec,
    )
    assert category.entry == before


def test_same_change_planned_twice_is_one_attempt_and_another_is_another(
    category: Category,
) -> None:
    first, again = category.following("add", ["a"]), category.following("add", ["a"])
    assert first.entry.attempt == again.entry.attempt
    assert first.point_id("x", 1) == again.point_id("x", 1)
    others = [category.following("add", ["b"]), category.following("remove", ["a"]), first]
    others.append(first.following("add", ["a"]))
    assert len({other.entry.attempt for other in others}) == 4
    assert len({other.point_id("x", 1) for other in others}) == 4


def test_image_is_the_same_image_in_every_revision(category: Category) -> None:
    assert category.following("add", []).image_id("ab") == category.image_id("ab")


def test_points_are_visible_from_their_revision_on_until_they_are_ended(
    category: Category,
) -> None:
    revisions = [category]
    for number in range(3):
        revisions.append(revisions[-1].following("add", number))
    for at in revisions:
        at.store.upsert(at.cached, [Point(at.point_id("p"), {}, {"name": "p", **at.lifetime})])
    joined_second = revisions[1].point_id("p")
    category.store.set_payload(category.cached, [joined_second], {"until": 3})
    counts = [at.store.count(at.cached, at.visible) for at in revisions]
    assert counts == [1, 2, 2, 3]
    anew = revisions[3].with_entry(origin=4)
    assert anew.store.count(anew.cached, anew.visible) == 1, "only what was learnt anew"


def test_lifetime_says_who_wrote_a_point(category: Category) -> None:
    after = category.following("add", ["a"])
    attempt = after.entry.attempt
    assert after.lifetime == {"since": 2, "until": FOREVER, "attempt": attempt}


def test_image_and_what_users_say_of_it_come_back_from_its_payload() -> None:
    image = an_image(
        "a", score=0.25, fields={"line": "3", "image_id": "another"}, added_at="2026-01-01"
    )
    payload = image_payload(image)
    assert payload["image_id"] == "a", "no user field hides one of ours"
    assert library_image(payload) == image
    assert library_image(payload).fields == image.fields
    assert library_image(payload).added_at == image.added_at


def test_image_point_has_the_vectors_it_is_given_and_when_it_joined(category: Category) -> None:
    whole, defect = np.ones(3, np.float32), np.zeros(3, np.float32)
    plain = category.image_point(an_image("a"), whole)
    assert set(plain.vectors) == {WHOLE}
    assert plain.payload["added_at"] == category.entry.built_at
    earlier = category.image_point(an_image("a", added_at="2020-01-01"), whole, defect)
    assert set(earlier.vectors) == {WHOLE, DEFECT}
    assert earlier.payload["added_at"] == "2020-01-01"
    assert earlier.id == plain.id


def test_patch_point_is_named_by_its_cell(category: Category) -> None:
    vector = np.ones(3, np.float32)
    points = [category.patch_point("a", *cell, vector) for cell in ((1, 2), (2, 1), (12, 0))]
    assert len({point.id for point in points}) == 3
    payload = {"image_id": "a", "row": 1, "col": 2, **category.lifetime}
    assert points[0].payload == payload


def test_time_is_utc_in_whole_seconds() -> None:
    found = datetime.datetime.fromisoformat(now())
    assert found.utcoffset() == datetime.timedelta(0)
    assert found.microsecond == 0
    assert abs((datetime.datetime.now(datetime.UTC) - found).total_seconds()) < 60
