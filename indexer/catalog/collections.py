"""The collections of one category: makes them, says what they lack, and reads them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backbones.base import Backbone, ChannelNormalised
from indexer.catalog.commits import create_catalog
from indexer.catalog.schema import (
    DEFECT,
    DEFECT_PATCHES,
    LIBRARY_INDEXES,
    LIFE_INDEXES,
    PATCH,
    USER,
    WHOLE,
    CatalogEntry,
    CategoryError,
    LibraryImage,
    MemoryBank,
    bank_collection,
    defects_collection,
    history_collection,
    images_collection,
    library_image,
    patches_collection,
    visible,
)
from indexer.store.base import Hit, VectorParams, VectorStore, Where, read_matrix

Float32 = NDArray[np.float32]


def create_collections(store: VectorStore, entry: CatalogEntry) -> None:
    """Make the collections of a category where they are missing."""
    create_catalog(store)
    names, dim = (entry.category, entry.backbone), entry.spec.dim
    if entry.spec.level == "patch":
        for patches in (bank_collection(*names), defects_collection(*names)):
            store.create_collection(
                patches,
                {PATCH: VectorParams(dim, "euclid", indexed=False)},
                {"image_id": "keyword", **LIFE_INDEXES},
            )
    create_kept(store, entry)
    store.create_collection(history_collection(*names), {}, LIFE_INDEXES)
    library = images_collection(*names)
    vectors = {WHOLE: VectorParams(dim, "cosine", indexed=True)}
    if entry.spec.level == "patch":
        vectors[DEFECT] = VectorParams(dim, "cosine", indexed=True)
        if library in store.collections():
            check_defects_kept(store, entry)
    store.create_collection(library, vectors, LIBRARY_INDEXES)


def create_kept(store: VectorStore, entry: CatalogEntry) -> None:
    """Make the collection of `indexer.catalog.cached_arrays` where it is missing.

    Image-level categories have one since they keep how their calibration images look.
    """
    name = patches_collection(entry.category, entry.backbone)
    store.create_collection(name, {}, {"image_id": "keyword", "kind": "keyword", **LIFE_INDEXES})


def index_fields(store: VectorStore, entry: CatalogEntry, names: Iterable[str]) -> None:
    """Let the library be filtered by these user fields too without reading every point.

    A library written before others could be filtered gets their indexes as well.
    """
    library = images_collection(entry.category, entry.backbone)
    indexes = LIBRARY_INDEXES | {USER + name: "keyword" for name in names}
    store.create_collection(library, store.vector_params(library), indexes)


def check_defects_kept(store: VectorStore, entry: CatalogEntry) -> None:
    """CategoryError unless the library keeps what deviates in its defective images."""
    _check_searched_by(entry, "defect")
    if DEFECT not in store.vector_params(images_collection(entry.category, entry.backbone)):
        raise CategoryError(
            f"the library of '{entry.category}' was written before vecspect kept what deviates in "
            "its defective images. Learn it again in a new store: vecspect index DATASET "
            f"--category {entry.category} --store NEW"
        )


def check_defect_patches_kept(entry: CatalogEntry) -> None:
    """CategoryError unless the library keeps patches of its defective images."""
    _check_searched_by(entry, "region")
    if DEFECT_PATCHES not in entry.counts:
        raise CategoryError(
            f"the library of '{entry.category}' was written before vecspect kept the patches of "
            "its defective images. Learn it again: vecspect index DATASET "
            f"--category {entry.category}"
        )


def _check_searched_by(entry: CatalogEntry, by: str) -> None:
    if entry.spec.level == "image":
        raise CategoryError(
            f"'{entry.backbone}' gives one embedding an image, so '{entry.category}' cannot be "
            f"searched by {by}. Search by whole image, or learn it with a patch network."
        )


def read_bank(store: VectorStore, entry: CatalogEntry) -> MemoryBank:
    """The memory bank of the entry's revision, in the order of the points' ids.

    Without a patch of an image-level backbone, whose bank is images of the library.
    """
    if entry.spec.level == "image":
        nothing = np.zeros((0, entry.spec.dim), np.float32)
        return MemoryBank(nothing, np.zeros(0, np.str_), np.zeros((0, 2), np.int32))
    return _read_patches(store, entry, bank_collection(entry.category, entry.backbone))


def read_defect_patches(store: VectorStore, entry: CatalogEntry) -> MemoryBank:
    """The deviating patches of the revision's defective images, in the order of the points' ids.

    Raises:
        CategoryError: the library keeps none.
    """
    check_defect_patches_kept(entry)
    return _read_patches(store, entry, defects_collection(entry.category, entry.backbone))


def _read_patches(store: VectorStore, entry: CatalogEntry, collection: str) -> MemoryBank:
    _, vectors, payloads = read_matrix(store, collection, PATCH, where=visible(entry))
    return MemoryBank(
        vectors=vectors,
        image_ids=np.array([p["image_id"] for p in payloads], dtype=np.str_),
        cells=np.array([(p["row"], p["col"]) for p in payloads], dtype=np.int32).reshape(-1, 2),
    )


def read_images(
    store: VectorStore, entry: CatalogEntry, where: Where | None = None
) -> dict[str, LibraryImage]:
    """The image library of the entry's revision, by image id; all of it, or what matches."""
    points = store.scroll(
        images_collection(entry.category, entry.backbone), {**visible(entry), **(where or {})}
    )
    images = (library_image(point.payload) for point in points)
    return {image.image_id: image for image in images}


def similar_images(
    store: VectorStore,
    entry: CatalogEntry,
    embedding: Float32,
    *,
    top: int,
    where: Mapping[str, Any],
    using: str = WHOLE,
    exact: bool,
) -> list[Hit]:
    """Library images nearest to ``embedding`` (E,) by cosine, of the entry's revision.

    Without ``exact`` a large library is searched by its HNSW graph: at 100,000 images it finds
    the same ones in a tenth of the time (eval/results/library.md).
    """
    if using == DEFECT:  # no other image has one, and passing over them is slow
        where = {"label": "defective", **where}
    return store.query(
        images_collection(entry.category, entry.backbone),
        embedding,
        using=using,
        top=top,
        where={**visible(entry), **where},
        exact=exact,
    )


def with_channels(backbone: Backbone, entry: CatalogEntry) -> Backbone:
    """``backbone`` as the category uses it: with the channels normalised, if it does so."""
    if not entry.channels:
        return backbone
    mean, std = (np.array(entry.channels[name], np.float32) for name in ("mean", "std"))
    return ChannelNormalised(backbone, mean, std)
