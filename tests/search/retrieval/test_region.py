"""Search by region finds the images whose stored patches are like those in a box, and where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbones.base import Backbone
from backbones.errors import ImageError
from backbones.geometry import Box
from backbones.pipeline import ImageFeatures, embed_images
from indexer.catalog.collections import read_bank, read_defect_patches, read_images
from indexer.catalog.commits import find_category
from indexer.catalog.counts import DEFECT_PATCHES
from indexer.data.dataset import read_dataset
from indexer.store.base import VectorStore
from indexer.update.change import Change
from indexer.update.insertion import add_images
from indexer.update.labels import label_images
from indexer.update.removal import quarantine_image, remove_images
from indexer.update.rollback import rollback
from search.inspector import Inspector
from search.retrieval.neighbors import Neighbor

BOX = Box(10, 20, 30, 24)


def defects(dataset: Path) -> list[Path]:
    return [r.path for r in read_dataset(dataset) if r.label == "defective"]


def search(store: VectorStore, network: Backbone, image: Path, box: Box = BOX) -> list[Neighbor]:
    """All that is found."""
    return Inspector(store, "grid", network=network).similar(image, by="region", box=box, top=99)


def add(store: VectorStore, network: Backbone, path: Path) -> Change:
    grid = find_category(store, "grid")
    return add_images([path], category=grid, backbone=network, label="defective")


def remove(store: VectorStore, key: str) -> Change:
    return remove_images([key], category=find_category(store, "grid"))


def id_of(store: VectorStore, path: Path) -> str:
    images = read_images(find_category(store, "grid"))
    return next(key for key, image in images.items() if image.path == str(path.resolve()))


def check_defect_patches(store: VectorStore) -> None:
    """The store has patches of the defective images and of no others, and counts them."""
    grid = find_category(store, "grid")
    stored = read_defect_patches(grid)
    defective = {k for k, i in read_images(grid).items() if i.label == "defective"}
    assert set(stored.image_ids) == defective
    assert grid.entry.counts[DEFECT_PATCHES] == len(stored.vectors)


def test_hits_are_those_of_plain_subtraction(
    learnt: VectorStore, network: Backbone, dataset: Path, tmp_path: Path
) -> None:
    """Distance and box of each image with stored patches, one of another shape among them."""
    query, other = defects(dataset)[:2]
    Image.open(other).resize((200, 90)).save(tmp_path / "wide.png")
    grid = add(learnt, network, tmp_path / "wide.png").category
    images = read_images(grid)
    (features,) = embed_images(network, [query])
    assert isinstance(features, ImageFeatures)
    # cells of 4 pixels: columns 2 to 9, rows 5 to 10
    region = features.patches[5:11, 2:10].reshape(-1, grid.spec.dim).astype(np.float64)
    expected = {}
    for stored in (read_bank(grid), read_defect_patches(grid)):
        for key in set(stored.image_ids) - {id_of(learnt, query)}:
            vectors = stored.vectors[stored.image_ids == key].astype(np.float64)
            distances = np.linalg.norm(region[:, None] - vectors[None], axis=2)
            cells = stored.cells[stored.image_ids == key][distances.argmin(axis=1)]
            across, down = images[key].width / 32, images[key].height / 32
            (top, left), (bottom, right) = cells.min(axis=0), cells.max(axis=0) + 1
            box = [left * across, top * down, right * across, bottom * down]
            expected[key] = distances.min(axis=1).mean(), box
    hits = search(learnt, network, query)
    assert [h.image_id for h in hits] == sorted(expected, key=lambda key: expected[key][0])
    for hit in hits:
        distance, edges = expected[hit.image_id]
        assert hit.distance == pytest.approx(distance, rel=1e-5)
        assert hit.box
        x, y, width, height = hit.box.as_list()
        assert [x, y, x + width, y + height] == pytest.approx(edges, abs=1)
    assert {h.label for h in hits} == {"normal", "defective"}
    assert {h.split for h in hits} == {"bank", "test"}


def test_worst_patch_of_a_defect_finds_its_image_at_its_place(
    learnt: VectorStore, network: Backbone, dataset: Path, tmp_path: Path
) -> None:
    """Asked with a copy, which has other bytes."""
    for number, path in enumerate(defects(dataset)):
        copy = tmp_path / f"{number}.png"
        copy.write_bytes(path.read_bytes() + b"\0")
        worst = Inspector(learnt, "grid", network=network).inspect(copy).evidence.query_box
        first = search(learnt, network, copy, worst)[0]
        assert (first.path, first.box) == (str(path.resolve()), worst)
        assert first.distance == pytest.approx(0, abs=1e-5)


def test_filters_narrow_what_is_found(
    learnt: VectorStore, network: Backbone, dataset: Path
) -> None:
    query, *others = defects(dataset)
    label_images(
        [id_of(learnt, path) for path in others[:2]],
        category=find_category(learnt, "grid"),
        backbone=lambda: network,
        defect_type="hole",
        fields={"line": "A"},
    )
    inspector = Inspector(learnt, "grid", network=network)

    def found(top: int = 99, **wanted: str | dict[str, str]) -> list[Neighbor]:
        return inspector.similar(query, by="region", box=BOX, top=top, **wanted)  # type: ignore[arg-type]

    everything = found()
    assert found(top=3) == everything[:3]
    for label in ("normal", "defective"):
        assert found(label=label) == [h for h in everything if h.label == label] != []
    of_type = found(defect_type="hole")
    assert (
        of_type == [h for h in everything if h.defect_type == "hole"] == found(where={"line": "A"})
    )
    assert len(of_type) == 2
    assert found(label="normal", defect_type="hole") == []


def test_defective_image_is_found_from_when_it_joins_until_it_leaves(
    learnt: VectorStore, network: Backbone, dataset: Path, tmp_path: Path
) -> None:
    query, other = defects(dataset)[:2]
    inspector = Inspector(learnt, "grid", network=network)
    before = inspector.similar(query, by="region", box=BOX, top=99)
    check_defect_patches(learnt)
    Image.open(other).rotate(90).save(tmp_path / "turned.png")
    (joined,) = add(learnt, network, tmp_path / "turned.png").images
    check_defect_patches(learnt)
    hits = inspector.similar(query, by="region", box=BOX, top=99)
    assert {h.image_id for h in hits} == {h.image_id for h in before} | {joined}
    remove(learnt, joined)
    check_defect_patches(learnt)
    assert inspector.similar(query, by="region", box=BOX, top=99) == before
    rollback(2, category=find_category(learnt, "grid"))
    check_defect_patches(learnt)
    assert search(learnt, network, query) == hits
    rollback(1, category=find_category(learnt, "grid"))
    check_defect_patches(learnt)
    assert search(learnt, network, query) == before


def test_missed_defect_is_found_once_it_is_labelled(
    learnt: VectorStore, network: Backbone, dataset: Path
) -> None:
    query = defects(dataset)[0]
    images = read_images(find_category(learnt, "grid"))
    missed = next(k for k, i in images.items() if (i.label, i.split) == ("normal", "test"))
    assert missed not in {h.image_id for h in search(learnt, network, query)}
    label_images(
        [missed],
        category=find_category(learnt, "grid"),
        backbone=lambda: network,
        defect_type="stain",
    )
    check_defect_patches(learnt)
    (hit,) = [h for h in search(learnt, network, query) if h.image_id == missed]
    assert (hit.label, hit.defect_type) == ("defective", "stain")


def test_quarantine_hides_a_normal_image_and_leaves_a_defective_one(
    learnt: VectorStore, network: Backbone, dataset: Path
) -> None:
    query = defects(dataset)[0]
    hits = search(learnt, network, query)
    for label, still_found in (("normal", False), ("defective", True)):
        key = next(h.image_id for h in hits if h.label == label)
        quarantine_image(key, category=find_category(learnt, "grid"))
        assert (key in {h.image_id for h in search(learnt, network, query)}) == still_found
    check_defect_patches(learnt)


def test_box_must_overlap_the_image(learnt: VectorStore, network: Backbone, dataset: Path) -> None:
    query = defects(dataset)[0]
    for box in (Box(128, 0, 10, 10), Box(0, -10, 10, 10), Box(5, 5, 0, 10)):
        with pytest.raises(ImageError, match="overlaps its 128 x 128 pixels, got"):
            search(learnt, network, query, box)
    assert search(learnt, network, query, Box(120, -5, 50, 6))


def test_box_goes_with_region_and_with_nothing_else(
    learnt: VectorStore, network: Backbone, dataset: Path
) -> None:
    inspector = Inspector(learnt, "grid", network=network)
    with pytest.raises(ValueError, match="a search by region needs a box"):
        inspector.similar(defects(dataset)[0], by="region")
    with pytest.raises(ValueError, match="a search by region needs a box"):
        inspector.similar(defects(dataset)[0], box=BOX)
