"""Common parts of the pages: session, category, attempts, undo and waiting."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

import streamlit as st

from backbones.errors import VecspectError
from indexer.catalog.category import Category
from indexer.catalog.entry import CatalogEntry
from indexer.progress import Progress
from indexer.update.change import Change
from ui.app.jobs import Job
from ui.app.session import Key, Session, app_state
from ui.app.text import plain

if TYPE_CHECKING:
    from streamlit.navigation.page import StreamlitPage


_DEMO = Path("demo_out")
_PAGES = {
    "inspect": ("Inspect", ":material/search:"),
    "batch": ("Batch", ":material/stacks:"),
    "library": ("Library", ":material/photo_library:"),
    "calibration": ("Calibration", ":material/tune:"),
    "reports": ("Reports", ":material/monitoring:"),
    "system": ("System", ":material/database:"),
}
_explain = partial(st.error, icon=":material/error:")
T = TypeVar("T")


def open_session() -> Session:
    """The session, or a page that says why there is none and what helps."""
    try:
        return app_state().open()
    except VecspectError as error:
        _explain_no_store(str(error))
        st.stop()


def pages() -> list[StreamlitPage]:
    """Every page, the first of them the default."""
    return [page(name) for name in _PAGES]


def page(name: str) -> StreamlitPage:
    """The page of that name."""
    title, icon = _PAGES[name]
    module = importlib.import_module(f"ui.app.views.{name}")
    return st.Page(
        module.show, title=title, icon=icon, url_path=name, default=name == next(iter(_PAGES))
    )


def go(name: str, **query: str) -> NoReturn:
    """Open another page with this address."""
    st.switch_page(page(name), query_params=query)


def choose_category(session: Session, title: str) -> Key:
    """The page's title beside a box to choose the category, which the address carries."""
    keys = [Key.of(entry) for entry in session.entries()]
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    left.title(title)
    if not keys:
        st.info("No category has been learnt yet.", icon=":material/info:")
        if st.button("Learn one", type="primary"):
            go("system")
        st.stop()
    wanted = Key(st.query_params.get("category", ""), st.query_params.get("backbone", ""))
    near = [key for key in keys if key.category == wanted.category]
    if wanted.category and not near:
        st.warning(f"There is no category {plain(wanted.category)} in this store.")
    names = [key.category for key in keys]
    doubled = {name for name in names if names.count(name) > 1}
    chosen: Key = right.selectbox(
        "Category",
        keys,
        index=keys.index(wanted if wanted in near else near[0]) if near else 0,
        format_func=lambda key: (
            f"{key.category} · {key.backbone}" if key.category in doubled else key.category
        ),
    )
    if chosen.category in doubled:
        st.query_params["backbone"] = chosen.backbone
    else:
        st.query_params.pop("backbone", None)
    if chosen.category != wanted.category:
        st.query_params["category"] = chosen.category
    if session.copied:
        st.warning(
            "This is a copy of the store, read only: nothing here can be taught.",
            icon=":material/lock:",
        )
    undo_bar(session)
    return chosen


def attempt(action: Callable[[], T], explain: Callable[[str], object] = _explain) -> T | None:
    """Result of the action; None if it fails, after its explained error was shown in a line."""
    try:
        return action()
    except (VecspectError, OSError) as error:
        explain(plain(str(error)))
        return None


def make_change(session: Session, key: Key, action: Callable[[], Change | Category]) -> None:
    """Do what gives the category another entry, and draw the page anew with it."""
    before = session.entry(key).revision
    if changed := attempt(action):
        note_change(key, before, changed.entry)
        st.rerun()


def note_change(key: Key, before: int, entry: CatalogEntry) -> None:
    """Remember a change, so that the next run says what it was and offers to undo it."""
    said = f"Revision {entry.revision}: {entry.action}."
    if entry.revision == before:
        before, said = 0, "Nothing changed: the library has this already."
    st.session_state["changed"] = (key, before, said)


def undo_bar(session: Session) -> None:
    """The last change, with a button that undoes it."""
    if "changed" not in st.session_state:
        return
    key, before, said = st.session_state["changed"]
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(plain(said))
        if before and st.button("Undo", icon=":material/undo:"):
            del st.session_state["changed"]
            if attempt(lambda: session.go_back(key, before)):
                st.session_state["changed"] = (key, 0, f"Back to what revision {before} was.")
                st.rerun()
        if st.button("Dismiss", type="tertiary"):
            del st.session_state["changed"]
            st.rerun()


def watch_job(name: str, ended: Callable[[Job], None]) -> None:
    """Show a job of this process until it ends; then ``ended`` once, and the page anew."""

    @st.fragment(run_every=0.5)
    def watch() -> None:
        job = app_state().jobs.get(name)
        if job is None:
            return
        if not job.running:
            del app_state().jobs[name]
            ended(job)
            st.rerun()
        text = f"{job.stage}: {job.done} of {job.total}"
        if 0 < job.done < job.total:
            text += f", about {job.seconds_left:.0f} s left"
        st.progress(min(1.0, job.done / job.total), plain(text))
        if st.button("Stop", key=f"stop {name}", icon=":material/stop:"):
            job.stop()

    watch()


def _explain_no_store(reason: str) -> None:
    state = app_state()
    st.title("No store is open")
    for error in (reason, st.session_state.pop("demo error", "")):
        if error:
            st.error(plain(error), icon=":material/error:")
    store = state.settings.store
    there = "://" not in store and Path(store).expanduser().is_dir()
    if there:
        st.markdown(
            "The embedded store serves one process at a time. End the other one and try again, "
            "look at a copy meanwhile, or let a Qdrant server hold the data, which serves many:"
        )
        st.code("vecspect ui --store http://localhost:6333", language="sh")
    else:
        st.markdown("Learn a category first, or look around with the demo's synthetic parts.")
        st.code("vecspect index DATASET --category NAME", language="sh")
    with st.container(horizontal=True):
        if st.button("Try again", icon=":material/refresh:"):
            st.rerun()
        if there and st.button("Look at a copy, read only", icon=":material/content_copy:"):
            state.move(state.settings, copied=True)
            st.rerun()
        if not there and "demo" not in state.jobs and st.button("Make the demo", type="primary"):
            state.jobs["demo"] = Job("demo", _make_demo)
            st.rerun()
    if "demo" in state.jobs:
        watch_job("demo", _use_demo)


def _make_demo(on_progress: Progress) -> str:
    from ui.cli.demo import run_demo

    run_demo(_DEMO, on_progress)
    return "the demo's store is ready"


def _use_demo(job: Job) -> None:
    state = app_state()
    if job.error:
        st.session_state["demo error"] = job.error
    elif job.outcome != "stopped":
        roots = [*state.settings.image_roots, _DEMO]
        update = {"store": str(_DEMO / "store"), "image_roots": roots}
        state.move(state.settings.model_copy(update=update))
