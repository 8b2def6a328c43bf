"""What varies among normal patches counts less when defects are compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA

from backbones.base import Backbone
from indexer.catalog.commits import find_category
from indexer.data.dataset import read_dataset
from indexer.knn.pca import principal_axes
from indexer.scoring.whitening import AXES, Float32, read_whitening, whitening_of
from indexer.store.base import VectorStore
from indexer.update.insertion import add_images

DIM = 12


def normal_patches(count: int = 400) -> Float32:
    """Vary much along three directions and little along the others."""
    rng = np.random.default_rng(0)
    spread = np.full(DIM, 0.1)
    spread[:3] = 5.0, 3.0, 2.0
    turned, _ = np.linalg.qr(rng.normal(size=(DIM, DIM)))
    patches: Float32 = (rng.normal(size=(count, DIM)) * spread @ turned + 7).astype(np.float32)
    return patches


def test_cosines_are_those_of_the_precision_of_probabilistic_pca() -> None:
    patches = normal_patches()
    whitening = whitening_of(principal_axes(patches, 5), len(patches))
    precision = PCA(n_components=5).fit(patches.astype(np.float64)).get_precision()
    vectors = np.random.default_rng(1).normal(size=(20, DIM)).astype(np.float32)
    products = vectors @ precision @ vectors.T
    lengths = np.sqrt(np.diag(products))
    whitened = whitening.whiten(vectors)
    assert np.abs(whitened @ whitened.T - products / np.outer(lengths, lengths)).max() < 1e-3


def test_same_defect_is_near_on_whatever_part_of_the_texture_it_lies() -> None:
    patches = normal_patches()
    axes = principal_axes(patches, DIM)
    whitening = whitening_of(axes, len(patches))
    brighter = axes.axes[:, :3] @ (5.0, 3.0, 2.0)
    scratch, dent = 3 * axes.axes[:, -2:].T
    defects = np.stack([scratch + brighter, scratch - brighter, dent + brighter])
    query, same, other = whitening.whiten(defects.astype(np.float32))
    assert query @ same > 0.9 > 0.1 > query @ other
    assert defects[0] @ defects[1] < 0 < defects[0] @ defects[2]


@pytest.mark.parametrize("count", [1, 2, 3, 40])
def test_few_patches_or_equal_ones_leave_no_vector_without_direction(count: int) -> None:
    vectors = np.random.default_rng(2).normal(size=(9, DIM)).astype(np.float32)
    for patches in (normal_patches(count), np.ones((count, DIM), np.float32)):
        whitened = whitening_of(principal_axes(patches, 48), count).whiten(vectors)
        assert np.allclose(np.linalg.norm(whitened, axis=1), 1, atol=1e-5)
    assert np.allclose(whitened, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def test_whitening_stays_as_the_bank_grows(
    learnt: VectorStore, network: Backbone, dataset: Path, tmp_path: Path
) -> None:
    grid = find_category(learnt, "grid")
    before = read_whitening(grid)
    defective = next(r.path for r in read_dataset(dataset) if r.label == "defective")
    Image.open(defective).rotate(90).save(tmp_path / "turned.png")
    change = add_images([tmp_path / "turned.png"], category=grid, backbone=network)
    assert change.patches
    after = find_category(learnt, "grid")
    assert after.entry.revision == 2
    assert np.array_equal(before.damping, read_whitening(after).damping)
    assert len(before.damping) == AXES
