from __future__ import annotations

import csv
import math
import os
import time
from pathlib import Path

import pytest

from eval.pages import write_csv
from eval.speed.costs import (
    Timing,
    alternate,
    folder_bytes,
    in_fresh_process,
    markdown,
    milliseconds,
    peak_mib,
    plot,
    summarise,
)


def test_median_time_and_last_result_of_the_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.005, 1.0, 1.001, 2.0, 2.1])
    monkeypatch.setattr("eval.speed.costs.time.perf_counter", lambda: next(clock))
    results = iter("abc")
    took, last = milliseconds(lambda: next(results), 3)
    assert took == pytest.approx(5.0)
    assert last == "c"


def test_fresh_process_is_another_one_with_a_peak_of_its_own() -> None:
    assert in_fresh_process(os.getpid) != os.getpid()
    assert in_fresh_process(peak_mib) > 1


def test_folder_takes_what_its_files_take(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    assert folder_bytes(tmp_path) == 0
    (tmp_path / "below" / "file").write_bytes(bytes([7]) * 100_000)
    assert 100_000 <= folder_bytes(tmp_path) < 200_000


ROWS = [
    Timing("a", "vecspect", "1.png", 10.0),
    Timing("a", "rival", "1.png", 20.0),
    Timing("a", "vecspect", "2.png", 100.0),
    Timing("a", "rival", "2.png", 100.0),
    Timing("a", "vecspect", "3.png", 10.0),
    Timing("a", "rival", "3.png", 40.0),
    Timing("b", "decode", "1.png", 3.0),
]


def test_ratio_is_the_median_over_items_not_the_ratio_of_medians() -> None:
    ours, rival, alone = summarise(ROWS)
    assert (ours.median, rival.median) == (10.0, 40.0)
    assert (ours.ratio, rival.ratio) == (1.0, 2.0)
    assert rival.p95 == pytest.approx(94.0)
    assert alone.method == "decode"
    assert math.isnan(alone.ratio)


def test_table_shows_every_method_and_no_ratio_where_there_is_none() -> None:
    lines = markdown(list(summarise(ROWS))).splitlines()
    assert lines[3] == "| a | rival | 40.0 | 94.0 | 2.00 |"
    assert lines[4] == "| b | decode | 3.0 | 3.0 |  |"
    assert markdown(list(summarise(ROWS)), "s").splitlines()[3].startswith("| a | rival | 0.0 |")


def test_every_raw_row_is_written(tmp_path: Path) -> None:
    write_csv(ROWS, tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(newline="", encoding="utf-8") as stream:
        rows = [
            Timing(r["case"], r["method"], r["item"], float(r["milliseconds"]))
            for r in csv.DictReader(stream)
        ]
    assert rows == ROWS


def test_plot_is_a_picture(tmp_path: Path) -> None:
    plot(list(summarise(ROWS)), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_alternation_times_each_action_by_itself_and_returns_its_result() -> None:
    timings: list[Timing] = []

    def slow() -> int:
        time.sleep(0.03)
        return 1

    actions = {"slow": slow, "fast": lambda: 2}
    assert alternate("case", "item", actions, timings) == {"slow": 1, "fast": 2}
    assert [timing.method for timing in timings] == ["slow", "fast"]
    assert timings[0].milliseconds >= 30 > timings[1].milliseconds
