"""How long work in stages still takes, told from what it reported."""

from __future__ import annotations

import pytest

from indexer.progress import Stage, TimeLeft

STAGES = {
    "embedding": Stage(3.9, "images"),
    "coreset": Stage(18.0, "patches"),
    "calibration": Stage(2.5, "images"),
    "library": Stage(2.0, "images"),
    "writing": Stage(2.4, "writing"),
}
# Seconds, stage, done, total: of learning 243 images of a grid on two cores.
REPORTS = (
    (0.03, "reading", 1, 321), (0.09, "reading", 321, 321),
    (1.16, "embedding", 1, 194), (2.03, "embedding", 50, 194), (3.2, "embedding", 120, 194),
    (4.56, "embedding", 194, 194),
    (5.1, "coreset", 4, 19866), (5.39, "coreset", 262, 19866), (5.98, "coreset", 1198, 19866),
    (6.89, "coreset", 2608, 19866), (8.31, "coreset", 5097, 19866),
    (10.13, "coreset", 8350, 19866), (12.57, "coreset", 12384, 19866),
    (15.32, "coreset", 17032, 19866), (17.44, "coreset", 19866, 19866),
    (17.71, "calibration", 1, 49), (18.8, "calibration", 25, 49), (19.98, "calibration", 49, 49),
    (20.17, "library", 1, 78), (21.0, "library", 40, 78), (21.87, "library", 78, 78),
    (21.89, "writing", 0, 19866),
)  # fmt: skip
END = 24.1


def test_the_time_left_is_right_within_a_factor_of_two_from_the_first_image_on() -> None:
    left = TimeLeft(STAGES)
    for seconds, stage, done, total in REPORTS:
        left.report(stage, done, total, seconds)
        told, truth = left.seconds(seconds), END - seconds
        if stage != "reading":
            assert told is not None
            assert truth / 2 < told < truth * 2, f"{stage} {done}: told {told:.1f} of {truth:.1f}"


def test_the_time_left_counts_down_while_a_stage_says_nothing() -> None:
    left = TimeLeft(STAGES)
    left.report("writing", 0, 19866, 0.0)
    assert left.seconds(0.0) == pytest.approx(2.4)
    assert left.seconds(1.0) == pytest.approx(1.4)
    assert left.seconds(9.0) == 0.0


def test_a_stage_that_begins_in_the_middle_goes_by_what_was_done_since() -> None:
    left = TimeLeft({})
    left.report("scoring", 900, 1000, 0.0)
    assert left.seconds(0.0) is None
    left.report("scoring", 910, 1000, 1.0)
    assert left.seconds(1.0) == pytest.approx(9.0)


def test_a_slow_network_lengthens_the_stages_to_come_that_run_it() -> None:
    left = TimeLeft({"embedding": Stage(1.0, "images"), "library": Stage(1.0, "images")})
    left.report("embedding", 0, 100, 0.0)
    left.report("embedding", 50, 100, 5.0)
    assert left.seconds(5.0) == pytest.approx(5.0 + 10.0)
