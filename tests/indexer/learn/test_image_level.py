"""A backbone that gives one embedding an image: what its categories keep, and how they score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backbones.errors import VecspectError
from indexer.calibration.methods import CalibrationSettings
from indexer.catalog.cached_arrays import read_cached
from indexer.catalog.category import Category
from indexer.catalog.collections import read_images
from indexer.catalog.commits import read_history
from indexer.catalog.schema import CATALOG, WHOLE, head_key, images_collection, patches_collection
from indexer.data.dataset import read_dataset
from indexer.learn.build import build_index
from indexer.records.drift_window import DriftWindow
from indexer.store.base import VectorStore, read_matrix
from indexer.store.open import open_store
from indexer.update.rollback import rollback
from indexer.update.synthetic_defects import add_synthetic_defects
from search.inspector import Inspector
from search.monitoring.drift import check_drift
from search.monitoring.replay_update import replay_additions
from tests.indexer.world import (
    NEIGHBORS,
    CountingStore,
    FakeImageLevel,
    add,
    by_split,
    cosine_distances,
    current,
    image_embedding,
    learn,
    quarantine,
    remove,
)

IMAGES = images_collection("grid", "fake-vgg")
CACHED = patches_collection("grid", "fake-vgg")
HEADS = {"heads", "grid--fake-vgg--head"}
"""What the embedded store and a server keep heads in."""
THE_COMMIT = f"move_head {head_key('grid', 'fake-vgg')}"


@pytest.fixture
def category(store: VectorStore, dataset: Path) -> Category:
    return learn(store, dataset, FakeImageLevel()).category


def test_category_has_a_catalog_entry_and_images_and_no_bank(
    store: VectorStore, category: Category
) -> None:
    assert set(store.collections()) - HEADS == {CATALOG, IMAGES, CACHED}
    assert category.entry.counts == {
        "bank_images": 13, "calibration_images": 3, "test_images": 10, "bank_patches": 0
    }  # fmt: skip
    assert store.count(IMAGES) == 26
    assert store.count(CACHED) == 3, "the quality of its calibration images"
    assert current(store).spec == FakeImageLevel.spec


def test_score_is_the_mean_cosine_distance_to_the_nearest_images_of_the_bank(
    store: VectorStore, category: Category
) -> None:
    """All held-out images, against brute force; no calibration image is among the neighbours."""
    bank = np.stack([image_embedding(image.path) for image in by_split(category, "bank")])
    held_out = by_split(category, "calibration") + by_split(category, "test")
    assert (len(bank), len(held_out)) == (13, 13)
    for image in held_out:
        nearest = np.sort(cosine_distances(image_embedding(image.path), bank))[:NEIGHBORS]
        assert image.score == pytest.approx(nearest.mean(), abs=1e-5)
        assert nearest.mean() > 1e-3, "the fakes lie apart"


def test_calibration_scores_are_those_of_the_calibration_images(
    store: VectorStore, category: Category
) -> None:
    scores = sorted(image.score or 0.0 for image in by_split(category, "calibration"))
    assert category.entry.calibration["scores"] == pytest.approx(scores)
    assert len(scores) == 3


def test_images_of_the_bank_have_no_score_of_their_own(
    store: VectorStore, category: Category
) -> None:
    assert {image.score for image in by_split(category, "bank")} == {None}


def test_building_twice_changes_nothing_and_embeds_nothing(
    store: VectorStore, category: Category, dataset: Path
) -> None:
    _, before, payloads = read_matrix(store, IMAGES, WHOLE)
    again = FakeImageLevel()
    report = learn(store, dataset, again)
    assert (report.changed, again.seen) == (False, 0)
    assert report.entry == current(store).entry == category.entry
    _, after, unchanged = read_matrix(store, IMAGES, WHOLE)
    np.testing.assert_array_equal(after, before)
    assert unchanged == payloads


def test_bank_smaller_than_the_number_of_neighbours_is_used_whole(
    dataset: Path,
) -> None:
    records = [record for record in read_dataset(dataset) if record.split == "train"][:4]
    with open_store(":memory:") as store:
        small = learn(store, records, FakeImageLevel()).category
        bank = np.stack([image_embedding(image.path) for image in by_split(small, "bank")])
        (held_out,) = by_split(small, "calibration")
        expected = cosine_distances(image_embedding(held_out.path), bank).mean()
    assert len(bank) == 3
    assert held_out.score == pytest.approx(expected, abs=1e-5)


def test_next_revision_forgets_the_images_of_the_one_before(
    store: VectorStore, category: Category, dataset: Path
) -> None:
    records = [record for record in read_dataset(dataset) if record.split == "train"]
    report = learn(store, records[:10], FakeImageLevel())
    assert report.entry.revision == category.entry.revision + 1
    assert store.count(IMAGES) == 10
    assert len(read_images(report.category)) == 10


def scores_from_scratch(category: Category) -> list[float]:
    """Of the revision's calibration images against its bank, from the files, by brute force."""
    bank = np.stack([image_embedding(image.path) for image in by_split(category, "bank")])
    held_out = by_split(category, "calibration")
    nearest = [
        np.sort(cosine_distances(image_embedding(i.path), bank))[:NEIGHBORS] for i in held_out
    ]
    return sorted(float(found.mean()) for found in nearest)


def test_calibration_after_every_change_is_that_of_the_bank_that_is_there(
    store: VectorStore, category: Category, more: list[Path]
) -> None:
    def check(after: str, bank: int, calibration: int) -> None:
        now = current(store)
        assert now.entry.calibration["scores"] == pytest.approx(scores_from_scratch(now), abs=1e-5)
        counts = now.entry.counts
        assert (counts["bank_images"], counts["calibration_images"]) == (bank, calibration), after
        assert len(by_split(now, "bank")) == bank
        assert len(dict(read_cached(now, "quality"))) == calibration

    before = category.entry.calibration["scores"]
    change = add(store, FakeImageLevel(), more)
    check("adding", 19, 5)
    calibrating = by_split(change.category, "calibration")[0].image_id
    remove(store, by_split(change.category, "bank")[0].image_id, calibrating)
    check("removing", 18, 4)
    quarantine(store, by_split(current(store), "bank")[0].image_id)
    check("quarantine", 17, 4)
    rollback(1, category=current(store))
    check("going back", 13, 3)
    assert current(store).entry.calibration["scores"] == pytest.approx(before)
    actions = [old.action for old in read_history(current(store))]
    assert actions == [
        "learnt grid",
        "added 8 normal images",
        "removed 2 images",
        "quarantined 1 image",
        "back to revision 1",
    ]


def test_image_that_left_is_never_a_neighbour_again_and_one_that_joined_is(
    store: VectorStore, category: Category, more: list[Path]
) -> None:
    inspector = Inspector(store, "grid", network=FakeImageLevel())
    gone = inspector.inspect(more[0]).evidence.image_id
    for leave in (quarantine, remove):
        leave(store, gone)
        found = inspector.inspect(more[0])
        assert found.evidence.image_id != gone
        assert found.revision == current(store).entry.revision
    joined = add(store, FakeImageLevel(), more)
    own = [image for image in by_split(joined.category, "bank") if Path(image.path) in more]
    for image in own:
        assert inspector.inspect(image.path).evidence.image_id == image.image_id


def test_reader_sees_the_revision_before_until_the_next_is_committed(
    store: VectorStore, category: Category, more: list[Path], dataset: Path
) -> None:
    query = next(record.path for record in read_dataset(dataset) if record.split == "test")
    inspector = Inspector(store, "grid", network=FakeImageLevel())
    before = inspector.inspect(query).to_dict()
    seen: list[str] = []

    def look(write: str) -> None:
        seen.append(write)
        if THE_COMMIT not in seen:
            assert inspector.inspect(query).to_dict() == before, write

    counting = CountingStore(store, look)
    add(counting, FakeImageLevel(), more)
    assert {f"upsert {IMAGES}", THE_COMMIT} <= set(seen)
    seen.clear()
    before = inspector.inspect(query).to_dict()
    remove(counting, by_split(current(store), "bank")[0].image_id)
    assert {f"set_payload {IMAGES}", THE_COMMIT} <= set(seen)


def test_defective_image_joins_the_library_alone_with_its_score(
    store: VectorStore, category: Category, more: list[Path]
) -> None:
    expected = Inspector(store, "grid", network=FakeImageLevel()).inspect(more[0]).score
    change = add(store, FakeImageLevel(), more[:1], label="defective", defect_type="scratch")
    image = read_images(change.category)[change.images[0]]
    assert (image.label, image.defect_type, image.split) == ("defective", "scratch", "test")
    assert image.score == pytest.approx(expected)
    before = category.entry.calibration["scores"]
    assert change.entry.calibration["scores"] == pytest.approx(before)


def test_drift_knows_the_quality_of_the_calibration_images(
    store: VectorStore, category: Category, dataset: Path
) -> None:
    inspector = Inspector(store, "grid", network=FakeImageLevel())
    window = DriftWindow(category)
    for record in read_dataset(dataset)[:3]:
        found = inspector.inspect(record.path)
        window.record(replace(found.inspected(), sha256="of another image"))
    drift = check_drift(category)
    assert (drift.images, drift.alarm) == (3, False)
    assert any(signal.name == "brightness" and signal.shift for signal in drift.signals)


def test_what_takes_patches_is_refused_in_one_line_and_nothing_changes(
    store: VectorStore, category: Category, dataset: Path, more: list[Path]
) -> None:
    inspector = Inspector(store, "grid", network=FakeImageLevel())
    refused: dict[str, Callable[[], object]] = {
        "a replay needs patches": lambda: replay_additions(inspector, more[:1]),
        "a synthetic defect needs patches": lambda: add_synthetic_defects(
            category=category, backbone=FakeImageLevel()
        ),
        "cross-conformal needs patch embeddings": lambda: build_index(
            read_dataset(dataset),
            category="other",
            backbone=FakeImageLevel(),
            store=store,
            calibration=CalibrationSettings("cross-conformal"),
        ),
        "at least 1 of its calibration images, 0 would be left": lambda: remove(
            store, *(image.image_id for image in by_split(category, "calibration"))
        ),
    }
    for message, change in refused.items():
        with pytest.raises(VecspectError, match=message) as caught:
            change()
        assert "\n" not in str(caught.value)
    assert current(store).entry.revision == category.entry.revision
    assert len(by_split(category, "calibration")) == 3
