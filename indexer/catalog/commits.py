"""Which categories there are: the one collection whose points readers begin with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from backbones.model_card import spec_from_dict, spec_to_dict
from indexer.catalog.schema import (
    CATALOG,
    CatalogEntry,
    CategoryError,
    catalog_id,
    history_collection,
    lifetime,
    point_id,
    visible,
)
from indexer.store.base import Point, VectorStore, Where


def create_catalog(store: VectorStore) -> None:
    """Make the catalog where it is missing; its points carry no vector."""
    store.create_collection(
        CATALOG,
        {},
        {"category": "keyword", "backbone": "keyword", "revision": "integer"},
    )


def write_entry(store: VectorStore, entry: CatalogEntry) -> None:
    """Commit: readers see this entry from now on, durably."""
    point = Point(catalog_id(entry), {}, _entry_payload(entry))
    store.upsert(CATALOG, [point])
    store.flush(CATALOG)


def write_history(store: VectorStore, entry: CatalogEntry) -> None:
    """Note the entry of a revision about to be committed."""
    point = Point(point_id(entry), {}, _entry_payload(entry) | lifetime(entry))
    store.upsert(history_collection(entry.category, entry.backbone), [point])


def read_history(store: VectorStore, entry: CatalogEntry) -> list[CatalogEntry]:
    """The entries of every revision from ``origin`` to this one, oldest first."""
    points = store.scroll(history_collection(entry.category, entry.backbone), where=visible(entry))
    return sorted((_entry(point.payload) for point in points), key=lambda found: found.revision)


def is_current(store: VectorStore, entry: CatalogEntry) -> bool:
    """Whether readers are still to use this entry's revision; a tenth of a millisecond."""
    wanted: Where = {
        "category": entry.category,
        "backbone": entry.backbone,
        "revision": entry.revision,
    }
    return store.count(CATALOG, wanted) == 1


def read_catalog(store: VectorStore) -> list[CatalogEntry]:
    """Every learnt category, by category and backbone."""
    if CATALOG not in store.collections():
        return []
    entries = [_entry(point.payload) for point in store.scroll(CATALOG)]
    return sorted(entries, key=lambda entry: (entry.category, entry.backbone))


def find_entry(store: VectorStore, category: str, backbone: str | None = None) -> CatalogEntry:
    """The entry of a category; CategoryError if there is none, or several and no ``backbone``."""
    entries = read_catalog(store)
    of_category = [e for e in entries if e.category == category]
    if not of_category:
        known = ", ".join(sorted({e.category for e in entries})) or "none yet"
        raise CategoryError(
            f"no category '{category}' in {store.location} (known: {known}). "
            f"Learn it: vecspect index DATASET --category {category}"
        )
    # timm:NAME stands for timm:NAME:layers
    chosen = [
        e for e in of_category if backbone in (None, e.backbone, e.backbone.rpartition(":")[0])
    ]
    if len(chosen) == 1:
        return chosen[0]
    indexed = ", ".join(e.backbone for e in of_category)
    raise CategoryError(
        f"category '{category}' is indexed with {indexed}: choose one with --backbone"
        + (f", not '{backbone}'." if backbone else ".")
    )


def _entry_payload(entry: CatalogEntry) -> dict[str, Any]:
    # text: the embedded engine rounds the last bit of a double, and the fingerprint needs it
    return {name: getattr(entry, name) for name in CatalogEntry.__slots__} | {
        "spec": json.dumps(spec_to_dict(entry.spec))
    }


def _entry(payload: Mapping[str, Any]) -> CatalogEntry:
    if missing := [name for name in CatalogEntry.__slots__ if name not in payload]:
        raise CategoryError(
            f"the catalog was written by another version of vecspect (it lacks '{missing[0]}'). "
            "Name a new store with --store and index again."
        )
    values = {name: payload[name] for name in CatalogEntry.__slots__}
    values["spec"] = spec_from_dict(json.loads(values["spec"]))
    values["radius"] = float(np.float32(values["radius"]))
    return CatalogEntry(**values)
