"""Library: every image of a category, what it is called, and what nobody has named yet."""

from __future__ import annotations

import streamlit as st

from indexer.calibration.methods import read_calibration
from indexer.catalog.entry import CatalogEntry, LibraryImage
from search.retrieval.clustering import cluster_defects
from ui.app.address import in_address, number_in_address, put_in_address
from ui.app.components.folders import folder_input
from ui.app.components.inputs import defect_type_input, keep_uploads, upload_input
from ui.app.components.library import (
    embedding_map,
    image_actions,
    library_actions,
    library_gallery,
    ticked_bar,
)
from ui.app.components.library_filters import filtered_images
from ui.app.layout import attempt, choose_category, go, make_change, open_session
from ui.app.pictures import picture
from ui.app.session import Key, Session
from ui.app.text import not_served, plain, revision_text, short_path

_PAGE = 48


def show() -> None:
    """The page."""
    session = open_session()
    key = choose_category(session, "Library")
    entry = session.entry(key)
    st.caption(plain(revision_text(entry)))
    views = {"Images": _images, "Unnamed defects": _unnamed, "Map": _map, "Add": _add}
    view = st.segmented_control(
        "View",
        list(views),
        default="Images",
        label_visibility="collapsed",
        key="view",
        bind="query-params",
    )
    in_address("view")
    views.get(view or "", _images)(session, key, entry)
    wanted = in_address("image")
    if wanted and (image := session.library(key).get(wanted)):
        _one(session, key, image)
    elif wanted:
        put_in_address(image="")
        st.toast("The library of this category has no such image.", icon=":material/info:")


@st.dialog("Library image", width="medium", on_dismiss=lambda: put_in_address(image=""))
def _one(session: Session, key: Key, image: LibraryImage) -> None:
    """One image over the page, with all that is known of it and what can be done with it."""
    left, right = st.columns(2, gap="medium")
    served = session.served(image.path)
    if not served:
        left.warning(not_served(image.path))
    elif pixels := attempt(lambda: picture(served), left.warning):
        left.image(pixels, alt=f"{image.defect_type or image.label}: {short_path(image.path)}")
    with right:
        image_actions(session, key, image)
        with st.container(horizontal=True):
            if served and st.button("Inspect", icon=":material/search:"):
                go("inspect", key, image=image.image_id)
            if st.button("Close", icon=":material/close:", type="tertiary"):
                put_in_address(image="")
                st.rerun()
    _facts(session, key, image)


def _facts(session: Session, key: Key, image: LibraryImage) -> None:
    calibration = read_calibration(session.entry(key))
    facts = {
        "label": image.label,
        "defect type": image.defect_type or "-",
        "role": "memory bank" if image.split == "bank" else image.split,
        "score": "-" if image.score is None else f"{image.score:.4g}",
        "verdict": "-" if image.score is None else calibration.verdict(image.score),
        **image.fields,
        "size": f"{image.width} x {image.height}",
        "added": image.added_at[:19].replace("T", " "),
        "file": short_path(image.path),
        "id": image.image_id,
    }
    st.dataframe(
        [{"fact": name, "value": value} for name, value in facts.items()],
        hide_index=True,
        height="content",
    )


def _images(session: Session, key: Key, _: CatalogEntry) -> None:
    images = filtered_images(session, key)
    pages = max(1, -(-len(images) // _PAGE))
    at = min(max(1, number_in_address("page", 1)), pages)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"{len(images)} images, page {at} of {pages}")
        for label, icon, to in (("Back", "left", at - 1), ("Next", "right", at + 1)):
            st.button(
                label,
                icon=f":material/chevron_{icon}:",
                disabled=not 1 <= to <= pages,
                on_click=_turn,
                args=(to,),
            )
    if not images:
        st.info("No image matches these filters.")
        return
    picked = library_gallery(
        session,
        key,
        images[(at - 1) * _PAGE : at * _PAGE],
        name=f"library {key} {at}",
        label="Images of the library",
        chosen=in_address("image"),
        picking=True,
    )
    ticked_bar(session, key, picked)


def _turn(page: int) -> None:
    put_in_address(page=str(page) if page > 1 else "")


def _unnamed(session: Session, key: Key, entry: CatalogEntry) -> None:
    st.markdown("Defective images without a type, grouped by defect embedding. Name a group.")
    clusters = attempt(lambda: session.read(cluster_defects, entry), st.info)
    if clusters == []:
        st.info(
            "Fewer than two defective images have no type. Add some under Add, or call an image "
            "a defect on the page Inspect without a type."
        )
    library = session.library(key)
    for number, cluster in enumerate(clusters or [], 1):
        with st.container(border=True):
            name, ids = f"Group {number}", cluster.image_ids
            st.markdown(f"**{name}: {len(ids)} images**")
            library_actions(session, key, ids, name=name)
            images = [library[image_id] for image_id in ids[:24]]
            library_gallery(session, key, images, name=name.lower(), label=name, side=100)


def _map(session: Session, key: Key, entry: CatalogEntry) -> None:
    chosen = attempt(lambda: embedding_map(session, entry), st.info)
    if not chosen:
        return
    library = session.library(key)
    images = [library[name] for name in chosen[:_PAGE] if name in library]
    picked = library_gallery(
        session, key, images, name="map chosen", label="Chosen images", picking=True
    )
    ticked_bar(session, key, picked)


def _add(session: Session, key: Key, _: CatalogEntry) -> None:
    if session.copied:
        st.info("A copy of the store is read only.")
        return
    label = st.segmented_control("These are", ["normal", "defective"], default="normal")
    kind = defect_type_input(session, key) if label == "defective" else ""
    files = upload_input("Images", "library upload")
    found = folder_input(session, "library")
    if not (files or found) or not label:
        return
    if st.button(f"Add {len(files) + len(found)} images", type="primary"):
        paths = [*found, *keep_uploads(session, files)]
        with st.spinner("Adding…"):
            make_change(session, key, lambda: session.teach(key, paths, label, kind))
