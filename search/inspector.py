"""The one object that ties it together: image in, verdict with its reasons out."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backbones.base import Backbone
from backbones.errors import ImageError
from backbones.images import load_image
from backbones.pipeline import ImageFeatures, Skipped, embed_files
from backbones.preprocess import Box, Geometry, to_input
from backbones.registry import load_backbone
from backbones.weights import sha256_of
from indexer.schema import (
    CatalogEntry,
    CategoryError,
    MemoryBank,
    find_entry,
    image_id,
    library_image,
    read_bank,
    read_images,
    similar_images,
)
from indexer.store import Not, VectorStore
from search.anomaly_map import anomaly_map, overlay, panels, worst_region
from search.calibration import Calibration, Verdict
from search.knn import ExactIndex
from search.scoring import image_score, patch_distances

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Evidence:
    """The worst query patch and its nearest normal patch; boxes in pixels of either image."""

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
        distances: (H, W) float32, each patch's distance to the nearest normal patch.
        width, height: of the original upright image.
    """

    path: Path
    category: str
    backbone: str
    score: float
    p_value: float
    verdict: Verdict
    threshold: float
    box: Box
    evidence: Evidence
    revision: int
    distances: Float32
    width: int
    height: int
    input_size: int

    def anomaly_map(self) -> Float32:
        """(height, width) float32, in pixels of the original upright image."""
        return anomaly_map(
            self.distances, input_size=self.input_size, width=self.width, height=self.height
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
        }


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A library image near a query; ``distance`` is the cosine distance of image embeddings."""

    image_id: str
    path: str
    label: str
    defect_type: str
    split: str
    distance: float


class Inspector:
    """Scores images of one category against what the store knows of it.

    The memory bank is read from the store when first needed and kept.

    Args:
        backbone: which one, for a category that is indexed with several.
        weights: file to load the network from; the exported network or the file used at index
            time otherwise.
        network: a loaded network to share instead.

    Raises:
        CategoryError: no such category, or the network at hand is not the one it was indexed with.
        BackboneError: the network cannot be loaded.
    """

    def __init__(
        self,
        store: VectorStore,
        category: str,
        *,
        backbone: str | None = None,
        weights: Path | None = None,
        network: Backbone | None = None,
    ) -> None:
        self.store = store
        self.entry = find_entry(store, category, backbone)
        self.calibration = Calibration.from_payload(self.entry.calibration)
        self._backbone = network or _load(self.entry, weights)
        if self._backbone.fingerprint != self.entry.fingerprint:
            raise CategoryError(
                f"category '{category}' was indexed with fingerprint {self.entry.fingerprint} of "
                f"'{self.entry.backbone}', this network has {self._backbone.fingerprint}: its "
                "distances would mean nothing. Pass the same --weights, or index it again."
            )

    def inspect(self, image: Path | str) -> Prediction:
        """Score one image file; ImageError, beginning with its path, if it cannot be read."""
        outcome = next(self.inspect_files([Path(image)]))
        if isinstance(outcome, Skipped):
            raise ImageError(f"{outcome.path}: {outcome.reason}")
        return outcome

    def inspect_files(self, paths: Iterable[Path]) -> Iterator[Prediction | Skipped]:
        """Score each file, or say why it was skipped, in order and in bounded memory."""
        for outcome in embed_files(self._backbone, paths):
            yield outcome if isinstance(outcome, Skipped) else self._judge(outcome)

    def similar(
        self,
        image: Path | str,
        *,
        top: int = 5,
        label: str | None = None,
        defect_type: str | None = None,
    ) -> list[Neighbor]:
        """The library images most like this one as a whole, nearest first, without itself."""
        path = Path(image)
        try:
            loaded = load_image(path, size_hint=self._backbone.spec.input_size)
        except ImageError as error:
            raise ImageError(f"{path}: {error}") from error
        inputs = to_input(loaded.pixels, self._backbone.spec.input_size)[None]
        own_id = image_id(self.entry.category, self.entry.backbone, sha256_of(path))
        where: dict[str, Any] = {"image_id": Not(own_id)}
        if label is not None:
            where["label"] = label
        if defect_type is not None:
            where["defect_type"] = defect_type
        embedding = self._backbone.embed(inputs).images[0]
        hits = similar_images(self.store, self.entry, embedding, top=top, where=where)
        return [_neighbor(hit.payload, 1.0 - hit.score) for hit in hits]

    def explain(self, prediction: Prediction) -> Image.Image:
        """Image, heat map with the worst region outlined, and the nearest normal patch's image."""
        image = _upright(prediction.path, prediction)
        heat = overlay(image, prediction.anomaly_map(), threshold=prediction.threshold)
        evidence = prediction.evidence
        title = f"{prediction.verdict}  score {prediction.score:.3g}  p {prediction.p_value:.2g}"
        pictures: list[tuple[Image.Image, str, Box | None]] = [
            (image, f"{prediction.path.name}\n{title}", evidence.query_box),
            (heat, f"heat map, worst region\nthreshold {prediction.threshold:.3g}", prediction.box),
        ]
        try:
            normal = load_image(Path(evidence.path)).pixels
            name = Path(evidence.path).name
            pictures.append(
                (
                    normal,
                    f"nearest normal patch\n{name}  distance {evidence.distance:.3g}",
                    evidence.box,
                )
            )
        except ImageError as error:
            missing = Image.new("RGB", image.size, (228, 228, 231))
            pictures.append((missing, f"nearest normal image not readable\n{error}", None))
        return panels(pictures)

    @functools.cached_property
    def _bank(self) -> MemoryBank:
        bank = read_bank(self.store, self.entry)
        if not len(bank.vectors):
            raise CategoryError(
                f"revision {self.entry.revision} of category '{self.entry.category}' has been "
                "replaced since it was opened. Open it again."
            )
        return bank

    @functools.cached_property
    def _index(self) -> ExactIndex:
        return ExactIndex(self._bank.vectors)

    @functools.cached_property
    def _images(self) -> dict[str, Any]:
        return dict(read_images(self.store, self.entry))

    def _judge(self, features: ImageFeatures) -> Prediction:
        patch = patch_distances(features.patches, self._index)
        score = image_score(patch.distances)
        size = self._backbone.spec.input_size
        return Prediction(
            path=features.path,
            category=self.entry.category,
            backbone=self.entry.backbone,
            score=score,
            p_value=self.calibration.p_value(score),
            verdict=self.calibration.verdict(score),
            threshold=self.calibration.threshold,
            box=worst_region(
                patch.distances, input_size=size, width=features.width, height=features.height
            ),
            evidence=self._evidence(patch.distances, patch.bank_indices, features),
            revision=self.entry.revision,
            distances=patch.distances,
            width=features.width,
            height=features.height,
            input_size=size,
        )

    def _evidence(
        self, distances: Float32, bank_indices: NDArray[np.int64], features: ImageFeatures
    ) -> Evidence:
        rows, cols = distances.shape
        row, col = (int(i) for i in np.unravel_index(int(distances.argmax()), distances.shape))
        nearest = bank_indices[row, col]
        normal_id = str(self._bank.image_ids[nearest])
        normal = self._images[normal_id]
        cell = (int(self._bank.cells[nearest, 0]), int(self._bank.cells[nearest, 1]))
        return Evidence(
            query_cell=(row, col),
            query_box=Geometry(features.width, features.height, rows, cols).cell_box(row, col),
            distance=float(distances[row, col]),
            image_id=normal_id,
            path=normal.path,
            cell=cell,
            box=Geometry(normal.width, normal.height, rows, cols).cell_box(*cell),
        )


def _load(entry: CatalogEntry, weights: Path | None) -> Backbone:
    """The network the category was indexed with: exported, from ``weights``, or the file then."""
    return load_backbone(
        entry.backbone,
        weights=weights,
        precision="bf16" if entry.precision == "bf16" else "f32",
        fingerprint=entry.fingerprint,
        fallback_weights=Path(entry.weights_file) if entry.weights_file else None,
    )


def _neighbor(payload: Any, distance: float) -> Neighbor:
    image = library_image(payload)
    return Neighbor(
        image.image_id, image.path, image.label, image.defect_type, image.split, distance
    )


def _upright(path: Path, prediction: Prediction) -> Image.Image:
    try:
        pixels = load_image(path).pixels
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    if pixels.size != (prediction.width, prediction.height):
        raise ImageError(f"{path}: changed since it was scored")
    return pixels
