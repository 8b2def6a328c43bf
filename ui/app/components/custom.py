"""Components of our own in the browser: a gallery, an image viewer, a frame for reports.

Each is three files beside this module, as HTML, CSS and JavaScript. Text reaches them as data and
is set with `textContent`, so no file name or payload becomes HTML.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from backbones.geometry import Box
from search.prediction import Prediction
from ui.app.pictures import data_uri, heat, picture

_FOLDER = Path(__file__).parent


def _component(name: str) -> Any:
    html, css, js = (
        (_FOLDER / f"{name}.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")
    )
    return st.components.v2.component(f"vecspect_{name}", html=html, css=css, js=js)


_gallery, _viewer, _frame = map(_component, ("gallery", "viewer", "report_frame"))


@dataclass(frozen=True, slots=True)
class Card:
    """One picture of a gallery; ``picture`` is a data URI, empty where the file cannot be shown."""

    id: str
    picture: str
    title: str
    lines: tuple[str, ...] = ()
    verdict: str = ""


def gallery(
    cards: Sequence[Card],
    *,
    key: str,
    label: str,
    chosen: str | None = None,
    picking: bool = False,
    side: int = 130,
) -> tuple[str | None, list[str]]:
    """Pictures side by side; the id of one just clicked, and the ids that are ticked.

    Args:
        picking: show boxes to tick.
        side: least width of a picture in pixels.
    """
    known = {card.id for card in cards}
    held = st.session_state.get(key) or {}
    ticked = [name for name in held.get("picked") or [] if name in known]
    result = _gallery(
        key=key,
        data={
            "cards": [asdict(card) for card in cards],
            "chosen": chosen,
            "picked": ticked,
            "picking": picking,
            "label": label,
            "side": side,
        },
        default={"picked": ticked},
        on_chosen_change=lambda: None,
        on_picked_change=lambda: None,
    )
    return result.chosen, [name for name in (result.picked or []) if name in known]


def viewer(
    prediction: Prediction, boxes: Sequence[Box], cell: tuple[int, int]
) -> tuple[int, int] | None:
    """The image under its heat; the (row, column) of a patch just chosen.

    The heat's slider lives in the browser: moving it asks nothing of the server.
    """
    rows, cols = prediction.distances.shape
    width, height, geometry = prediction.width, prediction.height, prediction.geometry
    insets = zip(geometry.inset, geometry.input_size, strict=True)
    result = _viewer(
        key="viewer",
        data={
            "picture": data_uri(picture(prediction.path)),
            "heat": data_uri(heat(prediction)) if rows * cols > 1 else None,
            "rows": rows,
            "cols": cols,
            "inset": [inset / side for inset, side in insets],
            "boxes": [
                [b.x / width, b.y / height, b.width / width, b.height / height] for b in boxes
            ],
            "cell": cell,
            "label": f"{prediction.path.name}: {prediction.verdict}",
        },
        on_cell_change=lambda: None,
    )
    return None if result.cell is None else (int(result.cell[0]), int(result.cell[1]))


def framed(page: str, *, key: str) -> None:
    """A page of HTML in a frame of its own, in which no script runs, whoever wrote it."""
    _frame(key=key, data={"page": page})
