from __future__ import annotations

from pathlib import Path

import pytest

from backbones.base import Backbone
from eval.speed import coreset as speed_coreset
from eval.speed.coreset import measure_coreset


def test_coreset_is_timed_beside_the_plain_loop_that_makes_the_same_picks(
    dataset: Path, network: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed_coreset, "PATCHES", 3000)
    timings, (result,) = measure_coreset(dataset, network, shares=(0.02,))
    assert [timing.method for timing in timings] == [
        "vecspect",
        "vecspect in 4 chunks",
        "plain loop, from its first 60 picks",
    ]
    assert result.same_picks == (60, 60)
    assert 0 < result.radius <= result.chunked_radius * 1.2
