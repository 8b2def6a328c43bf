from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbones.base import Backbone
from indexer.catalog.collections import read_images
from indexer.catalog.commits import find_entry
from indexer.catalog.schema import WHOLE, images_collection, visible
from indexer.data.image_records import read_dataset
from indexer.store.base import VectorStore, read_matrix
from indexer.update.insertion import add_images
from search.calibrator import ConformalCalibrator
from search.retrieval import clustering
from search.retrieval.clustering import cluster_defects, group_alike, unusual_images


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
    entry = find_entry(learnt, "grid")
    assert cluster_defects(learnt, entry) == []
    known = next(r.path for r in read_dataset(dataset) if r.label == "defective")
    turned = []
    for degrees in (90, 180, 270):
        turned.append(tmp_path / f"{degrees}.png")
        Image.open(known).rotate(degrees).save(turned[-1])
    change = add_images(
        turned,
        store=learnt,
        entry=entry,
        backbone=network,
        calibrator=ConformalCalibrator(),
        label="defective",
    )
    (cluster,) = cluster_defects(learnt, change.entry)
    assert set(cluster.image_ids) == set(change.images)
    assert cluster.medoid_id in change.images


def test_strange_normal_image_is_listed_first(
    learnt: VectorStore, network: Backbone, dataset: Path, tmp_path: Path
) -> None:
    entry = find_entry(learnt, "grid")
    strange = tmp_path / "strange.png"
    first = next(r.path for r in read_dataset(dataset) if r.split == "train")
    Image.open(first).crop((0, 0, 30, 30)).resize((128, 128)).save(strange)
    change = add_images(
        [strange], store=learnt, entry=entry, backbone=network, calibrator=ConformalCalibrator()
    )
    found = unusual_images(learnt, change.entry)
    assert found[0].image_id == change.images[0]
    normal = [i for i in read_images(learnt, change.entry).values() if i.label == "normal"]
    assert len(found) == len(normal)
    entry = change.entry
    _, vectors, payloads = read_matrix(
        learnt,
        images_collection(entry.category, entry.backbone),
        WHOLE,
        where={**visible(entry), "label": "normal"},
    )
    distances = np.sort(1 - vectors @ vectors.T, axis=1)[:, 1:6].mean(axis=1)
    expected = {str(p["image_id"]): d for p, d in zip(payloads, distances, strict=True)}
    assert all(o.distance == pytest.approx(expected[o.image_id], abs=1e-6) for o in found)
    assert [o.distance for o in found] == sorted((o.distance for o in found), reverse=True)
