"""Other ways to compare defects, as baselines for the stored defect embedding."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from backbones.decode import load_image
from backbones.errors import ImageError
from backbones.pipeline import ImageFeatures, Skipped
from eval.arrays import Float32
from eval.metrics.retrieval import cosines
from indexer.knn.exact_index import Nearest
from indexer.scoring.anomaly_map import worst_region
from indexer.scoring.defect_embedding import defect_embedding, standing_out
from indexer.scoring.whitening import Whitening, read_whitening
from search.inspector import Inspector

MARGIN = 0.5
"""Border shown around the worst region, as a share of its longer side."""


def baseline_likenesses(inspector: Inspector, paths: Sequence[Path]) -> dict[str, Float32]:
    """Similarity (N, N) of defective images by each baseline, one row per query.

    ``patches``: the anomalous patches, less the mean normal patch, pooled and whitened like the
    defect embedding. ``residual``: the defect embedding before whitening. ``regions``: the whitened
    residuals of each anomalous region, and the mean best match of the query's regions, weighted by
    how anomalous they are. ``crop``: the worst region, cropped and embedded as an image of its own.
    ImageError names an image that cannot be read.
    """
    bank, whitening = inspector.bank.vectors, read_whitening(inspector.category)
    mean = bank.mean(axis=0)
    pooled, residuals, regions = [], [], []
    with tempfile.TemporaryDirectory(prefix="vecspect-") as folder:
        crops = []
        for place, features in enumerate(_readable(inspector, paths)):
            found = inspector.index.search(features.patches)
            nearest = bank[found.indices]
            pooled.append(defect_embedding(features.patches, mean, found.distances))
            residuals.append(defect_embedding(features.patches, nearest, found.distances))
            regions.append(_regions(features.patches - nearest, found.distances, whitening))
            crops.append(Path(folder) / f"{place}.png")
            _crop(inspector, features, found).save(crops[-1])
        cropped = [features.image for features in _readable(inspector, crops)]
    patches, residual, crop = (np.stack(rows) for rows in (pooled, residuals, cropped))
    return {
        "patches": cosines(whitening.whiten(patches)),
        "residual": cosines(residual),
        "regions": _matched(regions),
        "crop": cosines(crop),
    }


def _readable(inspector: Inspector, paths: Sequence[Path]) -> Iterator[ImageFeatures]:
    for features in inspector.embed(paths):
        if isinstance(features, Skipped):
            raise ImageError(f"{features.path}: {features.reason}")
        yield features


def _regions(
    residuals: Float32, distances: Float32, whitening: Whitening
) -> tuple[Float32, Float32]:
    """Whitened mean residual (R, D) of each anomalous region, and the region's share (R,)."""
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


def _crop(inspector: Inspector, features: ImageFeatures, found: Nearest) -> Image.Image:
    box = worst_region(found.distances, inspector.entry.spec.geometry(features.size))
    margin = round(MARGIN * max(box.width, box.height))
    left, top = max(0, box.x - margin), max(0, box.y - margin)
    right, bottom = box.x + box.width + margin, box.y + box.height + margin
    shown = min(right, features.width), min(bottom, features.height)
    return load_image(features.path).pixels.crop((left, top, *shown))
