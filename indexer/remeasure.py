"""What a change of the bank does to the distances that are kept, measured without image files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.calibrator import Calibrator
from indexer.coreset import project
from indexer.kept import Kind, keep, read_kept
from indexer.known import with_known_scores
from indexer.revise import end
from indexer.schema import (
    CatalogEntry,
    LibraryImage,
    MemoryBank,
    bank_collection,
    patch_point,
    patches_collection,
)
from indexer.store import VectorStore

Float32 = NDArray[np.float32]

MEASURED: tuple[tuple[Kind, Kind], ...] = (
    ("patches", "distances"),
    ("synthetic", "synthetic distances"),
)
"""What is kept of the calibration images, and the distances measured of it."""
_SAME = np.float32(1.001)


class Growth:
    """Continues the greedy selection with the patches of new images."""

    def __init__(self, store: VectorStore, entry: CatalogEntry, bank: MemoryBank) -> None:
        self._store, self._entry = store, entry
        self._seed = int(entry.settings["seed"])
        self._points = project(bank.vectors, self._seed)
        self.vectors = np.zeros((0, bank.vectors.shape[1]), np.float32)
        self.owners: list[str] = []

    def take(self, image: LibraryImage, patches: Float32) -> None:
        """Write and remember the patches of (H, W, D) beyond the covering radius."""
        cols, dim = patches.shape[1:]
        flat = patches.reshape(-1, dim)
        picks = self.choose(patches)
        self._store.upsert(
            bank_collection(self._entry.category, self._entry.backbone),
            [patch_point(self._entry, image, p // cols, p % cols, flat[p]) for p in picks],
        )
        self.owners += [image.image_id] * len(picks)

    def choose(self, patches: Float32) -> list[int]:
        """Remember the patches of (H, W, D) beyond the covering radius; which, row by row."""
        flat = patches.reshape(-1, patches.shape[-1])
        points = project(flat, self._seed)
        nearest = _squared_distances(points, self._points)
        picks: list[int] = []
        while nearest.max() > self._entry.radius**2:
            pick = int(nearest.argmax())
            picks.append(pick)
            np.minimum(nearest, _squared_distances(points, points[[pick]]), out=nearest)
            nearest[pick] = 0.0
        self._points = np.concatenate([self._points, points[picks]])
        self.vectors = np.concatenate([self.vectors, flat[picks]])
        return picks


def _squared_distances(points: Float32, others: Float32) -> Float32:
    """(Q,) squared distance of each of ``points`` (Q, d) to the nearest of ``others`` (M, d)."""
    centre = others.mean(axis=0)
    near, far = points - centre, others - centre
    closeness = near @ far.T
    closeness -= np.einsum("md,md->m", far, far) / 2
    # measured in full: two equal patches must not lie a rounding error apart
    difference = points - others[closeness.argmax(axis=1)]
    return np.asarray(np.einsum("qd,qd->q", difference, difference), np.float32)


def measure_growth(
    store: VectorStore,
    entry: CatalogEntry,
    after: CatalogEntry,
    calibrator: Calibrator,
    growth: Growth,
    bank: MemoryBank,
    calibrating: dict[str, Float32],
) -> None:
    """Write the distances that new bank patches lower, and those of new calibration images."""
    if len(growth.vectors):
        to_new = calibrator.measurer(growth.vectors)
        for kept, measured in MEASURED:
            for key, before, lowered in lowered_distances(store, entry, kept, measured, to_new):
                if (lowered < before).any():
                    _replace_distances(store, entry, after, measured, key, lowered)
    to_bank = calibrator.measurer(bank.vectors) if calibrating else None
    owners = np.array(growth.owners, np.str_)
    for key, patches in calibrating.items():
        assert to_bank
        distances = to_bank(patches)
        if len(others := growth.vectors[owners != key]):
            np.minimum(distances, calibrator.measurer(others)(patches), out=distances)
        keep(store, after, "distances", [(key, distances)])


def lowered_distances(
    store: VectorStore,
    entry: CatalogEntry,
    kept: Kind,
    measured: Kind,
    to_new: Callable[[Float32], Float32],
) -> Iterator[tuple[str, Float32, Float32]]:
    """(image id, distances as kept, distances with the new patches of ``to_new`` as well)."""
    before = dict(read_kept(store, entry, measured))
    for key, patches in read_kept(store, entry, kept, list(before)) if before else ():
        yield key, before[key], np.minimum(before[key], to_new(patches))


def measure_again(
    store: VectorStore,
    entry: CatalogEntry,
    after: CatalogEntry,
    bank: MemoryBank,
    lost: Float32,
    gone: set[str],
) -> int:
    """Write every distance that rises with patches that left; how many were covered and are not.

    Only a patch whose nearest was among those that left can rise, and only such are measured.

    Args:
        bank: what is left.
        lost: (L, D) the patches that left.
        gone: images whose own distances are no longer needed.
    """
    uncovered = 0
    for kept, measured in MEASURED:
        before = {k: d for k, d in read_kept(store, entry, measured) if k not in gone}
        for key, patches in read_kept(store, entry, kept, list(before)) if before else ():
            flat = patches.reshape(-1, patches.shape[-1])
            to_lost = np.sqrt(_squared_distances(flat, lost)).reshape(before[key].shape)
            # the first measurement was in float32, this one starts from float16
            touched = to_lost <= before[key] * _SAME
            if not touched.any():
                continue
            risen = before[key].copy()
            own = bank.image_ids == key
            others = bank.vectors[~own] if own.any() else bank.vectors
            found = np.sqrt(_squared_distances(flat[touched.ravel()], others))
            risen[touched] = np.maximum(found, before[key][touched])
            if kept == "patches":
                covered, radius = before[key] <= entry.radius, entry.radius
                uncovered += int((covered & (risen > radius)).sum())
            _replace_distances(store, entry, after, measured, key, risen)
    return uncovered


def _replace_distances(
    store: VectorStore,
    entry: CatalogEntry,
    after: CatalogEntry,
    kind: Kind,
    key: str,
    distances: Float32,
) -> None:
    collection = patches_collection(entry.category, entry.backbone)
    end(store, entry, collection, {"image_id": key, "kind": kind})
    keep(store, after, kind, [(key, distances)])


def recalibrated(store: VectorStore, after: CatalogEntry, calibrator: Calibrator) -> CatalogEntry:
    """The entry with the calibration that the distances kept for its revision give."""
    distances = dict(read_kept(store, after, "distances"))
    synthetic = dict(read_kept(store, after, "synthetic distances"))
    counts = {**after.counts, "calibration_images": len(distances)}
    calibration = calibration_of(after, calibrator, distances, synthetic)
    recalibrated = replace(after, counts=counts, calibration=calibration)
    return with_known_scores(store, recalibrated, calibrator)


def calibration_of(
    entry: CatalogEntry,
    calibrator: Calibrator,
    distances: Mapping[str, Float32],
    synthetic: Mapping[str, Float32],
) -> dict[str, Any]:
    """The calibration of distances (H, W), and of those of made-up defects, by image id."""
    made_up = [
        np.append(row, distances[key].max()) for key, rows in synthetic.items() for row in rows
    ]
    return calibrator.calibrate(entry.spec, list(distances.values()), made_up)
