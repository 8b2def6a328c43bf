"""The images brought in to Inspect: uploaded, photographed, from a folder, or by a link."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from backbones.errors import VecspectError
from ui.app.components import cards
from ui.app.components.widgets import Card, gallery
from ui.app.images.pictures import data_uri, thumbnail
from ui.app.session import Desk, Key

_TAKEN = "taken"
"""In the session: their paths, in the order they came."""


def take_in(opened: Desk, key: Key) -> None:
    """The ways by which images come in."""
    with st.expander(
        "Images",
        icon=":material/add_photo_alternate:",
        expanded=not (brought_in() or "image" in st.query_params),
    ):
        upload, camera, folder = st.tabs(["Upload", "Camera", "Folder"])
        with upload:
            files = cards.upload_input("Drop one or many images", "uploaded")
            _keep(opened, [(file.name, file.getvalue()) for file in files])
        with camera:
            if st.toggle("Use the camera of this device"):
                shot = st.camera_input("Take a picture", label_visibility="collapsed")
                if shot:
                    _keep(opened, [("camera.jpg", shot.getvalue())])
        with folder:
            paths = cards.folder_input(opened, "inspect")
            if paths and st.button(f"Take {len(paths)} images", key="take folder"):
                _add([str(path) for path in paths])
                st.query_params["image"] = str(paths[0])
                st.rerun()
        if brought_in() and st.button("Clear", icon=":material/close:", type="tertiary"):
            st.session_state[_TAKEN] = []
            st.session_state["kept"] = set()
            st.query_params.pop("image", None)
            st.rerun()


def chosen_image(opened: Desk, key: Key) -> Path | None:
    """The file that the address names: an image of the library by id, or a path that is served."""
    wanted = st.query_params.get("image", "")
    if not wanted:
        return None
    image = opened.library(key).get(wanted)
    path = opened.served(image.path if image else wanted)
    if path is None:
        if image or Path(wanted).is_absolute():
            st.warning(cards.not_served(image.path if image else wanted))
        else:
            st.warning("This category has no such image. Choose another category or image.")
        return None
    if image is None and str(path) not in brought_in():
        _add([str(path)])
    return path


def strip(opened: Desk, key: Key, shown: Path | None) -> None:
    """The images brought in, with their verdicts."""
    taken = [Path(path) for path in brought_in()]
    if len(taken) < 2 and shown is not None:
        return
    cards = []
    for path in taken[:48]:
        try:
            prediction = opened.inspect(key, path)
            verdict, line = prediction.verdict, f"p {prediction.p_value:.3g}"
            picture = data_uri(thumbnail(path))
        except VecspectError as error:
            cards.append(Card(str(path), "", path.name, (str(error),)))
            continue
        cards.append(Card(str(path), picture, path.name, (line,), verdict))
    chosen, _ = gallery(
        cards, key="strip", label="Images brought in", chosen=str(shown or ""), side=100
    )
    if len(taken) > len(cards):
        st.caption(f"{len(taken) - len(cards)} more: score them all on the page Batch.")
    if chosen and chosen != str(shown or ""):
        st.query_params["image"] = chosen
        st.rerun()


def brought_in() -> list[str]:
    """Their paths."""
    taken: list[str] = st.session_state.setdefault(_TAKEN, [])
    return taken


def _add(paths: list[str]) -> None:
    st.session_state[_TAKEN] = list(dict.fromkeys([*brought_in(), *paths]))


def _keep(opened: Desk, files: list[tuple[str, bytes]]) -> None:
    """Check and keep what was uploaded; the first new one is shown."""
    seen: set[int] = st.session_state.setdefault("kept", set())
    fresh = [(name, data) for name, data in files if hash((name, data)) not in seen]
    seen.update(hash(file) for file in fresh)
    kept = [str(path) for path in cards.keep_uploads(opened, fresh)]
    _add(kept)
    if kept:
        st.query_params["image"] = kept[0]
