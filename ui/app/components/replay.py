"""Effects of teaching an image as normal, shown before anybody confirms it."""

from __future__ import annotations

import streamlit as st

from search.monitoring.replay_update import Replay, ReplayedDefect
from ui.app.components.charts import show_table
from ui.app.components.custom import Card, gallery
from ui.app.components.library import small_picture
from ui.app.session import Session
from ui.app.text import plain

_MOST_SHOWN = 24


def replay_summary(session: Session, replay: Replay) -> None:
    """The known defects that would pass, in red; then the image's own verdict and the others'."""
    if replay.missed:
        _missed(session, replay.missed)
    elif replay.defects:
        st.success(
            f"None of the {len(replay.defects)} known defects would pass because of it.",
            icon=":material/check:",
        )
    first = replay.images[0]
    role = f"{replay.patches} of its patches would join the memory bank"
    if replay.roles[0] == "calibration":
        role = "it would calibrate"
    st.markdown(
        f"As a normal image {role}. Its verdict: **{first.verdict} → {first.verdict_after}** "
        f"(score {first.score:.3g} → {first.score_after:.3g}). Reject threshold "
        f"{replay.threshold:.4g} → {replay.threshold_after:.4g}."
    )
    if len(replay.images) > 1:
        _others(replay)


def _missed(session: Session, missed: tuple[ReplayedDefect, ...]) -> None:
    kinds = sorted({defect.image.defect_type or "unnamed" for defect in missed})
    number = "1 known defect" if len(missed) == 1 else f"{len(missed)} known defects"
    st.error(
        f"**{number} would pass as ok from then on**: {plain(', '.join(kinds))}. "
        "Teach it only if these are no defects.",
        icon=":material/dangerous:",
    )
    cards = [
        Card(
            defect.image.image_id,
            small_picture(session, defect.image.path),
            defect.image.defect_type or "unnamed defect",
            (
                f"{defect.verdict} → {defect.verdict_after}",
                f"score {defect.score:.3g} → {defect.score_after:.3g}",
            ),
        )
        for defect in missed[:_MOST_SHOWN]
    ]
    gallery(cards, key="missed defects", label="Known defects that would pass", side=110)
    if len(missed) > len(cards):
        st.markdown(f"and {len(missed) - len(cards)} more.")


def _others(replay: Replay) -> None:
    others = [image for image in replay.changed if image is not replay.images[0]]
    asked = f"Of the {len(replay.images) - 1} other images brought in,"
    if not others:
        st.markdown(f"{asked} **no verdict changes**.")
        return
    st.markdown(f"{asked} **{len(others)} change**:")
    rows = [
        {
            "image": image.path.name,
            "now": image.verdict,
            "then": image.verdict_after,
            "score now": image.score,
            "score then": image.score_after,
        }
        for image in others
    ]
    show_table(rows)
