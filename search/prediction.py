"""What vecspect says of one image, and the reasons it gives."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backbones.decode import load_image
from backbones.errors import ImageError
from backbones.geometry import Box, Geometry
from indexer.calibration.base import Verdict
from indexer.records.drift_window import Inspected
from indexer.scoring.anomaly_map import anomaly_map
from indexer.scoring.base import Scored
from search.render import Panel, overlay, panels
from search.retrieval.type_proposal import SeenBefore

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A query patch beside its nearest normal patch.

    Attributes:
        query_cell: row and column of the query patch.
        query_box: the same in pixels of the original upright image.
        distance: Euclidean, between the two patches; of an image-level backbone the image score.
        image_id, path: of the normal library image.
        cell: row and column of the normal patch.
        box: the same in pixels of the normal image.
    """

    query_cell: tuple[int, int]
    query_box: Box
    distance: float
    image_id: str
    path: str
    cell: tuple[int, int]
    box: Box


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Prediction:
    """Verdict on one image, with its reasons.

    Attributes:
        path: the file; ``<bytes>``, ``<image>`` or ``<array>`` of an image in memory.
        sha256: hex digest of the file's bytes, see `backbones.decode.LoadedImage`.
        category, backbone: what the image was scored against.
        score: raw image score, in units of patch distance.
        p_value: (1 + calibration scores at or above the score) / (n + 1).
        verdict: ``ok``, ``review`` or ``reject``.
        threshold: score from which an image is rejected.
        map_threshold: level of the anomaly map that normal images do not reach, see `Calibration`.
        box: the worst region, in pixels of the original upright image.
        evidence: the worst patch beside its nearest normal one.
        revision: of the category, at which the image was scored.
        scored: the distances of its patches, and what they were measured to.
        geometry: where the patches lie in the original upright image.
        quality: (2,) float32 brightness and sharpness, see `backbones.decode.image_quality`.
        source: where the pixels can be had again: the file, its bytes, or the upright image.
        seen_before: of a rejected image, what the library's named defects say of it; None where
            there are none to ask.
    """

    path: Path
    sha256: str
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
    source: Path | bytes | Image.Image
    seen_before: SeenBefore | None = None

    def __repr__(self) -> str:
        return (
            f"<Prediction {self.verdict}: score {self.score:.4g}, threshold {self.threshold:.4g}, "
            f"p {self.p_value:.2g}, {self.category}, {self.path.name}>"
        )

    def _repr_png_(self) -> bytes:
        stream = io.BytesIO()
        self.explain().save(stream, "PNG")
        return stream.getvalue()

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

    def explain(self) -> Image.Image:
        """One RGB picture that says why, at most 360 pixels high beside its captions.

        The image, its heat map with the worst region outlined, and the normal image that the
        nearest patch comes from; of an image-level backbone without the heat map.

        Raises:
            ImageError: the file is gone, or has changed since it was scored.
        """
        image, evidence = self._upright(), self.evidence
        said = f"{self.verdict}  score {self.score:.3g}  p {self.p_value:.2g}"
        pictures: list[Panel] = [(image, f"{self.path.name}\n{said}", evidence.query_box)]
        level = "patch" if self.distances.size > 1 else "image"
        if level == "patch":
            heat = overlay(image, self.anomaly_map(), threshold=self.map_threshold)
            caption = f"heat map, worst region\nthreshold {self.map_threshold:.3g}"
            pictures.append((heat, caption, self.box))
        try:
            normal = load_image(evidence.path).pixels
            name = Path(evidence.path).name
            caption = f"nearest normal {level}\n{name}  distance {evidence.distance:.3g}"
            pictures.append((normal, caption, evidence.box))
        except ImageError as error:
            missing = Image.new("RGB", image.size, (228, 228, 231))
            pictures.append((missing, f"nearest normal image not readable\n{error}", None))
        return panels(pictures)

    def _upright(self) -> Image.Image:
        try:
            loaded = load_image(self.source)
        except ImageError as error:
            raise ImageError(f"{self.path}: {error}") from error
        if loaded.sha256 != self.sha256:
            raise ImageError(f"{self.path}: changed since it was scored. Score it again.")
        return loaded.pixels

    def inspected(self) -> Inspected:
        """What the drift window keeps of the image."""
        return Inspected(
            self.sha256, self.revision, self.score, self.p_value, self.verdict, self.quality
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
