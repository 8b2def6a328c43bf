"""What other levels would say of library images is what they then say."""

from __future__ import annotations

from pathlib import Path

import pytest

from backbones.base import Backbone
from indexer.calibration.base import Levels
from indexer.calibration.methods import CalibrationSettings, read_calibration
from indexer.catalog.commits import find_category
from indexer.store.base import VectorStore
from indexer.update.insertion import add_images
from indexer.update.levels import change_levels
from search.inspector import Inspector
from search.monitoring.replay_levels import (
    count_verdicts,
    replay_levels,
    scored_images,
    scores_by_kind,
)


def test_the_images_that_flip_are_those_whose_verdict_the_new_levels_change(
    learnt: VectorStore, network: Backbone
) -> None:
    category = find_category(learnt, "grid")
    now = read_calibration(category.entry)
    levels = Levels(0.5, 0.75)
    then = CalibrationSettings("conformal", levels).calibrate(now.scores, peaks=now.peaks)
    scored = scored_images(category)
    flips = replay_levels(scored, now, then)
    before = {item.image.image_id: now.verdict(item.score) for item in scored}
    after = read_calibration(change_levels(category, levels).entry)
    changed = {
        item.image.image_id
        for item in scored
        if after.verdict(item.score) != before[item.image.image_id]
    }
    assert changed
    assert {flip.scored.image.image_id for flip in flips} == changed
    assert all(flip.before != flip.after for flip in flips)
    assert not replay_levels(scored, now, now)


def test_verdicts_are_counted_by_kind_the_normal_ones_first(learnt: VectorStore) -> None:
    category = find_category(learnt, "grid")
    scored = scored_images(category)
    counted = count_verdicts(scores_by_kind(scored), read_calibration(category.entry))
    assert next(iter(counted)) == "normal"
    assert list(counted)[1:] == sorted(counted.keys() - {"normal"})
    assert sum(sum(verdicts.values()) for verdicts in counted.values()) == len(scored) == 10


def test_a_known_defect_taught_as_normal_has_the_score_of_the_memory_bank_it_is_in(
    learnt: VectorStore, network: Backbone, tmp_path: Path
) -> None:
    category = find_category(learnt, "grid")
    worst = max(scored_images(category), key=lambda item: item.score)
    copies = [tmp_path / f"{number}.png" for number in range(3)]
    for number, path in enumerate(copies):
        path.write_bytes(Path(worst.image.path).read_bytes() + bytes([number]))
    add_images(copies, category=category, backbone=network)
    inspector = Inspector(learnt, "grid", network=network)
    measured = {item.image.image_id: item.score for item in scored_images(inspector.category)}
    expected = inspector.inspect(Path(worst.image.path)).score
    assert expected < worst.score / 2
    assert measured[worst.image.image_id] == pytest.approx(expected, abs=1e-2)
