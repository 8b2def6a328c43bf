"""Calibration: the two levels and what they cost, and whether the calibration still holds."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from backbones.errors import VecspectError
from eval.studies.calibration import estimated_recall
from indexer.calibration.base import DEFAULT_REJECT, Calibration, CalibrationError, images_needed
from indexer.calibration.base import calibrate as calibration_of
from indexer.catalog.schema import CatalogEntry
from indexer.update.synthetic_defects import imagine_defects
from search.calibrator import ConformalCalibrator, change_levels
from search.monitoring.audit import level_image
from search.monitoring.drift import RATE, WINDOW, check_health, health_traces
from ui.app.components import charts
from ui.app.components.widgets import GLYPHS
from ui.app.layout import attempt, changed_to, choose_category, desk, page, plain, revision_text
from ui.app.session import Desk, Key
from ui.cli.formatting import describe_bound


def show() -> None:
    """The page."""
    opened = desk()
    key = choose_category(opened, "Calibration")
    entry = opened.entry(key)
    st.caption(plain(revision_text(entry)))
    _levels(opened, key, entry)
    _alone(opened, key, entry)
    st.divider()
    _recall(opened, key, entry)
    st.divider()
    _health(opened, entry)


@st.fragment
def _levels(opened: Desk, key: Key, entry: CatalogEntry) -> None:
    """Sliders in false-reject rate; nothing is stored before Apply."""
    now = Calibration.from_payload(entry.calibration)
    least = max(now.smallest_alpha, 0.001)
    left, right = st.columns([2, 3], gap="large")
    with left:
        reject = _slider("Reject", least, now.alpha_reject, f"reject {key} {entry.revision}")
        review = _slider("Review", least, now.alpha_review, f"review {key} {entry.revision}")
        try:
            wanted = calibration_of(
                now.scores,
                alpha_reject=reject,
                alpha_review=max(reject, review),
                method=now.method,
                peaks=now.peaks,
                synthetic=now.synthetic,
            )
        except CalibrationError as error:
            st.error(plain(str(error)))
            return
        bound = describe_bound(wanted, entry.counts)
        st.markdown(
            f"Reject above **{wanted.threshold:.4g}**, review above "
            f"**{wanted.review_threshold:.4g}**. False rejects: {bound}."
        )
        _support(now, entry)
        _told(opened, key, wanted)
        moved = (reject, review) != (_rounded(now.alpha_reject), _rounded(now.alpha_review))
        if not opened.copied and st.button("Apply", type="primary", disabled=not moved):
            _apply(opened, key, entry, (reject, max(reject, review)))
    with right:
        st.altair_chart(charts.histogram(wanted, None).properties(height=330), width="stretch")


def _slider(name: str, least: float, now: float, key: str) -> float:
    low = _rounded(least + 0.0005)
    return st.slider(
        f"{name} level, share of normal parts",
        min_value=low,
        max_value=0.5,
        value=max(low, _rounded(now)),
        step=0.001,
        format="percent",
        key=key,
    )


def _rounded(alpha: float) -> float:
    return round(alpha, 3)


def _support(now: Calibration, entry: CatalogEntry) -> None:
    text = f"{now.method}, {now.n} calibration images"
    missing = images_needed(DEFAULT_REJECT) - now.n
    if now.smallest_alpha:
        text += f": they support no level below {now.smallest_alpha:.2%}"
    if now.smallest_alpha > DEFAULT_REJECT:
        text += f"; {DEFAULT_REJECT:.0%} takes {missing} more"
    st.caption(plain(text + "."))


def _alone(opened: Desk, key: Key, entry: CatalogEntry) -> None:
    """The image that alone sets the level in force, to be looked at."""
    with opened.lock:
        image = level_image(opened.store, entry)
    if image:
        st.markdown(
            f"The reject level in force is the score of one image; the next highest is "
            f"{image.next_score:.4g}. Look at it, and quarantine it if it is no good part:"
        )
        st.page_link(
            page("library"),
            label=plain(Path(image.path).name),
            icon=":material/image:",
            query_params={"category": key.category, "image": image.image_id},
        )


def _told(opened: Desk, key: Key, wanted: Calibration) -> None:
    """What these levels would say of the scored images of the library."""
    rows = []
    for label in ("normal", "defective"):
        scores = [
            i.score
            for i in opened.library(key).values()
            if i.label == label and i.split == "test" and i.score is not None
        ]
        verdicts = [wanted.verdict(score) for score in scores]
        told = {f"{glyph} {name}": verdicts.count(name) for name, glyph in GLYPHS.items()}
        rows.append({"library": label, **told})
    st.dataframe(rows, hide_index=True)


def _apply(opened: Desk, key: Key, entry: CatalogEntry, levels: tuple[float, float]) -> None:
    def apply() -> None:
        with opened.lock:
            after = change_levels(
                opened.store,
                entry,
                alpha_reject=levels[0],
                alpha_review=levels[1],
            )
        changed_to(key, entry.revision, after)

    if attempt(apply):
        st.rerun()


def _recall(opened: Desk, key: Key, entry: CatalogEntry) -> None:
    st.subheader("Expected recall")
    now = Calibration.from_payload(entry.calibration)
    if entry.spec.level == "image":
        st.caption("Made-up defects are small; a network of whole images has no patches for them.")
        return
    if not now.synthetic:
        st.markdown("How often are defects of a size and contrast caught at this threshold?")
        if not opened.copied and st.button("Estimate with made-up defects"):
            with st.spinner("Making defects on the calibration images…"):
                done = attempt(lambda: _imagine(opened, key, entry))
            if done:
                st.rerun()
        return
    with opened.lock:
        caught = estimated_recall(opened.store, entry)
    st.altair_chart(charts.recall(caught), width="stretch")
    st.caption(
        f"Of {caught[0].defects} made-up defects each, blended into calibration images. Real "
        "defects differ: read it as a comparison of sizes and contrasts."
    )


def _imagine(opened: Desk, key: Key, entry: CatalogEntry) -> None:
    with opened.lock:
        after = imagine_defects(
            store=opened.store,
            entry=entry,
            backbone=opened.network(entry),
            calibrator=ConformalCalibrator.of(entry),
        )
    changed_to(key, entry.revision, after)


def _health(opened: Desk, entry: CatalogEntry) -> None:
    st.subheader("Does it still hold?")
    try:
        with opened.lock:
            health = check_health(opened.store, entry)
            traces = health_traces(opened.store, entry)
    except VecspectError as error:
        st.error(plain(str(error)))
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
    st.altair_chart(charts.drift(traces), width="stretch")
    st.dataframe(
        [
            {
                "watched": signal.name,
                "state": signal.direction if signal.alarm else "quiet",
                "evidence": signal.evidence,
                "shift in deviations": signal.shift,
            }
            for signal in health.signals
        ],
        hide_index=True,
        column_config={
            "evidence": st.column_config.NumberColumn(format="%.3g"),
            "shift in deviations": st.column_config.NumberColumn(format="%.2f"),
        },
    )
