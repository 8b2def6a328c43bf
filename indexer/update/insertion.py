"""Adds images to a learnt category, as one revision.

Effect of additions on the bound on false rejects, provided that images are added as they arrive and
not selected by their score: with held-out images, the choice of those that calibrate never depends
on their scores, so split conformal stays exact. An image added completely to a leave-one-out
category, with the patches that it chose only from itself, gives the same bank and the same
calibration as learning all images together; if all are added completely, the 2 alpha holds as it
does there. Whether an image is added completely does depend on the bank, though: a near duplicate
adds no patch, and after the first one (`WITHOUT_PATCHES` counts them) the 2 alpha is no longer
proven.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from backbones.base import Backbone
from backbones.decode import HashedFile
from backbones.pipeline import ImageFeatures, Skipped, embed_images
from indexer.bank.feature_space import in_space
from indexer.bank.layout import layout_of
from indexer.catalog.cached_arrays import write_cached
from indexer.catalog.category import Category
from indexer.catalog.collections import read_bank, read_images
from indexer.catalog.commits import commit
from indexer.catalog.counts import (
    BANK_PATCHES,
    WITHOUT_PATCHES,
    counted,
    counted_role,
    tallied,
)
from indexer.catalog.entry import CategoryError, Float32, LibraryImage, Role
from indexer.catalog.revisions import undo_interrupted
from indexer.learn.defect_patches import write_defect_patches
from indexer.learn.recalibrate import measure_additions, recalibrated
from indexer.learn.split import hash_or_reason
from indexer.progress import Progress
from indexer.scoring.open_scorer import open_scorer
from indexer.update.change import Change, count_images


def add_images(
    paths: Sequence[Path],
    *,
    category: Category,
    backbone: Backbone,
    label: str = "normal",
    defect_type: str = "",
    on_progress: Progress = lambda stage, done, total: None,
) -> Change:
    """Add images as one revision; those the library already has are left out and named.

    Normal images keep the category's share of calibration images; in a leave-one-out category each
    is added to the bank and calibrates. Defective images are added only to the library, with their
    score and defect embedding.

    Args:
        backbone: the network with which the category was learnt.

    Raises:
        CategoryError: it is another network.
    """
    _check_network(category, backbone)
    undo_interrupted(category)
    files = _fresh_files(paths, category)
    hashes = [file.sha256 for file in files.fresh]
    after = category.following("add", [label, defect_type, *sorted(hashes)])
    joining: _Joining = (
        _Normal(category, hashes) if label == "normal" else _Defective(category, defect_type)
    )
    joined: list[str] = []
    skipped = list(files.skipped)
    network = in_space(backbone, category.entry.feature_space)
    for done, found in enumerate(embed_images(network, files.fresh), 1):
        on_progress("adding", done, len(files.fresh))
        if isinstance(found, Skipped):
            skipped.append(found)
            continue
        after = joining.take(after, found)
        joined.append(category.image_id(found.sha256))
    if not joined:
        undo_interrupted(category)
        return Change(category, (), 0, 0, files.known, tuple(skipped))
    after = joining.finish(after, f"added {count_images(len(joined), label)}")
    commit(after)
    return Change(after, tuple(joined), joining.patches, 0, files.known, tuple(skipped))


@dataclass(frozen=True, slots=True)
class _Files:
    """New files, files that are already known, and unreadable ones."""

    fresh: Sequence[HashedFile]
    known: tuple[Path, ...]
    skipped: tuple[Skipped, ...]


class _Joining(Protocol):
    """Consequences of adding images of one label."""

    patches: int
    """Number of patches added to the memory bank so far."""

    def take(self, after: Category, found: ImageFeatures) -> Category:
        """Write an image, and return the category that counts it."""

    def finish(self, after: Category, action: str) -> Category:
        """Return the category as it is to be committed."""


class _Normal:
    def __init__(self, before: Category, hashes: Sequence[str]) -> None:
        self._before, self._layout = before, layout_of(before.entry)
        self._roles = self._layout.roles_of_additions(before.entry, {key: key for key in hashes})
        self._scorer = open_scorer(before)
        self._extension = (
            self._layout.extension(before.entry, read_bank(before))
            if before.keeps_patches
            else None
        )
        self._calibrating: dict[str, Float32] = {}
        self._without_patches = 0
        self.patches = 0

    def take(self, after: Category, found: ImageFeatures) -> Category:
        image = _library_image(after, found, self._roles[found.sha256])
        after.store.upsert(after.images, [after.image_point(image, found.image)])
        if self._extension and image.split == "bank":
            new = self._extension.take(image.image_id, found.patches)
            cells = zip(new.cells.tolist(), new.vectors, strict=True)
            points = [after.patch_point(image.image_id, row, col, v) for (row, col), v in cells]
            after.store.upsert(after.bank, points)
            self._without_patches += not points
            self.patches += len(points)
        if image.split == self._layout.calibrating:
            self._scorer.cache_patches(after, image.image_id, found.patches)
            write_cached(after, "quality", [(image.image_id, found.quality)])
            self._calibrating[image.image_id] = found.patches
        return counted_role(after, image.split, 1)

    def finish(self, after: Category, action: str) -> Category:
        if self._extension:
            measure_additions(self._before, after, self._extension, self._calibrating)
            after = counted(after, BANK_PATCHES, self.patches)
            if self._layout.calibrating == "bank":
                after = tallied(after, WITHOUT_PATCHES, self._without_patches)
            action += f", {self.patches} patches"
            if self._without_patches:
                action += f"; {self._without_patches} added nothing new to the memory bank"
        return recalibrated(after.with_entry(action=action))


class _Defective:
    patches = 0

    def __init__(self, before: Category, defect_type: str) -> None:
        self._scorer, self._defect_type = open_scorer(before), defect_type

    def take(self, after: Category, found: ImageFeatures) -> Category:
        scored = self._scorer.score(found)
        image = _library_image(
            after, found, "test", score=scored.score, defect_type=self._defect_type
        )
        defect = self._scorer.defect_embedding(found, scored)
        after.store.upsert(after.images, [after.image_point(image, found.image, defect)])
        after = write_defect_patches(after, image.image_id, found.patches, scored.distances)
        return counted_role(after, "test", 1)

    def finish(self, after: Category, action: str) -> Category:
        return after.with_entry(action=action)


def _check_network(category: Category, backbone: Backbone) -> None:
    expected = category.entry.fingerprint
    if backbone.fingerprint != expected:
        raise CategoryError(
            f"category '{category.name}' needs the network it was learnt with, fingerprint "
            f"{expected}, got {backbone.fingerprint}. Pass the same --weights."
        )


def _fresh_files(paths: Sequence[Path], category: Category) -> _Files:
    library = read_images(category)
    fresh: dict[str, HashedFile] = {}
    known: list[Path] = []
    skipped: list[Skipped] = []
    for path in paths:
        outcome = hash_or_reason(path)
        if isinstance(outcome, Skipped):
            skipped.append(outcome)
        elif outcome.sha256 in fresh or category.image_id(outcome.sha256) in library:
            known.append(path)
        else:
            fresh[outcome.sha256] = outcome
    return _Files(tuple(fresh.values()), tuple(known), tuple(skipped))


def _library_image(
    after: Category,
    found: ImageFeatures,
    role: Role,
    *,
    score: float | None = None,
    defect_type: str = "",
) -> LibraryImage:
    return LibraryImage(
        image_id=after.image_id(found.sha256),
        path=str(found.path.resolve()),
        sha256=found.sha256,
        label="normal" if score is None else "defective",
        defect_type=defect_type,
        split=role,
        width=found.width,
        height=found.height,
        score=score,
        group=found.sha256,
    )
