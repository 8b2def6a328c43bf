"""Batch: a folder or an upload of hundreds, scored in the background, as a table to sort."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import streamlit as st

from backbones.errors import ImageError
from eval.benchmark.batch_report import batch_report
from ui.app.batch_job import Batch, begin, read_batches, work_off
from ui.app.components import cards
from ui.app.components.widgets import GLYPHS
from ui.app.jobs import Job
from ui.app.layout import choose_category, desk, go, place, plain, watch_job
from ui.app.session import Desk, Key
from ui.cli.formatting import prediction_writer

_SHOWN = 500
"""Rows with a thumbnail; more would be megabytes for one page."""
_PICTURED = 40
"""Images of a report that are explained by a picture."""


def show() -> None:
    """The page."""
    opened = desk()
    key = choose_category(opened, "Batch")
    folder = opened.settings.ui_folder / "batches"
    _begin(opened, key, folder)
    batches = [batch for batch in read_batches(folder) if batch.key == key]
    if not batches:
        st.markdown("Choose a folder or upload images: they are scored while you do other things.")
        return
    names = [batch.name for batch in batches]
    wanted = st.query_params.get("batch", "")
    name = st.selectbox(
        "Batch", names, index=names.index(wanted) if wanted in names else 0, key="batch chosen"
    )
    batch = batches[names.index(name)]
    st.query_params["batch"] = batch.name
    _progress(opened, batch)
    _table(opened, batch)


def _begin(opened: Desk, key: Key, folder: Path) -> None:
    with st.expander("New batch", icon=":material/add:"):
        upload, from_folder = st.tabs(["Upload", "Folder"])
        with upload:
            files = cards.upload_input("Drop many images", "batch upload")
            if files and st.button(f"Score {len(files)} images", type="primary"):
                paths = cards.keep_uploads(opened, [(f.name, f.getvalue()) for f in files])
                _start(opened, begin(folder, key, paths))
        with from_folder:
            found = cards.folder_input(opened, "batch")
            if found and st.button(f"Score {len(found)} images", type="primary"):
                _start(opened, begin(folder, key, found))


def _start(opened: Desk, batch: Batch) -> None:
    name = f"batch {batch.name}"
    if name not in place().jobs:
        place().jobs[name] = Job(name, lambda progress: work_off(opened, batch, progress))
    st.query_params["batch"] = batch.name
    st.session_state.pop("batch chosen", None)
    st.rerun()


def _progress(opened: Desk, batch: Batch) -> None:
    name = f"batch {batch.name}"
    if name in place().jobs:
        watch_job(name, _note_end)
    elif missing := batch.missing():
        st.warning(f"{len(missing)} of {len(batch.paths)} images have not been scored.")
        if st.button("Go on", type="primary", icon=":material/play_arrow:"):
            _start(opened, batch)
    if error := st.session_state.pop("batch error", ""):
        st.error(plain(error))


def _note_end(job: Job) -> None:
    if job.error:
        st.session_state["batch error"] = job.error


def _table(opened: Desk, batch: Batch) -> None:
    results = batch.results()
    if not results:
        return
    counts = {verdict: sum(r.get("verdict") == verdict for r in results) for verdict in GLYPHS}
    unreadable = sum("error" in r for r in results)
    cells = st.columns(4)
    for cell, verdict in zip(cells, reversed(GLYPHS), strict=False):
        cell.metric(f"{GLYPHS[verdict]} {verdict}", counts[verdict])
    cells[3].metric("not readable", unreadable)
    chosen = st.segmented_control(
        "Show",
        [*reversed(GLYPHS), "not readable"],
        selection_mode="multi",
        default=None,
        format_func=lambda name: f"{GLYPHS.get(name, '?')} {name}",
    )
    rows = [r for r in results if not chosen or r.get("verdict", "not readable") in chosen]
    rows.sort(key=lambda r: -r.get("score", float("inf")))
    if len(rows) > _SHOWN:
        st.caption(f"The {_SHOWN} highest of {len(rows)}; the files below hold all of them.")
    rows = rows[:_SHOWN]
    picked = st.dataframe(
        [_row(opened, r) for r in rows],
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
    _downloads(opened, batch, results)
    if picked.selection.rows:
        go("inspect", category=batch.key.category, image=rows[picked.selection.rows[0]]["path"])


def _row(opened: Desk, result: dict[str, Any]) -> dict[str, Any]:
    path = Path(result["path"])
    if "error" in result:
        return {
            "image": None,
            "verdict": "not readable",
            "p": None,
            "score": None,
            "defect": result["error"],
            "file": path.name,
            "folder": cards.short(path.parent),
        }
    seen = result["seen_before"] or {}
    return {
        "image": cards.small(opened, result["path"]) or None,
        "verdict": f"{GLYPHS[result['verdict']]} {result['verdict']}",
        "p": result["p_value"],
        "score": result["score"],
        "defect": seen.get("defect_type", ""),
        "file": path.name,
        "folder": cards.short(path.parent),
    }


def _downloads(opened: Desk, batch: Batch, results: list[dict[str, Any]]) -> None:
    scored = [r for r in results if "error" not in r]
    with st.container(horizontal=True):
        st.download_button(
            "CSV",
            lambda: _csv(scored),
            file_name=f"{batch.name}.csv",
            mime="text/csv",
            icon=":material/download:",
        )
        st.download_button(
            "Report",
            lambda: _report(opened, batch, results),
            file_name=f"{batch.name}.html",
            mime="text/html",
            icon=":material/download:",
        )


def _csv(results: list[dict[str, Any]]) -> str:
    stream = io.StringIO(newline="")
    write = prediction_writer(stream)
    for fields in results:
        write(fields)
    return stream.getvalue()


def _report(opened: Desk, batch: Batch, results: list[dict[str, Any]]) -> str:
    stood_out = [r for r in results if r.get("verdict") in ("reject", "review")]
    stood_out.sort(key=lambda r: -r["score"])
    pictures = {}
    for result in stood_out[:_PICTURED]:
        try:
            prediction = opened.inspect(batch.key, Path(result["path"]))
            with opened.lock:
                pictures[result["path"]] = opened.inspector(batch.key).explain(prediction)
        except ImageError:  # gone since it was scored; its row stays
            continue
    return batch_report(batch.name, batch.key.category, results, pictures)
