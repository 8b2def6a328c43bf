"""Settings of the command line and the app: the library's and the app's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, SecretStr

from backbones.geometry import Size
from indexer.settings import Settings, given_settings, read_settings

MOST_UPLOADED = 50 << 20
"""Bytes of one file that comes through the browser."""


class AppSettings(Settings):
    """Settings of the app on top of the common ones; every command knows these keys."""

    image_roots: list[Path] = Field([Path()])
    ui_folder: Path = Path("ui_data")
    ui_password: SecretStr | None = None
    ui_user_header: str | None = None


def load_settings(**flags: Any) -> AppSettings:
    """Settings of this process; ``flags`` that are None count as not given.

    Raises:
        SettingsError: an unknown key in the file or environment, or a value of the wrong kind.
    """
    return read_settings(AppSettings, **flags)


def origins(**flags: Any) -> dict[str, str]:
    """Origin of each setting: ``default``, ``flag``, a file or an environment variable."""
    given = given_settings(AppSettings, **flags)
    return {
        name: given[name].origin if name in given else "default"
        for name in AppSettings.model_fields
    }


def square(side: int | None) -> Size | None:
    """Height and width in pixels of a square of that side; None without a side."""
    return None if side is None else (side, side)
