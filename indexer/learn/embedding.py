"""The stages of a build: images through the network, to what the store keeps of them by role."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from backbones.base import Backbone
from backbones.pipeline import ImageFeatures, Skipped, embed_files
from indexer.bank.coreset import PatchSampler
from indexer.bank.leave_one_out import LeaveOneOutBank
from indexer.bank.pruning import ShortForms, keep_short
from indexer.catalog.cached_arrays import keep
from indexer.catalog.schema import CatalogEntry, LibraryImage, MemoryBank, image_id
from indexer.learn.calibrator import Calibrator
from indexer.learn.defect_patches import keep_deviating
from indexer.learn.split import Item, all_unusable
from indexer.progress import Progress
from indexer.store.base import VectorStore

Float32 = NDArray[np.float32]
_Measure = Callable[[ImageFeatures], tuple[Float32, Float32 | None]]
"""Patch distances (H, W) and what deviates, see `Calibrator.scorer`."""


def channel_statistics(
    items: Sequence[Item], backbone: Backbone, on_progress: Progress
) -> dict[str, list[float]]:
    """Mean and deviation of each channel over the patches of the bank's images.

    A pass of its own: what is selected must be normalised, and the patches are not all kept.
    """
    chosen = [item for item in items if item.role == "bank"]
    count, first, second = 0, np.zeros(backbone.spec.dim), np.zeros(backbone.spec.dim)
    for _, features in _embed(chosen, backbone, [], "channels", on_progress):
        flat = features.patches.reshape(-1, backbone.spec.dim).astype(np.float64)
        count += len(flat)
        first += flat.sum(axis=0)
        second += np.einsum("nd,nd->d", flat, flat)
    mean = first / max(count, 1)
    std = np.sqrt(np.maximum(second / max(count, 1) - mean**2, 1e-12))
    return {name: v.astype(np.float32).tolist() for name, v in (("mean", mean), ("std", std))}


def embed_training(
    items: Sequence[Item],
    entry: CatalogEntry,
    backbone: Backbone,
    skipped: list[Skipped],
    on_progress: Progress,
) -> tuple[list[tuple[LibraryImage, Float32]], PatchSampler]:
    """Library entries of the bank's images, and their patches in that order."""
    chosen = [item for item in items if item.role == "bank"]
    cells, dim = entry.spec.grid**2, entry.spec.dim
    sampler = PatchSampler(
        share=entry.settings["coreset"],
        seed=int(entry.settings["seed"]),
        expected=len(chosen) * cells,
        dim=dim,
    )
    images: list[tuple[LibraryImage, Float32]] = []
    for item, features in _embed(chosen, backbone, skipped, "embedding", on_progress):
        if entry.spec.level == "patch":
            sampler.add(features.patches.reshape(cells, dim))
        images.append((_library_image(item, features, entry, None), features.image))
    if not images:
        raise all_unusable(items, "bank", skipped)
    return images, sampler


def embed_alone(
    items: Sequence[Item],
    entry: CatalogEntry,
    backbone: Backbone,
    chosen: LeaveOneOutBank,
    skipped: list[Skipped],
    on_progress: Progress,
) -> list[tuple[LibraryImage, Float32]]:
    """Library entries of the bank's images, each of which has chosen its patches."""
    normal = [item for item in items if item.role == "bank"]
    images: list[tuple[LibraryImage, Float32]] = []
    for item, features in _embed(normal, backbone, skipped, "embedding", on_progress):
        image = _library_image(item, features, entry, None)
        chosen.take(image.image_id, features.patches)
        images.append((image, features.image))
    if not images:
        raise all_unusable(items, "bank", skipped)
    return images


def choose_bank(
    images: Sequence[tuple[LibraryImage, Float32]],
    sampler: PatchSampler,
    entry: CatalogEntry,
    on_progress: Progress,
) -> tuple[MemoryBank, NDArray[np.int64], float]:
    """The coreset as a memory bank, (image, row, col) of each of its patches, and its radius.

    Both are empty for an image-level backbone.
    """
    if entry.spec.level == "image":
        cells = np.zeros((0, 3), np.int64)
        vectors, radius = np.zeros((0, entry.spec.dim), np.float32), 0.0
    else:
        grid = (len(images), entry.spec.grid, entry.spec.grid)
        vectors, coreset = sampler.choose(lambda done, total: on_progress("coreset", done, total))
        cells = np.stack(np.unravel_index(coreset.indices, grid), axis=1)
        radius = coreset.radius
    ids = np.array([images[i][0].image_id for i in cells[:, 0]], dtype=np.str_)
    return MemoryBank(vectors, ids, cells[:, 1:].astype(np.int32)), cells, radius


def embed_calibration(
    items: Sequence[Item],
    entry: CatalogEntry,
    backbone: Backbone,
    store: VectorStore,
    calibrator: Calibrator,
    measure: _Measure,
    forms: ShortForms | None,
    skipped: list[Skipped],
    on_progress: Progress,
) -> tuple[list[tuple[LibraryImage, Float32]], dict[str, Float32]]:
    """Library entries of the calibration images, and their patch distances by image id.

    Their patches go to the store on the way.
    """
    chosen = [item for item in items if item.role == "calibration"]
    images: list[tuple[LibraryImage, Float32]] = []
    distances: dict[str, Float32] = {}
    for item, features in _embed(chosen, backbone, skipped, "calibration", on_progress):
        found, _ = measure(features)
        image = _library_image(item, features, entry, calibrator.score(found))
        images.append((image, features.image))
        distances[image.image_id] = found
        if forms:
            keep(store, entry, "patches", [(image.image_id, features.patches)])
            keep_short(store, entry, forms, image.image_id, features.patches)
    return images, distances


def embed_tests(
    items: Sequence[Item],
    entry: CatalogEntry,
    backbone: Backbone,
    store: VectorStore,
    calibrator: Calibrator,
    measure: _Measure,
    skipped: list[Skipped],
    on_progress: Progress,
) -> tuple[CatalogEntry, list[tuple[LibraryImage, Float32, Float32 | None]]]:
    """Library entries of the test images, with the embedding of the whole and of what deviates.

    The deviating patches of the defective ones go to the store on the way; the calibrated
    ``entry`` comes back with their count.
    """
    chosen = [item for item in items if item.role == "test"]
    images: list[tuple[LibraryImage, Float32, Float32 | None]] = []
    for item, features in _embed(chosen, backbone, skipped, "library", on_progress):
        found, deviates = measure(features)
        image = _library_image(item, features, entry, calibrator.score(found))
        defective = image.label == "defective"
        if defective:
            entry = keep_deviating(store, entry, image, features.patches, found, calibrator)
        images.append((image, features.image, deviates if defective else None))
    return entry, images


def _embed(
    items: Sequence[Item],
    backbone: Backbone,
    skipped: list[Skipped],
    stage: str,
    on_progress: Progress,
) -> Iterator[tuple[Item, ImageFeatures]]:
    outcomes = embed_files(backbone, [item.record.path for item in items])
    for done, (item, outcome) in enumerate(zip(items, outcomes, strict=True), 1):
        on_progress(stage, done, len(items))
        if isinstance(outcome, Skipped):
            skipped.append(outcome)
        else:
            yield item, outcome


def _library_image(
    item: Item, features: ImageFeatures, entry: CatalogEntry, score: float | None
) -> LibraryImage:
    record = item.record
    return LibraryImage(
        image_id=image_id(entry.category, entry.backbone, item.sha256),
        path=str(record.path.resolve()),
        sha256=item.sha256,
        label=record.label,
        defect_type=record.defect_type,
        split=item.role,
        width=features.width,
        height=features.height,
        score=score,
    )
