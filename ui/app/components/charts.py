"""Charts of the app, in the theme of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import streamlit as st

from eval.metrics.detection import Float64
from eval.studies.calibration import Caught
from indexer.calibration.base import Calibration
from indexer.catalog.schema import CatalogEntry
from search.monitoring.drift import ALARM, Trace

_GREY, _REVIEW, _REJECT, _HERE = "#8a8f98", "#b45309", "#b91c1c", "#0284c7"


def score_on_histogram(entry: CatalogEntry, score: float | None, height: int = 170) -> None:
    """Where a score lies among those of the calibration images, with both thresholds."""
    calibration = Calibration.from_payload(entry.calibration)
    st.altair_chart(histogram(calibration, score).properties(height=height), width="stretch")


def _chart(rows: list[dict[str, Any]]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=rows))


def histogram(calibration: Calibration, score: float | None) -> alt.LayerChart | alt.FacetChart:
    """Bars of the calibration scores; rules for the thresholds and the score, each named."""
    counts, edges = np.histogram(calibration.scores, bins=min(30, max(8, calibration.n // 4)))
    bars = (
        _chart(
            [
                {"from": float(low), "to": float(high), "normal images": int(count)}
                for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
            ]
        )
        .mark_bar(color=_GREY, opacity=0.8)
        .encode(
            x=alt.X("from:Q", title="score", scale=alt.Scale(zero=False)),
            x2="to:Q",
            y=alt.Y("normal images:Q", axis=alt.Axis(tickMinStep=1)),
            y2=alt.datum(0),
            tooltip=["normal images:Q"],
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


def recall(caught: Sequence[Caught]) -> alt.LayerChart | alt.FacetChart:
    """Share of made-up defects above the threshold, by size and contrast."""
    rows = [
        {"size": c.size, "contrast": f"contrast {c.contrast:g}", "caught": c.share} for c in caught
    ]
    base = _chart(rows).encode(
        x=alt.X("size:O", title="side in pixels of 256", axis=alt.Axis(labelAngle=0)),
        y=alt.Y(
            "caught:Q", title="caught", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])
        ),
        color=alt.Color("contrast:N", title=None, legend=alt.Legend(orient="top")),
        shape=alt.Shape("contrast:N", title=None),
        tooltip=["size:O", "contrast:N", alt.Tooltip("caught:Q", format=".0%")],
    )
    return alt.layer(base.mark_line(), base.mark_point(filled=True, size=60)).properties(height=240)


def drift(traces: Sequence[Trace]) -> alt.LayerChart | alt.FacetChart:
    """Evidence against the calibration, image by image, below the line at which it alarms."""
    rows = []
    for trace in traces:
        every = max(1, len(trace.capital) // 300)
        for number in range(0, len(trace.capital), every):
            capital = max(trace.capital[number], 1e-3)
            rows.append({"watched": trace.name, "image": number + 1, "evidence": capital})
    lines = (
        _chart(rows)
        .mark_line(strokeWidth=2)
        .encode(
            x=alt.X("image:Q", title="images scored at this revision"),
            y=alt.Y("evidence:Q", scale=alt.Scale(type="log"), title="evidence of a change"),
            color=alt.Color("watched:N", title=None, legend=alt.Legend(orient="top")),
            strokeDash=alt.StrokeDash("watched:N", legend=None),
            tooltip=["watched:N", "image:Q", alt.Tooltip("evidence:Q", format=".3g")],
        )
    )
    alarm = _chart([{"evidence": ALARM, "what": "alarm"}]).mark_rule(color=_REJECT, strokeWidth=2)
    return alt.layer(
        lines,
        alarm.encode(y="evidence:Q"),
        _chart([{"evidence": ALARM, "what": "alarm"}])
        .mark_text(align="left", dx=4, dy=-7, color=_REJECT)
        .encode(y="evidence:Q", x=alt.value(0), text="what:N"),
    ).properties(height=240)


def curves(
    points: Mapping[str, tuple[Float64, Float64]],
    axes: tuple[str, str],
    rings: Sequence[tuple[float, float]] = (),
) -> alt.LayerChart | alt.FacetChart:
    """A line a name through its points; rings, one a name, mark one of them."""
    x, y = (
        alt.X("x:Q", title=axes[0], scale=alt.Scale(domain=[0, 1])),
        alt.Y("y:Q", title=axes[1], scale=alt.Scale(domain=[0, 1])),
    )
    rows = [
        {"name": name, "x": float(across), "y": float(up), "order": number}
        for name, (right, top) in points.items()
        for number, (across, up) in enumerate(zip(right, top, strict=True))
    ]
    colour = alt.Color("name:N", title=None, legend=alt.Legend(orient="bottom", columns=2))
    lines = (
        _chart(rows)
        .mark_line(strokeWidth=2)
        .encode(
            x=x, y=y, color=colour, strokeDash=alt.StrokeDash("name:N", title=None), order="order:Q"
        )
    )
    marked = [
        {"name": name, "x": across, "y": up}
        for name, (across, up) in zip(points, rings, strict=False)
    ]
    ring = _chart(marked).mark_point(size=110, strokeWidth=2).encode(x="x:Q", y="y:Q", color=colour)
    return alt.layer(lines, ring).properties(height=340)
