"""What a category's collections hold and what readers of a revision get of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from backbones.specs import find_spec
from indexer.catalog.category import Category
from indexer.catalog.collections import (
    check_keeps_patches,
    check_searchable,
    create_collections,
    index_fields,
    known_images,
    read_bank,
    read_defect_embeddings,
    read_defect_patches,
    read_images,
    read_vectors,
    similar_images,
)
from indexer.catalog.entry import CategoryError
from indexer.catalog.schema import CATALOG, DEFECT, LIBRARY_INDEXES, PATCH, WHOLE
from indexer.store.base import VectorParams, VectorStore
from indexer.store.open import open_store
from tests.indexer.world import CountingStore, a_category, an_entry, an_image

DIM = 384
AXES = np.eye(8, DIM, dtype=np.float32)


@pytest.fixture
def store() -> Iterator[VectorStore]:
    with open_store(":memory:") as opened:
        yield opened


@pytest.fixture
def category(store: VectorStore) -> Category:
    """Three images along three axes, c defective; a patch of the bank each of a and b."""
    category = a_category(store)
    images = [
        category.image_point(an_image("a"), AXES[0]),
        category.image_point(an_image("b", split="calibration", score=0.5), AXES[0] + AXES[1]),
        category.image_point(
            an_image("c", label="defective", defect_type="hole", split="test", score=2.0),
            AXES[2],
            AXES[3],
        ),
    ]
    store.upsert(category.images, images)
    store.upsert(category.bank, [category.patch_point("a", 0, 1, AXES[4])])
    store.upsert(category.bank, [category.patch_point("b", 2, 3, AXES[5] * 7)])
    store.upsert(category.defects, [category.patch_point("c", 4, 5, AXES[6])])
    return category


@pytest.fixture
def whole_images(store: VectorStore) -> Category:
    category = Category(store, an_entry(backbone="vgg16", spec=find_spec("vgg16")))
    create_collections(category)
    return category


def test_patch_category_has_its_collections_with_their_vectors(
    store: VectorStore, category: Category
) -> None:
    assert set(store.collections()) - {"heads"} == {CATALOG, *category.collections}
    patch = {PATCH: VectorParams(DIM, "euclid", indexed=False)}
    assert store.vector_params(category.bank) == store.vector_params(category.defects) == patch
    cosine = VectorParams(DIM, "cosine", indexed=True)
    assert store.vector_params(category.images) == {WHOLE: cosine, DEFECT: cosine}
    assert store.vector_params(category.cached) == {}


def test_category_of_whole_images_has_neither_bank_nor_defects(
    store: VectorStore, whole_images: Category
) -> None:
    names = {CATALOG, whole_images.images, whole_images.cached}
    assert set(store.collections()) - {"heads"} == names
    assert set(store.vector_params(whole_images.images)) == {WHOLE}
    assert len(read_bank(whole_images)) == 0


def test_collections_that_are_there_stay_as_they_are(
    store: VectorStore, category: Category
) -> None:
    before = read_images(category)
    create_collections(category)
    assert read_images(category) == before


def test_bank_and_defects_come_back_as_they_were_written(category: Category) -> None:
    bank, defects = read_bank(category), read_defect_patches(category)
    rows = zip(bank.image_ids.tolist(), bank.cells.tolist(), bank.vectors, strict=True)
    found = {key: (cell, vector.tobytes()) for key, cell, vector in rows}
    assert found == {"a": ([0, 1], AXES[4].tobytes()), "b": ([2, 3], (AXES[5] * 7).tobytes())}
    assert (defects.image_ids.tolist(), defects.cells.tolist()) == (["c"], [[4, 5]])
    np.testing.assert_array_equal(defects.vectors, AXES[6:7])


def test_images_are_read_all_or_those_that_match(category: Category) -> None:
    assert sorted(read_images(category)) == ["a", "b", "c"]
    assert list(read_images(category, {"split": "calibration"})) == ["b"]
    assert read_images(category, {"label": "defective"})["c"].score == 2.0
    assert read_images(category.with_entry(origin=2, revision=2)) == {}


def test_images_are_known_in_the_order_asked_and_a_stranger_is_named(category: Category) -> None:
    assert list(known_images(category, ["c", "a"])) == ["c", "a"]
    with pytest.raises(CategoryError, match=r"no image nobody in the library of 'grid'") as caught:
        known_images(category, ["a", "nobody", "either"])
    assert "\n" not in str(caught.value)


def test_vectors_come_with_the_images_that_have_them(category: Category) -> None:
    vectors, images = read_vectors(category, WHOLE, {"label": "normal"})
    by_id = {image.image_id: row for image, row in zip(images, vectors, strict=True)}
    assert set(by_id) == {"a", "b"}
    np.testing.assert_allclose(by_id["a"], AXES[0], atol=1e-6)
    vectors, images = read_defect_embeddings(category)
    assert [image.image_id for image in images] == ["c"]
    np.testing.assert_allclose(vectors, AXES[3:4], atol=1e-6)
    assert read_defect_embeddings(category, {"defect_type": "scratch"})[1] == []


def test_nearest_images_come_first_and_only_of_this_revision(category: Category) -> None:
    def nearest(using: str = WHOLE) -> list[str]:
        hits = similar_images(category, AXES[0], top=3, where={}, using=using, exact=True)
        return [str(hit.payload["image_id"]) for hit in hits]

    assert nearest() == ["a", "b", "c"]
    assert nearest(using=DEFECT) == ["c"]
    after = category.following("add", [])
    point = after.image_point(an_image("d"), AXES[0])
    after.store.upsert(after.images, [point])
    assert "d" not in nearest()
    found = similar_images(after, AXES[0], top=9, where={"split": "bank"}, exact=True)
    assert {hit.payload["image_id"] for hit in found} == {"a", "d"}
    assert [hit.score for hit in found] == pytest.approx([1, 1], abs=1e-6)


def test_what_takes_patches_is_refused_in_one_line_for_whole_images(
    category: Category, whole_images: Category
) -> None:
    check_keeps_patches(category, "a replay")
    check_searchable(category, "region")
    refused: dict[str, Callable[[], object]] = {
        r"^a replay needs patches, but 'vgg16' gives": lambda: check_keeps_patches(
            whole_images, "a replay"
        ),
        r"cannot be searched by region": lambda: check_searchable(whole_images, "region"),
        r"cannot be searched by defect": lambda: read_defect_embeddings(whole_images),
    }
    for message, ask in refused.items():
        with pytest.raises(CategoryError, match=message) as caught:
            ask()
        assert "\n" not in str(caught.value)


def test_library_is_indexed_by_the_fields_of_its_users(tmp_path: pytest.TempPathFactory) -> None:
    with open_store(str(tmp_path)) as store:
        category = a_category(store)
        assert store.payload_indexes(category.images) == LIBRARY_INDEXES
        index_fields(category, ["line", "batch"])
        found = store.payload_indexes(category.images)
        assert found == LIBRARY_INDEXES | {"user_line": "keyword", "user_batch": "keyword"}
        index_fields(category, [])
        assert store.payload_indexes(category.images) == found


def test_reading_writes_nothing(category: Category) -> None:
    counting = CountingStore(category.store)
    reading = Category(counting, category.entry)
    read_images(reading), read_bank(reading), read_vectors(reading, WHOLE)
    assert counting.writes == []
