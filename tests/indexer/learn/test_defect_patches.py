"""The anomalous patches of defective images: which they are, and how they come and go."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from backbones.base import Backbone
from backbones.pipeline import ImageFeatures, embed_images
from indexer.calibration.methods import read_calibration
from indexer.catalog.category import Category
from indexer.catalog.collections import read_defect_patches, read_images
from indexer.catalog.counts import DEFECT_PATCHES
from indexer.learn.defect_patches import end_defect_patches, write_defect_patches
from indexer.scoring.defect_embedding import anomalous_cells
from indexer.scoring.open_scorer import open_scorer
from indexer.store.base import VectorStore
from tests.indexer.world import FakeImageLevel, add, current, learn, remove


def cells_of(category: Category, image_id: str) -> list[list[int]]:
    found = read_defect_patches(category)
    return sorted(found.cells[found.image_ids == image_id].tolist())


def features_of(network: Backbone, path: str | Path) -> ImageFeatures:
    (features,) = embed_images(network, [Path(path)])
    assert isinstance(features, ImageFeatures)
    return features


def test_every_defective_image_has_its_anomalous_patches_and_no_normal_one_has(
    learnt: VectorStore, network: Backbone
) -> None:
    category = current(learnt)
    geometry = category.spec.geometry(category.spec.input_size)
    threshold = read_calibration(category.entry).map_threshold
    found = read_defect_patches(category)
    images = read_images(category)
    defective = {key for key, image in images.items() if image.label == "defective"}
    assert set(found.image_ids.tolist()) == defective
    for key in defective:
        features = features_of(network, images[key].path)
        distances = open_scorer(category).score(features).distances
        expected = anomalous_cells(distances, geometry, threshold=threshold)
        assert cells_of(category, key) == sorted(expected.tolist())
        rows = found.image_ids == key
        cells = found.cells[rows]
        np.testing.assert_array_equal(
            found.vectors[rows], features.patches[cells[:, 0], cells[:, 1]]
        )
    assert category.entry.counts[DEFECT_PATCHES] == len(found) > 0


def test_patches_join_and_leave_with_their_image(
    learnt: VectorStore, network: Backbone, more: list[Path]
) -> None:
    before = current(learnt).entry.counts[DEFECT_PATCHES]
    change = add(learnt, network, more[-1:], label="defective", defect_type="inverted")
    joined = len(cells_of(change.category, change.images[0]))
    assert joined > 0
    assert change.entry.counts[DEFECT_PATCHES] == before + joined
    after = remove(learnt, change.images[0]).category
    assert cells_of(after, change.images[0]) == []
    assert after.entry.counts[DEFECT_PATCHES] == before == len(read_defect_patches(after))


def test_until_the_next_revision_is_committed_nothing_joins_or_leaves(
    learnt: VectorStore, network: Backbone, more: list[Path]
) -> None:
    now = current(learnt)
    before = read_defect_patches(now)
    gone = str(before.image_ids[0])
    after = now.following("test", [])
    features = features_of(network, more[-1])
    distances = open_scorer(now).distances(features.patches)
    after = write_defect_patches(after, "new", features.patches, distances)
    after = end_defect_patches(now, after, gone)
    np.testing.assert_array_equal(read_defect_patches(now).vectors, before.vectors)
    assert cells_of(after, gone) == []
    assert len(cells_of(after, "new")) > 0
    assert after.entry.counts[DEFECT_PATCHES] == len(read_defect_patches(after))


def test_category_without_patches_has_none_to_write(
    quick_store: VectorStore, dataset: Path
) -> None:
    category = learn(quick_store, dataset, FakeImageLevel()).category
    patches = np.ones((1, 1, 12), np.float32)
    assert write_defect_patches(category, "a", patches, np.ones((1, 1), np.float32)) is category
    assert end_defect_patches(category, category, "a") is category
    assert category.defects not in quick_store.collections()
