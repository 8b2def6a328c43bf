from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbones.base import Backbone
from indexer.catalog.collections import read_images
from indexer.catalog.commits import find_category
from indexer.catalog.schema import WHOLE
from indexer.data.dataset import read_dataset
from indexer.store.base import VectorStore, read_matrix
from indexer.update.insertion import add_images
from search.retrieval import outliers
from search.retrieval.outliers import unusual_images


def test_strange_normal_image_is_listed_first(
    learnt: VectorStore, network: Backbone, dataset: Path, tmp_path: Path
) -> None:
    grid = find_category(learnt, "grid")
    strange = tmp_path / "strange.png"
    first = next(r.path for r in read_dataset(dataset) if r.split == "train")
    Image.open(first).crop((0, 0, 30, 30)).resize((128, 128)).save(strange)
    change = add_images([strange], category=grid, backbone=network)
    found = unusual_images(change.category)
    assert found[0].image_id == change.images[0]
    normal = [i for i in read_images(change.category).values() if i.label == "normal"]
    assert len(found) == len(normal)
    _, vectors, payloads = read_matrix(
        learnt,
        change.category.images,
        WHOLE,
        where={**change.category.visible, "label": "normal"},
    )
    distances = np.sort(1 - vectors @ vectors.T, axis=1)[:, 1:6].mean(axis=1)
    expected = {str(p["image_id"]): d for p, d in zip(payloads, distances, strict=True)}
    assert all(o.distance == pytest.approx(expected[o.image_id], abs=1e-6) for o in found)
    assert [o.distance for o in found] == sorted((o.distance for o in found), reverse=True)


def test_distances_do_not_depend_on_how_many_images_are_compared_at_a_time(
    learnt: VectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid = find_category(learnt, "grid")
    at_once = {found.image_id: found.distance for found in unusual_images(grid)}
    monkeypatch.setattr(outliers, "_AT_A_TIME", 3)
    in_pieces = {found.image_id: found.distance for found in unusual_images(grid)}
    assert in_pieces == pytest.approx(at_once, abs=1e-6)
