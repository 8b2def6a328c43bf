"""What vecspect says of one image, and the reasons it gives."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbones.geometry import Box, Geometry
from indexer.calibration.base import Verdict
from indexer.records.drift_window import Inspected
from indexer.scoring.anomaly_map import anomaly_map
from indexer.scoring.base import Scored
from search.retrieval.type_proposal import SeenBefore

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A query patch and its nearest normal patch; boxes in pixels of either image."""

    query_cell: tuple[int, int]
    query_box: Box
    distance: float
    image_id: str
    path: str
    cell: tuple[int, int]
    box: Box


@dataclass(frozen=True, slots=True)
class Prediction:
    """What vecspect says of one image.

    Attributes:
        box: the worst region, in pixels of the original upright image.
        map_threshold: level of the anomaly map that normal images do not reach, see `Calibration`.
        scored: the distances of its patches, and what they were measured to.
        geometry: where the patches lie in the original upright image.
        quality: (2,) float32, see `backbones.decode`.
        seen_before: of a rejected image, what the library's named defects say of it; None where
            there are none to ask.
    """

    path: Path
    category: str
    backbone: str
    score: float
    p_value: float
    verdict: Verdict
    threshold: float
    map_threshold: float
    box: Box
    evidence: Evidence
    revision: int
    scored: Scored
    geometry: Geometry
    quality: Float32
    seen_before: SeenBefore | None = None

    @property
    def distances(self) -> Float32:
        """Distances (H, W) float32 of the patches to the nearest normal ones."""
        return self.scored.distances

    @property
    def width(self) -> int:
        """Width of the original upright image, in pixels."""
        return self.geometry.image[1]

    @property
    def height(self) -> int:
        """Height of the original upright image, in pixels."""
        return self.geometry.image[0]

    def anomaly_map(self) -> Float32:
        """(height, width) float32, in pixels of the original upright image."""
        return anomaly_map(self.distances, self.geometry)

    def inspected(self) -> Inspected:
        """What is kept of it for the watch on drift."""
        return Inspected(self.revision, self.score, self.p_value, self.verdict, self.quality)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of ``vecspect score --json``."""
        evidence = self.evidence
        return {
            "path": str(self.path),
            "category": self.category,
            "backbone": self.backbone,
            "score": self.score,
            "p_value": self.p_value,
            "verdict": self.verdict,
            "threshold": self.threshold,
            "map_threshold": self.map_threshold,
            "box": self.box.as_list(),
            "evidence": {
                "query_cell": list(evidence.query_cell),
                "query_box": evidence.query_box.as_list(),
                "image_id": evidence.image_id,
                "path": evidence.path,
                "cell": list(evidence.cell),
                "box": evidence.box.as_list(),
                "distance": evidence.distance,
            },
            "revision": self.revision,
            "seen_before": asdict(self.seen_before) if self.seen_before else None,
        }
