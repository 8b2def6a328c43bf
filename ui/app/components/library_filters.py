"""Filters and order of the images of a library, which the address holds."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import streamlit as st

from indexer.calibration.base import Calibration
from indexer.calibration.methods import read_calibration
from indexer.catalog.entry import LibraryImage
from ui.app.address import in_address, put_in_address
from ui.app.session import Key, Session

_ALL, _UNNAMED = "all", "unnamed"
_NOTHING = {
    "label": _ALL, "type": _ALL, "role": _ALL, "verdict": _ALL, "since": None, "find": "",
}  # fmt: skip
"""What asks for nothing, by the name of the widget, which is that in the address too."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Conditions for an image to be shown; `_ALL` and empty values set none."""

    label: str = _ALL
    kind: str = _ALL
    role: str = _ALL
    verdict: str = _ALL
    since: datetime.date | None = None
    text: str = ""

    def passes(self, image: LibraryImage, calibration: Calibration) -> bool:
        """True if an image is shown."""
        unnamed = image.label == "defective" and not image.defect_type
        return (
            self.label in (_ALL, image.label)
            and (self.kind in (_ALL, image.defect_type) or (self.kind == _UNNAMED and unnamed))
            and self.role in (_ALL, image.split)
            and (self.verdict == _ALL or self._judged(image, calibration))
            and (not self.since or image.added_at >= self.since.isoformat())
            and (not self.text or self._found(image))
        )

    def _judged(self, image: LibraryImage, calibration: Calibration) -> bool:
        return image.score is not None and calibration.verdict(image.score) == self.verdict

    def _found(self, image: LibraryImage) -> bool:
        name, equals, value = self.text.partition("=")
        if equals:
            return image.fields.get(name.strip()) == value.strip()
        return self.text.lower() in image.path.lower()


def _by_score(sign: float) -> Callable[[LibraryImage], tuple[Any, ...]]:
    """Order by score; images without one come last."""
    return lambda image: (image.score is None, sign * (image.score or 0.0), image.path)


ORDERS: dict[str, Callable[[list[LibraryImage]], list[LibraryImage]]] = {
    "file name": lambda images: sorted(images, key=lambda i: (i.path, i.image_id)),
    "highest score": lambda images: sorted(images, key=_by_score(-1.0)),
    "lowest score": lambda images: sorted(images, key=_by_score(1.0)),
    "newest": lambda images: sorted(images, key=lambda i: (i.added_at, i.path), reverse=True),
}


def filtered_images(session: Session, key: Key) -> list[LibraryImage]:
    """The images that pass the filters, in the order chosen; draws the controls."""
    images = list(session.library(key).values())
    calibration = read_calibration(session.entry(key))
    kinds = sorted({image.defect_type for image in images if image.defect_type})
    with st.container(horizontal=True, vertical_alignment="bottom"):
        filters = Filters(
            _choice("Label", [_ALL, "normal", "defective"], "label", 120),
            _choice("Defect type", [_ALL, *kinds, _UNNAMED], "type", 160),
            _choice("Role", [_ALL, "bank", "calibration", "test", "quarantined"], "role", 140),
            _choice("Verdict", [_ALL, "ok", "review", "reject"], "verdict", 110),
            st.date_input(
                "Added since",
                None,
                width=140,
                key="since",
                bind="query-params",
                on_change=_first_page,
            ),
            st.text_input(
                "File name or field",
                placeholder="line=3",
                width=180,
                key="find",
                bind="query-params",
                on_change=_first_page,
            )
            or "",
        )
        order = _choice("Sort by", list(ORDERS), "sort", 150)
        for name in (*_NOTHING, "sort"):
            in_address(name)
        if filters != Filters():
            st.button("Clear", icon=":material/filter_alt_off:", on_click=_clear)
    return ORDERS[order]([image for image in images if filters.passes(image, calibration)])


def _choice(label: str, options: list[str], name: str, width: int) -> str:
    chosen: str = st.selectbox(
        label, options, width=width, key=name, bind="query-params", on_change=_first_page
    )
    return chosen


def _first_page() -> None:
    put_in_address(page="")


def _clear() -> None:
    st.session_state.update(_NOTHING)
    _first_page()
