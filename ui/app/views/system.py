"""System: what lies in the store, its past, the networks, and a new category."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import streamlit as st

from backbones.registry import list_backbones
from indexer.calibration.methods import read_calibration
from indexer.catalog.category import Category
from indexer.catalog.commits import read_history
from indexer.catalog.entry import CatalogEntry
from indexer.catalog.schema import inspections_collection
from indexer.update.rollback import earlier_revisions
from ui.app.address import asked_category, show_category
from ui.app.components.charts import show_table
from ui.app.components.learning import learning_form, learning_now, learning_result
from ui.app.layout import go, make_change, open_session, store_title
from ui.app.notices import change_bar
from ui.app.session import Key, Session
from ui.app.text import plain, short_path


def show() -> None:
    """The page."""
    session = open_session()
    store_title(session, "System")
    st.markdown(f"Store {plain(short_path(session.store.location))}")
    entries = session.entries()
    change_bar(session)
    learning_result(session)
    _categories(entries)
    _new_category(session, first=not entries)
    if entries:
        _past(session, entries)
        _collections(session, entries)
    _networks()


def _categories(entries: list[CatalogEntry]) -> None:
    if not entries:
        return
    rows = [
        {
            "category": entry.category,
            "backbone": entry.backbone,
            "revision": entry.revision,
            "bank images": entry.counts["bank_images"],
            "patches": entry.counts["bank_patches"],
            "calibration": entry.counts["calibration_images"],
            "library": entry.counts["test_images"],
            "method": calibration.method.name,
            "reject level": calibration.alpha_reject,
            "threshold": calibration.threshold,
            "built at": entry.built_at[:16].replace("T", " "),
        }
        for entry, calibration in zip(entries, map(read_calibration, entries), strict=True)
    ]
    show_table(rows, {"reject level": "percent", "threshold": "%.4g"})


def _new_category(session: Session, *, first: bool) -> None:
    if first:
        st.header("Learn your first product")
        learning_form(session)
        return
    with st.expander("New category", icon=":material/add:", expanded=learning_now()):
        learning_form(session)


def _past(session: Session, entries: list[CatalogEntry]) -> None:
    st.header("Revisions")
    keys = [Key.of(entry) for entry in entries]
    asked = asked_category()
    key = st.selectbox(
        "Category",
        keys,
        index=keys.index(asked) if asked in keys else 0,
        format_func=lambda k: f"{k.category} · {k.backbone}",
    )
    show_category(key)
    entry = session.entry(key)
    history = session.read(read_history, entry)[::-1]
    rows = [
        {
            "revision": past.revision,
            "at": past.built_at[:16].replace("T", " "),
            "what": past.action,
            "bank images": past.counts["bank_images"],
            "patches": past.counts["bank_patches"],
            "threshold": read_calibration(past).threshold,
        }
        for past in history
    ]
    show_table(rows, {"threshold": "%.4g"})
    before = sorted(session.read(earlier_revisions, entry), reverse=True)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if before and not session.copied:
            wanted = st.selectbox("Go back to revision", before, width=200)
            if st.button("Go back", icon=":material/undo:"):
                make_change(session, key, lambda: session.go_back(key, wanted))
        if st.button("Library", icon=":material/photo_library:"):
            go("library", key)


def _collections(session: Session, entries: list[CatalogEntry]) -> None:
    st.header("Collections")
    store, folder = session.store, Path(session.store.location)
    names: list[str] = []
    for entry in entries:
        names += Category(store, entry).collections
        names.append(inspections_collection(entry.category, entry.backbone))
    with session.lock:
        there = set(store.collections())
        rows = [
            {
                "collection": name,
                "points": store.count(name),
                "MiB on disk": _mib_on_disk(folder / name) if folder.is_dir() else None,
            }
            for name in names
            if name in there
        ]
    show_table(rows, {"MiB on disk": "%.1f"})


def _mib_on_disk(folder: Path) -> float:
    """Disk space of the files in MiB, without the holes of sparse ones."""
    return sum(f.stat().st_blocks * 512 for f in folder.rglob("*") if f.is_file()) / 2**20


def _networks() -> None:
    st.header("Backbones")
    rows = [
        {
            "backbone": found.spec.name,
            "state": found.state,
            "level": found.spec.level,
            "input size": "{} x {}".format(*found.spec.input_size),
        }
        for found in list_backbones()
    ]
    show_table(rows)
    names = ("vecspect", "qdrant-edge-py", "qdrant-client", "openvino", "numpy", "streamlit")
    st.caption(plain(" · ".join(f"{name} {version(name)}" for name in names)))
