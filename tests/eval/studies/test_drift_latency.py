from __future__ import annotations

import numpy as np

from backbones.decode import QUALITY_STATISTICS
from eval.studies.drift_latency import _latency, _sample
from indexer.calibration.methods import CONFORMAL

RNG = np.random.default_rng(0)
CALIBRATION = CONFORMAL.calibrate(RNG.normal(5, 1, 99).tolist())
QUALITY = RNG.normal(0, 1, (99, len(QUALITY_STATISTICS))).astype(np.float32)


def lines(scores: list[float]) -> list[dict[str, object]]:
    quality = RNG.normal(0, 1, (len(scores), len(QUALITY_STATISTICS)))
    return [
        {
            "score": score,
            "verdict": "ok",
            "at": "",
            **dict(zip(QUALITY_STATISTICS, row.tolist(), strict=True)),
        }
        for score, row in zip(scores, quality, strict=True)
    ]


def test_change_of_the_scores_is_told_within_some_images() -> None:
    usual = lines(RNG.normal(5, 1, 200).tolist())
    text = _latency(CALIBRATION, QUALITY, usual, lines(RNG.normal(12, 1, 50).tolist()))
    assert text.startswith("median ")
    assert float(text.split()[1].rstrip(",")) < 30


def test_samples_are_numbered_from_the_first_and_repeat_with_the_seed() -> None:
    usual = lines([1.0, 2.0, 3.0])
    first, second = (_sample(usual, 5, np.random.default_rng(1), 10) for _ in range(2))
    assert first == second
    assert [line["number"] for line in first] == [10, 11, 12, 13, 14]
