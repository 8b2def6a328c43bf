"""What vecspect says of one image, and the reasons it gives."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbones.geometry import Box
from indexer.calibration.base import Verdict
from indexer.scoring.anomaly_map import anomaly_map
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
        distances: (H, W) float32, each patch's distance to the nearest normal patch; of an
            image-level backbone the score as the one cell, which is the whole image.
        bank_indices: (H, W) int64, which patch of the memory bank that is; for
            `Inspector.evidence`.
        width, height: of the original upright image.
        map_threshold: level of the anomaly map that normal images do not reach, see `Calibration`.
        input_size, inset: of the network, see `BackboneSpec`.
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
    distances: Float32
    bank_indices: NDArray[np.int64]
    width: int
    height: int
    input_size: int
    inset: int
    seen_before: SeenBefore | None = None

    def anomaly_map(self) -> Float32:
        """(height, width) float32, in pixels of the original upright image."""
        return anomaly_map(
            self.distances,
            input_size=self.input_size,
            width=self.width,
            height=self.height,
            inset=self.inset,
        )

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
