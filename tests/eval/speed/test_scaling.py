from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backbones.base import Backbone
from eval.speed import scaling as measuring
from eval.speed.learning import Learned
from eval.speed.scaling import BankCost, EngineCost, ImageCost, Scaling, measure_scaling
from eval.speed.scaling_report import crossing, fitted, scaling_page


def _made_up() -> Scaling:
    sizes = (1_000, 10_000, 100_000)
    return Scaling(
        cells=1024,
        dim=384,
        network_ms=10,
        banks=[BankCost(n, 1, n / 1000, n * 2000) for n in sizes],
        engine=[EngineCost(n, 1, 1, n * 3000, 99 * n**0.5, 0.99, 1.1, n**0.5, 5, 0) for n in sizes],
        learned=[
            Learned(n, 100 * n, {"embedding": n / 10, "coreset": n**2 / 1e4}, 400)
            for n in (10, 100, 1000)
        ],
        photos=[ImageCost(side, side**2 / 1e5, side**2 / 1e6) for side in (256, 1024)],
    )


def test_fit_recovers_a_power_law() -> None:
    assert fitted([10, 100, 1000], [5 * n**1.5 for n in (10, 100, 1000)]) == pytest.approx((1.5, 5))


def test_engine_takes_over_where_the_lines_cross() -> None:
    made_up = _made_up()
    cross = crossing(made_up)  # cross / 1000 = 100 * sqrt(cross)
    assert cross == pytest.approx(1e10)


def test_page_derives_the_plant_from_what_was_measured() -> None:
    page = scaling_page(_made_up(), "grid, compact", "vecspect speed grid --only scaling")
    assert "| search of one image | 102 ms | derived from the fit |" in page
    assert "| memory, one category in use | 195 MiB | derived |" in page
    assert "| int8 | 512 | 477 | 20 |" in page  # 384 + 2 * 16 * 4 bytes a point


def test_everything_is_measured_and_the_recheck_finds_the_exact_score(
    dataset: Path, network: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    learned = Learned(4, 10, {"coreset": 0.1}, 100)
    monkeypatch.setattr(measuring, "learn_alone", lambda job: learned)
    found = measure_scaling(
        dataset, network, Path("unused"), coreset=0.1, banks=(100, 400, 10**9), sides=(64, 96)
    )
    assert [bank.patches for bank in found.banks] == [100, 400]
    assert [cost.wrong for cost in found.engine] == [0, 0]
    assert all(cost.recall > 0.99 and cost.rechecked >= 1 for cost in found.engine)
    assert [photo.side for photo in found.photos] == [64, 96]


def test_recheck_corrects_distances_that_the_graph_got_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    exact = np.array([3.0, 5.0, 1.0, 4.0])
    monkeypatch.setattr(measuring, "_distance", lambda store, patch, exact: float(patch[0]))
    score, count = measuring._recheck(
        None,  # type: ignore[arg-type]  # the distances are given
        exact[:, None].astype(np.float32),
        np.array([9.0, 5.0, 8.0, 4.5], np.float32),
    )
    assert (score, count) == (5.0, 3)


def test_photo_of_each_size_is_read(network: Backbone, tmp_path: Path) -> None:
    Image.new("RGB", (50, 40)).save(tmp_path / "small.png")
    cost = measuring._photo(tmp_path / "small.png", 128, network, tmp_path)
    assert cost.side == 128
    assert cost.input_ms > 0
    with Image.open(tmp_path / "128.png") as written:
        assert written.size == (128, 128)
