from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from backbones.base import Backbone
from indexer.calibration.methods import read_calibration
from indexer.catalog.collections import read_defect_patches, read_images
from indexer.catalog.commits import find_category
from indexer.catalog.entry import CategoryError
from indexer.scoring.image_scorer import ImageScorer
from indexer.store.base import VectorStore
from indexer.store.open import open_store
from search.open_revision import OpenRevision
from tests.indexer.world import FakeImageLevel, learn


class ReadingStore:
    """A store that counts the times each of its collections is read."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self.reads: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def scroll(self, name: str, *args: Any, **options: Any) -> Any:
        self.reads.append(name)
        return self._store.scroll(name, *args, **options)


def test_each_piece_is_read_when_first_asked_for_and_never_again(
    learnt: VectorStore, network: Backbone
) -> None:
    reading = ReadingStore(learnt)
    grid = find_category(cast(VectorStore, reading), "grid")
    reading.reads.clear()
    revision = OpenRevision(grid, network)
    assert revision.calibration == read_calibration(grid.entry)
    assert reading.reads == [], "the entry says it all"
    for _ in range(2):
        assert revision.images == read_images(find_category(learnt, "grid"))
    assert reading.reads == [grid.images]
    for _ in range(2):
        assert len(revision.patch_scorer.bank) == grid.entry.counts["bank_patches"]
    assert reading.reads == [grid.images, grid.bank]
    for _ in range(2):
        (key,) = set(read_defect_patches(grid).image_ids[:1])
        bank = revision.patch_scorer.bank
        ids = [str(key), str(bank.image_ids[0]), "no such image"]
        found = revision.patches_by_image.match(bank.vectors[:1], ids)
        assert {match.image_id for match in found} == set(ids[:2])
    assert reading.reads.count(grid.bank) == 1
    assert revision.proposer is revision.proposer is not None


def test_revision_without_patches_has_neither_patch_scorer_nor_proposer(dataset: Path) -> None:
    with open_store(":memory:") as store:
        report = learn(store, dataset, FakeImageLevel())
        revision = OpenRevision(report.category, FakeImageLevel())
        assert isinstance(revision.scorer, ImageScorer)
        assert revision.proposer is None
        with pytest.raises(CategoryError, match="needs patches"):
            revision.patch_scorer  # noqa: B018
