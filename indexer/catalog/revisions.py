"""How one revision of a category becomes the next: points end, points join, the catalog says when.

Nothing a reader of the current revision sees is touched before the commit: a point that leaves
gets the number of the next revision as its ``until``, one that joins gets it as its ``since``.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.catalog.collections import create_kept
from indexer.catalog.commits import write_entry, write_history
from indexer.catalog.schema import (
    DEFECT,
    FOREVER,
    WHOLE,
    CatalogEntry,
    LibraryImage,
    collections_of,
    copied_id,
    image_point,
    images_collection,
    patches_collection,
    visible,
)
from indexer.store.base import Point, Range, VectorStore, Where


def undo_interrupted(store: VectorStore, entry: CatalogEntry) -> None:
    """Take back what a change that never committed has written after the entry's revision."""
    if patches_collection(entry.category, entry.backbone) not in store.collections():
        create_kept(store, entry)  # learnt when image-level categories had none
    later: Where = {"since": Range(gt=entry.revision)}
    ended: Where = {"until": Range(gt=entry.revision, lt=FOREVER)}
    for collection in collections_of(entry):
        if store.count(collection, later):
            store.delete(collection, later)
        if store.count(collection, ended):
            ids = [point.id for point in store.scroll(collection, ended)]
            store.set_payload(collection, ids, {"until": FOREVER})


def forget_before(store: VectorStore, entry: CatalogEntry) -> None:
    """Delete every point that is older than the revision learnt from scratch."""
    older: Where = {"since": Range(lt=entry.origin)}
    for collection in collections_of(entry):
        if store.count(collection, older):
            store.delete(collection, older)


def end(store: VectorStore, entry: CatalogEntry, collection: str, where: Where) -> int:
    """Let the points that match leave after the entry's revision; how many there are."""
    ids = [point.id for point in store.scroll(collection, {**visible(entry), **where})]
    if ids:
        store.set_payload(collection, ids, {"until": entry.revision + 1})
    return len(ids)


def rewrite_image(
    store: VectorStore,
    entry: CatalogEntry,
    after: CatalogEntry,
    image: LibraryImage,
    defect: NDArray[np.float32] | None = None,
) -> None:
    """Let a library image go on in the revision ``after`` as ``image`` describes it.

    Its embeddings stay, but for a new one (D,) of what deviates.
    """
    library = images_collection(entry.category, entry.backbone)
    where: Where = {**visible(entry), "image_id": image.image_id}
    (before,) = store.scroll(library, where, with_vectors=True)
    end(store, entry, library, {"image_id": image.image_id})
    added_at = str(before.payload["added_at"])
    defect = before.vectors.get(DEFECT) if defect is None else defect
    store.upsert(library, [image_point(after, image, before.vectors[WHOLE], added_at, defect)])


def commit(store: VectorStore, entry: CatalogEntry, changed: Collection[str] | None = None) -> None:
    """Make everything durable and the entry's revision the one that readers see.

    Args:
        changed: collections written to; all of them if not given.
    """
    write_history(store, entry)
    history = collections_of(entry)[-1]
    for collection in collections_of(entry):
        if changed is None or collection in changed or collection == history:
            store.flush(collection)
    write_entry(store, entry)
    # nothing to do but every few thousand images; then search would slow down without
    store.optimize(images_collection(entry.category, entry.backbone))


def restore(store: VectorStore, entry: CatalogEntry, old: CatalogEntry) -> list[str]:
    """Let the revision after ``entry``'s have the points of ``old``; the collections changed.

    Only the difference of the two is written. History itself stays.
    """
    following = entry.revision + 1
    changed = []
    for collection in collections_of(entry)[:-1]:
        # the origin is that of both, so a point belongs to one of them only, or to both
        joined: Where = {
            "since": Range(gt=old.revision, lte=entry.revision),
            "until": Range(gt=entry.revision),
        }
        ended: Where = {**visible(old), "until": Range(gt=old.revision, lte=entry.revision)}
        leaving = [point.id for point in store.scroll(collection, joined)]
        returning = store.scroll(collection, ended, with_vectors=True, batch=16)
        copies = [_copy(point, following) for point in returning]
        if leaving:
            store.set_payload(collection, leaving, {"until": following})
        for copy in copies:
            store.upsert(collection, [copy])
        if leaving or copies:
            changed.append(collection)
    return changed


def _copy(point: Point, revision: int) -> Point:
    payload: dict[str, Any] = {**point.payload, "since": revision, "until": FOREVER}
    return Point(copied_id(point.id, revision), point.vectors, payload)
