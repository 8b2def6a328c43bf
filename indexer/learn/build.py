"""Learns a category: normal images in, a committed revision in Qdrant out."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backbones.base import Backbone
from backbones.pipeline import Skipped
from indexer.bank.feature_space import in_space
from indexer.bank.layout import Layout
from indexer.bank.pruning import AXES as PRUNING_AXES
from indexer.bank.pruning import cache_projections, read_axes, write_axes
from indexer.bank.selection import BankSelection, ChosenBank, NoSelection
from indexer.calibration.methods import CONFORMAL, CalibrationSettings
from indexer.catalog.cached_arrays import read_cached, write_cached
from indexer.catalog.category import Category
from indexer.catalog.collections import create_collections
from indexer.catalog.commits import commit
from indexer.catalog.counts import BANK_PATCHES
from indexer.catalog.entry import CatalogEntry, MemoryBank
from indexer.catalog.revisions import forget_before, undo_earlier_tries, undo_interrupted
from indexer.catalog.schema import check_category
from indexer.data.image_records import ImageRecord
from indexer.knn.pca import principal_axes
from indexer.learn.embedding import (
    Embedded,
    embed_bank_images,
    embed_calibration_images,
    embed_test_images,
    fit_feature_space,
)
from indexer.learn.plan import BuildPlan, checked_settings, plan_build
from indexer.learn.recalibrate import calibration_payload
from indexer.learn.split import all_unusable
from indexer.progress import Progress
from indexer.scoring.base import Scorer
from indexer.scoring.open_scorer import open_scorer
from indexer.scoring.whitening import AXES as WHITENED_AXES
from indexer.scoring.whitening import whitening_of, write_whitening
from indexer.store.base import VectorStore

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class BuildReport:
    """Result of a build.

    Attributes:
        category: the category at its now current revision.
        changed: False if the build was a repetition.
        skipped: files that could not be used.
        duplicates: files left out because another file of the data set has the same bytes.
        seconds: duration of each stage.
    """

    category: Category
    changed: bool
    skipped: tuple[Skipped, ...] = ()
    duplicates: tuple[Path, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)

    @property
    def entry(self) -> CatalogEntry:
        """Catalog entry of the now current revision."""
        return self.category.entry


def build_index(
    records: Sequence[ImageRecord],
    *,
    category: str,
    backbone: Backbone,
    store: VectorStore,
    calibration: CalibrationSettings = CONFORMAL,
    coreset: float = 0.1,
    holdout: float = 0.2,
    seed: int = 0,
    on_progress: Progress = lambda stage, done, total: None,
) -> BuildReport:
    """Learn ``category`` from the normal training records and commit it as a new revision.

    A share ``holdout`` of the normal images is kept out of the memory bank and calibrates; with
    cross-conformal, every normal image does both. The test records are added only to the image
    library, where similarity search finds them. If the inputs are those of the current revision,
    nothing is written.

    Args:
        coreset: share of the training patches kept in the memory bank, in (0, 1].
        seed: seed of the split into bank and calibration images and of the coreset.

    Raises:
        DatasetError: there are fewer than two normal images, or none can be read.
        CategoryError: the category's name cannot be used.
        CalibrationError: there are too few images for the requested levels.
    """
    clock = _Clock()
    settings = checked_settings(coreset, holdout, seed)
    check_category(category)
    plan = plan_build(records, category, backbone, store, calibration, settings, on_progress)
    clock.stop("reading")
    if plan.repeated:
        undo_interrupted(plan.repeated)
        forget_before(plan.repeated)
        skipped = [Skipped(Path(path), reason) for path, reason in plan.repeated.entry.skipped]
        return _report(plan, plan.repeated, False, skipped, clock)

    draft, network = _begin(plan, backbone, store, on_progress)
    selection = _selection(plan, draft)
    learnt = _embed(plan, draft, network, selection, on_progress)
    clock.stop("embedding")
    chosen = selection.choose(lambda done, total: on_progress("coreset", done, total))
    draft = _write_bank(draft, chosen, learnt)
    clock.stop("coreset")
    scorer = open_scorer(draft, chosen.bank)
    held_out = embed_calibration_images(
        plan.split.of_role("calibration"), draft, network, scorer, on_progress
    )
    draft = _calibrate(plan, draft, scorer, chosen.bank, learnt, held_out)
    tests = plan.split.of_role("test")
    draft, tested = embed_test_images(tests, draft, network, scorer, on_progress)
    clock.stop("calibration")
    on_progress("writing", 0, len(chosen.bank))
    draft = _write(draft, chosen.bank, learnt, held_out, tested)
    commit(draft)
    on_progress("writing", len(chosen.bank), len(chosen.bank))
    forget_before(draft)
    for collection in draft.collections:
        store.optimize(collection)
    clock.stop("writing")
    undecoded = [*learnt.skipped, *held_out.skipped, *tested.skipped]
    return _report(plan, draft, True, undecoded, clock)


def _report(
    plan: BuildPlan,
    category: Category,
    changed: bool,
    undecoded: Sequence[Skipped],
    clock: _Clock,
) -> BuildReport:
    skipped = (*plan.split.skipped, *undecoded)
    return BuildReport(category, changed, skipped, plan.split.duplicates, clock.seconds)


def _begin(
    plan: BuildPlan, backbone: Backbone, store: VectorStore, on_progress: Progress
) -> tuple[Category, Backbone]:
    """The new category, its collections empty of earlier attempts, and the network in its space."""
    draft = Category(store, plan.entry)
    create_collections(draft)
    undo_earlier_tries(draft)
    space = fit_feature_space(plan.split.of_role("bank"), backbone, on_progress)
    draft = draft.with_entry(feature_space=space.to_payload())
    return draft, in_space(backbone, draft.entry.feature_space)


def _selection(plan: BuildPlan, draft: Category) -> BankSelection:
    if not draft.keeps_patches:
        return NoSelection(draft.spec.dim)
    return plan.layout.selection(draft.entry, len(plan.split.of_role("bank")))


def _embed(
    plan: BuildPlan,
    draft: Category,
    network: Backbone,
    selection: BankSelection,
    on_progress: Progress,
) -> Embedded:
    items = plan.split.of_role("bank")
    cache = plan.layout.calibrating == "bank"
    learnt = embed_bank_images(
        items, draft, network, selection, cache=cache, on_progress=on_progress
    )
    if not learnt.images:
        raise all_unusable(items, learnt.skipped)
    return learnt


def _write_bank(draft: Category, chosen: ChosenBank, learnt: Embedded) -> Category:
    """Write the bank's images, and the axes along which its patches vary most.

    Calibration may read them from the store; nobody else sees this revision yet.
    """
    images = (draft.image_point(image, vector) for image, vector, _ in learnt.images)
    draft.store.upsert(draft.images, images)
    if len(chosen.bank):
        axes = principal_axes(chosen.bank.vectors, max(PRUNING_AXES, WHITENED_AXES))
        write_whitening(draft, whitening_of(axes, len(chosen.bank)))
        write_axes(draft, axes)
    return draft.with_entry(radius=float(np.float32(chosen.radius)))


def _calibrate(
    plan: BuildPlan,
    draft: Category,
    scorer: Scorer,
    bank: MemoryBank,
    learnt: Embedded,
    held_out: Embedded,
) -> Category:
    """Calibrate with the calibration images, and cache everything that recalibrating needs."""
    distances = held_out.distances
    if plan.layout.calibrating == "bank":
        distances = _leave_one_out(plan.layout, draft, bank, learnt)
    if not distances:
        raise all_unusable(plan.split.of_role("calibration"), held_out.skipped)
    scorer.cache_distances(draft, distances)
    quality = {**learnt.quality, **held_out.quality}
    write_cached(draft, "quality", ((key, quality[key]) for key in distances))
    payload = calibration_payload(scorer, plan.calibration, distances, {})
    return draft.with_entry(calibration=payload)


def _leave_one_out(
    layout: Layout, draft: Category, bank: MemoryBank, learnt: Embedded
) -> dict[str, Float32]:
    """Distances of the bank's images to the patches of all others, by image id."""
    axes = read_axes(draft)

    def read(ids: Sequence[str]) -> Iterator[tuple[str, Float32]]:
        for key, patches in read_cached(draft, "patches", ids):
            cache_projections(draft, axes, key, patches)
            yield key, patches

    groups = learnt.groups
    return dict(layout.distances(bank, list(groups), lambda: groups, read))


def _write(
    draft: Category, bank: MemoryBank, learnt: Embedded, held_out: Embedded, tested: Embedded
) -> Category:
    """Write the remaining images and the memory bank, and return the category with all counts."""
    joining = [*held_out.images, *tested.images]
    draft.store.upsert(draft.images, (draft.image_point(*image) for image in joining))
    if len(bank):
        patches = zip(bank.image_ids.tolist(), bank.cells.tolist(), bank.vectors, strict=True)
        draft.store.upsert(
            draft.bank,
            (draft.patch_point(key, row, col, vector) for key, (row, col), vector in patches),
        )
    undecoded = [*learnt.skipped, *held_out.skipped, *tested.skipped]
    return draft.with_entry(
        skipped=[[str(item.path), item.reason] for item in undecoded],
        counts={
            **draft.entry.counts,
            "bank_images": len(learnt.images),
            "calibration_images": len(draft.entry.calibration["scores"]),
            "test_images": len(tested.images),
            BANK_PATCHES: len(bank),
        },
    )


class _Clock:
    """Stopwatch that notes the seconds between its calls, by stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def stop(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = now - self._last
        self._last = now
