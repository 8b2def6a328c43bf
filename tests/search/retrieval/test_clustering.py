from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbones.base import Backbone
from indexer.catalog.commits import find_category
from indexer.data.dataset import read_dataset
from indexer.store.base import VectorStore
from indexer.update.insertion import add_images
from search.retrieval import clustering
from search.retrieval.clustering import cluster_defects, group_alike


def test_groups_far_apart_are_told_apart_without_their_number() -> None:
    rng = np.random.default_rng(0)
    truth = np.repeat([0, 1, 2], [9, 5, 4])
    vectors = np.eye(16)[truth] + 0.05 * rng.standard_normal((18, 16))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    groups = group_alike(vectors.astype(np.float32))
    assert len({(int(a), int(b)) for a, b in zip(truth, groups, strict=True)}) == 3
    assert len(set(groups.tolist())) == 3


def test_defects_without_clear_groups_come_in_small_ones_and_many_are_all_grouped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((100, 16)) + 0.5 * np.repeat(np.eye(16)[:2], 50, axis=0)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    assert len(set(group_alike(vectors).tolist())) == 10
    monkeypatch.setattr(clustering, "MOST_GROUPED", 60)
    groups = group_alike(vectors)
    assert set(groups.tolist()) == set(range(10))
    means = np.stack([vectors[groups == group].mean(axis=0) for group in range(10)])
    own = np.linalg.norm(vectors - means[groups], axis=1)
    assert own.mean() < np.linalg.norm(vectors[:, None] - means, axis=2).mean()


def test_only_defects_without_a_type_are_grouped(
    learnt: VectorStore, network: Backbone, dataset: Path, tmp_path: Path
) -> None:
    grid = find_category(learnt, "grid")
    assert cluster_defects(grid) == []
    known = next(r.path for r in read_dataset(dataset) if r.label == "defective")
    turned = []
    for degrees in (90, 180, 270):
        turned.append(tmp_path / f"{degrees}.png")
        Image.open(known).rotate(degrees).save(turned[-1])
    change = add_images(turned, category=grid, backbone=network, label="defective")
    (cluster,) = cluster_defects(change.category)
    assert set(cluster.image_ids) == set(change.images)
    assert cluster.medoid_id in change.images
