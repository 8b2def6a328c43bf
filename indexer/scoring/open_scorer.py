"""The scorer of a category, by the level of its backbone."""

from __future__ import annotations

from indexer.catalog.category import Category
from indexer.catalog.entry import MemoryBank
from indexer.scoring.base import Scorer
from indexer.scoring.image_scorer import ImageScorer
from indexer.scoring.patch_scorer import PatchScorer


def open_scorer(category: Category, bank: MemoryBank | None = None) -> Scorer:
    """The scorer of the category at its revision.

    Args:
        bank: its memory bank if already loaded; otherwise read from the store.
    """
    return PatchScorer(category, bank) if category.keeps_patches else ImageScorer(category)
