"""A backbone that gives one embedding an image: what its categories keep, and how they score."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from backbones.base import Features, Float32, Precision
from backbones.errors import VecspectError
from backbones.pipeline import ImageFeatures, embed_files
from backbones.specs import find_spec
from indexer.catalog.cached_arrays import read_kept
from indexer.catalog.collections import read_images
from indexer.catalog.commits import find_entry, read_history
from indexer.catalog.schema import (
    CATALOG,
    WHOLE,
    CatalogEntry,
    LibraryImage,
    history_collection,
    images_collection,
    patches_collection,
)
from indexer.data.image_records import read_dataset
from indexer.learn.build import BuildReport, build_index
from indexer.store.base import VectorStore, read_matrix
from indexer.store.open import open_store
from indexer.synthetic.dataset import write_dataset
from indexer.update.insertion import Change, add_images, quarantine_image, remove_images, rollback
from indexer.update.synthetic_defects import imagine_defects
from search.calibrator import ConformalCalibrator
from search.inspector import Inspector
from search.monitoring.drift import Watch, check_health
from search.monitoring.replay_update import replay_additions
from tests.indexer.learn.test_build import CountingStore

HISTORY = history_collection("grid", "fake-vgg")
IMAGES = images_collection("grid", "fake-vgg")
KEPT = patches_collection("grid", "fake-vgg")
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
    assert sorted(store.collections()) == sorted([CATALOG, HISTORY, IMAGES, KEPT])
    assert entry.counts == {
        "bank_images": 13, "calibration_images": 3, "test_images": 10, "bank_patches": 0
    }  # fmt: skip
    assert store.count(IMAGES) == 26
    assert store.count(KEPT) == 3, "how its calibration images look"
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


def scores_from_scratch(store: VectorStore, entry: CatalogEntry) -> list[float]:
    """Of the revision's calibration images against its bank, from the files, by brute force."""
    bank = np.stack([embedding_of(image.path) for image in by_split(store, entry, "bank")])
    judges = by_split(store, entry, "calibration")
    nearest = [np.sort(cosine_distances(embedding_of(i.path), bank))[:NEIGHBORS] for i in judges]
    return sorted(float(found.mean()) for found in nearest)


def add(store: VectorStore, paths: list[Path], **options: Any) -> Change:
    now = find_entry(store, "grid")
    return add_images(
        paths,
        store=store,
        entry=now,
        backbone=FakeImageLevel(),
        calibrator=ConformalCalibrator.of(now),
        **options,
    )


def remove(store: VectorStore, *ids: str) -> Change:
    now = find_entry(store, "grid")
    return remove_images(ids, store=store, entry=now, calibrator=ConformalCalibrator.of(now))


def quarantine(store: VectorStore, key: str) -> Change:
    now = find_entry(store, "grid")
    return quarantine_image(key, store=store, entry=now, calibrator=ConformalCalibrator.of(now))


@pytest.fixture(scope="module")
def more(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Eight normal images that the learnt data set does not have."""
    folder = tmp_path_factory.mktemp("more")
    root = write_dataset(folder, "grid", train=8, test_normal=0, test_defective=0, size=128, seed=5)
    return sorted((root / "train/good").iterdir())


def test_calibration_after_every_change_is_that_of_the_bank_that_is_there(
    store: VectorStore, entry: CatalogEntry, more: list[Path]
) -> None:
    def check(after: str, bank: int, calibration: int) -> None:
        now = find_entry(store, "grid")
        assert now.calibration["scores"] == pytest.approx(scores_from_scratch(store, now), abs=1e-5)
        counts = now.counts
        assert (counts["bank_images"], counts["calibration_images"]) == (bank, calibration), after
        assert len(by_split(store, now, "bank")) == bank
        assert len(dict(read_kept(store, now, "looks"))) == calibration

    before = entry.calibration["scores"]
    change = add(store, more)
    check("adding", 19, 5)
    judge = by_split(store, change.entry, "calibration")[0].image_id
    remove(store, by_split(store, change.entry, "bank")[0].image_id, judge)
    check("removing", 18, 4)
    quarantine(store, by_split(store, find_entry(store, "grid"), "bank")[0].image_id)
    check("quarantine", 17, 4)
    rollback(1, store=store, entry=find_entry(store, "grid"))
    check("going back", 13, 3)
    assert find_entry(store, "grid").calibration["scores"] == pytest.approx(before)
    actions = [old.action for old in read_history(store, find_entry(store, "grid"))]
    assert actions == [
        "learnt grid",
        "added 8 normal images",
        "removed 2 images",
        "quarantined 1 image",
        "back to revision 1",
    ]


def test_image_that_left_is_never_a_neighbour_again_and_one_that_joined_is(
    store: VectorStore, entry: CatalogEntry, more: list[Path]
) -> None:
    inspector = Inspector(store, "grid", network=FakeImageLevel())
    gone = inspector.inspect(more[0]).evidence.image_id
    for leave in (quarantine, remove):
        leave(store, gone)
        found = inspector.inspect(more[0])
        assert found.evidence.image_id != gone
        assert found.revision == find_entry(store, "grid").revision
    joined = add(store, more)
    own = [image for image in by_split(store, joined.entry, "bank") if Path(image.path) in more]
    for image in own:
        assert inspector.inspect(image.path).evidence.image_id == image.image_id


def test_reader_sees_the_revision_before_until_the_next_is_committed(
    store: VectorStore, entry: CatalogEntry, more: list[Path], dataset: Path
) -> None:
    query = next(record.path for record in read_dataset(dataset) if record.split == "test")
    inspector = Inspector(store, "grid", network=FakeImageLevel())
    before = inspector.inspect(query).to_dict()
    seen: list[str] = []

    def look(write: str) -> None:
        seen.append(write)
        if not any(CATALOG in earlier for earlier in seen):
            assert inspector.inspect(query).to_dict() == before, write

    counting = cast(VectorStore, CountingStore(store, look))
    add(counting, more)
    assert f"upsert {IMAGES}" in seen
    seen.clear()
    before = inspector.inspect(query).to_dict()
    remove(counting, by_split(store, find_entry(store, "grid"), "bank")[0].image_id)
    assert f"set_payload {IMAGES}" in seen


def test_defective_image_joins_the_library_alone_with_its_score(
    store: VectorStore, entry: CatalogEntry, more: list[Path]
) -> None:
    expected = Inspector(store, "grid", network=FakeImageLevel()).inspect(more[0]).score
    change = add(store, more[:1], label="defective", defect_type="scratch")
    image = read_images(store, change.entry)[change.images[0]]
    assert (image.label, image.defect_type, image.split) == ("defective", "scratch", "test")
    assert image.score == pytest.approx(expected)
    assert change.entry.calibration["scores"] == pytest.approx(entry.calibration["scores"])


def test_health_knows_how_the_calibration_images_look(
    store: VectorStore, entry: CatalogEntry, dataset: Path
) -> None:
    inspector = Inspector(store, "grid", network=FakeImageLevel())
    watch = Watch(store, entry)
    for record in read_dataset(dataset)[:3]:
        watch.record(inspector.inspect(record.path))
    health = check_health(store, entry)
    assert (health.images, health.alarm) == (3, False)
    assert any(signal.name == "brightness" and signal.shift for signal in health.signals)


def test_category_that_kept_no_looks_lives_on_without_and_is_learnt_anew_when_asked(
    store: VectorStore, entry: CatalogEntry, dataset: Path, more: list[Path]
) -> None:
    store.delete_collection(KEPT)
    assert not check_health(store, entry).alarm
    add(store, more[:1])
    assert find_entry(store, "grid").calibration["scores"] == pytest.approx(
        scores_from_scratch(store, find_entry(store, "grid")), abs=1e-5
    )
    rollback(1, store=store, entry=find_entry(store, "grid"))
    store.delete_collection(KEPT)
    report = learn(store, dataset, FakeImageLevel())
    assert report.changed
    assert len(dict(read_kept(store, report.entry, "looks"))) == 3


def test_what_takes_patches_is_refused_in_one_line_and_nothing_changes(
    store: VectorStore, entry: CatalogEntry, dataset: Path, more: list[Path]
) -> None:
    inspector = Inspector(store, "grid", network=FakeImageLevel())
    calibrator = ConformalCalibrator.of(entry)
    refused: dict[str, Callable[[], object]] = {
        "a replay takes patches": lambda: replay_additions(inspector, more[:1]),
        "a made-up defect takes patches": lambda: imagine_defects(
            store=store, entry=entry, backbone=FakeImageLevel(), calibrator=calibrator
        ),
        "cross-conformal needs patch embeddings": lambda: build_index(
            read_dataset(dataset),
            category="other",
            backbone=FakeImageLevel(),
            store=store,
            calibrator=ConformalCalibrator(method="cross-conformal"),
        ),
        "at least 1 of its calibration images, 0 would be left": lambda: remove(
            store, *(image.image_id for image in by_split(store, entry, "calibration"))
        ),
    }
    for message, change in refused.items():
        with pytest.raises(VecspectError, match=message) as caught:
            change()
        assert "\n" not in str(caught.value)
    assert find_entry(store, "grid").revision == entry.revision
    assert len(by_split(store, entry, "calibration")) == 3
