from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexer.data.dataset import read_dataset
from indexer.data.image_records import DatasetError
from indexer.synthetic.dataset import write_dataset
from indexer.synthetic.defects import defect_types
from indexer.synthetic.textures import CATEGORIES


def write(folder: Path, category: str = "tile", *, seed: int = 0, train: int = 2) -> Path:
    return write_dataset(
        folder, category, train=train, test_normal=1, test_defective=4, size=64, seed=seed
    )


def contents(root: Path) -> dict[str, bytes]:
    paths = (path for path in root.rglob("*") if path.is_file())
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize("category", CATEGORIES)
def test_same_seed_writes_the_same_bytes(tmp_path: Path, category: str) -> None:
    first, second = write(tmp_path / "a", category), write(tmp_path / "b", category)
    assert contents(first) == contents(second)


@pytest.mark.parametrize("category", CATEGORIES)
def test_another_seed_changes_every_image(tmp_path: Path, category: str) -> None:
    first = contents(write(tmp_path / "a", category))
    second = contents(write(tmp_path / "b", category, seed=1))
    assert first.keys() == second.keys()
    assert all(first[name] != second[name] for name in first)


def test_no_two_images_are_alike(tmp_path: Path) -> None:
    written = contents(write(tmp_path))
    assert len(set(written.values())) == len(written)


def test_larger_dataset_begins_with_the_images_of_the_smaller(tmp_path: Path) -> None:
    small, large = contents(write(tmp_path / "a")), contents(write(tmp_path / "b", train=5))
    assert small.items() <= large.items()


def test_writing_again_changes_nothing(tmp_path: Path) -> None:
    before = contents(write(tmp_path))
    assert contents(write(tmp_path)) == before


def test_smaller_dataset_does_not_mix_with_a_larger_one(tmp_path: Path) -> None:
    write(tmp_path, train=5)
    with pytest.raises(DatasetError, match=r"already holds other images, such as .*002\.png"):
        write(tmp_path, train=2)


@pytest.mark.parametrize("category", CATEGORIES)
def test_tree_is_read_as_a_dataset_with_every_mask_paired(tmp_path: Path, category: str) -> None:
    root = write(tmp_path, category)
    assert root == tmp_path / category
    records = read_dataset(root)
    kinds = [(record.split, record.defect_type) for record in records]
    first, second, third = defect_types(category)
    assert sorted(kinds) == sorted(
        [("train", "")] * 2 + [("test", name) for name in ("", first, first, second, third)]
    )
    for record in records:
        assert (record.mask is not None) == (record.label == "defective")
        with Image.open(record.path) as image:
            assert (image.mode, image.size) == ("RGB", (64, 64))
        if record.mask:
            with Image.open(record.mask) as mask:
                assert (mask.mode, mask.size) == ("L", (64, 64))
                assert set(np.unique(np.asarray(mask)).tolist()) == {0, 255}


def test_unknown_category_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="Known: tile, leather, grid"):
        write(tmp_path, "wood")


def test_size_too_small_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="at least 64 pixels, got 63"):
        write_dataset(tmp_path, "tile", train=1, test_normal=0, test_defective=0, size=63)
