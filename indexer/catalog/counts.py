"""Counts in a catalog entry: images by role, bank patches, and events that void a bound."""

from __future__ import annotations

from indexer.catalog.category import Category

BANK_PATCHES, DEFECT_PATCHES = "bank_patches", "defect_patches"
WITHOUT_PATCHES, PICKED_OUT = "joined_without_patches", "picked_out_images"
"""Counts of events that void the bound on false rejects: images added to a leave-one-out category
without their own choice of patches, and calibration images removed by hand."""


def counted(category: Category, what: str, by: int) -> Category:
    """The category with ``by`` added to this count; a name that it does not count is ignored."""
    counts = category.entry.counts
    return (
        category.with_entry(counts={**counts, what: counts[what] + by})
        if what in counts
        else (category)
    )


def counted_role(category: Category, role: str, by: int) -> Category:
    """The category with ``by`` more images of a role; images in quarantine are not counted."""
    return counted(category, f"{role}_images", by)


def tallied(category: Category, name: str, by: int) -> Category:
    """The category with ``by`` more of the events that void a bound."""
    counts = category.entry.counts
    return (
        category.with_entry(counts={**counts, name: counts.get(name, 0) + by}) if by else category
    )
