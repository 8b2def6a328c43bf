"""Learns a category: normal images in, a committed revision in Qdrant out."""

from __future__ import annotations

import datetime
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from backbones.base import Backbone
from backbones.pipeline import ImageFeatures, Skipped, embed_files
from backbones.weights import sha256_of
from indexer.coreset import PatchSampler
from indexer.dataset import DatasetError, ImageRecord
from indexer.schema import (
    CatalogEntry,
    LibraryImage,
    MemoryBank,
    bank_collection,
    check_category,
    create_collections,
    image_id,
    image_point,
    images_collection,
    patch_point,
    read_catalog,
    write_entry,
)
from indexer.store import Not, VectorStore

Float32 = NDArray[np.float32]
Progress = Callable[[str, int, int], None]
"""Called with stage name, done, total."""


class Calibrator(Protocol):
    """Gives the build its scores without the indexer knowing how scoring works."""

    def check(self, images: int) -> None:
        """Raise if this many held-out images cannot support what is asked of them."""

    def scorer(self, bank: MemoryBank) -> Callable[[Float32], float]:
        """A function from the patches (H, W, D) of an image to its score."""

    def calibrate(self, scores: Sequence[float]) -> dict[str, Any]:
        """What the catalog keeps of the held-out images' scores; raises like ``check``."""


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build did. ``seconds`` by stage; ``changed`` is False for a repeated build."""

    entry: CatalogEntry
    changed: bool
    skipped: tuple[Skipped, ...] = ()
    duplicates: tuple[Path, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Item:
    """A readable, unique file of the data set and its role: ``bank``, ``calibration``, ``test``."""

    record: ImageRecord
    sha256: str
    role: str


def build_index(
    records: Sequence[ImageRecord],
    *,
    category: str,
    backbone: Backbone,
    store: VectorStore,
    calibrator: Calibrator,
    coreset: float = 0.1,
    holdout: float = 0.2,
    seed: int = 0,
    on_progress: Progress = lambda stage, done, total: None,
) -> BuildReport:
    """Learn ``category`` from the normal training records and commit it as a new revision.

    A share ``holdout`` of the normal images is kept out of the memory bank and calibrates. The
    test records join the image library, where similarity search finds them, and nothing else.
    With the same inputs as the current revision nothing is written.

    Args:
        coreset: share of the training patches kept in the memory bank, in (0, 1].
        seed: of the split into bank and calibration images and of the coreset.

    Raises:
        DatasetError: fewer than two normal images, or none readable.
        CategoryError: the category's name cannot be used.
    """
    check_category(category)
    _check_share("coreset", coreset, upper_included=True)
    _check_share("holdout", holdout, upper_included=False)
    seconds: dict[str, float] = {}
    clock = _Clock(seconds)

    items, skipped, duplicates = _plan(records, holdout, seed, on_progress)
    n_calibration = sum(item.role == "calibration" for item in items)
    calibrator.check(n_calibration)
    settings = {"coreset": coreset, "holdout": holdout, "seed": seed}
    key = _build_key(items, backbone.fingerprint, settings)
    current = _current(store, category, backbone.spec.name)
    clock.stop("reading")
    if current and current.build_key == key:
        _delete_other_revisions(store, current, keep=current.revision)
        skipped += [Skipped(Path(path), reason) for path, reason in current.skipped]
        return BuildReport(current, False, tuple(skipped), tuple(duplicates), seconds)

    entry = CatalogEntry(
        category=category,
        backbone=backbone.spec.name,
        fingerprint=backbone.fingerprint,
        precision=backbone.precision,
        weights_file=str(backbone.weights_file) if backbone.weights_file else None,
        revision=current.revision + 1 if current else 1,
        build_key=key,
        grid=(backbone.spec.grid, backbone.spec.grid),
        patch_dim=backbone.spec.patch_dim,
        calibration={},
        settings=settings,
        counts={},
        skipped=[],
        versions={name: version(name) for name in ("vecspect", "openvino", "numpy")},
        built_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
    create_collections(store, category, entry.backbone, entry.patch_dim)
    _delete_other_revisions(store, entry, keep=current.revision if current else 0)

    undecoded: list[Skipped] = []
    images, sampler = _embed_training(items, entry, backbone, undecoded, on_progress)
    clock.stop("embedding")
    bank, bank_cells = _choose_bank(images, sampler, entry, on_progress)
    del sampler
    clock.stop("coreset")

    score = calibrator.scorer(bank)
    held_out = _embed_scored(items, entry, backbone, score, undecoded, on_progress)
    scores = [im.score for im, _ in held_out if im.split == "calibration" and im.score is not None]
    if not scores:
        raise _all_unusable(items, "calibration", undecoded)
    skipped += undecoded
    entry = replace(
        entry,
        skipped=[[str(item.path), item.reason] for item in undecoded],
        calibration=calibrator.calibrate(scores),
        counts={
            "bank_images": len(images),
            "calibration_images": len(scores),
            "test_images": len(held_out) - len(scores),
            "bank_patches": len(bank.vectors),
        },
    )
    clock.stop("calibration")

    on_progress("writing", 0, len(bank.vectors))
    store.upsert(
        bank_collection(category, entry.backbone),
        (
            patch_point(entry, images[i][0], int(row), int(col), vector)
            for (i, row, col), vector in zip(bank_cells, bank.vectors, strict=True)
        ),
    )
    store.upsert(
        images_collection(category, entry.backbone),
        (image_point(entry, im, vector, entry.built_at) for im, vector in [*images, *held_out]),
    )
    store.flush(bank_collection(category, entry.backbone))
    store.flush(images_collection(category, entry.backbone))
    write_entry(store, entry)
    on_progress("writing", len(bank.vectors), len(bank.vectors))
    _delete_other_revisions(store, entry, keep=entry.revision)
    for name in (bank_collection, images_collection):
        store.optimize(name(category, entry.backbone))
    clock.stop("writing")
    return BuildReport(entry, True, tuple(skipped), tuple(duplicates), seconds)


class _Clock:
    """Seconds between its calls, by stage."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self._seconds = seconds
        self._last = time.perf_counter()

    def stop(self, stage: str) -> None:
        now = time.perf_counter()
        self._seconds[stage] = now - self._last
        self._last = now


def _check_share(name: str, value: float, *, upper_included: bool) -> None:
    if not (0 < value < 1 or (upper_included and value == 1)):
        raise DatasetError(
            f"--{name} is a share between 0 and 1, got {value:g}. "
            f"For example --{name} {0.1 if upper_included else 0.2}."
        )


def _plan(
    records: Sequence[ImageRecord], holdout: float, seed: int, on_progress: Progress
) -> tuple[list[_Item], list[Skipped], list[Path]]:
    """Hash the files, drop the unreadable and the repeated, and give each its role."""
    skipped: list[Skipped] = []
    duplicates: list[Path] = []
    first: dict[str, ImageRecord] = {}
    with ThreadPoolExecutor() as pool:
        hashes = pool.map(_hash_or_reason, (record.path for record in records))
        for done, (record, outcome) in enumerate(zip(records, hashes, strict=True), 1):
            on_progress("reading", done, len(records))
            if isinstance(outcome, Skipped):
                skipped.append(outcome)
            elif outcome in first:
                duplicates.append(record.path)
            else:
                first[outcome] = record
    # sorted by content: the split does not change when files are renamed
    normal = sorted(h for h, r in first.items() if r.split == "train")
    if len(normal) < 2:
        raise DatasetError(
            f"learning needs at least 2 different normal training images (one for the memory bank, "
            f"one to calibrate), got {len(normal)}. Add normal images."
        )
    n_held_out = min(len(normal) - 1, max(1, round(holdout * len(normal))))
    order = np.random.default_rng(seed).permutation(len(normal))
    held_out = {normal[i] for i in order[:n_held_out]}
    items = [
        _Item(r, h, "test" if r.split == "test" else "calibration" if h in held_out else "bank")
        for h, r in first.items()
    ]
    return items, skipped, duplicates


def _hash_or_reason(path: Path) -> str | Skipped:
    try:
        return sha256_of(path)
    except OSError as error:
        return Skipped(path, f"cannot be read: {error.strerror}")


def _build_key(items: Sequence[_Item], fingerprint: str, settings: dict[str, float]) -> str:
    """Hash of everything a build depends on."""
    files = [
        [i.sha256, i.record.label, i.record.defect_type, i.role, str(i.record.path.resolve())]
        for i in items
    ]
    text = json.dumps([sorted(files), fingerprint, settings])
    return hashlib.sha256(text.encode()).hexdigest()


def _current(store: VectorStore, category: str, backbone: str) -> CatalogEntry | None:
    return next(
        (e for e in read_catalog(store) if (e.category, e.backbone) == (category, backbone)), None
    )


def _delete_other_revisions(store: VectorStore, entry: CatalogEntry, keep: int) -> None:
    """Remove what an interrupted build or the revision before left behind."""
    others = {"revision": Not(keep)}
    for name in (bank_collection, images_collection):
        collection = name(entry.category, entry.backbone)
        if store.count(collection, others):
            store.delete(collection, others)


def _embed_training(
    items: Sequence[_Item],
    entry: CatalogEntry,
    backbone: Backbone,
    skipped: list[Skipped],
    on_progress: Progress,
) -> tuple[list[tuple[LibraryImage, Float32]], PatchSampler]:
    """Library entries of the bank's images, and their patches in that order."""
    chosen = [item for item in items if item.role == "bank"]
    rows, cols = entry.grid
    sampler = PatchSampler(
        share=entry.settings["coreset"],
        seed=int(entry.settings["seed"]),
        expected=len(chosen) * rows * cols,
        dim=entry.patch_dim,
    )
    images: list[tuple[LibraryImage, Float32]] = []
    for item, features in _embed(chosen, backbone, skipped, "embedding", on_progress):
        sampler.add(features.patches.reshape(rows * cols, -1))
        images.append((_library_image(item, features, entry, None), features.image))
    if not images:
        raise _all_unusable(items, "bank", skipped)
    return images, sampler


def _all_unusable(items: Sequence[_Item], role: str, skipped: Sequence[Skipped]) -> DatasetError:
    paths = {item.record.path for item in items if item.role == role}
    first = next(item for item in skipped if item.path in paths)
    return DatasetError(
        f"none of the {len(paths)} normal images for the {role} can be used; the first: "
        f"{first.path}: {first.reason}"
    )


def _choose_bank(
    images: Sequence[tuple[LibraryImage, Float32]],
    sampler: PatchSampler,
    entry: CatalogEntry,
    on_progress: Progress,
) -> tuple[MemoryBank, NDArray[np.int64]]:
    """The coreset as a memory bank, and (image, row, col) of each of its patches."""
    vectors, coreset = sampler.choose(lambda done, total: on_progress("coreset", done, total))
    cells = np.stack(np.unravel_index(coreset.indices, (len(images), *entry.grid)), axis=1)
    ids = np.array([images[i][0].image_id for i in cells[:, 0]], dtype=np.str_)
    bank = MemoryBank(vectors, ids, cells[:, 1:].astype(np.int32))
    return bank, cells


def _embed_scored(
    items: Sequence[_Item],
    entry: CatalogEntry,
    backbone: Backbone,
    score: Callable[[Float32], float],
    skipped: list[Skipped],
    on_progress: Progress,
) -> list[tuple[LibraryImage, Float32]]:
    """Library entries, with scores, of the images outside the bank; patches are not kept."""
    chosen = [item for item in items if item.role != "bank"]
    return [
        (_library_image(item, features, entry, score(features.patches)), features.image)
        for item, features in _embed(chosen, backbone, skipped, "calibration", on_progress)
    ]


def _embed(
    items: Sequence[_Item],
    backbone: Backbone,
    skipped: list[Skipped],
    stage: str,
    on_progress: Progress,
) -> Iterator[tuple[_Item, ImageFeatures]]:
    outcomes = embed_files(backbone, [item.record.path for item in items])
    for done, (item, outcome) in enumerate(zip(items, outcomes, strict=True), 1):
        on_progress(stage, done, len(items))
        if isinstance(outcome, Skipped):
            skipped.append(outcome)
        else:
            yield item, outcome


def _library_image(
    item: _Item, features: ImageFeatures, entry: CatalogEntry, score: float | None
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
