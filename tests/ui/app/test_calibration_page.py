"""The Calibration page: levels that constrain each other, and what they would say."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from streamlit.testing.v1 import AppTest

from backbones.base import Backbone
from indexer.calibration.base import Calibration, Levels
from indexer.calibration.methods import CalibrationSettings, read_calibration
from indexer.data.dataset import read_dataset
from indexer.learn.build import build_index
from search.monitoring.replay_levels import replay_levels, scored_images
from tests.ui.app.reading import GRID, button, session_of_process, texts
from ui.app.components.charts import scores_by_kind

OpenPage = Callable[..., AppTest]


def test_a_category_of_three_images_has_a_page(
    open_page: OpenPage, dataset: Path, network: Backbone, tmp_path: Path
) -> None:
    open_page("system")
    few = tmp_path / "few"
    few.mkdir()
    for path in sorted((dataset / "train" / "good").iterdir())[:3]:
        shutil.copy(path, few)
    store = session_of_process().store
    build_index(read_dataset(few), category="few", backbone=network, store=store)
    page = open_page("calibration", category="few")
    assert "1 calibration images: they support no level below 50 %" in texts(page)
    assert "1 % requires 98 more (about 490 more normal images)" in texts(page)
    assert "No labelled image beside the calibration images" in texts(page)


def test_a_reject_level_above_the_review_level_takes_it_along(open_page: OpenPage) -> None:
    page = open_page("calibration", category="grid")
    reject, review = page.select_slider
    assert (reject.value, review.value) == (0.25, 0.5)
    review.set_value(0.25).run()
    page.select_slider[0].set_value(0.5).run()
    assert [slider.value for slider in page.select_slider] == [0.5, 0.5]


def test_a_review_level_below_the_reject_level_takes_it_along(open_page: OpenPage) -> None:
    page = open_page("calibration", category="grid")
    page.select_slider[0].set_value(0.5).run()
    page.select_slider[1].set_value(0.25).run()
    assert [slider.value for slider in page.select_slider] == [0.25, 0.25]


def test_apply_is_offered_only_when_a_level_has_moved(open_page: OpenPage) -> None:
    page = open_page("calibration", category="grid")
    assert not [b for b in page.button if b.label == "Apply"]
    page.select_slider[0].set_value(0.5).run()
    assert button(page, "Apply")
    button(page, "Back to those in force").click().run()
    assert page.select_slider[0].value == 0.25
    assert not [b for b in page.button if b.label == "Apply"]


def test_moved_levels_show_the_counts_before_and_after_and_the_images_that_flip(
    open_page: OpenPage,
) -> None:
    page = open_page("calibration", category="grid")
    session = session_of_process()
    now = read_calibration(session.entry(GRID))
    assert not any("→" in str(cell) for cell in page.dataframe[0].value.to_numpy().ravel())
    page.select_slider[0].set_value(0.5).run()
    then = CalibrationSettings("conformal", level_of(0.5)).calibrate(now.scores)
    flips = replay_levels(scored_images(session.category(GRID)), now, then)
    assert flips
    assert f"Verdicts that would change: {len(flips)}" in texts(page)
    assert any("→" in str(cell) for cell in page.dataframe[0].value.to_numpy().ravel())


def test_the_histogram_has_a_row_for_normal_images_and_for_each_defect_type() -> None:
    now = calibration(0.25)
    kinds = {"normal, calibration": list(now.scores), "bent": [3.0, 3.5], "broken": [4.0]}
    chart = scores_by_kind(kinds, now, calibration(0.5)).to_dict()
    axis = chart["layer"][0]["encoding"]["y"]["axis"]
    assert '"broken (1)", "bent (2)", "normal, calibration (3)"' in axis["labelExpr"]
    rules = chart["layer"][1]["encoding"]["color"]["scale"]["domain"]
    assert rules == [
        "review above", "reject above", "review above, current", "reject above, current"
    ]  # fmt: skip
    assert "bent, broken" in chart["description"]


def level_of(reject: float) -> Levels:
    return Levels(reject, 0.5)


def calibration(reject: float) -> Calibration:
    return CalibrationSettings("conformal", level_of(reject)).calibrate([1.0, 1.5, 2.0])
