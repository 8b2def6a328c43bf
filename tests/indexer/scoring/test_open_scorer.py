from __future__ import annotations

import numpy as np

from indexer.catalog.category import Category
from indexer.catalog.collections import read_bank
from indexer.catalog.commits import find_category
from indexer.scoring.image_scorer import ImageScorer
from indexer.scoring.open_scorer import open_scorer
from indexer.scoring.patch_scorer import PatchScorer
from indexer.store.base import VectorStore
from tests.indexer.world import FakeImageLevel, an_entry


def test_level_of_the_backbone_decides_what_scores(learnt: VectorStore) -> None:
    grid = find_category(learnt, "grid")
    bank = read_bank(grid)
    given = open_scorer(grid, bank)
    assert isinstance(given, PatchScorer)
    assert given.bank is bank
    read = open_scorer(grid)
    assert isinstance(read, PatchScorer)
    np.testing.assert_array_equal(read.bank.vectors, bank.vectors)
    whole_images = an_entry(spec=FakeImageLevel.spec, backbone="fake-vgg")
    assert isinstance(open_scorer(Category(learnt, whole_images)), ImageScorer)
