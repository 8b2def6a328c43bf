"""A category is calibrated again from its cached arrays as it would be from its image files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backbones.base import Backbone
from indexer.calibration.methods import read_calibration
from indexer.catalog.cached_arrays import read_cached
from indexer.catalog.collections import read_bank, read_images
from indexer.learn.recalibrate import lowered_distances, recalibrated
from indexer.store.base import VectorStore
from indexer.store.open import open_store
from tests.indexer.world import (
    add,
    by_split,
    current,
    distances_from_scratch,
    few,
    learn,
    quarantine,
    remove,
)


def test_calibration_after_every_change_is_that_of_the_bank_that_is_there(
    either: VectorStore, network: Backbone, more: list[Path]
) -> None:
    def check(after: str) -> None:
        category = current(either)
        scores = read_calibration(category.entry).scores
        expected = distances_from_scratch(either)
        assert scores == pytest.approx(sorted(d.max() for d in expected.values()), rel=2e-3), after
        for key, cached in read_cached(category, "distances"):
            np.testing.assert_allclose(cached, expected[key], rtol=2e-3, atol=2e-3, err_msg=after)
        assert len(scores) == category.entry.counts["calibration_images"]
        assert len(read_bank(category).vectors) == category.entry.counts["bank_patches"]

    check("learning")
    change = add(either, network, more)
    assert change.patches > 0
    check("adding")
    remove(either, change.images[0], by_split(current(either), "bank")[0].image_id)
    check("removing")
    quarantine(either, str(read_bank(current(either)).image_ids[0]))
    check("quarantine")


def test_category_that_nothing_happened_to_keeps_its_calibration(either: VectorStore) -> None:
    category = current(either)
    assert recalibrated(category) == category


def test_distances_that_new_patches_lower_are_told_and_no_others(either: VectorStore) -> None:
    """Against brute force; the new patches lie at one patch of one calibration image."""
    category = current(either)
    before = dict(read_cached(category, "distances"))
    patches = dict(read_cached(category, "patches", list(before)))
    key = min(before)
    new = patches[key][3:4, 5] + np.float32(1e-3)
    expected = {}
    for image_id, image in patches.items():
        to_new = np.linalg.norm(image.astype(np.float64) - new[0], axis=2)
        if (to_new < before[image_id]).any():
            expected[image_id] = np.minimum(to_new, before[image_id])
    found = lowered_distances(category, "patches", "distances", new)
    assert set(found) == set(expected)
    assert found[key][3, 5] < 0.1 * before[key][3, 5]
    for image_id, distances in found.items():
        np.testing.assert_allclose(distances, expected[image_id], rtol=1e-3, atol=1e-3)
    far = np.full_like(new, 1e3)
    assert lowered_distances(category, "patches", "distances", far) == {}
    assert lowered_distances(category, "synthetic", "synthetic distances", new) == {}


@pytest.mark.parametrize("method", ["conformal", "cross-conformal"])
def test_calibration_images_of_one_group_never_measure_each_other(
    network: Backbone, dataset: Path, method: str
) -> None:
    """Only where images calibrate that are in the bank does a group matter."""
    records = [replace(r, group=f"part {i // 2}") for i, r in enumerate(few(dataset)[:6])]
    with open_store(":memory:") as store:
        category = learn(store, records, network, method).category
        groups = {key: image.group for key, image in read_images(category).items()}
        bank = read_bank(category)
        owners = np.array([groups[str(key)] for key in bank.image_ids])
        measured = dict(read_cached(category, "distances"))
        patches = dict(read_cached(category, "patches", list(measured)))
        assert measured
        for key, distances in measured.items():
            others = bank.vectors[owners != groups[key]].astype(np.float64)
            flat = patches[key].reshape(-1, others.shape[1])
            nearest = np.array([np.linalg.norm(others - row, axis=1).min() for row in flat])
            np.testing.assert_allclose(distances.ravel(), nearest, rtol=2e-3, atol=2e-3)
