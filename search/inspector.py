"""The one object that ties it together: image in, verdict with its reasons out."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from backbones.base import Backbone, Device
from backbones.card import read_card
from backbones.errors import ImageError
from backbones.images import load_image
from backbones.pipeline import ImageFeatures, Skipped, embed_files
from backbones.preprocess import Box
from backbones.registry import CARD, exported_folder, load_exported, load_network
from backbones.weights import sha256_of
from indexer.catalog import find_entry, is_current
from indexer.category import (
    check_defect_patches_kept,
    check_defects_kept,
    read_bank,
    read_defect_patches,
    read_images,
    with_channels,
)
from indexer.schema import CatalogEntry, CategoryError, LibraryImage, MemoryBank
from indexer.store import VectorStore
from indexer.whitening import Whitening, read_whitening
from search.anomaly_map import overlay, panels, worst_region
from search.calibration import Calibration
from search.knn import ExactIndex
from search.known_defects import KnownDefects, known_defect_score
from search.library import By, Neighbor, conditions, neighbors, read_proposer
from search.prediction import Evidence, NearKnownDefect, Prediction
from search.region import PatchesByImage, region_neighbors
from search.scoring import (
    PatchDistances,
    image_score,
    nearest_normal_images,
    neighbors_score,
    patch_distances,
)
from search.seen_before import SeenBefore, TypeProposer
from search.similar import deviation

Float32 = NDArray[np.float32]


class Inspector:
    """Scores images of one category against what the store knows of it.

    The memory bank is read from the store when first needed and kept until the category has
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
        self.entry = find_entry(store, category, name)
        if network is None and folder:
            network = load_exported(folder, self.entry.precision)
        self._network = network or load_category_network(self.entry, weights, device)
        self._open(self.entry)

    def refresh(self) -> bool:
        """Take over the revision that the store has now; whether it is another one.

        Called before each answer; a tenth of a millisecond with the embedded store.

        Raises:
            CategoryError: the category is gone, or was learnt again with another network.
        """
        if is_current(self.store, self.entry):
            return False
        self._open(find_entry(self.store, self.entry.category, self.entry.backbone))
        return True

    def _open(self, entry: CatalogEntry) -> None:
        if self._network.fingerprint != entry.fingerprint:
            raise CategoryError(
                f"category '{entry.category}' was indexed with fingerprint {entry.fingerprint} of "
                f"'{entry.backbone}', this network has {self._network.fingerprint}: its "
                "distances would mean nothing. Pass the same --weights, or index it again."
            )
        self.entry = entry
        self.calibration = Calibration.from_payload(entry.calibration)
        self._backbone = with_channels(self._network, entry)
        cached = ("bank", "index", "_images", "_proposer", "_whitening", "_patches_by_image")
        for kept in (*cached, "_known"):
            self.__dict__.pop(kept, None)

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
                yield self._judge(outcome)

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

        By whole image, and of no label or type asked for, those that deviate as this one does come
        before the others, see `search.library.deviating_alike`.

        Args:
            by: ``whole`` compares image embeddings, ``defect`` what deviates from normal, among
                the defective images, ``region`` the patches in ``box``, see `search.region`.
            box: in pixels of the upright image; by region, and then only.
            where: user fields that must have these values.
            across_categories: also search the other categories learnt with the same network; not
                by region.

        Raises:
            CategoryError: by defect or region, and a library keeps nothing to compare.
            ImageError: the image cannot be read, by defect nothing deviates in it, or the box
                lies outside it.
        """
        if (by == "region") != (box is not None) or (box and across_categories):
            raise ValueError("expected a box by region, in one category, and no box otherwise")
        self.refresh()
        path = Path(image)
        if by == "defect":
            check_defects_kept(self.store, self.entry)
        elif by == "region":
            check_defect_patches_kept(self.entry)
        (features,) = embed_files(self._backbone, [path])
        if isinstance(features, Skipped):
            raise ImageError(f"{path}: {features.reason}")
        wanted = conditions(
            without=sha256_of(path), label=label, defect_type=defect_type, where=where or {}
        )
        if by == "region":
            assert box
            kept = self._patches_by_image
            return region_neighbors(
                self.store, self.entry, features, box, kept, top=top, where=wanted
            )
        embedding = features.image
        if by == "defect":
            found = patch_distances(features.patches, self.index)
            deviates = deviation(features.patches, self.bank.vectors, found)
            if deviates is None:
                raise ImageError(
                    f"{path}: nothing deviates, every patch equals a normal one. Search by whole."
                )
            embedding = deviates
        alike = by == "whole" and label is None and defect_type is None
        return neighbors(
            self.store,
            self.entry,
            embedding,
            by=by,
            top=top,
            where=wanted,
            score=self._score(features) if alike else None,
            across_categories=across_categories,
        )

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
        if self.entry.spec.level == "image":
            return prediction.evidence
        return self._patch_evidence(
            (row, col),
            float(prediction.distances[row, col]),
            int(prediction.bank_indices[row, col]),
            (prediction.width, prediction.height),
        )

    def explain(self, prediction: Prediction) -> Image.Image:
        """Image, heat map with the worst region outlined, and the nearest normal patch's image.

        Of an image-level backbone, the image and the nearest normal one.
        """
        image = _upright(prediction.path, prediction)
        evidence = prediction.evidence
        title = f"{prediction.verdict}  score {prediction.score:.3g}  p {prediction.p_value:.2g}"
        level = self.entry.spec.level
        pictures: list[tuple[Image.Image, str, Box | None]] = [
            (image, f"{prediction.path.name}\n{title}", evidence.query_box)
        ]
        if level == "patch":
            heat = overlay(image, prediction.anomaly_map(), threshold=prediction.map_threshold)
            caption = f"heat map, worst region\nthreshold {prediction.map_threshold:.3g}"
            pictures.append((heat, caption, prediction.box))
        try:
            normal = load_image(Path(evidence.path)).pixels
            name = Path(evidence.path).name
            pictures.append(
                (
                    normal,
                    f"nearest normal {level}\n{name}  distance {evidence.distance:.3g}",
                    evidence.box,
                )
            )
        except ImageError as error:
            missing = Image.new("RGB", image.size, (228, 228, 231))
            pictures.append((missing, f"nearest normal image not readable\n{error}", None))
        return panels(pictures)

    @functools.cached_property
    def bank(self) -> MemoryBank:
        """Of the revision open now."""
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
    def _images(self) -> dict[str, Any]:
        return dict(read_images(self.store, self.entry))

    @functools.cached_property
    def _patches_by_image(self) -> PatchesByImage:
        return PatchesByImage(self.bank, read_defect_patches(self.store, self.entry))

    @functools.cached_property
    def _proposer(self) -> TypeProposer | None:
        return read_proposer(self.store, self.entry)

    @functools.cached_property
    def _whitening(self) -> Whitening:
        return read_whitening(self.store, self.entry)

    @functools.cached_property
    def _known(self) -> KnownDefects | None:
        """Where the category's calibration counts them."""
        return KnownDefects(self.store, self.entry) if self.calibration.known else None

    def _near_known_defect(
        self, features: ImageFeatures, found: PatchDistances
    ) -> NearKnownDefect | None:
        nearest = self._known.distances(features) if self._known else None
        if self._known is None or nearest is None:
            return None
        score = known_defect_score(found.distances, nearest.distances)
        worst = int((found.distances - nearest.distances).argmax())
        row = int(nearest.bank_indices.ravel()[worst])
        image = self._images[str(self._known.patches.image_ids[row])]
        p_value = self.calibration.known_p_value(score)
        return NearKnownDefect(score, p_value, image.image_id, image.path, image.defect_type)

    def _seen_before(self, features: ImageFeatures, found: PatchDistances) -> SeenBefore | None:
        deviates = deviation(features.patches, self.bank.vectors, found)
        if deviates is None or self._proposer is None:
            return None
        embedding = self._whitening.whiten(deviates)
        return self._proposer.propose(embedding, without=sha256_of(features.path))

    def _score(self, features: ImageFeatures) -> float:
        if self.entry.spec.level == "image":
            nearest = nearest_normal_images(self.store, self.entry, features.image)
            return neighbors_score(nearest)
        return image_score(patch_distances(features.patches, self.index).distances)

    def _judge(self, features: ImageFeatures) -> Prediction:
        spec = self.entry.spec
        seen_before = near = None
        if spec.level == "image":
            nearest = nearest_normal_images(self.store, self.entry, features.image)
            score = neighbors_score(nearest)
            patch = PatchDistances(np.full((1, 1), score, np.float32), np.zeros((1, 1), np.int64))
            size = (features.width, features.height)
            evidence = self._evidence((0, 0), nearest[0][0], nearest[0][1], (0, 0), size)
            verdict = self.calibration.verdict(score)
        else:
            patch = patch_distances(features.patches, self.index)
            score = image_score(patch.distances)
            worst = np.unravel_index(int(patch.distances.argmax()), patch.distances.shape)
            evidence = self._patch_evidence(
                (int(worst[0]), int(worst[1])),
                score,
                int(patch.bank_indices[worst]),
                (features.width, features.height),
            )
            near = self._near_known_defect(features, patch)
            verdict = self.calibration.verdict(score, near.score if near else None)
            if verdict == "reject":
                seen_before = self._seen_before(features, patch)
        return Prediction(
            path=features.path,
            category=self.entry.category,
            backbone=self.entry.backbone,
            score=score,
            p_value=self.calibration.p_value(score),
            verdict=verdict,
            threshold=self.calibration.threshold,
            map_threshold=self.calibration.map_threshold,
            box=worst_region(
                patch.distances,
                input_size=spec.input_size,
                width=features.width,
                height=features.height,
                inset=spec.inset,
            ),
            evidence=evidence,
            revision=self.entry.revision,
            distances=patch.distances,
            bank_indices=patch.bank_indices,
            width=features.width,
            height=features.height,
            input_size=spec.input_size,
            inset=spec.inset,
            seen_before=seen_before,
            near_known_defect=near,
        )

    def _patch_evidence(
        self, query_cell: tuple[int, int], distance: float, found: int, size: tuple[int, int]
    ) -> Evidence:
        normal = self._images[str(self.bank.image_ids[found])]
        cell = (int(self.bank.cells[found, 0]), int(self.bank.cells[found, 1]))
        return self._evidence(query_cell, distance, normal, cell, size)

    def _evidence(
        self,
        query_cell: tuple[int, int],
        distance: float,
        normal: LibraryImage,
        cell: tuple[int, int],
        size: tuple[int, int],
    ) -> Evidence:
        spec = self.entry.spec
        return Evidence(
            query_cell=query_cell,
            query_box=spec.geometry(*size).cell_box(*query_cell),
            distance=distance,
            image_id=normal.image_id,
            path=normal.path,
            cell=cell,
            box=spec.geometry(normal.width, normal.height).cell_box(*cell),
        )


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


def _upright(path: Path, prediction: Prediction) -> Image.Image:
    try:
        pixels = load_image(path).pixels
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    if pixels.size != (prediction.width, prediction.height):
        raise ImageError(f"{path}: changed since it was scored")
    return pixels
