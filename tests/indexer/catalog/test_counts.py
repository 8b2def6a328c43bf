from __future__ import annotations

from collections.abc import Iterator

import pytest

from indexer.catalog.category import Category
from indexer.catalog.counts import (
    BANK_PATCHES,
    DEFECT_PATCHES,
    PICKED_OUT,
    counted,
    counted_role,
    tallied,
)
from indexer.store.open import open_store
from tests.indexer.world import an_entry


@pytest.fixture
def category() -> Iterator[Category]:
    with open_store(":memory:") as store:
        yield Category(store, an_entry(counts={BANK_PATCHES: 10, "bank_images": 2}))


def test_count_goes_up_and_down_and_the_category_before_is_as_it_was(category: Category) -> None:
    assert counted(category, BANK_PATCHES, 5).entry.counts == {BANK_PATCHES: 15, "bank_images": 2}
    assert counted(category, BANK_PATCHES, -3).entry.counts[BANK_PATCHES] == 7
    assert category.entry.counts[BANK_PATCHES] == 10


def test_what_a_category_does_not_count_stays_uncounted(category: Category) -> None:
    assert counted(category, DEFECT_PATCHES, 5) is category
    assert counted_role(category, "quarantined", 1) is category


def test_images_are_counted_by_role(category: Category) -> None:
    assert counted_role(category, "bank", -1).entry.counts["bank_images"] == 1


def test_what_voids_a_bound_is_named_only_once_there_is_some(category: Category) -> None:
    assert tallied(category, PICKED_OUT, 0) is category
    once = tallied(category, PICKED_OUT, 1)
    assert once.entry.counts[PICKED_OUT] == 1
    assert tallied(once, PICKED_OUT, 2).entry.counts[PICKED_OUT] == 3
