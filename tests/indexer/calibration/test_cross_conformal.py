from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from backbones.base import Backbone, Float32
from indexer.bank.leave_one_out_distances import leave_one_out_distances
from indexer.calibration.base import Calibration, CalibrationError, best_f1_threshold, calibrate
from indexer.catalog.collections import read_bank
from indexer.catalog.schema import MemoryBank
from indexer.data.image_records import read_dataset
from indexer.learn.build import build_index
from indexer.store.open import open_store
from search.calibrator import ConformalCalibrator, change_levels


@pytest.mark.parametrize("images", [2, 7, 40])
def test_leave_one_out_distance_is_that_to_the_nearest_patch_of_another_image(images: int) -> None:
    rng = np.random.default_rng(images)
    patches = {f"{i:02}": rng.normal(size=(3, 4, 6)).astype(np.float32) for i in range(images)}
    vectors = np.concatenate([array.reshape(-1, 6)[:5] for array in patches.values()])
    owners = np.repeat(list(patches), 5).astype(np.str_)
    bank = MemoryBank(vectors, owners, np.zeros((len(vectors), 2), np.int32))

    def asked_for(ids: Sequence[str]) -> Iterator[tuple[str, Float32]]:
        return ((key, patches[key]) for key in ids)

    found = dict(leave_one_out_distances(bank, list(patches), asked_for))
    assert list(found) == list(patches)
    for key, array in patches.items():
        others = vectors[owners != key].astype(np.float64)
        plain = np.linalg.norm(array[:, :, None].astype(np.float64) - others, axis=3).min(axis=2)
        np.testing.assert_allclose(found[key], plain, rtol=1e-5)


def test_every_normal_image_is_in_the_bank_and_calibrates(network: Backbone, dataset: Path) -> None:
    with open_store(":memory:") as store:
        entry = build_index(
            read_dataset(dataset),
            category="grid",
            backbone=network,
            store=store,
            calibrator=ConformalCalibrator(method="cross-conformal"),
            coreset=0.02,
        ).entry
        calibration = Calibration.from_payload(entry.calibration)
        assert entry.counts["bank_images"] == calibration.n == 16
        assert len(set(read_bank(store, entry).image_ids)) == 16
        assert (calibration.bound, calibration.smallest_alpha) == (2, 1 / 17)
        with pytest.raises(CalibrationError, match="conformal takes a category learnt for it"):
            change_levels(store, entry, method="conformal")
        changed = change_levels(store, entry, method="sigma", alpha_reject=0.001)
        now = Calibration.from_payload(changed.calibration)
        assert (now.method, now.bound, now.scores) == ("sigma", None, calibration.scores)


def _rejected(n: int, alpha: float, draws: int) -> float:
    """Share of fresh points rejected by leave-one-out: the score is the distance to the nearest."""
    rng = np.random.default_rng(1)
    rejected = 0
    for _ in range(draws):
        points = rng.normal(size=(n + 1, 3))
        apart = np.linalg.norm(points[:, None] - points[None], axis=2) + np.diag([np.inf] * (n + 1))
        scores = apart[:n, :n].min(axis=1)
        calibration = calibrate(
            scores.tolist(), alpha_reject=alpha, alpha_review=alpha, method="cross-conformal"
        )
        rejected += calibration.verdict(float(apart[n, :n].min())) == "reject"
    return rejected / draws


@pytest.mark.parametrize(("n", "alpha"), [(19, 0.05), (30, 0.1)])
def test_cross_conformal_false_rejects_stay_within_twice_alpha(n: int, alpha: float) -> None:
    draws = 1500
    error = 4 * math.sqrt(alpha / draws)
    assert _rejected(n, alpha, draws) <= 2 * alpha + error


def test_sigma_p_value_is_the_normal_tail_and_takes_any_level() -> None:
    scores = np.random.default_rng(0).normal(5, 2, 4000).tolist()
    calibration = calibrate(scores, alpha_reject=0.001, alpha_review=0.02, method="sigma")
    assert calibration.p_value(9.0) == pytest.approx(0.0228, abs=0.004)
    assert calibration.threshold == pytest.approx(5 + 3.09 * 2, abs=0.2)
    assert calibration.verdict(calibration.threshold + 1e-6) == "reject"
    with pytest.raises(CalibrationError, match="sigma needs at least 2"):
        calibrate([1.0], method="sigma")


def test_best_f1_threshold_is_the_best_of_all_there_are() -> None:
    rng = np.random.default_rng(3)
    normal, defective = rng.normal(0, 1, 60), rng.normal(1.5, 1, 30)

    def f1(threshold: float) -> float:
        caught, rejected = (defective > threshold).mean(), (normal > threshold).mean()
        return float(2 * caught / (1 + caught + rejected))

    best = best_f1_threshold(normal.tolist(), defective.tolist())
    assert f1(best) == max(f1(t) for t in [-9.0, *normal, *defective])


def test_map_threshold_is_the_rank_of_the_peaks() -> None:
    calibration = calibrate([1.0, 2, 3], peaks=[5.0, 4, 6], alpha_reject=0.5)
    assert calibration.threshold == 2
    assert calibration.map_threshold == 5
