"""Images of a library: as cards of a gallery, on a map, and what can be done with them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import altair as alt
import streamlit as st

from backbones.errors import ImageError
from backbones.geometry import Box
from indexer.calibration.methods import read_calibration
from indexer.catalog.entry import CatalogEntry, LibraryImage
from indexer.update.change import Change
from indexer.update.labels import label_images
from indexer.update.removal import quarantine_image, remove_images
from search.retrieval.neighbors import Neighbor
from search.retrieval.projection import image_plane
from ui.app.address import address_of, in_address, put_in_address
from ui.app.components.charts import by_colour, themed
from ui.app.components.custom import Card, gallery
from ui.app.components.inputs import defect_type_input
from ui.app.layout import action_bar, make_change, page
from ui.app.pictures import around, data_uri, thumbnail
from ui.app.session import Key, Session, app_state


def neighbor_card(session: Session, neighbor: Neighbor) -> Card:
    """An image of the library that is like another one; its part that is, if only a part is."""
    return _card(
        neighbor,
        small_picture(session, neighbor.path, neighbor.box),
        (f"distance {neighbor.distance:.3f}",),
        neighbor.verdict or "",
    )


def _card(image: LibraryImage | Neighbor, shown: str, lines: tuple[str, ...], verdict: str) -> Card:
    fields = ", ".join(f"{name} {value}" for name, value in image.fields.items())
    title = image.defect_type or image.label
    return Card(image.image_id, shown, title, (*lines, fields) if fields else lines, verdict)


def small_picture(session: Session, path: str, box: Box | None = None) -> str:
    """Thumbnail, of the part around ``box`` if given, as a data URI; empty of no file to show."""
    with contextlib.suppress(ImageError):
        if served := session.served(path):
            return data_uri(around(served, box) if box else thumbnail(served))
    return ""


def library_gallery(
    session: Session,
    key: Key,
    images: Iterable[LibraryImage],
    *,
    name: str,
    label: str,
    **options: Any,
) -> list[str]:
    """A `gallery` of library images; a click opens one, and the ids of those ticked come back."""
    verdict = read_calibration(session.entry(key)).verdict
    cards = [
        _card(
            image,
            small_picture(session, image.path),
            (
                Path(image.path).name,
                image.split if image.score is None else f"{image.split}, score {image.score:.4g}",
            ),
            "" if image.score is None else verdict(image.score),
        )
        for image in images
    ]
    chosen, picked = gallery(cards, key=name, label=label, **options)
    if chosen:
        put_in_address(image=chosen)
        st.rerun()
    return picked


def library_link(key: Key, image_id: str, label: str, icon: str = "photo_library") -> None:
    """A link to an image on the page Library."""
    st.page_link(
        page("library"),
        label=label,
        icon=f":material/{icon}:",
        query_params=address_of(key, image=image_id),
    )


def library_actions(session: Session, key: Key, ids: Sequence[str], *, name: str = "") -> None:
    """Buttons to name, quarantine or remove these images; a copy of a store has none.

    Args:
        name: of the buttons' keys, where the same images can have two sets of them.
    """
    if session.copied:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(
            "Name",
            icon=":material/label:",
            disabled=_calibrating(session, key, ids),
            help=_FIRST if _calibrating(session, key, ids) else None,
            key=f"name {name} {ids[0]} {len(ids)}",
        ):
            _name_in_dialog(session, key, ids)
        _leave(session, key, ids, name)


def ticked_bar(session: Session, key: Key, ids: Sequence[str]) -> None:
    """The actions on ticked images, at the foot of the window wherever the page is scrolled."""
    if not ids:
        return
    with action_bar("ticked"):
        st.markdown(f"**{len(ids)} ticked**")
        library_actions(session, key, ids, name="bar")


def image_actions(session: Session, key: Key, image: LibraryImage) -> None:
    """A form to name one image and buttons to quarantine or remove it."""
    if session.copied:
        return
    if _calibrating(session, key, [image.image_id]):
        st.caption(_FIRST)
    else:
        name_form(session, key, [image.image_id])
    with st.container(horizontal=True):
        _leave(session, key, [image.image_id], "one")


_FIRST = "To name an image of the memory bank or the calibration, quarantine it first."


def _calibrating(session: Session, key: Key, ids: Sequence[str]) -> bool:
    """True if one of the images is in the memory bank or the calibration."""
    library = session.library(key)
    return any(library[name].split in ("bank", "calibration") for name in ids)


def _leave(session: Session, key: Key, ids: Sequence[str], name: str) -> None:
    if len(ids) == 1 and st.button(
        "Quarantine",
        icon=":material/block:",
        help="Stays in the library, and no score or evidence comes from it.",
        disabled=session.library(key)[ids[0]].split == "quarantined",
        key=f"quarantine {name} {ids[0]}",
    ):
        make_change(session, key, lambda: session.change(key, quarantine_image, ids[0]))
    if st.button("Remove", icon=":material/delete:", key=f"remove {name} {ids[0]} {len(ids)}"):
        make_change(session, key, lambda: _remove(session, key, ids))


def _remove(session: Session, key: Key, ids: Sequence[str]) -> Change:
    change = session.change(key, remove_images, ids)
    if in_address("image") in ids:
        put_in_address(image="")
    return change


@st.dialog("What they show")
def _name_in_dialog(session: Session, key: Key, ids: Sequence[str]) -> None:
    name_form(session, key, ids)


def name_form(session: Session, key: Key, ids: Sequence[str]) -> None:
    """A defect type, a note, and a button to give them to these images."""
    kind = defect_type_input(session, key)
    field = st.text_input("A note, as NAME=VALUE", placeholder="line=3")
    name, equals, value = field.partition("=")
    if st.button("Save", type="primary", disabled=not (kind or equals)):
        make_change(
            session,
            key,
            lambda: session.change(
                key,
                label_images,
                ids,
                backbone=lambda: session.network(session.entry(key)),
                defect_type=kind or None,
                fields={name.strip(): value.strip()} if equals else None,
            ),
        )


def embedding_map(session: Session, entry: CatalogEntry) -> list[str]:
    """Draw the images of the entry's library; the ids of the points chosen."""
    methods = ["PCA", "UMAP"] if find_spec("umap") else ["PCA"]
    method = st.segmented_control("Method", methods, default="PCA") or "PCA"
    rows = _rows(session.store.location, entry.category, entry.backbone, entry.revision, method)
    if not rows:
        st.info("A map takes at least three images.")
        return []
    chart = _map_chart(rows)
    st.caption("Click a point, or drag a box around several, to see the images.")
    event: Any = st.altair_chart(chart, on_select="rerun", key=f"map {entry.category} {method}")
    clicked = [point["id"] for point in event.selection.get("points", []) if "id" in point]
    box = event.selection.get("area", {})
    if clicked or not box:
        return clicked
    (left, right), (low, high) = box["x"], box["y"]
    return [r["id"] for r in rows if left <= r["x"] <= right and low <= r["y"] <= high]


@themed
def _map_chart(rows: list[dict[str, Any]]) -> alt.Chart:
    kinds = sorted({row["shows"] for row in rows})
    chart: alt.Chart = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_point(filled=True, size=70, opacity=0.8)
        .encode(
            x=alt.X("x:Q", axis=None),
            y=alt.Y("y:Q", axis=None),
            color=by_colour("shows"),
            shape=alt.Shape("shows:N", title=None),
            tooltip=["shows:N", "role:N", "file:N"],
        )
        .add_params(
            alt.selection_interval(name="area"),
            alt.selection_point(name="points", fields=["id"]),
        )
        .properties(height=480, description=f"Map of {len(rows)} images: {', '.join(kinds)}.")
    )
    return chart


@st.cache_data(show_spinner="Drawing the map…", max_entries=8)
def _rows(
    location: str, category: str, backbone: str, revision: int, method: Any
) -> list[dict[str, Any]]:
    """A row an image, kept for a revision of a store."""
    session = app_state().open()
    entry = session.entry(Key(category, backbone))
    images, plane = session.read(partial(image_plane, method=method), entry)
    return [
        {
            "id": image.image_id,
            "x": float(x),
            "y": float(y),
            "shows": image.defect_type or image.label,
            "role": image.split,
            "file": image.path.rpartition("/")[2],
        }
        for image, (x, y) in zip(images, plane, strict=True)
    ]
