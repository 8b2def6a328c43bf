"""The one object that ties it together: image in, verdict with its reasons out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from PIL import Image

from backbones.base import Backbone, Device
from backbones.errors import ImageError
from backbones.geometry import Box
from backbones.model_card import read_card
from backbones.pipeline import ImageFeatures, Skipped, embed_files
from backbones.registry import CARD, exported_folder, load_exported, load_network
from backbones.weights import sha256_of
from indexer.bank.feature_space import in_space
from indexer.calibration.base import Calibration
from indexer.catalog.category import Category
from indexer.catalog.collections import check_searchable
from indexer.catalog.commits import find_category, is_current
from indexer.catalog.entry import CatalogEntry, CategoryError, Float32, MemoryBank
from indexer.knn.exact_index import ExactIndex
from indexer.scoring.defect_embedding import plain_defect_embedding
from indexer.store.base import VectorStore
from search.open_revision import OpenRevision
from search.predict import evidence, predict
from search.prediction import Evidence, Prediction
from search.render import explanation
from search.retrieval.neighbors import By, Neighbor, conditions, neighbors
from search.retrieval.region import region_neighbors


class Inspector:
    """Scores images of one category against what the store knows of it.

    The memory bank is read from the store when first needed and held until the category has
    another revision.

    Args:
        backbone: which one, for a category that is indexed with several; or the folder of an
            exported network.
        weights: file to load the network from; the exported network or the file used at index
            time otherwise.
        device: ``cuda`` runs the network with torch there.
        network: a loaded network to share instead.

    Raises:
        CategoryError: no such category, or the network at hand is not the one it was indexed with.
        BackboneError: the network cannot be loaded.
    """

    def __init__(
        self,
        store: VectorStore,
        category: str,
        *,
        backbone: str | None = None,
        weights: Path | None = None,
        device: Device = "cpu",
        network: Backbone | None = None,
    ) -> None:
        self.store = store
        folder = exported_folder(backbone) if backbone else None
        name = read_card(folder / CARD).spec.name if folder else backbone
        found = find_category(store, category, name)
        if network is None and folder:
            network = load_exported(folder, found.entry.precision)
        self._network = network or load_category_network(found.entry, weights, device)
        self._open(found)

    def refresh(self) -> bool:
        """Take over the revision that the store has now; whether it is another one.

        Called before each answer; a tenth of a millisecond with the embedded store.

        Raises:
            CategoryError: the category is gone, or was learnt again with another network.
        """
        if is_current(self.category):
            return False
        self._open(find_category(self.store, self.category.name, self.category.backbone))
        return True

    def _open(self, category: Category) -> None:
        entry = category.entry
        if self._network.fingerprint != entry.fingerprint:
            raise CategoryError(
                f"category '{entry.category}' was indexed with fingerprint {entry.fingerprint} of "
                f"'{entry.backbone}', this network has {self._network.fingerprint}: its "
                "distances would mean nothing. Pass the same --weights, or index it again."
            )
        self._now = OpenRevision(category)
        self._backbone = in_space(self._network, entry.feature_space)

    def inspect(self, image: Path | str) -> Prediction:
        """Score one image file; ImageError, beginning with its path, if it cannot be read."""
        outcome = next(self.inspect_files([Path(image)]))
        if isinstance(outcome, Skipped):
            raise ImageError(f"{outcome.path}: {outcome.reason}")
        return outcome

    def features(self, paths: Iterable[Path]) -> Iterator[ImageFeatures | Skipped]:
        """What the category's network sees in each file, in order and in bounded memory."""
        return embed_files(self._backbone, paths)

    def inspect_files(self, paths: Iterable[Path]) -> Iterator[Prediction | Skipped]:
        """Score each file, or say why it was skipped, in order and in bounded memory."""
        self.refresh()
        for outcome in embed_files(self._backbone, paths):
            if isinstance(outcome, Skipped):
                yield outcome
            else:
                self.refresh()
                yield predict(self._now, outcome)

    def similar(
        self,
        image: Path | str,
        *,
        top: int = 5,
        by: By = "whole",
        box: Box | None = None,
        label: str | None = None,
        defect_type: str | None = None,
        where: Mapping[str, str] | None = None,
        across_categories: bool = False,
    ) -> list[Neighbor]:
        """The library images most like this one, nearest first, without itself.

        By whole image, and of no label or type asked for, those that score as this one does come
        before the others, see `search.retrieval.neighbors.scored_alike`.

        Args:
            by: ``whole`` compares image embeddings, ``defect`` defect embeddings, among
                the defective images, ``region`` the patches in ``box``.
            box: in pixels of the upright image; by region, and then only.
            where: user fields that must have these values.
            across_categories: also search the other categories learnt with the same network; not
                by region.

        Raises:
            CategoryError: by defect or region, of a category that keeps no patches.
            ImageError: the image cannot be read, by defect nothing deviates in it, or the box
                lies outside it.
        """
        if (by == "region") != (box is not None) or (box and across_categories):
            raise ValueError("expected a box by region, in one category, and no box otherwise")
        self.refresh()
        if by != "whole":
            check_searchable(self.category, by)
        path = Path(image)
        (features,) = self.features([path])
        if isinstance(features, Skipped):
            raise ImageError(f"{path}: {features.reason}")
        wanted = conditions(
            without=sha256_of(path), label=label, defect_type=defect_type, where=where or {}
        )
        if box:
            kept = self._now.patches_by_image
            return region_neighbors(self.category, features, box, kept, top=top, where=wanted)
        score = None
        if by == "whole" and label is None and defect_type is None:
            score = self._now.scorer.score(features).score
        return neighbors(
            self.category,
            self._defect_embedding(features) if by == "defect" else features.image,
            by="defect" if by == "defect" else "whole",
            top=top,
            where=wanted,
            score=score,
            across_categories=across_categories,
        )

    def _defect_embedding(self, features: ImageFeatures) -> Float32:
        found = self.index.search(features.patches)
        deviates = plain_defect_embedding(features.patches, self.bank.vectors, found)
        if deviates is None:
            raise ImageError(
                f"{features.path}: nothing deviates, every patch equals a normal one. Search by "
                "whole."
            )
        return deviates

    def evidence(self, prediction: Prediction, row: int, col: int) -> Evidence:
        """The nearest normal patch of any patch of an image that was scored.

        Raises:
            CategoryError: the category has another revision by now, so its bank another order.
        """
        self.refresh()
        if prediction.revision != self.entry.revision:
            raise CategoryError(
                f"{prediction.path.name} was scored at revision {prediction.revision} of "
                f"'{self.entry.category}', now is {self.entry.revision}. Score it again."
            )
        rows, cols = prediction.distances.shape
        if not (0 <= row < rows and 0 <= col < cols):
            raise ValueError(f"expected a cell of {rows} x {cols}, got {row}, {col}")
        nearest = self._now.scorer.nearest_normal(prediction.scored, row, col)
        return evidence(self._now, (row, col), nearest, prediction.geometry.image)

    def explain(self, prediction: Prediction) -> Image.Image:
        """One picture that says why, see `explanation`."""
        return explanation(prediction, self.entry.spec.level)

    @property
    def category(self) -> Category:
        """The category at the revision open now."""
        return self._now.category

    @property
    def entry(self) -> CatalogEntry:
        """Catalog entry of the revision open now."""
        return self.category.entry

    @property
    def calibration(self) -> Calibration:
        """Calibration of the revision open now."""
        return self._now.calibration

    @property
    def bank(self) -> MemoryBank:
        """Memory bank of the revision open now; CategoryError if it has none, or is gone."""
        return self._now.patch_scorer.bank

    @property
    def index(self) -> ExactIndex:
        """Exact nearest-neighbour index of the memory bank."""
        return self._now.patch_scorer.index


def load_category_network(entry: CatalogEntry, weights: Path | None, device: Device) -> Backbone:
    """The network the category was indexed with: exported, from ``weights``, or the file then."""
    source = Path(entry.source) if entry.source else None
    return load_network(
        entry.spec,
        weights=weights,
        precision=entry.precision if device == "cpu" else None,
        device=device,
        fingerprint=entry.fingerprint,
        fallback=source,
    )
