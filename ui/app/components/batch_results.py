"""Results of a batch: counts, a table to sort, those that cannot be read, and files of them all."""

from __future__ import annotations

import contextlib
import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import streamlit as st

from backbones.errors import ImageError
from eval.benchmark.report import batch_report
from indexer.progress import Progress
from ui.app.batch_job import Batch
from ui.app.components.charts import show_table
from ui.app.components.library import small_picture
from ui.app.components.verdicts import GLYPHS
from ui.app.jobs import Job
from ui.app.layout import go, watch_job
from ui.app.notices import say_next
from ui.app.session import Session, app_state
from ui.app.text import short_path
from ui.cli.formatting import CSV_COLUMNS, prediction_row

UNREADABLE = "not readable"
_SHOWN = 500
"""Rows with a thumbnail; more would be megabytes for one page."""
_PICTURED = 40
"""Images of a report that are explained by a picture."""
Result = dict[str, Any]


def verdict_of(result: Result) -> str:
    """Verdict of one line of a batch, or that its file could not be read."""
    return str(result.get("verdict", UNREADABLE))


def show_counts(batch: Batch) -> None:
    """Number of images with each verdict so far."""
    counts = Counter(verdict_of(result) for result in batch.results())
    names: dict[str, str] = {
        verdict: f"{glyph} {verdict}" for verdict, glyph in reversed(GLYPHS.items())
    }
    for cell, verdict in zip(st.columns(4), [*names, UNREADABLE], strict=True):
        cell.metric(names.get(verdict, verdict), counts[verdict])


def show_table_of(session: Session, batch: Batch, results: Sequence[Result]) -> None:
    """The scored images, highest score first, then those that cannot be read with their reasons."""
    chosen = st.segmented_control(
        "Show",
        [*reversed(GLYPHS), UNREADABLE],
        selection_mode="multi",
        key="show",
        bind="query-params",
    )
    shown = [r for r in results if not chosen or verdict_of(r) in chosen]
    scored = sorted((r for r in shown if "verdict" in r), key=lambda r: -r["score"])
    if len(scored) > _SHOWN:
        st.caption(f"The {_SHOWN} highest of {len(scored)}; the files below hold all of them.")
    if scored:
        _scored(session, batch, scored[:_SHOWN], f"{len(results)} {chosen}")
    unreadable = [r for r in shown if "verdict" not in r]
    if unreadable:
        st.header(f"Not readable: {len(unreadable)}")
        rows = [
            {
                "file": Path(r["path"]).name,
                "reason": r["error"],
                "folder": short_path(Path(r["path"]).parent),
            }
            for r in unreadable
        ]
        show_table(rows)


def _scored(session: Session, batch: Batch, scored: Sequence[Result], name: str) -> None:
    picked = st.dataframe(
        [_row(session, r) for r in scored],
        column_config={
            "image": st.column_config.ImageColumn("image", width="small"),
            "p": st.column_config.NumberColumn("p", format="%.4f"),
            "score": st.column_config.NumberColumn("score", format="%.4g"),
        },
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        row_height=56,
        key=f"table {batch.name} {name}",
    )
    st.caption("Select a row to inspect its image; a head to sort by it.")
    if picked.selection.rows:
        go("inspect", batch.key, image=scored[picked.selection.rows[0]]["path"])


def _row(session: Session, result: Result) -> dict[str, Any]:
    path, verdict = Path(result["path"]), result["verdict"]
    seen = result.get("seen_before") or {}
    return {
        "image": small_picture(session, result["path"]) or None,
        "verdict": f"{GLYPHS[verdict]} {verdict}",
        "p": result["p_value"],
        "score": result["score"],
        "defect": seen.get("defect_type", ""),
        "file": path.name,
        "folder": short_path(path.parent),
    }


def show_files(session: Session, batch: Batch, results: Sequence[Result]) -> None:
    """The results as CSV at once, and as a report with pictures once it is made."""
    job, file = f"report {batch.name}", batch.folder / "report.html"
    if job in app_state().jobs:
        watch_job(job, _report_ended)
    with st.container(horizontal=True):
        st.download_button(
            "CSV",
            as_csv(results),
            file_name=f"{batch.name}.csv",
            mime="text/csv",
            icon=":material/download:",
            on_click="ignore",
        )
        if file.is_file():
            st.download_button(
                "Report",
                file.read_bytes(),
                file_name=f"{batch.name}.html",
                mime="text/html",
                icon=":material/download:",
                on_click="ignore",
            )
        elif job not in app_state().jobs and st.button(
            "Make the report", icon=":material/description:"
        ):
            app_state().jobs[job] = Job(job, lambda told: write_report(session, batch, told))
            st.rerun()


def _report_ended(job: Job) -> None:
    if job.error:
        say_next(job.error, ":material/error:")
    elif job.outcome != "stopped":
        say_next(job.outcome)


def as_csv(results: Sequence[Result]) -> str:
    """A row an image, as of ``vecspect score --csv``; of one that cannot be read, the reason."""
    stream = io.StringIO(newline="")
    writer = csv.DictWriter(stream, [*CSV_COLUMNS, "error"], extrasaction="ignore")
    writer.writeheader()
    for result in results:
        writer.writerow(result if "error" in result else prediction_row(result))
    return stream.getvalue()


def write_report(session: Session, batch: Batch, on_progress: Progress) -> str:
    """Write ``report.html`` into the folder of the batch; a line that says so."""
    results = batch.results()
    stood_out = [r for r in results if r.get("verdict") in ("reject", "review")]
    stood_out.sort(key=lambda r: -r["score"])
    chosen = [result["path"] for result in stood_out[:_PICTURED]]
    pictures = {}
    for done, path in enumerate(chosen):
        on_progress("explaining", done, len(chosen))
        # of a file that is gone since it was scored, the row stays
        with contextlib.suppress(ImageError), session.lock:
            prediction = session.inspect(batch.key, Path(path))
            pictures[path] = prediction.explain()
    page = batch_report(batch.name, batch.key.category, results, pictures)
    partial = batch.folder / "report.partial"
    partial.write_text(page, encoding="utf-8")
    partial.replace(batch.folder / "report.html")
    return f"The report of {batch.name} is ready to download."
