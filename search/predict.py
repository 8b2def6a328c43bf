"""Turns an image's features into its prediction: verdict, evidence, and similar past defects."""

from __future__ import annotations

from backbones.geometry import Size
from backbones.pipeline import ImageFeatures
from indexer.scoring.anomaly_map import worst_region
from indexer.scoring.base import NearestNormal, Scored
from search.open_revision import OpenRevision
from search.prediction import Evidence, Prediction
from search.retrieval.type_proposal import SeenBefore


def predict(revision: OpenRevision, features: ImageFeatures) -> Prediction:
    """The prediction for an image from its features."""
    found = revision.scorer.score(features)
    calibration, entry = revision.calibration, revision.category.entry
    verdict = calibration.verdict(found.score)
    geometry = entry.spec.geometry(features.size)
    return Prediction(
        path=features.path,
        sha256=features.sha256,
        category=entry.category,
        backbone=entry.backbone,
        score=found.score,
        p_value=calibration.p_value(found.score),
        verdict=verdict,
        threshold=calibration.threshold,
        map_threshold=calibration.map_threshold,
        box=worst_region(found.distances, geometry),
        evidence=evidence(revision, found.worst_cell, found.nearest, features.size),
        revision=entry.revision,
        scored=found,
        geometry=geometry,
        quality=features.quality,
        source=features.source,
        seen_before=_seen_before(revision, features, found) if verdict == "reject" else None,
    )


def evidence(
    revision: OpenRevision, query_cell: tuple[int, int], nearest: NearestNormal, size: Size
) -> Evidence:
    """A patch together with its nearest normal patch.

    Args:
        query_cell: row and column of the patch, in an image of ``size`` (height, width) pixels.
    """
    spec = revision.category.spec
    normal = revision.images[nearest.image_id]
    return Evidence(
        query_cell=query_cell,
        query_box=spec.geometry(size).cell_box(*query_cell),
        distance=nearest.distance,
        image_id=normal.image_id,
        path=normal.path,
        cell=nearest.cell,
        box=spec.geometry((normal.height, normal.width)).cell_box(*nearest.cell),
    )


def _seen_before(
    revision: OpenRevision, features: ImageFeatures, found: Scored
) -> SeenBefore | None:
    if revision.proposer is None:
        return None
    deviates = revision.scorer.defect_embedding(features, found)
    if deviates is None:
        return None
    return revision.proposer.propose(deviates, without=features.sha256)
