"""Writes the points of a category's next revision: some end, some begin, and a commit takes effect.

Nothing that a reader of the current revision sees is touched before the commit: a point that is
removed gets the number of the next revision as its ``until``, and one that is added gets it as its
``since``.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from indexer.catalog.category import Category
from indexer.catalog.commits import check_planned_from
from indexer.catalog.entry import LibraryImage
from indexer.catalog.schema import DEFECT, FOREVER, WHOLE
from indexer.store.base import Point, Range, Where


def undo_interrupted(category: Category) -> None:
    """Undo the writes of changes after this revision that never committed.

    Raises:
        CategoryError: another change was committed meanwhile, and the points are its own.
    """
    _undo_after(category, category.entry.revision, category.entry.head)


def undo_earlier_tries(draft: Category) -> None:
    """Undo the writes of earlier attempts at the revision ``draft`` that never committed.

    Raises:
        CategoryError: another change was committed meanwhile.
    """
    _undo_after(draft, draft.entry.revision - 1, draft.entry.parent)


def _undo_after(category: Category, revision: int, head: str) -> None:
    check_planned_from(category, head)
    store = category.store
    later: Where = {"since": Range(gt=revision)}
    ended: Where = {"until": Range(gt=revision, lt=FOREVER)}
    for collection in category.collections:
        if store.count(collection, later):
            store.delete(collection, later)
        if store.count(collection, ended):
            ids = [point.id for point in store.scroll(collection, ended)]
            store.set_payload(collection, ids, {"until": FOREVER})


def forget_before(category: Category) -> None:
    """Delete every point older than the revision that was learnt from scratch."""
    older: Where = {"since": Range(lt=category.entry.origin)}
    for collection in category.collections:
        if category.store.count(collection, older):
            category.store.delete(collection, older)


def end(category: Category, collection: str, where: Where) -> int:
    """Let the matching points end before the next revision, and return their number."""
    points = category.store.scroll(collection, {**category.visible, **where})
    ids = [point.id for point in points]
    if ids:
        category.store.set_payload(collection, ids, {"until": category.entry.revision + 1})
    return len(ids)


def rewrite_image(
    before: Category,
    after: Category,
    image: LibraryImage,
    defect: NDArray[np.float32] | None = None,
) -> None:
    """Replace a library image in the revision ``after`` by ``image``.

    Its embeddings stay, except for a new defect embedding (D,) if one is given.
    """
    store, library = before.store, before.images
    where: Where = {**before.visible, "image_id": image.image_id}
    (old,) = store.scroll(library, where, with_vectors=True)
    end(before, library, {"image_id": image.image_id})
    image = replace(image, added_at=str(old.payload["added_at"]))
    defect = old.vectors.get(DEFECT) if defect is None else defect
    store.upsert(library, [after.image_point(image, old.vectors[WHOLE], defect)])


def restore(now: Category, old: Category, after: Category) -> list[str]:
    """Give the revision ``after`` the points of ``old``, and return the changed collections.

    Only the difference between the two is written. Both have the same origin, so every point
    belongs to one of them or to both.
    """
    store, changed = now.store, []
    for collection in now.collections:
        joined: Where = {
            "since": Range(gt=old.entry.revision, lte=now.entry.revision),
            "until": Range(gt=now.entry.revision),
        }
        ended: Where = {
            **old.visible,
            "until": Range(gt=old.entry.revision, lte=now.entry.revision),
        }
        leaving = [point.id for point in store.scroll(collection, joined)]
        returning = store.scroll(collection, ended, with_vectors=True, batch=16)
        copies = [_copy(point, after) for point in returning]
        if leaving:
            store.set_payload(collection, leaving, {"until": after.entry.revision})
        for copy in copies:
            store.upsert(collection, [copy])
        if leaving or copies:
            changed.append(collection)
    return changed


def _copy(point: Point, after: Category) -> Point:
    return Point(after.point_id(point.id), point.vectors, {**point.payload, **after.lifetime})
