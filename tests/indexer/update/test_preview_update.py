"""A preview says what adding the same images then does, and writes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from backbones.base import Backbone
from backbones.pipeline import ImageFeatures, embed_images
from indexer.calibration.methods import read_calibration
from indexer.catalog.collections import read_bank, read_images
from indexer.store.base import VectorStore
from indexer.update.preview_update import preview_additions
from indexer.update.synthetic_defects import add_synthetic_defects
from tests.indexer.world import CountingStore, add, current


def features_of(network: Backbone, paths: Sequence[Path]) -> list[ImageFeatures]:
    found = list(embed_images(network, paths))
    assert all(isinstance(features, ImageFeatures) for features in found)
    return [features for features in found if isinstance(features, ImageFeatures)]


def test_preview_is_what_adding_the_images_does_and_writes_nothing(
    either: VectorStore, network: Backbone, more: list[Path]
) -> None:
    add_synthetic_defects(category=current(either), backbone=network)
    counting = CountingStore(either)
    before = current(counting)
    bank = read_bank(before)
    preview = preview_additions(features_of(network, more), category=before, bank=bank)
    assert counting.writes == []

    change = add(either, network, more)
    images = read_images(change.category)
    assert preview.roles == tuple(images[key].split for key in change.images)
    grown = read_bank(change.category)
    joined = grown.vectors[np.isin(grown.image_ids, change.images)]
    assert len(preview.vectors) == len(joined) == change.patches > 0
    assert {row.tobytes() for row in preview.vectors} == {row.tobytes() for row in joined}
    after = read_calibration(change.entry)
    assert preview.calibration.scores == pytest.approx(after.scores, rel=1e-3)
    assert preview.calibration.peaks == pytest.approx(after.peaks, rel=1e-3)
    assert preview.calibration.synthetic == pytest.approx(after.synthetic, rel=1e-3)
    assert preview.calibration.threshold == pytest.approx(after.threshold, rel=1e-3)
    assert preview.calibration.requested == after.requested


def test_image_that_would_only_calibrate_adds_its_score_and_no_patch(
    learnt: VectorStore, network: Backbone, more: list[Path]
) -> None:
    category = current(learnt)
    # as if it lacked all its calibration images: whoever comes calibrates
    lacking = category.with_entry(counts={**category.entry.counts, "calibration_images": 0})
    preview = preview_additions(
        features_of(network, more[:2]), category=lacking, bank=read_bank(category)
    )
    assert preview.roles == ("calibration", "calibration")
    assert preview.vectors.shape == (0, category.spec.dim)
    scores = read_calibration(category.entry).scores
    assert preview.calibration.n == len(scores) + 2
    assert set(scores) < set(preview.calibration.scores)
