"""Chooses a folder of the machine that serves the app, below the image roots."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from backbones.decode import IMAGE_SUFFIXES
from indexer.data.image_records import subfolders
from ui.app.session import Session
from ui.app.text import plain, short_path


def choose_folder(session: Session, name: str) -> Path | None:
    """The folder typed in, or walked to from an image root; None where there is none to use."""
    key = f"folder {name}"
    given = st.text_input(
        "Folder",
        placeholder="Choose one below, or paste a path",
        key=key,
        help="Below: " + plain(", ".join(map(short_path, session.roots))),
    )
    folder = Path(given).expanduser().resolve() if given else None
    # one answer whether it is there or not: what lies elsewhere is nobody's business
    usable = folder is not None and _below(session, folder) and folder.is_dir()
    inside = _inside(session, folder if usable else None)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if usable and folder not in session.roots:
            st.button(
                "Up",
                icon=":material/arrow_upward:",
                key=f"up {name}",
                on_click=_go,
                args=(key, str(folder.parent) if folder else ""),
            )
        if inside:
            choice = f"inside {name} {folder if usable else ''}"
            st.selectbox(
                f"Folders in {short_path(given)}" if usable else "Folders to begin with",
                inside,
                index=None,
                placeholder=f"{len(inside)} to go into" if usable else "Choose one",
                format_func=lambda path: path.name if usable else short_path(path),
                key=choice,
                on_change=_enter,
                args=(key, choice),
            )
    if given and not usable:
        roots = ", ".join(map(short_path, session.roots))
        st.warning(plain(f"There is no such folder below {roots}."))
    return folder if usable else None


def folder_input(session: Session, name: str) -> list[Path]:
    """The images of a chosen folder and of those inside it."""
    folder = choose_folder(session, name)
    if folder is None:
        return []
    files = sorted(folder.rglob("*"))
    found = [p for p in files if p.suffix.lower() in IMAGE_SUFFIXES and session.served(p)]
    st.caption(f"{len(found)} images")
    return found


def _below(session: Session, folder: Path) -> bool:
    return any(folder.is_relative_to(root) for root in session.roots)


def _inside(session: Session, folder: Path | None) -> list[Path]:
    """The visible folders in one, without links that lead out; the image roots to begin with."""
    if folder is None:
        return list(session.roots)
    return [path for path in subfolders(folder) if _below(session, path.resolve())]


def _go(key: str, folder: str) -> None:
    st.session_state[key] = folder


def _enter(key: str, choice: str) -> None:
    if chosen := st.session_state[choice]:
        st.session_state[key] = str(chosen)
