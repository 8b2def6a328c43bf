"""Images brought to Inspect: by upload, camera or folder, and the strip of those that are there."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from backbones.errors import VecspectError
from ui.app.address import in_address, put_in_address
from ui.app.components.custom import Card, gallery
from ui.app.components.folders import folder_input
from ui.app.components.inputs import keep_uploads, upload_input
from ui.app.pictures import data_uri, thumbnail
from ui.app.session import Key, Session
from ui.app.text import not_served


def take_in(session: Session) -> None:
    """The ways by which images come in."""
    with st.expander(
        "Images",
        icon=":material/add_photo_alternate:",
        expanded=not (brought_in() or in_address("image")),
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
                put_in_address(image=str(paths[0]), patch="")
                st.rerun()
        if brought_in() and st.button("Clear", icon=":material/close:", type="tertiary"):
            st.session_state["taken"], st.session_state["kept"] = [], set()
            put_in_address(image="", patch="")
            st.rerun()


def chosen_image(session: Session, key: Key) -> Path | None:
    """The file that the address names: an image of the library by id, or a path that is served."""
    wanted = in_address("image")
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
        put_in_address(image=chosen, patch="")
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
        put_in_address(image=kept[0], patch="")
