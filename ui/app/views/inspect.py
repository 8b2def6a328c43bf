"""Inspect: an image in, its verdict with the reasons, what is like it, and what it can teach."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import streamlit as st

from backbones.geometry import Box
from indexer.calibration.methods import read_calibration
from indexer.scoring.anomaly_map import regions
from search.prediction import Prediction
from search.retrieval.neighbors import By
from ui.app.components import charts
from ui.app.components.custom import gallery, viewer
from ui.app.components.inputs import brought_in, chosen_image, defect_type_input, strip, take_in
from ui.app.components.library import library_gallery, library_link, neighbor_card
from ui.app.components.verdicts import replay_summary, verdict_banner
from ui.app.layout import attempt, choose_category, go, note_change, open_session
from ui.app.pictures import patch_pair
from ui.app.session import Key, Session
from ui.app.text import not_served, plain, revision_text

_MOST_REPLAYED = 60
_ALIKE: dict[By, str] = {
    "defect": "what deviates",
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
    left, right = st.columns([11, 9], gap="large")
    boxes: list[Box] = []
    if prediction.distances.size > 1:
        boxes = regions(
            prediction.distances, prediction.geometry, threshold=prediction.map_threshold
        )
    boxes = boxes or [prediction.box]
    with left:
        strip(session, key, prediction.path)
        cell = _patch(prediction, boxes)
    with right:
        verdict_banner(prediction)
        calibration = read_calibration(session.entry(key))
        histogram = charts.histogram(calibration, prediction.score)
        st.altair_chart(histogram.properties(height=170), width="stretch")
        _evidence(session, key, prediction, cell)
        _seen_before(session, key, prediction)
        _category_hint(session, key, prediction.path)
    if not session.copied:
        _teach(session, key, prediction)
    patch = prediction.geometry.cell_box(*cell)
    _similar(session, key, prediction, _region(prediction, boxes, patch))


def _patch(prediction: Prediction, boxes: list[Box]) -> tuple[int, int]:
    """Picture and heat; the patch chosen there, at first the worst one."""
    name = f"cell {prediction.path} {prediction.revision}"
    cell: tuple[int, int] = st.session_state.get(name, prediction.evidence.query_cell)
    clicked = viewer(prediction, boxes, cell)
    if clicked and clicked != cell:
        st.session_state[name] = clicked
        st.rerun()
    st.caption(plain(f"{prediction.path.name} · {prediction.width} x {prediction.height} pixels"))
    return cell


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
    st.subheader("Compared with" if worst else "This patch compared with")
    pictures = patch_pair(prediction.path, session.served(evidence.path), evidence)
    columns = st.columns(2)
    shown = "worst patch" if worst else f"patch {cell[0]}, {cell[1]}"
    columns[0].image(pictures[0], caption=f"{shown}, distance {evidence.distance:.3g}")
    if len(pictures) == 2:
        columns[1].image(pictures[1], caption="nearest normal patch")
    else:
        columns[1].warning(not_served(evidence.path))
    split = session.library(key)[evidence.image_id].split
    label = plain(f"from {Path(evidence.path).name}, {split}")
    library_link(key, evidence.image_id, label)


def _seen_before(session: Session, key: Key, prediction: Prediction) -> None:
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


def _category_hint(session: Session, key: Key, path: Path) -> None:
    """A hint if the image looks more like another category of the same network."""
    proposed = session.propose(path, key) if len(session.entries()) > 1 else key
    if proposed == key:
        return
    name = plain(proposed.category)
    st.info(f"As a whole this looks more like {name}.", icon=":material/help:")
    if st.button(f"Inspect it as {name}"):
        go("inspect", category=proposed.category, image=str(path))


def _teach(session: Session, key: Key, prediction: Prediction) -> None:
    path = prediction.path
    if known := session.known(key, path):
        kind = plain(known.defect_type or known.label)
        library_link(key, known.image_id, f"The library has this image, as {kind}")
        return
    with st.container(horizontal=True):
        for label, (said, icon) in _TEACHING.items():
            if st.button(said, icon=icon):
                st.session_state["teaching"] = (label, path, prediction.revision)
    label, asked, revision = st.session_state.get("teaching", ("", None, 0))
    if (asked, revision) != (path, prediction.revision):
        return
    with st.container(border=True):
        kind = ""
        if label == "normal":
            _show_replay(session, key, prediction)
        else:
            kind = defect_type_input(session, key)
            st.markdown(
                "It joins the library with what deviates in it. Scores and verdicts stay as they "
                "are; later images are told that they resemble it."
            )
        with st.container(horizontal=True):
            taught = st.button("Teach", type="primary")
            cancelled = st.button("Cancel", type="tertiary")
    change = attempt(lambda: session.teach(key, [path], label, kind)) if taught else None
    if change:
        note_change(key, revision, change.entry)
    if change or cancelled:
        del st.session_state["teaching"]
        st.rerun()


def _show_replay(session: Session, key: Key, prediction: Prediction) -> None:
    """Show what would change; computed once per image and revision."""
    known = [i.path for i in session.library(key).values() if i.label == "defective"]
    asked = dict.fromkeys([*known[:_MOST_REPLAYED], *brought_in()[:_MOST_REPLAYED]])
    others = [Path(p) for p in asked if p != str(prediction.path) and session.served(p)]
    question = (prediction.path, prediction.revision)
    answered, replay = st.session_state.get("replay", (None, None))
    if answered != question:
        with st.spinner("Replaying past verdicts…"):
            replay = attempt(lambda: session.replay(key, prediction.path, others), st.error)
    if replay:
        st.session_state["replay"] = (question, replay)
        replay_summary(replay)


def _similar(session: Session, key: Key, prediction: Prediction, region: Box) -> None:
    st.subheader("Similar normal images")
    _neighbors(session, key, prediction.path, "normal", "whole")
    st.subheader("Similar defects")
    by: By | None = "whole"
    if prediction.distances.size > 1:
        by = st.segmented_control(
            "Alike in",
            list(_ALIKE),
            default="defect",
            format_func=_ALIKE.__getitem__,
            label_visibility="collapsed",
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
        go("library", category=key.category, image=chosen)
