"""What the app keeps between pages: uploads, batches, jobs, and which files it may show."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backbones.decode import LoadedImage, load_image
from backbones.errors import ImageError
from indexer.settings import load_settings
from search.inspector import Inspector
from search.monitoring.drift import check_health
from search.retrieval.neighbors import Neighbor
from ui.app.batch_job import begin, read_batches, work_off
from ui.app.images.pictures import thumbnail
from ui.app.images.uploads import MOST_BYTES, Uploads
from ui.app.jobs import Job, JobStopped
from ui.app.session import Desk, Key

GRID = Key("grid", "compact")


@pytest.fixture
def desk(app_settings: Path) -> Iterator[Desk]:
    opened = Desk(load_settings())
    yield opened
    opened.close()


def no_progress(stage: str, done: int, total: int) -> None:
    pass


def picture(dataset: Path) -> bytes:
    return min((dataset / "test").rglob("*.png")).read_bytes()


def test_an_upload_is_kept_under_its_name_whatever_the_name_tries(
    tmp_path: Path, dataset: Path
) -> None:
    uploads = Uploads(tmp_path / "uploads")
    for name in ("../../etc/passwd.png", "..", "a b<c>.png", ".hidden.png", "x" * 300 + ".png"):
        path = uploads.keep(name, picture(dataset))
        assert path.parent == uploads.folder
        assert not path.name.startswith(".")
    assert len(list(uploads.folder.iterdir())) == 5


def test_an_upload_is_judged_by_its_content_and_not_by_its_name(
    tmp_path: Path, dataset: Path
) -> None:
    uploads = Uploads(tmp_path / "uploads")
    assert uploads.keep("picture.html", picture(dataset)).suffix == ".png"
    with pytest.raises(ImageError):
        uploads.keep("picture.png", b"<html><script>alert(1)</script></html>")
    with pytest.raises(ImageError, match="at most 50 MiB"):
        uploads.keep("large.png", bytes(MOST_BYTES + 1))
    assert len(list(uploads.folder.iterdir())) == 1


def test_only_files_below_the_image_roots_or_uploads_are_served(
    desk: Desk, dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    inside = min((dataset / "test").rglob("*.png"))
    outside = tmp_path_factory.mktemp("elsewhere") / "a.png"
    outside.write_bytes(picture(dataset))
    assert desk.served(inside) == inside.resolve()
    assert desk.served(outside) is None
    assert desk.served(dataset / ".." / ".." / outside.relative_to(outside.parents[1])) is None
    assert desk.served(desk.uploads.keep("a.png", picture(dataset)))


def test_a_thumbnail_is_made_once_and_anew_when_the_file_changes(
    app_settings: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def load(path: Path, *, size_hint: int | None = None) -> LoadedImage:
        made.append(path)
        return load_image(path, size_hint=size_hint)

    monkeypatch.setattr("ui.app.images.pictures.load_image", load)
    file = app_settings / "a.png"
    file.write_bytes(picture(dataset))
    first = thumbnail(file)
    assert thumbnail(file) == first
    assert len(made) == 1
    file.write_bytes(max((dataset / "test").rglob("*.png")).read_bytes())
    assert thumbnail(file) != first


def test_a_batch_that_was_stopped_goes_on_where_it_was(desk: Desk, dataset: Path) -> None:
    paths = sorted((dataset / "test").rglob("*.png"))
    batch = begin(desk.settings.ui_folder / "batches", GRID, [*paths, Path("gone.png")])

    def stop(stage: str, done: int, total: int) -> None:
        if done >= 8:
            raise JobStopped

    with pytest.raises(JobStopped):
        work_off(desk, batch, stop)
    assert len(batch.results()) == 8
    file = batch.folder / "results.jsonl"
    file.write_text(file.read_text() + '{"path": "torn')  # as if the process had died
    (again,) = read_batches(desk.settings.ui_folder / "batches")
    assert again == batch
    assert work_off(desk, again, no_progress) == "11 images, 1 not readable"
    results = again.results()
    assert [r["path"] for r in results] == [*map(str, paths), "gone.png"]
    assert again.missing() == []


def test_a_batch_scores_as_the_inspector_does(desk: Desk, dataset: Path) -> None:
    paths = sorted((dataset / "test").rglob("*.png"))
    batch = begin(desk.settings.ui_folder / "batches", GRID, paths)
    work_off(desk, batch, no_progress)
    inspector = desk.inspector(GRID)
    expected = [json.loads(json.dumps(inspector.inspect(path).to_dict())) for path in paths]
    assert batch.results() == expected


def test_inspecting_library_images_does_not_count_for_health(desk: Desk, dataset: Path) -> None:
    known = min((dataset / "test").rglob("*.png"))
    desk.inspect(GRID, known)
    assert check_health(desk.store, desk.entry(GRID)).images == 0
    new = desk.uploads.keep("new.png", known.read_bytes() + b"\0")
    desk.inspect(GRID, new)
    desk.inspect(GRID, new)
    assert check_health(desk.store, desk.entry(GRID)).images == 1


def test_a_file_that_was_written_again_is_scored_again(
    desk: Desk, dataset: Path, app_settings: Path
) -> None:
    latest = app_settings / "latest.png"
    scores: list[float] = []
    for source in (min((dataset / "test").rglob("*.png")), max((dataset / "test").rglob("*.png"))):
        latest.write_bytes(source.read_bytes())
        os.utime(latest, ns=(len(scores), len(scores)))
        scores.append(desk.inspect(GRID, latest).score)
    assert scores[0] != scores[1]


def test_the_same_question_is_asked_once_a_revision(
    desk: Desk, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path | str] = []
    search = Inspector.similar

    def similar(self: Inspector, image: Path | str, **options: Any) -> list[Neighbor]:
        asked.append(image)
        return search(self, image, **options)

    monkeypatch.setattr(Inspector, "similar", similar)
    path = min((dataset / "test").rglob("*.png"))
    first = desk.similar(GRID, path, top=3, by="whole", label="normal")
    assert desk.similar(GRID, path, top=3, by="whole", label="normal") == first
    assert len(asked) == 1
    assert desk.similar(GRID, path, top=3, by="defect", label="defective") != first
    assert len(asked) == 2
    desk.teach(GRID, [desk.uploads.keep("new.png", path.read_bytes() + b"\0")], "normal")
    desk.similar(GRID, path, top=3, by="whole", label="normal")
    assert len(asked) == 3


def test_two_threads_may_inspect_and_change_at_once(desk: Desk, dataset: Path) -> None:
    paths = sorted((dataset / "test").rglob("*.png"))
    failures: list[BaseException] = []

    def score() -> None:
        try:
            for path in paths:
                desk.inspect(GRID, path)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=score)
    thread.start()
    new = desk.uploads.keep("new.png", paths[0].read_bytes() + b"\0")
    change = desk.teach(GRID, [new], "normal")
    thread.join(60)
    assert not failures
    assert change.entry.revision == 2


def test_a_copy_of_a_store_in_use_is_read_and_left_alone(desk: Desk, dataset: Path) -> None:
    copy = Desk(load_settings(), copied=True)
    try:
        assert copy.library(GRID) == desk.library(GRID)
        new = desk.uploads.keep("new.png", picture(dataset))
        assert copy.inspect(GRID, new).score == desk.inspect(GRID, new).score
        assert Path(copy.store.location) != Path(desk.store.location)
    finally:
        copy.close()


def test_a_job_tells_its_progress_and_ends_with_an_error_in_a_line() -> None:
    def work(on_progress: object) -> str:
        raise ImageError("torn.png:\nthe image is damaged")

    job = Job("work", work)
    job.wait(10)
    assert job.error == "torn.png: the image is damaged"
    assert not job.running


def test_a_stopped_job_ends_at_its_next_step() -> None:
    begun, go_on = threading.Event(), threading.Event()

    def work(on_progress: object) -> str:
        assert callable(on_progress)
        on_progress("first", 1, 3)
        begun.set()
        assert go_on.wait(10)
        on_progress("first", 2, 3)
        return "never"

    job = Job("work", work)
    assert begun.wait(10)
    assert (job.stage, job.done, job.total) == ("first", 1, 3)
    job.stop()
    go_on.set()
    job.wait(10)
    assert job.outcome == "stopped"
