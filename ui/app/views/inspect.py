"""Inspect: an image in, its verdict with the reasons, what is like it, and what it can teach."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from backbones.errors import VecspectError
from backbones.geometry import Box
from indexer.calibration.base import Calibration
from indexer.scoring.anomaly_map import regions
from search.prediction import Prediction
from search.retrieval.neighbors import By, Neighbor
from ui.app.components import cards, charts
from ui.app.components.intake import brought_in, chosen_image, strip, take_in
from ui.app.components.widgets import Card, gallery, viewer
from ui.app.images.pictures import patch_pair
from ui.app.layout import attempt, changed, choose_category, desk, go, page, plain, revision_text
from ui.app.session import Desk, Key

_MOST_REPLAYED = 60
_ALIKE: dict[By, str] = {
    "defect": "what deviates",
    "region": "the region chosen",
    "whole": "the whole",
}
_TEACHING = (
    ("normal", "This is fine", ":material/check:"),
    ("defective", "This is a defect", ":material/label:"),
)


def show() -> None:
    """The page."""
    opened = desk()
    key = choose_category(opened, "Inspect")
    take_in(opened, key)
    path = chosen_image(opened, key)
    if path is None:
        _nothing_yet(opened, key)
        return
    try:
        with st.spinner("Scoring…", show_time=False):
            prediction = opened.inspect(key, path)
    except VecspectError as error:
        st.error(plain(str(error)), icon=":material/broken_image:")
        return
    _show_prediction(opened, key, prediction)


def _nothing_yet(opened: Desk, key: Key) -> None:
    st.caption(plain(revision_text(opened.entry(key))))
    if brought_in():
        strip(opened, key, None)
        return
    defects = [i for i in opened.library(key).values() if i.label == "defective"][:12]
    if defects:
        st.markdown("Bring in an image, or look at a defect that the library knows:")
        calibration = Calibration.from_payload(opened.entry(key).calibration)
        cards = [cards.library_card(opened, image, calibration) for image in defects]
        chosen, _ = gallery(cards, key="examples", label="Defects of the library")
        if chosen:
            st.query_params["image"] = chosen
            st.rerun()
    else:
        st.markdown("Bring in an image to see its verdict.")


def _show_prediction(opened: Desk, key: Key, prediction: Prediction) -> None:
    left, right = st.columns([11, 9], gap="large")
    boxes = [prediction.box]
    if prediction.distances.size > 1:
        boxes = (
            regions(
                prediction.distances,
                threshold=prediction.map_threshold,
                input_size=prediction.input_size,
                width=prediction.width,
                height=prediction.height,
                inset=prediction.inset,
            )
            or boxes
        )
    with left:
        strip(opened, key, prediction.path)
        cell = _patch(prediction, boxes)
    with right:
        cards.verdict_banner(prediction)
        charts.score_on_histogram(opened.entry(key), prediction.score)
        _evidence(opened, key, prediction, cell)
        _seen_before(opened, key, prediction)
        _category_hint(opened, key, prediction.path)
    if not opened.copied:
        _teach(opened, key, prediction)
    patch = opened.entry(key).spec.geometry(prediction.width, prediction.height).cell_box(*cell)
    _similar(opened, key, prediction, _region(prediction, boxes, patch))


def _patch(prediction: Prediction, boxes: list[Box]) -> tuple[int, int]:
    """Picture and heat; the patch chosen there, at first the worst one."""
    place = f"cell {prediction.path} {prediction.revision}"
    cell: tuple[int, int] = st.session_state.get(place, prediction.evidence.query_cell)
    clicked = viewer(prediction, boxes, cell, key="viewer")
    if clicked and clicked != cell:
        st.session_state[place] = clicked
        st.rerun()
    st.caption(plain(f"{prediction.path.name} · {prediction.width} x {prediction.height} pixels"))
    return cell


def _region(prediction: Prediction, boxes: list[Box], patch: Box) -> Box:
    """The region that the chosen patch lies in; beside all of them, the patches around it."""
    x, y = patch.x + patch.width / 2, patch.y + patch.height / 2
    for box in boxes:
        if box.x <= x < box.x + box.width and box.y <= y < box.y + box.height:
            return box
    left, top = max(0, patch.x - patch.width), max(0, patch.y - patch.height)
    right = min(prediction.width, patch.x + 2 * patch.width)
    bottom = min(prediction.height, patch.y + 2 * patch.height)
    return Box(left, top, right - left, bottom - top)


def _evidence(opened: Desk, key: Key, prediction: Prediction, cell: tuple[int, int]) -> None:
    with opened.lock:
        evidence = opened.inspector(key).evidence(prediction, *cell)
    worst = cell == prediction.evidence.query_cell
    st.subheader("Compared with" if worst else "This patch compared with")
    image = opened.library(key)[evidence.image_id]
    normal = opened.served(evidence.path)
    pictures = patch_pair(prediction.path, normal, evidence)
    columns = st.columns(2)
    name = "worst patch" if worst else f"patch {cell[0]}, {cell[1]}"
    columns[0].image(pictures[0], caption=f"{name}, distance {evidence.distance:.3g}")
    if len(pictures) == 2:
        columns[1].image(pictures[1], caption="nearest normal patch")
    else:
        columns[1].warning(cards.not_served(evidence.path))
    st.page_link(
        page("library"),
        label=plain(f"from {Path(evidence.path).name}, {image.split}"),
        icon=":material/photo_library:",
        query_params={"category": key.category, "image": evidence.image_id},
    )


def _seen_before(opened: Desk, key: Key, prediction: Prediction) -> None:
    seen = prediction.seen_before
    if seen is None:
        return
    st.subheader("Seen before?")
    if seen.defect_type == "unknown":
        st.markdown(
            f"**Unknown.** Nearest is {plain(seen.nearest_type)}, at a cosine distance of "
            f"{seen.distance:.2f}: too far, or such votes were too often wrong."
        )
    else:
        st.markdown(
            f"**{plain(seen.defect_type)}**: votes as strong were right {seen.confidence:.0%} of "
            f"the time. {seen.cases} past cases, {seen.share:.0%} of all named defects."
        )
    for name, values in seen.fields.items():
        told = ", ".join(f"{value} ({count})" for value, count in values.items())
        st.caption(plain(f"{name}: {told}"))


def _category_hint(opened: Desk, key: Key, path: Path) -> None:
    """Where the image looks more like another category of the same network."""
    if len(opened.entries()) < 2:
        return
    proposed = opened.propose(path, key)
    if proposed != key:
        st.info(
            f"As a whole this looks more like {plain(proposed.category)}.", icon=":material/help:"
        )
        if st.button(f"Inspect it as {plain(proposed.category)}"):
            go("inspect", category=proposed.category, image=str(path))


def _teach(opened: Desk, key: Key, prediction: Prediction) -> None:
    path = prediction.path
    if known := opened.known(key, path):
        st.page_link(
            page("library"),
            label=f"The library has this image, as {plain(known.defect_type or known.label)}",
            icon=":material/photo_library:",
            query_params={"category": key.category, "image": known.image_id},
        )
        return
    with st.container(horizontal=True):
        for label, said, icon in _TEACHING:
            if st.button(said, icon=icon):
                st.session_state["teaching"] = (label, path, prediction.revision)
    label, asked, revision = st.session_state.get("teaching", ("", None, 0))
    if (asked, revision) != (path, prediction.revision):
        return
    with st.container(border=True):
        kind = ""
        if label == "normal":
            _show_replay(opened, key, prediction)
        else:
            kind = cards.defect_type_input(opened, key)
            st.markdown(
                "It joins the library with what deviates in it. Scores and verdicts stay as they "
                "are; later images are told that they resemble it."
            )
        with st.container(horizontal=True):
            taught = st.button("Teach", type="primary")
            cancelled = st.button("Cancel", type="tertiary")
    if cancelled or (
        taught and attempt(lambda: changed(key, revision, opened.teach(key, [path], label, kind)))
    ):
        del st.session_state["teaching"]
        st.rerun()


def _show_replay(opened: Desk, key: Key, prediction: Prediction) -> None:
    """What would change; worked out once for an image and a revision."""
    known = [i.path for i in opened.library(key).values() if i.label == "defective"]
    asked = list(dict.fromkeys([*known[:_MOST_REPLAYED], *brought_in()[:_MOST_REPLAYED]]))
    others = [Path(p) for p in asked if p != str(prediction.path) and opened.served(p)]
    place = (prediction.path, prediction.revision)
    held = st.session_state.get("replay")
    if held is None or held[0] != place:
        try:
            with st.spinner("Replaying past verdicts…"):
                held = (place, opened.replay(key, prediction.path, others))
        except VecspectError as error:
            st.error(plain(str(error)))
            return
        st.session_state["replay"] = held
    cards.replay_summary(held[1])


def _similar(opened: Desk, key: Key, prediction: Prediction, region: Box) -> None:
    st.subheader("Similar normal images")
    _neighbors(opened, key, prediction.path, "normal", "whole")
    st.subheader("Similar defects")
    by: By | None = "whole"
    if prediction.distances.size > 1:
        by = st.segmented_control(
            "Alike in",
            list(_ALIKE),
            default="defect",
            format_func=lambda name: _ALIKE[name],
            label_visibility="collapsed",
        )
    if by:
        box = region if by == "region" else None
        _neighbors(opened, key, prediction.path, "defective", by, box)


def _neighbors(
    opened: Desk, key: Key, path: Path, label: str, by: By, box: Box | None = None
) -> None:
    try:
        found = opened.similar(key, path, top=6, by=by, label=label, box=box)
    except VecspectError as error:
        st.caption(plain(str(error)))
        return
    if not found:
        st.caption("The library has none.")
        return
    cards = [_neighbor_card(opened, neighbor) for neighbor in found]
    chosen, _ = gallery(cards, key=f"similar {label}", label=f"Similar {label} images")
    if chosen:
        go("library", category=key.category, image=chosen)


def _neighbor_card(opened: Desk, neighbor: Neighbor) -> Card:
    title = neighbor.defect_type or neighbor.label
    fields = ", ".join(f"{name} {value}" for name, value in neighbor.fields.items())
    lines = [f"distance {neighbor.distance:.3f}", fields]
    return Card(
        neighbor.image_id,
        cards.small(opened, neighbor.path, neighbor.box),
        title,
        tuple(line for line in lines if line),
        neighbor.verdict or "",
    )
