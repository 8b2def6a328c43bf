from __future__ import annotations

import pytest

from indexer.store.base import VectorStore
from indexer.update.change import Change, count_images
from tests.indexer.world import current


@pytest.mark.parametrize(("number", "words"), [(0, "0 images"), (1, "1 image"), (12, "12 images")])
def test_number_of_images_is_said_in_words(number: int, words: str) -> None:
    assert count_images(number) == words


def test_label_stands_before_what_it_tells_of() -> None:
    assert count_images(8, "normal") == "8 normal images"
    assert count_images(1, "defective") == "1 defective image"


def test_change_that_did_nothing_names_the_revision_in_force(learnt: VectorStore) -> None:
    category = current(learnt)
    change = Change(category, ())
    assert change.entry is category.entry
    assert (change.images, change.patches, change.uncovered) == ((), 0, 0)
    assert (change.known, change.skipped) == ((), ())
