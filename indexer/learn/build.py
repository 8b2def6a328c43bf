"""Learns a category: normal images in, a committed revision in Qdrant out."""

from __future__ import annotations

import datetime
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

import numpy as np

from backbones.base import Backbone
from backbones.image_quality import looks_of
from backbones.pipeline import Skipped
from indexer.bank.leave_one_out import LeaveOneOutBank, check_leave_one_out
from indexer.bank.pruning import AXES as SHORT_AXES
from indexer.bank.pruning import ShortForms, keep_short_forms
from indexer.catalog.cached_arrays import keep, read_kept
from indexer.catalog.collections import create_collections, with_channels
from indexer.catalog.commits import read_catalog
from indexer.catalog.revisions import commit, forget_before, undo_interrupted
from indexer.catalog.schema import (
    DEFECT_PATCHES,
    CatalogEntry,
    MemoryBank,
    bank_collection,
    check_category,
    collections_of,
    image_point,
    images_collection,
    patch_point,
    patches_collection,
)
from indexer.data.image_records import DatasetError, ImageRecord
from indexer.knn.pca import principal_axes
from indexer.learn.calibrator import Calibrator
from indexer.learn.embedding import (
    channel_statistics,
    choose_bank,
    embed_alone,
    embed_calibration,
    embed_tests,
    embed_training,
)
from indexer.learn.split import all_unusable, build_key, plan
from indexer.progress import Progress
from indexer.scoring.whitening import AXES as WHITENED_AXES
from indexer.scoring.whitening import has_whitening, keep_whitening, whitening_of
from indexer.store.base import VectorStore


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What a build did. ``seconds`` by stage; ``changed`` is False for a repeated build."""

    entry: CatalogEntry
    changed: bool
    skipped: tuple[Skipped, ...] = ()
    duplicates: tuple[Path, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)


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

    A share ``holdout`` of the normal images is kept out of the memory bank and calibrates; a
    leave-one-out calibrator takes every normal image for both. The test records join the image
    library, where similarity search finds them, and nothing else. With the same inputs as the
    current revision nothing is written.

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

    items, skipped, duplicates = plan(
        records, holdout, seed, lambda done, total: on_progress("reading", done, total)
    )
    alone = calibrator.layout == "leave-one-out"
    if alone:
        check_leave_one_out(backbone.spec)
        items = [replace(i, role="bank" if i.role == "calibration" else i.role) for i in items]
    calibrating = "bank" if alone else "calibration"
    calibrator.check(sum(item.role == calibrating for item in items))
    settings = {"coreset": coreset, "holdout": holdout, "seed": seed}
    key = build_key(items, backbone.fingerprint, settings)
    current = _current(store, category, backbone.spec.name)
    clock.stop("reading")
    if current and current.build_key == key and _keeps_what_is_kept_now(store, current):
        undo_interrupted(store, current)
        forget_before(store, current)
        skipped += [Skipped(Path(path), reason) for path, reason in current.skipped]
        return BuildReport(current, False, tuple(skipped), tuple(duplicates), seconds)

    entry = _new_entry(category, backbone, calibrator, settings, key, current)
    create_collections(store, entry)
    undo_interrupted(store, replace(entry, revision=entry.revision - 1))

    undecoded: list[Skipped] = []
    if alone:
        chosen = LeaveOneOutBank(store, entry)
        images = embed_alone(items, entry, backbone, chosen, undecoded, on_progress)
        clock.stop("embedding")
        bank, bank_cells, radius = chosen.bank()
    else:
        if entry.spec.normalised:
            entry = replace(entry, channels=channel_statistics(items, backbone, on_progress))
            backbone = with_channels(backbone, entry)
        images, sampler = embed_training(items, entry, backbone, undecoded, on_progress)
        clock.stop("embedding")
        bank, bank_cells, radius = choose_bank(images, sampler, entry, on_progress)
        del sampler
    entry = replace(entry, radius=float(np.float32(radius)))
    clock.stop("coreset")

    # what calibrates may ask the store for the bank's images; nobody else sees this revision yet
    library = images_collection(category, entry.backbone)
    store.upsert(library, (image_point(entry, im, v, entry.built_at) for im, v in images))
    forms = _keep_axes(store, entry, bank)
    measure = calibrator.scorer(store, entry, bank)
    held_out, distances = embed_calibration(
        items, entry, backbone, store, calibrator, measure, forms, undecoded, on_progress
    )
    if alone:
        distances = chosen.distances(calibrator, bank, forms)
    if not distances:
        raise all_unusable(items, "calibration", undecoded)
    if entry.spec.level == "patch":
        keep(store, entry, "distances", distances.items())
    paths = ((im.image_id, im.path) for im, _ in [*images, *held_out])
    calibrating_paths = ((key, path) for key, path in paths if key in distances)
    keep(store, entry, "looks", looks_of(calibrating_paths, entry.spec))
    calibration = calibrator.calibrate(entry.spec, list(distances.values()))
    entry = replace(entry, calibration=calibration)
    entry, tested = embed_tests(
        items, entry, backbone, store, calibrator, measure, undecoded, on_progress
    )
    skipped += undecoded
    entry = replace(
        entry,
        skipped=[[str(item.path), item.reason] for item in undecoded],
        counts={
            **entry.counts,
            "bank_images": len(images),
            "calibration_images": len(distances),
            "test_images": len(tested),
            "bank_patches": len(bank.vectors),
        },
    )
    clock.stop("calibration")

    on_progress("writing", 0, len(bank.vectors))
    joining = [*((im, v, None) for im, v in held_out), *tested]
    store.upsert(library, (image_point(entry, im, v, entry.built_at, d) for im, v, d in joining))
    if len(bank.vectors):
        cells = zip(bank_cells.tolist(), bank.vectors, strict=True)
        store.upsert(
            bank_collection(category, entry.backbone),
            (patch_point(entry, images[i][0], row, col, vector) for (i, row, col), vector in cells),
        )
    commit(store, entry)
    on_progress("writing", len(bank.vectors), len(bank.vectors))
    forget_before(store, entry)
    for collection in collections_of(entry):
        store.optimize(collection)
    clock.stop("writing")
    return BuildReport(entry, True, tuple(skipped), tuple(duplicates), seconds)


def _new_entry(
    category: str,
    backbone: Backbone,
    calibrator: Calibrator,
    settings: dict[str, float],
    key: str,
    current: CatalogEntry | None,
) -> CatalogEntry:
    """The revision after ``current``, before anything is learnt."""
    revision = current.revision + 1 if current else 1
    return CatalogEntry(
        category=category,
        backbone=backbone.spec.name,
        fingerprint=backbone.fingerprint,
        precision=backbone.precision,
        source=str(backbone.source) if backbone.source else None,
        revision=revision,
        origin=revision,
        action=f"learnt {category}",
        layout=calibrator.layout,
        radius=0.0,
        build_key=key,
        spec=backbone.spec,
        channels={},
        calibration={},
        settings=settings,
        counts={DEFECT_PATCHES: 0} if backbone.spec.level == "patch" else {},
        skipped=[],
        versions={name: version(name) for name in ("vecspect", "openvino", "numpy")},
        built_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )


def _keep_axes(store: VectorStore, entry: CatalogEntry, bank: MemoryBank) -> ShortForms | None:
    """Keep what depends on where the bank's patches vary most; None without patches."""
    if entry.spec.level == "image":
        return None
    axes = principal_axes(bank.vectors, max(SHORT_AXES, WHITENED_AXES))
    keep_whitening(store, entry, whitening_of(axes, len(bank.vectors)))
    return keep_short_forms(store, entry, axes)


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


def _current(store: VectorStore, category: str, backbone: str) -> CatalogEntry | None:
    return next(
        (e for e in read_catalog(store) if (e.category, e.backbone) == (category, backbone)), None
    )


def _keeps_what_is_kept_now(store: VectorStore, entry: CatalogEntry) -> bool:
    """Whether learning anew from the same images would keep no more of them."""
    if entry.spec.level == "image":
        kept = patches_collection(entry.category, entry.backbone)
        return kept in store.collections() and any(read_kept(store, entry, "looks"))
    return DEFECT_PATCHES in entry.counts and has_whitening(store, entry)
