from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from backbones.specs import find_spec
from indexer.bank.extension import BankExtension, CoveringExtension, OwnChoiceExtension
from indexer.bank.selection import OwnSelection
from indexer.catalog.entry import MemoryBank
from tests.indexer.world import an_entry

Float32 = NDArray[np.float32]

DIM = 6
SPEC = replace(find_spec("compact"), dim=DIM)
SETTINGS = {"coreset": 0.2, "holdout": 0.2, "seed": 0}


def image_of(seed: int) -> Float32:
    """Every image lies about a place of its own."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(4, 5, DIM)) + 5 * rng.normal(size=DIM)).astype(np.float32)


def bank_of(images: dict[str, Float32]) -> MemoryBank:
    selection = OwnSelection(an_entry(spec=SPEC, settings=SETTINGS))
    for key, patches in images.items():
        selection.take(key, patches)
    return selection.choose(lambda done, total: None).bank


def covering(bank: MemoryBank, radius: float) -> CoveringExtension:
    return CoveringExtension(an_entry(spec=SPEC, settings=SETTINGS, radius=radius), bank)


def own_choice(bank: MemoryBank) -> OwnChoiceExtension:
    return OwnChoiceExtension(an_entry(spec=SPEC, settings=SETTINGS, layout="leave-one-out"), bank)


def nearest(patches: Float32, vectors: Float32) -> Float32:
    apart = np.linalg.norm(patches.reshape(-1, 1, DIM) - vectors, axis=2)
    return np.asarray(apart.min(axis=1), np.float32)


def patches_of(bank: MemoryBank) -> set[bytes]:
    return {vector.tobytes() for vector in bank.vectors}


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 1000), st.floats(0.5, 6))
def test_every_patch_lies_within_the_radius_once_its_image_joined(seed: int, radius: float) -> None:
    bank = bank_of({"first": image_of(seed)})
    extension = covering(bank, radius)
    new = {f"new {i}": image_of(seed + i) for i in range(1, 4)}
    for key, patches in new.items():
        uncovered = nearest(patches, extension.bank.vectors) > radius * 1.0001
        joined = extension.take(key, patches)
        assert bool(len(joined)) == bool(uncovered.any())
        assert nearest(patches, extension.bank.vectors).max() <= radius * 1.0001
    for key, patches in new.items():
        assert not len(extension.take(f"{key} again", patches)), "all of it is covered by now"
    apart = nearest(extension.new.vectors, bank.vectors)
    assert (apart > radius * 0.9999).all(), "what the bank covered does not join"


@pytest.mark.parametrize("kind", ["covering", "own choice"])
def test_joined_patches_are_those_of_the_cells_they_name_and_follow_the_bank(kind: str) -> None:
    bank = bank_of({"first": image_of(0)})
    extension: BankExtension = covering(bank, 2.0) if kind == "covering" else own_choice(bank)
    images = {"second": image_of(1), "third": image_of(2)}
    joined = [extension.take(key, patches) for key, patches in images.items()]
    for key, some in zip(images, joined, strict=True):
        assert len(some)
        assert set(some.image_ids) == {key}
        rows, cols = some.cells.T
        np.testing.assert_array_equal(images[key][rows, cols], some.vectors)
    together = bank.extended(joined[0]).extended(joined[1])
    np.testing.assert_array_equal(extension.bank.vectors, together.vectors)
    np.testing.assert_array_equal(extension.bank.image_ids, together.image_ids)
    assert len(extension.new) == sum(map(len, joined))


def test_own_choice_is_that_of_learning_all_together_in_whatever_order() -> None:
    images = {f"image {i}": image_of(i) for i in range(4)}
    first, *others = images
    expected = patches_of(bank_of(images))
    for order in permutations(others):
        extension = own_choice(bank_of({first: images[first]}))
        for key in order:
            extension.take(key, images[key])
        assert patches_of(extension.bank) == expected


def test_near_duplicate_brings_nothing_and_does_so_of_an_image_that_has_just_joined() -> None:
    first, second = image_of(0), image_of(1)
    extension = own_choice(bank_of({"first": first}))
    assert len(extension.take("second", second))
    noise = 1e-3 * np.random.default_rng(2).normal(size=second.shape).astype(np.float32)
    assert not len(extension.take("second again", second + noise))
    assert not len(extension.take("first again", first + noise))


def test_patches_of_two_images_together_do_not_make_a_near_duplicate() -> None:
    first, second = image_of(0), image_of(1)
    half_and_half = np.concatenate([first[:2], second[2:]])
    extension = own_choice(bank_of({"first": first, "second": second}))
    assert len(extension.take("half and half", half_and_half))
