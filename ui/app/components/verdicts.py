"""A verdict in words."""

from __future__ import annotations

import bisect
from pathlib import Path

import streamlit as st

from indexer.calibration.base import Calibration, Verdict
from search.prediction import Prediction

GLYPHS: dict[Verdict, str] = {"ok": "✓", "review": "▲", "reject": "✕"}
"""A verdict is told by its shape, its word and its colour, so that no one needs the colour."""
_BANNER = Path(__file__).with_name("verdict_banner.html").read_text(encoding="utf-8")
_MEANINGS = {
    "ok": ("#15803d", "Looks like the normal parts."),
    "review": ("#b45309", "Unusual: worth a look."),
    "reject": ("#b91c1c", "Unlike any normal part."),
}


def verdict_banner(prediction: Prediction, calibration: Calibration) -> None:
    """The verdict by colour, shape and word, and the score beside what it is compared with."""
    verdict = prediction.verdict
    colour, meaning = _MEANINGS[verdict]
    word, glyph = verdict.capitalize(), GLYPHS[verdict]
    st.html(_BANNER.format(colour=colour, glyph=glyph, word=word, meaning=meaning))
    st.markdown(
        f"**Score {prediction.score:.4g}**: review above {calibration.review_threshold:.4g}, "
        f"reject above {prediction.threshold:.4g}. {_rarity(prediction, calibration)}"
    )


def _rarity(prediction: Prediction, calibration: Calibration) -> str:
    """Number of normal parts that scored as high."""
    n = calibration.n
    as_high = n - bisect.bisect_left(calibration.scores, prediction.score)
    p_value = f"p = {prediction.p_value:.3g}"
    if not as_high:
        return f"None of {n} normal parts scored this high ({p_value})."
    return f"{as_high} of {n} normal parts scored this high or higher ({p_value})."
