"""Access to the pages: for everyone, for users named by a proxy, or with the password."""

from __future__ import annotations

import hmac
import time

import streamlit as st

from ui.app.session import app_state
from ui.app.text import plain

_WRONG, _PAUSE = 10, 60.0
"""After so many wrong passwords in a row no one may try for so many seconds."""


class Attempts:
    """Wrong passwords in a row, of all visitors together."""

    def __init__(self) -> None:
        self.wrong, self.closed_until = 0, 0.0

    def check(self, given: str, password: str) -> str:
        """Reason why the visitor is not let in; empty if the password is right."""
        if time.monotonic() < self.closed_until:
            return "Too many wrong passwords. Wait a minute, then try again."
        if hmac.compare_digest(given.encode(), password.encode()):
            self.wrong = 0
            return ""
        self.wrong += 1
        if self.wrong >= _WRONG:
            self.wrong, self.closed_until = 0, time.monotonic() + _PAUSE
        return "That is not the password."


@st.cache_resource(show_spinner=False)
def attempts() -> Attempts:
    """The one count of this process."""
    return Attempts()


def admitted() -> bool:
    """True if this visitor may see the pages."""
    password, header = app_state().settings.ui_password, app_state().settings.ui_user_header
    if not (password or header):
        return True
    named = header and st.context.headers.get(header)
    return bool(named or st.session_state.get("admitted"))


def refuse() -> None:
    """Ask for the password, or say that the way in leads through the proxy."""
    settings = app_state().settings
    if settings.ui_password is None:
        header = plain(str(settings.ui_user_header))
        st.error(f"This app is reached through its proxy, which sets {header}.")
        return
    with st.form("password", clear_on_submit=True, width=380):
        st.title("vecspect")
        given = st.text_input("Password", type="password")
        sent = st.form_submit_button("Open", type="primary")
    if sent and (error := attempts().check(given, settings.ui_password.get_secret_value())):
        st.error(error)
    elif sent:
        st.session_state["admitted"] = True
        st.rerun()
