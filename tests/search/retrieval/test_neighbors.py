from __future__ import annotations

from pathlib import Path

import pytest

from backbones.base import Backbone
from indexer.calibration.base import calibrate
from indexer.catalog import collections
from indexer.catalog.collections import create_collections, read_images
from indexer.catalog.commits import find_entry
from indexer.catalog.schema import (
    DEFECT,
    LIBRARY_INDEXES,
    WHOLE,
    CategoryError,
    images_collection,
    visible,
)
from indexer.data.image_records import ImageRecord, read_dataset
from indexer.learn.build import build_index
from indexer.store.base import Range, VectorParams, VectorStore
from indexer.store.open import open_store
from indexer.update.labels import label_images
from search.calibrator import ConformalCalibrator
from search.inspector import Inspector
from search.retrieval.neighbors import conditions, deviating_alike
from tests.conftest import CORESET


def defective(dataset: Path) -> list[ImageRecord]:
    return [r for r in read_dataset(dataset) if r.label == "defective"]


def test_each_defective_image_and_no_other_keeps_what_deviates(learnt: VectorStore) -> None:
    entry = find_entry(learnt, "grid")
    library = images_collection("grid", "compact")
    points = list(learnt.scroll(library, visible(entry), with_vectors=True))
    with_defect = {p.payload["image_id"] for p in points if DEFECT in p.vectors}
    assert with_defect == {p.payload["image_id"] for p in points if p.payload["defect_type"]}
    assert len(with_defect) == 6


def test_by_defect_finds_defective_images_only_and_never_the_query(
    learnt: VectorStore, network: Backbone, dataset: Path
) -> None:
    inspector = Inspector(learnt, "grid", network=network)
    query = defective(dataset)[0]
    hits = inspector.similar(query.path, by="defect", top=50)
    assert len(hits) == 5
    assert {h.label for h in hits} == {"defective"}
    assert str(query.path.resolve()) not in {h.path for h in hits}
    assert [h.distance for h in hits] == sorted(h.distance for h in hits)
    assert {h.verdict for h in hits} <= {"ok", "review", "reject"}
    whole = inspector.similar(query.path, top=50)
    assert {h.label for h in whole} == {"normal", "defective"}
    bank = next(h for h in whole if h.split == "bank")
    assert bank.verdict is None


def test_stored_deviation_is_that_of_the_query_path(
    learnt: VectorStore, network: Backbone, dataset: Path, tmp_path: Path
) -> None:
    """A copy of a library image with other bytes lies at distance zero of it."""
    query = defective(dataset)[0].path
    copy = tmp_path / "copy.png"
    copy.write_bytes(query.read_bytes() + b"\0")
    first = Inspector(learnt, "grid", network=network).similar(copy, by="defect", top=1)[0]
    assert first.path == str(query.resolve())
    assert first.distance == pytest.approx(0, abs=1e-5)


def test_user_fields_filter(learnt: VectorStore, network: Backbone, dataset: Path) -> None:
    entry = find_entry(learnt, "grid")
    query, *others = [r.path for r in defective(dataset)]
    ids = {i.path: key for key, i in read_images(learnt, entry).items()}
    chosen = [ids[str(p.resolve())] for p in others[:2]]
    label_images(
        chosen,
        store=learnt,
        entry=entry,
        calibrator=ConformalCalibrator(),
        backbone=lambda: network,
        fields={"line": "A"},
    )
    inspector = Inspector(learnt, "grid", network=network)
    hits = inspector.similar(query, by="defect", top=50, where={"line": "A"})
    assert {h.image_id for h in hits} == set(chosen)
    assert all(h.fields == {"line": "A"} for h in hits)
    assert inspector.similar(query, where={"line": "B"}) == []


def test_rejects_are_told_whether_they_were_seen_before(
    learnt: VectorStore, network: Backbone, dataset: Path
) -> None:
    inspector = Inspector(learnt, "grid", network=network)
    told = [inspector.inspect(r.path) for r in read_dataset(dataset)[-6:]]
    for prediction in told:
        assert (prediction.seen_before is not None) == (prediction.verdict == "reject")
    rejected = next(p.seen_before for p in told if p.seen_before)
    assert rejected.nearest_type
    assert 0 < rejected.share < 1


def test_other_categories_of_the_same_network_are_searched_on_request(
    network: Backbone, dataset: Path
) -> None:
    with open_store(":memory:") as store:
        for category in ("left", "right"):
            build_index(
                read_dataset(dataset),
                category=category,
                backbone=network,
                store=store,
                calibrator=ConformalCalibrator(),
                coreset=CORESET,
            )
        inspector = Inspector(store, "left", network=network)
        query = defective(dataset)[0].path
        alone = inspector.similar(query, by="defect", top=50)
        both = inspector.similar(query, by="defect", top=50, across_categories=True)
    assert {h.category for h in alone} == {"left"}
    assert [h.category for h in both].count("right") == len(alone)
    assert str(query.resolve()) not in {h.path for h in both}


def test_library_of_an_older_store_says_what_to_do(
    learnt: VectorStore, network: Backbone, dataset: Path
) -> None:
    entry = find_entry(learnt, "grid")
    library = images_collection("grid", "compact")
    points = list(learnt.scroll(library, with_vectors=[WHOLE]))
    learnt.delete_collection(library)
    learnt.create_collection(library, {WHOLE: VectorParams(entry.spec.dim, "cosine", True)}, {})
    learnt.upsert(library, points)
    inspector = Inspector(learnt, "grid", network=network)
    query = defective(dataset)[0].path
    assert len(inspector.similar(query)) == 5
    assert inspector.inspect(query).seen_before is None
    with pytest.raises(CategoryError, match="Learn it again in a new store: vecspect index"):
        inspector.similar(query, by="defect")


def test_of_a_rejected_image_other_rejects_come_first_and_then_what_looks_alike(
    learnt: VectorStore, network: Backbone, dataset: Path
) -> None:
    inspector = Inspector(learnt, "grid", network=network)
    queries = [r.path for r in defective(dataset) if inspector.inspect(r.path).verdict == "reject"]
    assert len(queries) > 2
    for query in queries:
        hits = inspector.similar(query, top=50)
        rejected = [h.verdict == "reject" and h.split == "test" for h in hits]
        assert rejected == sorted(rejected, reverse=True)
        assert sum(rejected) >= len(queries) - 1
        for group in (True, False):
            distances = [h.distance for h, r in zip(hits, rejected, strict=True) if r == group]
            assert distances == sorted(distances)


def test_of_an_accepted_image_what_deviates_more_than_it_does_comes_last(
    learnt: VectorStore, network: Backbone, dataset: Path
) -> None:
    inspector = Inspector(learnt, "grid", network=network)
    images = read_images(learnt, inspector.entry)
    p_value = inspector.calibration.p_value
    for record in read_dataset(dataset):
        asked = inspector.inspect(record.path)
        if record.split == "test" and asked.verdict != "reject":
            hits = [images[h.image_id] for h in inspector.similar(record.path, top=50)]
            no_more = [
                h.split != "test" or (h.score is not None and p_value(h.score) >= asked.p_value)
                for h in hits
            ]
            assert no_more == sorted(no_more, reverse=True)
            assert 16 <= sum(no_more) < len(hits)  # all that was learnt from, and not the rejects


def test_of_a_label_asked_for_looks_alone_decide(
    learnt: VectorStore, network: Backbone, dataset: Path
) -> None:
    inspector = Inspector(learnt, "grid", network=network)
    query = defective(dataset)[0].path
    for wanted in ({"label": "normal"}, {"label": "defective"}, {"defect_type": "bent"}):
        distances = [h.distance for h in inspector.similar(query, top=50, **wanted)]  # type: ignore[arg-type]
        assert distances == sorted(distances)


def test_how_much_two_images_deviate_is_compared_by_the_calibration_of_each_category() -> None:
    asked, other = calibrate([1, 2, 3, 4]), calibrate([10, 20, 30, 40])
    assert deviating_alike(2.5, asked, other)[1]["score"] == Range(lte=30)
    assert deviating_alike(2.5, asked, asked)[1]["score"] == Range(lte=3)
    assert deviating_alike(5, asked, other) == [{"split": "test", "score": Range(gt=40)}]


def label_one(store: VectorStore, **fields: str) -> None:
    entry = find_entry(store, "grid")
    label_images(
        [next(iter(read_images(store, entry, {"label": "defective"})))],
        store=store,
        entry=entry,
        calibrator=ConformalCalibrator(),
        backbone=lambda: pytest.fail("no network is needed"),
        fields=fields,
    )


def test_every_field_that_a_search_filters_on_is_indexed(learnt: VectorStore) -> None:
    label_one(learnt, line="3")
    wanted = conditions(without="x", label="normal", defect_type="hole", where={"line": "3"})
    filtered = {*wanted, *visible(find_entry(learnt, "grid")), "split", "score", "added_at"}
    indexes = learnt.payload_indexes(images_collection("grid", "compact"))
    assert filtered <= indexes.keys()
    assert (indexes["score"], indexes["added_at"]) == ("float", "datetime")


@pytest.mark.parametrize("change", ["label", "index"])
def test_library_written_before_a_field_was_indexed_gets_the_index(
    learnt: VectorStore, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    entry = find_entry(learnt, "grid")
    library = images_collection("grid", "compact")
    points = list(learnt.scroll(library, with_vectors=True))
    learnt.delete_collection(library)
    with monkeypatch.context() as before:
        before.setattr(collections, "LIBRARY_INDEXES", {"label": "keyword"})
        create_collections(learnt, entry)
    learnt.upsert(library, points)
    assert learnt.payload_indexes(library).keys() == {"label"}
    if change == "index":
        create_collections(learnt, entry)
    else:
        label_one(learnt, line="3")
    assert LIBRARY_INDEXES.items() <= learnt.payload_indexes(library).items()


def test_graph_of_a_library_is_kept_up_with_every_change(
    learnt: VectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimized: list[str] = []
    monkeypatch.setattr(type(learnt), "optimize", lambda self, name: optimized.append(name))
    label_one(learnt, line="3")
    assert optimized == [images_collection("grid", "compact")]
