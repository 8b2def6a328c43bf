"""Calibration: the two levels and what they cost, and whether the calibration still holds."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from indexer.calibration.expected_recall import estimated_recall
from indexer.calibration.methods import read_calibration
from indexer.catalog.entry import CatalogEntry
from indexer.records.drift_window import WINDOW
from indexer.update.synthetic_defects import add_synthetic_defects
from search.monitoring.audit import level_image
from search.monitoring.drift import RATE, check_drift, drift_traces
from ui.app.components import charts
from ui.app.components.charts import show_table
from ui.app.components.levels import choose_levels
from ui.app.components.library import library_link
from ui.app.layout import attempt, choose_category, make_change, open_session
from ui.app.session import Key, Session
from ui.app.text import plain, revision_text


def show() -> None:
    """The page."""
    session = open_session()
    key = choose_category(session, "Calibration")
    entry = session.entry(key)
    st.caption(plain(revision_text(entry)))
    choose_levels(session, key, entry)
    _alone(session, key, entry)
    st.divider()
    _recall(session, key, entry)
    st.divider()
    _health(session, entry)


def _alone(session: Session, key: Key, entry: CatalogEntry) -> None:
    """The image whose score is the level in force, to be looked at."""
    image = session.read(level_image, entry)
    if image:
        st.markdown(
            f"The reject level in force is the score of one image; the next highest is "
            f"{image.next_score:.4g}. Look at it, and quarantine it if the part is not good:"
        )
        library_link(key, image.image_id, plain(Path(image.path).name), "image")


def _recall(session: Session, key: Key, entry: CatalogEntry) -> None:
    st.header("Expected recall")
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
    st.header("Does it still hold?")
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
