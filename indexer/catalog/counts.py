"""What a catalog entry counts: images by role, bank patches, and what voids a bound."""

from __future__ import annotations

from dataclasses import replace

from indexer.catalog.schema import CatalogEntry

PASSED_OVER, PICKED_OUT = "joined_images", "picked_out_images"
"""Counts of what voids the bound on false rejects: images that joined a leave-one-out category
without the patches they choose alone (older catalogs count every addition, which looked at the bank
patch by patch), and images taken out by hand of those that calibrate."""


def counted(entry: CatalogEntry, what: str, by: int) -> CatalogEntry:
    """The entry with ``by`` more images of a role, or bank ``patches``."""
    name = "bank_patches" if what == "patches" else f"{what}_images"
    if name not in entry.counts:  # quarantined images are not counted
        return entry
    return replace(entry, counts={**entry.counts, name: entry.counts[name] + by})


def tallied(entry: CatalogEntry, name: str, by: int) -> CatalogEntry:
    """The entry with ``by`` more images of those that a bound does not survive."""
    if not by:
        return entry
    return replace(entry, counts={**entry.counts, name: entry.counts.get(name, 0) + by})
