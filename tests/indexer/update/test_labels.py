from __future__ import annotations

from typing import Any

import pytest

from backbones.base import Backbone
from backbones.errors import ImageError
from indexer.catalog.collections import read_images
from indexer.catalog.commits import find_entry
from indexer.catalog.schema import (
    DEFECT,
    WHOLE,
    CatalogEntry,
    CategoryError,
    LibraryImage,
    images_collection,
    visible,
)
from indexer.store.base import VectorStore
from indexer.update.insertion import Change, rollback
from indexer.update.labels import label_images
from search.calibrator import ConformalCalibrator


def never() -> Backbone:
    raise AssertionError("no network is needed")


def label(store: VectorStore, ids: list[str], backbone: Any = never, **what: Any) -> Change:
    return label_images(
        ids,
        store=store,
        entry=find_entry(store, "grid"),
        calibrator=ConformalCalibrator(),
        backbone=backbone,
        **what,
    )


def images_of(store: VectorStore, entry: CatalogEntry, **wanted: str) -> list[LibraryImage]:
    images = read_images(store, entry).values()
    return [i for i in images if all(getattr(i, n) == v for n, v in wanted.items())]


def test_several_images_get_type_and_fields_as_one_revision(learnt: VectorStore) -> None:
    before = find_entry(learnt, "grid")
    a, b = [i.image_id for i in images_of(learnt, before, label="defective")[:2]]
    change = label(learnt, [a, b], defect_type="hole", fields={"line": "3", "batch": "x"})
    after = find_entry(learnt, "grid")
    assert (after.revision, set(change.images)) == (2, {a, b})
    assert after.action == "labelled 2 images hole, line=3, batch=x"
    images = read_images(learnt, after)
    assert images[a].defect_type == images[b].defect_type == "hole"
    assert images[a].fields == {"line": "3", "batch": "x"}
    assert len(images) == len(read_images(learnt, before)), "no image doubles"
    label(learnt, [a], fields={"batch": ""})
    assert read_images(learnt, find_entry(learnt, "grid"))[a].fields == {"line": "3"}
    old = rollback(1, store=learnt, entry=find_entry(learnt, "grid"))
    assert read_images(learnt, old)[a] == read_images(learnt, before)[a]


def test_labelling_keeps_the_embeddings(learnt: VectorStore) -> None:
    library = images_collection("grid", "compact")
    image = images_of(learnt, find_entry(learnt, "grid"), label="defective")[0]

    def vectors() -> dict[str, list[float]]:
        where = {**visible(find_entry(learnt, "grid")), "image_id": image.image_id}
        (point,) = learnt.scroll(library, where, with_vectors=True)
        return {name: row.tolist() for name, row in point.vectors.items()}

    before = vectors()
    label(learnt, [image.image_id], defect_type="hole")
    after = vectors()
    assert set(before) == {WHOLE, DEFECT}
    assert {n: pytest.approx(v, abs=1e-6) for n, v in before.items()} == after


def test_same_label_again_changes_nothing(learnt: VectorStore) -> None:
    image = images_of(learnt, find_entry(learnt, "grid"), label="defective")[0]
    change = label(learnt, [image.image_id], defect_type=image.defect_type)
    assert (change.images, find_entry(learnt, "grid").revision) == ((), 1)


def test_missed_defect_becomes_defective_with_what_deviates(
    learnt: VectorStore, network: Backbone
) -> None:
    missed = images_of(learnt, find_entry(learnt, "grid"), label="normal", split="test")[0]
    label(learnt, [missed.image_id], lambda: network, defect_type="stain")
    entry = find_entry(learnt, "grid")
    where = {**visible(entry), "image_id": missed.image_id}
    (point,) = learnt.scroll(images_collection("grid", "compact"), where, with_vectors=True)
    assert (point.payload["label"], point.payload["defect_type"]) == ("defective", "stain")
    assert DEFECT in point.vectors
    assert entry.counts["test_images"] == 10


def test_normal_images_that_judge_others_are_not_named(learnt: VectorStore) -> None:
    entry = find_entry(learnt, "grid")
    for role in ("bank", "calibration"):
        image = images_of(learnt, entry, split=role)[0]
        with pytest.raises(CategoryError, match=f"vecspect quarantine {image.image_id}"):
            label(learnt, [image.image_id], defect_type="hole")
    assert find_entry(learnt, "grid").revision == 1


def test_what_cannot_be_labelled_is_said_in_one_line(learnt: VectorStore) -> None:
    entry = find_entry(learnt, "grid")
    with pytest.raises(CategoryError, match="no image nobody in the library"):
        label(learnt, ["nobody"], defect_type="hole")
    image = images_of(learnt, entry, label="defective")[0]
    with pytest.raises(CategoryError, match="'a b' is not a field name"):
        label(learnt, [image.image_id], fields={"a b": "1"})


def test_image_whose_file_is_gone_cannot_become_defective(
    learnt: VectorStore, network: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    missed = images_of(learnt, find_entry(learnt, "grid"), label="normal", split="test")[0]
    monkeypatch.setattr("indexer.update.labels.sha256_of", lambda path: "of other bytes")
    with pytest.raises(ImageError, match="gone or changed"):
        label(learnt, [missed.image_id], lambda: network, defect_type="stain")
    assert find_entry(learnt, "grid").revision == 1
