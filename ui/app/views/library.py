"""Library: every image of a category, what it is called, and what nobody has named yet."""

from __future__ import annotations

import streamlit as st

from indexer.calibration.methods import read_calibration
from indexer.catalog.entry import CatalogEntry, LibraryImage
from search.retrieval.clustering import cluster_defects
from ui.app.components.inputs import defect_type_input, folder_input, keep_uploads, upload_input
from ui.app.components.library import embedding_map, library_actions, library_gallery
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
    _one(session, key)
    views = {"Images": _images, "Unnamed defects": _unnamed, "Map": _map, "Add": _add}
    view = st.segmented_control(
        "View", list(views), default="Images", label_visibility="collapsed", key="library view"
    )
    views.get(view or "", _images)(session, key, entry)


def _one(session: Session, key: Key) -> None:
    """The image that the address names, with all that is known of it."""
    wanted = st.query_params.get("image", "")
    if not wanted:
        return
    image = session.library(key).get(wanted)
    if image is None:
        st.warning("The library of this category has no such image.")
        return
    with st.container(border=True):
        left, right = st.columns([2, 3], gap="large")
        served = session.served(image.path)
        if not served:
            left.warning(not_served(image.path))
        elif pixels := attempt(lambda: picture(served), left.warning):
            left.image(pixels)
        with right:
            _facts(session, key, image)
            library_actions(session, key, [image.image_id])
            with st.container(horizontal=True):
                if served and st.button("Inspect", icon=":material/search:"):
                    go("inspect", category=key.category, image=image.image_id)
                if st.button("Close", icon=":material/close:", type="tertiary"):
                    st.query_params.pop("image", None)
                    st.rerun()


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
        "added": image.added_at,
        "file": short_path(image.path),
        "id": image.image_id,
    }
    st.dataframe(
        [{"of this image": name, "": value} for name, value in facts.items()],
        hide_index=True,
        height="content",
    )


def _images(session: Session, key: Key, entry: CatalogEntry) -> None:
    images = _filtered(session, key)
    pages = max(1, -(-len(images) // _PAGE))
    asked = st.query_params.get("page", "")
    at = min(max(1, int(asked) if asked.isdecimal() else 1), pages)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"{len(images)} images, page {at} of {pages}")
        for label, icon, to in (("Back", "left", at - 1), ("Next", "right", at + 1)):
            st.button(
                label,
                icon=f":material/chevron_{icon}:",
                disabled=not 1 <= to <= pages,
                on_click=st.query_params.__setitem__,
                args=("page", str(to)),
            )
    if not images:
        st.info("No image matches these filters.")
        return
    shown = images[(at - 1) * _PAGE : at * _PAGE]
    picked = library_gallery(
        session,
        key,
        shown,
        name=f"library {key} {at}",
        label="Images of the library",
        chosen=st.query_params.get("image", ""),
        picking=True,
    )
    if picked:
        st.markdown(f"**{len(picked)} ticked**")
        library_actions(session, key, picked)


def _unnamed(session: Session, key: Key, entry: CatalogEntry) -> None:
    st.markdown("Defective images without a type, in groups that deviate alike. Name a group.")
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
            images = [library[image_id] for image_id in ids[:24]]
            library_gallery(session, key, images, name=name.lower(), label=name, side=100)
            library_actions(session, key, ids)


def _map(session: Session, key: Key, entry: CatalogEntry) -> None:
    chosen = attempt(lambda: embedding_map(session, entry), st.info)
    if not chosen:
        return
    library = session.library(key)
    images = [library[name] for name in chosen[:_PAGE] if name in library]
    picked = library_gallery(
        session, key, images, name="map chosen", label="Chosen images", picking=True
    )
    if picked:
        library_actions(session, key, picked)


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


def _filtered(session: Session, key: Key) -> list[LibraryImage]:
    """The images that pass the filters, by path."""
    images = sorted(session.library(key).values(), key=lambda i: (i.path, i.image_id))
    calibration = read_calibration(session.entry(key))
    with st.container(horizontal=True):
        label = st.selectbox("Label", ["all", "normal", "defective"], width=150)
        kinds = sorted({i.defect_type for i in images if i.defect_type})
        kind = st.selectbox("Defect type", ["all", *kinds, "unnamed"], width=180)
        role = st.selectbox(
            "Role", ["all", "bank", "calibration", "test", "quarantined"], width=160
        )
        verdict = st.selectbox("Verdict", ["all", "ok", "review", "reject"], width=130)
        since = st.date_input("Added since", None, width=150)
        text = st.text_input("File name or field", placeholder="line=3", width=220)
    name, equals, value = text.partition("=")

    def passes(image: LibraryImage) -> bool:
        unnamed = image.label == "defective" and not image.defect_type
        fits = image.score is not None and calibration.verdict(image.score) == verdict
        field = image.fields.get(name.strip()) == value.strip()
        return (
            label in ("all", image.label)
            and (kind in ("all", image.defect_type) or (kind == "unnamed" and unnamed))
            and role in ("all", image.split)
            and (verdict == "all" or fits)
            and (not since or image.added_at >= since.isoformat())
            and (field if equals else text.lower() in image.path.lower())
        )

    return [image for image in images if passes(image)]
