"""Common parts of the pages: session, category, attempts, undo and waiting."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

import streamlit as st

from backbones.errors import VecspectError
from indexer.catalog.category import Category
from indexer.progress import Progress
from indexer.update.change import Change
from ui.app.address import (
    address_of,
    asked_category,
    enter_page,
    page_shown,
    show_category,
)
from ui.app.faults import explained
from ui.app.jobs import Job
from ui.app.notices import change_bar, note_change, show_said, standing_warnings
from ui.app.session import Key, Session, app_state
from ui.app.text import plain
from ui.stores import make_store

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
    return st.Page(
        lambda: show_page(name),
        title=title,
        icon=icon,
        url_path=name,
        default=name == next(iter(_PAGES)),
    )


def show_page(name: str) -> None:
    """Draw the page of that name."""
    enter_page(name)
    show_said()
    with explained():
        importlib.import_module(f"ui.app.views.{name}").show()


def go(name: str, key: Key | None = None, **values: str) -> NoReturn:
    """Open another page, of this category and with these values in its address."""
    st.switch_page(page(name), query_params=address_of(key, **values) if key else values)


def store_title(session: Session, title: str) -> None:
    """The title of a page about the whole store, above what holds for its categories."""
    st.title(title)
    keys = [Key.of(entry) for entry in session.entries()]
    asked = [key for key in keys if key == asked_category()]
    standing_warnings(session, asked or keys, page("calibration"))


def choose_category(session: Session, title: str) -> Key:
    """The page's title beside a box to choose the category, which the address carries."""
    keys = [Key.of(entry) for entry in session.entries()]
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    left.title(title)
    if not keys:
        st.info("No category has been learnt yet.", icon=":material/info:")
        if st.button("Learn your first product", type="primary"):
            go("system")
        st.stop()
    wanted = asked_category()
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
    show_category(chosen)
    if session.copied:
        st.warning(
            "This is a copy of the store, read only: nothing here can be taught.",
            icon=":material/lock:",
        )
    if page_shown() != "calibration":
        standing_warnings(session, [chosen], page("calibration"))
    change_bar(session, chosen)
    return chosen


@contextlib.contextmanager
def action_bar(name: str) -> Iterator[None]:
    """A row for buttons that stays in sight at the foot of the page; at most one per page."""
    with st.container(
        key=f"action-bar-{name}", border=True, horizontal=True, vertical_alignment="center"
    ):
        yield


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
    try:
        changed = action()
    except (VecspectError, OSError) as error:
        _explain(plain(str(error)))
        st.toast(plain(str(error)), icon=":material/error:", duration="infinite")
        return
    note_change(before, changed.entry)
    st.rerun()


def watch_job(name: str, ended: Callable[[Job], None]) -> None:
    """Show a job of this process until it ends; then ``ended`` once, and the page anew."""

    @st.fragment(run_every=0.5)
    @explained()
    def watch() -> None:
        job = app_state().jobs.get(name)
        if job is None:
            return
        if not job.running:
            del app_state().jobs[name]
            ended(job)
            st.rerun()
        st.progress(min(1.0, job.done / job.total), plain(job.progress))
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
        st.markdown(
            "Learn your first product from images of normal parts, or look around with the demo's "
            "synthetic parts."
        )
    missing = not there and "://" not in store
    with st.container(horizontal=True):
        first = missing and st.button("Learn your first product", type="primary")
        made = attempt(lambda: make_store(state.settings)) if first else None
        if made:
            go("system")
        if missing and "demo" not in state.jobs and st.button("Make the demo"):
            state.jobs["demo"] = Job("demo", _make_demo)
            st.rerun()
        if st.button("Try again", icon=":material/refresh:"):
            st.rerun()
        if there and st.button("Look at a copy, read only", icon=":material/content_copy:"):
            state.move(state.settings, copied=True)
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
