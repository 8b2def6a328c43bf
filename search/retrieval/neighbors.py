"""Asks the image library: which images are like this one, and which defects have names."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from backbones.geometry import Box
from indexer.calibration.base import Calibration, Verdict
from indexer.catalog.collections import check_defects_kept, similar_images
from indexer.catalog.commits import read_catalog
from indexer.catalog.schema import (
    DEFECT,
    USER,
    WHOLE,
    CatalogEntry,
    LibraryImage,
    images_collection,
    library_image,
    visible,
)
from indexer.scoring.whitening import has_whitening, read_whitening
from indexer.store.base import Not, Range, VectorStore, Where, read_matrix
from search.retrieval.type_proposal import TypeProposer

Float32 = NDArray[np.float32]
By = Literal["whole", "defect", "region"]
_VECTOR: dict[By, str] = {"whole": WHOLE, "defect": DEFECT}


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A library image near a query.

    Attributes:
        distance: cosine distance of the embeddings compared; by region the mean Euclidean distance
            from the region's patches to the nearest ones of the image.
        verdict: of its score at the levels of now; None for an image that was never scored.
        fields: what users say of it.
        box: by region, around the patches that matched, in pixels of the upright image.
    """

    image_id: str
    category: str
    path: str
    label: str
    defect_type: str
    split: str
    distance: float
    verdict: Verdict | None
    fields: Mapping[str, str]
    box: Box | None = None

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of ``vecspect similar --json``; with a ``box`` by region only."""
        told = asdict(self)
        del told["box"]
        return told if self.box is None else told | {"box": self.box.as_list()}


def conditions(
    *,
    without: str = "",
    label: str | None = None,
    defect_type: str | None = None,
    where: Mapping[str, str],
) -> Where:
    """What a library image must be to be found.

    Args:
        without: sha256 of the image that is not to be found.
        where: user fields that must have these values.
    """
    wanted: dict[str, Any] = {"sha256": Not(without)}
    wanted |= {USER + name: value for name, value in where.items()}
    if label is not None:
        wanted["label"] = label
    if defect_type is not None:
        wanted["defect_type"] = defect_type
    return wanted


def neighbors(
    store: VectorStore,
    entry: CatalogEntry,
    embedding: Float32,
    *,
    by: Literal["whole", "defect"],
    top: int,
    where: Where,
    score: float | None = None,
    across_categories: bool = False,
    exact: bool = False,
) -> list[Neighbor]:
    """The library images nearest to ``embedding`` (D,), nearest first.

    Args:
        embedding: of the whole, or what deviates, not whitened: each category has its whitening.
        where: conditions on them, see `conditions`.
        score: of the query; those that deviate as it does come first, see `deviating_alike`, and
            only if they are fewer than ``top`` the others. None compares embeddings alone.
        across_categories: also search the categories learnt with the same network.
        exact: do not let a graph find them, see `similar_images`.

    Raises:
        CategoryError: by defect, and a library keeps nothing to compare.
    """
    entries = [entry]
    if across_categories:
        entries = [e for e in read_catalog(store) if e.fingerprint == entry.fingerprint]
    asked = Calibration.from_payload(entry.calibration)
    found: list[tuple[bool, Neighbor]] = []
    for each in entries:
        if by == "defect":
            check_defects_kept(store, each)
        asked_for = read_whitening(store, each).whiten(embedding) if by == "defect" else embedding
        search = functools.partial(
            similar_images, store, each, asked_for, top=top, using=_VECTOR[by], exact=exact
        )
        calibration = Calibration.from_payload(each.calibration)
        alike = [] if score is None else deviating_alike(score, asked, calibration)
        first = {hit.id: hit for like in alike for hit in search(where={**where, **like})}
        rest = search(where=where) if len(first) < top else []
        hits = [*first.values(), *(hit for hit in rest if hit.id not in first)]
        for hit in hits:
            image = library_image(hit.payload)
            neighbor = neighbor_of(each.category, image, 1.0 - hit.score, calibration)
            found.append((hit.id not in first, neighbor))
    found.sort(key=lambda n: (n[0], n[1].distance, n[1].category, n[1].image_id))
    return [neighbor for _, neighbor in found[:top]]


def deviating_alike(score: float, asked: Calibration, calibration: Calibration) -> list[Where]:
    """Which library images deviate from normal as a query does: those that meet any of these.

    A small defect hardly changes the embedding of the whole image: by that alone a normal image
    finds defective ones nearly as readily as normal ones. Of a query whose score is rejected, the
    images rejected too. Of any other, those that score no higher, by rank among the calibration
    scores, and those that the category was learnt from: they are what normal means, and those of
    the memory bank have no score that a new image could be compared with.

    Args:
        score: of the query. asked: of the category that scored it.
        calibration: of the category whose images they are.
    """
    if score > asked.threshold:
        return [{"split": "test", "score": Range(gt=calibration.threshold)}]
    below = int(np.searchsorted(asked.scores, score, side="left"))
    bound = calibration.threshold
    if below < asked.n:
        bound = min(bound, calibration.scores[below * calibration.n // asked.n])
    return [{"split": ["bank", "calibration"]}, {"split": "test", "score": Range(lte=bound)}]


def read_defects(
    store: VectorStore, entry: CatalogEntry, where: Mapping[str, Any]
) -> tuple[Float32, list[LibraryImage]]:
    """What deviates (N, D) in the defective library images that match, and the images.

    Raises:
        CategoryError: the library keeps nothing of the kind.
    """
    check_defects_kept(store, entry)
    _, vectors, payloads = read_matrix(
        store,
        images_collection(entry.category, entry.backbone),
        DEFECT,
        where={**visible(entry), "label": "defective", **where},
    )
    return vectors, [library_image(payload) for payload in payloads]


def read_proposer(store: VectorStore, entry: CatalogEntry) -> TypeProposer | None:
    """What the named defects of the library teach; None if it has fewer than two, or keeps none."""
    library = images_collection(entry.category, entry.backbone)
    if DEFECT not in store.vector_params(library) or not has_whitening(store, entry):
        return None
    vectors, images = read_defects(store, entry, {"defect_type": Not("")})
    if len(images) < 2:
        return None
    return TypeProposer(vectors, images)


def neighbor_of(
    category: str,
    image: LibraryImage,
    distance: float,
    calibration: Calibration,
    box: Box | None = None,
) -> Neighbor:
    """A library image as a hit, with its verdict at the levels of now."""
    return Neighbor(
        image_id=image.image_id,
        category=category,
        path=image.path,
        label=image.label,
        defect_type=image.defect_type,
        split=image.split,
        distance=distance,
        verdict=None if image.score is None else calibration.verdict(image.score),
        fields=image.fields,
        box=box,
    )
