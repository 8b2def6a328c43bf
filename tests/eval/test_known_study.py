"""The study of the second score says what the product does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backbones.base import Backbone
from eval.known_study import _half_known, known_table, study_known_defects
from indexer.dataset import ImageRecord, read_dataset


def record(name: str, kind: str) -> ImageRecord:
    return ImageRecord(Path(name), "defective", kind, "test", None)


def test_a_part_seen_twice_is_never_on_both_sides() -> None:
    photos = [(light, 1000 * part + 20 * light) for part in range(9) for light in (1, 2)]
    defects = [record(f"exp{light}_num_{serial}.png", "crack") for light, serial in photos]
    for seed in range(5):
        known = _half_known(defects, seed)
        assert (known[::2] == known[1::2]).all()
        assert 0 < known.sum() < len(defects)


def test_the_second_score_only_adds_to_what_is_caught(network: Backbone, dataset: Path) -> None:
    row = study_known_defects(read_dataset(dataset), network, "grid", splits=3)
    assert row.recall_both >= row.recall
    assert row.false_reject_both >= row.false_reject
    assert (row.known + row.asked, row.normal, row.calibration_images) == (6, 4, 3)
    assert row.recall_both == pytest.approx(
        row.recall + (1 - row.recall) * row.missed_caught, abs=0.2
    )
    assert "| grid | `compact` |" in known_table([row])
    assert np.isfinite(row.missed_caught)
