"""Library: every image of a category, what it is called, and what nobody has named yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

from backbones.errors import ImageError, VecspectError
from indexer.calibration.base import Calibration
from indexer.catalog.schema import CatalogEntry, LibraryImage
from indexer.update.insertion import Change, quarantine_image, remove_images
from indexer.update.labels import label_images
from search.calibrator import ConformalCalibrator
from search.retrieval.clustering import Cluster, cluster_defects
from ui.app.components import cards
from ui.app.components.embedding_map import embedding_map
from ui.app.components.widgets import gallery
from ui.app.images.pictures import picture
from ui.app.layout import attempt, changed, choose_category, desk, go, plain, revision_text
from ui.app.session import Desk, Key

_PAGE = 48


def show() -> None:
    """The page."""
    opened = desk()
    key = choose_category(opened, "Library")
    entry = opened.entry(key)
    st.caption(plain(revision_text(entry)))
    _one(opened, key)
    views = ["Images", "Unnamed defects", "Map", "Add"]
    view = st.segmented_control(
        "View", views, default="Images", label_visibility="collapsed", key="library view"
    )
    if view == "Unnamed defects":
        _unnamed(opened, key, entry)
    elif view == "Map":
        _map(opened, key, entry)
    elif view == "Add":
        _add(opened, key)
    else:
        _images(opened, key, entry)


def _one(opened: Desk, key: Key) -> None:
    """The image that the address names, with all that is known of it."""
    wanted = st.query_params.get("image", "")
    if not wanted:
        return
    image = opened.library(key).get(wanted)
    if image is None:
        st.warning("The library of this category has no such image.")
        return
    with st.container(border=True):
        left, right = st.columns([2, 3], gap="large")
        served = opened.served(image.path)
        if served:
            try:
                left.image(picture(served))
            except ImageError as error:
                left.warning(plain(str(error)))
        else:
            left.warning(cards.not_served(image.path))
        with right:
            _facts(opened, key, image)
            _actions(opened, key, [image.image_id])
            with st.container(horizontal=True):
                if served and st.button("Inspect", icon=":material/search:"):
                    go("inspect", category=key.category, image=image.image_id)
                if st.button("Close", icon=":material/close:", type="tertiary"):
                    st.query_params.pop("image", None)
                    st.rerun()


def _facts(opened: Desk, key: Key, image: LibraryImage) -> None:
    calibration = Calibration.from_payload(opened.entry(key).calibration)
    facts = {
        "label": image.label,
        "defect type": image.defect_type or "-",
        "role": "memory bank" if image.split == "bank" else image.split,
        "score": "-" if image.score is None else f"{image.score:.4g}",
        "verdict": "-" if image.score is None else calibration.verdict(image.score),
        **image.fields,
        "size": f"{image.width} x {image.height}",
        "added": image.added_at,
        "file": cards.short(image.path),
        "id": image.image_id,
    }
    st.dataframe(
        [{"of this image": name, "": value} for name, value in facts.items()],
        hide_index=True,
        height="content",
    )


def _images(opened: Desk, key: Key, entry: CatalogEntry) -> None:
    images = _filtered(opened, key, entry)
    pages = max(1, -(-len(images) // _PAGE))
    at = min(max(1, _number(st.query_params.get("page", "1"))), pages)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(f"{len(images)} images, page {at} of {pages}")
        for label, icon, to in (("Back", "left", at - 1), ("Next", "right", at + 1)):
            st.button(
                label,
                icon=f":material/chevron_{icon}:",
                disabled=not 1 <= to <= pages,
                on_click=_turn_to,
                args=(to,),
            )
    if not images:
        st.info("No image matches these filters.")
        return
    shown = images[(at - 1) * _PAGE : at * _PAGE]
    calibration = Calibration.from_payload(entry.calibration)
    cards = [cards.library_card(opened, image, calibration) for image in shown]
    chosen, picked = gallery(
        cards,
        key=f"library {key} {at}",
        label="Images of the library",
        chosen=st.query_params.get("image", ""),
        picked=[],
    )
    if picked:
        st.markdown(f"**{len(picked)} ticked**")
        _actions(opened, key, picked)
    if chosen:
        st.query_params["image"] = chosen
        st.rerun()


def _turn_to(number: int) -> None:
    st.query_params["page"] = str(number)


def _filtered(opened: Desk, key: Key, entry: CatalogEntry) -> list[LibraryImage]:
    """The images that pass the filters, by path."""
    images = sorted(opened.library(key).values(), key=lambda i: (i.path, i.image_id))
    calibration = Calibration.from_payload(entry.calibration)
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
    tests: list[Callable[[LibraryImage], bool]] = []
    if label != "all":
        tests.append(lambda i: i.label == label)
    if kind == "unnamed":
        tests.append(lambda i: i.label == "defective" and not i.defect_type)
    elif kind != "all":
        tests.append(lambda i: i.defect_type == kind)
    if role != "all":
        tests.append(lambda i: i.split == role)
    if verdict != "all":
        tests.append(lambda i: i.score is not None and calibration.verdict(i.score) == verdict)
    if since:
        tests.append(lambda i: i.added_at >= since.isoformat())
    name, equals, value = text.partition("=")
    if equals:
        tests.append(lambda i: i.fields.get(name.strip()) == value.strip())
    elif text:
        tests.append(lambda i: text.lower() in i.path.lower())
    return [image for image in images if all(test(image) for test in tests)]


def _number(text: str) -> int:
    return int(text) if text.isdecimal() else 1


def _actions(opened: Desk, key: Key, ids: Sequence[str]) -> None:
    """What can be done with images of the library; each is one revision, and can be undone."""
    if opened.copied:
        return
    library = opened.library(key)
    bound = any(library[name].split in ("bank", "calibration") for name in ids)
    with st.container(horizontal=True):
        if st.button(
            "Name",
            icon=":material/label:",
            disabled=bound,
            help="An image of the memory bank or the calibration is quarantined first."
            if bound
            else None,
            key=f"name {ids[0]} {len(ids)}",
        ):
            _name(opened, key, ids)
        if len(ids) == 1 and st.button(
            "Quarantine",
            icon=":material/block:",
            help="Stays in the library, and no score or evidence comes from it.",
            disabled=library[ids[0]].split == "quarantined",
            key=f"quarantine {ids[0]}",
        ):
            _do(
                opened,
                key,
                lambda entry, calibrator: quarantine_image(
                    ids[0], store=opened.store, entry=entry, calibrator=calibrator
                ),
            )
        if st.button("Remove", icon=":material/delete:", key=f"remove {ids[0]} {len(ids)}"):
            _do(
                opened,
                key,
                lambda entry, calibrator: remove_images(
                    ids, store=opened.store, entry=entry, calibrator=calibrator
                ),
            )


def _do(
    opened: Desk, key: Key, action: Callable[[CatalogEntry, ConformalCalibrator], Change]
) -> None:
    before = opened.entry(key).revision
    if attempt(lambda: changed(key, before, opened.change(key, action))):
        st.rerun()


@st.dialog("What they show")
def _name(opened: Desk, key: Key, ids: Sequence[str]) -> None:
    kind = cards.defect_type_input(opened, key)
    field = st.text_input("A note, as NAME=VALUE", placeholder="line=3")
    name, equals, value = field.partition("=")
    if st.button("Save", type="primary", disabled=not (kind or equals)):
        _do(
            opened,
            key,
            lambda entry, calibrator: label_images(
                ids,
                store=opened.store,
                entry=entry,
                calibrator=calibrator,
                backbone=lambda: opened.network(entry),
                defect_type=kind or None,
                fields={name.strip(): value.strip()} if equals else None,
            ),
        )


def _unnamed(opened: Desk, key: Key, entry: CatalogEntry) -> None:
    st.markdown("Defective images without a type, in groups that deviate alike. Name a group.")
    try:
        with opened.lock:
            clusters: list[Cluster] = cluster_defects(opened.store, entry)
    except VecspectError as error:
        st.info(plain(str(error)))
        return
    if not clusters:
        st.info(
            "Fewer than two defective images have no type. Add some under Add, or call an image "
            "a defect on the page Inspect without a type."
        )
        return
    library = opened.library(key)
    calibration = Calibration.from_payload(entry.calibration)
    for number, cluster in enumerate(clusters, 1):
        with st.container(border=True):
            st.markdown(f"**Group {number}: {len(cluster.image_ids)} images**")
            cards = [
                cards.library_card(opened, library[i], calibration) for i in cluster.image_ids[:24]
            ]
            chosen, _ = gallery(cards, key=f"group {number}", label=f"Group {number}", side=100)
            if chosen:
                st.query_params["image"] = chosen
                st.rerun()
            _actions(opened, key, cluster.image_ids)


def _map(opened: Desk, key: Key, entry: CatalogEntry) -> None:
    try:
        chosen = embedding_map(opened, entry)
    except VecspectError as error:
        st.info(plain(str(error)))
        return
    if chosen:
        library = opened.library(key)
        calibration = Calibration.from_payload(entry.calibration)
        cards = [
            cards.library_card(opened, library[i], calibration)
            for i in chosen[:_PAGE]
            if i in library
        ]
        opened_one, picked = gallery(cards, key="map chosen", label="Chosen images", picked=[])
        if picked:
            _actions(opened, key, picked)
        if opened_one:
            st.query_params["image"] = opened_one
            st.rerun()


def _add(opened: Desk, key: Key) -> None:
    if opened.copied:
        st.info("A copy of the store is read only.")
        return
    label = st.segmented_control("These are", ["normal", "defective"], default="normal")
    kind = cards.defect_type_input(opened, key) if label == "defective" else ""
    files = cards.upload_input("Images", "library upload")
    found = cards.folder_input(opened, "library")
    if not (files or found) or not label:
        return
    if st.button(f"Add {len(files) + len(found)} images", type="primary"):
        paths = [*found, *cards.keep_uploads(opened, [(f.name, f.getvalue()) for f in files])]
        before = opened.entry(key).revision
        with st.spinner("Adding…"):
            done = attempt(
                lambda: changed(key, before, opened.teach(key, paths, label, kind or ""))
            )
        if done:
            st.rerun()
