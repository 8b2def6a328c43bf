"""Commit points and heads: the categories in a store, their revisions and their history.

A commit point describes one attempt at a revision, is named by the attempt's id, names its parent
and is never written again. The head of a category names the commit point in force; a commit moves
it by compare-and-set, so that only one of two changes planned from the same head succeeds. History
is the chain of parents.
"""

from __future__ import annotations

from collections.abc import Collection

from indexer.catalog import schema
from indexer.catalog.category import Category
from indexer.catalog.entry import CatalogEntry, CategoryError
from indexer.catalog.schema import CATALOG, SCHEMA_VERSION
from indexer.store.base import Point, VectorStore, Where

_SCHEMA_ID = schema.point_id("schema")


def create_catalog(store: VectorStore) -> None:
    """Create the catalog if it is missing; its points have no vector.

    Raises:
        CategoryError: the store has another schema version.
    """
    if CATALOG in store.collections():
        check_schema(store)
        return
    store.create_collection(CATALOG, {}, schema.CATALOG_INDEXES)
    store.upsert(CATALOG, [Point(_SCHEMA_ID, {}, {"schema_version": SCHEMA_VERSION})])


def check_schema(store: VectorStore) -> None:
    """Raise CategoryError unless the store's catalog has this version's schema."""
    found = store.retrieve(CATALOG, [_SCHEMA_ID])
    version = found[0].payload["schema_version"] if found else "none"
    if version != SCHEMA_VERSION:
        raise CategoryError(
            f"store {store.location} was written by another version of vecspect (schema {version}, "
            f"expected {SCHEMA_VERSION}). Learn its categories again in a new one: "
            "vecspect index DATASET --category NAME --store NEW"
        )


def read_catalog(store: VectorStore) -> list[Category]:
    """Every learnt category at its current revision, by category and backbone."""
    if CATALOG not in store.collections():
        return []
    check_schema(store)
    ids = [_commit_id(key, head) for key, head in store.heads().items()]
    entries = (_entry(point) for point in store.retrieve(CATALOG, ids))
    ordered = sorted(entries, key=lambda entry: (entry.category, entry.backbone))
    return [Category(store, entry) for entry in ordered]


def find_category(store: VectorStore, name: str, backbone: str | None = None) -> Category:
    """The category with this name at its current revision.

    Raises:
        CategoryError: there is none, or it is indexed with several backbones and none was given.
    """
    categories = read_catalog(store)
    named = [category for category in categories if category.name == name]
    if not named:
        known = ", ".join(sorted({category.name for category in categories})) or "none yet"
        raise CategoryError(
            f"no category '{name}' in {store.location} (known: {known}). "
            f"Learn it: vecspect index DATASET --category {name}"
        )
    # timm:NAME stands for timm:NAME:layers
    chosen = [c for c in named if backbone in (None, c.backbone, c.backbone.rpartition(":")[0])]
    if len(chosen) == 1:
        return chosen[0]
    indexed = ", ".join(category.backbone for category in named)
    raise CategoryError(
        f"category '{name}' is indexed with {indexed}: choose one with --backbone"
        + (f", not '{backbone}'." if backbone else ".")
    )


def current_entry(store: VectorStore, name: str, backbone: str) -> CatalogEntry | None:
    """The current entry of a category on one backbone; None if it was never learnt."""
    categories = read_catalog(store)
    return next((c.entry for c in categories if (c.name, c.backbone) == (name, backbone)), None)


def is_current(category: Category) -> bool:
    """True while readers should still use this revision; takes 0.1 ms when embedded."""
    return category.store.head(category.key) == category.entry.head


def read_history(category: Category) -> list[CatalogEntry]:
    """The entries of all revisions up to this one, oldest first, including earlier learnings."""
    where: Where = {"category": category.name, "backbone": category.backbone}
    found = {entry.head: entry for entry in map(_entry, category.store.scroll(CATALOG, where))}
    chain = [category.entry]
    while chain[-1].parent in found:
        chain.append(found[chain[-1].parent])
    return chain[::-1]


def commit(category: Category, changed: Collection[str] | None = None) -> None:
    """Make all writes durable and move the head to this revision.

    Args:
        changed: collections that were written to; by default all of them.

    Raises:
        CategoryError: another change was committed since this one was planned.
    """
    store, entry = category.store, category.entry
    check_planned_from(category, entry.parent)
    described = {"category": entry.category, "backbone": entry.backbone, "entry": entry.to_text()}
    store.upsert(CATALOG, [Point(_commit_id(category.key, entry.head), {}, described)])
    written = category.collections if changed is None else changed
    for collection in (*written, CATALOG):
        store.flush(collection)
    if not store.move_head(category.key, entry.parent or None, entry.head):
        raise _outrun(category)
    # only every few thousand images is there anything to do; search would then slow down without it
    store.optimize(category.images)


def check_planned_from(category: Category, expected: str) -> None:
    """Raise CategoryError unless the category's head is ``expected``, empty for a new category."""
    if category.store.head(category.key) != (expected or None):
        raise _outrun(category)


def _outrun(category: Category) -> CategoryError:
    return CategoryError(
        f"category '{category.name}' was changed by another process since this change was "
        "planned, which therefore has no effect. Run it again."
    )


def _commit_id(key: str, head: str) -> str:
    return schema.point_id(key, head)


def _entry(point: Point) -> CatalogEntry:
    return CatalogEntry.from_text(str(point.payload["entry"]))
