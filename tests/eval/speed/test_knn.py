from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from backbones.base import Backbone
from eval.speed.knn import measure_knn


def test_knn_is_timed_beside_its_baselines_and_none_finds_a_nearer_neighbour(
    dataset: Path, network: Backbone
) -> None:
    timings, excess = measure_knn(
        dataset, network, sizes=(30, 200), dim=64, images=2, against_faiss=False
    )
    cases = {"784 queries, bank 30 x 64", "784 queries, bank 200 x 64"}
    assert {timing.case for timing in timings} == cases
    methods = {"vecspect", "numpy fp32", "torch.cdist", "bare fp32 matrix product"}
    assert {timing.method for timing in timings} == methods
    assert len(timings) == 2 * 4 * 2
    assert excess <= 1e-6


def test_a_neighbour_that_is_not_the_nearest_is_reported(
    dataset: Path, network: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "eval.speed.knn._vecspect", lambda queries, index: np.zeros(len(queries), dtype=np.int64)
    )
    _, excess = measure_knn(dataset, network, sizes=(200,), dim=64, images=1, against_faiss=False)
    assert excess > 0.01
