"""Batch: a folder or an upload of hundreds, scored in the background, as a table to sort."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from ui.app.address import in_address, put_in_address
from ui.app.batch_job import Batch, begin, read_batches, work_off
from ui.app.components.batch_results import show_counts, show_files, show_table_of
from ui.app.components.folders import folder_input
from ui.app.components.inputs import keep_uploads, upload_input
from ui.app.faults import explained
from ui.app.jobs import Job
from ui.app.layout import attempt, choose_category, open_session, watch_job
from ui.app.notices import say_next
from ui.app.session import Key, Session, app_state


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
    wanted = in_address("batch")
    at = names.index(wanted) if wanted in names else 0
    # without a key: a new batch makes it another widget, which shows the batch in the address
    batch = batches[names.index(st.selectbox("Batch", names, index=at))]
    put_in_address(batch=batch.name)
    if _job_of(batch) in app_state().jobs:
        _running(session, batch)
    else:
        _ended(session, batch)


def _begin(session: Session, key: Key, folder: Path) -> None:
    with st.expander("New batch", icon=":material/add:"):
        upload, from_folder = st.tabs(["Upload", "Folder"])
        with upload:
            files = upload_input("Drop many images", "batch upload")
            if files and st.button(f"Score {len(files)} images", type="primary"):
                _score(session, key, folder, keep_uploads(session, files))
        with from_folder:
            found = folder_input(session, "batch")
            if found and st.button(f"Score {len(found)} images", type="primary"):
                _score(session, key, folder, found)


def _score(session: Session, key: Key, folder: Path, paths: Sequence[Path]) -> None:
    if batch := attempt(lambda: begin(folder, key, paths)):
        _start(session, batch)


def _job_of(batch: Batch) -> str:
    return f"batch {batch.name}"


def _start(session: Session, batch: Batch) -> None:
    name = _job_of(batch)
    (batch.folder / "report.html").unlink(missing_ok=True)
    if name not in app_state().jobs:
        app_state().jobs[name] = Job(name, lambda progress: work_off(session, batch, progress))
    put_in_address(batch=batch.name)
    st.rerun()


def _running(session: Session, batch: Batch) -> None:
    """Progress and counts, which move by themselves, above what had a result when it was drawn."""
    watch_job(_job_of(batch), _tell_end)
    st.fragment(explained()(lambda: show_counts(batch)), run_every=1.0)()
    if results := batch.results():
        show_table_of(session, batch, results)
        st.caption(f"The first {len(results)} of {len(batch.paths)} images.")
    st.button("Show what has been scored by now", icon=":material/refresh:")


def _tell_end(job: Job) -> None:
    say_next(
        job.error or f"Scored: {job.outcome}",
        ":material/error:" if job.error else ":material/check:",
    )


def _ended(session: Session, batch: Batch) -> None:
    if missing := batch.missing():
        st.warning(f"{len(missing)} of {len(batch.paths)} images have not been scored.")
        if st.button("Go on", type="primary", icon=":material/play_arrow:"):
            _start(session, batch)
    if results := batch.results():
        show_counts(batch)
        show_table_of(session, batch, results)
        show_files(session, batch, results)
