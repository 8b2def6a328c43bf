"""Search by region: finds library images with patches like those in a box, and where they are.

For each patch of the region, the nearest among the stored patches of a library image is found; the
distance of the image is the mean over the region. This is the directed distance of the modified
Hausdorff distance between two sets (Dubuisson and Jain 1994, equation 6), here of embeddings:
neither the place nor the order of the patches matters.

Not every patch is stored. A normal image in the memory bank has the patches that the coreset chose,
by default a tenth of all; normal images used for calibration or tests, or in quarantine, have none
and are not found. A defective image has its anomalous patches
(`indexer.scoring.defect_embedding.anomalous_cells`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from backbones.errors import ImageError
from backbones.geometry import Box, Geometry
from backbones.pipeline import ImageFeatures
from indexer.calibration.methods import read_calibration
from indexer.catalog.category import Category
from indexer.catalog.collections import read_images
from indexer.catalog.entry import MemoryBank
from indexer.knn.brute_force import nearest_of
from indexer.store.base import Where
from search.retrieval.neighbors import Neighbor, neighbor_of

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """Distance of an image to a region of Q patches; ``cells`` (Q, 2) are its nearest patches."""

    image_id: str
    distance: float
    cells: NDArray[np.int32]


class PatchesByImage:
    """The stored patches of a category, grouped by image and held in memory."""

    def __init__(self, *kept: MemoryBank) -> None:
        self._rows: dict[str, tuple[MemoryBank, Int64]] = {}
        for patches in kept:
            order = np.argsort(patches.image_ids, kind="stable")
            ids, first = np.unique(patches.image_ids[order], return_index=True)
            for image_id, rows in zip(ids, np.split(order, first[1:]), strict=False):
                self._rows[str(image_id)] = patches, rows

    def match(self, region: Float32, image_ids: Iterable[str]) -> list[Match]:
        """Matches of the images that have patches with ``region`` (Q, D), nearest first."""
        found = [self._match(region, key) for key in image_ids if key in self._rows]
        return sorted(found, key=lambda match: (match.distance, match.image_id))

    def _match(self, region: Float32, image_id: str) -> Match:
        patches, rows = self._rows[image_id]
        squared, nearest = nearest_of(region, patches.vectors[rows])
        distance = float(np.sqrt(squared).mean(dtype=np.float64))
        return Match(image_id, distance, patches.cells[rows[nearest]])


def region_neighbors(
    category: Category,
    features: ImageFeatures,
    box: Box,
    patches: PatchesByImage,
    *,
    top: int,
    where: Where,
) -> list[Neighbor]:
    """The library images with the patches most like those in ``box``, nearest first.

    Args:
        box: in pixels of the upright image; every cell that overlaps it counts.
        patches: stored patches of the category's revision.
        where: conditions on the library images, see `conditions`.

    Raises:
        ImageError: the box lies outside the image.
    """
    inside_x = -box.width < box.x < features.width and box.width > 0
    inside_y = -box.height < box.y < features.height and box.height > 0
    if not (inside_x and inside_y):
        raise ImageError(
            f"{features.path}: expected a box x,y,width,height that overlaps its {features.width} "
            f"x {features.height} pixels, got {','.join(map(str, box.as_list()))}."
        )
    cells = category.spec.geometry(features.size).cells_in(box)
    region = features.patches[tuple(np.array(cells).T)]
    images = read_images(category, where)
    calibration = read_calibration(category.entry)
    found = []
    for match in patches.match(region, images)[:top]:
        image = images[match.image_id]
        matched = _bounding_box(category.spec.geometry((image.height, image.width)), match.cells)
        found.append(neighbor_of(category.name, image, match.distance, calibration, matched))
    return found


def _bounding_box(geometry: Geometry, cells: NDArray[np.int32]) -> Box:
    """The box, in pixels, around these cells (Q, 2)."""
    first, last = (geometry.cell_box(*map(int, edge)) for edge in (cells.min(0), cells.max(0)))
    return Box(first.x, first.y, last.x + last.width - first.x, last.y + last.height - first.y)
