"""A plane on which library images lie near those they are like; its points can be chosen."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import altair as alt
import streamlit as st

from indexer.catalog.schema import CatalogEntry
from search.retrieval.clustering import image_plane
from ui.app.layout import place
from ui.app.session import Desk, Key


def embedding_map(opened: Desk, entry: CatalogEntry) -> list[str]:
    """Draw the images of the entry's library; the ids of the points chosen."""
    methods = ["PCA", "UMAP"] if find_spec("umap") else ["PCA"]
    method = st.segmented_control("Method", methods, default="PCA") or "PCA"
    rows = _rows(opened.store.location, entry.category, entry.backbone, entry.revision, method)
    if not rows:
        st.info("A map takes at least three images.")
        return []
    area = alt.selection_interval(name="area")
    points = alt.selection_point(name="points", fields=["id"])
    chart = (
        alt.Chart(alt.InlineData(values=rows))
        .mark_point(filled=True, size=70, opacity=0.8)
        .encode(
            x=alt.X("x:Q", axis=None),
            y=alt.Y("y:Q", axis=None),
            color=alt.Color("shows:N", title=None, legend=alt.Legend(orient="top")),
            shape=alt.Shape("shows:N", title=None),
            tooltip=["shows:N", "role:N", "file:N"],
        )
        .add_params(area, points)
        .properties(height=480)
    )
    st.caption("Click a point, or drag a box around several, to see the images.")
    event: Any = st.altair_chart(chart, on_select="rerun", key=f"map {entry.category} {method}")
    clicked = [point["id"] for point in event.selection.get("points", []) if "id" in point]
    box = event.selection.get("area", {})
    if clicked or not box:
        return clicked
    (left, right), (low, high) = box["x"], box["y"]
    return [r["id"] for r in rows if left <= r["x"] <= right and low <= r["y"] <= high]


@st.cache_data(show_spinner="Drawing the map…", max_entries=8)
def _rows(
    location: str, category: str, backbone: str, revision: int, method: Any
) -> list[dict[str, Any]]:
    """A row an image, kept for a revision of a store."""
    opened = place().open()
    with opened.lock:
        entry = opened.entry(Key(category, backbone))
        images, plane = image_plane(opened.store, entry, method)
    return [
        {
            "id": image.image_id,
            "x": float(x),
            "y": float(y),
            "shows": image.defect_type or image.label,
            "role": image.split,
            "file": image.path.rpartition("/")[2],
        }
        for image, (x, y) in zip(images, plane, strict=True)
    ]
