"""Inspect: an image in, its verdict with the reasons, what is like it, and what it can teach."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import cast

import streamlit as st

from backbones.geometry import Box
from indexer.calibration.base import Calibration
from indexer.calibration.methods import read_calibration
from indexer.scoring.anomaly_map import regions
from search.monitoring.replay_update import Replay
from search.prediction import Prediction
from search.retrieval.neighbors import By
from ui.app.address import in_address, put_in_address
from ui.app.components import charts
from ui.app.components.custom import gallery, viewer
from ui.app.components.inputs import defect_type_input
from ui.app.components.intake import brought_in, chosen_image, strip, take_in
from ui.app.components.library import library_gallery, library_link, neighbor_card
from ui.app.components.replay import replay_summary
from ui.app.components.verdicts import verdict_banner
from ui.app.layout import action_bar, attempt, choose_category, go, open_session
from ui.app.notices import note_change
from ui.app.pictures import patch_pair
from ui.app.session import Key, Session
from ui.app.text import not_served, plain, revision_text

_MOST_REPLAYED = 24
_TAUGHT = "what is being taught"
_ALIKE: dict[By, str] = {
    "defect": "the defect",
    "region": "the region chosen",
    "whole": "the whole",
}
_TEACHING = {
    "normal": ("This is fine", ":material/check:"),
    "defective": ("This is a defect", ":material/label:"),
}


def show() -> None:
    """The page."""
    session = open_session()
    key = choose_category(session, "Inspect")
    take_in(session)
    path = chosen_image(session, key)
    if path is None:
        _nothing_yet(session, key)
        return
    with st.spinner("Scoring…", show_time=False):
        broken = partial(st.error, icon=":material/broken_image:")
        prediction = attempt(lambda: session.inspect(key, path), broken)
    if prediction:
        _show_prediction(session, key, prediction)


def _nothing_yet(session: Session, key: Key) -> None:
    st.caption(plain(revision_text(session.entry(key))))
    if brought_in():
        strip(session, key, None)
        return
    defects = [i for i in session.library(key).values() if i.label == "defective"][:12]
    if defects:
        st.markdown("Bring in an image, or look at a defect that the library knows:")
        library_gallery(session, key, defects, name="examples", label="Defects of the library")
    else:
        st.markdown("Bring in an image to see its verdict.")


def _show_prediction(session: Session, key: Key, prediction: Prediction) -> None:
    boxes: list[Box] = []
    if prediction.distances.size > 1:
        boxes = regions(
            prediction.distances, prediction.geometry, threshold=prediction.map_threshold
        )
    boxes = boxes or [prediction.box]
    calibration = read_calibration(session.entry(key))
    # whether it is a part of this product at all comes before what this product's parts say of it
    other = _category_hint(session, key, prediction.path)
    if other and st.button(f"Inspect it as {plain(other.category)}", type="primary"):
        go("inspect", other, image=str(prediction.path))
    verdict_banner(prediction, calibration)
    left, right = st.columns([11, 9], gap="large")
    with left:
        strip(session, key, prediction.path)
        cell = _patch(prediction, boxes)
    with right:
        _histogram(calibration, prediction)
        _evidence(session, key, prediction, cell)
        _seen_before(prediction)
    patch = prediction.geometry.cell_box(*cell)
    _similar(session, key, prediction, _region(prediction, boxes, patch))
    if not session.copied:
        _teach(session, key, prediction)


def _histogram(calibration: Calibration, prediction: Prediction) -> None:
    chart = charts.histogram(calibration, prediction.score).properties(
        height=270,  # of which the legend takes a third
        description=f"Scores of {calibration.n} normal images; this image scores "
        f"{prediction.score:.4g}, reject above {prediction.threshold:.4g}.",
    )
    st.altair_chart(chart, width="stretch")


def _patch(prediction: Prediction, boxes: list[Box]) -> tuple[int, int]:
    """Picture and heat; the patch chosen there, at first the worst one."""
    cell = _patch_in_address(prediction)
    clicked = viewer(prediction, boxes, cell)
    if clicked and clicked != cell:
        put_in_address(patch=f"{clicked[0]},{clicked[1]}")
        st.rerun()
    st.caption(plain(f"{prediction.path.name} · {prediction.width} x {prediction.height} pixels"))
    return cell


def _patch_in_address(prediction: Prediction) -> tuple[int, int]:
    row, _, col = in_address("patch").partition(",")
    rows, cols = prediction.distances.shape
    if row.isdecimal() and col.isdecimal() and max(len(row), len(col)) < 5:
        cell = int(row), int(col)
        if cell[0] < rows and cell[1] < cols:
            return cell
    return prediction.evidence.query_cell


def _region(prediction: Prediction, boxes: list[Box], patch: Box) -> Box:
    """The region that the chosen patch lies in; beside all of them, the patches around it."""
    x, y = patch.x + patch.width / 2, patch.y + patch.height / 2
    for box in boxes:
        if 0 <= x - box.x < box.width and 0 <= y - box.y < box.height:
            return box
    left, top = max(0, patch.x - patch.width), max(0, patch.y - patch.height)
    right = min(prediction.width, patch.x + 2 * patch.width)
    bottom = min(prediction.height, patch.y + 2 * patch.height)
    return Box(left, top, right - left, bottom - top)


def _evidence(session: Session, key: Key, prediction: Prediction, cell: tuple[int, int]) -> None:
    with session.lock:
        evidence = session.inspector(key).evidence(prediction, *cell)
    worst = cell == prediction.evidence.query_cell
    st.header("Compared with" if worst else "This patch compared with")
    pictures = patch_pair(prediction.path, session.served(evidence.path), evidence)
    columns = st.columns(2)
    shown = "worst patch" if worst else f"patch {cell[0]}, {cell[1]}"
    columns[0].image(
        pictures[0],
        caption=f"{shown}, distance {evidence.distance:.3g}",
        alt=f"The {shown} of {prediction.path.name}, outlined",
    )
    if len(pictures) == 2:
        columns[1].image(
            pictures[1],
            caption="nearest normal patch",
            alt=f"Its nearest normal patch, in {Path(evidence.path).name}",
        )
    else:
        columns[1].warning(not_served(evidence.path))
    split = session.library(key)[evidence.image_id].split
    label = plain(f"from {Path(evidence.path).name}, {split}")
    library_link(key, evidence.image_id, label)


def _seen_before(prediction: Prediction) -> None:
    seen = prediction.seen_before
    if seen is None:
        return
    st.header("Seen before?")
    if seen.defect_type == "unknown":
        st.markdown(
            f"**Looks like no known type.** The nearest is {plain(seen.nearest_type)}, at a cosine "
            f"distance of {seen.distance:.2f}: too far, or too often wrong."
        )
    else:
        cases = "1 past case" if seen.cases == 1 else f"{seen.cases} past cases"
        sure = f"{100 * seen.confidence:.0f} % sure, {cases}"
        st.markdown(f"**Looks like {plain(seen.defect_type)}** ({sure})")
    for name, values in seen.fields.items():
        told = ", ".join(f"{value} ({count})" for value, count in values.items())
        st.caption(plain(f"{name}: {told}"))


def _category_hint(session: Session, key: Key, path: Path) -> Key | None:
    """Say that the image looks more like another category of the same network; return that one."""
    proposed = session.propose(path, key) if len(session.entries()) > 1 else key
    if proposed == key:
        return None
    name, here = plain(proposed.category), plain(key.category)
    st.warning(
        f"**This looks like a part of {name}, not of {here}**, which it is compared with here.",
        icon=":material/help:",
    )
    return proposed


def _teach(session: Session, key: Key, prediction: Prediction) -> None:
    path = prediction.path
    asked = (path, prediction.revision)
    with action_bar("teach"):
        if known := session.known(key, prediction):
            kind = plain(known.defect_type or known.label)
            library_link(key, known.image_id, f"The library has this image, as {kind}")
            return
        st.markdown(f"**{prediction.verdict.capitalize()}**. Is that right?")
        for label, (said, icon) in _TEACHING.items():
            if st.button(said, icon=icon):
                st.session_state[_TAUGHT] = (label, *asked)
    label, *about = st.session_state.get(_TAUGHT, ("",))
    if tuple(about) == asked:
        title = plain(_TEACHING[label][0])
        dialog = st.dialog(title, width="large", on_dismiss=_stop_teaching)(_confirm)
        dialog(session, key, prediction, label)


def _stop_teaching() -> None:
    st.session_state.pop(_TAUGHT, None)


def _confirm(session: Session, key: Key, prediction: Prediction, label: str) -> None:
    """Effects of teaching, and the button that does it."""
    kind, teach = "", "Teach"
    if label == "normal":
        _category_hint(session, key, prediction.path)
        replay = _replay(session, key, prediction)
        if replay:
            replay_summary(session, replay)
            teach = "Teach it all the same" if replay.missed else teach
    else:
        kind = defect_type_input(session, key)
        st.markdown(
            "It joins the library with its defect embedding. Scores and verdicts stay as they "
            "are; later images that resemble it say so."
        )
    with st.container(horizontal=True):
        taught = st.button(teach, type="primary")
        cancelled = st.button("Cancel")
    change = None
    if taught:
        change = attempt(lambda: session.teach(key, [prediction.path], label, kind))
    if change:
        note_change(prediction.revision, change.entry)
    if change or cancelled:
        _stop_teaching()
        st.rerun()


def _replay(session: Session, key: Key, prediction: Prediction) -> Replay | None:
    """Effects of teaching the image as normal; computed once per image and revision."""
    beside = [Path(p) for p in brought_in()[:_MOST_REPLAYED] if p != str(prediction.path)]
    others = [path for path in beside if session.served(path)]
    question = (prediction.path, prediction.revision)
    answered, replay = st.session_state.get("replay", (None, None))
    if answered != question:
        with st.spinner("Replaying past verdicts…"):
            replay = attempt(lambda: session.replay(key, prediction.path, others), st.info)
        st.session_state["replay"] = (question, replay)
    return cast("Replay | None", replay)


def _similar(session: Session, key: Key, prediction: Prediction, region: Box) -> None:
    st.header("Similar normal images")
    _neighbors(session, key, prediction.path, "normal", "whole")
    st.header("Similar defects")
    by: By | None = "whole"
    if prediction.distances.size > 1:
        by = st.segmented_control(
            "Alike in",
            list(_ALIKE),
            default="defect",
            format_func=_ALIKE.__getitem__,
            key="alike",
            bind="query-params",
        )
    if by:
        _neighbors(session, key, prediction.path, "defective", by, region)


def _neighbors(
    session: Session, key: Key, path: Path, label: str, by: By, region: Box | None = None
) -> None:
    box = region if by == "region" else None
    found = attempt(
        lambda: session.similar(key, path, top=6, by=by, label=label, box=box), st.caption
    )
    if found == []:
        st.caption("The library has none.")
    if not found:
        return
    cards = [neighbor_card(session, neighbor) for neighbor in found]
    chosen, _ = gallery(cards, key=f"similar {label}", label=f"Similar {label} images")
    if chosen:
        go("library", key, image=chosen)
