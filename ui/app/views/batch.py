"""Batch: a folder or an upload of hundreds, scored in the background, as a table to sort."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import streamlit as st

from backbones.errors import ImageError
from eval.benchmark.report import batch_report
from ui.app.batch_job import Batch, begin, read_batches, work_off
from ui.app.components.inputs import folder_input, keep_uploads, upload_input
from ui.app.components.library import small_picture
from ui.app.components.verdicts import GLYPHS
from ui.app.jobs import Job
from ui.app.layout import choose_category, go, open_session, watch_job
from ui.app.session import Key, Session, app_state
from ui.app.text import plain, short_path
from ui.cli.formatting import prediction_writer

_SHOWN = 500
"""Rows with a thumbnail; more would be megabytes for one page."""
_PICTURED = 40
"""Images of a report that are explained by a picture."""


def show() -> None:
    """The page."""
    session = open_session()
    key = choose_category(session, "Batch")
    folder = session.settings.ui_folder / "batches"
    _begin(session, key, folder)
    batches = [batch for batch in read_batches(folder) if batch.key == key]
    if not batches:
        st.markdown("Choose a folder or upload images: they are scored while you do other things.")
        return
    names = [batch.name for batch in batches]
    wanted = st.query_params.get("batch", "")
    at = names.index(wanted) if wanted in names else 0
    batch = batches[names.index(st.selectbox("Batch", names, index=at, key="batch chosen"))]
    st.query_params["batch"] = batch.name
    _progress(session, batch)
    _table(session, batch)


def _begin(session: Session, key: Key, folder: Path) -> None:
    with st.expander("New batch", icon=":material/add:"):
        upload, from_folder = st.tabs(["Upload", "Folder"])
        with upload:
            files = upload_input("Drop many images", "batch upload")
            if files and st.button(f"Score {len(files)} images", type="primary"):
                paths = keep_uploads(session, files)
                _start(session, begin(folder, key, paths))
        with from_folder:
            found = folder_input(session, "batch")
            if found and st.button(f"Score {len(found)} images", type="primary"):
                _start(session, begin(folder, key, found))


def _start(session: Session, batch: Batch) -> None:
    name = f"batch {batch.name}"
    if name not in app_state().jobs:
        app_state().jobs[name] = Job(name, lambda progress: work_off(session, batch, progress))
    st.query_params["batch"] = batch.name
    st.session_state.pop("batch chosen", None)
    st.rerun()


def _progress(session: Session, batch: Batch) -> None:
    name = f"batch {batch.name}"
    if name in app_state().jobs:
        watch_job(name, lambda job: st.session_state.update({"batch error": job.error}))
    elif missing := batch.missing():
        st.warning(f"{len(missing)} of {len(batch.paths)} images have not been scored.")
        if st.button("Go on", type="primary", icon=":material/play_arrow:"):
            _start(session, batch)
    if error := st.session_state.pop("batch error", ""):
        st.error(plain(error))


def _table(session: Session, batch: Batch) -> None:
    results = batch.results()
    if not results:
        return
    told = [result.get("verdict", "not readable") for result in results]
    names: dict[str, str] = {
        verdict: f"{glyph} {verdict}" for verdict, glyph in reversed(GLYPHS.items())
    }
    cells = st.columns(4)
    for cell, verdict in zip(cells, [*names, "not readable"], strict=True):
        cell.metric(names.get(verdict, verdict), told.count(verdict))
    chosen = st.segmented_control(
        "Show",
        [*names, "not readable"],
        selection_mode="multi",
        format_func=lambda name: names.get(name, f"? {name}"),
    )
    rows = [r for r, verdict in zip(results, told, strict=True) if not chosen or verdict in chosen]
    rows.sort(key=lambda r: -r.get("score", float("inf")))
    if len(rows) > _SHOWN:
        st.caption(f"The {_SHOWN} highest of {len(rows)}; the files below hold all of them.")
    rows = rows[:_SHOWN]
    picked = st.dataframe(
        [_row(session, r) for r in rows],
        column_config={
            "image": st.column_config.ImageColumn("image", width="small"),
            "p": st.column_config.NumberColumn("p", format="%.4f"),
            "score": st.column_config.NumberColumn("score", format="%.4g"),
        },
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        row_height=56,
        key=f"table {batch.name} {len(results)} {chosen}",
    )
    st.caption("Select a row to inspect its image; a head to sort by it.")
    _downloads(session, batch, results)
    if picked.selection.rows:
        go("inspect", category=batch.key.category, image=rows[picked.selection.rows[0]]["path"])


def _row(session: Session, result: dict[str, Any]) -> dict[str, Any]:
    path, verdict = Path(result["path"]), result.get("verdict")
    seen = result.get("seen_before") or {}
    return {
        "image": small_picture(session, result["path"]) or None if verdict else None,
        "verdict": f"{GLYPHS[verdict]} {verdict}" if verdict else "not readable",
        "p": result.get("p_value"),
        "score": result.get("score"),
        "defect": result.get("error", seen.get("defect_type", "")),
        "file": path.name,
        "folder": short_path(path.parent),
    }


def _downloads(session: Session, batch: Batch, results: list[dict[str, Any]]) -> None:
    files = (
        ("CSV", "csv", lambda: _csv(results)),
        ("Report", "html", lambda: _report(session, batch, results)),
    )
    with st.container(horizontal=True):
        for label, kind, make in files:
            st.download_button(
                label,
                make,
                file_name=f"{batch.name}.{kind}",
                mime=f"text/{kind}",
                icon=":material/download:",
            )


def _csv(results: list[dict[str, Any]]) -> str:
    stream = io.StringIO(newline="")
    write = prediction_writer(stream)
    for fields in results:
        if "error" not in fields:
            write(fields)
    return stream.getvalue()


def _report(session: Session, batch: Batch, results: list[dict[str, Any]]) -> str:
    stood_out = [r for r in results if r.get("verdict") in ("reject", "review")]
    stood_out.sort(key=lambda r: -r["score"])
    pictures = {}
    for path in [result["path"] for result in stood_out[:_PICTURED]]:
        # of a file that is gone since it was scored, the row stays
        with contextlib.suppress(ImageError), session.lock:
            prediction = session.inspect(batch.key, Path(path))
            pictures[path] = prediction.explain()
    return batch_report(batch.name, batch.key.category, results, pictures)
