"""Asks the image library: which images are like this one, and which defects have names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from indexer.schema import (
    DEFECT,
    USER,
    WHOLE,
    CatalogEntry,
    LibraryImage,
    check_defects_kept,
    images_collection,
    library_image,
    read_catalog,
    similar_images,
    visible,
)
from indexer.store import Not, VectorStore, read_matrix
from search.calibration import Calibration, Verdict
from search.seen_before import TypeProposer

Float32 = NDArray[np.float32]
By = Literal["whole", "defect"]
_VECTOR = {"whole": WHOLE, "defect": DEFECT}


@dataclass(frozen=True, slots=True)
class Neighbor:
    """A library image near a query.

    Attributes:
        distance: cosine distance of the embeddings compared.
        verdict: of its score at the levels of now; None for an image that was never scored.
        fields: what users say of it.
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


def neighbors(
    store: VectorStore,
    entry: CatalogEntry,
    embedding: Float32,
    *,
    by: By,
    top: int,
    without: str = "",
    label: str | None = None,
    defect_type: str | None = None,
    where: Mapping[str, str],
    across_categories: bool = False,
) -> list[Neighbor]:
    """The library images nearest to ``embedding`` (D,), nearest first.

    Args:
        without: sha256 of the image that is not to be found.
        where: user fields that must have these values.
        across_categories: also search the categories learnt with the same network.

    Raises:
        CategoryError: by defect, and a library keeps nothing to compare.
    """
    conditions: dict[str, Any] = {"sha256": Not(without)}
    conditions |= {USER + name: value for name, value in where.items()}
    if label is not None:
        conditions["label"] = label
    if defect_type is not None:
        conditions["defect_type"] = defect_type
    entries = [entry]
    if across_categories:
        entries = [e for e in read_catalog(store) if e.fingerprint == entry.fingerprint]
    found: list[Neighbor] = []
    for each in entries:
        if by == "defect":
            check_defects_kept(store, each)
        hits = similar_images(store, each, embedding, top=top, where=conditions, using=_VECTOR[by])
        calibration = Calibration.from_payload(each.calibration)
        for hit in hits:
            image = library_image(hit.payload)
            found.append(_neighbor(each.category, image, 1.0 - hit.score, calibration))
    return sorted(found, key=lambda n: (n.distance, n.category, n.image_id))[:top]


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
    if DEFECT not in store.vector_params(library):
        return None
    vectors, images = read_defects(store, entry, {"defect_type": Not("")})
    if len(images) < 2:
        return None
    return TypeProposer(vectors, images)


def _neighbor(
    category: str, image: LibraryImage, distance: float, calibration: Calibration
) -> Neighbor:
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
    )
