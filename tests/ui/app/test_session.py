"""What the app keeps between pages, and which files it may show."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from backbones.decode import ImageInput, LoadedImage, load_image
from search.inspector import Inspector
from search.monitoring.drift import check_drift
from search.retrieval.neighbors import Neighbor
from ui.app.session import Key, Session
from ui.settings import load_settings

GRID = Key("grid", "compact")


def picture(dataset: Path) -> bytes:
    return min((dataset / "test").rglob("*.png")).read_bytes()


def test_only_files_below_the_image_roots_or_uploads_are_served(
    session: Session, dataset: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    inside = min((dataset / "test").rglob("*.png"))
    outside = tmp_path_factory.mktemp("elsewhere") / "a.png"
    outside.write_bytes(picture(dataset))
    assert session.served(inside) == inside.resolve()
    assert session.served(outside) is None
    assert session.served(dataset / ".." / ".." / outside.relative_to(outside.parents[1])) is None
    assert session.served(session.uploads.keep("a.png", picture(dataset)))


def test_inspecting_library_images_does_not_count_for_health(
    session: Session, dataset: Path
) -> None:
    known = min((dataset / "test").rglob("*.png"))
    session.inspect(GRID, known)
    assert check_drift(session.category(GRID)).images == 0
    new = session.uploads.keep("new.png", known.read_bytes() + b"\0")
    session.inspect(GRID, new)
    session.inspect(GRID, new)
    assert check_drift(session.category(GRID)).images == 1


def test_a_file_that_was_written_again_is_scored_again(
    session: Session, dataset: Path, app_settings: Path
) -> None:
    latest = app_settings / "latest.png"
    scores: list[float] = []
    for source in (min((dataset / "test").rglob("*.png")), max((dataset / "test").rglob("*.png"))):
        latest.write_bytes(source.read_bytes())
        os.utime(latest, ns=(len(scores), len(scores)))
        scores.append(session.inspect(GRID, latest).score)
    assert scores[0] != scores[1]


def test_everything_a_page_asks_of_an_image_embeds_it_once(
    session: Session, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[ImageInput] = []

    def load(image: ImageInput, **options: Any) -> LoadedImage:
        read.append(image)
        return load_image(image, **options)

    path = session.uploads.keep("new.png", picture(dataset) + b"\0")
    other = max((dataset / "test").rglob("*.png"))
    monkeypatch.setattr("backbones.pipeline.load_image", load)
    prediction = session.inspect(GRID, path)
    for by, label in (("whole", "normal"), ("whole", "defective"), ("defect", "defective")):
        session.similar(GRID, path, top=3, by=by, label=label)  # type: ignore[arg-type]
    session.propose(path, GRID)
    session.replay(GRID, path, [other])
    session.replay(GRID, path, [other])
    assert session.known(GRID, prediction) is None
    assert read == [path, other]


def test_the_same_question_is_asked_once_a_revision(
    session: Session, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path | str] = []
    search = Inspector.similar

    def similar(self: Inspector, image: Path | str, **options: Any) -> list[Neighbor]:
        asked.append(image)
        return search(self, image, **options)

    monkeypatch.setattr(Inspector, "similar", similar)
    path = min((dataset / "test").rglob("*.png"))
    first = session.similar(GRID, path, top=3, by="whole", label="normal")
    assert session.similar(GRID, path, top=3, by="whole", label="normal") == first
    assert len(asked) == 1
    assert session.similar(GRID, path, top=3, by="defect", label="defective") != first
    assert len(asked) == 2
    session.teach(GRID, [session.uploads.keep("new.png", path.read_bytes() + b"\0")], "normal")
    session.similar(GRID, path, top=3, by="whole", label="normal")
    assert len(asked) == 3


def test_two_threads_may_inspect_and_change_at_once(session: Session, dataset: Path) -> None:
    paths = sorted((dataset / "test").rglob("*.png"))
    failures: list[BaseException] = []

    def score() -> None:
        try:
            for path in paths:
                session.inspect(GRID, path)
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=score)
    thread.start()
    new = session.uploads.keep("new.png", paths[0].read_bytes() + b"\0")
    change = session.teach(GRID, [new], "normal")
    thread.join(60)
    assert not failures
    assert change.entry.revision == 2


def test_a_copy_of_a_store_in_use_is_read_and_left_alone(session: Session, dataset: Path) -> None:
    copy = Session(load_settings(), copied=True)
    try:
        assert copy.library(GRID) == session.library(GRID)
        new = session.uploads.keep("new.png", picture(dataset))
        assert copy.inspect(GRID, new).score == session.inspect(GRID, new).score
        assert Path(copy.store.location) != Path(session.store.location)
    finally:
        copy.close()
