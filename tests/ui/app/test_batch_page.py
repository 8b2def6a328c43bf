"""The page Batch: which batch it shows, its counts, its table and its files."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

from streamlit.testing.v1 import AppTest

from tests.ui.app.reading import GRID, button, session_of_process, texts
from ui.app.batch_job import Batch, begin, read_batches, work_off
from ui.app.components.batch_results import as_csv
from ui.app.session import app_state

OpenPage = Callable[..., AppTest]


def done_batch(paths: list[Path]) -> Batch:
    session = session_of_process()
    batch = begin(session.settings.ui_folder / "batches", GRID, paths)
    work_off(session, batch, lambda stage, done, total: None)
    return batch


def counts(page: AppTest) -> dict[str, str]:
    return {metric.label: metric.value for metric in page.metric}


def test_batch_begins_empty_and_shows_results_with_their_counts(
    open_page: OpenPage, dataset: Path
) -> None:
    page = open_page("batch", category="grid")
    assert "Choose a folder or upload images" in texts(page)
    paths = sorted((dataset / "test").rglob("*.png"))
    batch = done_batch([*paths, Path("gone.png")])
    page = open_page("batch", category="grid")
    rejected = sum(r.get("verdict") == "reject" for r in batch.results())
    assert counts(page)["✕ reject"] == str(rejected)
    assert counts(page)["not readable"] == "1"


def test_unreadable_files_come_last_with_their_reason_on_the_page_and_in_the_csv(
    open_page: OpenPage, dataset: Path
) -> None:
    open_page("batch", category="grid")
    paths = sorted((dataset / "test").rglob("*.png"))
    batch = done_batch([Path("gone.png"), *paths])
    page = open_page("batch", category="grid")
    scored, unreadable = (frame.value for frame in page.dataframe)
    assert len(scored) == len(paths)
    assert not scored["p"].isna().any()
    assert list(unreadable["file"]) == ["gone.png"]
    assert "no such file" in unreadable["reason"][0]
    rows = list(csv.DictReader(io.StringIO(as_csv(batch.results()))))
    assert [row["path"] for row in rows] == ["gone.png", *map(str, paths)]
    assert "no such file" in rows[0]["error"]
    assert rows[1]["score"]
    assert not rows[1]["error"]


def test_filter_and_batch_are_in_the_address(open_page: OpenPage, dataset: Path) -> None:
    open_page("batch", category="grid")
    first = done_batch([*sorted((dataset / "test").rglob("*.png")), Path("gone.png")])
    done_batch([Path("gone.png")])
    page = open_page("batch", category="grid", batch=first.name, show="reject")
    assert counts(page)["not readable"] == "1"
    assert {v.split()[-1] for v in page.dataframe[0].value["verdict"]} == {"reject"}
    assert len(page.dataframe) == 1


def test_second_batch_shows_its_own_name_counts_and_table(
    open_page: OpenPage, dataset: Path
) -> None:
    open_page("batch", category="grid")
    first = done_batch([Path("gone.png")])
    page = open_page("batch", category="grid")
    assert counts(page)["not readable"] == "1"
    parts = next(t for t in page.text_input if t.key == "folder batch")
    parts.set_value(str(dataset / "test")).run()
    next(b for b in page.button if b.label.startswith("Score")).click().run()
    second = read_batches(session_of_process().settings.ui_folder / "batches")[0]
    assert second != first
    if job := app_state().jobs.get(f"batch {second.name}"):
        job.wait(60)
    page.run()
    page.run()
    assert next(box for box in page.selectbox if box.label == "Batch").value == second.name
    assert counts(page)["not readable"] == "0"
    assert len(page.dataframe[0].value) == len(second.paths)


def test_counts_move_while_a_batch_runs(open_page: OpenPage, dataset: Path) -> None:
    page = open_page("batch", category="grid")
    session = session_of_process()
    paths = sorted((dataset / "test").rglob("*.png"))
    batch = begin(session.settings.ui_folder / "batches", GRID, paths)
    held = HeldJob()
    app_state().jobs[f"batch {batch.name}"] = held  # type: ignore[assignment]
    page.run()
    assert sum(map(int, counts(page).values())) == 0
    work_off(session, batch, lambda stage, done, total: None)
    page.run()
    assert sum(map(int, counts(page).values())) == len(paths)
    del app_state().jobs[f"batch {batch.name}"]


class HeldJob:
    """A job that is at work for as long as a test wants."""

    running, stage, done, total, seconds_left = True, "scoring", 1, 3, 5.0

    def stop(self) -> None:
        raise AssertionError("nobody asked")


def test_report_is_made_in_the_background_and_then_downloaded(
    open_page: OpenPage, dataset: Path
) -> None:
    open_page("batch", category="grid")
    batch = done_batch([*sorted((dataset / "test").rglob("*.png")), Path("gone.png")])
    page = open_page("batch", category="grid")
    button(page, "Make the report").click().run()
    if job := app_state().jobs.get(f"report {batch.name}"):
        job.wait(60)
        assert not job.error
        page.run()
    page.run()
    assert not page.exception
    report = (batch.folder / "report.html").read_text(encoding="utf-8")
    assert "gone.png" in report
    assert not [b for b in page.button if b.label == "Make the report"]
