from __future__ import annotations

import numpy as np

from indexer.calibration.base import Calibration
from indexer.catalog.collections import read_images
from indexer.catalog.commits import find_entry
from indexer.store.base import VectorStore
from indexer.update.insertion import quarantine_image
from search.calibrator import ConformalCalibrator, change_levels
from search.monitoring.audit import level_image


def test_image_that_alone_sets_the_level_is_named_and_then_the_next(learnt: VectorStore) -> None:
    entry = find_entry(learnt, "grid")
    images = read_images(learnt, entry, {"split": "calibration"})
    scores = sorted(((i.score or 0, key) for key, i in images.items()), reverse=True)
    first = level_image(learnt, entry)
    assert first
    assert first.image_id == scores[0][1]
    assert np.isclose(first.score, Calibration.from_payload(entry.calibration).threshold)
    assert np.isclose(first.next_score, scores[1][0])
    calibrator = ConformalCalibrator.of(entry)
    after = quarantine_image(first.image_id, store=learnt, entry=entry, calibrator=calibrator).entry
    second = level_image(learnt, after)
    assert second
    assert second.image_id == scores[1][1]


def test_level_that_rests_on_several_images_is_nobodys(learnt: VectorStore) -> None:
    entry = find_entry(learnt, "grid")
    n = Calibration.from_payload(entry.calibration).n
    several = change_levels(learnt, entry, alpha_reject=2.5 / (n + 1), alpha_review=0.9)
    assert level_image(learnt, several) is None
    by_moments = change_levels(learnt, several, alpha_reject=0.01, method="sigma")
    assert level_image(learnt, by_moments) is None
