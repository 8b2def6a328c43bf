"""Synthetic defects on the calibration images: cached once, measured again by every change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backbones.base import Backbone, BackboneSpec
from backbones.errors import ImageError
from indexer.calibration.methods import read_calibration
from indexer.catalog.cached_arrays import read_cached
from indexer.catalog.collections import read_bank
from indexer.learn.recalibrate import recalibrated
from indexer.store.base import VectorStore
from indexer.synthetic.blending import KINDS
from indexer.update.rollback import rollback
from indexer.update.synthetic_defects import CELLS, add_synthetic_defects
from tests.indexer.world import CACHED, add, contents, current, remove, state


def distances_of_defects(store: VectorStore) -> dict[str, NDArray[np.float64]]:
    """(kinds, cells) by image id, all measured again in double precision."""
    category = current(store)
    bank = read_bank(category)
    found = {}
    for key, patches in read_cached(category, "synthetic"):
        others = bank.vectors[bank.image_ids != key].astype(np.float64)
        flat = patches.reshape(-1, patches.shape[-1]).astype(np.float64)
        squared = (flat**2).sum(1)[:, None] + (others**2).sum(1)[None] - 2 * flat @ others.T
        found[key] = np.sqrt(np.maximum(squared.min(axis=1), 0)).reshape(patches.shape[:-1])
    return found


def test_every_kind_of_defect_is_cached_of_each_calibration_image_and_scored(
    either: VectorStore, network: Backbone
) -> None:
    before = state(either)
    category = add_synthetic_defects(category=current(either), backbone=network)
    calibrating = dict(read_cached(category, "distances"))
    defects = dict(read_cached(category, "synthetic"))
    assert set(defects) == set(calibrating)
    assert {array.shape for array in defects.values()} == {(len(KINDS), CELLS, category.spec.dim)}
    expected = [
        max(row.max(), calibrating[key].max())
        for key, rows in distances_of_defects(either).items()
        for row in rows
    ]
    calibration = read_calibration(category.entry)
    assert calibration.synthetic == pytest.approx(sorted(expected), rel=2e-3)
    assert max(calibration.synthetic) > 1.5 * max(calibration.scores), "a defect stands out"
    assert category.entry.action == f"{len(calibrating) * len(KINDS)} synthetic defects"
    assert category.entry.build_key == before["entry"].build_key
    after = state(either)
    assert calibration.scores == read_calibration(before.pop("entry")).scores
    del after["entry"]
    assert after == before


def test_defects_are_the_same_ones_in_every_run(either: VectorStore, network: Backbone) -> None:
    def made() -> dict[str, bytes]:
        category = add_synthetic_defects(category=current(either), backbone=network)
        return {key: found.tobytes() for key, found in read_cached(category, "synthetic")}

    first = made()
    rollback(1, category=current(either))
    assert dict(read_cached(current(either), "synthetic")) == {}
    assert made() == first


def test_defects_added_again_take_the_place_of_the_first(
    learnt: VectorStore, network: Backbone
) -> None:
    first = add_synthetic_defects(category=current(learnt), backbone=network)
    again = add_synthetic_defects(category=first, backbone=network)
    for kind in ("synthetic", "synthetic distances"):
        count = learnt.count(CACHED, {**again.visible, "kind": kind})
        assert count == learnt.count(CACHED, {**first.visible, "kind": kind}) == 3
    assert read_calibration(again.entry) == read_calibration(first.entry)


def test_later_changes_measure_the_defects_again(
    either: VectorStore, network: Backbone, more: list[Path]
) -> None:
    def check() -> None:
        expected = distances_of_defects(either)
        found = dict(read_cached(current(either), "synthetic distances"))
        assert set(found) == set(expected)
        for key, distances in found.items():
            np.testing.assert_allclose(distances, expected[key], rtol=2e-3, atol=2e-3)
        assert recalibrated(current(either)) == current(either)

    made = add_synthetic_defects(category=current(either), backbone=network)
    add(either, network, more)
    check()
    gone = min(dict(read_cached(made, "synthetic")))
    remove(either, gone)
    assert gone not in dict(read_cached(current(either), "synthetic"))
    check()


def test_missing_image_file_is_named_and_nothing_changes(
    learnt: VectorStore, network: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(path: Path, spec: BackboneSpec) -> None:
        raise ImageError("no such file")

    monkeypatch.setattr("indexer.update.synthetic_defects.network_input", gone)
    before = contents(learnt)
    with pytest.raises(ImageError, match=r"\.png: no such file\. Synthetic defects need"):
        add_synthetic_defects(category=current(learnt), backbone=network)
    assert contents(learnt) == before
