"""Image files as the app shows them, and uploaded ones: their names and what they hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from backbones.decode import LoadedImage, load_image
from backbones.errors import ImageError
from backbones.geometry import Size
from ui.app.pictures import Uploads, thumbnail
from ui.settings import MOST_UPLOADED


def picture(dataset: Path) -> bytes:
    return min((dataset / "test").rglob("*.png")).read_bytes()


def test_a_thumbnail_is_made_once_and_anew_when_the_file_changes(
    app_settings: Path, dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Path] = []

    def load(path: Path, *, size_hint: Size | None = None) -> LoadedImage:
        made.append(path)
        return load_image(path, size_hint=size_hint)

    monkeypatch.setattr("ui.app.pictures.load_image", load)
    file = app_settings / "a.png"
    file.write_bytes(picture(dataset))
    first = thumbnail(file)
    assert thumbnail(file) == first
    assert len(made) == 1
    file.write_bytes(max((dataset / "test").rglob("*.png")).read_bytes())
    assert thumbnail(file) != first


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
        uploads.keep("large.png", bytes(MOST_UPLOADED + 1))
    assert len(list(uploads.folder.iterdir())) == 1


def test_an_upload_that_cannot_be_kept_says_where_and_what_helps(
    tmp_path: Path, dataset: Path
) -> None:
    (tmp_path / "a file").write_text("")
    with pytest.raises(ImageError, match="set VECSPECT_UI_FOLDER"):
        Uploads(tmp_path / "a file").keep("part.png", picture(dataset))
