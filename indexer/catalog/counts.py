"""What a catalog entry counts: images by role, bank patches, and what voids a bound."""

from __future__ import annotations

from indexer.catalog.category import Category

BANK_PATCHES, DEFECT_PATCHES = "bank_patches", "defect_patches"
WITHOUT_PATCHES, PICKED_OUT = "joined_without_patches", "picked_out_images"
"""Counts of what voids the bound on false rejects: images that joined a leave-one-out category
without the patches they choose alone, and calibration images taken out by hand."""


def counted(category: Category, what: str, by: int) -> Category:
    """The category with ``by`` more under this name; a name it does not count is left out."""
    counts = category.entry.counts
    return (
        category.with_entry(counts={**counts, what: counts[what] + by})
        if what in counts
        else (category)
    )


def counted_role(category: Category, role: str, by: int) -> Category:
    """The category with ``by`` more images of a role; those in quarantine are not counted."""
    return counted(category, f"{role}_images", by)


def tallied(category: Category, name: str, by: int) -> Category:
    """The category with ``by`` more images of those that a bound does not survive."""
    counts = category.entry.counts
    return (
        category.with_entry(counts={**counts, name: counts.get(name, 0) + by}) if by else category
    )
