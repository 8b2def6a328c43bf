"""A verdict in words, and what a change would do to verdicts."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from indexer.calibration.base import Verdict
from search.monitoring.replay_update import Replay
from search.prediction import Prediction
from ui.app.components.charts import show_table

GLYPHS: dict[Verdict, str] = {"ok": "✓", "review": "▲", "reject": "✕"}
"""A verdict is told by its shape, its word and its colour, so that no one needs the colour."""
_BANNER = Path(__file__).with_name("verdict_banner.html").read_text(encoding="utf-8")
_MEANINGS = {
    "ok": ("#15803d", "Looks like the normal parts."),
    "review": ("#b45309", "Unusual: worth a look."),
    "reject": ("#b91c1c", "Stranger than the normal parts allow."),
}


def verdict_banner(prediction: Prediction) -> None:
    """The verdict by colour, shape and word, and its p-value in a sentence."""
    verdict = prediction.verdict
    colour, meaning = _MEANINGS[verdict]
    word, glyph = verdict.capitalize(), GLYPHS[verdict]
    st.html(_BANNER.format(colour=colour, glyph=glyph, word=word, meaning=meaning))
    st.markdown(
        f"**p = {prediction.p_value:.3g}**: {prediction.p_value:.1%} of normal parts are expected "
        f"to score this high or higher. Score {prediction.score:.4g}, rejected above "
        f"{prediction.threshold:.4g}."
    )


def replay_summary(replay: Replay) -> None:
    """Summary, in words and a table, of the changes if an image were added as normal."""
    first = replay.images[0]
    role = f"{replay.patches} of its patches would join the memory bank"
    if replay.roles[0] == "calibration":
        role = "it would calibrate"
    st.markdown(
        f"As a normal image {role}. Its verdict: **{first.verdict} → {first.verdict_after}** "
        f"(score {first.score:.3g} → {first.score_after:.3g}). Reject threshold "
        f"{replay.threshold:.4g} → {replay.threshold_after:.4g}."
    )
    others = [image for image in replay.changed if image is not first]
    asked = f"Of {len(replay.images) - 1} known defects and images brought in,"
    if len(replay.images) == 1:
        st.caption("No known defect or other image is there to replay.")
    elif not others:
        st.markdown(f"{asked} **no verdict changes**.")
    else:
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
