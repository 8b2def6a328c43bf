"""Inputs of a page: a folder, files, a defect type, and the images brought to Inspect."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from backbones.decode import IMAGE_SUFFIXES
from backbones.errors import ImageError, VecspectError
from ui.app.components.custom import Card, gallery
from ui.app.pictures import MOST_FILES, data_uri, thumbnail
from ui.app.session import Key, Session
from ui.app.text import not_served, plain


def folder_input(session: Session, name: str) -> list[Path]:
    """A folder below the image roots, typed in; its images."""
    given = st.text_input(
        "Folder with images",
        placeholder=str(session.roots[0]) if session.roots else "",
        key=f"folder {name}",
        help="Below: " + plain(", ".join(str(root) for root in session.roots)),
    )
    if not given:
        return []
    folder = Path(given).expanduser().resolve()
    if not any(folder.is_relative_to(root) for root in session.roots):
        st.warning(not_served(str(folder / "*")) if folder.is_dir() else "No such folder.")
        return []
    if not folder.is_dir():
        st.warning("There is no such folder.")
        return []
    files = sorted(folder.rglob("*"))
    found = [p for p in files if p.suffix.lower() in IMAGE_SUFFIXES and session.served(p)]
    st.caption(f"{len(found)} images")
    return found


def defect_type_input(session: Session, key: Key) -> str:
    """A defect type: one that the library knows, or a new one; may be empty."""
    known = sorted({i.defect_type for i in session.library(key).values() if i.defect_type})
    what = "Choose one, or write a new one"
    chosen = st.selectbox(
        "Defect type", known, index=None, accept_new_options=True, placeholder=what
    )
    return chosen or ""


def upload_input(label: str, key: str) -> list[tuple[str, bytes]]:
    """Names and bytes of image files through the browser, at most `MOST_FILES` of them."""
    kinds = sorted(suffix[1:] for suffix in IMAGE_SUFFIXES)
    files = st.file_uploader(label, type=kinds, accept_multiple_files=True, key=key)
    if len(files) > MOST_FILES:
        st.warning(f"Only the first {MOST_FILES} files are taken; use a folder for more.")
    return [(file.name, file.getvalue()) for file in files[:MOST_FILES]]


def keep_uploads(session: Session, files: Sequence[tuple[str, bytes]]) -> list[Path]:
    """Keep named pictures; what is none is told on the page and left out."""
    kept = []
    for name, data in files:
        try:
            kept.append(session.uploads.keep(name, data))
        except ImageError as error:
            st.error(plain(f"{name}: {error}"), icon=":material/broken_image:")
    return kept


def take_in(session: Session) -> None:
    """The ways by which images come in."""
    with st.expander(
        "Images",
        icon=":material/add_photo_alternate:",
        expanded=not (brought_in() or "image" in st.query_params),
    ):
        upload, camera, folder = st.tabs(["Upload", "Camera", "Folder"])
        with upload:
            _keep(session, upload_input("Drop one or many images", "uploaded"))
        with camera:
            used = st.toggle("Use the camera of this device")
            if used and (shot := st.camera_input("Take a picture", label_visibility="collapsed")):
                _keep(session, [("camera.jpg", shot.getvalue())])
        with folder:
            paths = folder_input(session, "inspect")
            if paths and st.button(f"Take {len(paths)} images", key="take folder"):
                _add([str(path) for path in paths])
                st.query_params["image"] = str(paths[0])
                st.rerun()
        if brought_in() and st.button("Clear", icon=":material/close:", type="tertiary"):
            st.session_state["taken"], st.session_state["kept"] = [], set()
            st.query_params.pop("image", None)
            st.rerun()


def chosen_image(session: Session, key: Key) -> Path | None:
    """The file that the address names: an image of the library by id, or a path that is served."""
    wanted = st.query_params.get("image", "")
    if not wanted:
        return None
    image = session.library(key).get(wanted)
    named = image.path if image else wanted
    path = session.served(named)
    if path and not image:
        _add([str(path)])
    elif not path and (image or Path(named).is_absolute()):
        st.warning(not_served(named))
    elif not path:
        st.warning("This category has no such image. Choose another category or image.")
    return path


def strip(session: Session, key: Key, shown: Path | None) -> None:
    """The images brought in, with their verdicts."""
    taken = [Path(path) for path in brought_in()]
    if len(taken) < 2 and shown is not None:
        return
    cards = [_card(session, key, path) for path in taken[:48]]
    chosen, _ = gallery(
        cards, key="strip", label="Images brought in", chosen=str(shown or ""), side=100
    )
    if len(taken) > len(cards):
        st.caption(f"{len(taken) - len(cards)} more: score them all on the page Batch.")
    if chosen and chosen != str(shown or ""):
        st.query_params["image"] = chosen
        st.rerun()


def _card(session: Session, key: Key, path: Path) -> Card:
    try:
        prediction = session.inspect(key, path)
        picture = data_uri(thumbnail(path))
    except VecspectError as error:
        return Card(str(path), "", path.name, (str(error),))
    line = f"p {prediction.p_value:.3g}"
    return Card(str(path), picture, path.name, (line,), prediction.verdict)


def brought_in() -> list[str]:
    """Paths of the images brought in, in the order they came."""
    taken: list[str] = st.session_state.setdefault("taken", [])
    return taken


def _add(paths: list[str]) -> None:
    st.session_state["taken"] = list(dict.fromkeys([*brought_in(), *paths]))


def _keep(session: Session, files: list[tuple[str, bytes]]) -> None:
    """Check and keep what was uploaded; the first new one is shown."""
    seen: set[int] = st.session_state.setdefault("kept", set())
    fresh = [(name, data) for name, data in files if hash((name, data)) not in seen]
    seen.update(hash(file) for file in fresh)
    kept = [str(path) for path in keep_uploads(session, fresh)]
    _add(kept)
    if kept:
        st.query_params["image"] = kept[0]
