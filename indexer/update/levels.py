"""Recalibrates a category with other levels or another method, from its stored data."""

from __future__ import annotations

from indexer.calibration.base import CalibrationError, Levels
from indexer.calibration.methods import (
    CalibrationSettings,
    find_calibration,
    read_calibration,
    to_payload,
)
from indexer.catalog.category import Category
from indexer.catalog.commits import commit
from indexer.catalog.entry import CatalogEntry
from indexer.catalog.revisions import undo_interrupted


def change_levels(category: Category, levels: Levels, method: str | None = None) -> Category:
    """Apply other levels, or another method, to the stored scores; needs no image.

    A change is a revision of its own, so that running readers notice it; if nothing changes,
    nothing is written.

    Raises:
        CalibrationError: n images cannot support a level, or the category was learnt for another
            method.
    """
    now = read_calibration(category.entry)
    method = method or now.method.name
    check_method(category.entry, method)
    changed = CalibrationSettings(method, levels).calibrate(
        now.scores, peaks=now.peaks, synthetic=now.synthetic
    )
    wanted = (method, changed.alpha_reject, changed.alpha_review)
    if wanted == (now.method.name, now.alpha_reject, now.alpha_review):
        return category
    undo_interrupted(category)
    after = category.following(
        "calibrate",
        list(wanted),
        build_key=category.entry.build_key,
        built_at=category.entry.built_at,
        calibration=to_payload(changed),
        action=f"{method} at {changed.alpha_reject:.4g} and {changed.alpha_review:.4g}",
    )
    commit(after, ())
    return after


def check_method(entry: CatalogEntry, method: str) -> None:
    """Raise CalibrationError unless the normal images are divided as the method needs."""
    chosen = find_calibration(method)
    if chosen.bound is not None and entry.layout != chosen.layout:
        raise CalibrationError(
            f"{method} needs a category learnt for it: the normal images of '{entry.category}' "
            f"are divided by {entry.layout}. Learn it again: vecspect index DATASET "
            f"--category {entry.category} --calibration {method}"
        )
