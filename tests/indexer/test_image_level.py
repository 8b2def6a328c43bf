"""A backbone that gives one embedding an image: what its categories keep, and how they score."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backbones.base import Features, Float32, Precision
from backbones.pipeline import ImageFeatures, embed_files
from backbones.specs import find_spec
from indexer.build import BuildReport, build_index
from indexer.dataset import read_dataset
from indexer.schema import (
    CATALOG,
    WHOLE,
    CatalogEntry,
    LibraryImage,
    find_entry,
    history_collection,
    images_collection,
    read_images,
)
from indexer.store import VectorStore, open_store, read_matrix
from search.calibration import ConformalCalibrator

HISTORY = history_collection("grid", "fake-vgg")
IMAGES = images_collection("grid", "fake-vgg")
NEIGHBORS = 5


class FakeImageLevel:
    """Implements `Backbone`, without patches: an image is a few directions of its colours."""

    spec = replace(find_spec("vgg16"), name="fake-vgg", dim=12, input_size=32)
    source: Path | None = None
    precision: Precision = "f32"
    fingerprint = "fakefakefakefake"

    def __init__(self) -> None:
        self.seen = 0

    def embed(self, inputs: NDArray[np.uint8]) -> Features:
        self.seen += len(inputs)
        colours = inputs.reshape(len(inputs), 8, 4, 8, 4, 3).mean(axis=(2, 4)).reshape(-1, 192)
        directions = np.random.default_rng(0).standard_normal((192, 12))
        apart = colours - colours.mean(axis=1, keepdims=True)
        images = (apart @ directions / 100).astype(np.float32)
        return Features(images[:, None, None, :], images)


def learn(store: VectorStore, dataset: Path, backbone: FakeImageLevel) -> BuildReport:
    return build_index(
        read_dataset(dataset),
        category="grid",
        backbone=backbone,
        store=store,
        calibrator=ConformalCalibrator(),
    )


@pytest.fixture(params=["edge", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorStore]:
    location = ":memory:" if request.param == "memory" else str(tmp_path / "store")
    with open_store(location) as opened:
        yield opened


@pytest.fixture
def entry(store: VectorStore, dataset: Path) -> CatalogEntry:
    return learn(store, dataset, FakeImageLevel()).entry


def embedding_of(path: str) -> Float32:
    (features,) = embed_files(FakeImageLevel(), [Path(path)])
    assert isinstance(features, ImageFeatures)
    return features.image


def cosine_distances(query: Float32, others: Float32) -> NDArray[np.float64]:
    query, others = query.astype(np.float64), others.astype(np.float64)
    cosine = others @ query / np.linalg.norm(others, axis=1) / np.linalg.norm(query)
    return np.asarray(1 - cosine)


def by_split(store: VectorStore, entry: CatalogEntry, split: str) -> list[LibraryImage]:
    return [image for image in read_images(store, entry).values() if image.split == split]


def test_category_has_a_catalog_entry_and_images_and_no_bank(
    store: VectorStore, entry: CatalogEntry
) -> None:
    assert sorted(store.collections()) == sorted([CATALOG, HISTORY, IMAGES])
    assert entry.counts == {
        "bank_images": 13, "calibration_images": 3, "test_images": 10, "bank_patches": 0
    }  # fmt: skip
    assert store.count(IMAGES) == 26
    assert find_entry(store, "grid").spec == FakeImageLevel.spec


def test_score_is_the_mean_cosine_distance_to_the_nearest_images_of_the_bank(
    store: VectorStore, entry: CatalogEntry
) -> None:
    """All held-out images, against brute force; no calibration image is among the neighbours."""
    bank = np.stack([embedding_of(image.path) for image in by_split(store, entry, "bank")])
    held_out = by_split(store, entry, "calibration") + by_split(store, entry, "test")
    assert (len(bank), len(held_out)) == (13, 13)
    for image in held_out:
        nearest = np.sort(cosine_distances(embedding_of(image.path), bank))[:NEIGHBORS]
        assert image.score == pytest.approx(nearest.mean(), abs=1e-5)
        assert nearest.mean() > 1e-3, "the fakes lie apart"


def test_calibration_scores_are_those_of_the_calibration_images(
    store: VectorStore, entry: CatalogEntry
) -> None:
    scores = sorted(image.score or 0.0 for image in by_split(store, entry, "calibration"))
    assert entry.calibration["scores"] == pytest.approx(scores)
    assert len(scores) == 3


def test_images_of_the_bank_have_no_score_of_their_own(
    store: VectorStore, entry: CatalogEntry
) -> None:
    assert {image.score for image in by_split(store, entry, "bank")} == {None}


def test_building_twice_changes_nothing_and_embeds_nothing(
    store: VectorStore, entry: CatalogEntry, dataset: Path
) -> None:
    _, before, payloads = read_matrix(store, IMAGES, WHOLE)
    again = FakeImageLevel()
    report = learn(store, dataset, again)
    assert (report.changed, again.seen) == (False, 0)
    assert (
        report.entry
        == find_entry(store, "grid")
        == replace(entry, calibration=report.entry.calibration)
    )
    _, after, unchanged = read_matrix(store, IMAGES, WHOLE)
    np.testing.assert_array_equal(after, before)
    assert unchanged == payloads


def test_bank_smaller_than_the_number_of_neighbours_is_used_whole(
    dataset: Path,
) -> None:
    records = [record for record in read_dataset(dataset) if record.split == "train"][:4]
    with open_store(":memory:") as store:
        report = build_index(
            records,
            category="grid",
            backbone=FakeImageLevel(),
            store=store,
            calibrator=ConformalCalibrator(),
        )
        bank = np.stack(
            [embedding_of(image.path) for image in by_split(store, report.entry, "bank")]
        )
        (held_out,) = by_split(store, report.entry, "calibration")
        expected = cosine_distances(embedding_of(held_out.path), bank).mean()
    assert len(bank) == 3
    assert held_out.score == pytest.approx(expected, abs=1e-5)


def test_next_revision_forgets_the_images_of_the_one_before(
    store: VectorStore, entry: CatalogEntry, dataset: Path
) -> None:
    records = [record for record in read_dataset(dataset) if record.split == "train"]
    report = build_index(
        records[:10],
        category="grid",
        backbone=FakeImageLevel(),
        store=store,
        calibrator=ConformalCalibrator(),
    )
    assert report.entry.revision == entry.revision + 1
    assert store.count(IMAGES) == 10
    assert len(read_images(store, report.entry)) == 10
