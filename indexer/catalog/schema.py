"""Names of collections, payload fields and point ids: the only module that knows them.

One head per (category, backbone) names its current commit point in the catalog. Every other point
carries the revisions to which it belongs, from ``since`` on and before ``until``, and the attempt
that wrote it. A change first writes the points of the next revision and the ends of those that it
removes, then its commit point, and moves the head last: a reader sees the revision before or the
one after, never a mixture, even if the writer is killed; and a change writes only what changes.
"""

from __future__ import annotations

import re
import uuid

from indexer.catalog.entry import CategoryError
from indexer.store.base import PayloadIndex

SCHEMA_VERSION = 1
CATALOG = "catalog"
FOREVER = 2**31 - 1
"""Value of ``until`` for a point that no revision has ended."""
PATCH, WHOLE, DEFECT = "patch", "whole", "defect"
"""Named vectors: a patch, a whole image, and the defect embedding of a defective image."""
USER = "user_"
"""Prefix of user fields in a payload, so that they cannot hide one of vecspect's."""
LIFETIME_INDEXES: dict[str, PayloadIndex] = {"since": "integer", "until": "integer"}
PATCH_INDEXES: dict[str, PayloadIndex] = {"image_id": "keyword", **LIFETIME_INDEXES}
CACHED_INDEXES: dict[str, PayloadIndex] = {
    "image_id": "keyword",
    "kind": "keyword",
    "piece": "integer",
    **LIFETIME_INDEXES,
}
CATALOG_INDEXES: dict[str, PayloadIndex] = {"category": "keyword", "backbone": "keyword"}
LIBRARY_INDEXES: dict[str, PayloadIndex] = {
    "image_id": "keyword",
    "sha256": "keyword",
    "group": "keyword",
    "label": "keyword",
    "defect_type": "keyword",
    "split": "keyword",
    "score": "float",
    "added_at": "datetime",
    **LIFETIME_INDEXES,
}
"""Fields of the image library that can be filtered; for user fields see
`indexer.catalog.collections.index_fields`."""
_NAMESPACE = uuid.UUID("6f4c1c52-4a0e-5d0b-9d3c-0b6f2a7c9e11")
_CATEGORY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._]|-(?!-))*")


def check_category(category: str) -> str:
    """Return the name itself; CategoryError if collections cannot be named after it."""
    if len(category) > 64 or not _CATEGORY.fullmatch(category):
        raise CategoryError(
            f"'{category}' is not a category name: expected at most 64 letters, digits, '.', '_' "
            "and single '-', beginning with a letter or digit."
        )
    return category


def head_key(category: str, backbone: str) -> str:
    """Name of a category's head, which is also the prefix of its collections' names."""
    # the name of a collection may hold only letters, digits, '.', '_' and '-'
    return f"{category}--{backbone.replace(':', '.').replace(',', '_')}"


def bank_collection(category: str, backbone: str) -> str:
    """Name of the collection of memory-bank patches; unused by an image-level backbone."""
    return f"{head_key(category, backbone)}--bank"


def images_collection(category: str, backbone: str) -> str:
    """Name of the collection of the image library."""
    return f"{head_key(category, backbone)}--images"


def defects_collection(category: str, backbone: str) -> str:
    """Name of the collection of anomalous patches of defective images; patch level only."""
    return f"{head_key(category, backbone)}--defects"


def patches_collection(category: str, backbone: str) -> str:
    """Name of the collection of cached arrays, see `indexer.catalog.cached_arrays`."""
    return f"{head_key(category, backbone)}--patches"


def inspections_collection(category: str, backbone: str) -> str:
    """Name of the collection of the last inspections, whatever their revision."""
    return f"{head_key(category, backbone)}--inspections"


def image_id(category: str, backbone: str, sha256: str) -> str:
    """Stable id of a library image: the same bytes have the same id in every revision."""
    return point_id(category, backbone, sha256)


def point_id(*parts: object) -> str:
    """Id of the point that these parts name: the same in every process."""
    return str(uuid.uuid5(_NAMESPACE, "/".join(str(part) for part in parts)))
