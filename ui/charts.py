"""Charts of the app, in the theme of the page."""

from __future__ import annotations

from typing import Any

import altair as alt
import streamlit as st

from indexer.schema import CatalogEntry
from search.calibration import Calibration

_GREY, _REVIEW, _REJECT, _HERE = "#8a8f98", "#b45309", "#b91c1c", "#0284c7"


def score_on_histogram(entry: CatalogEntry, score: float | None, height: int = 170) -> None:
    """Where a score lies among those of the calibration images, with both thresholds."""
    calibration = Calibration.from_payload(entry.calibration)
    st.altair_chart(histogram(calibration, score).properties(height=height), width="stretch")


def _chart(rows: list[dict[str, Any]]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=rows))


def histogram(calibration: Calibration, score: float | None) -> alt.LayerChart | alt.FacetChart:
    """Bars of the calibration scores; rules for the thresholds and the score, each named."""
    bars = (
        _chart([{"score": score} for score in calibration.scores])
        .mark_bar(color=_GREY, opacity=0.8)
        .encode(
            x=alt.X("score:Q", bin=alt.Bin(maxbins=30), title="score", axis=alt.Axis(tickCount=6)),
            y=alt.Y("count():Q", title="normal images"),
            tooltip=[alt.Tooltip("count():Q", title="normal images")],
        )
    )
    rules = [
        ("review above", calibration.review_threshold, _REVIEW),
        ("reject above", calibration.threshold, _REJECT),
    ]
    if score is not None:
        rules.append(("this image", score, _HERE))
    lines = [{"what": what, "score": at} for what, at, _ in rules]
    colour = alt.Color(
        "what:N",
        scale=alt.Scale(domain=[r[0] for r in rules], range=[r[2] for r in rules]),
        legend=alt.Legend(title=None, orient="top"),
    )
    marks = (
        _chart(lines)
        .mark_rule(strokeWidth=2.5)
        .encode(
            x="score:Q",
            color=colour,
            strokeDash=alt.StrokeDash(
                "what:N",
                scale=alt.Scale(
                    domain=[r[0] for r in rules], range=[[5, 3], [2, 2], [1, 0]][: len(rules)]
                ),
                legend=None,
            ),
            tooltip=["what:N", alt.Tooltip("score:Q", format=".4g")],
        )
    )
    return alt.layer(bars, marks)
