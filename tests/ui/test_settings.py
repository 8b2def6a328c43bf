"""Settings of the app beside those of the library: one file, one environment, one list of keys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from indexer.settings import Settings, SettingsError
from ui.settings import AppSettings, load_settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in and an environment without settings."""
    for name in [n for n in os.environ if n.upper().startswith(("VECSPECT_", "QDRANT_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_repository_file_is_known_whole_and_says_the_defaults(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    defaults = load_settings()
    monkeypatch.chdir(ROOT)
    assert load_settings() == defaults


def test_keys_of_the_app_stand_in_the_repository_file_beside_those_of_the_library() -> None:
    keys = set(yaml.safe_load((ROOT / "qdrant.yaml").read_text(encoding="utf-8")))
    assert {"image_roots", "ui_folder"} <= keys <= set(AppSettings.model_fields)
    assert keys & set(Settings.model_fields)


def test_key_of_the_app_comes_from_the_file_then_the_environment_then_the_flag(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "qdrant.yaml").write_text("image_roots: [file]\nui_folder: kept\n")
    assert load_settings().image_roots == [Path("file")]
    monkeypatch.setenv("VECSPECT_IMAGE_ROOTS", '["environment"]')
    assert load_settings().image_roots == [Path("environment")]
    assert load_settings(image_roots=[Path("flag")]).image_roots == [Path("flag")]
    assert load_settings().ui_folder == Path("kept")


def test_unknown_key_is_refused_with_those_of_app_and_library_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "qdrant.yaml").write_text("ui_pasword: x\n")
    with pytest.raises(SettingsError, match=r"unknown setting 'ui_pasword'.*coreset.*ui_password"):
        load_settings()
    (folder / "qdrant.yaml").unlink()
    monkeypatch.setenv("VECSPECT_UI_PASWORD", "x")
    with pytest.raises(SettingsError, match=r"VECSPECT_UI_PASWORD.*VECSPECT_UI_PASSWORD"):
        load_settings()


def test_password_is_never_printed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VECSPECT_UI_PASSWORD", "hush-hush")
    settings = load_settings()
    assert settings.ui_password is not None
    assert settings.ui_password.get_secret_value() == "hush-hush"
    assert "hush" not in f"{settings!r} {settings.model_dump()}"
    monkeypatch.delenv("VECSPECT_UI_PASSWORD")
    (folder / "qdrant.yaml").write_text("ui_password: 123456789\n")
    with pytest.raises(SettingsError, match="'ui_password' cannot be what was given") as caught:
        load_settings()
    assert "123456789" not in str(caught.value)
