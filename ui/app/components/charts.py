"""Charts and tables of the app, in the theme of the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import altair as alt
import numpy as np
import streamlit as st

from eval.arrays import Float64
from indexer.calibration.base import Calibration
from indexer.calibration.expected_recall import ExpectedRecall
from search.monitoring.drift import ALARM, Trace

_GREY, _REVIEW, _REJECT, _HERE = "#8a8f98", "#b45309", "#b91c1c", "#0284c7"


Layers = alt.LayerChart | alt.FacetChart


def histogram(calibration: Calibration, score: float | None) -> Layers:
    """Bars of the calibration scores; rules for the thresholds and the score, each named."""
    counts, edges = np.histogram(calibration.scores, bins=min(30, max(8, calibration.n // 4)))
    bins = [
        {"from": float(low), "to": float(high), "normal images": int(count)}
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    bars = _chart(bins).mark_bar(color=_GREY, opacity=0.8)
    rules = {
        "review above": (calibration.review_threshold, _REVIEW, [5, 3]),
        "reject above": (calibration.threshold, _REJECT, [2, 2]),
    }
    if score is not None:
        rules["this image"] = (score, _HERE, [1, 0])
    names, (at, colours, dashes) = list(rules), zip(*rules.values(), strict=True)
    lines = _chart(
        [{"what": name, "score": value} for name, value in zip(names, at, strict=True)]
    ).mark_rule(strokeWidth=2.5)
    return alt.layer(
        bars.encode(
            x=alt.X("from:Q", title="score", scale=alt.Scale(zero=False)),
            x2="to:Q",
            y=alt.Y("normal images:Q", axis=alt.Axis(tickMinStep=1)),
            y2=alt.datum(0),
            tooltip=["normal images:Q"],
        ),
        lines.encode(
            x="score:Q",
            color=alt.Color(
                "what:N",
                scale=alt.Scale(domain=names, range=colours),
                legend=alt.Legend(title=None, orient="top"),
            ),
            strokeDash=alt.StrokeDash(
                "what:N", scale=alt.Scale(domain=names, range=dashes), legend=None
            ),
            tooltip=["what:N", alt.Tooltip("score:Q", format=".4g")],
        ),
    )


def recall(caught: Sequence[ExpectedRecall]) -> Layers:
    """Share of synthetic defects above the threshold, by size and contrast."""
    rows = [
        {"size": c.size, "contrast": f"contrast {c.contrast:g}", "caught": c.share} for c in caught
    ]
    base = _chart(rows).encode(
        x=alt.X("size:O", title="side in pixels of 256", axis=alt.Axis(labelAngle=0)),
        y=alt.Y(
            "caught:Q", title="caught", axis=alt.Axis(format="%"), scale=alt.Scale(domain=[0, 1])
        ),
        color=by_colour("contrast"),
        shape=alt.Shape("contrast:N", title=None),
        tooltip=["size:O", "contrast:N", alt.Tooltip("caught:Q", format=".0%")],
    )
    return alt.layer(base.mark_line(), base.mark_point(filled=True, size=60)).properties(height=240)


def drift(traces: Sequence[Trace]) -> Layers:
    """Evidence against the calibration, image by image, below the line at which it alarms."""
    rows = [
        {"watched": trace.name, "image": n + 1, "evidence": max(trace.capital[n], 1e-3)}
        for trace in traces
        for n in range(0, len(trace.capital), max(1, len(trace.capital) // 300))
    ]
    lines = _chart(rows).mark_line(strokeWidth=2)
    alarm = _chart([{"evidence": ALARM, "what": "alarm"}]).encode(y="evidence:Q")
    text = alarm.mark_text(align="left", dx=4, dy=-7, color=_REJECT)
    return alt.layer(
        lines.encode(
            x=alt.X("image:Q", title="images scored at this revision"),
            y=alt.Y("evidence:Q", scale=alt.Scale(type="log"), title="evidence of a change"),
            color=by_colour("watched"),
            strokeDash=alt.StrokeDash("watched:N", legend=None),
            tooltip=["watched:N", "image:Q", alt.Tooltip("evidence:Q", format=".3g")],
        ),
        alarm.mark_rule(color=_REJECT, strokeWidth=2),
        text.encode(x=alt.value(0), text="what:N"),
    ).properties(height=240)


def curves(
    points: Mapping[str, tuple[Float64, Float64]],
    axes: tuple[str, str],
    rings: Sequence[tuple[float, float]] = (),
) -> Layers:
    """A line a name through its points; rings, one a name, mark one of them."""
    unit = alt.Scale(domain=[0, 1])
    x, y = alt.X("x:Q", title=axes[0], scale=unit), alt.Y("y:Q", title=axes[1], scale=unit)
    rows = [
        {"name": name, "x": float(across), "y": float(up), "order": number}
        for name, (right, top) in points.items()
        for number, (across, up) in enumerate(zip(right, top, strict=True))
    ]
    marked = [
        {"name": name, "x": across, "y": up}
        for name, (across, up) in zip(points, rings, strict=False)
    ]
    colour = alt.Color("name:N", title=None, legend=alt.Legend(orient="bottom", columns=2))
    dash = alt.StrokeDash("name:N", title=None)
    lines = _chart(rows).mark_line(strokeWidth=2)
    return alt.layer(
        lines.encode(x=x, y=y, color=colour, strokeDash=dash, order="order:Q"),
        _chart(marked).mark_point(size=110, strokeWidth=2).encode(x="x:Q", y="y:Q", color=colour),
    ).properties(height=340)


def by_colour(field: str) -> alt.Color:
    """A colour for each value of a field, with a legend above the chart."""
    return alt.Color(f"{field}:N", title=None, legend=alt.Legend(orient="top"))


def show_table(
    rows: Sequence[Mapping[str, object]], formats: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Rows by column; ``formats`` are those of numbers, such as "%.4g" or "percent"."""
    columns = {name: st.column_config.NumberColumn(format=form) for name, form in formats.items()}
    st.dataframe(rows, hide_index=True, column_config=columns)


def _chart(rows: list[dict[str, Any]]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=rows))
