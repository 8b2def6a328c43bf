"""Inputs of a page: files, a defect type."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from backbones.decode import IMAGE_SUFFIXES
from backbones.errors import ImageError
from ui.app.pictures import MOST_FILES
from ui.app.session import Key, Session
from ui.app.text import plain


def defect_type_input(session: Session, key: Key) -> str:
    """A defect type: one that the library knows, or a new one; may be empty."""
    known = sorted({i.defect_type for i in session.library(key).values() if i.defect_type})
    what = "Choose one, or write a new one"
    chosen = st.selectbox(
        "Defect type", known, index=None, accept_new_options=True, placeholder=what
    )
    return chosen or ""


def upload_input(label: str, key: str) -> list[tuple[str, bytes]]:
    """Names and bytes of image files through the browser, at most `MOST_FILES` of them."""
    kinds = sorted(suffix[1:] for suffix in IMAGE_SUFFIXES)
    files = st.file_uploader(label, type=kinds, accept_multiple_files=True, key=key)
    if len(files) > MOST_FILES:
        st.warning(f"Only the first {MOST_FILES} files are taken; use a folder for more.")
    return [(file.name, file.getvalue()) for file in files[:MOST_FILES]]


def keep_uploads(session: Session, files: Sequence[tuple[str, bytes]]) -> list[Path]:
    """Keep named pictures; what is none is told on the page and left out."""
    kept = []
    for name, data in files:
        try:
            kept.append(session.uploads.keep(name, data))
        except ImageError as error:
            st.error(plain(f"{name}: {error}"), icon=":material/broken_image:")
    return kept
