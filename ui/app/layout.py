"""What the pages have in common: the desk, the category in the address, errors, and undo."""

from __future__ import annotations

import hmac
import importlib
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import streamlit as st

from backbones.errors import VecspectError
from indexer.catalog.schema import CatalogEntry
from indexer.settings import Settings, load_settings
from indexer.update.insertion import Change
from ui.app.jobs import Job
from ui.app.session import Desk, Key

if TYPE_CHECKING:
    from streamlit.navigation.page import StreamlitPage

DEMO = Path("demo_out")
_PAGES = {
    "inspect": ("Inspect", ":material/search:"),
    "batch": ("Batch", ":material/stacks:"),
    "library": ("Library", ":material/photo_library:"),
    "calibration": ("Calibration", ":material/tune:"),
    "reports": ("Reports", ":material/monitoring:"),
    "system": ("System", ":material/database:"),
}
_WRONG, _PAUSE = 10, 60.0
"""After so many wrong passwords in a row no one may try for so many seconds."""


class Place:
    """Which store the process works on, its jobs, and wrong passwords so far."""

    def __init__(self) -> None:
        self.settings = load_settings()
        self.copied = False
        self.desk: Desk | None = None
        self.jobs: dict[str, Job] = {}
        self.wrong, self.closed_until = 0, 0.0

    def open(self) -> Desk:
        """The desk, opened when first asked for."""
        if self.desk is None:
            self.desk = Desk(self.settings, copied=self.copied)
        return self.desk

    def move(self, settings: Settings, *, copied: bool = False) -> None:
        """Work on another store, or a copy of one, from now on."""
        if self.desk is not None:
            self.desk.close()
        self.settings, self.copied, self.desk = settings, copied, None


@st.cache_resource(show_spinner=False)
def place() -> Place:
    """The one of this process."""
    return Place()


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


def desk() -> Desk:
    """The desk, or a page that says why there is none and what helps."""
    try:
        return place().open()
    except VecspectError as error:
        _explain_no_store(str(error))
        st.stop()


def choose_category(opened: Desk, title: str) -> Key:
    """The page's title beside a box to choose the category, which the address carries."""
    entries = opened.entries()
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    left.title(title)
    if not entries:
        st.info("No category has been learnt yet.", icon=":material/info:")
        if st.button("Learn one", type="primary"):
            go("system")
        st.stop()
    keys = [Key(entry.category, entry.backbone) for entry in entries]
    wanted = Key(st.query_params.get("category", ""), st.query_params.get("backbone", ""))
    near = [key for key in keys if key == wanted] or [
        key for key in keys if key.category == wanted.category
    ]
    if wanted.category and not near:
        st.warning(f"There is no category {plain(wanted.category)} in this store.")
    doubled = {e.category for e in entries if sum(o.category == e.category for o in entries) > 1}
    chosen: Key = right.selectbox(
        "Category",
        keys,
        index=keys.index(near[0]) if near else 0,
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
    if opened.copied:
        st.warning(
            "This is a copy of the store, read only: nothing here can be taught.",
            icon=":material/lock:",
        )
    undo_bar(opened)
    return chosen


def changed(key: Key, before: int, change: Change) -> None:
    """Remember a change, so that the next run says what it was and offers to undo it."""
    changed_to(key, before, change.entry)


def changed_to(key: Key, before: int, entry: CatalogEntry) -> None:
    """The same of a change that gave this entry."""
    if entry.revision == before:
        st.session_state["changed"] = (key, 0, "Nothing changed: the library has this already.")
    else:
        said = f"Revision {entry.revision}: {entry.action}."
        st.session_state["changed"] = (key, before, said)


def attempt(action: Callable[[], object]) -> bool:
    """Do it; an explained error becomes a line on the page. Whether it was done."""
    try:
        action()
    except (VecspectError, OSError) as error:
        st.error(plain(str(error)), icon=":material/error:")
        return False
    return True


def plain(text: str) -> str:
    """Text that Streamlit shows as it is, whatever marks of Markdown or HTML it holds."""
    return re.sub(r"([\\`*_{}\[\]()#+\-.!|~$:<>&])", r"\\\1", " ".join(text.split()))


def revision_text(entry: CatalogEntry) -> str:
    """One line on the revision in use."""
    counts = entry.counts
    return (
        f"revision {entry.revision} · {counts['bank_images']} normal images in the memory bank · "
        f"{counts['calibration_images']} calibrate · {entry.backbone}"
    )


def admitted() -> bool:
    """Whether this visitor may see the pages."""
    settings = place().settings
    if settings.ui_user_header and st.context.headers.get(settings.ui_user_header):
        return True
    guarded = settings.ui_password or settings.ui_user_header
    return not guarded or bool(st.session_state.get("admitted"))


def refuse() -> None:
    """Ask for the password, or say that the way in leads through the proxy."""
    settings = place().settings
    if settings.ui_password is None:
        header = plain(str(settings.ui_user_header))
        st.error(f"This app is reached through its proxy, which sets {header}.")
    else:
        _ask_password(settings.ui_password.get_secret_value())


def _ask_password(password: str) -> None:
    here = place()
    with st.form("password", clear_on_submit=True, width=380):
        st.subheader("vecspect")
        given = st.text_input("Password", type="password")
        sent = st.form_submit_button("Open", type="primary")
    if not sent:
        return
    if time.monotonic() < here.closed_until:
        st.error("Too many wrong passwords. Wait a minute, then try again.")
    elif hmac.compare_digest(given.encode(), password.encode()):
        here.wrong = 0
        st.session_state["admitted"] = True
        st.rerun()
    else:
        here.wrong += 1
        if here.wrong >= _WRONG:
            here.wrong, here.closed_until = 0, time.monotonic() + _PAUSE
        st.error("That is not the password.")


def undo_bar(opened: Desk) -> None:
    """What was changed last, with a button that takes it back."""
    if "changed" not in st.session_state:
        return
    key, before, said = st.session_state["changed"]
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(plain(said))
        if before and st.button("Undo", icon=":material/undo:"):
            del st.session_state["changed"]
            if attempt(lambda: opened.go_back(key, before)):
                st.session_state["changed"] = (key, 0, f"Back to what revision {before} was.")
                st.rerun()
        if st.button("Dismiss", type="tertiary"):
            del st.session_state["changed"]
            st.rerun()


def _explain_no_store(reason: str) -> None:
    here = place()
    st.title("No store is open")
    for error in (reason, st.session_state.pop("demo error", "")):
        if error:
            st.error(plain(error), icon=":material/error:")
    folder = "://" not in here.settings.store
    there = folder and Path(here.settings.store).expanduser().is_dir()
    if there:
        st.markdown(
            "The embedded store serves one process at a time. End the other one and try again, "
            "look at a copy meanwhile, or let a Qdrant server hold the data, which serves many:"
        )
        st.code("vecspect ui --store http://localhost:6333", language="sh")
    else:
        st.markdown("Learn a category first, or look around with the demo's made-up parts.")
        st.code("vecspect index DATASET --category NAME", language="sh")
    with st.container(horizontal=True):
        if st.button("Try again", icon=":material/refresh:"):
            st.rerun()
        if there and st.button("Look at a copy, read only", icon=":material/content_copy:"):
            here.move(here.settings, copied=True)
            st.rerun()
        if not there and "demo" not in here.jobs and st.button("Make the demo", type="primary"):
            here.jobs["demo"] = Job("demo", _make_demo)
            st.rerun()
    if "demo" in here.jobs:
        watch_job("demo", _use_demo)


def watch_job(name: str, ended: Callable[[Job], None]) -> None:
    """Show a job of this process until it ends; then ``ended`` once, and the page anew."""

    @st.fragment(run_every=0.5)
    def watch() -> None:
        job = place().jobs.get(name)
        if job is None:
            return
        if not job.running:
            del place().jobs[name]
            ended(job)
            st.rerun()
        left = job.seconds_left
        text = f"{job.stage}: {job.done} of {job.total}"
        text += f", about {left:.0f} s left" if left is not None and job.done < job.total else ""
        st.progress(min(1.0, job.done / job.total), plain(text))
        if st.button("Stop", key=f"stop {name}", icon=":material/stop:"):
            job.stop()

    watch()


def _make_demo(on_progress: Callable[[str, int, int], None]) -> str:
    from ui.demo import run_demo

    run_demo(DEMO, on_progress)
    return "the demo's store is ready"


def _use_demo(job: Job) -> None:
    here = place()
    if job.error:
        st.session_state["demo error"] = job.error
    elif job.outcome != "stopped":
        roots = [*here.settings.image_roots, DEMO]
        update = {"store": str(DEMO / "store"), "image_roots": roots}
        here.move(here.settings.model_copy(update=update))
