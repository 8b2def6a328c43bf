"""A patch scorer says what plain NumPy says of the stored bank."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backbones.base import Backbone
from backbones.pipeline import ImageFeatures, embed_images
from indexer.catalog.cached_arrays import read_cached
from indexer.catalog.category import Category
from indexer.catalog.collections import read_bank, read_images
from indexer.catalog.commits import find_category
from indexer.catalog.entry import CategoryError
from indexer.data.dataset import read_dataset
from indexer.scoring.anomaly_map import anomaly_map
from indexer.scoring.patch_scorer import PatchScorer, map_peak
from indexer.scoring.whitening import read_whitening
from indexer.store.base import VectorStore


@pytest.fixture
def grid(learnt: VectorStore) -> Category:
    return find_category(learnt, "grid")


@pytest.fixture
def features(network: Backbone, dataset: Path) -> ImageFeatures:
    """Of a defective image."""
    found = next(embed_images(network, [read_dataset(dataset)[-1].path]))
    assert isinstance(found, ImageFeatures)
    return found


def test_score_distances_and_evidence_are_those_of_plain_subtraction(
    grid: Category, features: ImageFeatures
) -> None:
    bank = read_bank(grid)
    patches = features.patches[::5, ::5]
    scorer = PatchScorer(grid)
    apart = np.linalg.norm(patches[:, :, None].astype(np.float64) - bank.vectors, axis=3)
    np.testing.assert_allclose(scorer.distances(patches), apart.min(axis=2), rtol=1e-4)
    scored = scorer.score(features)
    np.testing.assert_allclose(scored.distances[::5, ::5], apart.min(axis=2), rtol=1e-4)
    assert scored.score == scored.distances.max() == scored.nearest.distance
    for row, col in ((0, 0), scored.worst_cell):
        distances = np.linalg.norm(features.patches[row, col] - bank.vectors, axis=1)
        nearest = scorer.nearest_normal(scored, row, col)
        found = int(distances.argmin())
        assert nearest.image_id == bank.image_ids[found]
        assert nearest.cell == tuple(bank.cells[found])
        assert nearest.distance == pytest.approx(float(distances[found]), rel=1e-4)
    assert scorer.nearest_normal(scored, *scored.worst_cell) == scored.nearest


def test_bank_at_hand_is_used_as_it_is(grid: Category, features: ImageFeatures) -> None:
    half = read_bank(grid).select(np.arange(len(read_bank(grid))) % 2 == 0)
    with_half = PatchScorer(grid, half).score(features)
    assert with_half.score >= PatchScorer(grid).score(features).score
    assert with_half.bank_indices.max() < len(half)


def test_revision_that_is_gone_from_the_store_is_refused(grid: Category) -> None:
    gone = PatchScorer(grid.with_entry(origin=7, revision=7))
    with pytest.raises(CategoryError, match="revision 7 of category 'grid' has been replaced"):
        gone.distances(np.zeros((1, 1, grid.spec.dim), np.float32))


def test_calibration_distances_are_those_of_the_cached_patches(grid: Category) -> None:
    scorer = PatchScorer(grid)
    found = scorer.calibration_distances(grid)
    assert found.keys() == read_images(grid, {"split": "calibration"}).keys()
    for key, patches in read_cached(grid, "patches"):
        np.testing.assert_allclose(scorer.distances(patches), found[key], rtol=2e-3, atol=2e-3)
        stored = read_images(grid)[key].score
        assert scorer.aggregate(found[key]) == pytest.approx(stored)


def test_patches_and_distances_that_are_cached_come_back_in_the_next_revision(
    grid: Category, features: ImageFeatures
) -> None:
    scorer = PatchScorer(grid)
    after = grid.following("add", ["image"])
    distances = scorer.distances(features.patches)
    scorer.cache_patches(after, "image", features.patches)
    scorer.cache_distances(after, {"image": distances})
    np.testing.assert_array_equal(scorer.calibration_distances(after)["image"], distances)
    assert "image" not in scorer.calibration_distances(grid)
    ((_, patches),) = read_cached(after, "patches", ["image"])
    np.testing.assert_allclose(patches, features.patches, rtol=1e-3, atol=1e-3)
    ((_, projected),) = read_cached(after, "projections", ["image"])
    lengths = np.linalg.norm(features.patches - scorer.axes.mean, axis=2)
    np.testing.assert_allclose(np.linalg.norm(projected, axis=2), lengths, rtol=1e-2)


def test_defect_embedding_is_whitened_and_none_where_nothing_deviates(
    grid: Category, features: ImageFeatures
) -> None:
    scorer = PatchScorer(grid)
    found = scorer.defect_embedding(features, scorer.score(features))
    assert found is not None
    assert np.linalg.norm(found) == pytest.approx(1)
    whitening = read_whitening(grid)
    np.testing.assert_array_equal(scorer.whitening.damping, whitening.damping)
    normal = scorer.bank.vectors[:4].reshape(2, 2, -1)
    repeated = replace(features, patches=normal)
    assert scorer.defect_embedding(repeated, scorer.score(repeated)) is None


@pytest.mark.parametrize("height", [40, 128, 300])
def test_no_pixel_of_a_photo_is_above_the_peak_of_its_map(grid: Category, height: int) -> None:
    spec = grid.spec
    distances = np.random.default_rng(height).random(spec.grid, np.float32)
    peak = map_peak(spec, distances)
    assert PatchScorer(grid).peaks([distances, 2 * distances]) == pytest.approx([peak, 2 * peak])
    photo = anomaly_map(distances, spec.geometry((height, 200)))
    assert photo.max() <= peak + 1e-6
    assert peak == pytest.approx(anomaly_map(distances, spec.geometry(spec.input_size)).max())
