"""Projections spare reading patches, and never one that would have to be measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from backbones.base import Backbone
from indexer.bank.pruning import images_in_reach, read_axes
from indexer.catalog.cached_arrays import read_cached
from indexer.catalog.commits import find_category
from indexer.store.base import VectorStore
from tests.indexer.world import add, distances_from_scratch, few


class ReadingStore:
    """A store that notes of which images the patches are read."""

    def __init__(self, store: VectorStore) -> None:
        self._store = store
        self.read: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def scroll(self, name: str, where: Any = None, **options: Any) -> Any:
        for point in self._store.scroll(name, where, **options):
            if point.payload.get("kind") == "patches":
                self.read.append(str(point.payload["image_id"]))
            yield point


@pytest.mark.parametrize("along", ["the axes", "any direction"])
@pytest.mark.parametrize("beside", [0.0, 1e-4, 0.01, 0.3, 3.0])
def test_no_image_within_reach_is_ever_left_out(
    learnt: VectorStore, beside: float, along: str
) -> None:
    """One patch lies exactly as far as asked for; along the axes its projection is as far too."""
    grid = find_category(learnt, "grid")
    projection = read_axes(grid)
    rng = np.random.default_rng(1)
    for key, patches in read_cached(grid, "patches"):
        for cell in np.ndindex(patches.shape[:2]):
            if sum(cell) % 9:
                continue
            apart = rng.normal(size=grid.spec.dim)
            if along == "the axes":
                apart = projection.axes @ (projection.axes.T @ apart)
            vector = patches[cell] + beside * apart / np.linalg.norm(apart)
            vectors = vector[None].astype(np.float32)
            within = np.full(patches.shape[:2], -1, np.float32)
            within[cell] = np.linalg.norm(patches[cell].astype(np.float64) - vectors[0])
            assert images_in_reach(grid, vectors, {key: within}) == [key], cell


def test_images_far_from_the_vectors_are_left_out(learnt: VectorStore) -> None:
    grid = find_category(learnt, "grid")
    distances = dict(read_cached(grid, "distances"))
    (patches,) = (array for _, array in read_cached(grid, "patches", [min(distances)]))
    far = patches.reshape(-1, patches.shape[-1])[:50] + np.float32(2)
    assert images_in_reach(grid, far, distances) == []


def test_patches_out_of_reach_are_not_read_and_those_in_reach_are(
    learnt: VectorStore, network: Backbone, dataset: Path, tmp_path: Path
) -> None:
    reading = ReadingStore(learnt)
    before = dict(read_cached(find_category(learnt, "grid"), "distances"))
    new = [tmp_path / f"{number}.png" for number in range(3)]
    for record, path in zip(few(dataset)[-3:], new, strict=True):
        path.write_bytes(record.path.read_bytes() + b"\0")
    change = add(cast(VectorStore, reading), network, new)
    after = dict(read_cached(change.category, "distances"))
    lowered = {key for key, distances in before.items() if (after[key] < distances).any()}
    assert lowered <= set(reading.read)
    for key, expected in distances_from_scratch(learnt).items():
        np.testing.assert_allclose(after[key], expected, rtol=2e-3, atol=2e-3)


def test_axes_are_orthonormal_however_the_store_rounds_them(learnt: VectorStore) -> None:
    """A length of the rest that is taken by a difference would be off by the axes' own lengths."""
    grid = find_category(learnt, "grid")
    axes = read_axes(grid).axes
    np.testing.assert_allclose(axes.T @ axes, np.eye(axes.shape[1]), atol=1e-12)
    (stored,) = (rows for _, rows in read_cached(grid, "axes"))
    np.testing.assert_allclose(axes.T, stored[1:], atol=1e-6)
