from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from backbones.base import Backbone
from indexer.calibration.base import CalibrationError, Levels
from indexer.calibration.methods import read_calibration
from indexer.catalog.collections import read_bank
from indexer.store.open import open_store
from indexer.update.levels import change_levels
from tests.indexer.calibration.strategies import calibrate
from tests.indexer.world import learn


def test_every_normal_image_is_in_the_bank_and_calibrates(network: Backbone, dataset: Path) -> None:
    with open_store(":memory:") as store:
        grid = learn(store, dataset, network, "cross-conformal").category
        calibration = read_calibration(grid.entry)
        assert grid.entry.counts["bank_images"] == calibration.n == 16
        assert len(set(read_bank(grid).image_ids)) == 16
        assert (calibration.bound, calibration.smallest_alpha) == (2, 1 / 17)
        with pytest.raises(CalibrationError, match="conformal needs a category learnt for it"):
            change_levels(grid, Levels(), method="conformal")
        changed = change_levels(grid, Levels(0.001), method="sigma")
        now = read_calibration(changed.entry)
        assert (now.method.name, now.bound, now.scores) == ("sigma", None, calibration.scores)


def _rejected(n: int, alpha: float, draws: int) -> float:
    """Share of fresh points rejected by leave-one-out: the score is the distance to the nearest."""
    rng = np.random.default_rng(1)
    rejected = 0
    for _ in range(draws):
        points = rng.normal(size=(n + 1, 3))
        apart = np.linalg.norm(points[:, None] - points[None], axis=2) + np.diag([np.inf] * (n + 1))
        scores = apart[:n, :n].min(axis=1)
        calibration = calibrate(
            scores.tolist(), reject=alpha, review=alpha, method="cross-conformal"
        )
        rejected += calibration.verdict(float(apart[n, :n].min())) == "reject"
    return rejected / draws


@pytest.mark.parametrize(("n", "alpha"), [(19, 0.05), (30, 0.1)])
def test_cross_conformal_false_rejects_stay_within_twice_alpha(n: int, alpha: float) -> None:
    draws = 1500
    error = 4 * math.sqrt(alpha / draws)
    assert _rejected(n, alpha, draws) <= 2 * alpha + error
