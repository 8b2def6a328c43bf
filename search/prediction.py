"""The verdict on one image, with the reasons for it."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass, replace
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
from search.render import PANEL, Panel, at_panel_height, overlay, panels
from search.retrieval.type_proposal import SeenBefore

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A query patch and its nearest normal patch.

    Attributes:
        query_cell: row and column of the query patch.
        query_box: the query patch in pixels of the original upright image.
        distance: Euclidean distance between the two patches; for an image-level backbone the image
            score.
        image_id, path: the normal library image.
        cell: row and column of the normal patch.
        box: the normal patch in pixels of the normal image.
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
        path: the file; ``<bytes>``, ``<image>`` or ``<array>`` for an image in memory.
        sha256: hex digest of the file's bytes, see `backbones.decode.LoadedImage`.
        category, backbone: category and backbone against which the image was scored.
        score: raw image score, in units of patch distance.
        p_value: (1 + calibration scores at or above the score) / (n + 1).
        verdict: ``ok``, ``review`` or ``reject``.
        threshold: score above which an image is rejected.
        map_threshold: level of the anomaly map that normal images do not reach, see `Calibration`.
        box: the worst region, in pixels of the original upright image.
        evidence: the worst patch and its nearest normal patch.
        revision: revision of the category at which the image was scored.
        scored: the distances of its patches, and the normal patches they were measured to.
        geometry: where the patches lie in the original upright image.
        quality: (2,) float32 brightness and sharpness, see `backbones.decode.image_quality`.
        source: source of the full pixels: the file, its bytes, or the upright image.
        seen_before: comparison of a rejected image with the library's named defects; None if there
            are none.
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
        """The anomaly map (height, width) float32, in pixels of the original upright image."""
        return anomaly_map(self.distances, self.geometry)

    def explain(self) -> Image.Image:
        """One RGB picture that explains the verdict, at most 360 pixels high plus captions.

        It shows the image, its heat map with the worst region outlined, and the normal image with
        the nearest patch; for an image-level backbone there is no heat map.

        Raises:
            ImageError: the file is missing, or has changed since it was scored.
        """
        image, evidence = self._upright(), self.evidence
        said = f"{self.verdict}  score {self.score:.3g}  p {self.p_value:.2g}"
        pictures: list[Panel] = [(image, f"{self.path.name}\n{said}", evidence.query_box)]
        level = "patch" if self.distances.size > 1 else "image"
        if level == "patch":
            heat, box = self._heat(image)
            caption = f"heat map, worst region\nthreshold {self.map_threshold:.3g}"
            pictures.append((heat, caption, box))
        try:
            normal = load_image(evidence.path).pixels
            name = Path(evidence.path).name
            caption = f"nearest normal {level}\n{name}  distance {evidence.distance:.3g}"
            pictures.append((normal, caption, evidence.box))
        except ImageError as error:
            missing = Image.new("RGB", image.size, (228, 228, 231))
            pictures.append((missing, f"nearest normal image not readable\n{error}", None))
        return panels(pictures)

    def _heat(self, image: Image.Image) -> tuple[Image.Image, Box]:
        """Heat map over the image at the height of a panel, and the worst region in its pixels."""
        small = at_panel_height(image)
        shown = replace(self.geometry, image=(small.height, small.width))
        heat = overlay(small, anomaly_map(self.distances, shown), threshold=self.map_threshold)
        return heat, Box(*(round(side * PANEL / image.height) for side in self.box.as_list()))

    def _upright(self) -> Image.Image:
        try:
            loaded = load_image(self.source)
        except ImageError as error:
            raise ImageError(f"{self.path}: {error}") from error
        if loaded.sha256 != self.sha256:
            raise ImageError(f"{self.path}: changed since it was scored. Score it again.")
        return loaded.pixels

    def inspected(self) -> Inspected:
        """The record of the image for the drift window."""
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
