"""Every page in its states, run without a browser: what it says and what its buttons do."""

from __future__ import annotations

import datetime
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from eval.benchmark.report import write_report
from eval.benchmark.run import run_benchmark
from indexer.store.open import open_store
from indexer.update.removal import remove_images
from search.monitoring.audit import level_image
from tests.ui.app.reading import GRID, button, session_of_process, texts
from ui.app.session import app_state

OpenPage = Callable[..., AppTest]


def defect(dataset: Path) -> Path:
    return min((dataset / "test").glob("[!g]*/*.png"))


def test_inspect_without_an_image_offers_the_defects_of_the_library(open_page: OpenPage) -> None:
    page = open_page("inspect", category="grid")
    assert "look at a defect that the library knows" in texts(page)


def test_inspect_shows_verdict_p_value_and_evidence_of_the_image_in_the_address(
    open_page: OpenPage, dataset: Path
) -> None:
    page = open_page("inspect", category="grid", image=str(defect(dataset)))
    prediction = session_of_process().inspect(GRID, defect(dataset))
    assert f"p = {prediction.p_value:.3g}" in texts(page)
    assert "Compared with" in texts(page)
    assert "Similar defects" in texts(page)


def test_inspect_takes_a_library_image_by_its_id(open_page: OpenPage, dataset: Path) -> None:
    open_page("inspect", category="grid")
    library = session_of_process().library(GRID).values()
    known = next(image for image in library if image.label == "defective")
    page = open_page("inspect", category="grid", image=known.image_id)
    assert Path(known.path).name in texts(page)


def test_inspect_does_not_show_a_file_outside_the_image_roots(
    open_page: OpenPage, dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.png"
    shutil.copy(defect(dataset), secret)
    page = open_page("inspect", category="grid", image=str(secret))
    assert "lies outside the folders this app may show" in texts(page)
    assert "p = " not in texts(page)


def test_a_link_inside_an_image_root_that_points_out_of_it_is_not_followed(
    open_page: OpenPage, dataset: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.png"
    shutil.copy(defect(dataset), secret)
    (tmp_path / "link.png").symlink_to(secret)
    page = open_page("inspect", category="grid", image=str(tmp_path / "link.png"))
    assert "p = " not in texts(page)


def test_inspect_explains_a_damaged_image_in_a_line(open_page: OpenPage, tmp_path: Path) -> None:
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    page = open_page("inspect", category="grid", image=str(tmp_path / "torn.png"))
    assert "torn.png" in texts(page)
    assert "damaged" in texts(page) or "no reader recognises" in texts(page)


def test_a_file_name_is_shown_as_it_is_and_never_as_markdown(
    open_page: OpenPage, dataset: Path, tmp_path: Path
) -> None:
    odd = tmp_path / "**bold** <b>x<b> [link](http).png"
    shutil.copy(defect(dataset), odd)
    page = open_page("inspect", category="grid", image=str(odd))
    raw = "\n".join(str(caption.value) for caption in page.caption)
    assert r"\*\*bold\*\* \<b\>x\<b\> \[link\]" in raw


def test_teaching_that_an_image_is_fine_shows_the_replay_and_can_be_undone(
    open_page: OpenPage, dataset: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new.png"
    shutil.copy(defect(dataset), new)
    new.write_bytes(new.read_bytes() + b"\0")  # other bytes, so that the library does not know it
    page = open_page("inspect", category="grid", image=str(new))
    before = session_of_process().entry(GRID)
    button(page, "This is fine").click().run()
    assert "Its verdict: **" in texts(page)
    assert "1 known defect would pass" in texts(page)
    button(page, "Teach it all the same").click().run()
    after = session_of_process().entry(GRID)
    assert after.revision == before.revision + 1
    assert f"Revision {after.revision} of grid" in texts(page)
    button(page, f"Undo revision {after.revision} of grid").click().run()
    assert not page.exception
    back = session_of_process().entry(GRID)
    assert back.revision == after.revision + 1
    assert back.counts == before.counts


def test_inspect_finds_images_like_the_region_chosen(open_page: OpenPage, dataset: Path) -> None:
    page = open_page("inspect", category="grid", image=str(defect(dataset)))
    page.segmented_control[0].set_value("region").run()
    assert not page.exception, page.exception
    assert "written before" not in texts(page)
    assert "The library has none" not in texts(page)


def test_an_image_that_the_library_has_is_changed_there(open_page: OpenPage, dataset: Path) -> None:
    page = open_page("inspect", category="grid", image=str(defect(dataset)))
    assert not [b for b in page.button if b.label == "This is fine"]


def test_teaching_a_defect_without_type_makes_it_one_to_name(
    open_page: OpenPage, dataset: Path, tmp_path: Path
) -> None:
    new = tmp_path / "new.png"
    new.write_bytes(defect(dataset).read_bytes() + b"\0")
    page = open_page("inspect", category="grid", image=str(new))
    button(page, "This is a defect").click().run()
    button(page, "Teach").click().run()
    library = session_of_process().library(GRID).values()
    assert [Path(i.path).name for i in library if i.label == "defective" and not i.defect_type] == [
        "new.png"
    ]


def test_library_filters_by_label_and_counts_what_is_left(open_page: OpenPage) -> None:
    page = open_page("library", category="grid")
    library = session_of_process().library(GRID).values()
    assert f"{len(library)} images" in texts(page)
    next(box for box in page.selectbox if box.label == "Label").set_value("defective").run()
    assert f"{sum(i.label == 'defective' for i in library)} images" in texts(page)


def test_library_finds_images_by_a_user_field(open_page: OpenPage) -> None:
    page = open_page("library", category="grid")
    next(t for t in page.text_input if t.label == "File name or field").set_value("line=3").run()
    assert "No image matches these filters" in texts(page)


def test_library_shows_what_was_added_since_a_day(open_page: OpenPage) -> None:
    page = open_page("library", category="grid")
    library = session_of_process().library(GRID)
    joined = datetime.date.fromisoformat(next(iter(library.values())).added_at[:10])
    page.date_input[0].set_value(joined).run()
    assert f"{len(library)} images" in texts(page)
    page.date_input[0].set_value(joined + datetime.timedelta(days=1)).run()
    assert "No image matches these filters" in texts(page)


def test_library_removes_the_image_in_the_address_and_undo_brings_it_back(
    open_page: OpenPage,
) -> None:
    open_page("library", category="grid")
    library = session_of_process().library(GRID)
    normal = next(key for key, image in library.items() if image.split == "bank")
    page = open_page("library", category="grid", image=normal)
    button(page, "Remove").click().run()
    assert normal not in session_of_process().library(GRID)
    button(page, "Undo revision 2 of grid").click().run()
    assert normal in session_of_process().library(GRID)


def test_library_quarantines_an_image(open_page: OpenPage) -> None:
    open_page("library", category="grid")
    library = session_of_process().library(GRID)
    normal = next(key for key, image in library.items() if image.split == "bank")
    page = open_page("library", category="grid", image=normal)
    button(page, "Quarantine").click().run()
    assert session_of_process().library(GRID)[normal].split == "quarantined"


@pytest.mark.parametrize("view", ["Unnamed defects", "Map", "Add"])
def test_other_views_of_the_library_open(open_page: OpenPage, view: str) -> None:
    page = open_page("library", category="grid", view=view)
    assert page.segmented_control[0].value == view


def test_calibration_says_what_the_images_support(open_page: OpenPage) -> None:
    page = open_page("calibration", category="grid")
    n = session_of_process().entry(GRID).counts["calibration_images"]
    assert f"{n} calibration images: they support no level below" in texts(page)
    assert "No image has been scored at this revision yet" in texts(page)
    alone = level_image(session_of_process().category(GRID))
    assert alone
    assert f"the next highest is {alone.next_score:.4g}" in texts(page)


def test_moving_a_level_and_applying_it_is_a_revision(open_page: OpenPage) -> None:
    page = open_page("calibration", category="grid")
    before = session_of_process().entry(GRID)
    assert not [b for b in page.button if b.label == "Apply"]
    page.select_slider[0].set_value(0.5).run()
    button(page, "Apply").click().run()
    after = session_of_process().entry(GRID)
    assert after.revision == before.revision + 1
    assert after.calibration["alpha_reject"] == pytest.approx(0.5)


def test_calibration_estimates_recall_on_made_up_defects(open_page: OpenPage) -> None:
    page = open_page("calibration", category="grid")
    button(page, "Estimate with synthetic defects").click().run()
    assert not page.exception, page.exception
    assert "synthetic defects each" in texts(page)


def test_calibration_shows_drift_of_what_was_scored(open_page: OpenPage, tmp_path: Path) -> None:
    open_page("calibration", category="grid")
    session = session_of_process()
    normal = next(i for i in session.library(GRID).values() if i.split == "test")
    picture = Image.open(normal.path)
    for number in range(3):
        brighter = picture.point(lambda value, add=number: min(255, value + add + 1))
        brighter.save(tmp_path / f"{number}.png")
        session.inspect(GRID, tmp_path / f"{number}.png")
    page = open_page("calibration", category="grid")
    assert "3 images at this revision" in texts(page)


def test_reports_without_a_benchmark_name_the_command(open_page: OpenPage) -> None:
    page = open_page("reports")
    assert page.code[0].value == "vecspect benchmark DATASET --out benchmark_out"


def test_reports_show_the_figures_of_a_benchmark(
    open_page: OpenPage, tmp_path: Path, dataset: Path
) -> None:
    result = run_benchmark([dataset], ["compact"], out=tmp_path / "b")
    write_report(result, tmp_path / "b")
    page = open_page("reports")
    shown = page.dataframe[0].value
    assert shown["image AUROC"][0] == pytest.approx(result.reports[0].image_auroc)


def test_a_torn_benchmark_is_named_and_does_not_break_the_page(
    open_page: OpenPage, tmp_path: Path
) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "benchmark.json").write_text('{"reports": [')
    assert "/b: " in texts(open_page("reports"))


def test_system_lists_categories_revisions_and_collections(open_page: OpenPage) -> None:
    page = open_page("system")
    frames = [frame.value for frame in page.dataframe]
    assert list(frames[0]["category"]) == ["grid"]
    assert list(frames[1]["revision"]) == [1]
    assert "grid--compact--bank" in list(frames[2]["collection"])


def test_system_goes_back_to_an_earlier_revision(open_page: OpenPage) -> None:
    open_page("system")
    session = session_of_process()
    normal = next(key for key, i in session.library(GRID).items() if i.split == "bank")
    session.change(GRID, remove_images, [normal])
    page = open_page("system")
    button(page, "Go back").click().run()
    assert normal in session.library(GRID)


def test_system_learns_a_new_category_from_a_folder(
    open_page: OpenPage, dataset: Path, tmp_path: Path
) -> None:
    shutil.copytree(dataset / "train" / "good", tmp_path / "parts")
    page = open_page("system")
    next(t for t in page.text_input if t.label == "Name of the product").set_value("wire")
    next(t for t in page.text_input if t.key == "folder system").set_value(str(tmp_path / "parts"))
    page.run()
    button(page, "Learn").click().run()
    if job := app_state().jobs.get("learning"):
        job.wait(60)
    assert "wire" in [entry.category for entry in session_of_process().entries()]
    assert "wire" in texts(open_page("system"))


def test_system_does_not_learn_over_a_category_that_is_there(
    open_page: OpenPage, dataset: Path, tmp_path: Path
) -> None:
    shutil.copytree(dataset / "train" / "good", tmp_path / "parts")
    page = open_page("system")
    next(t for t in page.text_input if t.label == "Name of the product").set_value("grid")
    next(t for t in page.text_input if t.key == "folder system").set_value(str(tmp_path / "parts"))
    page.run()
    assert "There is such a category" in texts(page)
    assert not [b for b in page.button if b.label == "Learn"]


def test_a_store_held_by_another_process_is_explained_and_a_copy_can_be_looked_at(
    open_page: OpenPage,
) -> None:
    with open_store(app_state().settings.store):
        page = open_page("library", category="grid")
        assert "No store is open" in texts(page)
        assert "one process at a time" in texts(page)
        button(page, "Look at a copy, read only").click().run()
        assert not page.exception, page.exception
        assert "read only: nothing here can be taught" in texts(page)
        assert not [b for b in page.button if b.label == "Remove"]


def test_without_a_store_the_app_offers_the_demo(
    open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VECSPECT_STORE", "nothing_here")
    app_state.clear()
    page = open_page("inspect")
    assert "no store at nothing_here" in texts(page)
    assert button(page, "Make the demo")
    assert not Path("nothing_here").exists()


def test_a_demo_that_fails_says_why(open_page: OpenPage, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr("ui.cli.demo.run_demo", full)
    monkeypatch.setenv("VECSPECT_STORE", "nothing_here")
    app_state.clear()
    page = open_page("inspect")
    button(page, "Make the demo").click().run()
    if job := app_state().jobs.get("demo"):
        job.wait(10)
        page.run()
    assert "No space left on device" in texts(page)


def test_an_unknown_category_in_the_address_is_named(open_page: OpenPage) -> None:
    page = open_page("library", category="wood")
    assert "no category wood" in texts(page)
