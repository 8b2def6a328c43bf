from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from indexer.bank.leave_one_out import choose_own_patches, leave_one_out_distances
from indexer.catalog.entry import MemoryBank

Float32 = NDArray[np.float32]


def world(images: int) -> tuple[MemoryBank, dict[str, Float32]]:
    """Images of 3 x 4 patches, each with five patches in the bank."""
    rng = np.random.default_rng(images)
    patches = {f"{i:02}": rng.normal(size=(3, 4, 6)).astype(np.float32) for i in range(images)}
    vectors = np.concatenate([array.reshape(-1, 6)[:5] for array in patches.values()])
    owners = np.repeat(list(patches), 5).astype(np.str_)
    return MemoryBank(vectors, owners, np.zeros((len(vectors), 2), np.int32)), patches


def distances(
    bank: MemoryBank, patches: dict[str, Float32], groups: dict[str, str]
) -> dict[str, Float32]:
    def read(ids: Sequence[str]) -> Iterator[tuple[str, Float32]]:
        return ((key, patches[key]) for key in ids)

    return dict(leave_one_out_distances(bank, list(patches), groups, read))


def plain(image: Float32, vectors: Float32) -> NDArray[np.float64]:
    apart = image[:, :, None].astype(np.float64) - vectors.astype(np.float64)
    return np.asarray(np.linalg.norm(apart, axis=3).min(axis=2))


@pytest.mark.parametrize("images", [2, 7, 40])
def test_leave_one_out_distance_is_that_to_the_nearest_patch_of_another_image(images: int) -> None:
    bank, patches = world(images)
    found = distances(bank, patches, {key: key for key in patches})
    assert list(found) == list(patches)
    for key, array in patches.items():
        expected = plain(array, bank.vectors[bank.image_ids != key])
        np.testing.assert_allclose(found[key], expected, rtol=1e-5)


@pytest.mark.parametrize(("images", "size"), [(6, 2), (7, 3), (40, 2), (60, 2)])
def test_images_of_a_group_are_left_out_together(images: int, size: int) -> None:
    """Neighbours by number are of different groups, so folds cut across them."""
    bank, patches = world(images)
    count = -(-images // size)
    groups = {key: f"group {int(key) % count}" for key in patches}
    found = distances(bank, patches, groups)
    assert found.keys() == patches.keys()
    owners = np.array([groups[str(key)] for key in bank.image_ids])
    for key, array in patches.items():
        expected = plain(array, bank.vectors[owners != groups[key]])
        np.testing.assert_allclose(found[key], expected, rtol=1e-5)


def test_group_without_any_other_lies_infinitely_far() -> None:
    bank, patches = world(3)
    found = distances(bank, patches, dict.fromkeys(patches, "one"))
    assert all(np.isinf(array).all() for array in found.values())


def test_image_chooses_its_share_of_patches_and_the_same_ones_each_time() -> None:
    patches = world(1)[1]["00"]
    for share, count in ((0.01, 1), (0.25, 3), (1.0, 12)):
        settings = {"coreset": share, "seed": 3}
        first, again = (choose_own_patches(patches, settings) for _ in range(2))
        assert len(set(first.indices.tolist())) == count
        np.testing.assert_array_equal(first.indices, again.indices)
        flat = patches.reshape(-1, 6)
        covered = plain(patches, flat[first.indices]).max()
        assert first.radius == pytest.approx(covered, rel=1e-3, abs=1e-3)
