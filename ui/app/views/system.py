"""System: what lies in the store, its past, the networks, and a new category."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import streamlit as st

from backbones.registry import list_backbones, load_backbone
from indexer.calibration.methods import read_calibration
from indexer.catalog.category import Category
from indexer.catalog.commits import read_history
from indexer.catalog.entry import CatalogEntry
from indexer.catalog.schema import inspections_collection
from indexer.data.dataset import read_dataset
from indexer.data.image_records import normal_images
from indexer.learn.build import build_index
from indexer.progress import Progress
from indexer.update.rollback import earlier_revisions
from ui.app.components.charts import show_table
from ui.app.components.inputs import folder_input, keep_uploads, upload_input
from ui.app.jobs import Job
from ui.app.layout import go, make_change, open_session, undo_bar, watch_job
from ui.app.session import Key, Session, app_state
from ui.app.text import plain, short_path

_LEARNING = "learning"


def show() -> None:
    """The page."""
    session = open_session()
    st.title("System")
    st.markdown(f"Store {plain(short_path(session.store.location))}")
    entries = session.entries()
    undo_bar(session)
    _categories(entries)
    _new_category(session)
    if entries:
        _past(session, entries)
        _collections(session, entries)
    _networks()


def _categories(entries: list[CatalogEntry]) -> None:
    if not entries:
        st.info("No category has been learnt yet: begin below.")
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
            "built at": entry.built_at,
        }
        for entry, calibration in zip(entries, map(read_calibration, entries), strict=True)
    ]
    show_table(rows, {"reject level": "percent", "threshold": "%.4g"})


def _new_category(session: Session) -> None:
    job = app_state().jobs.get(_LEARNING)
    with st.expander("New category", icon=":material/add:", expanded=job is not None):
        if job is not None:
            st.markdown(plain(f"Learning {job.name}"))
            watch_job(
                _LEARNING, lambda job: st.session_state.update(learnt=job.error or job.outcome)
            )
            return
        if message := st.session_state.pop("learnt", ""):
            st.markdown(plain(message))
        if session.copied:
            st.info("A copy of the store is read only.")
            return
        name = st.text_input("Name", placeholder="grid", max_chars=64)
        backbone = st.selectbox(
            "Backbone",
            [b.spec.name for b in list_backbones() if b.state in ("bundled", "cached")],
            help="vecspect export makes the others ready for use.",
        )
        st.markdown("Images of **normal** parts: the more, the better; twenty at least.")
        files = upload_input("Upload", "new category")
        folder = folder_input(session, "system")
        if not (name and (files or folder)):
            return
        if Key(name, backbone) in {Key.of(entry) for entry in session.entries()}:
            st.warning("There is such a category. Add images to it on the page Library.")
            return
        if st.button("Learn", type="primary"):
            typed = Path(st.session_state["folder system"]).expanduser().resolve()
            data = _source(session, files) or typed
            app_state().jobs[_LEARNING] = Job(
                name, lambda progress: _learn(session, name, backbone, data, progress)
            )
            st.rerun()


def _source(session: Session, files: list[tuple[str, bytes]]) -> Path | None:
    """The list of what was uploaded, as the CSV that a data set may be."""
    kept = keep_uploads(session, files)
    if not kept:
        return None
    listed = session.uploads.folder / f"{kept[0].stem}-{len(kept)}.csv"
    lines = ["path,label,split", *(f"{path.name},normal,train" for path in kept)]
    listed.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return listed


def _learn(session: Session, name: str, backbone: str, data: Path, on_progress: Progress) -> str:
    records = read_dataset(data)
    network = load_backbone(backbone, images=normal_images(records))
    # not under the session's lock: nobody else writes to a category that is not there yet, and
    # other pages go on meanwhile
    build = build_index(
        records,
        category=name,
        backbone=network,
        store=session.store,
        coreset=session.settings.coreset,
        holdout=session.settings.holdout,
        seed=session.settings.seed,
        on_progress=on_progress,
    )
    counts = build.entry.counts
    skipped = f", {len(build.skipped)} not readable" if build.skipped else ""
    return (
        f"{name} is learnt: {counts['bank_images']} images in the memory bank, "
        f"{counts['calibration_images']} calibrate{skipped}."
    )


def _past(session: Session, entries: list[CatalogEntry]) -> None:
    st.subheader("Revisions")
    keys = [Key.of(entry) for entry in entries]
    key = st.selectbox("Of", keys, format_func=lambda k: f"{k.category} · {k.backbone}")
    entry = session.entry(key)
    history = session.read(read_history, entry)[::-1]
    rows = [
        {
            "revision": past.revision,
            "at": past.built_at,
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
            go("library", category=key.category, backbone=key.backbone)


def _collections(session: Session, entries: list[CatalogEntry]) -> None:
    st.subheader("Collections")
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
    st.subheader("Backbones")
    rows = [
        {
            "backbone": found.spec.name,
            "state": found.state,
            "level": found.spec.level,
            "input size": found.spec.input_size,
        }
        for found in list_backbones()
    ]
    show_table(rows)
    names = ("vecspect", "qdrant-edge-py", "qdrant-client", "openvino", "numpy", "streamlit")
    st.caption(plain(" · ".join(f"{name} {version(name)}" for name in names)))
