"""What a change of a learnt category did."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from backbones.pipeline import Skipped
from indexer.catalog.category import Category
from indexer.catalog.entry import CatalogEntry


@dataclass(frozen=True, slots=True)
class Change:
    """What a change did.

    Attributes:
        category: at the revision now current.
        images: ids of the images it was about, in the order given; none if nothing changed.
        patches: bank patches that joined, or left if negative; 0 of an image-level backbone, whose
            bank is the images themselves.
        uncovered: patches of the calibration images that only what left had covered: within the
            covering radius before, beyond it now.
        known: files left out because the library has the same bytes.
        skipped: files that cannot be used.
    """

    category: Category
    images: tuple[str, ...]
    patches: int = 0
    uncovered: int = 0
    known: tuple[Path, ...] = ()
    skipped: tuple[Skipped, ...] = ()

    @property
    def entry(self) -> CatalogEntry:
        """Catalog entry of the revision now current."""
        return self.category.entry


def count_images(number: int, kind: str = "") -> str:
    """A number of images, of a kind if one is given, in words."""
    return " ".join(filter(None, (str(number), kind, "image" if number == 1 else "images")))
