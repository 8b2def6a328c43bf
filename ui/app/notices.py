"""Notices on every page: the last change with its undo, and whether verdicts hold."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from backbones.errors import VecspectError
from indexer.calibration.base import DEFAULT_REJECT, images_needed
from indexer.calibration.methods import read_calibration
from indexer.catalog.entry import CatalogEntry
from search.monitoring.drift import check_drift
from ui.app.address import address_of
from ui.app.session import Key, Session, app_state
from ui.app.text import percent, plain

_CHANGE, _TOASTS = "last change of this tab", "said on the next page"
_DRIFT_SECONDS = 15.0
"""How long an answer about drift is used again: it takes every inspection of the window."""


@dataclass(frozen=True, slots=True)
class LastChange:
    """The last change made in this tab.

    Attributes:
        entry: that the change left; undo is possible while it is the current one.
        before: revision to go back to; 0 where nothing is to be undone.
        said: the change in a sentence.
    """

    entry: CatalogEntry
    before: int
    said: str


def say_next(text: str, icon: str = ":material/check:") -> None:
    """Show this line in a corner of whatever page is drawn next, wherever it is scrolled to."""
    st.session_state.setdefault(_TOASTS, []).append((text, icon))


def show_said() -> None:
    """Show what `say_next` was given."""
    for text, icon in st.session_state.pop(_TOASTS, []):
        st.toast(plain(text), icon=icon, duration="long")


def note_change(before: int, entry: CatalogEntry) -> None:
    """Remember a change, so that every page of the category says so and offers to undo it."""
    said = f"Revision {entry.revision} of {entry.category}: {entry.action}."
    if entry.revision == before:
        before, said = 0, f"Nothing changed: the library of {entry.category} has this already."
    st.session_state[_CHANGE] = LastChange(entry, before, said)
    say_next(said)


def change_bar(session: Session, key: Key | None = None) -> None:
    """The last change of this tab, whatever its category, with a button that undoes it."""
    change: LastChange | None = st.session_state.get(_CHANGE)
    if change is None or key not in (None, Key.of(change.entry)):
        return
    entry = change.entry
    with st.container(key="change-bar", border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(plain(change.said))
        undone = change.before and st.button(
            f"Undo revision {entry.revision} of {entry.category}", icon=":material/undo:"
        )
        if st.button("Dismiss", type="tertiary"):
            del st.session_state[_CHANGE]
            st.rerun()
        if undone:
            _undo(session, change)


def _undo(session: Session, change: LastChange) -> None:
    try:
        session.undo(change.entry, change.before)
    except (VecspectError, OSError) as error:
        st.session_state[_CHANGE] = LastChange(change.entry, 0, str(error))
        say_next(str(error), ":material/error:")
    else:
        said = f"{change.entry.category} is back to what revision {change.before} was."
        st.session_state[_CHANGE] = LastChange(change.entry, 0, said)
        say_next(said, ":material/undo:")
    st.rerun()


def standing_warnings(session: Session, keys: list[Key], calibration: StreamlitPage) -> None:
    """Lines about categories whose verdicts are not what a user takes them for."""
    high = []
    for key in keys:
        entry = session.entry(key)
        drifted = _drift_line(session.store.location, key, entry.head)
        level = _level_line(entry)
        if level and not drifted:
            high.append((key, level))
        elif drifted:
            _warning(key, f"{drifted} {level}", "warning", calibration)
    if len(high) > 2:
        names = ", ".join(key.category for key, _ in high)
        line = f"More than {percent(DEFAULT_REJECT)} of normal parts may be rejected: {names}."
        _warning(high[0][0], line, "info", calibration)
    else:
        for key, level in high:
            _warning(key, level, "info", calibration)


def _warning(key: Key, line: str, icon: str, calibration: StreamlitPage) -> None:
    with st.container(
        key=f"warning-{key.category}-{key.backbone}",
        horizontal=True,
        vertical_alignment="center",
        gap="small",
    ):
        st.markdown(f":material/{icon}: {plain(line)}")
        st.page_link(
            calibration,
            label=f"Calibration of {plain(key.category)}",
            query_params=address_of(key),
        )


@st.cache_data(show_spinner=False, ttl=_DRIFT_SECONDS, max_entries=20)
def _drift_line(location: str, key: Key, head: str) -> str:
    """Change of the parts since the category was calibrated; empty if there is none."""
    session = app_state().open()
    drift = session.read(check_drift, session.entry(key))
    moved = [signal for signal in drift.signals if signal.alarm]
    told = "; ".join(f"{s.name}: {s.direction} since {s.since[:16]}" for s in moved)
    return f"Parts of {key.category} have changed: {told}." if moved else ""


def _level_line(entry: CatalogEntry) -> str:
    """Need of a reject level of 1 %, which users expect; empty if the level is 1 %."""
    calibration = read_calibration(entry)
    if calibration.bound is None or calibration.alpha_reject <= DEFAULT_REJECT:
        return ""
    needed = images_needed(DEFAULT_REJECT)
    line = f"{entry.category} rejects up to {percent(calibration.alpha_reject)} of normal parts"
    if calibration.n >= needed:
        return f"{line}, as its levels ask for."
    return (
        f"{line}: {percent(DEFAULT_REJECT)} requires {needed} calibration images, it has "
        f"{calibration.n}."
    )
