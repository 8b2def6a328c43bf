"""Stages of a build that embed images, by the role of the images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from backbones.base import Backbone
from backbones.pipeline import ImageFeatures, Skipped, embed_images
from indexer.bank.feature_space import FeatureSpace, default_space
from indexer.bank.selection import BankSelection
from indexer.catalog.cached_arrays import write_cached
from indexer.catalog.category import Category
from indexer.catalog.entry import LibraryImage
from indexer.learn.defect_patches import write_defect_patches
from indexer.learn.split import Item
from indexer.progress import Progress
from indexer.scoring.base import Scorer

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """Embedded images of one role.

    Attributes:
        images: each image with its embedding (E,) and, if defective, its defect embedding (D,).
        quality: (2,) quality statistics by image id.
        distances: (H, W) distances to the nearest normal patches by image id, if they were
            measured.
        skipped: files that could not be decoded.
    """

    images: list[tuple[LibraryImage, Float32, Float32 | None]] = field(default_factory=list)
    quality: dict[str, Float32] = field(default_factory=dict)
    distances: dict[str, Float32] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def groups(self) -> dict[str, str]:
        """Group of each image by its id."""
        return {image.image_id: image.group for image, _, _ in self.images}

    def add(self, image: LibraryImage, found: ImageFeatures, defect: Float32 | None = None) -> None:
        """Add an image with its embeddings."""
        self.images.append((image, found.image, defect))
        self.quality[image.image_id] = found.quality


def fit_feature_space(
    items: Sequence[Item], backbone: Backbone, on_progress: Progress
) -> FeatureSpace:
    """The feature space of the category, fitted to the patches of the bank's images.

    A space that reads the patches takes a pass of its own: the selection needs patches in that
    space, and not all patches are held in memory.
    """
    embedded = _embed(items, backbone, "channels", on_progress, [])
    patches = (found.patches for _, found in embedded)
    return default_space(backbone.spec).fit(patches, backbone.spec.dim)


def embed_bank_images(
    items: Sequence[Item],
    category: Category,
    network: Backbone,
    selection: BankSelection,
    *,
    cache: bool,
    on_progress: Progress,
) -> Embedded:
    """Embed the bank's images and offer their patches to the selection.

    Args:
        cache: also cache the patches, since these images calibrate as well.
    """
    embedded = Embedded()
    for item, found in _embed(items, network, "embedding", on_progress, embedded.skipped):
        image = _library_image(item, found, category, None)
        selection.take(image.image_id, found.patches)
        if cache:
            write_cached(category, "patches", [(image.image_id, found.patches)])
        embedded.add(image, found)
    return embedded


def embed_calibration_images(
    items: Sequence[Item],
    category: Category,
    network: Backbone,
    scorer: Scorer,
    on_progress: Progress,
) -> Embedded:
    """Measure the held-out images, and cache everything that measuring them again needs."""
    embedded = Embedded()
    for item, found in _embed(items, network, "calibration", on_progress, embedded.skipped):
        distances = scorer.distances(found.patches)
        image = _library_image(item, found, category, scorer.aggregate(distances))
        scorer.cache_patches(category, image.image_id, found.patches)
        embedded.distances[image.image_id] = distances
        embedded.add(image, found)
    return embedded


def embed_test_images(
    items: Sequence[Item],
    category: Category,
    network: Backbone,
    scorer: Scorer,
    on_progress: Progress,
) -> tuple[Category, Embedded]:
    """Score the test images, and store the anomalous patches of the defective ones.

    Args:
        category: a calibrated category; it is returned with those patches counted.
    """
    embedded = Embedded()
    for item, found in _embed(items, network, "library", on_progress, embedded.skipped):
        scored = scorer.score(found)
        image = _library_image(item, found, category, scored.score)
        defect = None
        if image.label == "defective":
            defect = scorer.defect_embedding(found, scored)
            category = write_defect_patches(
                category, image.image_id, found.patches, scored.distances
            )
        embedded.add(image, found, defect)
    return category, embedded


def _embed(
    items: Sequence[Item],
    backbone: Backbone,
    stage: str,
    on_progress: Progress,
    skipped: list[Skipped],
) -> Iterator[tuple[Item, ImageFeatures]]:
    """The items that can be decoded, with their features; the others are added to ``skipped``."""
    outcomes = embed_images(backbone, [item.file for item in items])
    for done, (item, outcome) in enumerate(zip(items, outcomes, strict=True), 1):
        on_progress(stage, done, len(items))
        if isinstance(outcome, Skipped):
            skipped.append(outcome)
        else:
            yield item, outcome


def _library_image(
    item: Item, found: ImageFeatures, category: Category, score: float | None
) -> LibraryImage:
    return LibraryImage(
        image_id=category.image_id(item.sha256),
        path=str(item.record.path.resolve()),
        sha256=item.sha256,
        label=item.record.label,
        defect_type=item.record.defect_type,
        split=item.role,
        width=found.width,
        height=found.height,
        score=score,
        group=item.group,
    )
