"""One revision of a category; each piece is read from the store when first needed."""

from __future__ import annotations

from backbones.base import Backbone
from indexer.bank.feature_space import in_space
from indexer.calibration.methods import read_calibration
from indexer.catalog.category import Category
from indexer.catalog.collections import check_keeps_patches, read_defect_patches, read_images
from indexer.catalog.entry import LibraryImage
from indexer.knn.threads import made_once
from indexer.scoring.open_scorer import open_scorer
from indexer.scoring.patch_scorer import PatchScorer
from search.retrieval.region import PatchesByImage
from search.retrieval.type_proposal import TypeProposer, read_proposer


class OpenRevision:
    """One revision of a category, opened for reading; threads may share it.

    Args:
        network: the network with which the category was learnt.

    Attributes:
        backbone: the network in the category's feature space.
    """

    def __init__(self, category: Category, network: Backbone) -> None:
        self.category = category
        self.backbone = in_space(network, category.entry.feature_space)
        self.calibration = read_calibration(category.entry)
        self.scorer = open_scorer(category)

    @property
    def patch_scorer(self) -> PatchScorer:
        """The scorer of a category that stores patches; CategoryError for any other."""
        check_keeps_patches(self.category, "this")
        assert isinstance(self.scorer, PatchScorer)
        return self.scorer

    @made_once
    def images(self) -> dict[str, LibraryImage]:
        """The image library by image id."""
        return read_images(self.category)

    @made_once
    def patches_by_image(self) -> PatchesByImage:
        """The stored patches that a search by region compares."""
        return PatchesByImage(self.patch_scorer.bank, read_defect_patches(self.category))

    @made_once
    def proposer(self) -> TypeProposer | None:
        """The proposer of defect types; None if there are too few named defects."""
        return read_proposer(self.category)
