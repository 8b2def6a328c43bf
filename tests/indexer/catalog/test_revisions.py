"""How one revision becomes the next: who sees which point before and after the commit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from indexer.catalog.category import Category
from indexer.catalog.collections import read_bank, read_images
from indexer.catalog.commits import commit
from indexer.catalog.entry import CategoryError
from indexer.catalog.revisions import (
    end,
    forget_before,
    restore,
    rewrite_image,
    undo_earlier_tries,
    undo_interrupted,
)
from indexer.catalog.schema import DEFECT, FOREVER, WHOLE
from indexer.store.base import VectorStore
from indexer.store.open import open_store
from tests.indexer.world import a_category, an_image

DIM = 384


@pytest.fixture
def store() -> Iterator[VectorStore]:
    with open_store(":memory:") as opened:
        yield opened


@pytest.fixture
def category(store: VectorStore) -> Category:
    """A committed revision with the images a and b, each with two patches of the bank."""
    category = a_category(store)
    for image_id in "ab":
        write_image(category, image_id)
    commit(category)
    return category


def write_image(category: Category, image_id: str, defect: bool = False) -> None:
    rng = np.random.default_rng(ord(image_id[0]))
    whole, first, second = rng.standard_normal((3, DIM)).astype(np.float32)
    point = category.image_point(an_image(image_id), whole, second if defect else None)
    category.store.upsert(category.images, [point])
    patches = [category.patch_point(image_id, 0, col, v) for col, v in enumerate((first, second))]
    category.store.upsert(category.bank, patches)


def leave(category: Category, image_id: str) -> None:
    for collection in (category.images, category.bank):
        end(category, collection, {"image_id": image_id})


def seen(category: Category) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The images, and the patches of the bank whatever their ids."""
    bank = read_bank(category)
    rows = zip(bank.image_ids.tolist(), bank.cells.tolist(), bank.vectors, strict=True)
    patches = sorted((key, *cell, vector.tobytes()) for key, cell, vector in rows)
    return sorted(read_images(category)), patches


def points(category: Category) -> dict[str, dict[str, Any]]:
    return {
        point.id: dict(point.payload)
        for collection in category.collections
        for point in category.store.scroll(collection)
    }


def test_change_in_the_making_is_invisible_and_complete_once_committed(
    category: Category,
) -> None:
    before = seen(category)
    after = category.following("change", [])
    leave(category, "a")
    write_image(after, "c")
    assert seen(category) == before
    assert seen(after)[0] == ["b", "c"]
    assert {row[0] for row in seen(after)[1]} == {"b", "c"}


def test_interrupted_change_is_taken_back_to_the_last_point(category: Category) -> None:
    before = points(category)
    after = category.following("change", [])
    leave(category, "a")
    write_image(after, "c")
    assert points(category) != before
    undo_interrupted(category)
    assert points(category) == before
    undo_interrupted(category)
    assert points(category) == before


def test_what_ended_for_good_is_not_brought_back(category: Category) -> None:
    after = category.following("remove", ["a"])
    leave(category, "a")
    commit(after)
    undo_interrupted(after)
    assert seen(after)[0] == ["b"]


def test_nothing_is_undone_once_another_change_was_committed(category: Category) -> None:
    after = category.following("change", [])
    leave(category, "a")
    write_image(after, "c")
    commit(after)
    before = points(category)
    with pytest.raises(CategoryError, match="changed by another process since"):
        undo_interrupted(category)
    with pytest.raises(CategoryError, match="changed by another process since"):
        undo_earlier_tries(category.following("learn", []))
    assert points(category) == before


def test_earlier_try_at_learning_leaves_nothing(store: VectorStore) -> None:
    draft = a_category(store)
    write_image(draft, "a")
    undo_earlier_tries(draft)
    assert points(draft) == {}
    write_image(draft, "b")
    commit(draft)
    again = draft.following("learn", [])
    again = again.with_entry(origin=again.entry.revision)
    write_image(again, "c")
    undo_earlier_tries(again)
    assert seen(draft)[0] == ["b"]
    assert seen(again)[0] == []


def test_revision_learnt_from_scratch_forgets_all_before_and_no_other_does(
    category: Category,
) -> None:
    anew = category.following("learn", [])
    anew = anew.with_entry(origin=anew.entry.revision)
    write_image(anew, "c")
    forget_before(category)
    assert seen(category)[0] == ["a", "b"]
    forget_before(anew)
    assert seen(category) == ([], [])
    assert seen(anew)[0] == ["c"]
    assert len(points(anew)) == 3


def test_ending_tells_how_many_left_and_leaves_the_others(category: Category) -> None:
    assert end(category, category.bank, {"image_id": "a"}) == 2
    assert end(category, category.bank, {"image_id": "nobody"}) == 0
    left = [point.payload for point in category.store.scroll(category.bank)]
    assert {(point["image_id"], point["until"]) for point in left} == {("a", 2), ("b", FOREVER)}


def test_rewritten_image_keeps_its_embeddings_and_when_it_joined(category: Category) -> None:
    after = category.following("label", []).with_entry(built_at="2027-01-01T00:00:00+00:00")
    old = read_images(category)["a"]
    new = an_image("a", label="defective", defect_type="hole", split="test", score=0.5)
    deviation = np.eye(1, DIM, dtype=np.float32)[0]
    rewrite_image(category, after, new, deviation)
    assert read_images(category)["a"] == old
    found = read_images(after)["a"]
    assert (found, found.added_at) == (new, old.added_at)
    vectors = [
        {name: vector.tolist() for name, vector in point.vectors.items()}
        for at in (category, after)
        for point in at.store.scroll(at.images, {**at.visible, "image_id": "a"}, with_vectors=True)
    ]
    assert vectors[0][WHOLE] == pytest.approx(vectors[1][WHOLE], abs=1e-6)
    assert (set(vectors[0]), set(vectors[1])) == ({WHOLE}, {WHOLE, DEFECT})
    later = after.following("label", [])
    rewrite_image(after, later, an_image("a", label="defective", defect_type="stain"))
    (point,) = later.store.scroll(
        later.images, {**later.visible, "image_id": "a"}, with_vectors=True
    )
    assert point.vectors[DEFECT].tolist() == pytest.approx(deviation.tolist(), abs=1e-6)


def test_restored_revision_is_seen_again_as_it_was_and_each_in_between_stays(
    category: Category,
) -> None:
    second = category.following("change", [])
    leave(category, "a")
    write_image(second, "c")
    commit(second)
    third = second.following("change", [])
    write_image(third, "d")
    commit(third)
    fourth = third.following("rollback", 1)
    before = [seen(at) for at in (category, second, third)]
    changed = restore(third, category, fourth)
    assert set(changed) == {category.bank, category.images}
    assert [seen(at) for at in (category, second, third)] == before
    assert seen(fourth) == before[0]
    commit(fourth, changed)
    fifth = fourth.following("rollback", 3)
    restore(fourth, third, fifth)
    assert seen(fifth) == before[2]


def test_restoring_what_is_the_same_changes_no_collection(category: Category) -> None:
    second = category.following("label", [])
    commit(second)
    before = points(category)
    assert restore(second, category, second.following("rollback", 1)) == []
    assert points(category) == before
