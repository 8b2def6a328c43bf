"""Names of collections and ids of points: what a store on disk depends on for ever."""

from __future__ import annotations

import uuid

import pytest

from indexer.catalog import schema
from indexer.catalog.entry import CategoryError
from indexer.store.validation import check_collection_name, check_head, check_id

NAMES = (
    schema.bank_collection,
    schema.images_collection,
    schema.defects_collection,
    schema.patches_collection,
    schema.inspections_collection,
)


@pytest.mark.parametrize("backbone", ["compact", "timm:resnet18:layer2,layer3"])
def test_every_collection_and_head_has_a_name_that_stores_take(backbone: str) -> None:
    names = {check_collection_name(name("grid", backbone)) for name in NAMES}
    assert len(names) == len(NAMES)
    assert all(name.startswith(schema.head_key("grid", backbone)) for name in names)
    check_head(schema.head_key("grid", backbone), "1-0123456789abcdef")


def test_longest_category_name_still_names_collections() -> None:
    longest = schema.check_category("a" * 64)
    for name in NAMES:
        check_collection_name(name(longest, "timm:convnext_tiny:layer2,layer3"))


def test_collections_of_a_category_are_nobody_elses() -> None:
    pairs = [("grid", "compact"), ("grid", "vgg16"), ("grid-b", "compact"), ("grid.compact", "b")]
    assert len({name(*pair) for name in NAMES for pair in pairs}) == len(NAMES) * len(pairs)


@pytest.mark.parametrize("name", ["grid", "A.b_c-d", "7", "a" * 64, "a-", "a-b-c"])
def test_plain_name_of_a_category_is_given_back(name: str) -> None:
    assert schema.check_category(name) == name


@pytest.mark.parametrize("name", ["", "a--b", "a b", "../a", "-a", "ä", "a\n", "a" * 65])
def test_name_that_could_not_name_a_collection_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(CategoryError, match="not a category name: expected at most 64 letters"):
        schema.check_category(name)


def test_id_of_a_point_is_the_same_in_every_process_and_release() -> None:
    found = schema.point_id("grid--compact", "1-0123", 3, 4)
    namespace = uuid.UUID("6f4c1c52-4a0e-5d0b-9d3c-0b6f2a7c9e11")
    assert found == str(uuid.uuid5(namespace, "grid--compact/1-0123/3/4"))
    assert check_id(found) == found
    assert len({found, schema.point_id("grid--compact", "1-0123", 34), schema.point_id()}) == 3


def test_id_of_an_image_depends_on_its_bytes_and_its_library_alone() -> None:
    found = schema.image_id("grid", "compact", "ab")
    assert found == schema.image_id("grid", "compact", "ab")
    others = [("grid", "compact", "ac"), ("grid", "vgg16", "ab"), ("tile", "compact", "ab")]
    assert found not in {schema.image_id(*other) for other in others}
