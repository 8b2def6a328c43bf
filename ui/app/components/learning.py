"""Learns a new category: what was found, what it will support, how long it takes, how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from backbones.base import BackboneSpec
from backbones.errors import VecspectError
from backbones.registry import list_backbones, load_backbone
from indexer.bank.layout import held_out
from indexer.calibration.base import DEFAULT_REJECT, images_needed, smallest_level
from indexer.catalog.schema import check_category
from indexer.data.dataset import read_dataset
from indexer.data.image_records import ImageRecord, normal_images
from indexer.learn.build import build_index
from indexer.learn.time_left import build_stages
from indexer.progress import Progress
from ui.app.components.folders import choose_folder
from ui.app.components.inputs import keep_uploads, upload_input
from ui.app.jobs import Job
from ui.app.layout import attempt, go, watch_job
from ui.app.notices import say_next
from ui.app.session import Key, Session, app_state
from ui.app.text import plain

_JOB = "learning"
_NAME, _FOLDER, _BACKBONE = _FORM = "learning name", "folder system", "learning backbone"
_LEAST = 20
"""Normal images below which no useful level can be set."""


@dataclass(frozen=True, slots=True)
class Found:
    """Contents of a data set."""

    normal: int
    tests: int
    masks: int

    @classmethod
    def of(cls, records: Sequence[ImageRecord]) -> Found:
        """The counts of some records."""
        return cls(
            sum(record.split == "train" for record in records),
            sum(record.split == "test" for record in records),
            sum(record.mask is not None for record in records),
        )

    def __str__(self) -> str:
        return f"{self.normal} normal to learn, {self.tests} test, {self.masks} masks"


def learning_now() -> bool:
    """True while a category is being learnt in this process."""
    return _JOB in app_state().jobs


def learning_result(session: Session) -> None:
    """The outcome of learning, at the top of the page until it is dismissed."""
    if "learnt" not in st.session_state:
        return
    key, outcome = st.session_state["learnt"]
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.success(plain(outcome), icon=":material/check_circle:")
        if key in map(Key.of, session.entries()):
            if st.button("Inspect a part", type="primary", icon=":material/search:"):
                go("inspect", key)
            if st.button("Look at its library", icon=":material/photo_library:"):
                go("library", key)
        if st.button("Close", type="tertiary", key="close learnt"):
            del st.session_state["learnt"]
            st.rerun()


def learning_form(session: Session) -> None:
    """Name, backbone and images of a new category; the progress while it is learnt."""
    if learning_now():
        st.markdown(plain(f"Learning {app_state().jobs[_JOB].name}"))
        watch_job(_JOB, _ended)
        return
    if session.copied:
        st.info("A copy of the store is read only.")
        return
    ready = {b.spec.name: b.spec for b in list_backbones() if b.state in ("bundled", "cached")}
    left, right = st.columns(2)
    name = left.text_input("Name of the product", placeholder="grid", max_chars=64, key=_NAME)
    backbone = right.selectbox(
        "Backbone",
        list(ready),
        key=_BACKBONE,
        help="vecspect export makes the others ready for use.",
    )
    st.markdown("Images of **normal** parts: twenty at least, the more the better.")
    folder_tab, upload_tab = st.tabs(["Folder on this machine", "Upload"])
    with folder_tab:
        folder = choose_folder(session, "system")
    with upload_tab:
        files = upload_input("Images of normal parts", "new category")
    found = Found(len(files), 0, 0) if files else _found(folder)
    if failed := st.session_state.get("learning failed"):
        st.error(plain(failed), icon=":material/error:")
    if found is None:
        return
    st.markdown(f"Found: **{found}**.")
    _few(found.normal, session.settings.holdout)
    if found.normal < 2:
        st.error("Learning needs at least 2 normal images.")
    elif _free(session, name, backbone) and st.button("Learn", type="primary"):
        _begin(session, name, ready[backbone], _source(session, files) or folder, found)


def _found(folder: Path | None) -> Found | None:
    """Contents of the folder; None, with the reason on the page, if it is no data set."""
    return attempt(lambda: _counted(folder)) if folder else None


@st.cache_data(ttl=10, max_entries=8, show_spinner="Counting images…")
def _counted(folder: Path) -> Found:
    return Found.of(read_dataset(folder))


def _few(normal: int, holdout: float) -> None:
    """Say what so few normal images cannot support."""
    if not 2 <= normal < _LEAST:
        return
    calibrating = held_out(normal, holdout)
    needed = round(images_needed(DEFAULT_REJECT) / holdout)
    st.warning(
        f"{normal} normal images support no useful level: {calibrating} of them calibrate, so one "
        f"in {calibrating + 1} normal parts would be rejected "
        f"({smallest_level(calibrating):.0%}). Add images, {_LEAST} at least; a level of "
        f"{DEFAULT_REJECT:.0%} requires about {needed}."
    )


def _free(session: Session, name: str, backbone: str) -> bool:
    """True if the name can be given to a new category; otherwise the page says why not."""
    if not name:
        st.info("Give the product a name to learn it.")
        return False
    try:
        check_category(name)
    except VecspectError as error:
        st.error(plain(str(error)), icon=":material/error:")
        return False
    if Key(name, backbone) in map(Key.of, session.entries()):
        st.warning("There is such a category. Add images to it on the page Library.")
        return False
    return True


def _begin(
    session: Session, name: str, spec: BackboneSpec, data: Path | None, found: Found
) -> None:
    if data is None:
        return
    settings = session.settings
    stages = build_stages(
        normal=found.normal,
        tests=found.tests,
        spec=spec,
        coreset=settings.coreset,
        holdout=settings.holdout,
    )
    st.session_state.pop("learning failed", None)
    # the form is not drawn meanwhile, and Streamlit forgets what is not drawn
    st.session_state["learning"] = {name: st.session_state[name] for name in _FORM}
    app_state().jobs[_JOB] = Job(
        name, lambda progress: _learn(session, name, spec.name, data, progress), stages
    )
    st.rerun()


def _ended(job: Job) -> None:
    """Say it where the user looks: beside the form if it failed, else above all and in a toast."""
    form = st.session_state.pop("learning", {})
    if job.error or job.outcome == "stopped":
        st.session_state.update(form)
    if job.error:
        st.session_state["learning failed"] = f"{job.name} was not learnt. {job.error}"
        say_next(st.session_state["learning failed"], ":material/error:")
    elif job.outcome != "stopped":
        st.session_state["learnt"] = (Key(job.name, form.get(_BACKBONE, "")), job.outcome)
        say_next(job.outcome)


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
