"""Calibration: the two levels and what they cost, and whether the calibration still holds."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import streamlit as st

from indexer.calibration.base import (
    DEFAULT_REJECT,
    Calibration,
    CalibrationError,
    Levels,
    images_needed,
)
from indexer.calibration.expected_recall import estimated_recall
from indexer.calibration.methods import CalibrationSettings, read_calibration
from indexer.catalog.entry import CatalogEntry
from indexer.records.drift_window import WINDOW
from indexer.update.levels import change_levels
from indexer.update.synthetic_defects import add_synthetic_defects
from search.monitoring.audit import level_image
from search.monitoring.drift import RATE, check_drift, drift_traces
from ui.app.components import charts
from ui.app.components.charts import show_table
from ui.app.components.library import library_link
from ui.app.components.verdicts import GLYPHS
from ui.app.layout import attempt, choose_category, make_change, open_session
from ui.app.session import Key, Session
from ui.app.text import plain, revision_text
from ui.cli.formatting import describe_bound


def show() -> None:
    """The page."""
    session = open_session()
    key = choose_category(session, "Calibration")
    entry = session.entry(key)
    st.caption(plain(revision_text(entry)))
    _levels(session, key, entry)
    _alone(session, key, entry)
    st.divider()
    _recall(session, key, entry)
    st.divider()
    _health(session, entry)


@st.fragment
def _levels(session: Session, key: Key, entry: CatalogEntry) -> None:
    """Sliders in false-reject rate; nothing is stored before Apply."""
    now = read_calibration(entry)
    least = round(max(now.smallest_alpha, 0.001) + 0.0005, 3)
    in_force = tuple(round(alpha, 3) for alpha in (now.alpha_reject, now.alpha_review))
    left, right = st.columns([2, 3], gap="large")
    with left:
        reject, review = (
            st.slider(
                f"{name} level, share of normal parts",
                min_value=least,
                max_value=0.5,
                value=max(least, alpha),
                step=0.001,
                format="percent",
                key=f"{name} {key} {entry.revision}",
            )
            for name, alpha in zip(("Reject", "Review"), in_force, strict=True)
        )
        try:
            levels = Levels(reject, max(reject, review))
            wanted = CalibrationSettings(now.method.name, levels).calibrate(
                now.scores, peaks=now.peaks, synthetic=now.synthetic
            )
        except CalibrationError as error:
            st.error(plain(str(error)))
            return
        st.markdown(
            f"Reject above **{wanted.threshold:.4g}**, review above "
            f"**{wanted.review_threshold:.4g}**. False rejects: "
            f"{describe_bound(wanted, entry.counts)}."
        )
        _support(now, entry)
        _told(session, key, wanted)
        moved = (reject, review) != in_force
        if not session.copied and st.button("Apply", type="primary", disabled=not moved):
            set_levels = partial(change_levels, levels=levels)
            make_change(session, key, lambda: session.read(set_levels, entry))
    with right:
        st.altair_chart(charts.histogram(wanted, None).properties(height=330), width="stretch")


def _support(now: Calibration, entry: CatalogEntry) -> None:
    text = f"{now.method.name}, {now.n} calibration images"
    missing = images_needed(DEFAULT_REJECT) - now.n
    if now.smallest_alpha:
        text += f": they support no level below {now.smallest_alpha:.2%}"
    if now.smallest_alpha > DEFAULT_REJECT:
        text += f"; {DEFAULT_REJECT:.0%} takes {missing} more"
    st.caption(plain(text + "."))


def _alone(session: Session, key: Key, entry: CatalogEntry) -> None:
    """The image that alone sets the level in force, to be looked at."""
    image = session.read(level_image, entry)
    if image:
        st.markdown(
            f"The reject level in force is the score of one image; the next highest is "
            f"{image.next_score:.4g}. Look at it, and quarantine it if it is no good part:"
        )
        library_link(key, image.image_id, plain(Path(image.path).name), "image")


def _told(session: Session, key: Key, wanted: Calibration) -> None:
    """Verdicts that these levels would give to the scored images of the library."""
    told = [
        (image.label, wanted.verdict(image.score))
        for image in session.library(key).values()
        if image.split == "test" and image.score is not None
    ]
    rows = [
        {
            "library": label,
            **{f"{glyph} {name}": told.count((label, name)) for name, glyph in GLYPHS.items()},
        }
        for label in ("normal", "defective")
    ]
    show_table(rows)


def _recall(session: Session, key: Key, entry: CatalogEntry) -> None:
    st.subheader("Expected recall")
    now = read_calibration(entry)
    if not session.category(key).keeps_patches:
        st.caption(
            "Synthetic defects are small; a network of whole images has no patches for them."
        )
        return
    if not now.synthetic:
        st.markdown("How often are defects of a size and contrast caught at this threshold?")
        if not session.copied and st.button("Estimate with synthetic defects"):
            with st.spinner("Making defects on the calibration images…"):
                make_change(
                    session,
                    key,
                    lambda: session.change(
                        key, add_synthetic_defects, backbone=session.network(entry)
                    ),
                )
        return
    caught = session.read(estimated_recall, entry)
    st.altair_chart(charts.recall(caught), width="stretch")
    st.caption(
        f"Of {caught[0].defects} synthetic defects each, blended into calibration images. Real "
        "defects differ: read it as a comparison of sizes and contrasts."
    )


def _health(session: Session, entry: CatalogEntry) -> None:
    st.subheader("Does it still hold?")
    health = attempt(lambda: session.read(check_drift, entry), st.error)
    if health is None:
        return
    if not health.images:
        st.markdown("No image has been scored at this revision yet.")
        return
    if health.alarm:
        told = [f"{s.name}: {s.direction} since {s.since}" for s in health.signals if s.alarm]
        st.error(plain("The parts have changed. " + "; ".join(told)), icon=":material/warning:")
        st.markdown("Check light, focus and position; then add today's normal images.")
    else:
        st.success("Quiet: what was scored looks like the calibration images.", icon="✅")
    st.caption(
        f"{health.images} images at this revision, {health.rejected:.1%} rejected. A false alarm "
        f"has a probability of at most {RATE:.0%} in {WINDOW} images."
    )
    st.altair_chart(charts.drift(session.read(drift_traces, entry)), width="stretch")
    rows = [
        {
            "watched": signal.name,
            "state": signal.direction if signal.alarm else "quiet",
            "evidence": signal.evidence,
            "shift in deviations": signal.shift,
        }
        for signal in health.signals
    ]
    show_table(rows, {"evidence": "%.3g", "shift in deviations": "%.2f"})
