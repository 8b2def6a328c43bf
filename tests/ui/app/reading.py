"""Reads pages that are run without a browser."""

from __future__ import annotations

from typing import Any

from streamlit.testing.v1 import AppTest

from ui.app.session import Key, Session, app_state

GRID = Key("grid", "compact")


def texts(page: AppTest) -> str:
    """All that the page says in words."""
    kinds: tuple[str, ...] = ("markdown", "caption", "info", "warning", "error", "success", "title")
    said = [str(element.value) for kind in kinds for element in getattr(page, kind)]
    return "\n".join([*said, *(str(e.value) for e in page.header)]).replace("\\", "")


def button(page: AppTest, label: str) -> Any:
    """The button of that label."""
    found = [b for b in page.button if b.label == label]
    assert found, f"no button '{label}', only {[b.label for b in page.button]}"
    return found[0]


def session_of_process() -> Session:
    """The session that the pages use."""
    return app_state().open()
