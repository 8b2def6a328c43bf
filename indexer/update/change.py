"""The result of a change to a learnt category."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from backbones.pipeline import Skipped
from indexer.catalog.category import Category
from indexer.catalog.entry import CatalogEntry


@dataclass(frozen=True, slots=True)
class Change:
    """Result of a change.

    Attributes:
        category: the category at its now current revision.
        images: ids of the images concerned, in the order given; empty if nothing changed.
        patches: bank patches that were added, or removed if negative; 0 for an image-level
            backbone, whose bank is the images themselves.
        uncovered: patches of the calibration images that only the removed patches covered: within
            the covering radius before, beyond it now.
        known: files left out because the library already has the same bytes.
        skipped: files that could not be used.
    """

    category: Category
    images: tuple[str, ...]
    patches: int = 0
    uncovered: int = 0
    known: tuple[Path, ...] = ()
    skipped: tuple[Skipped, ...] = ()

    @property
    def entry(self) -> CatalogEntry:
        """Catalog entry of the now current revision."""
        return self.category.entry


def count_images(number: int, kind: str = "") -> str:
    """A number of images in words, with their kind if one is given."""
    return " ".join(filter(None, (str(number), kind, "image" if number == 1 else "images")))
