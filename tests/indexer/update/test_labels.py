from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from backbones.base import Backbone
from backbones.decode import HashedFile
from backbones.errors import ImageError
from indexer.catalog.category import Category
from indexer.catalog.collections import read_images
from indexer.catalog.entry import CategoryError, LibraryImage
from indexer.catalog.schema import DEFECT, WHOLE
from indexer.store.base import VectorStore
from indexer.update.change import Change
from indexer.update.labels import label_images
from indexer.update.rollback import rollback
from tests.indexer.world import IMAGES, current


def never() -> Backbone:
    raise AssertionError("no network is needed")


def label(store: VectorStore, ids: list[str], backbone: Any = never, **what: Any) -> Change:
    return label_images(ids, category=current(store), backbone=backbone, **what)


def images_of(category: Category, **wanted: str) -> list[LibraryImage]:
    images = read_images(category).values()
    return [i for i in images if all(getattr(i, n) == v for n, v in wanted.items())]


def test_several_images_get_type_and_fields_as_one_revision(learnt: VectorStore) -> None:
    before = current(learnt)
    a, b = [i.image_id for i in images_of(before, label="defective")[:2]]
    change = label(learnt, [a, b], defect_type="hole", fields={"line": "3", "batch": "x"})
    after = current(learnt)
    assert (after.entry.revision, set(change.images)) == (2, {a, b})
    assert after.entry.action == "labelled 2 images hole, line=3, batch=x"
    images = read_images(after)
    assert images[a].defect_type == images[b].defect_type == "hole"
    assert images[a].fields == {"line": "3", "batch": "x"}
    assert len(images) == len(read_images(before)), "no image doubles"
    label(learnt, [a], fields={"batch": ""})
    assert read_images(current(learnt))[a].fields == {"line": "3"}
    old = rollback(1, category=current(learnt))
    assert read_images(old)[a] == read_images(before)[a]


def test_labelling_keeps_the_embeddings(learnt: VectorStore) -> None:
    image = images_of(current(learnt), label="defective")[0]

    def vectors() -> dict[str, list[float]]:
        where = {**current(learnt).visible, "image_id": image.image_id}
        (point,) = learnt.scroll(IMAGES, where, with_vectors=True)
        return {name: row.tolist() for name, row in point.vectors.items()}

    before = vectors()
    label(learnt, [image.image_id], defect_type="hole")
    after = vectors()
    assert set(before) == {WHOLE, DEFECT}
    assert {n: pytest.approx(v, abs=1e-6) for n, v in before.items()} == after


def test_same_label_again_changes_nothing(learnt: VectorStore) -> None:
    image = images_of(current(learnt), label="defective")[0]
    change = label(learnt, [image.image_id], defect_type=image.defect_type)
    assert (change.images, current(learnt).entry.revision) == ((), 1)


def test_missed_defect_becomes_defective_with_what_deviates(
    learnt: VectorStore, network: Backbone
) -> None:
    missed = images_of(current(learnt), label="normal", split="test")[0]
    label(learnt, [missed.image_id], lambda: network, defect_type="stain")
    category = current(learnt)
    where = {**category.visible, "image_id": missed.image_id}
    (point,) = learnt.scroll(IMAGES, where, with_vectors=True)
    assert (point.payload["label"], point.payload["defect_type"]) == ("defective", "stain")
    assert DEFECT in point.vectors
    assert category.entry.counts["test_images"] == 10


def test_images_of_the_bank_and_the_calibration_are_not_named(learnt: VectorStore) -> None:
    category = current(learnt)
    for role in ("bank", "calibration"):
        image = images_of(category, split=role)[0]
        with pytest.raises(CategoryError, match=f"vecspect quarantine {image.image_id}"):
            label(learnt, [image.image_id], defect_type="hole")
    assert current(learnt).entry.revision == 1


def test_what_cannot_be_labelled_is_said_in_one_line(learnt: VectorStore) -> None:
    category = current(learnt)
    with pytest.raises(CategoryError, match="no image nobody in the library"):
        label(learnt, ["nobody"], defect_type="hole")
    image = images_of(category, label="defective")[0]
    with pytest.raises(CategoryError, match="'a b' is not a field name"):
        label(learnt, [image.image_id], fields={"a b": "1"})


def test_image_whose_file_is_gone_cannot_become_defective(
    learnt: VectorStore, network: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    missed = images_of(current(learnt), label="normal", split="test")[0]
    other = HashedFile(Path(missed.path), "of other bytes")
    monkeypatch.setattr("indexer.update.labels.hash_file", lambda path: other)
    with pytest.raises(ImageError, match="missing or has changed"):
        label(learnt, [missed.image_id], lambda: network, defect_type="stain")
    assert current(learnt).entry.revision == 1
