"""Who is let in: by password, by what a proxy says, or nobody for a while."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from ui.app.auth import Attempts, attempts
from ui.app.session import app_state

PAGE = """
import streamlit as st
from ui.app.auth import admitted, refuse
st.markdown("inside") if admitted() else refuse()
"""


@pytest.fixture(autouse=True)
def fresh(app_settings: Path) -> Iterator[None]:
    """An app that nobody has asked for anything."""
    app_state.clear()
    attempts.clear()
    yield
    app_state.clear()
    attempts.clear()


def visit() -> AppTest:
    page = AppTest.from_string(PAGE, default_timeout=30).run()
    assert not page.exception
    return page


def enter(page: AppTest, password: str) -> AppTest:
    page.text_input[0].set_value(password)
    return page.button[0].click().run()


def inside(page: AppTest) -> bool:
    return [element.value for element in page.markdown] == ["inside"]


def test_without_a_password_everyone_is_let_in() -> None:
    assert inside(visit())


def test_password_lets_in_and_anything_else_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VECSPECT_UI_PASSWORD", "sésame")
    page = visit()
    assert not inside(page)
    page = enter(page, "sesame")
    assert [error.value for error in page.error] == ["That is not the password."]
    assert inside(enter(page, "sésame"))
    assert not inside(visit()), "another visitor came in with the first one's password"


def test_way_in_through_a_proxy_is_named_to_who_comes_past_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VECSPECT_UI_USER_HEADER", "X-User")
    page = visit()
    assert not inside(page)
    assert "through its proxy, which sets X" in page.error[0].value


def test_after_many_wrong_passwords_even_the_right_one_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr("ui.app.auth.time.monotonic", lambda: now[0])
    asked = Attempts()
    assert [asked.check("wrong", "right") for _ in range(9)] == ["That is not the password."] * 9
    assert asked.check("right", "right") == ""
    for _ in range(10):
        asked.check("wrong", "right")
    now[0] = 59.0
    assert asked.check("right", "right").startswith("Too many wrong passwords")
    now[0] = 61.0
    assert asked.check("right", "right") == ""
