"""What the store knows of a category at one revision, each piece read when first asked for."""

from __future__ import annotations

import functools

from indexer.calibration.base import Calibration
from indexer.catalog.collections import read_bank, read_defect_patches, read_images
from indexer.catalog.schema import CatalogEntry, CategoryError, LibraryImage, MemoryBank
from indexer.knn.exact_index import ExactIndex
from indexer.scoring.whitening import Whitening, read_whitening
from indexer.store.base import VectorStore
from search.retrieval.neighbors import read_proposer
from search.retrieval.region import PatchesByImage
from search.retrieval.type_proposal import TypeProposer


class Revision:
    """One revision of a category, as readers use it."""

    def __init__(self, store: VectorStore, entry: CatalogEntry) -> None:
        self.store, self.entry = store, entry
        self.calibration = Calibration.from_payload(entry.calibration)

    @functools.cached_property
    def bank(self) -> MemoryBank:
        """The memory bank; CategoryError if the revision is gone."""
        bank = read_bank(self.store, self.entry)
        if not len(bank.vectors):
            raise CategoryError(
                f"revision {self.entry.revision} of category '{self.entry.category}' has been "
                "replaced since it was opened. Open it again."
            )
        return bank

    @functools.cached_property
    def index(self) -> ExactIndex:
        """Over the bank's vectors."""
        return ExactIndex(self.bank.vectors)

    @functools.cached_property
    def images(self) -> dict[str, LibraryImage]:
        """The image library by image id."""
        return read_images(self.store, self.entry)

    @functools.cached_property
    def patches_by_image(self) -> PatchesByImage:
        """What search by region compares."""
        return PatchesByImage(self.bank, read_defect_patches(self.store, self.entry))

    @functools.cached_property
    def proposer(self) -> TypeProposer | None:
        """What the named defects teach, if there are enough."""
        return read_proposer(self.store, self.entry)

    @functools.cached_property
    def whitening(self) -> Whitening:
        """Of what deviates."""
        return read_whitening(self.store, self.entry)
