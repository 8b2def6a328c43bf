"""The two levels of a category: chosen by sliders, with what they would say before they hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import streamlit as st

from indexer.calibration.base import (
    DEFAULT_REJECT,
    Calibration,
    Levels,
    images_needed,
    levels_to_choose,
)
from indexer.calibration.methods import CalibrationSettings, read_calibration
from indexer.catalog.entry import CatalogEntry
from indexer.update.levels import change_levels
from search.monitoring.replay_levels import (
    NORMAL,
    Flip,
    ScoredImage,
    count_verdicts,
    replay_levels,
    scored_images,
    scores_by_kind,
)
from ui.app.components import charts
from ui.app.components.charts import show_table
from ui.app.components.custom import Card, gallery
from ui.app.components.library import small_picture
from ui.app.components.verdicts import GLYPHS
from ui.app.faults import explained
from ui.app.layout import go, make_change
from ui.app.session import Key, Session, app_state
from ui.app.text import plain
from ui.cli.formatting import describe_bound

_MOST = 24
"""Images shown of those whose verdict would change."""


@st.fragment
@explained()
def choose_levels(session: Session, key: Key, entry: CatalogEntry) -> None:
    """Sliders in false-reject rate and what follows from them; nothing is stored before Apply."""
    now = read_calibration(entry)
    scored = _scored(session.store.location, key.category, key.backbone, entry.revision)
    scores = scores_by_kind(scored)
    left, right = st.columns([2, 3], gap="large")
    with left:
        in_force = Levels(now.alpha_reject, max(now.alpha_reject, now.alpha_review))
        levels = _sliders(_names(key, entry), levels_to_choose(now), in_force)
        moved = levels != in_force
        wanted = CalibrationSettings(now.method.name, levels) if moved else None
        then = now
        if wanted:
            then = wanted.calibrate(now.scores, peaks=now.peaks, synthetic=now.synthetic)
        st.markdown(
            f"Reject above **{then.threshold:.4g}**, review above "
            f"**{then.review_threshold:.4g}**. False-reject rate: "
            f"{describe_bound(then, entry.counts)}."
        )
        _support(now, entry)
        if moved:
            _apply(session, key, entry, levels, in_force)
    with right:
        st.altair_chart(charts.scores_by_kind(_kinds(now, scores), now, then), width="stretch")
    _counts(scores, now, then)
    if moved:
        _flips(session, key, replay_levels(scored, now, then))


def _sliders(names: tuple[str, str], options: list[float], in_force: Levels) -> Levels:
    """The two levels; a reject level above the review level takes it along, and the reverse."""
    reject, review = names
    if len(options) == 1:
        st.markdown(
            f"The only level that the calibration images support is {_percent(options[0])}."
        )
        return in_force

    def follow(leading: str, following: str, limit: Callable[[float, float], float]) -> None:
        values = st.session_state
        values[following] = limit(values[leading], values[following])

    st.session_state.setdefault(reject, in_force.reject)
    st.session_state.setdefault(review, in_force.review)
    st.select_slider(
        "Reject level, share of normal parts",
        options,
        format_func=_percent,
        key=reject,
        on_change=follow,
        args=(reject, review, max),
    )
    st.select_slider(
        "Review level, share of normal parts",
        options,
        format_func=_percent,
        key=review,
        on_change=follow,
        args=(review, reject, min),
        help="Never below the reject level: what is rejected has been reviewed.",
    )
    return Levels(st.session_state[reject], st.session_state[review])


def _percent(level: float) -> str:
    return f"{100 * level:.3g} %"


def _support(now: Calibration, entry: CatalogEntry) -> None:
    """The number of calibration images, the levels they support, and the need of a level of 1 %."""
    text = f"{now.method.name}, {now.n} calibration images"
    if now.smallest_alpha:
        text += f": they support no level below {_percent(now.smallest_alpha)}"
    if now.smallest_alpha > DEFAULT_REJECT:
        missing = images_needed(DEFAULT_REJECT) - now.n
        text += f"; {_percent(DEFAULT_REJECT)} requires {missing} more"
        if entry.layout == "holdout":
            text += f" (about {round(missing / entry.settings['holdout'])} more normal images)"
    st.caption(plain(text + "."))


def _names(key: Key, entry: CatalogEntry) -> tuple[str, str]:
    """Names of the two sliders; those of another revision begin anew."""
    at = f"{key.category} {key.backbone} {entry.revision}"
    return f"reject {at}", f"review {at}"


def _apply(
    session: Session, key: Key, entry: CatalogEntry, levels: Levels, in_force: Levels
) -> None:
    with st.container(horizontal=True):
        if not session.copied and st.button("Apply", type="primary", icon=":material/check:"):
            set_levels = partial(change_levels, levels=levels)
            make_change(session, key, lambda: session.read(set_levels, entry))
        st.button(
            "Back to those in force",
            type="tertiary",
            on_click=st.session_state.update,
            args=(dict(zip(_names(key, entry), (in_force.reject, in_force.review), strict=True)),),
        )


def _kinds(now: Calibration, scores: Mapping[str, list[float]]) -> Mapping[str, list[float]]:
    """Scores of the calibration images and of each kind in the library."""
    library = {"normal, library" if kind == NORMAL else kind: s for kind, s in scores.items()}
    return {"normal, calibration": list(now.scores), **library}


def _counts(scores: Mapping[str, list[float]], now: Calibration, then: Calibration) -> None:
    """Verdicts by kind, as they are and as they would be."""
    if not scores:
        st.caption("No labelled image beside the calibration images: add some on the page Library.")
        return
    before, after = count_verdicts(scores, now), count_verdicts(scores, then)
    st.markdown("**Verdicts on the images of the library**")
    show_table(
        [
            {
                "shows": kind,
                **{
                    f"{glyph} {verdict}": f"{before[kind][verdict]}"
                    + (
                        f" → {after[kind][verdict]}"
                        if after[kind][verdict] != before[kind][verdict]
                        else ""
                    )
                    for verdict, glyph in GLYPHS.items()
                },
            }
            for kind in before
        ]
    )


def _flips(session: Session, key: Key, flips: Sequence[Flip]) -> None:
    """The images whose verdict would change, as pictures."""
    if not flips:
        st.markdown("No verdict in the library would change.")
        return
    st.markdown(f"**Verdicts that would change: {len(flips)}**")
    cards = [
        Card(
            flip.scored.image.image_id,
            small_picture(session, flip.scored.image.path),
            flip.scored.kind,
            (f"{flip.before} → {flip.after}", Path(flip.scored.image.path).name),
            flip.after,
        )
        for flip in flips[:_MOST]
    ]
    chosen, _ = gallery(cards, key=f"flips {key}", label="Verdicts that would change", side=120)
    if len(flips) > _MOST:
        st.caption(f"{len(flips) - _MOST} more.")
    if chosen:
        go("library", key, image=chosen)


@st.cache_resource(show_spinner="Scoring the defects of the library…", max_entries=8)
def _scored(location: str, category: str, backbone: str, revision: int) -> list[ScoredImage]:
    """Scored images of the library, kept for a revision of a store."""
    session = app_state().open()
    return session.read(scored_images, session.entry(Key(category, backbone)))
