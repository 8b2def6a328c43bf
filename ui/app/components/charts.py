"""Charts and tables of the app, in the theme of the page."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ParamSpec

import altair as alt
import numpy as np
import streamlit as st

from eval.arrays import Float64
from indexer.calibration.base import Calibration
from indexer.calibration.expected_recall import ExpectedRecall
from search.monitoring.drift import ALARM, Trace

_GREY, _REVIEW, _REJECT, _HERE = "#8a8f98", "#b45309", "#b91c1c", "#0284c7"
_NORMAL, _DEFECTIVE = _GREY, "#7c6bd6"
_APART = ["#1f83c4", "#d55e00", "#009e73", "#a35bc4", "#b07800", "#d6406f", "#5f7f1f", "#64748b"]
"""At least 3:1 on a light and a dark page, in hues that colour-blind readers tell apart."""


Layers = alt.Chart | alt.LayerChart | alt.FacetChart
P = ParamSpec("P")


def themed(make: Callable[P, Layers]) -> Callable[P, Layers]:
    """Give the charts of a function text that can be read on the page's background."""

    @functools.wraps(make)
    def drawn(*args: P.args, **options: P.kwargs) -> Layers:
        ink = "#d6d6d6" if st.context.theme.type == "dark" else "#3b3d45"
        chart: Layers = make(*args, **options).configure_axis(labelColor=ink, titleColor=ink)
        read: Layers = chart.configure_legend(labelColor=ink)
        return read

    return drawn


@themed
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
    return alt.layer(
        bars.encode(
            x=alt.X("from:Q", title="score", scale=alt.Scale(zero=False)),
            x2="to:Q",
            y=alt.Y("normal images:Q", axis=alt.Axis(tickMinStep=1)),
            y2=alt.datum(0),
            tooltip=["normal images:Q"],
        ),
        _rules(rules),
    ).properties(
        description="Histogram of the scores of "
        + f"{calibration.n} calibration images; "
        + ", ".join(f"{name} {at:.4g}" for name, (at, _, _) in rules.items()),
    )


def _rules(rules: Mapping[str, tuple[float, str, list[int]]]) -> alt.Chart:
    """Upright lines by name: where, of which colour and dash."""
    colours, dashes = [rule[1] for rule in rules.values()], [rule[2] for rule in rules.values()]
    rows: list[dict[str, Any]] = [{"what": name, "score": at} for name, (at, _, _) in rules.items()]
    lines: alt.Chart = (
        _chart(rows)
        .mark_rule(strokeWidth=2.5)
        .encode(
            x="score:Q",
            color=alt.Color(
                "what:N",
                scale=alt.Scale(domain=list(rules), range=colours),
                legend=alt.Legend(title=None, orient="bottom", columns=1),
            ),
            strokeDash=alt.StrokeDash(
                "what:N", scale=alt.Scale(domain=list(rules), range=dashes), legend=None
            ),
            tooltip=["what:N", alt.Tooltip("score:Q", format=".4g")],
        )
    )
    return lines


@themed
def scores_by_kind(
    kinds: Mapping[str, Sequence[float]], now: Calibration, then: Calibration
) -> Layers:
    """A histogram a kind, one above the other, with the thresholds in force and those to come."""
    every = [score for scores in kinds.values() for score in scores]
    edges = np.histogram_bin_edges([*every, now.threshold], bins=60)
    names, bins = list(kinds), []
    for row, (name, scores) in enumerate(kinds.items()):
        counts, _ = np.histogram(scores, bins=edges)
        base, unit = len(names) - 1 - row, 0.85 / max(1, counts.max(initial=0))
        bins += [
            {
                "from": float(low),
                "to": float(high),
                "base": base,
                "top": base + count * unit,
                "kind": name,
                "images": int(count),
                "shows": "normal" if name.startswith("normal") else "defective",
            }
            for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
            if count
        ]
    labels = json.dumps([f"{name} ({len(kinds[name])})" for name in reversed(names)])
    x = alt.X("from:Q", title="image score", scale=alt.Scale(zero=False))
    y_scale = alt.Scale(domain=[0, len(names)], nice=False)
    axis = alt.Axis(
        values=[row + 0.4 for row in range(len(names))],
        labelExpr=f"{labels}[floor(datum.value)]",
        title=None,
        grid=False,
        ticks=False,
        domain=False,
        labelLimit=130,
    )
    bars = _chart(bins).mark_bar(opacity=0.9)
    rules = {"review above": (then.review_threshold, _REVIEW, [5, 3])}
    rules["reject above"] = (then.threshold, _REJECT, [1, 0])
    if (then.threshold, then.review_threshold) != (now.threshold, now.review_threshold):
        rules["review above, current"] = (now.review_threshold, _GREY, [5, 3])
        rules["reject above, current"] = (now.threshold, _GREY, [1, 0])
    told = ", ".join(f"{name} {at:.4g}" for name, (at, _, _) in rules.items())
    return alt.layer(
        bars.encode(
            x=x,
            x2="to:Q",
            y=alt.Y("base:Q", scale=y_scale, axis=axis),
            y2="top:Q",
            color=alt.condition(
                alt.datum.shows == "normal", alt.value(_NORMAL), alt.value(_DEFECTIVE)
            ),
            tooltip=["kind:N", "images:Q", alt.Tooltip("from:Q", format=".4g")],
        ),
        _rules(rules),
    ).properties(
        height=110 + 48 * len(names) + 18 * len(rules),
        description=f"Histograms of image scores of {', '.join(names)}; {told}.",
    )


@themed
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
    return alt.layer(base.mark_line(), base.mark_point(filled=True, size=60)).properties(
        height=240, description="Share of synthetic defects caught, by size and contrast."
    )


@themed
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
    ).properties(
        height=240,
        description=f"Evidence of a change in {', '.join(trace.name for trace in traces)}, "
        f"image by image; an alarm is at {ALARM:g}.",
    )


@themed
def curves(
    points: Mapping[str, tuple[Float64, Float64]],
    axes: tuple[str, str],
    rings: Sequence[tuple[float, float]] = (),
) -> Layers:
    """A line per name through its points; a ring per name marks one of them."""
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
    legend = alt.Legend(orient="bottom", columns=1, labelLimit=0)
    colour = alt.Color("name:N", title=None, legend=legend, scale=alt.Scale(range=_APART))
    dash = alt.StrokeDash("name:N", title=None)
    lines = _chart(rows).mark_line(strokeWidth=2)
    return alt.layer(
        lines.encode(x=x, y=y, color=colour, strokeDash=dash, order="order:Q"),
        _chart(marked).mark_point(size=110, strokeWidth=2).encode(x="x:Q", y="y:Q", color=colour),
    ).properties(
        height=380 + 34 * len(points),
        description=f"{axes[1]} over {axes[0]} of {', '.join(points)}.",
    )


def by_colour(field: str) -> alt.Color:
    """A colour for each value of a field, with a legend above the chart."""
    return alt.Color(
        f"{field}:N",
        title=None,
        legend=alt.Legend(orient="top", columns=3),
        scale=alt.Scale(range=_APART),
    )


def show_table(
    rows: Sequence[Mapping[str, object]], formats: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Rows by column; ``formats`` are those of numbers, such as "%.4g" or "percent"."""
    columns = {name: st.column_config.NumberColumn(format=form) for name, form in formats.items()}
    st.dataframe(rows, hide_index=True, column_config=columns, height="content")


def _chart(rows: list[dict[str, Any]]) -> alt.Chart:
    return alt.Chart(alt.InlineData(values=rows))
