"""A batch that is scored in the background."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ui.app.batch_job import begin, read_batches, work_off
from ui.app.jobs import JobStopped
from ui.app.session import Key, Session

GRID = Key("grid", "compact")


def no_progress(stage: str, done: int, total: int) -> None:
    pass


def test_a_batch_that_was_stopped_goes_on_where_it_was(session: Session, dataset: Path) -> None:
    paths = sorted((dataset / "test").rglob("*.png"))
    batch = begin(session.settings.ui_folder / "batches", GRID, [*paths, Path("gone.png")])

    def stop(stage: str, done: int, total: int) -> None:
        if done >= 8:
            raise JobStopped

    with pytest.raises(JobStopped):
        work_off(session, batch, stop)
    assert len(batch.results()) == 8
    file = batch.folder / "results.jsonl"
    file.write_text(file.read_text() + '{"path": "torn')  # as if the process had died
    (again,) = read_batches(session.settings.ui_folder / "batches")
    assert again == batch
    assert work_off(session, again, no_progress) == "11 images, 1 not readable"
    results = again.results()
    assert [r["path"] for r in results] == [*map(str, paths), "gone.png"]
    assert again.missing() == []


def test_a_batch_scores_as_the_inspector_does(session: Session, dataset: Path) -> None:
    paths = sorted((dataset / "test").rglob("*.png"))
    batch = begin(session.settings.ui_folder / "batches", GRID, paths)
    work_off(session, batch, no_progress)
    inspector = session.inspector(GRID)
    expected = [json.loads(json.dumps(inspector.inspect(path).to_dict())) for path in paths]
    assert batch.results() == expected
