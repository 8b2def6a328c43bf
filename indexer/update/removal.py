"""Removes images from a learnt category, or sets them aside in quarantine, as one revision.

Once calibration images have been picked out by hand (`PICKED_OUT` counts them), no bound on false
rejects is proven any more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from indexer.bank.layout import layout_of
from indexer.catalog.category import Category
from indexer.catalog.collections import known_images, read_bank
from indexer.catalog.commits import commit
from indexer.catalog.counts import BANK_PATCHES, PICKED_OUT, counted, counted_role, tallied
from indexer.catalog.entry import CategoryError, LibraryImage
from indexer.catalog.revisions import end, rewrite_image, undo_interrupted
from indexer.learn.defect_patches import end_defect_patches
from indexer.learn.recalibrate import measure_removals, recalibrated
from indexer.update.change import Change, count_images


def remove_images(ids: Sequence[str], *, category: Category) -> Change:
    """Remove images as one revision: no score, neighbour or evidence comes from them again.

    Earlier revisions keep them, for `rollback`; learning the category again deletes them.

    Raises:
        CategoryError: the library has no such id, or these are the last images of their kind.
    """
    undo_interrupted(category)
    images = known_images(category, ids)
    after = category.following("remove", list(images))
    for image in images.values():
        end(category, category.images, {"image_id": image.image_id})
        end(
            category,
            category.cached,
            {"image_id": image.image_id, "kind": ["patches", "projections", "synthetic"]},
        )
        after = end_defect_patches(category, after, image.image_id)
    return _without(category, after, images, "removed")


def quarantine_image(image_id: str, *, category: Category) -> Change:
    """Set a library image aside, outside the bank and the calibration, as one revision.

    Raises:
        CategoryError: the library has no such id, or this is the last image of its kind.
    """
    undo_interrupted(category)
    images = known_images(category, [image_id])
    if images[image_id].split == "quarantined":
        raise CategoryError(f"image {image_id} is already in quarantine.")
    after = category.following("quarantine", [image_id])
    rewrite_image(category, after, replace(images[image_id], split="quarantined"))
    return _without(category, after, images, "quarantined")


def _without(
    before: Category, after: Category, images: dict[str, LibraryImage], verb: str
) -> Change:
    """Take images out of the memory bank and the calibration, and commit."""
    calibrating = layout_of(before.entry).calibrating
    for image in images.values():
        after = counted_role(after, image.split, -1)
        after = tallied(after, PICKED_OUT, image.split == calibrating)
        measured = ["distances", "synthetic distances", "quality"]
        end(before, before.cached, {"image_id": image.image_id, "kind": measured})
        if before.keeps_patches:
            end(before, before.bank, {"image_id": image.image_id})
    _check_left(after)
    bank = read_bank(before)
    stays = ~np.isin(bank.image_ids, list(images))
    lost = len(bank) - int(stays.sum())
    uncovered = 0
    if lost:
        left = bank.vectors[~stays]
        uncovered = measure_removals(before, after, bank.select(stays), left, set(images))
        after = counted(after, BANK_PATCHES, -lost)
    action = f"{verb} {count_images(len(images))}"
    if before.keeps_patches:
        action += f", {lost} patches"
    after = recalibrated(after.with_entry(action=action))
    commit(after)
    return Change(after, tuple(images), -lost, uncovered)


def _check_left(after: Category) -> None:
    for name, least in layout_of(after.entry).needed.items():
        left = after.entry.counts[name]
        if left < least:
            raise CategoryError(
                f"'{after.name}' needs at least {least} of its {name.replace('_', ' ')}, "
                f"{left} would be left. Add normal images first."
            )
