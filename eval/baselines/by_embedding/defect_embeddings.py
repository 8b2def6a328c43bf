"""Other ways to compare what deviates in images, as rivals of the one that the library keeps."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from backbones.decode import load_image
from backbones.errors import ImageError
from backbones.pipeline import ImageFeatures, Skipped
from eval.metrics.retrieval import cosines
from indexer.scoring.anomaly_map import worst_region
from indexer.scoring.defect_embedding import defect_embedding, standing_out
from indexer.scoring.distances import PatchDistances, patch_distances
from indexer.scoring.whitening import Whitening, read_whitening
from search.inspector import Inspector

Float32 = NDArray[np.float32]

MARGIN = 0.5
"""Of the worst region's longer side, that its crop shows on each side."""


def rival_likenesses(inspector: Inspector, paths: Sequence[Path]) -> dict[str, Float32]:
    """Likeness (N, N) of defective images, a query's row against all, by name of the way.

    ``patches``: the deviating patches, less the mean normal one, pooled and whitened as what
    deviates is. ``residual``: what deviates, not whitened. ``regions``: the whitened residuals of
    each region that stands out, and of a query's regions the mean best match, by how far they
    stand out. ``crop``: the worst region, cut out and seen by the network as an image of its own.

    Raises:
        ImageError: an image cannot be read.
    """
    bank, whitening = inspector.bank.vectors, read_whitening(inspector.store, inspector.entry)
    mean = bank.mean(axis=0)
    pooled, residuals, regions = [], [], []
    with tempfile.TemporaryDirectory(prefix="vecspect-") as folder:
        crops = []
        for place, features in enumerate(_seen(inspector, paths)):
            found = patch_distances(features.patches, inspector.index)
            nearest = bank[found.bank_indices]
            pooled.append(defect_embedding(features.patches, mean, found.distances))
            residuals.append(defect_embedding(features.patches, nearest, found.distances))
            regions.append(_regions(features.patches - nearest, found.distances, whitening))
            crops.append(Path(folder) / f"{place}.png")
            _crop(inspector, features, found).save(crops[-1])
        cropped = [features.image for features in _seen(inspector, crops)]
    patches, residual, crop = (np.stack(rows) for rows in (pooled, residuals, cropped))
    return {
        "patches": cosines(whitening.whiten(patches)),
        "residual": cosines(residual),
        "regions": _matched(regions),
        "crop": cosines(crop),
    }


def _seen(inspector: Inspector, paths: Sequence[Path]) -> Iterator[ImageFeatures]:
    for features in inspector.features(paths):
        if isinstance(features, Skipped):
            raise ImageError(f"{features.path}: {features.reason}")
        yield features


def _regions(
    residuals: Float32, distances: Float32, whitening: Whitening
) -> tuple[Float32, Float32]:
    """Whitened mean residual (R, D) of each region that stands out, and its share (R,) of that."""
    weights = standing_out(distances)
    labels, count = ndimage.label(weights > 0)
    each = [(labels == region + 1) * weights for region in range(count)]
    means = np.stack([np.tensordot(w, residuals, axes=2) for w in each])
    shares = np.array([w.sum() for w in each], np.float32)
    return whitening.whiten(means), shares / shares.sum()


def _matched(regions: Sequence[tuple[Float32, Float32]]) -> Float32:
    vectors = np.concatenate([found for found, _ in regions])
    starts = np.cumsum([0, *(len(found) for found, _ in regions[:-1])])
    return np.stack(
        [
            shares @ np.maximum.reduceat(found @ vectors.T, starts, axis=1)
            for found, shares in regions
        ]
    )


def _crop(inspector: Inspector, features: ImageFeatures, found: PatchDistances) -> Image.Image:
    spec = inspector.entry.spec
    box = worst_region(
        found.distances,
        input_size=spec.input_size,
        width=features.width,
        height=features.height,
        inset=spec.inset,
    )
    margin = round(MARGIN * max(box.width, box.height))
    left, top = max(0, box.x - margin), max(0, box.y - margin)
    right, bottom = box.x + box.width + margin, box.y + box.height + margin
    shown = min(right, features.width), min(bottom, features.height)
    return load_image(features.path).pixels.crop((left, top, *shown))
