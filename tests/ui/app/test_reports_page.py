"""The Reports page: benchmarks where they lie, their pictures, and two of them side by side."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from eval.benchmark.comparison import Run
from eval.benchmark.results import BenchmarkResult, HeatmapRef
from tests.eval.benchmark.test_report import benchmark, report
from tests.ui.app.reading import session_of_process, texts
from ui.app.views.reports import _found, _picture

OpenPage = Callable[..., AppTest]


def write(result: BenchmarkResult, folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmark.json").write_text(json.dumps(result.to_dict()))
    return str(folder)


def test_a_benchmark_right_below_an_image_root_is_found(
    open_page: OpenPage, tmp_path: Path
) -> None:
    write(benchmark(report()), tmp_path)
    assert open_page("reports").multiselect[0].value == [str(tmp_path)]


def test_a_benchmark_three_folders_down_is_found_and_a_hidden_one_is_not(
    open_page: OpenPage, tmp_path: Path
) -> None:
    deep = write(benchmark(report()), tmp_path / "a" / "b" / "c")
    write(benchmark(report()), tmp_path / ".hidden")
    assert open_page("reports").multiselect[0].options == ["a/b/c"]
    assert deep


@pytest.mark.parametrize("ran_in", [".", "runs"])
def test_relative_paths_of_a_benchmark_show_pictures(
    open_page: OpenPage, tmp_path: Path, dataset: Path, ran_in: str
) -> None:
    open_page("system")
    image = min((dataset / "test").glob("*/*.png"))
    lies = tmp_path / ran_in / "data" / "test"
    lies.mkdir(parents=True)
    shutil.copy(image, lies / "a.png")
    run = Run(str(tmp_path / "runs" / "bench"), "", report())
    assert _found(session_of_process(), run, "data/test/a.png") == (lies / "a.png").resolve()
    assert _picture(session_of_process(), run, "data/test/a.png").startswith("data:image/jpeg")


def test_the_picture_that_a_benchmark_kept_stands_in_for_an_image_that_is_gone(
    open_page: OpenPage, tmp_path: Path, dataset: Path
) -> None:
    open_page("system")
    kept = tmp_path / "bench" / "pictures"
    kept.mkdir(parents=True)
    shutil.copy(min((dataset / "test").glob("*/*.png")), kept / "1.png")
    ref = HeatmapRef("gone/a.png", "defective", "crack", 3.0, "pictures/1.png", "best defect")
    run = Run(str(tmp_path / "bench"), "", report(heatmaps=(ref,)))
    assert _picture(session_of_process(), run, "gone/a.png").startswith("data:image")
    assert _picture(session_of_process(), run, "gone/b.png") == ""


def test_two_benchmarks_are_shown_side_by_side(open_page: OpenPage, tmp_path: Path) -> None:
    first = report(image_auroc=0.9)
    images = list(first.images)
    images[0] = replace(images[0], verdict="reject")
    later = replace(first, image_auroc=0.95, coreset=0.01, images=tuple(images))
    old = write(benchmark(first), tmp_path / "old")
    new = write(replace(benchmark(later), created_at="2026-11-23T06:30:00"), tmp_path / "new")
    page = open_page("reports", runs=f"{old}|{new}")
    frames = [frame.value for frame in page.dataframe]
    figures = next(frame for frame in frames if "change" in frame)
    row = figures[figures["figure"] == "image AUROC"].iloc[0]
    assert (row["old"], row["new "], row["change"]) == ("0.9000", "0.9500", "+0.0500")
    assert row["result"] == "▲ better"
    settings = next(frame for frame in frames if "setting" in frame)
    assert list(settings["setting"]) == ["made at", "coreset"]
    assert list(settings["new "]) == ["2026-11-23 06:30", "0.01"]
    assert "Images with another verdict: 1" in texts(page)
    assert "1 for the worse" in texts(page)


def test_the_runs_stay_in_the_address_and_each_has_a_curve_of_its_own(
    open_page: OpenPage, tmp_path: Path
) -> None:
    old, new = (write(benchmark(report()), tmp_path / name) for name in ("old", "new"))
    page = open_page("reports")
    page.multiselect[0].set_value([old, new]).run()
    address = page.query_params["runs"]
    assert (address if isinstance(address, str) else address[-1]) == f"{old}|{new}"
    curves = str([chart.proto for chart in page.get("vega_lite_chart")])
    assert "tile, compact, old" in curves
    assert "tile, compact, new" in curves


def test_benchmarks_without_a_common_category_say_so(open_page: OpenPage, tmp_path: Path) -> None:
    old = write(benchmark(report("tile")), tmp_path / "old")
    new = write(benchmark(report("grid")), tmp_path / "new")
    assert "no category in common" in texts(open_page("reports", runs=f"{old}|{new}"))
