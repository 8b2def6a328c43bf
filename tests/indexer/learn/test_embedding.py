"""What becomes of the images of each role, and of files that are none."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from backbones.base import Backbone
from backbones.errors import VecspectError
from indexer.catalog.collections import read_bank, read_images
from indexer.catalog.commits import read_catalog
from indexer.data.dataset import read_dataset
from indexer.data.image_records import DatasetError
from indexer.store.base import VectorStore
from indexer.store.open import open_store
from tests.indexer.world import current, learn


def test_held_out_and_test_images_are_stored_with_their_scores(learnt: VectorStore) -> None:
    category = current(learnt)
    library = read_images(category).values()
    assert all((image.score is None) == (image.split == "bank") for image in library)
    scores = sorted(i.score for i in library if i.split == "calibration" and i.score is not None)
    assert scores == pytest.approx(category.entry.calibration["scores"])


def test_defective_image_never_enters_the_bank_even_if_everything_is_kept(
    dataset: Path, network: Backbone
) -> None:
    records = read_dataset(dataset)
    chosen = [r for r in records if r.split == "train"][:4] + [r for r in records if r.defect_type]
    with open_store(":memory:") as store:
        category = learn(store, chosen, network, coreset=1).category
        library = read_images(category)
        assert sum(image.label == "defective" for image in library.values()) == 6
        assert {library[i].label for i in read_bank(category).image_ids} == {"normal"}


def test_files_that_cannot_be_used_are_named_with_a_reason_and_the_rest_is_learnt(
    store: VectorStore, own_dataset: Path, network: Backbone
) -> None:
    good = (own_dataset / "train/good/000.png").read_bytes()
    bad = {
        "train/good/truncated.png": good[: len(good) // 2],
        "train/good/empty.png": b"",
        "train/good/text.png": b"not a picture",
        "test/good/damaged.png": good[:100],
    }
    for name, content in bad.items():
        (own_dataset / name).write_bytes(content)
    (own_dataset / "train/good/missing.png").symlink_to(own_dataset / "nowhere")
    build = learn(store, own_dataset, network)
    assert {skipped.path for skipped in build.skipped} == {
        own_dataset / name for name in [*bad, "train/good/missing.png"]
    }
    assert all(s.reason and "\n" not in s.reason for s in build.skipped)
    assert len(build.skipped) == 5
    counts = build.entry.counts
    assert counts["bank_images"] + counts["calibration_images"] == 16
    assert counts["test_images"] == 10


def test_image_that_is_there_twice_is_named_and_learnt_once(
    store: VectorStore, own_dataset: Path, network: Backbone
) -> None:
    copy = own_dataset / "train/good/copy.png"
    shutil.copy(own_dataset / "train/good/000.png", copy)
    build = learn(store, own_dataset, network)
    assert build.duplicates == (copy,)
    assert len(read_images(build.category)) == 26


@pytest.mark.parametrize("seed", range(4))
def test_damaged_bank_or_calibration_images_alone_end_in_one_line_and_no_category(
    quick_store: VectorStore, own_dataset: Path, network: Backbone, seed: int
) -> None:
    (own_dataset / "train/good/001.png").write_bytes(b"damaged")
    two = [r for r in read_dataset(own_dataset) if r.path.stem in ("000", "001")][:2]
    with pytest.raises(VecspectError) as caught:
        learn(quick_store, two, network, seed=seed)
    assert "\n" not in str(caught.value)
    assert read_catalog(quick_store) == []


def test_data_set_of_damaged_images_only_is_refused_with_the_first_reason(
    quick_store: VectorStore, tmp_path: Path, network: Backbone
) -> None:
    folder = tmp_path / "damaged"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.png").write_bytes(b"damaged %d" % number)
    with pytest.raises(DatasetError, match=r"^none of the 2 normal .*\.png: .+") as caught:
        learn(quick_store, folder, network)
    assert "\n" not in str(caught.value)
    assert read_catalog(quick_store) == []
