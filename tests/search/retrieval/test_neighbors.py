from __future__ import annotations

from pathlib import Path

import pytest

from backbones.base import Backbone
from indexer.calibration.methods import CONFORMAL
from indexer.catalog.collections import read_images
from indexer.catalog.commits import find_category
from indexer.catalog.schema import DEFECT, images_collection
from indexer.data.dataset import read_dataset
from indexer.data.image_records import ImageRecord
from indexer.store.base import Range, VectorStore
from indexer.store.open import open_store
from indexer.update.labels import label_images
from search.inspector import Inspector
from search.retrieval.neighbors import conditions, scored_alike
from tests.indexer.world import learn


def defective(dataset: Path) -> list[ImageRecord]:
    return [r for r in read_dataset(dataset) if r.label == "defective"]


def test_each_defective_image_and_no_other_has_a_defect_embedding(learnt: VectorStore) -> None:
    grid = find_category(learnt, "grid")
    points = list(learnt.scroll(grid.images, grid.visible, with_vectors=True))
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


def test_stored_defect_embedding_is_that_of_the_query(
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
    grid = find_category(learnt, "grid")
    query, *others = [r.path for r in defective(dataset)]
    ids = {i.path: key for key, i in read_images(grid).items()}
    chosen = [ids[str(p.resolve())] for p in others[:2]]
    label_images(chosen, category=grid, backbone=lambda: network, fields={"line": "A"})
    inspector = Inspector(learnt, "grid", network=network)
    hits = inspector.similar(query, by="defect", top=50, where={"line": "A"})
    assert {h.image_id for h in hits} == set(chosen)
    assert all(h.fields == {"line": "A"} for h in hits)
    assert inspector.similar(query, where={"line": "B"}) == []


def test_other_categories_of_the_same_network_are_searched_on_request(
    network: Backbone, dataset: Path
) -> None:
    with open_store(":memory:") as store:
        for category in ("left", "right"):
            learn(store, dataset, network, category=category)
        inspector = Inspector(store, "left", network=network)
        query = defective(dataset)[0].path
        alone = inspector.similar(query, by="defect", top=50)
        both = inspector.similar(query, by="defect", top=50, across_categories=True)
    assert {h.category for h in alone} == {"left"}
    assert [h.category for h in both].count("right") == len(alone)
    assert str(query.resolve()) not in {h.path for h in both}


def test_of_a_rejected_image_other_rejects_come_first_and_then_the_nearest(
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
    images = read_images(inspector.category)
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


def test_of_a_label_asked_for_likeness_alone_decides(
    learnt: VectorStore, network: Backbone, dataset: Path
) -> None:
    inspector = Inspector(learnt, "grid", network=network)
    query = defective(dataset)[0].path
    for wanted in ({"label": "normal"}, {"label": "defective"}, {"defect_type": "bent"}):
        distances = [h.distance for h in inspector.similar(query, top=50, **wanted)]  # type: ignore[arg-type]
        assert distances == sorted(distances)


def test_how_much_two_images_deviate_is_compared_by_the_calibration_of_each_category() -> None:
    asked, other = (CONFORMAL.calibrate([k, 2 * k, 3 * k, 4 * k]) for k in (1, 10))
    assert scored_alike(2.5, asked, other)[1]["score"] == Range(lte=30)
    assert scored_alike(2.5, asked, asked)[1]["score"] == Range(lte=3)
    assert scored_alike(5, asked, other) == [{"split": "test", "score": Range(gt=40)}]


def label_one(store: VectorStore, **fields: str) -> None:
    grid = find_category(store, "grid")
    label_images(
        [next(iter(read_images(grid, {"label": "defective"})))],
        category=grid,
        backbone=lambda: pytest.fail("no network is needed"),
        fields=fields,
    )


def test_every_field_that_a_search_filters_on_is_indexed(learnt: VectorStore) -> None:
    label_one(learnt, line="3")
    wanted = conditions(without="x", label="normal", defect_type="hole", where={"line": "3"})
    grid = find_category(learnt, "grid")
    filtered = {*wanted, *grid.visible, "split", "score", "added_at"}
    indexes = learnt.payload_indexes(grid.images)
    assert filtered <= indexes.keys()
    assert (indexes["score"], indexes["added_at"]) == ("float", "datetime")


def test_graph_of_a_library_follows_every_change(
    learnt: VectorStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    optimized: list[str] = []
    monkeypatch.setattr(type(learnt), "optimize", lambda self, name: optimized.append(name))
    label_one(learnt, line="3")
    assert optimized == [images_collection("grid", "compact")]
