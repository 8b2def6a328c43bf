"""The central object of `search`: takes an image and returns a verdict with its reasons."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from backbones.base import Backbone, Device
from backbones.decode import ImageInput
from backbones.errors import ImageError
from backbones.geometry import Box
from backbones.model_card import read_card
from backbones.pipeline import ImageFeatures, Skipped, embed_image, embed_images
from backbones.registry import CARD, exported_folder, load_exported, load_network
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
from search.retrieval.neighbors import By, Neighbor, conditions, neighbors
from search.retrieval.region import region_neighbors


class Inspector:
    """Scores images of one category against its stored memory bank and calibration.

    The memory bank is read from the store when first needed and held until the category has
    another revision. Threads may share an inspector; forked processes may not.

    Args:
        category: name of the category.
        backbone: the backbone to use if the category is indexed with several, or the folder of an
            exported network.
        weights: file to load the network from; by default the exported network or the file used at
            index time.
        device: ``cuda`` runs the network with torch there.
        network: a loaded network to share instead of loading one.

    Raises:
        CategoryError: there is no such category, or it was indexed with another network.
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
        self._refreshing = threading.Lock()
        self._now = self._open(found)

    def refresh(self) -> bool:
        """Switch to the store's current revision; True if that is a new one.

        Called before each answer; takes 0.1 ms with the embedded store.

        Raises:
            CategoryError: the category no longer exists, or was learnt again with another network.
            StoreError: this process was forked from the one that opened the store.
        """
        before = self._now
        return self._current() is not before

    def _current(self) -> OpenRevision:
        """The revision to answer from: each answer uses only one, whatever changes meanwhile."""
        if is_current(self._now.category):
            return self._now
        with self._refreshing:
            found = find_category(self.store, self.category.name, self.category.backbone)
            if found.entry.head != self.entry.head:
                self._now = self._open(found)
            return self._now

    def _open(self, category: Category) -> OpenRevision:
        entry = category.entry
        if self._network.fingerprint != entry.fingerprint:
            raise CategoryError(
                f"category '{entry.category}' was indexed with fingerprint {entry.fingerprint} of "
                f"'{entry.backbone}', this network has {self._network.fingerprint}: its "
                "distances would mean nothing. Pass the same --weights, or index it again."
            )
        return OpenRevision(category, self._network)

    def features(self, image: ImageInput) -> ImageFeatures:
        """Features of an image from the category's network, for several questions about it.

        Raises:
            ImageError: the image cannot be read; the line begins with its path.
        """
        return embed_image(self._current().backbone, image)

    def embed(self, images: Iterable[ImageInput]) -> Iterator[ImageFeatures | Skipped]:
        """Features of each image from the category's network, in order and in bounded memory."""
        return embed_images(self._current().backbone, images)

    def inspect(self, image: ImageInput | ImageFeatures) -> Prediction:
        """Score one image.

        Args:
            image: a file, its bytes, a PIL image, an array (H, W, 3) or (H, W) of uint8 or
                uint16, or its `features`.

        Raises:
            ImageError: the image cannot be read; the line begins with its path.
        """
        revision = self._current()
        return predict(revision, _features(revision, image))

    def inspect_files(self, paths: Iterable[Path]) -> Iterator[Prediction | Skipped]:
        """Score each file, or say why it was skipped, in order and in bounded memory."""
        for found in self.embed(paths):
            yield found if isinstance(found, Skipped) else predict(self._current(), found)

    def similar(
        self,
        image: ImageInput | ImageFeatures,
        *,
        top: int = 5,
        by: By = "whole",
        box: Box | None = None,
        label: str | None = None,
        defect_type: str | None = None,
        where: Mapping[str, str] | None = None,
        across_categories: bool = False,
    ) -> list[Neighbor]:
        """The library images most similar to this one, nearest first, without the image itself.

        In a search by whole image without a label or type, images that score like this one come
        before the others, see `search.retrieval.neighbors.scored_alike`.

        Args:
            image: as for `inspect`.
            by: ``whole`` compares image embeddings, ``defect`` defect embeddings, among
                the defective images, ``region`` the patches in ``box``.
            box: in pixels of the upright image; required by region, and only there.
            where: user fields that must have these values.
            across_categories: also search the other categories learnt with the same network; not
                by region.

        Raises:
            CategoryError: by defect or region, the category stores no patches.
            ImageError: the image cannot be read, has no anomalous patch (by defect), or does not
                contain the box.
        """
        if (by == "region") != (box is not None) or (box and across_categories):
            raise ValueError(
                "a search by region needs a box and one category; other searches take no box"
            )
        revision = self._current()
        category = revision.category
        if by != "whole":
            check_searchable(category, by)
        features = _features(revision, image)
        wanted = conditions(
            without=features.sha256, label=label, defect_type=defect_type, where=where or {}
        )
        if box:
            kept = revision.patches_by_image
            return region_neighbors(category, features, box, kept, top=top, where=wanted)
        score = None
        if by == "whole" and label is None and defect_type is None:
            score = revision.scorer.score(features).score
        return neighbors(
            category,
            _defect_embedding(revision, features) if by == "defect" else features.image,
            by="defect" if by == "defect" else "whole",
            top=top,
            where=wanted,
            score=score,
            across_categories=across_categories,
        )

    def evidence(self, prediction: Prediction, row: int, col: int) -> Evidence:
        """The nearest normal patch of any patch of a scored image.

        Raises:
            CategoryError: the category now has another revision, and its bank another order.
        """
        revision = self._current()
        now = revision.category.entry.revision
        if prediction.revision != now:
            raise CategoryError(
                f"{prediction.path.name} was scored at revision {prediction.revision} of "
                f"'{self.category.name}', the current one is {now}. Score it again."
            )
        rows, cols = prediction.distances.shape
        if not (0 <= row < rows and 0 <= col < cols):
            raise ValueError(f"expected a cell of {rows} x {cols}, got {row}, {col}")
        nearest = revision.scorer.nearest_normal(prediction.scored, row, col)
        return evidence(revision, (row, col), nearest, prediction.geometry.image)

    @property
    def category(self) -> Category:
        """The category at its open revision."""
        return self._now.category

    @property
    def entry(self) -> CatalogEntry:
        """Catalog entry of the open revision."""
        return self.category.entry

    @property
    def calibration(self) -> Calibration:
        """Calibration of the open revision."""
        return self._now.calibration

    @property
    def bank(self) -> MemoryBank:
        """Memory bank of the open revision; CategoryError if it has none, or is gone."""
        return self._now.patch_scorer.bank

    @property
    def index(self) -> ExactIndex:
        """Exact nearest-neighbour index of the memory bank."""
        return self._now.patch_scorer.index


def _features(revision: OpenRevision, image: ImageInput | ImageFeatures) -> ImageFeatures:
    return image if isinstance(image, ImageFeatures) else embed_image(revision.backbone, image)


def _defect_embedding(revision: OpenRevision, features: ImageFeatures) -> Float32:
    scorer = revision.patch_scorer
    found = scorer.index.search(features.patches)
    deviates = plain_defect_embedding(features.patches, scorer.bank.vectors, found)
    if deviates is None:
        raise ImageError(
            f"{features.path}: every patch equals a normal one, so there is no defect to compare. "
            "Search by whole."
        )
    return deviates


def load_category_network(entry: CatalogEntry, weights: Path | None, device: Device) -> Backbone:
    """The network with which the category was indexed, or the one in the file ``weights``."""
    source = Path(entry.source) if entry.source else None
    return load_network(
        entry.spec,
        weights=weights,
        precision=entry.precision if device == "cpu" else None,
        device=device,
        fingerprint=entry.fingerprint,
        fallback=source,
    )
