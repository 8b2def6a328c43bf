from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from backbones.base import Backbone
from backbones.errors import VecspectError
from eval.baselines.external import client
from eval.baselines.external.client import Rival
from eval.baselines.external.worker import _PickClock
from eval.speed import coreset as speed_coreset
from eval.speed.coreset import measure_coreset
from eval.speed.knn import measure_knn
from ui.cli.commands.speed import run_speed


def test_knn_is_timed_beside_its_rivals_and_none_finds_a_nearer_neighbour(
    dataset: Path, network: Backbone
) -> None:
    timings, excess = measure_knn(
        dataset, network, sizes=(30, 200), dim=64, images=2, against_faiss=False
    )
    cases = {"784 queries, bank 30 x 64", "784 queries, bank 200 x 64"}
    assert {timing.case for timing in timings} == cases
    methods = {"vecspect", "numpy fp32", "torch.cdist", "fp32 matrix product alone"}
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


def test_word_that_is_not_known_is_named(tmp_path: Path) -> None:
    for only, against in (("speed", []), ("knn", ["sklearn"])):
        with pytest.raises(VecspectError, match=r"expected one of .*, got '(speed|sklearn)'"):
            run_speed(
                only,
                tmp_path,
                "compact",
                tmp_path,
                images=1,
                against=against,
                out=tmp_path,
                coreset=0.1,
                precision=None,
            )


def test_missing_rivals_are_named_with_the_command_that_makes_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(client, "PYTHON", tmp_path / "python")
    with pytest.raises(VecspectError, match="make compare-env"):
        Rival()


def test_rival_that_fails_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PYTHON", Path(sys.executable))
    with (
        Rival() as rival,
        pytest.raises(VecspectError, match=r"failed on faiss_load: .*missing\.npy|.*faiss"),
    ):
        rival.ask("faiss_load", bank="missing.npy")


def test_picks_not_made_are_derived_from_the_time_of_those_made() -> None:
    class Sampler:
        coreset_size = 0

        def __init__(self, embedding: list[int], sampling_ratio: float) -> None:
            self.coreset_size = 999

        def get_new_idx(self) -> int:
            return 7

    clock = _PickClock(Sampler, 0.5, 3)
    with clock.installed():
        sampler = Sampler([0] * 40, 0.1)
        assert sampler.coreset_size == 3
        assert [sampler.get_new_idx() for _ in range(3)] == [7, 7, 7]
    clock._times = [10.0, 11.0, 12.0]
    assert clock.count == 20
    assert clock.seconds_of_the_rest == 17.0
    assert Sampler([0] * 40, 0.1).coreset_size == 999
