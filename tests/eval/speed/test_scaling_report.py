from __future__ import annotations

import pytest

from eval.speed.learning import Learned
from eval.speed.scaling import BankCost, EngineCost, ImageCost, Scaling
from eval.speed.scaling_report import crossing, fitted, scaling_page


def scaling() -> Scaling:
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
    found = scaling()
    cross = crossing(found)  # cross / 1000 = 100 * sqrt(cross)
    assert cross == pytest.approx(1e10)


def test_page_derives_the_plant_from_what_was_measured() -> None:
    page = scaling_page(scaling(), "grid, compact", "vecspect speed grid --only scaling")
    assert "| search of one image | 102 ms | derived from the fit |" in page
    assert "| memory, one category in use | 195 MiB | derived |" in page
    assert "| int8 | 512 | 477 | 20 |" in page  # 384 + 2 * 16 * 4 bytes a point
