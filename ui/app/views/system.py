"""System: what lies in the store, its past, the networks, and a new category."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import streamlit as st

from backbones.registry import list_backbones, load_backbone
from indexer.calibration.base import Calibration
from indexer.catalog.commits import read_history
from indexer.catalog.schema import CatalogEntry, collections_of, health_collection
from indexer.data.image_records import normal_images, read_dataset
from indexer.learn.build import build_index
from search.calibrator import ConformalCalibrator
from ui.app.components import cards
from ui.app.jobs import Job
from ui.app.layout import attempt, changed_to, desk, go, place, plain, undo_bar, watch_job
from ui.app.session import Desk, Key

_LEARNING = "learning"


def show() -> None:
    """The page."""
    opened = desk()
    st.title("System")
    st.markdown(f"Store {plain(cards.short(opened.store.location))}")
    entries = opened.entries()
    undo_bar(opened)
    _categories(entries)
    _new_category(opened)
    if entries:
        _past(opened, entries)
        _collections(opened, entries)
    _networks()


def _categories(entries: list[CatalogEntry]) -> None:
    if not entries:
        st.info("No category has been learnt yet: begin below.")
        return
    rows = []
    for entry in entries:
        calibration = Calibration.from_payload(entry.calibration)
        rows.append(
            {
                "category": entry.category,
                "backbone": entry.backbone,
                "revision": entry.revision,
                "bank images": entry.counts["bank_images"],
                "patches": entry.counts["bank_patches"],
                "calibration": entry.counts["calibration_images"],
                "library": entry.counts["test_images"],
                "method": calibration.method,
                "reject level": calibration.alpha_reject,
                "threshold": calibration.threshold,
                "built at": entry.built_at,
            }
        )
    st.dataframe(
        rows,
        hide_index=True,
        column_config={
            "reject level": st.column_config.NumberColumn(format="percent"),
            "threshold": st.column_config.NumberColumn(format="%.4g"),
        },
    )


def _new_category(opened: Desk) -> None:
    job = place().jobs.get(_LEARNING)
    with st.expander("New category", icon=":material/add:", expanded=job is not None):
        if job is not None:
            st.markdown(plain(f"Learning {job.name}"))
            watch_job(_LEARNING, _learnt)
            return
        if message := st.session_state.pop("learnt", ""):
            st.markdown(plain(message))
        if opened.copied:
            st.info("A copy of the store is read only.")
            return
        name = st.text_input("Name", placeholder="grid", max_chars=64)
        backbone = st.selectbox(
            "Backbone",
            [b.spec.name for b in list_backbones() if b.state in ("bundled", "cached")],
            help="vecspect export makes the others ready for use.",
        )
        st.markdown("Images of **normal** parts: the more, the better; twenty at least.")
        files = cards.upload_input("Upload", "new category")
        folder = cards.folder_input(opened, "system")
        if not (name and (files or folder)):
            return
        if Key(name, backbone) in {Key(e.category, e.backbone) for e in opened.entries()}:
            st.warning("There is such a category. Add images to it on the page Library.")
            return
        if st.button("Learn", type="primary"):
            source = _source(opened, name, [(f.name, f.getvalue()) for f in files])
            typed = Path(st.session_state["folder system"]).expanduser().resolve()
            data = source or typed
            place().jobs[_LEARNING] = Job(
                name, lambda progress: _learn(opened, name, backbone, data, progress)
            )
            st.rerun()


def _source(opened: Desk, name: str, files: list[tuple[str, bytes]]) -> Path | None:
    """The list of what was uploaded, as the CSV that a data set may be."""
    kept = cards.keep_uploads(opened, files)
    if not kept:
        return None
    listed = opened.uploads.folder / f"{kept[0].stem}-{len(kept)}.csv"
    lines = ["path,label,split", *(f"{path.name},normal,train" for path in kept)]
    listed.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return listed


def _learn(
    opened: Desk,
    name: str,
    backbone: str,
    data: Path,
    on_progress: Callable[[str, int, int], None],
) -> str:
    records = read_dataset(data)
    network = load_backbone(backbone, images=normal_images(records))
    # not under the desk's lock: nobody else writes to a category that is not there yet, and other
    # pages go on meanwhile
    build = build_index(
        records,
        category=name,
        backbone=network,
        store=opened.store,
        calibrator=ConformalCalibrator(),
        coreset=opened.settings.coreset,
        holdout=opened.settings.holdout,
        seed=opened.settings.seed,
        on_progress=on_progress,
    )
    counts = build.entry.counts
    skipped = f", {len(build.skipped)} not readable" if build.skipped else ""
    return (
        f"{name} is learnt: {counts['bank_images']} images in the memory bank, "
        f"{counts['calibration_images']} calibrate{skipped}."
    )


def _learnt(job: Job) -> None:
    st.session_state["learnt"] = job.error or job.outcome


def _past(opened: Desk, entries: list[CatalogEntry]) -> None:
    st.subheader("Revisions")
    keys = [Key(entry.category, entry.backbone) for entry in entries]
    key = st.selectbox("Of", keys, format_func=lambda k: f"{k.category} · {k.backbone}")
    entry = opened.entry(key)
    with opened.lock:
        history = read_history(opened.store, entry)
    st.dataframe(
        [
            {
                "revision": past.revision,
                "at": past.built_at,
                "what": past.action,
                "bank images": past.counts["bank_images"],
                "patches": past.counts["bank_patches"],
                "threshold": Calibration.from_payload(past.calibration).threshold,
            }
            for past in reversed(history)
        ],
        hide_index=True,
        column_config={"threshold": st.column_config.NumberColumn(format="%.4g")},
    )
    before = [past.revision for past in reversed(history) if past.revision != entry.revision]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if before and not opened.copied:
            wanted = st.selectbox("Go back to revision", before, width=200)
            if st.button("Go back", icon=":material/undo:") and attempt(
                lambda: changed_to(key, entry.revision, opened.go_back(key, wanted))
            ):
                st.rerun()
        if st.button("Library", icon=":material/photo_library:"):
            go("library", category=key.category, backbone=key.backbone)


def _collections(opened: Desk, entries: list[CatalogEntry]) -> None:
    st.subheader("Collections")
    folder = Path(opened.store.location)
    rows = []
    with opened.lock:
        there = set(opened.store.collections())
        for entry in entries:
            names = [*collections_of(entry), health_collection(entry.category, entry.backbone)]
            for name in names:
                if name not in there:
                    continue
                size = _bytes_on_disk(folder / name) if folder.is_dir() else None
                rows.append(
                    {
                        "collection": name,
                        "points": opened.store.count(name),
                        "MiB on disk": None if size is None else size / 2**20,
                    }
                )
    st.dataframe(
        rows,
        hide_index=True,
        column_config={"MiB on disk": st.column_config.NumberColumn(format="%.1f")},
    )


def _bytes_on_disk(folder: Path) -> int:
    """What the files take, without the holes of sparse ones."""
    return sum(f.stat().st_blocks * 512 for f in folder.rglob("*") if f.is_file())


def _networks() -> None:
    st.subheader("Backbones")
    st.dataframe(
        [
            {
                "backbone": found.spec.name,
                "state": found.state,
                "level": found.spec.level,
                "input size": found.spec.input_size,
            }
            for found in list_backbones()
        ],
        hide_index=True,
    )
    names = ("vecspect", "qdrant-edge-py", "qdrant-client", "openvino", "numpy", "streamlit")
    st.caption(plain(" · ".join(f"{name} {version(name)}" for name in names)))
