"""Two or more benchmarks side by side: figures, settings, and the images that flipped."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import streamlit as st

from eval.benchmark.comparison import Comparison, Flip, Run, compare_runs
from ui.app.components.charts import show_table
from ui.app.components.custom import Card, gallery
from ui.app.text import plain, short_path

_MOST = 24
_ARROWS = {True: "▲ better", False: "▼ worse", None: "same"}


def show_comparisons(runs: Sequence[Run], picture: Callable[[Run, str], str]) -> None:
    """Differences between the runs of a category; the first benchmark is the reference.

    Args:
        picture: data URI of a test image of a run, by its path; empty where there is none.
    """
    compared = compare_runs(runs)
    if not compared:
        if len({run.name for run in runs}) > 1:
            st.info("These benchmarks have no category in common, so there is nothing to compare.")
        return
    st.header("Side by side")
    names = [_name(item) for item in compared]
    at = 0
    if len(names) > 1:
        at = names.index(st.selectbox("Compare", names))
    item = compared[at]
    left, right = st.columns(2, gap="large")
    with left:
        _deltas(item)
    with right:
        _settings(item)
    _flips(item, picture)


def run_name(run: Run) -> str:
    """Category, backbone and benchmark of a run, as its curve is called."""
    return f"{run.report.category}, {run.report.backbone}, {short_path(run.name)}"


def _name(item: Comparison) -> str:
    backbone = item.run.report.backbone
    return (
        f"{item.run.report.category}, {backbone}: {short_path(item.run.name)} beside "
        f"{short_path(item.reference.name)}"
    )


def _deltas(item: Comparison) -> None:
    before, after = _columns(item)
    rows = [
        {
            "figure": delta.title,
            before: _figure(delta.before),
            after: _figure(delta.after),
            "change": _change(delta.after - delta.before),
            "result": _ARROWS[delta.better],
        }
        for delta in item.deltas
        if not (math.isnan(delta.before) and math.isnan(delta.after))
    ]
    st.markdown("**Figures**")
    show_table(rows)


def _settings(item: Comparison) -> None:
    before, after = _columns(item)
    rows = [
        {
            "setting": "made at",
            before: item.reference.created_at[:16].replace("T", " "),
            after: item.run.created_at[:16].replace("T", " "),
        }
    ]
    rows += [
        {"setting": name.replace("_", " "), before: _value(old), after: _value(new)}
        for name, (old, new) in item.settings.items()
    ]
    st.markdown("**Date, and settings that differ**")
    show_table(rows)
    if len(rows) == 1:
        st.caption("All settings are the same.")


def _flips(item: Comparison, picture: Callable[[Run, str], str]) -> None:
    flips = item.flips
    worse = sum(not flip.better for flip in flips)
    st.markdown(
        f"**Images with another verdict: {len(flips)}**, {worse} for the worse, "
        f"{len(flips) - worse} for the better"
    )
    missing = item.only_reference + item.only_run
    if missing:
        st.caption(f"{missing} test images are in one of the two benchmarks only.")
    if flips:
        cards = [_card(item.run, flip, picture) for flip in flips[:_MOST]]
        gallery(cards, key=f"flips {_name(item)}", label="Images with another verdict", side=150)
    if len(flips) > _MOST:
        st.caption(f"{len(flips) - _MOST} more.")


def _card(run: Run, flip: Flip, picture: Callable[[Run, str], str]) -> Card:
    lines = (
        f"{flip.before.verdict} → {flip.after.verdict}: {'better' if flip.better else 'worse'}",
        f"score {flip.before.score:.4g} → {flip.after.score:.4g}",
        Path(flip.after.path).name,
    )
    title = flip.after.defect_type or flip.after.label
    return Card(flip.after.path, picture(run, flip.after.path), title, lines, flip.after.verdict)


def _columns(item: Comparison) -> tuple[str, str]:
    """Heads of the two columns, which differ."""
    return short_path(item.reference.name), f"{short_path(item.run.name)} "


def _figure(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}" if abs(value) <= 1 else f"{value:.4g}"


def _change(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:+.4f}" if abs(value) <= 1 else f"{value:+.4g}"


def _value(value: object) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else plain(str(value)).replace("\\", "")
    return text if len(text) < 40 else f"{text[:12]}…"
