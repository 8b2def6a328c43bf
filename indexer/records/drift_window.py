"""A record of each recently inspected image, stored for drift monitoring."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbones.decode import QUALITY_STATISTICS
from indexer.catalog import schema
from indexer.catalog.category import Category, now
from indexer.store.base import Point, Where

WINDOW = 5000
"""Number of images whose records are stored; after that, each replaces the oldest."""


@dataclass(frozen=True, slots=True, eq=False)
class Inspected:
    """Stored record of an inspected image.

    Attributes:
        sha256: hash of its file; not stored, but shows whether the library has the image.
        revision: revision at which it was scored.
        quality: (2,) float32, see `backbones.decode`.
    """

    sha256: str
    revision: int
    score: float
    p_value: float
    verdict: str
    quality: NDArray[np.float32]


class DriftWindow:
    """Writes a record of every new image inspected, of which a category keeps ``WINDOW``.

    Threads may share it.
    """

    def __init__(self, category: Category) -> None:
        self._category = category
        self._lock = threading.Lock()
        self._collection = schema.inspections_collection(category.name, category.backbone)
        store = category.store
        store.create_collection(self._collection, {}, {"number": "integer"})
        numbers = (line_number(point.payload) for point in store.scroll(self._collection))
        self._next = max(numbers, default=-1) + 1

    def record(self, inspected: Inspected) -> None:
        """Store a record of an image that has just been scored, unless the library has it.

        Library images are not a sample of current production: scoring them again would raise or
        hide an alarm.
        """
        category = self._category
        of_library: Where = {
            "image_id": category.image_id(inspected.sha256),
            "until": schema.FOREVER,
        }
        with self._lock:
            if not category.store.count(category.images, of_library):
                self._write(inspected)

    def _write(self, inspected: Inspected) -> None:
        payload = {
            "number": self._next,
            "revision": inspected.revision,
            "at": now(),
            "score": inspected.score,
            "p_value": inspected.p_value,
            "verdict": inspected.verdict,
            **dict(zip(QUALITY_STATISTICS, inspected.quality.tolist(), strict=True)),
        }
        slot = schema.point_id(self._category.key, "inspection", self._next % WINDOW)
        self._category.store.upsert(self._collection, [Point(slot, {}, payload)])
        self._next += 1


def read_window(category: Category) -> list[Mapping[str, Any]]:
    """Records of the category's revision in the current window, oldest first."""
    collection = schema.inspections_collection(category.name, category.backbone)
    if collection not in category.store.collections():
        return []
    points = (point.payload for point in category.store.scroll(collection))
    of_revision = (line for line in points if line["revision"] == category.entry.revision)
    lines = sorted(of_revision, key=line_number)
    return [
        line for line in lines if line_number(line) // WINDOW == line_number(lines[-1]) // WINDOW
    ]


def line_number(line: Mapping[str, Any]) -> int:
    """Number of a record, in the order of inspection."""
    return int(line["number"])
