"""From an image's features to its verdict, with what it was compared with and what it resembles."""

from __future__ import annotations

import numpy as np

from backbones.pipeline import ImageFeatures
from backbones.weights import sha256_of
from indexer.catalog.schema import LibraryImage
from indexer.scoring.anomaly_map import worst_region
from indexer.scoring.defect_embedding import whitened_deviation
from indexer.scoring.distances import (
    PatchDistances,
    image_score,
    nearest_normal_images,
    neighbors_score,
    patch_distances,
)
from search.open_revision import Revision
from search.prediction import Evidence, Prediction
from search.retrieval.type_proposal import SeenBefore


def judge(now: Revision, features: ImageFeatures) -> Prediction:
    """What the category says of an image."""
    spec = now.entry.spec
    seen_before = None
    if spec.level == "image":
        nearest = nearest_normal_images(now.store, now.entry, features.image)
        score = neighbors_score(nearest)
        patch = PatchDistances(np.full((1, 1), score, np.float32), np.zeros((1, 1), np.int64))
        size = (features.width, features.height)
        evidence = _evidence(now, (0, 0), nearest[0][0], nearest[0][1], (0, 0), size)
        verdict = now.calibration.verdict(score)
    else:
        patch = patch_distances(features.patches, now.index)
        score = image_score(patch.distances)
        worst = np.unravel_index(int(patch.distances.argmax()), patch.distances.shape)
        evidence = patch_evidence(
            now,
            (int(worst[0]), int(worst[1])),
            score,
            int(patch.bank_indices[worst]),
            (features.width, features.height),
        )
        verdict = now.calibration.verdict(score)
        if verdict == "reject":
            seen_before = _seen_before(now, features, patch)
    return Prediction(
        path=features.path,
        category=now.entry.category,
        backbone=now.entry.backbone,
        score=score,
        p_value=now.calibration.p_value(score),
        verdict=verdict,
        threshold=now.calibration.threshold,
        map_threshold=now.calibration.map_threshold,
        box=worst_region(
            patch.distances,
            input_size=spec.input_size,
            width=features.width,
            height=features.height,
            inset=spec.inset,
        ),
        evidence=evidence,
        revision=now.entry.revision,
        distances=patch.distances,
        bank_indices=patch.bank_indices,
        width=features.width,
        height=features.height,
        input_size=spec.input_size,
        inset=spec.inset,
        seen_before=seen_before,
    )


def score_of(now: Revision, features: ImageFeatures) -> float:
    """The image score alone."""
    if now.entry.spec.level == "image":
        nearest = nearest_normal_images(now.store, now.entry, features.image)
        return neighbors_score(nearest)
    return image_score(patch_distances(features.patches, now.index).distances)


def patch_evidence(
    now: Revision, query_cell: tuple[int, int], distance: float, found: int, size: tuple[int, int]
) -> Evidence:
    """A patch beside the nearest normal one.

    Args:
        query_cell: row and column of the patch, in an image of ``size`` (width, height) pixels.
        found: row in the memory bank of the nearest.
    """
    normal = now.images[str(now.bank.image_ids[found])]
    cell = (int(now.bank.cells[found, 0]), int(now.bank.cells[found, 1]))
    return _evidence(now, query_cell, distance, normal, cell, size)


def _seen_before(
    now: Revision, features: ImageFeatures, found: PatchDistances
) -> SeenBefore | None:
    if now.proposer is None:
        return None
    deviates = whitened_deviation(features.patches, now.bank.vectors, found, now.whitening)
    if deviates is None:
        return None
    return now.proposer.propose(deviates, without=sha256_of(features.path))


def _evidence(
    now: Revision,
    query_cell: tuple[int, int],
    distance: float,
    normal: LibraryImage,
    cell: tuple[int, int],
    size: tuple[int, int],
) -> Evidence:
    spec = now.entry.spec
    return Evidence(
        query_cell=query_cell,
        query_box=spec.geometry(*size).cell_box(*query_cell),
        distance=distance,
        image_id=normal.image_id,
        path=normal.path,
        cell=cell,
        box=spec.geometry(normal.width, normal.height).cell_box(*cell),
    )
