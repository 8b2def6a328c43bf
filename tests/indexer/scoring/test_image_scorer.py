"""An image scorer says what plain NumPy says of the embeddings in the library."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backbones.pipeline import ImageFeatures
from indexer.catalog.category import Category
from indexer.catalog.collections import create_collections
from indexer.scoring.image_scorer import NEIGHBORS, ImageScorer
from indexer.store.open import open_store
from tests.indexer.world import FakeImageLevel, an_entry, an_image

Float32 = NDArray[np.float32]

DIM = FakeImageLevel.spec.dim


def embeddings(count: int, seed: int) -> Float32:
    return np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)


def cosine(query: Float32, others: Float32) -> Float32:
    lengths = np.linalg.norm(others, axis=1) * np.linalg.norm(query)
    return np.asarray(1 - others @ query / lengths, np.float32)


@pytest.fixture(params=[3, 20])
def bank(request: pytest.FixtureRequest) -> Float32:
    """Fewer images than are asked for, and more."""
    return embeddings(request.param, 1)


@pytest.fixture
def category(bank: Float32) -> Iterator[Category]:
    """A bank, and calibration images that must never count as neighbours."""
    with open_store(":memory:") as store:
        category = Category(store, an_entry(spec=FakeImageLevel.spec, backbone="fake-vgg"))
        create_collections(category)
        calibration = embeddings(4, 2)
        points = [category.image_point(an_image(f"b{i}"), v) for i, v in enumerate(bank)]
        points += [
            category.image_point(an_image(f"c{i}", split="calibration"), v)
            for i, v in enumerate(calibration)
        ]
        store.upsert(category.images, points)
        yield category


def features_of(embedding: Float32) -> ImageFeatures:
    path, quality = Path("image.png"), np.zeros(2, np.float32)
    return ImageFeatures(path, 32, 32, "", embedding[None, None], embedding, quality, path)


def test_score_is_the_mean_cosine_distance_to_the_nearest_images_of_the_bank(
    category: Category, bank: Float32
) -> None:
    scorer = ImageScorer(category)
    for query in embeddings(10, 3):
        apart = cosine(query, bank)
        scored = scorer.score(features_of(query))
        assert scored.score == pytest.approx(np.sort(apart)[:NEIGHBORS].mean(), abs=1e-5)
        assert scored.nearest.image_id == f"b{apart.argmin()}"
        assert scored.nearest.distance == pytest.approx(apart.min(), abs=1e-5)
        assert scorer.nearest_normal(scored, 0, 0) == scored.nearest
        assert scored.distances.tolist() == [[np.float32(scored.score)]]
        np.testing.assert_array_equal(scorer.distances(query[None, None]), scored.distances)
        assert scorer.aggregate(scored.distances) == scored.score


def test_calibration_images_are_measured_against_the_bank_alone(
    category: Category, bank: Float32
) -> None:
    found = ImageScorer(category).calibration_distances(category)
    assert found.keys() == {f"c{i}" for i in range(4)}
    for number, embedding in enumerate(embeddings(4, 2)):
        expected = np.sort(cosine(embedding, bank))[:NEIGHBORS].mean()
        assert found[f"c{number}"] == pytest.approx(np.float32(expected), abs=1e-5)


def test_image_without_patches_has_neither_map_nor_defect_embedding_and_caches_nothing(
    category: Category,
) -> None:
    scorer, features = ImageScorer(category), features_of(embeddings(1, 4)[0])
    scored = scorer.score(features)
    assert scorer.peaks([scored.distances]) == []
    assert scorer.defect_embedding(features, scored) is None
    scorer.cache_patches(category, "b0", features.patches)
    scorer.cache_distances(category, {"b0": scored.distances})
    assert category.store.count(category.cached) == 0
