"""Creates and reads the collections of one category."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.catalog.category import Category, library_image
from indexer.catalog.commits import create_catalog
from indexer.catalog.entry import CategoryError, LibraryImage, MemoryBank
from indexer.catalog.schema import (
    CACHED_INDEXES,
    DEFECT,
    LIBRARY_INDEXES,
    PATCH,
    PATCH_INDEXES,
    USER,
    WHOLE,
)
from indexer.store.base import Hit, VectorParams, Where, read_matrix

Float32 = NDArray[np.float32]


def create_collections(category: Category) -> None:
    """Create the collections of a category that do not exist yet."""
    store, dim = category.store, category.spec.dim
    create_catalog(store)
    vectors = {WHOLE: VectorParams(dim, "cosine", indexed=True)}
    if category.keeps_patches:
        vectors[DEFECT] = VectorParams(dim, "cosine", indexed=True)
        for patches in (category.bank, category.defects):
            params = {PATCH: VectorParams(dim, "euclid", indexed=False)}
            store.create_collection(patches, params, PATCH_INDEXES)
    store.create_collection(category.cached, {}, CACHED_INDEXES)
    store.create_collection(category.images, vectors, LIBRARY_INDEXES)


def index_fields(category: Category, names: Iterable[str]) -> None:
    """Index these user fields too, so that filtering by them does not read every point."""
    store, library = category.store, category.images
    indexes = LIBRARY_INDEXES | {USER + name: "keyword" for name in names}
    store.create_collection(library, store.vector_params(library), indexes)


def check_keeps_patches(category: Category, purpose: str) -> None:
    """Raise CategoryError if the category stores no patches, which ``purpose`` needs."""
    if not category.keeps_patches:
        raise CategoryError(
            f"{purpose} needs patches, but '{category.backbone}' gives '{category.name}' one "
            "embedding per image. Learn it with a patch network: vecspect backbones lists them."
        )


def check_searchable(category: Category, by: str) -> None:
    """Raise CategoryError if the library cannot be searched by ``defect`` or ``region``."""
    if not category.keeps_patches:
        raise CategoryError(
            f"'{category.backbone}' gives one embedding per image, so '{category.name}' cannot be "
            f"searched by {by}. Search by whole image, or learn it with a patch network."
        )


def read_bank(category: Category) -> MemoryBank:
    """The memory bank, ordered by point id; empty for an image-level backbone."""
    if not category.keeps_patches:
        return MemoryBank.empty(category.spec.dim)
    return _read_patches(category, category.bank)


def read_defect_patches(category: Category) -> MemoryBank:
    """The anomalous patches of the defective images, ordered by point id."""
    return _read_patches(category, category.defects)


def _read_patches(category: Category, collection: str) -> MemoryBank:
    _, vectors, payloads = read_matrix(category.store, collection, PATCH, where=category.visible)
    return MemoryBank(
        vectors=vectors,
        image_ids=np.array([p["image_id"] for p in payloads], dtype=np.str_),
        cells=np.array([(p["row"], p["col"]) for p in payloads], dtype=np.int32).reshape(-1, 2),
    )


def read_images(category: Category, where: Where | None = None) -> dict[str, LibraryImage]:
    """Library images by image id: all of them, or those that match."""
    points = category.store.scroll(category.images, {**category.visible, **(where or {})})
    images = (library_image(point.payload) for point in points)
    return {image.image_id: image for image in images}


def known_images(category: Category, ids: Iterable[str]) -> dict[str, LibraryImage]:
    """The library images with these ids, in their order; CategoryError names an unknown id."""
    library, wanted = read_images(category), list(ids)
    if unknown := [key for key in wanted if key not in library]:
        raise CategoryError(
            f"no image {unknown[0]} in the library of '{category.name}'. "
            "Ids are shown by vecspect audit, and by score and similar with --json."
        )
    return {key: library[key] for key in wanted}


def read_vectors(
    category: Category, name: str, where: Where | None = None
) -> tuple[Float32, list[LibraryImage]]:
    """The vectors of one name (N, D) of the matching library images, and these images."""
    _, vectors, payloads = read_matrix(
        category.store, category.images, name, where={**category.visible, **(where or {})}
    )
    return vectors, [library_image(payload) for payload in payloads]


def read_defect_embeddings(
    category: Category, where: Where | None = None
) -> tuple[Float32, list[LibraryImage]]:
    """Defect embeddings (N, D) of the matching defective library images, and these images.

    Raises:
        CategoryError: the category has an image-level backbone.
    """
    check_searchable(category, "defect")
    return read_vectors(category, DEFECT, {"label": "defective", **(where or {})})


def similar_images(
    category: Category,
    embedding: Float32,
    *,
    top: int,
    where: Mapping[str, Any],
    using: str = WHOLE,
    exact: bool,
) -> list[Hit]:
    """Library images nearest to ``embedding`` (E,) by cosine.

    Without ``exact``, a large library is searched by its HNSW graph: with 100,000 images it finds
    the same ones in a tenth of the time (eval/results/library.md).
    """
    if using == DEFECT:  # no other image has a defect embedding, and skipping them is slow
        where = {"label": "defective", **where}
    return category.store.query(
        category.images,
        embedding,
        using=using,
        top=top,
        where={**category.visible, **where},
        exact=exact,
    )
