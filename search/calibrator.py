"""Calibrates a category that is built or that lives: what its images are measured by, and when.

The numbers themselves are those of `indexer.calibration.base`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbones.base import BackboneSpec
from backbones.pipeline import ImageFeatures
from indexer.bank.leave_one_out_distances import leave_one_out_distances
from indexer.calibration.base import (
    Calibration,
    CalibrationError,
    Method,
    calibrate,
    supported_levels,
)
from indexer.catalog.revisions import commit, undo_interrupted
from indexer.catalog.schema import CatalogEntry, Layout, MemoryBank
from indexer.knn.exact_index import ExactIndex
from indexer.scoring.anomaly_map import anomaly_map
from indexer.scoring.defect_embedding import deviating_cells, whitened_deviation
from indexer.scoring.distances import (
    image_score,
    nearest_normal_images,
    neighbors_score,
    patch_distances,
)
from indexer.scoring.whitening import read_whitening
from indexer.store.base import VectorStore

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ConformalCalibrator:
    """Calibration for ``build_index`` and the living bank; None leaves a level to ``calibrate``."""

    alpha_reject: float | None = None
    alpha_review: float | None = None
    method: Method = "conformal"

    @classmethod
    def of(cls, entry: CatalogEntry) -> ConformalCalibrator:
        """The one that calibrates a category again as it is calibrated now."""
        now = Calibration.from_payload(entry.calibration)
        return cls(*now.wishes, now.method)

    @property
    def layout(self) -> Layout:
        """How the method divides the normal images."""
        return "leave-one-out" if self.method == "cross-conformal" else "holdout"

    def check(self, images: int) -> None:
        """CalibrationError if ``images`` calibration images cannot support the levels."""
        supported_levels(images, self.alpha_reject, self.alpha_review, self.method)
        if self.method == "synthetic-f1":
            raise CalibrationError(
                "synthetic-f1 takes a category that is learnt: learn by conformal, then "
                "vecspect calibrate --method synthetic-f1"
            )

    def measurer(self, vectors: Float32) -> Callable[[Float32], Float32]:
        """Distance of each of the patches (H, W, D) to the nearest of ``vectors`` (M, D)."""
        index = ExactIndex(vectors)
        return lambda patches: patch_distances(patches, index).distances

    def scorer(
        self, store: VectorStore, entry: CatalogEntry, bank: MemoryBank
    ) -> Callable[[ImageFeatures], tuple[Float32, Float32 | None]]:
        """Patch distances (H, W) and `whitened_deviation`, as ``Inspector`` gives them."""
        if entry.spec.level == "image":
            return lambda image: (
                np.full(
                    (1, 1),
                    neighbors_score(nearest_normal_images(store, entry, image.image)),
                    np.float32,
                ),
                None,
            )
        index, whitening = ExactIndex(bank.vectors), read_whitening(store, entry)

        def measure(image: ImageFeatures) -> tuple[Float32, Float32 | None]:
            found = patch_distances(image.patches, index)
            deviates = whitened_deviation(image.patches, bank.vectors, found, whitening)
            return found.distances, deviates

        return measure

    def score(self, distances: Float32) -> float:
        """Image score of patch distances (H, W)."""
        return image_score(distances)

    def deviating(
        self, spec: BackboneSpec, distances: Float32, calibration: Mapping[str, Any]
    ) -> NDArray[np.int64]:
        """See `deviating_cells`, at the map threshold of a payload of ``calibrate``."""
        return deviating_cells(
            distances,
            input_size=spec.input_size,
            inset=spec.inset,
            threshold=Calibration.from_payload(calibration).map_threshold,
        )

    def leave_one_out(
        self,
        bank: MemoryBank,
        image_ids: Sequence[str],
        patches: Callable[[Sequence[str]], Iterable[tuple[str, Float32]]],
    ) -> Iterator[tuple[str, Float32]]:
        """See `leave_one_out_distances`."""
        return leave_one_out_distances(bank, image_ids, patches)

    def calibrate(
        self,
        spec: BackboneSpec,
        distances: Sequence[Float32],
        synthetic: Sequence[Float32] = (),
    ) -> dict[str, Any]:
        """The catalog's calibration payload from patch distances (H, W) of each image."""
        return calibrate(
            [image_score(d) for d in distances],
            alpha_reject=self.alpha_reject,
            alpha_review=self.alpha_review,
            method=self.method,
            peaks=[map_peak(spec, d) for d in distances] if spec.level == "patch" else (),
            synthetic=[image_score(d) for d in synthetic],
        ).to_payload()


def change_levels(
    store: VectorStore,
    entry: CatalogEntry,
    *,
    alpha_reject: float | None = None,
    alpha_review: float | None = None,
    method: Method | None = None,
) -> CatalogEntry:
    """Apply other levels or another method to what is stored; needs no image.

    A change is a revision of its own, so that running readers notice; without one nothing is
    written.

    Raises:
        CalibrationError: n cannot support a level, or the category was learnt for another method.
    """
    now = Calibration.from_payload(entry.calibration)
    method = method or now.method
    check_method(entry, method)
    calibration = calibrate(
        now.scores,
        alpha_reject=alpha_reject,
        alpha_review=alpha_review,
        method=method,
        peaks=now.peaks,
        synthetic=now.synthetic,
    )
    # the embedded engine rounds the last bit of a level
    wanted, there = ([c.alpha_reject, c.alpha_review] for c in (calibration, now))
    if calibration.method == now.method and np.allclose(wanted, there, rtol=1e-12, atol=0):
        return entry
    undo_interrupted(store, entry)
    changed = replace(
        entry,
        revision=entry.revision + 1,
        calibration=calibration.to_payload(),
        action=f"{method} at {calibration.alpha_reject:.4g} and {calibration.alpha_review:.4g}",
    )
    commit(store, changed, ())
    return changed


def check_method(entry: CatalogEntry, method: Method) -> None:
    """CalibrationError if the category's normal images are not divided as the method needs."""
    needed: Layout = "leave-one-out" if method == "cross-conformal" else "holdout"
    if method in ("conformal", "cross-conformal") and entry.layout != needed:
        raise CalibrationError(
            f"{method} takes a category learnt for it: the normal images of '{entry.category}' "
            f"are divided by {entry.layout}. Learn it again: vecspect index DATASET "
            f"--category {entry.category} --method {method}"
        )


def map_peak(spec: BackboneSpec, distances: Float32) -> float:
    """Largest value of the anomaly map of (H, W) distances, at the network's input size.

    Bringing the map to the pixels of a photo only averages, so no pixel there is higher.
    """
    side = spec.input_size
    values = anomaly_map(distances, input_size=side, width=side, height=side, inset=spec.inset)
    return float(values.max())
