"""What normal images leave behind when they join a category that keeps patches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from indexer.bank.extension import Growth
from indexer.bank.pruning import keep_short, read_short_forms
from indexer.catalog.cached_arrays import keep
from indexer.catalog.collections import read_bank
from indexer.catalog.counts import PASSED_OVER, counted, tallied
from indexer.catalog.schema import CatalogEntry, LibraryImage, bank_collection, patch_point
from indexer.learn.calibrator import Calibrator
from indexer.learn.recalibrate import measure_growth
from indexer.store.base import VectorStore

Float32 = NDArray[np.float32]


class JoiningPatches:
    """Writes the patches of images that join the revision after ``entry``'s.

    Attributes:
        nothing_new: images of the bank's that brought no patch.
    """

    def __init__(self, store: VectorStore, entry: CatalogEntry) -> None:
        self._store, self._entry = store, entry
        self._growth = Growth(entry, read_bank(store, entry))
        self._forms = read_short_forms(store, entry)
        self._calibrating: dict[str, Float32] = {}
        self.nothing_new = 0

    @property
    def grown(self) -> int:
        """Patches that have joined the bank."""
        return len(self._growth.new.vectors)

    def take(self, after: CatalogEntry, image: LibraryImage, patches: Float32) -> None:
        """Let an image of patches (H, W, D) do what its role and the category's layout say."""
        if image.split == "bank":
            cells = self._growth.take(image.image_id, patches)
            self._store.upsert(
                bank_collection(after.category, after.backbone),
                [patch_point(after, image, row, col, patches[row, col]) for row, col in cells],
            )
            self.nothing_new += not cells
        if calibrates(after, image.split):
            keep(self._store, after, "patches", [(image.image_id, patches)])
            keep_short(self._store, after, self._forms, image.image_id, patches)
            self._calibrating[image.image_id] = patches

    def measure(self, after: CatalogEntry, calibrator: Calibrator) -> CatalogEntry:
        """Write the distances that are others now; the entry, counting what has joined."""
        measure_growth(self._store, self._entry, after, calibrator, self._growth, self._calibrating)
        if after.layout == "leave-one-out":
            after = tallied(after, PASSED_OVER, self.nothing_new)
        return counted(after, "patches", self.grown)


def calibrates(entry: CatalogEntry, role: str) -> bool:
    """Whether an image of this role is one of those whose scores calibrate."""
    return role == "calibration" or (role == "bank" and entry.layout == "leave-one-out")
