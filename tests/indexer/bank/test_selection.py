from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from backbones.specs import find_spec
from indexer.bank.selection import (
    BankSelection,
    ChosenBank,
    NoSelection,
    OwnSelection,
    PooledSelection,
)
from tests.indexer.world import an_entry

Float32 = NDArray[np.float32]

SPEC = replace(find_spec("compact"), dim=5, input_size=(32, 48))
"""4 x 6 cells of 8 pixels."""


def images_of(count: int, seed: int) -> dict[str, Float32]:
    rng = np.random.default_rng(seed)
    rows, cols = SPEC.grid
    return {
        f"image {i}": rng.normal(size=(rows, cols, SPEC.dim)).astype(np.float32)
        for i in range(count)
    }


def chosen(selection: BankSelection, images: dict[str, Float32]) -> ChosenBank:
    for key, patches in images.items():
        selection.take(key, patches)
    return selection.choose(lambda done, total: None)


def nearest(patches: Float32, vectors: Float32) -> Float32:
    apart = np.linalg.norm(patches.reshape(-1, 1, SPEC.dim) - vectors, axis=2)
    return np.asarray(apart.min(axis=1), np.float32)


counts, seeds, coresets = st.integers(1, 6), st.integers(0, 100), st.sampled_from([0.05, 0.2, 1.0])


@settings(deadline=None, max_examples=30)
@given(counts, seeds, coresets)
def test_chosen_patches_are_those_of_the_cells_they_name(
    count: int, seed: int, coreset: float
) -> None:
    images = images_of(count, seed)
    entry = an_entry(spec=SPEC, settings={"coreset": coreset, "holdout": 0.2, "seed": 0})
    for selection in (PooledSelection(entry, count + 2), OwnSelection(entry)):
        bank = chosen(selection, images).bank
        for key, (row, col), vector in zip(bank.image_ids, bank.cells, bank.vectors, strict=True):
            np.testing.assert_array_equal(images[str(key)][row, col], vector)
        places = {(str(k), *c) for k, c in zip(bank.image_ids, bank.cells.tolist(), strict=True)}
        assert len(places) == len(bank), "no patch is chosen twice"


@settings(deadline=None, max_examples=30)
@given(counts, seeds, coresets)
def test_pooled_bank_has_its_share_and_covers_every_patch_within_the_radius(
    count: int, seed: int, coreset: float
) -> None:
    images = images_of(count, seed)
    entry = an_entry(spec=SPEC, settings={"coreset": coreset, "holdout": 0.2, "seed": 0})
    found = chosen(PooledSelection(entry, count), images)
    cells = SPEC.grid[0] * SPEC.grid[1]
    assert len(found.bank) == max(1, round(coreset * count * cells))
    farthest = max(nearest(patches, found.bank.vectors).max() for patches in images.values())
    assert farthest == pytest.approx(found.radius, rel=1e-3, abs=1e-3)


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 6), seeds)
def test_what_an_image_chooses_from_itself_does_not_depend_on_the_others(
    count: int, seed: int
) -> None:
    images = images_of(count, seed)
    entry = an_entry(spec=SPEC)
    together = chosen(OwnSelection(entry), images)
    radii = []
    for key, patches in images.items():
        alone = chosen(OwnSelection(entry), {key: patches})
        own = together.bank.select(together.bank.image_ids == key)
        np.testing.assert_array_equal(own.vectors, alone.bank.vectors)
        np.testing.assert_array_equal(own.cells, alone.bank.cells)
        assert nearest(patches, own.vectors).max() == pytest.approx(alone.radius, rel=1e-3)
        radii.append(alone.radius)
    assert together.radius == pytest.approx(np.median(radii))


def test_image_level_backbone_chooses_no_patch() -> None:
    found = chosen(NoSelection(SPEC.dim), images_of(2, 0))
    assert (found.bank.vectors.shape, found.radius) == ((0, SPEC.dim), 0.0)
